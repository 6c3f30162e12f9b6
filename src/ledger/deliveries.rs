//! Writes and reads `andon.deliveries`. In: deliveries to park and to settle, and those that an operator retries or discards. Out: which
//! deliveries are due, and which entities are held back by an earlier event of theirs. All times are the database's, so that a wrong clock
//! on this machine does no harm.

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
use crate::ledger::Fate;
use crate::ledger::Parked;
use crate::ledger::Selection;
use crate::ledger::Settlement;
use crate::ledger::StateChange;
use crate::ledger::Undelivered;

/// Parks the deliveries of events that the lane's cursor passes in this transaction.
pub async fn park(
    transaction: &Transaction<'_>,
    lane: &LaneName,
    undelivered: &[Undelivered],
) -> Result<(), tokio_postgres::Error> {
    if undelivered.is_empty() {
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
    for Undelivered { event, fate, attempts, reason } in undelivered {
        let (state, delay) = state_and_delay(*fate);
        transaction
            .execute(
                &statement,
                &[
                    &lane.0,
                    &event.id,
                    &event.event_id,
                    &event.tenant.0,
                    &event.event_type,
                    &event.entity.entity_type,
                    &event.entity.id,
                    &event.occurred_at,
                    &event.context,
                    &event.data,
                    &state,
                    attempts,
                    &delay,
                    reason,
                ],
            )
            .await?;
    }
    // What they were to wait for may be gone: somebody has deleted it and told nobody.
    let is_waiting = |it: &&Undelivered| it.fate == Fate::Waiting;
    let waiting = undelivered.iter().filter(is_waiting).map(|it| it.event.entity.clone()).collect();
    make_next_due(transaction, lane, waiting).await?;
    Ok(())
}

/// Writes how attempts at parked deliveries ended, and makes the next delivery of each entity due. Returns the entities of which nothing
/// is parked any more, except dead deliveries.
pub async fn settle(
    transaction: &Transaction<'_>,
    lane: &LaneName,
    settlements: &[Settlement],
) -> Result<Vec<Entity>, tokio_postgres::Error> {
    let mut advanced = HashSet::new();
    for Settlement { id, entity, fate, attempts, reason } in settlements {
        let stays = match fate {
            None => {
                transaction.execute("delete from andon.deliveries where id = $1", &[id]).await?;
                false
            }
            Some(fate) => {
                let (state, delay) = state_and_delay(*fate);
                let sql = "update andon.deliveries set state = $2, attempts = $3, reason = $4,
                        next_attempt_at = now() + $5::float8 * interval '1 second'
                    where id = $1";
                // A delivery that was discarded while it was tried is gone.
                let is_there = transaction.execute(sql, &[id, &state, attempts, reason, &delay]).await? > 0;
                is_there && *fate != Fate::Dead
            }
        };
        if !stays {
            advanced.insert(entity.clone());
        }
    }
    make_next_due(transaction, lane, advanced).await
}

/// Takes up what an earlier run left: makes the first delivery of each entity due, and returns the entities that are held back.
pub async fn resume_held(transaction: &Transaction<'_>, lane: &LaneName) -> Result<Vec<Entity>, tokio_postgres::Error> {
    let rows = transaction
        .query(
            "select distinct entity_type, entity_id from andon.deliveries where lane = $1 and state <> 'dead'",
            &[&lane.0],
        )
        .await?;
    let held: HashSet<Entity> = rows.iter().map(|row| Entity { entity_type: row.get(0), id: row.get(1) }).collect();
    make_next_due(transaction, lane, held.clone()).await?;
    Ok(held.into_iter().collect())
}

/// Gives the dead deliveries of a replay that is over to the lane of its destination, and deletes those that it would have tried again.
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

/// Reads at most `most` deliveries that are due, oldest first and without those already in hand, and how long it takes until the next one
/// after them is due.
pub async fn due(
    client: &impl GenericClient,
    lane: &LaneName,
    in_hand: &[i64],
    most: usize,
) -> Result<(Vec<Parked>, Option<Duration>), tokio_postgres::Error> {
    let rows = client
        .query(
            "select id, attempts, event, event_id, tenant, type, entity_type, entity_id, occurred_at, context, data, replayed,
                extract(epoch from now() - parked_at)::float8, 0::float8
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

/// Reads the delivery that is due next, however long that takes, without those that are named.
pub async fn next_but(
    client: &impl GenericClient,
    lane: &LaneName,
    ids: &[i64],
) -> Result<Option<Parked>, tokio_postgres::Error> {
    let row = client
        .query_opt(
            "select id, attempts, event, event_id, tenant, type, entity_type, entity_id, occurred_at, context, data, replayed,
                extract(epoch from now() - parked_at)::float8,
                extract(epoch from greatest(now(), least(next_attempt_at, now() + interval '30 days')) - now())::float8
            from andon.deliveries
            where lane = $1 and state = 'retry' and id <> all ($2)
            order by next_attempt_at, event limit 1",
            &[&lane.0, &ids],
        )
        .await?;
    row.as_ref().map(parked).transpose()
}

/// Makes the selected deliveries due now, marks them as replayed, and wakes their lanes. Each entity keeps its order: a selected delivery
/// waits for earlier ones of its entity, and later ones wait for it. Those that wait already are left as they are.
pub async fn retry(
    transaction: &Transaction<'_>,
    selection: &Selection,
) -> Result<Vec<StateChange>, tokio_postgres::Error> {
    let lanes = lock_lanes(transaction, selection).await?;
    let (ids, lane, state) = parameters(selection);
    let moved = transaction
        .query(
            "with selected as (
                select id, lane, entity_type, entity_id, event, state from andon.deliveries
                where (id = any ($1) or (lane = $2 and state = $3)) and state <> 'waiting'
            ), placed as (
                select id, state, row_number() over (partition by lane, entity_type, entity_id order by event) = 1
                    and not exists (select from andon.parked_before(lane, entity_type, entity_id, event)) as is_first
                from selected
            ), moved as (
                update andon.deliveries delivery
                set replayed = true, state = case when is_first then 'retry' else 'waiting' end,
                    next_attempt_at = case when is_first then now() end
                from placed where delivery.id = placed.id
                returning delivery.lane, type, placed.state as was, delivery.state as now, occurred_at
            )
            select lane, type, was, now, count(*), min(occurred_at), max(occurred_at) from moved
            group by lane, type, was, now order by lane, was, now, type",
            &[&ids, &lane, &state],
        )
        .await?;
    transaction
        .execute(
            "update andon.deliveries set state = 'waiting', next_attempt_at = null
            where lane = any ($1) and state = 'retry'
                and exists (select from andon.parked_before(lane, entity_type, entity_id, event))",
            &[&lanes],
        )
        .await?;
    wake_lanes(transaction).await?;
    Ok(moved.iter().map(state_change).collect())
}

/// Deletes the selected deliveries for good, makes those due that waited for them, and wakes the lanes.
pub async fn discard(
    transaction: &Transaction<'_>,
    selection: &Selection,
) -> Result<Vec<StateChange>, tokio_postgres::Error> {
    let lanes = lock_lanes(transaction, selection).await?;
    let (ids, lane, state) = parameters(selection);
    let gone = transaction
        .query(
            "with gone as (
                delete from andon.deliveries where id = any ($1) or (lane = $2 and state = $3)
                returning lane, type, state, occurred_at
            )
            select lane, type, state, null, count(*), min(occurred_at), max(occurred_at) from gone
            group by lane, type, state order by lane, state, type",
            &[&ids, &lane, &state],
        )
        .await?;
    transaction
        .execute(
            "update andon.deliveries set state = 'retry', next_attempt_at = now()
            where lane = any ($1) and state = 'waiting'
                and not exists (select from andon.parked_before(lane, entity_type, entity_id, event))",
            &[&lanes],
        )
        .await?;
    wake_lanes(transaction).await?;
    Ok(gone.iter().map(state_change).collect())
}

/// Locks the lanes of the selected deliveries. They write nothing until the transaction ends, because they too lock their own row first.
async fn lock_lanes(
    transaction: &Transaction<'_>,
    selection: &Selection,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let (ids, lane, state) = parameters(selection);
    let lanes = transaction
        .query(
            "select lane from andon.lanes
            where lane in (select lane from andon.deliveries where id = any ($1) or (lane = $2 and state = $3))
            order by lane for update",
            &[&ids, &lane, &state],
        )
        .await?;
    Ok(lanes.iter().map(|row| row.get(0)).collect())
}

/// The ids, or the lane and the state: either the first or the other two are given.
type Parameters<'a> = (Option<&'a [i64]>, Option<&'a str>, Option<&'static str>);

