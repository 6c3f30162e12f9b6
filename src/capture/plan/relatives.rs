//! The tables that a captured table shares rows with, and who else captures them. In: tables, and the system catalogue. Out: their
//! identities, a refusal where one change would be captured twice by one source, and a warning where two sources capture it. It only reads.

use std::collections::BTreeSet;

use tokio_postgres::Transaction;

use crate::capture::error::SourceError;
use crate::capture::mapping::Mapping;
use crate::capture::sql::trigger;

/// Each table with its partitions and the tables that inherit from it, at any depth.
const TREE: &str = "with recursive tree (root, oid) as (
        select name, name::regclass::oid from unnest($1::text[]) name
        union select tree.root, i.inhrelid from tree join pg_inherits i on i.inhparent = tree.oid
    )";

/// Refuses to compare where the role has no right to name the tables: PostgreSQL would say that nothing in the mapping fits.
pub(crate) async fn refuse_without_usage(transaction: &Transaction<'_>, mapping: &Mapping) -> Result<(), SourceError> {
    let lookups = mapping.captures.iter().flat_map(|capture| &capture.lookups).map(|lookup| &lookup.table);
    let captured = mapping.captures.iter().map(|capture| &capture.table);
    let destinations = [&mapping.mqtt_publishers, &mapping.webhooks].into_iter().flatten();
    let schemas: Vec<&str> = captured.chain(lookups).chain(destinations).map(|table| table.schema.as_str()).collect();
    let sql =
        "select quote_ident(current_user), string_agg(quote_ident(nspname), ', ' order by nspname) from pg_namespace
        where nspname = any($1) and not has_schema_privilege(oid, 'usage')";
    let row = transaction.query_one(sql, &[&schemas]).await;
    let row = row.map_err(|error| SourceError::database("look for the right to use the schemas", error))?;
    match row.get(1) {
        Some(schemas) => Err(SourceError::NoUsage { role: row.get(0), schemas }),
        None => Ok(()),
    }
}

/// Returns the identities of tables, which stay when their names change. A table that is gone has none.
pub(super) async fn identities(transaction: &Transaction<'_>, tables: &[&str]) -> Result<Vec<u32>, SourceError> {
    let sql = "select coalesce(to_regclass(name)::oid, 0::oid) from unnest($1::text[]) with ordinality it (name, place) order by place";
    let rows = transaction.query(sql, &[&tables]).await;
    let rows = rows.map_err(|error| SourceError::database("look for the tables", error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Refuses a mapping that names a table and a part of it: each change of the part would be two events.
pub(super) async fn refuse_overlap(transaction: &Transaction<'_>, tables: &[&str]) -> Result<(), SourceError> {
    let sql = format!(
        "{TREE} select tree.root, name from tree join unnest($1::text[]) name on name::regclass::oid = tree.oid
         where name <> tree.root order by 1, 2 limit 1"
    );
    let row = transaction.query_opt(&sql, &[&tables]).await;
    match row.map_err(|error| SourceError::database("look for partitions", error))? {
        Some(row) => Err(SourceError::Overlap { whole: row.get(0), part: row.get(1) }),
        None => Ok(()),
    }
}

/// Returns a warning for each table whose changes another source captures as well.
pub(super) async fn captured_by_others(
    transaction: &Transaction<'_>,
    source: &str,
    tables: &[&str],
) -> Result<Vec<String>, SourceError> {
    let sql = format!(
        "{TREE} select distinct tree.root, d.description from tree join pg_trigger t on t.tgrelid = tree.oid
         join pg_description d on d.objoid = t.tgfoid and d.classoid = 'pg_proc'::regclass and d.objsubid = 0
         where starts_with(d.description, 'andon source ') and not starts_with(d.description, $2) order by 1, 2"
    );
    let rows = transaction.query(&sql, &[&tables, &trigger::comment_prefix(source)]).await;
    let rows = rows.map_err(|error| SourceError::database("look for other sources of the tables", error))?;
    let shared: BTreeSet<(String, String)> = rows
        .iter()
        .filter_map(|row| {
            let (name, _) = row.get::<_, &str>(1).strip_prefix("andon source ")?.split_once(": captures ")?;
            Some((row.get(0), name.to_owned()))
        })
        .collect();
    let warnings = shared.iter().map(|(table, other)| {
        format!("source `{other}` captures {table} as well as `{source}`, so that each change makes the events of both; detach one if that is not meant")
    });
    Ok(warnings.collect())
}
