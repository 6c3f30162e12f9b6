//! The tail's row in `andon.tail`. In: how far the tail is. Out: where it goes on, or that the log went back in time. It compares the
//! server with the one that was read before; it never reads an event.

use std::sync::Arc;

use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::Row;

use crate::ranges::Ranges;

/// Which server is read, and which timeline of its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerIdentity {
    system: i64,
    timeline: i32,
}

/// How far a tail was when it lost its connection.
#[derive(Debug, Clone)]
pub struct Reached {
    /// The largest id read.
    pub position: i64,
    /// The open holes.
    pub undecided: Arc<Ranges>,
    /// The server that it read.
    pub server: ServerIdentity,
}

/// The log went back in time: the server was restored, or a standby that lagged was promoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WentBack {
    /// How the server differs from the one that was read before.
    pub reason: String,
    /// The last id up to which the log is still what was read. `None` where another daemon has rewound the lanes and the tail already, so
    /// that only this daemon has to start again.
    pub to: Option<i64>,
}

/// The stored row, of the server that was read before or of one with the same history.
#[derive(Debug)]
pub(super) struct Stored {
    /// The largest id read.
    pub(super) position: i64,
    /// The open holes.
    pub(super) undecided: Arc<Ranges>,
    /// The server, as it is now.
    pub(super) server: ServerIdentity,
}

/// A promoted standby accepted its first write after the last answer of the old primary. This allows for how far the clocks of the two
/// servers may differ.
const CLOCK_MARGIN: &str = "5 minutes";

/// Reads the row and compares the server with the one that it names, and with the one that this process has reached. Where the log did not
/// go back, the row names this server from now on.
pub(super) async fn load(client: &Client, reached: Option<&Reached>) -> Result<Result<Stored, WentBack>, Error> {
    let row = client
        .query_one(
            "select position, holes::text, tail.system_identifier, timeline, control.system_identifier, checkpoint.timeline_id,
                coalesce(pg_sequence_last_value(pg_get_serial_sequence('andon.events', 'id')::regclass), 0)
            from andon.tail tail, pg_control_system() control, pg_control_checkpoint() checkpoint",
            &[],
        )
        .await?;
    if let Some(went_back) = went_back(client, &row, reached).await? {
        return Ok(Err(went_back));
    }
    client
        .execute(
            "update andon.tail tail set system_identifier = control.system_identifier, timeline = checkpoint.timeline_id
            from pg_control_system() control, pg_control_checkpoint() checkpoint
            where (tail.system_identifier, tail.timeline)
                is distinct from (control.system_identifier, checkpoint.timeline_id)",
            &[],
        )
        .await?;
    Ok(Ok(Stored {
        position: row.get(0),
        undecided: Arc::new(Ranges::parse(row.get(1)).expect("the column is an int8multirange")),
        server: ServerIdentity { system: row.get(4), timeline: row.get(5) },
    }))
}

/// Writes down how far the tail is. Where the row says that a tail is further, it stays as it is.
pub async fn store(client: &Client, position: i64, undecided: &Ranges) -> Result<(), Error> {
    let statement =
        "update andon.tail set position = $1, holes = $2::text::int8multirange, seen_at = now() where position <= $1";
    client.execute(statement, &[&position, &undecided.to_string()]).await?;
    Ok(())
}

/// Sets the tail back to the last id up to which the log can be trusted, so that everything after it is read again. The lanes must be set
/// back to it as well.
pub async fn rewind(client: &Client, to: i64) -> Result<(), Error> {
    client
        .execute(
            "update andon.tail set position = least(position, $1), holes = holes * int8multirange(int8range(null, $1, '[]')),
                system_identifier = null, timeline = null, seen_at = now()",
            &[&to],
        )
        .await?;
    Ok(())
}

/// Compares the server with the one that was read before. `row` is the one that [`load`] has read.
async fn went_back(client: &Client, row: &Row, reached: Option<&Reached>) -> Result<Option<WentBack>, Error> {
    let (position, last_id): (i64, i64) = (row.get(0), row.get(6));
    let known: (Option<i64>, Option<i32>) = (row.get(2), row.get(3));
    let found: (i64, i32) = (row.get(4), row.get(5));
    if let (Some(system), Some(timeline)) = known
        && (system, timeline) != found
    {
        // What was written on the new timeline has a later time than the last answer of the old one.
        let to: i64 = client
            .query_one(
                &format!(
                    "select least($1, $2, coalesce((select min(id) - 1 from andon.events, andon.tail
                        where captured_at > seen_at - interval '{CLOCK_MARGIN}'), $1))"
                ),
                &[&position, &last_id],
            )
            .await?
            .get(0);
        let reason = format!(
            "the server is not the one that was read before (system {system}, timeline {timeline}; now {}, {})",
            found.0, found.1
        );
        return Ok(Some(WentBack { reason, to: Some(to) }));
    }
    if position > last_id {
        let reason = format!("the log ends at {last_id}, before the position {position} that was read");
        return Ok(Some(WentBack { reason, to: Some(last_id) }));
    }
    let is_other_history = |at: &Reached| at.position > last_id || (at.server.system, at.server.timeline) != found;
    if reached.is_some_and(is_other_history) {
        let reason = "another daemon found it so, and has set the lanes back".to_owned();
        return Ok(Some(WentBack { reason, to: None }));
    }
    Ok(None)
}
