//! Writes and reads `andon.replays`. In: what somebody wants to be delivered again. Out: the replays that run, and how far each is. Their
//! deliveries are those of a lane like any other; this only knows that they were asked for, and when they are over.

use jiff::Timestamp;
use tokio_postgres::Error;
use tokio_postgres::GenericClient;
use tokio_postgres::Row;
use tokio_postgres::Transaction;

use crate::destination::LaneName;
use crate::destination::Replay;
use crate::router::EventPattern;

/// What somebody wants.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The lane of the destination.
    pub lane: LaneName,
    /// Events captured at this time or later,
    pub since: Timestamp,
    /// and before this one.
    pub until: Timestamp,
    /// Of what the destination takes, only these.
    pub events: Vec<String>,
    /// The ids that this comes to.
    pub first: i64,
    /// See `first`.
    pub last: i64,
    /// How many events they are, for this destination.
    pub total: i64,
}

/// How a replay stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its row.
    pub id: i64,
    /// What people call the destination.
    pub destination: String,
    /// See [`Wanted`].
    pub since: Timestamp,
    /// See [`Wanted`].
    pub until: Timestamp,
    /// See [`Wanted`].
    pub events: Vec<String>,
    /// See [`Wanted`].
    pub total: i64,
    /// `running`, `done` or `cancelled`.
    pub state: String,
    /// Delivered so far.
    pub delivered: i64,
    /// Given up: they are parked dead.
    pub dead: i64,
    /// Not in the log any more when it was their turn.
    pub lost: i64,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// What keeps it from getting on.
    pub trouble: Option<String>,
}

/// Asks for a replay. Returns its id.
pub async fn ask(client: &impl GenericClient, wanted: &Wanted) -> Result<i64, Error> {
    let row = client
        .query_one(
            "with asked as (
                insert into andon.replays (lane, since, until, events, first_id, last_id, total)
                values ($1, $2, $3, $4, $5, $6, $7) returning id
            )
            select id, pg_notify('andon', 'destinations') from asked",
            &[&wanted.lane.0, &wanted.since, &wanted.until, &wanted.events, &wanted.first, &wanted.last, &wanted.total],
        )
        .await?;
    Ok(row.get(0))
}

/// Ends a replay before its time. False: it does not run.
pub async fn cancel(client: &impl GenericClient, id: i64) -> Result<bool, Error> {
    let cancelled = client
        .query_opt(
            "with cancelled as (
                update andon.replays set state = 'cancelled', ended_at = now() where id = $1 and state = 'running' returning id
            )
            select pg_notify('andon', 'destinations') from cancelled",
            &[&id],
        )
        .await?;
    Ok(cancelled.is_some())
}

/// The replays that run, each with the lane of its destination.
pub async fn running(client: &impl GenericClient) -> Result<Vec<(LaneName, Replay)>, Error> {
    let sql = "select lane, id, first_id, last_id, events from andon.replays where state = 'running' order by id";
    let rows = client.query(sql, &[]).await?;
    let replay = |row: &Row| {
        // They were read before they were written; one that cannot be read any more matches nothing.
        let events = row.get::<_, Vec<&str>>(4).into_iter().filter_map(|text| EventPattern::parse(text).ok()).collect();
        (LaneName(row.get(0)), Replay { id: row.get(1), first: row.get(2), last: row.get(3), events })
    };
    Ok(rows.iter().map(replay).collect())
}

/// Ends the replays of which nothing is left to deliver.
pub async fn end(transaction: &Transaction<'_>) -> Result<(), Error> {
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

/// The lanes of replays that are over, which nobody serves any more, each with the lane of its destination. What they came to is written
/// down: the lanes may be forgotten.
pub async fn leaving(transaction: &Transaction<'_>) -> Result<Vec<(LaneName, LaneName)>, Error> {
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

/// How the replays stand, the last ones first; of one only, where its id is given.
pub async fn list(client: &impl GenericClient, id: Option<i64>) -> Result<Vec<Standing>, Error> {
    let rows = client
        .query(
            "select replay.id, coalesce(own.name, replay.lane), since, until, events, total, replay.state,
                coalesce(lane.delivered, replay.delivered), coalesce(parked.dead, replay.dead), coalesce(lane.lost, replay.lost),
                asked_at, ended_at, case
                    when replay.state <> 'running' then null
                    when not exists (select from andon.daemons where andon.lives(lease_until)) then 'no andon run serves this database'
                    when own.state = 'removed' then 'its destination is gone or not active'
                    when lane.state <> 'running' then lane.state || coalesce(': ' || lane.reason, '')
                    when parked.waits > 0 then parked.waits || ' deliveries failed and are tried again: ' || parked.reason
                end
            from andon.replays replay
            left join andon.lanes own on own.lane = replay.lane
            left join andon.lanes lane on lane.replay = replay.id
            left join lateral (
                select count(*) filter (where state = 'dead') dead, count(*) filter (where state <> 'dead') waits, max(reason) reason
                from andon.deliveries where lane = lane.lane
            ) parked on lane.lane is not null
            where $1::int8 is null or replay.id = $1 order by replay.id desc",
            &[&id],
        )
        .await?;
    Ok(rows.iter().map(standing).collect())
}

fn standing(row: &Row) -> Standing {
    Standing {
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
    }
}
