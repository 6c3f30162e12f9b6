//! Events that cannot be read. In: a row that cannot be decoded, or that the server refuses to send. Out: a record of it in
//! `andon.capture_errors`, made and logged once, so that the readers can pass it. One odd row is one event, and never a lost connection.

use std::sync::Arc;

use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::GenericClient;
use tokio_postgres::Row;

use crate::event::Event;
use crate::log::event_row;

/// An event that is passed because it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetAside {
    /// Its place in the log.
    pub(crate) id: i64,
    code: String,
    reason: String,
}

/// A row of the log as an event, or as one that is set aside.
pub(crate) type Found = Result<Arc<Event>, SetAside>;

/// Rows that were read one by one.
#[derive(Debug, Default)]
pub(crate) struct Portion {
    /// The rows, by id.
    pub(crate) found: Vec<Found>,
    /// There may be more.
    pub(crate) is_cut: bool,
}

/// The code of a row that the server sends and that cannot be decoded: a value that is out of range, or not in the encoding.
const NOT_DECODED: &str = "22000";
/// The classes of errors that the data of one row causes: a value that cannot be sent, one that is too large, and damaged storage.
/// Everything else, such as a lost connection or a full memory, may pass by itself.
const OF_A_ROW: [&str; 3] = ["22", "54", "XX"];

/// Rows that are read one by one are no more than these bytes and one row.
const BYTES: usize = 4 << 20;

/// Decodes a row that begins with the columns of an event.
pub(crate) fn decode(row: &Row) -> Found {
    event_row::event(row).map_err(|error| SetAside::new(row.get(0), &error))
}

/// Returns the id of a row.
pub(crate) fn id(found: &Found) -> i64 {
    match found {
        Ok(event) => event.id,
        Err(set_aside) => set_aside.id,
    }
}

/// Returns whether the server refused a statement because of a row that it was to read.
pub(crate) fn is_of_a_row(error: &Error) -> bool {
    error.code().is_some_and(|code| OF_A_ROW.iter().any(|class| code.code().starts_with(class)))
}

/// Reads the rows with ids from `low` to `high`, each by itself, `most` at most; with a tenant, only its rows. It stops at the first one that
/// the server refuses, because that may have taken the server seconds. Call it in a transaction: it sets a savepoint.
pub(crate) async fn read_each(
    client: &impl GenericClient,
    (low, high): (i64, i64),
    tenant: Option<&str>,
    most: usize,
) -> Result<Portion, Error> {
    client.batch_execute("savepoint each").await?;
    let of_tenant = "andon.events where ($1::text is null or $1 = '*' or tenant = $1)";
    let list = format!("select id from {of_tenant} and id between $2 and $3 order by id limit $4");
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    let ids: Box<dyn Iterator<Item = i64> + Send> = match client.query(&list, &[&tenant, &low, &high, &limit]).await {
        Ok(rows) => Box::new(rows.into_iter().map(|row| row.get(0))),
        Err(error) if is_of_a_row(&error) => {
            // A page is damaged. What is on the others is found by trying.
            client.batch_execute("rollback to each").await?;
            Box::new(low..=high)
        }
        Err(error) => return Err(error),
    };
    let read = client.prepare(&format!("select {} from {of_tenant} and id = $2", event_row::COLUMNS)).await?;
    let (mut portion, mut bytes) = (Portion::default(), 0);
    for id in ids {
        match client.query_opt(&read, &[&tenant, &id]).await {
            Ok(row) => {
                bytes += row.as_ref().map_or(0, Row::raw_size_bytes);
                portion.found.extend(row.as_ref().map(decode));
            }
            Err(error) if is_of_a_row(&error) => {
                client.batch_execute("rollback to each").await?;
                portion.found.push(Err(SetAside::new(id, &error)));
                portion.is_cut = true;
            }
            Err(error) => return Err(error),
        }
        portion.is_cut |= portion.found.len() == most || bytes > BYTES;
        if portion.is_cut {
            break;
        }
    }
    Ok(portion)
}

/// Records these events, and logs those that neither this daemon nor another has recorded before.
pub(crate) async fn record(client: &Client, events: &[SetAside]) -> Result<(), Error> {
    if events.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = events.iter().map(|event| event.id).collect();
    let codes: Vec<&str> = events.iter().map(|event| event.code.as_str()).collect();
    let reasons: Vec<&str> = events.iter().map(|event| event.reason.as_str()).collect();
    let recorded = client
        .query(
            "select event.id, andon.set_aside(event.id, event.code, event.reason)
            from unnest($1::int8[], $2::text[], $3::text[]) event (id, code, reason)",
            &[&ids, &codes, &reasons],
        )
        .await;
    let fates: Vec<(i64, Option<bool>)> = match recorded {
        Ok(rows) => rows.iter().map(|row| (row.get(0), row.get(1))).collect(),
        Err(error) if error.as_db_error().is_some() => {
            tracing::error!(error = chain(&error), "cannot record in andon.capture_errors that events cannot be read");
            ids.into_iter().map(|id| (id, Some(true))).collect()
        }
        Err(error) => return Err(error),
    };
    for SetAside { id, code, reason } in events {
        match fates.iter().find(|(of, _)| of == id).map(|(_, is_new)| *is_new) {
            Some(Some(true)) => {
                tracing::error!(event = id, code, reason, "this event of the log cannot be read, so nobody gets it");
            }
            // The server has failed for a moment. Such an event is not recorded, so that nobody can make failures up.
            Some(None) => {
                let told = "this event of the log could not be read and can be now; whoever has passed it gets it by `andon replay` only";
                tracing::error!(event = id, code, reason, "{told}");
            }
            _ => {}
        }
    }
    Ok(())
}

impl SetAside {
    fn new(id: i64, error: &Error) -> SetAside {
        let code = error.code().map_or(NOT_DECODED, |code| code.code());
        SetAside { id, code: code.to_owned(), reason: chain(error) }
    }
}

/// Returns an error with all of its causes.
fn chain(error: &Error) -> String {
    anyhow::Chain::new(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
