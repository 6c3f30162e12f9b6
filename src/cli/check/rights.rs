//! The part of the check that looks at the rights of the role that runs Andon. In: the catalogue. Out: each right that is missing, with the
//! statement that gives it. It needs no right of its own, so that it finds out what is missing where nothing else can be checked.

use tokio_postgres::Client;
use tokio_postgres::Error;

use crate::cli::check::report::CheckReport;

/// Each missing right: the right, the kind of the object, its name, and whether Andon can do without it. Andon only reads the tables that
/// people and triggers write, and notes beside a source what it has found. A partition of the log that may not be read directly is read through the whole log.
const MISSING: &str = "
    with objects (kind, oid, name, wanted, is_needed) as materialized (
        select 'schema', n.oid, quote_ident(n.nspname), 'usage', true from pg_namespace n where n.nspname = 'andon'
        union all
        select 'table', c.oid, format('andon.%I', c.relname), unnest(case
            when c.relispartition or c.relkind = 'v' or c.relname in
                ('events', 'capture_errors', 'migrations', 'mqtt_publishers', 'webhooks')
            then array['select'] when c.relname = 'sources' then array['select', 'update'] else array['select', 'insert', 'update', 'delete'] end), not c.relispartition
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'andon' and c.relkind in ('r', 'p', 'v')
          and (not c.relispartition or exists (
              select from pg_inherits i join pg_class whole on whole.oid = i.inhparent
              where i.inhrelid = c.oid and whole.relname = 'events'))
        union all
        select 'sequence', c.oid, format('andon.%I', c.relname), 'usage', true
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'andon' and c.relkind = 'S'
        union all
        select 'function', p.oid, p.oid::regprocedure::text, 'execute', true
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = 'andon' and p.prokind = 'f' and p.prorettype <> 'trigger'::regtype and not starts_with(p.proname, 'set_')
    )
    select wanted, kind, name, is_needed, quote_ident(current_user) from objects where not case kind
        when 'schema' then has_schema_privilege(oid, wanted)
        when 'table' then has_table_privilege(oid, wanted)
        when 'sequence' then has_sequence_privilege(oid, wanted)
        else has_function_privilege(oid, wanted) end
    order by kind = 'schema' desc, not is_needed, kind, name, wanted";

/// Reports the rights that are missing. Where the schema is not there yet, none is.
pub(super) async fn check(client: &Client, report: &mut CheckReport) {
    match missing(client).await {
        Ok(missing) => {
            for MissingRight { text, is_needed } in missing {
                if is_needed { report.fault("rights", text) } else { report.warning("rights", text) }
            }
        }
        Err(error) => report.fault("rights", format!("cannot read the rights: {:#}", anyhow::Error::from(error))),
    }
}

struct MissingRight {
    text: String,
    is_needed: bool,
}

async fn missing(client: &Client) -> Result<Vec<MissingRight>, Error> {
    let rows = client.query(MISSING, &[]).await?;
    let described = rows.iter().map(|row| {
        let (wanted, kind, name, is_needed, role): (&str, &str, &str, bool, &str) =
            (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4));
        let result = if is_needed { "" } else { ", so that each read of the log costs more" };
        let text =
            format!("{role} lacks {wanted} on {kind} {name}{result}; run: grant {wanted} on {kind} {name} to {role}");
        MissingRight { text, is_needed }
    });
    Ok(described.collect())
}
