//! The rights that the capture functions of a source need, and that their owner does not have. In: the role to which they belong, and what they
//! read. Out: each right that is missing, with the statement that gives it. Without some of them a change is neither captured nor recorded, and
//! only the server's log has a warning. It only reads.

use tokio_postgres::Transaction;

use crate::capture::error::SourceError;
use crate::capture::plan::reads::Reads;
use crate::capture::sql::quote::identifier;

/// Each missing right: the right, the kind of the object, and its name. Of a table that is looked up, the columns that are read.
const MISSING: &str = "
    with role (name) as (select coalesce($1, current_user::text)), needed (kind, name, wanted) as (
        select 'schema', name, 'usage' from unnest($2::text[]) name
        union all select 'table', 'andon.events', 'insert'
        union all select 'function', p.oid::regprocedure::text, 'execute' from pg_proc p
            where p.pronamespace = 'andon'::regnamespace
            and p.proname in ('capture_failed', 'row_image', 'row_key', 'ring', 'failing_lookups', 'lookup_failed', 'event_type',
                'is_small_enough', 'max_event')
    )
    select distinct wanted, kind, needed.name, quote_ident(role.name) from role cross join needed
    where to_regrole(quote_ident(role.name)) is not null and not case kind
        when 'schema' then coalesce(has_schema_privilege(role.name::name, to_regnamespace(needed.name)::oid, wanted), true)
        when 'table' then coalesce(has_any_column_privilege(role.name::name, to_regclass(needed.name)::oid, wanted), true)
        else has_function_privilege(role.name::name, to_regprocedure(needed.name)::oid, wanted) end
    union all
    select format('select (%s)', string_agg(quote_ident(a.attname), ', ' order by a.attnum)), 'table', it.name, quote_ident(role.name)
    from role cross join unnest($3::text[], $4::text[]) it (name, columns)
    join pg_attribute a on a.attrelid = to_regclass(it.name) and a.attnum > 0 and not a.attisdropped and it.columns::jsonb ? a.attname::text
    where to_regrole(quote_ident(role.name)) is not null and not has_column_privilege(role.name::name, a.attrelid, a.attnum, 'select')
    group by it.name, role.name
    order by 2, 3";

/// A right that the owner of the functions does not have.
pub(super) struct MissingRight {
    /// The kind of the object and its name, as SQL.
    pub(super) of: String,
    /// The statement that gives it.
    pub(super) grant: String,
    /// All of it, for people.
    pub(super) text: String,
}

/// Returns the rights that are missing. Without a role it is the current one. In `schemas` is what is captured and read.
pub(super) async fn missing(
    transaction: &Transaction<'_>,
    role: Option<&str>,
    schemas: impl Iterator<Item = &str>,
    reads: &Reads,
) -> Result<Vec<MissingRight>, SourceError> {
    let schemas: Vec<String> = std::iter::once("andon").chain(schemas).map(identifier).collect();
    let (tables, columns) = reads.lists();
    let rows = transaction.query(MISSING, &[&role, &schemas, &tables, &columns]).await;
    let rows = rows.map_err(|error| SourceError::database("look for the rights of the functions' owner", error))?;
    let missing = rows.iter().map(|row| {
        let (wanted, kind, name, role): (&str, &str, &str, &str) = (row.get(0), row.get(1), row.get(2), row.get(3));
        let of = format!("{kind} {name}");
        let grant = format!("grant {wanted} on {of} to {role}");
        let text = format!("{role}, to which the capture functions belong, lacks {wanted} on {of}; run: {grant}");
        MissingRight { of, grant, text }
    });
    Ok(missing.collect())
}
