//! Writes and reads `andon.replays`. In: requests to deliver a part of the log again. Out: the replays that run, and how far each is. A
//! lane of its own delivers a replay as any lane delivers; this file only knows that the replay was asked for, and when it is over.

use jiff::Timestamp;
use tokio_postgres::Error;
use tokio_postgres::GenericClient;
use tokio_postgres::Row;
use tokio_postgres::Transaction;

use crate::destination::LaneName;
use crate::destination::Replay;
use crate::ledger::within_reach;
use crate::router::EventPattern;

/// A request to deliver a part of the log again.
#[derive(Debug, Clone)]
pub struct ReplayRequest {
    /// The lane of the destination.
    pub lane: LaneName,
    /// The events were captured at this time or later,
    pub since: Timestamp,
    /// and before this one.
    pub until: Timestamp,
    /// Patterns of event types: of what the destination takes, only these are delivered.
    pub events: Vec<String>,
    /// The lowest id in the log that the times come to.
    pub first: i64,
    /// The highest one.
    pub last: i64,
    /// How many events the destination is to get.
    pub total: i64,
}

/// How far a replay is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayStatus {
    /// The replay's row.
    pub id: i64,
    /// What people call the destination.
    pub destination: String,
    /// The events were captured at this time or later,
    pub since: Timestamp,
    /// and before this one.
    pub until: Timestamp,
    /// Patterns of the event types that are delivered.
    pub events: Vec<String>,
    /// How many events the destination is to get.
    pub total: i64,
    /// `running`, `done` or `cancelled`.
    pub state: String,
    /// How many events are delivered.
    pub delivered: i64,
    /// How many deliveries are parked dead.
    pub dead: i64,
    /// How many events had left the log before their turn came.
    pub lost: i64,
    /// When somebody asked for the replay.
    pub asked_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The reason why it makes no progress.
    pub trouble: Option<String>,
    /// Whether it makes none until somebody changes the destination's row.
    pub is_stuck: bool,
}

/// Returns why nothing is delivered to a destination until somebody changes its row, which has this fingerprint now: the state of its lane, and
/// the reason. A lane that has not seen the row yet may deliver as soon as it has.
pub async fn standstill(
    client: &impl GenericClient,
    lane: &LaneName,
    fingerprint: &str,
) -> Result<Option<(String, String)>, Error> {
    let sql = "select state, coalesce(reason, '') from andon.lanes
        where lane = $1 and fingerprint = $2 and state in ('disabled', 'misconfigured')";
    let row = client.query_opt(sql, &[&lane.0, &fingerprint]).await?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

/// Asks for a replay. Returns its id.
pub async fn request(client: &impl GenericClient, request: &ReplayRequest) -> Result<i64, Error> {
    let row = client
        .query_one(
            "with asked as (
                insert into andon.replays (lane, since, until, events, first_id, last_id, total)
                values ($1, $2, $3, $4, $5, $6, $7) returning id
            )
            select id, andon.notify_destinations() from asked",
            &[
                &request.lane.0,
                &request.since,
                &request.until,
                &request.events,
                &request.first,
                &request.last,
                &request.total,
            ],
        )
        .await?;
    Ok(row.get(0))
}

/// Ends a replay before all of it is delivered. Returns whether it was running.
pub async fn cancel(client: &impl GenericClient, id: i64) -> Result<bool, Error> {
    let cancelled = client
        .query_opt(
            "with cancelled as (
                update andon.replays set state = 'cancelled', ended_at = now() where id = $1 and state = 'running' returning id
            )
            select andon.notify_destinations() from cancelled",
            &[&id],
        )
        .await?;
    Ok(cancelled.is_some())
}

