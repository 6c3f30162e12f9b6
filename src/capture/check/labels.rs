//! Explains a value that is none of an enumeration's. In: what PostgreSQL objects to. Out: the message of a finding, with the values that
//! there are, and the nearest of them.

use tokio_postgres::Error;
use tokio_postgres::Transaction;
use tokio_postgres::error::DbError;
use tokio_postgres::error::SqlState;

use crate::nearest::nearest;

/// Returns the enumeration and the value, if the value is none of the enumeration's.
pub(super) fn enumeration(error: &DbError) -> Option<(&str, &str)> {
    if *error.code() != SqlState::INVALID_TEXT_REPRESENTATION {
        return None;
    }
    let (name, value) = error.message().strip_prefix("invalid input value for enum ")?.split_once(": ")?;
    Some((name, value.trim_matches('"')))
}

/// Returns the message, if the value is none of an enumeration's.
pub(super) async fn explain(transaction: &Transaction<'_>, error: &DbError) -> Result<Option<String>, Error> {
    let Some((name, value)) = enumeration(error) else { return Ok(None) };
    let labels = "select enumlabel::text from pg_enum where enumtypid = to_regtype($1) order by enumsortorder";
    let labels: Vec<String> = transaction.query(labels, &[&name]).await?.iter().map(|row| row.get(0)).collect();
    let proposal = nearest(value, labels.iter().map(String::as_str))
        .map_or(String::new(), |label| format!("; the nearest is '{label}'"));
    let labels: Vec<String> = labels.iter().map(|label| format!("'{label}'")).collect();
    Ok(Some(format!("'{value}' is no value of {name}{proposal}; its values are {}", labels.join(", "))))
}
