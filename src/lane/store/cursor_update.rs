//! The statement that writes cursors, of one lane or of many at once. Each is written under its lane's epoch: a lane that has lost its row
//! changes nothing. It also names how many writes of the row are known to have been made: where the row has fewer, the database lost one
//! (a crash that did not flush it, a standby that lagged), and what the lane has in memory is not what is stored. It never waits for a row
//! that somebody has locked: the cursors of other lanes would wait with it.

use std::collections::HashMap;
use std::collections::HashSet;

use deadpool_postgres::GenericClient;
use uuid::Uuid;

use crate::destination::LaneName;

/// A cursor to be written.
#[derive(Debug, Clone)]
pub(super) struct CursorUpdate {
    pub(super) lane: LaneName,
    pub(super) epoch: i64,
    /// How many writes the row has at least.
    pub(super) writes: i64,
    pub(super) position: i64,
    /// The text of an int8multirange.
    pub(super) pending: String,
    pub(super) shared: Option<Uuid>,
    /// The text of an int8multirange.
    pub(super) filled: String,
    /// How many events were delivered since the cursor was written last.
    pub(super) delivered: i64,
}

/// The outcome of writing a lane's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It is written, and so many writes of the row were made so far.
    Yes(i64),
    /// Another session holds the row's lock, so that nothing was written.
    Locked,
    /// The lane does not own the row any more.
    Lost,
}

/// Writes these cursors in one statement, and returns the outcome of each.
pub(super) async fn write(
    client: &impl GenericClient,
    updates: &[&CursorUpdate],
) -> Result<Vec<Written>, tokio_postgres::Error> {
    let statement = client
        .prepare_cached(
            "update andon.lanes l set position = c.position, pending = c.pending::int8multirange,
                shared_holes = c.shared, filled = c.filled::int8multirange,
                delivered = l.delivered + c.delivered, writes = l.writes + 1, updated_at = now()
            from (
                select c.* from unnest($1::text[], $2::int8[], $3::int8[], $4::text[], $5::int8[], $6::int8[], $7::uuid[], $8::text[])
                    c (lane, epoch, position, pending, delivered, writes, shared, filled)
                join andon.lanes mine on mine.lane = c.lane and mine.epoch = c.epoch for no key update of mine skip locked
            ) c where l.lane = c.lane and l.epoch = c.epoch and l.writes >= c.writes returning l.lane, l.writes",
        )
        .await?;
    let lanes: Vec<&str> = updates.iter().map(|update| update.lane.0.as_str()).collect();
    let pending: Vec<&str> = updates.iter().map(|update| update.pending.as_str()).collect();
    let shared: Vec<Option<Uuid>> = updates.iter().map(|update| update.shared).collect();
    let filled: Vec<&str> = updates.iter().map(|update| update.filled.as_str()).collect();
    let column = |of: fn(&CursorUpdate) -> i64| updates.iter().map(|update| of(update)).collect::<Vec<i64>>();
    let (epochs, positions) = (column(|update| update.epoch), column(|update| update.position));
    let (delivered, writes) = (column(|update| update.delivered), column(|update| update.writes));
    let rows = client
        .query(&statement, &[&lanes, &epochs, &positions, &pending, &delivered, &writes, &shared, &filled])
        .await?;
    let written: HashMap<&str, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let is_left_out = |update: &&CursorUpdate| !written.contains_key(update.lane.0.as_str());
    let owned = match updates.iter().any(is_left_out) {
        true => owned(client, &lanes, &epochs, &writes).await?,
        false => HashSet::new(),
    };
    let outcome = |update: &&CursorUpdate| match written.get(update.lane.0.as_str()) {
        Some(writes) => Written::Yes(*writes),
        None if owned.contains(&update.lane.0) => Written::Locked,
        None => Written::Lost,
    };
    Ok(updates.iter().map(outcome).collect())
}

/// Returns those of these lanes that still have these epochs, and at least so many writes.
pub(super) async fn owned(
    client: &impl GenericClient,
    lanes: &[&str],
    epochs: &[i64],
    writes: &[i64],
) -> Result<HashSet<String>, tokio_postgres::Error> {
    let statement = client
        .prepare_cached(
            "select lane from andon.lanes known join unnest($1::text[], $2::int8[], $3::int8[]) it (lane, epoch, writes) using (lane, epoch)
            where known.writes >= it.writes",
        )
        .await?;
    let rows = client.query(&statement, &[&lanes, &epochs, &writes]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
