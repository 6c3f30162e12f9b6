//! Writes and reads `andon.deliveries`. In: deliveries to park and to settle, and those that an operator retries or discards. Out: which
//! are due, and which entities are held back by an earlier event of theirs. Times are the database's, so that a clock that is off here
//! hurts nothing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::GenericClient;
use tokio_postgres::Row;
use tokio_postgres::Transaction;

use crate::destination::LaneName;
use crate::event::Entity;
use crate::event::Event;
use crate::event::Json;
use crate::event::TenantId;
use crate::ledger::Choice;
use crate::ledger::Fate;
use crate::ledger::Handled;
use crate::ledger::Parked;
use crate::ledger::Parking;
use crate::ledger::Settlement;

/// Parks deliveries that the lane's cursor passes in this transaction.
pub async fn park(
    transaction: &Transaction<'_>,
    lane: &LaneName,
    parkings: &[Parking],
) -> Result<(), tokio_postgres::Error> {
    if parkings.is_empty() {
        return Ok(());
    }
    let statement = transaction
        .prepare(
            "insert into andon.deliveries (lane, event, event_id, tenant, type, entity_type, entity_id, occurred_at, context, data,
                state, attempts, next_attempt_at, reason)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now() + $13::float8 * interval '1 second', $14)
            on conflict (lane, event_id) do nothing",
        )
        .await?;
    for Parking { event, fate, attempts, reason } in parkings {
        let (state, after) = columns(*fate);
        transaction
            .execute(
                &statement,
                &[
                    &lane.0,
                    &event.id,
                    &event.event_id,
                    &event.tenant.0,
                    &event.kind,
                    &event.entity.kind,
                    &event.entity.id,
                    &event.occurred_at,
                    &event.context,
                    &event.data,
                    &state,
                    attempts,
                    &after,
                    reason,
                ],
            )
            .await?;
    }
    Ok(())
}

/// Writes down how attempts at parked deliveries ended, and makes the next of each entity due. Returns the entities of which nothing
/// is parked any more.
pub async fn settle(
    transaction: &Transaction<'_>,
    lane: &LaneName,
    settlements: &[Settlement],
) -> Result<Vec<Entity>, tokio_postgres::Error> {
    let mut moved_on = HashSet::new();
    for Settlement { id, entity, fate, attempts, reason } in settlements {
        let stays = match fate {
            None => {
                transaction.execute("delete from andon.deliveries where id = $1", &[id]).await?;
                false
            }
            Some(fate) => {
                let (state, after) = columns(*fate);
                let sql = "update andon.deliveries set state = $2, attempts = $3, reason = $4,
                        next_attempt_at = now() + $5::float8 * interval '1 second'
                    where id = $1";
                // One that was discarded while it was tried is gone.
                let is_there = transaction.execute(sql, &[id, &state, attempts, reason, &after]).await? > 0;
                is_there && *fate != Fate::Dead
            }
        };
        if !stays {
            moved_on.insert(entity.clone());
        }
    }
    advance(transaction, lane, moved_on).await
}

/// Takes up what an earlier run left: makes the first delivery of each entity due, and returns the entities that are held back.
pub async fn resume_held(transaction: &Transaction<'_>, lane: &LaneName) -> Result<Vec<Entity>, tokio_postgres::Error> {
    let rows = transaction
        .query(
            "select distinct entity_type, entity_id from andon.deliveries where lane = $1 and state <> 'dead'",
            &[&lane.0],
        )
        .await?;
    let held: HashSet<Entity> = rows.iter().map(|row| Entity { kind: row.get(0), id: row.get(1) }).collect();
    advance(transaction, lane, held.clone()).await?;
    Ok(held.into_iter().collect())
}

/// A replay is over: what is dead of it is its destination's, and what it would have tried again is not wanted any more.
pub async fn hand_over(
    transaction: &Transaction<'_>,
    replay: &LaneName,
    destination: &LaneName,
) -> Result<(), tokio_postgres::Error> {
    transaction
        .execute(
            "delete from andon.deliveries parked where lane = $1 and (state <> 'dead' or exists (
                select from andon.deliveries known where known.lane = $2 and known.event_id = parked.event_id
            ))",
            &[&replay.0, &destination.0],
        )
        .await?;
    let sql = "update andon.deliveries set lane = $2, replayed = true where lane = $1";
    transaction.execute(sql, &[&replay.0, &destination.0]).await?;
    Ok(())
}

