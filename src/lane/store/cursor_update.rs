//! The statement that writes cursors, of one lane or of many at once. Each is written under its lane's epoch: a lane that has lost its row
//! changes nothing. It never waits for a row that somebody has locked: the cursors of other lanes would wait with it.

use std::collections::HashSet;

use deadpool_postgres::GenericClient;

use crate::destination::LaneName;

/// A cursor to be written.
#[derive(Debug, Clone)]
pub(super) struct CursorUpdate {
    pub(super) lane: LaneName,
    pub(super) epoch: i64,
    pub(super) position: i64,
    /// The text of an int8multirange.
    pub(super) pending: String,
    /// How many events were delivered since the cursor was written last.
    pub(super) delivered: i64,
}

/// The outcome of writing a lane's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It is written.
    Yes,
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
                delivered = l.delivered + c.delivered, updated_at = now()
            from (
                select c.* from unnest($1::text[], $2::int8[], $3::int8[], $4::text[], $5::int8[])
                    c (lane, epoch, position, pending, delivered)
                join andon.lanes mine on mine.lane = c.lane and mine.epoch = c.epoch for no key update of mine skip locked
            ) c where l.lane = c.lane and l.epoch = c.epoch returning l.lane",
        )
        .await?;
    let lanes: Vec<&str> = updates.iter().map(|update| update.lane.0.as_str()).collect();
    let pending: Vec<&str> = updates.iter().map(|update| update.pending.as_str()).collect();
    let column = |of: fn(&CursorUpdate) -> i64| updates.iter().map(|update| of(update)).collect::<Vec<i64>>();
    let (epochs, positions) = (column(|update| update.epoch), column(|update| update.position));
    let delivered = column(|update| update.delivered);
    let rows = client.query(&statement, &[&lanes, &epochs, &positions, &pending, &delivered]).await?;
    let written: HashSet<&str> = rows.iter().map(|row| row.get(0)).collect();
    let is_written = |update: &&CursorUpdate| written.contains(update.lane.0.as_str());
    if updates.iter().all(is_written) {
        return Ok(vec![Written::Yes; updates.len()]);
    }
    let owned = owned(client, &lanes, &epochs).await?;
    let outcome = |update: &&CursorUpdate| match owned.contains(&update.lane.0) {
        _ if is_written(update) => Written::Yes,
        true => Written::Locked,
        false => Written::Lost,
    };
    Ok(updates.iter().map(outcome).collect())
}

/// Returns those of these lanes that still have these epochs.
pub(super) async fn owned(
    client: &impl GenericClient,
    lanes: &[&str],
    epochs: &[i64],
) -> Result<HashSet<String>, tokio_postgres::Error> {
    let statement = client
        .prepare_cached(
            "select lane from andon.lanes join unnest($1::text[], $2::int8[]) it (lane, epoch) using (lane, epoch)",
        )
        .await?;
    let rows = client.query(&statement, &[&lanes, &epochs]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
