//! The part of the check that looks at the rights of the role that runs Andon. In: the catalogue. Out: each right that is missing, with the
//! statement that gives it, and what the role may do that it has no need of. It needs no right of its own, so that it finds out what is missing
//! where nothing else can be checked.

use tokio_postgres::Client;
use tokio_postgres::Error;

use crate::cli::check::report::CheckReport;
use crate::cli::check::report::Finding;
use crate::cli::check::report::Grade;
use crate::cli::grants::rights::RUN;

/// What is in the schema, and what is wanted of it. A partition of the log that may not be read directly is read through the whole log.
const OBJECTS: &str = "
    with objects (kind, oid, name, is_part) as materialized (
        select 'schema', n.oid, quote_ident(n.nspname), false from pg_namespace n where n.nspname = 'andon'
        union all
        select case c.relkind when 'S' then 'sequence' else 'table' end, c.oid, format('andon.%I', c.relname), c.relispartition
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'andon' and c.relkind in ('r', 'p', 'v', 'S')
        union all
        select 'function', p.oid, p.oid::regprocedure::text, false
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = 'andon' and p.prokind = 'f' and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
    ), wanted (name, privilege, field, is_needed) as (
        select 'andon', 'usage', null, true
        union all select name, privilege, nullif(field, ''), true from unnest($1::text[], $2::text[], $3::text[]) it (name, privilege, field)
        union all select o.name, 'select', null, false from objects o join pg_inherits i on i.inhrelid = o.oid
            join pg_class whole on whole.oid = i.inhparent where whole.relname = 'events'
    )";

/// Each missing right: the privilege, the column if it is on one, the kind of the object and its name, and whether Andon cannot do without it.
const MISSING: &str = "
    select privilege, case when field is null then '' else format(' (%I)', field) end, kind, name, is_needed, quote_ident(current_user)
    from wanted join objects using (name) where not case kind
        when 'schema' then has_schema_privilege(oid, privilege)
        when 'table' then case when field is null then has_table_privilege(oid, privilege) else has_column_privilege(oid,
            (select attnum from pg_attribute where attrelid = oid and attname = field), privilege) end
        when 'sequence' then has_sequence_privilege(oid, privilege || ', usage')
        else has_function_privilege(oid, privilege) end
    order by kind = 'schema' desc, not is_needed, kind, name, privilege";

/// What the role may do without need. An owner or a superuser may do everything, which is told in one word.
const NEEDLESS: &str = "
    , role as (
        select rolsuper as is_super, rolcreaterole as makes_roles, exists (
            select from pg_namespace where nspname = 'andon' and pg_has_role(nspowner, 'member')) as is_owner
        from pg_roles where rolname = current_user
    ), needless as (
        select o.kind, o.name, it as privilege from objects o
        cross join role cross join lateral unnest(case o.kind when 'schema' then array['create'] when 'sequence' then array['usage', 'update']
            when 'function' then array['execute'] else array['select', 'insert', 'update', 'delete', 'truncate', 'trigger'] end) it
        where not role.is_super and not role.is_owner
        and not exists (select from wanted w where w.name = o.name and w.privilege = it and w.field is null)
        and case o.kind
            when 'schema' then has_schema_privilege(o.oid, it)
            when 'sequence' then has_sequence_privilege(o.oid, it)
            when 'function' then has_function_privilege(o.oid, it)
            when 'table' then case when it in ('select', 'insert', 'update')
                    and not exists (select from wanted w where w.name = o.name and w.privilege = it)
                then has_any_column_privilege(o.oid, it) else has_table_privilege(o.oid, it) end end
    )
    select quote_ident(current_user), array(
        select 'everything, because it is a superuser' from role where is_super
        union all select 'everything in schema andon, which it owns' from role where is_owner and not is_super
        union all select 'make roles' from role where makes_roles and not is_super
        union all (select format('%s on %s', string_agg(privilege, ', ' order by privilege), name) from needless group by kind, name order by kind desc, name)
    )";

/// How many needless rights are named.
const NAMED: usize = 5;

/// Reports the rights that are missing and those that are too much. Where the schema is not there yet, none is.
pub(super) async fn check(client: &Client, report: &mut CheckReport) {
    let (missing, needless) = match compare(client).await {
        Ok(compared) => compared,
        Err(error) => {
            return report.fault("rights", format!("cannot read the rights: {:#}", anyhow::Error::from(error)));
        }
    };
    for MissingRight { text, is_needed } in missing {
        if is_needed { report.fault("rights", text) } else { report.warning("rights", text) }
    }
    let (role, rights) = needless;
    if !rights.is_empty() {
        let named = rights.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
        let more = rights.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!("; and {more} more") };
        let finding =
            Finding::new(Grade::Warning, "rights", format!("{role} may do more than `andon run` needs: {named}{more}"));
        report
            .add(finding.cure(
                "run `andon run` as a role of its own, with the SQL that `andon grants --role andon_run` prints",
            ));
    }
}

struct MissingRight {
    text: String,
    is_needed: bool,
}

async fn compare(client: &Client) -> Result<(Vec<MissingRight>, (String, Vec<String>)), Error> {
    let (mut names, mut privileges, mut fields) = (Vec::new(), Vec::new(), Vec::new());
    let mut want = |name, privilege, field| {
        names.push(name);
        privileges.push(privilege);
        fields.push(field);
    };
    for (on_table, columns, table) in RUN.tables {
        for privilege in on_table.split(", ") {
            columns.split(", ").for_each(|column| want(*table, privilege, column));
        }
    }
    RUN.functions.iter().for_each(|function| want(function, "execute", ""));
    let rows = client.query(&format!("{OBJECTS}{MISSING}"), &[&names, &privileges, &fields]).await?;
    let missing = rows.iter().map(|row| {
        let (privilege, field, kind, name, is_needed, role): (&str, &str, &str, &str, bool, &str) =
            (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4), row.get(5));
        let wanted = format!("{privilege}{field} on {kind} {name}");
        let result = if is_needed { "" } else { ", so that each read of the log costs more" };
        let text = format!("{role} lacks {wanted}{result}; run: grant {wanted} to {role}");
        MissingRight { text, is_needed }
    });
    let needless = client.query_one(&format!("{OBJECTS}{NEEDLESS}"), &[&names, &privileges, &fields]).await?;
    Ok((missing.collect(), (needless.get(0), needless.get(1))))
}