/// Deliveries that are due, oldest first, without those already in hand; and how long until the next after them is.
pub async fn due(
    client: &impl GenericClient,
    lane: &LaneName,
    in_hand: &[i64],
    most: usize,
) -> Result<(Vec<Parked>, Option<Duration>), tokio_postgres::Error> {
    let rows = client
        .query(
            "select id, attempts, event, event_id, tenant, type, entity_type, entity_id, occurred_at, context, data, replayed,
                extract(epoch from now() - parked_at)::float8
            from andon.deliveries
            where lane = $1 and state = 'retry' and next_attempt_at <= now() and id <> all ($2)
            order by next_attempt_at, event limit $3",
            &[&lane.0, &in_hand, &i64::try_from(most).unwrap_or(i64::MAX)],
        )
        .await?;
    let parked = rows.iter().map(parked).collect::<Result<Vec<_>, _>>()?;
    let in_hand: Vec<i64> = in_hand.iter().copied().chain(parked.iter().map(|it| it.id)).collect();
    let next: Option<f64> = client
        .query_one(
            "select extract(epoch from min(next_attempt_at) - now())::float8 from andon.deliveries
            where lane = $1 and state = 'retry' and id <> all ($2)",
            &[&lane.0, &in_hand],
        )
        .await?
        .get(0);
    Ok((parked, next.map(|seconds| Duration::from_secs_f64(seconds.max(0.0)))))
}

/// Makes chosen deliveries due now, marked as replayed, and wakes their lanes. The order of each entity stays: one that has an earlier
/// one in front of it waits for that, and those behind it wait for it. Those that wait already are left as they are.
pub async fn retry(transaction: &Transaction<'_>, choice: &Choice) -> Result<Vec<Handled>, tokio_postgres::Error> {
    let lanes = take(transaction, choice).await?;
    let (rows, lane, state) = parameters(choice);
    let moved = transaction
        .query(
            "with chosen as (
                select id, lane, entity_type, entity_id, event, state from andon.deliveries
                where (id = any ($1) or (lane = $2 and state = $3)) and state <> 'waiting'
            ), placed as (
                select id, state, row_number() over (partition by lane, entity_type, entity_id order by event) = 1 and not exists (
                    select from andon.deliveries earlier
                    where (earlier.lane, earlier.entity_type, earlier.entity_id) = (chosen.lane, chosen.entity_type, chosen.entity_id)
                        and earlier.event < chosen.event and earlier.state <> 'dead'
                ) as is_first
                from chosen
            ), moved as (
                update andon.deliveries delivery
                set replayed = true, state = case when is_first then 'retry' else 'waiting' end,
                    next_attempt_at = case when is_first then now() end
                from placed where delivery.id = placed.id
                returning delivery.lane, type, placed.state as was, delivery.state as now, occurred_at
            )
            select lane, type, was, now, count(*), min(occurred_at), max(occurred_at) from moved
            group by lane, type, was, now order by lane, was, now, type",
            &[&rows, &lane, &state],
        )
        .await?;
    transaction
        .execute(
            "update andon.deliveries later set state = 'waiting', next_attempt_at = null
            where lane = any ($1) and state = 'retry' and exists (
                select from andon.deliveries earlier
                where (earlier.lane, earlier.entity_type, earlier.entity_id) = (later.lane, later.entity_type, later.entity_id)
                    and earlier.event < later.event and earlier.state <> 'dead'
            )",
            &[&lanes],
        )
        .await?;
    wake_lanes(transaction).await?;
    Ok(moved.iter().map(handled).collect())
}

