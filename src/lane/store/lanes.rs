//! Writes the rows of many lanes at once, for the supervisor and not for a lane: which lanes exist, which daemon serves them, and where
//! they stand after the log went back in time.

use std::collections::BTreeMap;

use tokio_postgres::GenericClient;
use tokio_postgres::Row;
use tokio_postgres::Transaction;
use uuid::Uuid;

use crate::destination::LaneName;
use crate::lane::store::error::StoreError;
use crate::lane::store::row::Claim;

/// A lane whose destination is gone or not active any more.
#[derive(Debug)]
pub struct Removed {
    /// The lane.
    pub lane: LaneName,
    /// The name that people use for its destination.
    pub name: String,
}

/// Marks all lanes but these as removed, because their destinations are gone or not active: one that comes back later starts at that time.
/// Lanes of the tables in `unread` are left as they are, because nobody knows what these tables hold, but for those of destinations that are
/// known to be `inactive`; a lane that another living daemon
/// serves is left to that daemon, and one whose row is locked to the next look. Returns those that were marked, without replays.
pub async fn mark_removed(
    client: &impl GenericClient,
    kept: &[&LaneName],
    unread: &[&str],
    inactive: &[&LaneName],
    daemon: Uuid,
) -> Result<Vec<Removed>, StoreError> {
    let rows = client
        .query(
            "update andon.lanes l set state = 'removed', reason = null, fingerprint = null, epoch = epoch + 1, daemon = null, state_since = now()
            from (
                select lane from andon.lanes old where state <> 'removed' and (daemon = $2 or not andon.is_served(daemon))
                    and not exists (select from unnest($1::text[]) kept (lane) where kept.lane = old.lane)
                    and (not exists (select from unnest($3::text[]) unread (name) where starts_with(old.lane, unread.name || '/'))
                        or exists (select from unnest($4::text[]) off (lane) where off.lane = split_part(old.lane, '~replay/', 1)))
                for no key update skip locked
            ) gone where l.lane = gone.lane returning l.lane, l.name, l.replay is null",
            &[&names(kept), &daemon, &unread, &names(inactive)],
        )
        .await?;
    let removed = |row: &Row| Removed { lane: LaneName(row.get(0)), name: row.get(1) };
    Ok(rows.iter().filter(|row| row.get(2)).map(removed).collect())
}

/// Writes into the lanes of tables that cannot be read why nobody can start them. Those that run, here or elsewhere, or whose rows were read
/// nevertheless, go on: the former, if they run here, and the latter are in `kept`.
pub async fn mark_unread(
    client: &impl GenericClient,
    unread: &[(&str, &str)],
    kept: &[&LaneName],
    daemon: Uuid,
) -> Result<(), StoreError> {
    let (tables, reasons): (Vec<&str>, Vec<&str>) = unread.iter().copied().unzip();
    client
        .execute(
            "update andon.lanes l set state = 'misconfigured', reason = it.reason,
                state_since = case when state = 'misconfigured' then state_since else now() end
            from (
                select lane, unread.reason from andon.lanes old
                join unnest($1::text[], $2::text[]) unread (name, reason) on starts_with(old.lane, unread.name || '/')
                where state not in ('removed', 'disabled') and old.reason is distinct from unread.reason
                    and not exists (select from unnest($3::text[]) kept (lane) where kept.lane = old.lane)
                    and (daemon = $4 or not andon.is_served(daemon))
                for no key update of old skip locked
            ) it where l.lane = it.lane",
            &[&tables, &reasons, &names(kept), &daemon],
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
    let sql = "select lane, daemon from andon.lanes join unnest($1::text[]) it (lane) using (lane)";
    let rows = client.query(sql, &[&names(lanes)]).await?;
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
                update andon.lanes set daemon = null where daemon = $2 and lane in (
                    select lane from andon.lanes where lane = any ($1) for no key update skip locked
                ) returning lane
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