fn parameters(selection: &Selection) -> Parameters<'_> {
    match selection {
        Selection::Ids(ids) => (Some(ids), None, None),
        Selection::InState(lane, state) => (None, Some(&lane.0), Some(state)),
    }
}

/// Makes all lanes look at their parked deliveries.
async fn wake_lanes(transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
    transaction.execute("select andon.notify_deliveries()", &[]).await?;
    Ok(())
}

fn state_change(row: &Row) -> StateChange {
    StateChange {
        lane: LaneName(row.get(0)),
        event_type: row.get(1),
        from: row.get(2),
        to: row.get(3),
        count: row.get(4),
        oldest: row.get(5),
        newest: row.get(6),
    }
}

/// Makes the first delivery that is left of each entity due, if it is waiting. Returns the entities that have none left, except dead ones.
pub(super) async fn make_next_due(
    transaction: &Transaction<'_>,
    lane: &LaneName,
    entities: HashSet<Entity>,
) -> Result<Vec<Entity>, tokio_postgres::Error> {
    let mut free = Vec::new();
    for entity in entities {
        let row = transaction
            .query_opt(
                "select id, state from andon.deliveries
                where lane = $1 and hashtextextended(entity_id, 0) = hashtextextended($3, 0)
                    and entity_type = $2 and entity_id = $3 and state <> 'dead' order by event limit 1",
                &[&lane.0, &entity.entity_type, &entity.id],
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

fn state_and_delay(fate: Fate) -> (&'static str, Option<f64>) {
    match fate {
        Fate::Retry(delay) => ("retry", Some(delay.as_secs_f64())),
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
        Entity { entity_type: row.try_get(6)?, id: row.try_get(7)? },
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
        due_in: Duration::from_secs_f64(row.try_get::<_, f64>(13)?.max(0.0)),
    })
}
