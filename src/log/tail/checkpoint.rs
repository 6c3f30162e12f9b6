//! The tail's row in `andon.tail`, and the proof that the log is still the one that was read. In: how far the tail is. Out: where it goes
//! on, or that the log is not the same any more. It decides nothing about the lanes.
//!
//! What is stored lies in the same database as the log. After the promotion of a standby that lagged, after a crash that lost what was not
//! flushed, or from a snapshot, it says what this log says: the row of a tail or of a lane that had read an event was written after the
//! event. Only what a daemon has in memory may be of a log that does not exist any more.

use std::sync::Arc;

use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::GenericClient;
use uuid::Uuid;

use crate::log::set_aside;
use crate::ranges::Ranges;

/// How far a tail was when it lost its connection, and how the log can be recognised.
#[derive(Debug, Clone)]
pub struct Reached {
    /// The largest id read.
    pub position: i64,
    /// The open holes.
    pub undecided: Arc<Ranges>,
    /// The identity of the log that was read.
    pub mark: Mark,
}

/// By what the log is recognised: the server, and one event. The event alone would almost do. The server is compared as well because what a
/// promoted standby has lost need not be an event: the end of a prepared transaction decides holes, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The system identifier and the timeline, as far as the server tells.
    pub server: String,
    /// The event at the position, if there is one in the log.
    pub event: Option<Uuid>,
}

/// The log is not the one that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WentBack {
    /// How it differs.
    pub reason: String,
    /// Where the stored positions have to be set back to. `None` where they are those of this log, so that only what this daemon has in
    /// memory is wrong.
    pub to: Option<i64>,
}

/// The stored row.
#[derive(Debug)]
pub(super) struct Stored {
    /// The largest id read.
    pub(super) position: i64,
    /// The open holes.
    pub(super) undecided: Arc<Ranges>,
    /// The identity of the log, with the event at the position from which the tail goes on.
    pub(super) mark: Mark,
}

/// Reads the row, and compares the log with the one that this process has read so far.
pub(super) async fn load(client: &Client, reached: Option<&Reached>) -> Result<Result<Stored, WentBack>, Error> {
    let row = client
        .query_one(
            "select position, holes::text, greatest(position, (select max(position) from andon.lanes)),
                coalesce(pg_sequence_last_value(pg_get_serial_sequence('andon.events', 'id')::regclass), 0)
            from andon.tail",
            &[],
        )
        .await?;
    let (position, furthest, last_id): (i64, i64, i64) = (row.get(0), row.get(2), row.get(3));
    if furthest > last_id {
        let reason = format!("the log ends at {last_id}, before the position {furthest} that was read");
        return Ok(Err(WentBack { reason, to: Some(last_id) }));
    }
    let event = event_id(client, reached.map_or(position, |reached| reached.position)).await?;
    let mark = Mark { server: server(client).await?, event };
    if let Some(reason) = reached.and_then(|reached| difference(reached, &mark)) {
        let reason = format!("{reason}; what is stored had reached {position}, and the log ends at {last_id}");
        return Ok(Err(WentBack { reason, to: None }));
    }
    let undecided = Arc::new(Ranges::parse(row.get(1)).expect("the column is an int8multirange"));
    Ok(Ok(Stored { position, undecided, mark }))
}

/// Returns why the log cannot be proved to be the one that was read, if it cannot.
fn difference(reached: &Reached, now: &Mark) -> Option<String> {
    let Reached { position, mark: before, .. } = reached;
    if before.server != now.server {
        return Some(format!("the server is not the one that was read ({}; now {})", before.server, now.server));
    }
    match (before.event, now.event) {
        (Some(before), Some(now)) if before == now => None,
        (Some(_), Some(_)) => Some(format!("event {position} is not the one that was read")),
        (Some(_), None) => Some(format!("event {position}, the last that was read, is not in the log")),
        // Nothing was read.
        (None, _) if *position == 0 => None,
        (None, _) => Some(format!("the event at {position}, where reading began, was not in the log any more")),
    }
}

/// Returns the event at a position. Where it cannot be read, nothing is proved.
async fn event_id(client: &Client, position: i64) -> Result<Option<Uuid>, Error> {
    match client.query_opt("select event_id from andon.events where id = $1", &[&position]).await {
        Ok(row) => Ok(row.map(|row| row.get(0))),
        Err(error) if set_aside::is_of_a_row(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Names the server and its timeline. A service that keeps one of them to itself is told apart by the other.
async fn server(client: &Client) -> Result<String, Error> {
    let told = |told: Result<tokio_postgres::Row, Error>| match told {
        Ok(row) => Ok(row.get(0)),
        Err(error) if error.as_db_error().is_some() => Ok("unknown".to_owned()),
        Err(error) => Err(error),
    };
    let system = client.query_one("select system_identifier::text from pg_control_system()", &[]).await;
    // What `pg_control_checkpoint()` says is the old timeline until the first checkpoint after a promotion.
    let timeline = client.query_one("select ltrim(left(pg_walfile_name(pg_current_wal_lsn()), 8), '0')", &[]).await;
    let (system, timeline): (String, String) = (told(system)?, told(timeline)?);
    Ok(format!("system {system}, timeline {timeline}"))
}

/// Writes down how far the tail is. Where the row says that a tail is further, it stays as it is. The transaction waits neither for the disk,
/// because to lose this in a crash costs nothing, nor long for somebody who has locked the row.
pub async fn store(client: &mut Client, position: i64, undecided: &Ranges) -> Result<(), Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute("set local synchronous_commit = off; set local lock_timeout = '1s'").await?;
    let statement =
        "update andon.tail set position = $1, holes = $2::text::int8multirange, seen_at = now() where position <= $1";
    transaction.execute(statement, &[&position, &undecided.to_string()]).await?;
    transaction.commit().await
}

/// Sets the tail back to the last id that the log has given out. The lanes must be set back to it as well.
pub async fn rewind(client: &impl GenericClient, to: i64) -> Result<(), Error> {
    client
        .execute(
            "update andon.tail set position = least(position, $1), holes = holes * int8multirange(int8range(null, $1, '[]')),
                seen_at = now()",
            &[&to],
        )
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(server: &str, event: Option<u128>) -> Mark {
        Mark { server: server.to_owned(), event: event.map(Uuid::from_u128) }
    }

    fn told(position: i64, before: Mark, now: &Mark) -> Option<String> {
        difference(&Reached { position, undecided: Arc::default(), mark: before }, now)
    }

    #[test]
    fn only_the_same_event_on_the_same_server_proves_that_the_log_is_the_same() {
        let same = mark("one", Some(7));

        assert_eq!(told(300, same.clone(), &same), None);
        assert_eq!(told(0, mark("one", None), &mark("one", None)), None, "nothing was read");
        for other in [mark("two", Some(7)), mark("one", Some(8)), mark("one", None)] {
            assert!(told(300, same.clone(), &other).is_some(), "{other:?}");
        }
        assert!(told(300, mark("one", None), &same).is_some(), "nobody knows what was read");
    }
}
