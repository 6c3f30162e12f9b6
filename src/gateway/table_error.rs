//! Why a table of destinations cannot be read. In: the error. Out: whether it concerns this table alone, and a text that says what to do.

use tokio_postgres::error::SqlState;

use crate::legible;

/// The table does not exist.
#[derive(Debug, thiserror::Error)]
#[error("it is gone or has another name now; rename it back, or attach the source again")]
pub(super) struct Gone;

/// The source that the table belongs to was attached with a profile that this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("andon.sources: unknown profile `{0}`; attach the source again")]
pub(super) struct UnknownProfile(pub(super) String);

/// Returns whether the error speaks of one table. Otherwise it speaks of the connection or of the server.
pub(super) fn is_of_the_table(error: &anyhow::Error) -> bool {
    let Some(error) = error.downcast_ref::<tokio_postgres::Error>() else {
        return error.is::<Gone>() || error.is::<UnknownProfile>();
    };
    let Some(code) = error.code() else {
        // What was sent cannot be read as text; a connection that is closed is none of the table's.
        return !error.is_closed() && error.as_db_error().is_none() && is_of_a_value(error);
    };
    // Connection, server, and shutdown; a statement that takes too long is the table's.
    let of_the_server = ["08", "53", "58"].iter().any(|class| code.code().starts_with(class));
    let is_shutdown = code.code().starts_with("57") && *code != SqlState::QUERY_CANCELED;
    !of_the_server && !is_shutdown
}

/// Returns whether reading the table took too long.
pub(super) fn takes_too_long(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<tokio_postgres::Error>().and_then(|error| error.code());
    code == Some(&SqlState::QUERY_CANCELED)
}

fn is_of_a_value(error: &tokio_postgres::Error) -> bool {
    // The driver says so in its text only.
    error.to_string().starts_with("error deserializing column")
}

/// Says why the table cannot be read, and what to do.
pub(super) fn explain(table: &str, error: &anyhow::Error) -> String {
    let Some(error) = error.downcast_ref::<tokio_postgres::Error>() else {
        return format!("cannot read the destinations in {table}: {error}");
    };
    let (code, message) = match error.as_db_error() {
        Some(error) => (error.code().clone(), error.message().to_owned()),
        None => (SqlState::DATA_EXCEPTION, error.to_string()),
    };
    let advice = if code == SqlState::LOCK_NOT_AVAILABLE {
        "; another session has locked it, and Andon goes on looking"
    } else if code == SqlState::INSUFFICIENT_PRIVILEGE && message.contains("row-level security") {
        "; a policy may hide rows, so give the role `bypassrls`, or switch row-level security off for this table"
    } else if code == SqlState::INSUFFICIENT_PRIVILEGE {
        "; grant `select` on it (and `usage` on its schema) to the role of `andon run`"
    } else if code == SqlState::QUERY_CANCELED {
        "; reading it takes too long"
    } else {
        ""
    };
    let message = legible::line(message);
    format!("cannot read the destinations in {table}: {message}{advice}")
}
