//! A lane's row in `andon.lanes`. In: the lane's cursor and state, and what it parks. Out: a checkpoint, all in one transaction, under
//! the lane's epoch: who has lost the lane writes nothing. It never decides where the cursor stands.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::mem;

use anyhow::Context as _;
use deadpool_postgres::Pool;
use tokio_postgres::GenericClient;
use tokio_postgres::Transaction;
use uuid::Uuid;

use crate::destination::DestinationRow;
use crate::destination::LaneName;
use crate::event::DESTINATION;
use crate::event::DISABLED;
use crate::event::Entity;
use crate::lane::store::cursor_writer::CursorUpdate;
use crate::lane::store::cursor_writer::CursorWriter;
use crate::lane::store::state::State;
use crate::ledger::Entries;
use crate::ledger::attempts;
use crate::ledger::deliveries;
use crate::ranges::Ranges;

/// Another daemon has taken the lane over.
#[derive(Debug, thiserror::Error)]
#[error("lane `{0}` was taken away: another andon serves it, or it was set to another place in the log")]
pub struct Lost(LaneName);

/// What a stored lane goes on from.
#[derive(Debug)]
pub struct Acquired {
    /// Where its checkpoints go.
    pub register: LaneRow,
    /// Everything at or below is done, except `pending`.
    pub position: i64,
    /// See `position`.
    pub pending: Ranges,
    /// Why the lane stays stopped: it was disabled, and its row has not changed since.
    pub disabled: Option<String>,
}

/// The right to write a lane's row.
#[derive(Debug, Clone)]
pub struct LaneRow {
    pool: Pool,
    cursors: CursorWriter,
    lane: LaneName,
    epoch: i64,
}

/// What a checkpoint says beside the cursor and the entries.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Events delivered out of the log since the last one.
    pub delivered: i64,
    /// This is a replay, and all of it is delivered or parked.
    pub is_over: bool,
}

