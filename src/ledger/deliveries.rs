//! Writes and reads `andon.deliveries`. In: deliveries to park and to settle, and those that an operator retries or discards. Out: which
//! deliveries are due, and which entities are held back by an earlier event of theirs. All times are the database's, so that a wrong clock
//! on this machine does no harm.

use std::collections::HashSet;

use deadpool_postgres::Transaction as PooledTransaction;
use tokio_postgres::Row;
use tokio_postgres::Transaction;

use crate::destination::LaneName;
use crate::event::Entity;
use crate::ledger::Fate;
use crate::ledger::Selection;
use crate::ledger::Settlement;
use crate::ledger::StateChange;
use crate::ledger::Undelivered;
use crate::ledger::within_reach;
use crate::router::EventPattern;
use crate::router::Route;

/// How much of an event is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// All of it.
    Whole,
    /// What can be neither large nor odd. The log still has the event. Such a delivery is dead, and stays so.
    Bare,
}

/// Parks the deliveries of events that the lane's cursor passes in this transaction. The database copies the events from the log. Returns the
/// entities of those that have left it meanwhile, which count as lost.
pub async fn park(
    transaction: &PooledTransaction<'_>,
    lane: &LaneName,
    undelivered: &[Undelivered],
    kept: Kept,
) -> Result<Vec<Entity>, tokio_postgres::Error> {
    if undelivered.is_empty() {
        return Ok(Vec::new());
    }
    let fates: Vec<(&str, Option<f64>)> = undelivered.iter().map(|it| state_and_delay(it.fate)).collect();
    let statement = transaction.prepare_cached("select andon.park($1, $2, $3, $4, $5, $6, $7)").await?;
    let row = transaction
        .query_one(
            &statement,
            &[
                &lane.0,
                &undelivered.iter().map(|it| it.event.id).collect::<Vec<_>>(),
                &fates.iter().map(|(state, _)| *state).collect::<Vec<_>>(),
                &undelivered.iter().map(|it| it.attempts).collect::<Vec<_>>(),
                &fates.iter().map(|(_, delay)| *delay).collect::<Vec<_>>(),
                &undelivered.iter().map(|it| it.reason.as_str()).collect::<Vec<_>>(),
                &(kept == Kept::Bare),
            ],
        )
        .await?;
    let gone: HashSet<i64> = row.get::<_, Vec<i64>>(0).into_iter().collect();
    if !gone.is_empty() {
        tracing::error!(%lane, lost = gone.len(), "events that could not be delivered have left the log before they were parked");
    }
    let (gone, parked): (Vec<_>, Vec<_>) = undelivered.iter().partition(|it| gone.contains(&it.event.id));
    // What they were to wait for may be gone: somebody has deleted it and told nobody.
    let waiting = parked.iter().filter(|it| it.fate == Fate::Waiting).map(|it| &it.event.entity);
    let waiting: HashSet<&Entity> = waiting.collect();
    make_next_due(transaction, lane, &Vec::from_iter(waiting)).await?;
    Ok(gone.iter().map(|it| it.event.entity.clone()).collect())
}

/// Writes how attempts at parked deliveries ended, and makes the next delivery of each entity due. Returns the entities of which nothing
/// is parked any more, except dead deliveries.
pub async fn settle(
    transaction: &PooledTransaction<'_>,
    lane: &LaneName,
    settlements: &[Settlement],
) -> Result<Vec<Entity>, tokio_postgres::Error> {
    if settlements.is_empty() {
        return Ok(Vec::new());
    }
    let done: Vec<i64> = settlements.iter().filter(|it| it.fate.is_none()).map(|it| it.id).collect();
    if !done.is_empty() {
        let statement = transaction.prepare_cached("delete from andon.deliveries where id = any ($1)").await?;
        transaction.execute(&statement, &[&done]).await?;
    }
    let left: Vec<(&Settlement, Fate)> = settlements.iter().filter_map(|it| it.fate.map(|fate| (it, fate))).collect();
    let kept = if left.is_empty() { HashSet::new() } else { update(transaction, &left).await? };
    // A delivery that was discarded while it was tried is gone.
    let stays = |it: &Settlement| it.fate.is_some_and(|fate| fate != Fate::Dead) && kept.contains(&it.id);
    let advanced: HashSet<&Entity> = settlements.iter().filter(|it| !stays(it)).map(|it| &it.entity).collect();
    make_next_due(transaction, lane, &Vec::from_iter(advanced)).await
}