/// Returns the replays that run, each with the lane of its destination.
pub async fn running(client: &impl GenericClient) -> Result<Vec<(LaneName, Replay)>, Error> {
    let sql = "select lane, id, first_id, last_id, events from andon.replays where state = 'running' order by id";
    let rows = client.query(sql, &[]).await?;
    let replay = |row: &Row| {
        // `andon replay` parsed the patterns before it wrote them. One that this version cannot parse any more matches nothing.
        let events = row.get::<_, Vec<&str>>(4).into_iter().filter_map(|text| EventPattern::parse(text).ok()).collect();
        (LaneName(row.get(0)), Replay { id: row.get(1), first: row.get(2), last: row.get(3), events })
    };
    Ok(rows.iter().map(replay).collect())
}

/// Ends the replays of which nothing is left to deliver.
pub async fn mark_done(transaction: &Transaction<'_>) -> Result<(), Error> {
    transaction
        .execute(
            "update andon.replays replay set state = 'done', ended_at = now()
            from andon.lanes lane
            where lane.replay = replay.id and replay.state = 'running' and lane.pending = '{}' and not exists (
                select from andon.deliveries parked where parked.lane = lane.lane and parked.state <> 'dead'
            )",
            &[],
        )
        .await?;
    Ok(())
}

/// Records what the replays came to that are over and whose lanes nobody serves any more. Returns each such lane with the lane of its
/// destination: from now on it may be forgotten.
pub async fn record_results(transaction: &Transaction<'_>) -> Result<Vec<(LaneName, LaneName)>, Error> {
    let rows = transaction
        .query(
            "update andon.replays replay set delivered = lane.delivered, lost = lane.lost,
                dead = (select count(*) from andon.deliveries parked where parked.lane = lane.lane and parked.state = 'dead')
            from andon.lanes lane
            where lane.replay = replay.id and replay.state <> 'running' and lane.state = 'removed'
            returning lane.lane, replay.lane",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| (LaneName(row.get(0)), LaneName(row.get(1)))).collect())
}

/// Returns how far the replays are, the last one first; or only one of them, if its id is given.
pub async fn list(client: &impl GenericClient, id: Option<i64>) -> Result<Vec<ReplayStatus>, Error> {
    let rows = client
        .query(
            &format!("select replay.id, coalesce(own.name, replay.lane), {}, {}, events, total, replay.state,
                coalesce(lane.delivered, replay.delivered), coalesce(parked.dead, replay.dead), coalesce(lane.lost, replay.lost),
                {}, case when ended_at is not null then {} end, case
                    when replay.state <> 'running' then null
                    when not exists (select from andon.daemons where andon.lives(lease_until)) then 'no andon run serves this database'
                    when own.state = 'removed' then 'its destination is gone or not active'
                    when lane.state <> 'running' then lane.state || coalesce(': ' || lane.reason, '')
                    when parked.waits > 0 then parked.waits || ' deliveries failed and are tried again: ' || parked.reason
                end, coalesce(replay.state = 'running' and (own.state = 'removed' or lane.state in ('disabled', 'misconfigured', 'paused'))
                    and exists (select from andon.daemons where andon.lives(lease_until)), false)
            from andon.replays replay
            left join andon.lanes own on own.lane = replay.lane
            left join andon.lanes lane on lane.replay = replay.id
            left join lateral (
                select count(*) filter (where state = 'dead') dead, count(*) filter (where state <> 'dead') waits, max(reason) reason
                from andon.deliveries where lane = lane.lane
            ) parked on lane.lane is not null
            where $1::int8 is null or replay.id = $1 order by replay.id desc",
                within_reach("since"), within_reach("until"), within_reach("asked_at"), within_reach("ended_at")),
            &[&id],
        )
        .await?;
    Ok(rows.iter().map(status).collect())
}

fn status(row: &Row) -> ReplayStatus {
    ReplayStatus {
        id: row.get(0),
        destination: row.get(1),
        since: row.get(2),
        until: row.get(3),
        events: row.get(4),
        total: row.get(5),
        state: row.get(6),
        delivered: row.get(7),
        dead: row.get(8),
        lost: row.get(9),
        asked_at: row.get(10),
        ended_at: row.get(11),
        trouble: row.get(12),
        is_stuck: row.get(13),
    }
}