/// Deletes chosen deliveries for good, and wakes their lanes: what waited behind them is due now.
pub async fn discard(transaction: &Transaction<'_>, choice: &Choice) -> Result<Vec<Handled>, tokio_postgres::Error> {
    let lanes = take(transaction, choice).await?;
    let (rows, lane, state) = parameters(choice);
    let gone = transaction
        .query(
            "with gone as (
                delete from andon.deliveries where id = any ($1) or (lane = $2 and state = $3)
                returning lane, type, state, occurred_at
            )
            select lane, type, state, null, count(*), min(occurred_at), max(occurred_at) from gone
            group by lane, type, state order by lane, state, type",
            &[&rows, &lane, &state],
        )
        .await?;
    transaction
        .execute(
            "update andon.deliveries first set state = 'retry', next_attempt_at = now()
            where lane = any ($1) and state = 'waiting' and not exists (
                select from andon.deliveries earlier
                where (earlier.lane, earlier.entity_type, earlier.entity_id) = (first.lane, first.entity_type, first.entity_id)
                    and earlier.event < first.event and earlier.state <> 'dead'
            )",
            &[&lanes],
        )
        .await?;
    wake_lanes(transaction).await?;
    Ok(gone.iter().map(handled).collect())
}

/// The lanes of the chosen deliveries, which write nothing until the transaction ends: they lock their own row first as well.
async fn take(transaction: &Transaction<'_>, choice: &Choice) -> Result<Vec<String>, tokio_postgres::Error> {
    let (rows, lane, state) = parameters(choice);
    let lanes = transaction
        .query(
            "select lane from andon.lanes
            where lane in (select lane from andon.deliveries where id = any ($1) or (lane = $2 and state = $3))
            order by lane for update",
            &[&rows, &lane, &state],
        )
        .await?;
    Ok(lanes.iter().map(|row| row.get(0)).collect())
}

type Parameters<'a> = (Option<&'a [i64]>, Option<&'a str>, Option<&'static str>);

fn parameters(choice: &Choice) -> Parameters<'_> {
    match choice {
        Choice::Rows(rows) => (Some(rows), None, None),
        Choice::All(lane, state) => (None, Some(&lane.0), Some(state)),
    }
}

/// Lanes look at their parked deliveries when they hear this.
async fn wake_lanes(transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
    transaction.execute("select pg_notify('andon', 'deliveries')", &[]).await?;
    Ok(())
}

fn handled(row: &Row) -> Handled {
    Handled {
        lane: LaneName(row.get(0)),
        kind: row.get(1),
        was: row.get(2),
        now: row.get(3),
        count: row.get(4),
        oldest: row.get(5),
        newest: row.get(6),
    }
}

/// For entities whose first parked delivery is gone: the next one is due now. Returns those that have none left.
async fn advance(
    transaction: &Transaction<'_>,
    lane: &LaneName,
    entities: HashSet<Entity>,
) -> Result<Vec<Entity>, tokio_postgres::Error> {
    let mut free = Vec::new();
    for entity in entities {
        let row = transaction
            .query_opt(
                "select id, state from andon.deliveries
                where lane = $1 and entity_type = $2 and entity_id = $3 and state <> 'dead' order by event limit 1",
                &[&lane.0, &entity.kind, &entity.id],
            )
            .await?;
        match row {
            None => free.push(entity),
            Some(row) if row.get::<_, &str>(1) == "waiting" => {
                transaction
                    .execute(
                        "update andon.deliveries set state = 'retry', next_attempt_at = now() where id = $1",
                        &[&row.get::<_, i64>(0)],
                    )
                    .await?;
            }
            Some(_) => {}
        }
    }
    Ok(free)
}

fn columns(fate: Fate) -> (&'static str, Option<f64>) {
    match fate {
        Fate::Retry(after) => ("retry", Some(after.as_secs_f64())),
        Fate::Waiting => ("waiting", None),
        Fate::Dead => ("dead", None),
    }
}

fn parked(row: &Row) -> Result<Parked, tokio_postgres::Error> {
    let event = Event::new(
        row.try_get(2)?,
        row.try_get(3)?,
        TenantId(row.try_get(4)?),
        row.try_get(5)?,
        Entity { kind: row.try_get(6)?, id: row.try_get(7)? },
        row.try_get(8)?,
        row.try_get::<_, Json>(9)?,
        row.try_get::<_, Json>(10)?,
    );
    Ok(Parked {
        id: row.try_get(0)?,
        event: Arc::new(event),
        attempts: row.try_get(1)?,
        replayed: row.try_get(11)?,
        age: Duration::from_secs_f64(row.try_get::<_, f64>(12)?.max(0.0)),
    })
}
