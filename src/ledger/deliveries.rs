//! Writes and reads `andon.deliveries`. In: deliveries to park and to settle. Out: which are due, and which entities are held back by
//! an earlier event of theirs. Times are the database's, so that a clock that is off here hurts nothing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio_postgres::GenericClient;
use tokio_postgres::Row;
use tokio_postgres::Transaction;
use tokio_postgres::types::Json;

use crate::destination::LaneName;
use crate::event::Entity;
use crate::event::Event;
use crate::event::TenantId;
use crate::ledger::Fate;
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
                    &Json(event.context_json()),
                    &Json(event.data_json()),
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

/// Takes up what an earlier run left: makes the first of each entity due, and returns the entities that are held.
pub async fn held(transaction: &Transaction<'_>, lane: &LaneName) -> Result<Vec<Entity>, tokio_postgres::Error> {
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

/// Deliveries that are due, oldest first, without those already in hand; and how long until the next after them is.
pub async fn due(
    client: &impl GenericClient,
    lane: &LaneName,
    in_hand: &[i64],
    most: usize,
) -> Result<(Vec<Parked>, Option<Duration>), tokio_postgres::Error> {
    let rows = client
        .query(
            "select id, attempts, event, event_id, tenant, type, entity_type, entity_id, occurred_at, context, data,
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
    let Json(context): Json<Box<RawValue>> = row.try_get(9)?;
    let Json(data): Json<Box<RawValue>> = row.try_get(10)?;
    let event = Event::new(
        row.try_get(2)?,
        row.try_get(3)?,
        TenantId(row.try_get(4)?),
        row.try_get(5)?,
        Entity { kind: row.try_get(6)?, id: row.try_get(7)? },
        row.try_get(8)?,
        context,
        data,
    );
    let age = Duration::from_secs_f64(row.try_get::<_, f64>(11)?.max(0.0));
    Ok(Parked { id: row.try_get(0)?, event: Arc::new(event), attempts: row.try_get(1)?, age })
}
