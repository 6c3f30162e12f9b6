//! Look-ups that find nothing when a foreign key deletes the row. In: the captured tables with their rules, and the foreign keys of the
//! catalogue. Out: a warning for each look-up of a delete that reads a row which takes the deleted one along. It only reads.

use tokio_postgres::Transaction;

use crate::capture::check::CheckedTable;
use crate::capture::error::SourceError;
use crate::capture::mapping::Operation;

/// Each table with those whose deletes reach it, directly or through others.
const ABOVE: &str = "with recursive above (child, oid) as (
        select child, child::regclass::oid from unnest($1::text[]) child
        union select above.child, k.confrelid from above
        join pg_constraint k on k.conrelid = above.oid and k.contype = 'f' and k.confdeltype = 'c'
    )
    select place from unnest($1::text[], $2::text[]) with ordinality it (child, parent, place)
    where child::regclass <> parent::regclass
      and exists (select from above where above.child = it.child and above.oid = it.parent::regclass)
    order by place";

/// Returns the warnings of a source.
pub(super) async fn warnings(
    transaction: &Transaction<'_>,
    tables: &[CheckedTable],
) -> Result<Vec<String>, SourceError> {
    let mut read = Vec::new();
    for captured in tables {
        let deletes = captured.rules.iter().filter(|rule| rule.operation == Operation::Delete);
        for lookup in deletes.flat_map(|rule| rule.used_lookups()) {
            let one = (&captured.table.sql, lookup.table.sql(), &lookup.alias);
            if !read.contains(&one) {
                read.push(one);
            }
        }
    }
    let children: Vec<&str> = read.iter().map(|(child, ..)| child.as_str()).collect();
    let parents: Vec<&str> = read.iter().map(|(_, parent, _)| parent.as_str()).collect();
    let rows = transaction.query(ABOVE, &[&children, &parents]).await;
    let rows = rows.map_err(|error| SourceError::database("look for deletes that cascade", error))?;
    let places = rows.iter().filter_map(|row| usize::try_from(row.get::<_, i64>(0) - 1).ok());
    let warning = |place: usize| {
        let (child, parent, alias) = &read[place];
        format!(
            "look-up `{alias}` of the deletes of {child} finds nothing when a row of {parent} is deleted and takes them along (on delete cascade); \
             keep in {child} what the event needs, or take it from the event of {parent}, which comes first"
        )
    };
    Ok(places.map(warning).collect())
}
