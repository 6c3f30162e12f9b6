//! The statement that writes cursors, of one lane or of many at once. Each is written under its lane's epoch: a lane that has lost its row
//! changes nothing. It also names how many writes of the row are known to have been made: where the row has fewer, the database lost one
//! (a crash that did not flush it, a standby that lagged), and what the lane has in memory is not what is stored.

use std::collections::BTreeMap;

use deadpool_postgres::GenericClient;

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
    /// How many events were delivered since the cursor was written last.
    pub(super) delivered: i64,
}

/// The way to treat a row that another transaction has locked.
#[derive(Debug, Clone, Copy)]
pub(super) enum LockedRows {
    /// Wait until it is free.
    Wait,
    /// Leave it out.
    Skip,
}

impl LockedRows {
    fn clause(self) -> &'static str {
        match self {
            LockedRows::Wait => "",
            LockedRows::Skip => "skip locked",
        }
    }
}

/// Writes these cursors in one statement. Returns the lanes whose cursors were written, and how many writes their rows have: not those that
/// have lost their rows, nor those whose locked rows were left out.
pub(super) async fn write(
    client: &impl GenericClient,
    updates: &[&CursorUpdate],
    locked: LockedRows,
) -> Result<BTreeMap<LaneName, i64>, tokio_postgres::Error> {
    let statement = client
        .prepare_cached(&format!(
            "update andon.lanes l set position = c.position, pending = c.pending::int8multirange,
                delivered = l.delivered + c.delivered, writes = l.writes + 1, updated_at = now()
            from (
                select c.* from unnest($1::text[], $2::int8[], $3::int8[], $4::text[], $5::int8[], $6::int8[])
                    c (lane, epoch, position, pending, delivered, writes)
                join andon.lanes mine on mine.lane = c.lane and mine.epoch = c.epoch for no key update of mine {}
            ) c where l.lane = c.lane and l.epoch = c.epoch and l.writes >= c.writes returning l.lane, l.writes",
            locked.clause()
        ))
        .await?;
    let lanes: Vec<&str> = updates.iter().map(|update| update.lane.0.as_str()).collect();
    let pending: Vec<&str> = updates.iter().map(|update| update.pending.as_str()).collect();
    let column = |of: fn(&CursorUpdate) -> i64| updates.iter().map(|update| of(update)).collect::<Vec<i64>>();
    let (epochs, positions) = (column(|update| update.epoch), column(|update| update.position));
    let (delivered, writes) = (column(|update| update.delivered), column(|update| update.writes));
    let rows = client.query(&statement, &[&lanes, &epochs, &positions, &pending, &delivered, &writes]).await?;
    Ok(rows.iter().map(|row| (LaneName(row.get(0)), row.get(1))).collect())
}