/// Takes a lane over under a new epoch; none while another daemon that lives has it. One that was not there starts at the given position:
/// that of the tail, or, where its row names a time, that of the log at this time. One that comes back does so too, but never behind
/// where it was: what it delivered before does not come again. A replay has what it is of as pending, and nothing else.
pub async fn acquire(
    pool: &Pool,
    cursors: &CursorWriter,
    listed: &DestinationRow,
    now: (i64, &Ranges),
    daemon: Uuid,
) -> anyhow::Result<Option<Acquired>> {
    let client = pool.get().await.context("cannot reach the database")?;
    let start: Option<i64> = match listed.start_at {
        Some(time) => client
            .query_one("select min(id) - 1 from andon.events where captured_at >= $1", &[&time])
            .await?
            .get::<_, Option<i64>>(0),
        None => None,
    };
    let (position, pending) = match (&listed.replay, start) {
        (Some(replay), _) => (replay.last, Ranges::span(replay.first, replay.last)),
        // What was open then may yet commit, below the first that had.
        (None, Some(start)) if start < now.0 => {
            let mut open = now.1.clone();
            open.remove(start + 1, i64::MAX);
            (start, open)
        }
        _ => (now.0, now.1.clone()),
    };
    let replay = listed.replay.as_ref().map(|replay| replay.id);
    let state = listed.usable.as_ref().err().map(|reasons| reasons.join("\n"));
    let (name, reason) = match &state {
        Some(reason) => ("misconfigured", Some(reason.as_str())),
        None => ("running", None),
    };
    let row = client
        .query_opt(
            "insert into andon.lanes as l (lane, tenant, name, position, pending, epoch, state, reason, fingerprint, daemon, replay)
            values ($1, $2, $3, $4, $5::text::int8multirange, 1, $6, $7, $8, $9, $10)
            on conflict (lane) do update set
                tenant = excluded.tenant, name = excluded.name, epoch = l.epoch + 1, fingerprint = excluded.fingerprint,
                daemon = excluded.daemon,
                position = case when l.state = 'removed' then greatest(excluded.position, l.position) else l.position end,
                pending = case when l.state = 'removed' and excluded.position > l.position then excluded.pending else l.pending end,
                state = case when l.state = 'disabled' and l.fingerprint = excluded.fingerprint then l.state else excluded.state end,
                reason = case when l.state = 'disabled' and l.fingerprint = excluded.fingerprint then l.reason else excluded.reason end,
                failing_since = case when l.state = 'removed' or l.fingerprint <> excluded.fingerprint then null else l.failing_since end,
                state_since = case when l.state = excluded.state then l.state_since else now() end,
                updated_at = now()
            where l.daemon = excluded.daemon
                or not exists (select from andon.daemons d where d.daemon = l.daemon and andon.lives(d.lease_until))
            returning epoch, position, pending::text, state, reason",
            &[
                &listed.lane.0,
                &listed.tenant.0,
                &listed.name,
                &position,
                &pending.to_string(),
                &name,
                &reason,
                &listed.fingerprint,
                &daemon,
                &replay,
            ],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let is_disabled = row.get::<_, &str>(3) == "disabled";
    Ok(Some(Acquired {
        register: LaneRow {
            pool: pool.clone(),
            cursors: cursors.clone(),
            lane: listed.lane.clone(),
            epoch: row.get(0),
        },
        position: row.get(1),
        pending: Ranges::parse(row.get(2))?,
        disabled: row.get::<_, Option<String>>(4).filter(|_| is_disabled),
    }))
}

/// Marks the lanes whose destinations are gone, so that one that comes back starts at that time. One that another daemon still serves is
/// left to it.
pub async fn keep_only(client: &impl GenericClient, lanes: &[&LaneName], daemon: Uuid) -> anyhow::Result<()> {
    client
        .execute(
            "update andon.lanes l set state = 'removed', reason = null, epoch = epoch + 1, daemon = null, state_since = now()
            where lane <> all ($1) and state <> 'removed' and (l.daemon = $2
                or not exists (select from andon.daemons d where d.daemon = l.daemon and andon.lives(d.lease_until)))",
            &[&names(lanes), &daemon],
        )
        .await?;
    Ok(())
}

/// Which daemon serves each of these lanes, as far as is known.
pub async fn served(
    client: &impl GenericClient,
    lanes: &[&LaneName],
) -> anyhow::Result<BTreeMap<LaneName, Option<Uuid>>> {
    let mut served: BTreeMap<LaneName, Option<Uuid>> = lanes.iter().map(|lane| ((*lane).clone(), None)).collect();
    let rows = client.query("select lane, daemon from andon.lanes where lane = any ($1)", &[&names(lanes)]).await?;
    served.extend(rows.iter().map(|row| (LaneName(row.get(0)), row.get(1))));
    Ok(served)
}

/// Leaves lanes to the other daemons, and tells them.
pub async fn release(client: &impl GenericClient, lanes: &[&LaneName], daemon: Uuid) -> anyhow::Result<()> {
    client
        .execute(
            "with released as (
                update andon.lanes set daemon = null where lane = any ($1) and daemon = $2 returning lane
            )
            select pg_notify('andon', 'destinations') from released limit 1",
            &[&names(lanes), &daemon],
        )
        .await?;
    Ok(())
}