/// Writes what has become of these deliveries, and returns those that are there.
async fn update(
    transaction: &PooledTransaction<'_>,
    settlements: &[(&Settlement, Fate)],
) -> Result<HashSet<i64>, tokio_postgres::Error> {
    let fates: Vec<(&str, Option<f64>)> = settlements.iter().map(|(_, fate)| state_and_delay(*fate)).collect();
    let statement = transaction
        .prepare_cached(
            "update andon.deliveries delivery set state = it.state, attempts = it.attempts, reason = it.reason,
                next_attempt_at = now() + it.delay * interval '1 second'
            from unnest($1::int8[], $2::text[], $3::int4[], $4::text[], $5::float8[]) it (id, state, attempts, reason, delay)
            where delivery.id = it.id returning delivery.id",
        )
        .await?;
    let rows = transaction
        .query(
            &statement,
            &[
                &settlements.iter().map(|(it, _)| it.id).collect::<Vec<_>>(),
                &fates.iter().map(|(state, _)| *state).collect::<Vec<_>>(),
                &settlements.iter().map(|(it, _)| it.attempts).collect::<Vec<_>>(),
                &settlements.iter().map(|(it, _)| it.reason.as_str()).collect::<Vec<_>>(),
                &fates.iter().map(|(_, delay)| *delay).collect::<Vec<_>>(),
            ],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Makes the parked deliveries dead that are not for the lane's destination any more, as [`Route::still_takes`] says: its row was given to another
/// tenant after they were parked, or does not name their types any more. Returns how many there were.
pub async fn turn_away(transaction: &Transaction<'_>, route: &Route<LaneName>) -> Result<u64, tokio_postgres::Error> {
    let Route { tenant, events, lane } = route;
    let named = |open: bool| -> Vec<&str> {
        events.iter().map(EventPattern::parts).filter(|(_, is_open)| *is_open == open).map(|(stem, _)| stem).collect()
    };
    let tenant = (!tenant.is_all()).then_some(tenant.0.as_str());
    let sql = "update andon.deliveries set state = 'dead', next_attempt_at = null, reason = case
            when tenant <> $2 then format('its event belongs to tenant `%s`, and the destination belongs to tenant `%s` now', tenant, $2)
            else format('the destination''s events do not name `%s`; add it and retry, or discard', type) end
        where lane = $1 and state <> 'dead' and (tenant <> $2 or (type <> all ($3) and not type ^@ any ($4)))";
    transaction.execute(sql, &[&lane.0, &tenant, &named(false), &named(true)]).await
}

/// Takes up what an earlier run left: makes the first delivery of each entity due, and returns the entities that are held back. It takes
/// two statements, however many there are.
pub async fn resume_held(transaction: &Transaction<'_>, lane: &LaneName) -> Result<Vec<Entity>, tokio_postgres::Error> {
    transaction
        .execute(
            "update andon.deliveries set state = 'retry', next_attempt_at = now() where id in (
                select id from (
                    select distinct on (entity_type, entity_id) id, state from andon.deliveries
                    where lane = $1 and state <> 'dead' order by entity_type, entity_id, event
                ) first where state = 'waiting'
            )",
            &[&lane.0],
        )
        .await?;
    let sql = "select distinct entity_type, entity_id from andon.deliveries where lane = $1 and state <> 'dead'";
    let rows = transaction.query(sql, &[&lane.0]).await?;
    Ok(rows.iter().map(|row| Entity { entity_type: row.get(0), id: row.get(1) }).collect())
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

/// Makes the selected deliveries due now, marks them as replayed, and wakes their lanes. Each entity keeps its order: a selected delivery
/// waits for earlier ones of its entity, and later ones wait for it. Those that wait already are left as they are, and those of which the ledger
/// has no data: an endpoint would get, signed, what never happened.
pub async fn retry(
    transaction: &Transaction<'_>,
    selection: &Selection,
) -> Result<Vec<StateChange>, tokio_postgres::Error> {
    let lanes = lock_lanes(transaction, selection).await?;
    let (ids, lane, states) = parameters(selection);
    // What a million deliveries need is sorted and joined in memory.
    transaction.execute("select set_config('work_mem', '64MB', true)", &[]).await?;
    let moved = transaction
        .query(
            &format!(
                // By windows and not by joins: which of the states are common has just changed, and the planner would go by what it knew. By the
                // hash first, because numbers are sorted faster than texts. What was due stands behind what is made due now, if that is
                // earlier. The rows are changed in the order in which they lie on disk.
                "with placed as materialized (
                    select id, state, is_selected, row_number() over (
                        partition by lane, hashtextextended(entity_id, 0), entity_type, entity_id order by event, id
                    ) = 1 as is_first
                    from andon.deliveries cross join lateral (
                        select (id = any ($1) or (lane = $2 and state = any ($3))) is true and state <> 'waiting' and not is_bare
                    ) it (is_selected)
                    where lane = any ($4) and (is_selected or state <> 'dead')
                ), changed as (
                    select * from placed where is_selected or (state = 'retry' and not is_first) order by id
                ), moved as (
                    update andon.deliveries delivery
                    set replayed = replayed or is_selected, state = case when is_first then 'retry' else 'waiting' end,
                        next_attempt_at = case when is_first then now() end
                    from changed where delivery.id = changed.id
                    returning delivery.lane, type, changed.state as was, delivery.state as now, occurred_at, is_selected
                )
                select lane, type, was, now, count(*), {}, {} from moved where is_selected
                group by lane, type, was, now order by lane, was, now, type",
                within_reach("min(occurred_at)"),
                within_reach("max(occurred_at)")
            ),
            &[&ids, &lane, &states, &lanes],
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
    let (ids, lane, states) = parameters(selection);
    let gone = transaction
        .query(
            &format!(
                "with gone as (
                    delete from andon.deliveries where id = any ($1) or (lane = $2 and state = any ($3))
                    returning lane, type, state, occurred_at
                )
                select lane, type, state, null, count(*), {}, {} from gone
                group by lane, type, state order by lane, state, type",
                within_reach("min(occurred_at)"),
                within_reach("max(occurred_at)")
            ),
            &[&ids, &lane, &states],
        )
        .await?;
    transaction
        .execute(
            "with first as materialized (
                select distinct on (lane, entity_type, entity_id) id, state from andon.deliveries
                where lane = any ($1) and state <> 'dead' order by lane, entity_type, entity_id, event
            )
            update andon.deliveries delivery set state = 'retry', next_attempt_at = now()
            from first where delivery.id = first.id and first.state = 'waiting'",
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
    let (ids, lane, states) = parameters(selection);
    let lanes = transaction
        .query(
            "select lane from andon.lanes
            where lane in (select lane from andon.deliveries where id = any ($1) or (lane = $2 and state = any ($3)))
            order by lane for update",
            &[&ids, &lane, &states],
        )
        .await?;
    Ok(lanes.iter().map(|row| row.get(0)).collect())
}

/// The ids, or the lane and the states: either the first or the other two are given.
type Parameters<'a> = (Option<&'a [i64]>, Option<&'a str>, Option<&'a [&'static str]>);

fn parameters(selection: &Selection) -> Parameters<'_> {
    match selection {
        Selection::Ids(ids) => (Some(ids), None, None),
        Selection::InStates(lane, states) => (None, Some(&lane.0), Some(states)),
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
pub async fn make_next_due(
    transaction: &PooledTransaction<'_>,
    lane: &LaneName,
    entities: &[&Entity],
) -> Result<Vec<Entity>, tokio_postgres::Error> {
    if entities.is_empty() {
        return Ok(Vec::new());
    }
    let statement = transaction
        .prepare_cached(
            // Lateral, so that each entity is one probe of the index.
            "with first as materialized (
                select place, first.id, first.state
                from unnest($2::text[], $3::text[]) with ordinality it (entity_type, entity_id, place) left join lateral (
                    select id, state from andon.deliveries parked
                    where lane = $1 and hashtextextended(parked.entity_id, 0) = hashtextextended(it.entity_id, 0)
                        and parked.entity_type = it.entity_type and parked.entity_id = it.entity_id and state <> 'dead'
                    order by event limit 1
                ) first on true
            ), due as (
                update andon.deliveries delivery set state = 'retry', next_attempt_at = now()
                from first where delivery.id = first.id and first.state = 'waiting'
            )
            select place from first where id is null",
        )
        .await?;
    let rows = transaction
        .query(
            &statement,
            &[
                &lane.0,
                &entities.iter().map(|it| it.entity_type.as_str()).collect::<Vec<_>>(),
                &entities.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(),
            ],
        )
        .await?;
    // PostgreSQL counts from 1.
    let entity = |row: &Row| entities.get(usize::try_from(row.get::<_, i64>(0) - 1).ok()?).map(|it| (*it).clone());
    Ok(rows.iter().filter_map(entity).collect())
}

fn state_and_delay(fate: Fate) -> (&'static str, Option<f64>) {
    match fate {
        Fate::Retry(delay) => ("retry", Some(delay.as_secs_f64())),
        Fate::Waiting => ("waiting", None),
        Fate::Dead => ("dead", None),
    }
}
