//! Writes the rows of many lanes at once, for the supervisor and not for a lane: which lanes exist, which daemon serves them, and where
//! they stand after the log went back in time.

use std::collections::BTreeMap;

use tokio_postgres::GenericClient;
use tokio_postgres::Transaction;
use uuid::Uuid;

use crate::destination::LaneName;
use crate::lane::store::error::StoreError;
use crate::lane::store::row::Claim;

/// Marks all lanes but these as removed, because their destinations are gone or not active: one that comes back later starts at that time.
/// A lane that another living daemon serves is left to that daemon.
pub async fn mark_removed(client: &impl GenericClient, kept: &[&LaneName], daemon: Uuid) -> Result<(), StoreError> {
    client
        .execute(
            "update andon.lanes l set state = 'removed', reason = null, epoch = epoch + 1, daemon = null, state_since = now()
            where lane <> all ($1) and state <> 'removed' and (l.daemon = $2 or not andon.is_served(l.daemon))",
            &[&names(kept), &daemon],
        )
        .await?;
    Ok(())
}

/// Returns which daemon serves each of these lanes. A lane that nobody serves, or that has no row yet, has none.
pub async fn served_by(
    client: &impl GenericClient,
    lanes: &[&LaneName],
) -> Result<BTreeMap<LaneName, Option<Uuid>>, StoreError> {
    let mut served: BTreeMap<LaneName, Option<Uuid>> = lanes.iter().map(|lane| ((*lane).clone(), None)).collect();
    let rows = client.query("select lane, daemon from andon.lanes where lane = any ($1)", &[&names(lanes)]).await?;
    served.extend(rows.iter().map(|row| (LaneName(row.get(0)), row.get(1))));
    Ok(served)
}

/// Returns the lanes whose rows are not what they know of any more: they were taken away, or the database has lost what they wrote. A lane
/// that writes nothing would not find out.
pub async fn taken_away(client: &impl GenericClient, claims: &[Claim]) -> Result<Vec<LaneName>, StoreError> {
    let lanes: Vec<&LaneName> = claims.iter().map(|claim| &claim.lane).collect();
    let (epochs, writes): (Vec<i64>, Vec<i64>) = claims.iter().map(|claim| (claim.epoch, claim.writes)).unzip();
    let rows = client
        .query(
            "select claim.lane from unnest($1::text[], $2::int8[], $3::int8[]) claim (lane, epoch, writes)
            left join andon.lanes l on l.lane = claim.lane and l.epoch = claim.epoch and l.writes >= claim.writes
            where l.lane is null",
            &[&names(&lanes), &epochs, &writes],
        )
        .await?;
    Ok(rows.iter().map(|row| LaneName(row.get(0))).collect())
}

/// Gives these lanes up for the other daemons, and wakes them.
pub async fn release(client: &impl GenericClient, lanes: &[&LaneName], daemon: Uuid) -> Result<(), StoreError> {
    client
        .execute(
            "with released as (
                update andon.lanes set daemon = null where lane = any ($1) and daemon = $2 returning lane
            )
            select andon.notify_destinations() from released limit 1",
            &[&names(lanes), &daemon],
        )
        .await?;
    Ok(())
}

/// Moves the lanes back to `to`, because the log went back to it. Each gets a new epoch, so that nothing is written of what was read
/// before. Returns how many lanes had been further.
pub async fn rewind(client: &impl GenericClient, to: i64) -> Result<u64, StoreError> {
    let further: i64 = client.query_one("select count(*) from andon.lanes where position > $1", &[&to]).await?.get(0);
    client
        .execute(
            "update andon.lanes set position = least(position, $1), epoch = epoch + 1,
                pending = pending * int8multirange(int8range(null, $1, '[]'))",
            &[&to],
        )
        .await?;
    Ok(further.unsigned_abs())
}

/// Deletes the lane of a replay that is over and that no daemon serves any more.
pub async fn forget(transaction: &Transaction<'_>, lane: &LaneName) -> Result<(), StoreError> {
    transaction.execute("delete from andon.lanes where lane = $1 and replay is not null", &[&lane.0]).await?;
    Ok(())
}

fn names<'a>(lanes: &[&'a LaneName]) -> Vec<&'a str> {
    lanes.iter().map(|lane| lane.0.as_str()).collect()
}