/// The log went back to `to`: so do the lanes, and nobody goes on with what was read before. Returns how many were further.
pub async fn rewind(pool: &Pool, to: i64) -> anyhow::Result<u64> {
    let client = pool.get().await?;
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

/// Forgets the lane of a replay that is over, and that nobody serves any more.
pub async fn forget(transaction: &Transaction<'_>, lane: &LaneName) -> anyhow::Result<()> {
    transaction.execute("delete from andon.lanes where lane = $1 and replay is not null", &[&lane.0]).await?;
    Ok(())
}

/// Sets a lane forward over ids that it never took, of which so many were for it. Who serves it takes it up again from there.
pub async fn set_forward(
    transaction: &Transaction<'_>,
    lane: &LaneName,
    (low, past): (i64, i64),
    lost: i64,
) -> anyhow::Result<()> {
    transaction
        .execute(
            "update andon.lanes set epoch = epoch + 1, position = greatest(position, $3::int8 - 1),
                pending = case when replay is null then pending + int8multirange(int8range(least(position + 1, $2), $2)) else pending end
                    - int8multirange(int8range($2, $3)),
                lost = lost + $4, lost_at = case when $4 > 0 then now() else lost_at end
            where lane = $1",
            &[&lane.0, &low, &past, &lost],
        )
        .await?;
    Ok(())
}

/// Writes these cursors in one statement. Returns the lanes whose cursors are written, for `skip locked` without those whose rows are held
/// by somebody else.
pub(super) async fn store(
    client: &impl deadpool_postgres::GenericClient,
    updates: &[&CursorUpdate],
    waiting: &str,
) -> anyhow::Result<BTreeSet<LaneName>> {
    let statement = client
        .prepare_cached(&format!(
            "update andon.lanes l set position = c.position, pending = c.pending::int8multirange,
                delivered = l.delivered + c.delivered, updated_at = now()
            from (
                select c.* from unnest($1::text[], $2::int8[], $3::int8[], $4::text[], $5::int8[])
                    c (lane, epoch, position, pending, delivered)
                join andon.lanes mine on mine.lane = c.lane and mine.epoch = c.epoch for no key update of mine {waiting}
            ) c where l.lane = c.lane and l.epoch = c.epoch returning l.lane"
        ))
        .await?;
    let lanes: Vec<&str> = updates.iter().map(|update| update.lane.0.as_str()).collect();
    let pending: Vec<&str> = updates.iter().map(|update| update.pending.as_str()).collect();
    let column = |of: fn(&CursorUpdate) -> i64| updates.iter().map(|update| of(update)).collect::<Vec<i64>>();
    let (epochs, positions) = (column(|update| update.epoch), column(|update| update.position));
    let delivered = column(|update| update.delivered);
    let rows = client.query(&statement, &[&lanes, &epochs, &positions, &pending, &delivered]).await?;
    Ok(rows.iter().map(|row| LaneName(row.get(0))).collect())
}

fn names<'a>(lanes: &[&'a LaneName]) -> Vec<&'a str> {
    lanes.iter().map(|lane| lane.0.as_str()).collect()
}

impl LaneRow {
    /// Writes the cursor, with those of other lanes where they come at once.
    pub async fn write_cursor(&self, position: i64, pending: &Ranges, delivered: i64) -> anyhow::Result<()> {
        let update = self.update(position, pending, delivered);
        if self.cursors.write(update.clone()).await? {
            return Ok(());
        }
        // Held by somebody else, which is worth to wait for, or not ours any more.
        let client = self.pool.get().await?;
        if store(&client, &[&update], "").await?.is_empty() { Err(self.lost()) } else { Ok(()) }
    }

    /// Writes the cursor and the entries in one transaction. Returns the entities that are free again. What is written is taken out
    /// of `entries`; after an error all of it is still there.
    pub async fn write(
        &self,
        position: i64,
        pending: &Ranges,
        entries: &mut Entries,
        counts: Counts,
    ) -> anyhow::Result<Vec<Entity>> {
        let settled = entries.settled.iter().filter(|settlement| settlement.fate.is_none()).count();
        let delivered = counts.delivered + i64::try_from(settled).unwrap_or(i64::MAX);
        let update = self.update(position, pending, delivered);
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        if store(&transaction, &[&update], "").await?.is_empty() {
            return Err(self.lost());
        }
        deliveries::park(&transaction, &self.lane, &entries.parked).await?;
        let free = deliveries::settle(&transaction, &self.lane, &entries.settled).await?;
        attempts::record(&transaction, &self.lane, &entries.attempts).await?;
        if counts.is_over {
            // Whoever keeps the roster takes the replay off it.
            transaction.execute("select pg_notify('andon', 'destinations')", &[]).await?;
        }
        transaction.commit().await?;
        drop(mem::take(entries));
        Ok(free)
    }

    /// The entities that are held back by an earlier event of theirs. Makes the first of each due, if nothing else does.
    pub async fn held(&self) -> anyhow::Result<Vec<Entity>> {
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        let sql = "select from andon.lanes where lane = $1 and epoch = $2 for share";
        if transaction.query_opt(sql, &[&self.lane.0, &self.epoch]).await?.is_none() {
            return Err(self.lost());
        }
        let held = deliveries::held(&transaction, &self.lane).await?;
        transaction.commit().await?;
        Ok(held)
    }

    /// Writes what the lane is doing.
    pub async fn report(&self, state: &State) -> anyhow::Result<()> {
        if let State::Disabled { kind, reason } = state {
            return self.disable(kind, reason).await;
        }
        let (name, reason) = state.columns();
        let client = self.pool.get().await?;
        let written = client
            .execute(
                "update andon.lanes set state = $3, reason = $4,
                    state_since = case when state = $3 then state_since else now() end
                where lane = $1 and epoch = $2",
                &[&self.lane.0, &self.epoch, &name, &reason],
            )
            .await?;
        if written == 0 {
            return Err(self.lost());
        }
        Ok(())
    }

    fn update(&self, position: i64, pending: &Ranges, delivered: i64) -> CursorUpdate {
        CursorUpdate { lane: self.lane.clone(), epoch: self.epoch, position, pending: pending.to_string(), delivered }
    }

    fn lost(&self) -> anyhow::Error {
        Lost(self.lane.clone()).into()
    }

    /// Writes that the destination fails, by the database's clock; `anew`: since now. A day in which nobody tried ends a failure too, so
    /// that a plant's holidays are nobody's fault. True: it has failed for longer than `most`.
    pub async fn failed(&self, anew: bool, most: &str) -> anyhow::Result<bool> {
        let client = self.pool.get().await?;
        let row = client
            .query_opt(
                "update andon.lanes set failed_at = now(),
                    failing_since = case when $3 or failing_since is null or failed_at < now() - interval '1 day' then now()
                        else failing_since end
                where lane = $1 and epoch = $2
                returning failing_since < now() - $4::text::interval",
                &[&self.lane.0, &self.epoch, &anew, &most],
            )
            .await?;
        Ok(row.ok_or_else(|| Lost(self.lane.clone()))?.get(0))
    }

    /// Writes that it does not fail, if the row says so.
    pub async fn succeeded(&self) -> anyhow::Result<()> {
        let sql =
            "update andon.lanes set failing_since = null where lane = $1 and epoch = $2 and failing_since is not null";
        self.pool.get().await?.execute(sql, &[&self.lane.0, &self.epoch]).await?;
        Ok(())
    }

    /// Writes that the destination is disabled, and tells the tenant's other ones, in one transaction.
    async fn disable(&self, kind: &str, reason: &str) -> anyhow::Result<()> {
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        let sql = "select state, tenant, name, coalesce(failing_since, now())::text from andon.lanes
            where lane = $1 and epoch = $2 for update";
        let row = transaction.query_opt(sql, &[&self.lane.0, &self.epoch]).await?;
        let row = row.ok_or_else(|| Lost(self.lane.clone()))?;
        transaction
            .execute(
                "update andon.lanes set state = 'disabled', reason = $2,
                    state_since = case when state = 'disabled' then state_since else now() end
                where lane = $1",
                &[&self.lane.0, &reason],
            )
            .await?;
        if row.get::<_, &str>(0) != "disabled" {
            let (tenant, name, since): (&str, &str, &str) = (row.get(1), row.get(2), row.get(3));
            transaction
                .execute(
                    "select andon.emit($1, jsonb_build_object('lane', $2::text, 'name', $3::text, 'kind', $4::text, 'reason', $5::text,
                        'since', $6::text::timestamptz), $7, $8, $2)",
                    &[&DISABLED, &self.lane.0, &name, &kind, &reason, &since, &tenant, &DESTINATION],
                )
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// The pool, for reading what is parked.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The lane.
    pub fn lane(&self) -> &LaneName {
        &self.lane
    }
}
