//! Reads what people want to know of the ledger. In: a connection, and what they ask for. Out: counts, rows, and the details of one
//! delivery, as values. It only reads.

use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::ledger::within_reach;

/// Which parked deliveries somebody asks for.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only those of these lanes; none for all lanes.
    pub lanes: Option<Vec<String>>,
    /// Only those in this state; none for any state.
    pub state: Option<&'static str>,
}

/// How many of a destination's deliveries are in a state.
#[derive(Debug, Clone)]
pub struct Count {
    /// What people call the destination.
    pub destination: String,
    /// The destination's lane.
    pub lane: String,
    /// `retry`, `waiting` or `dead`.
    pub state: String,
    /// How many deliveries these are.
    pub count: i64,
    /// When the first of them was parked.
    pub oldest: Timestamp,
    /// The most frequent reason.
    pub reason: String,
}

/// A parked delivery.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The delivery's row.
    pub id: i64,
    /// What people call the destination.
    pub destination: String,
    /// The destination's lane.
    pub lane: String,
    /// `retry`, `waiting` or `dead`.
    pub state: String,
    /// The event's identity.
    pub event_id: Uuid,
    /// The event's type.
    pub r#type: String,
    /// The type of the event's entity.
    pub entity_type: String,
    /// The key of the event's entity.
    pub entity_id: String,
    /// The tenant whose event it is.
    pub tenant: String,
    /// When the event happened.
    pub occurred_at: Timestamp,
    /// How often it was tried.
    pub attempts: i32,
    /// When it is tried next; none if it waits or is dead.
    pub next_attempt_at: Option<Timestamp>,
    /// When it was parked.
    pub parked_at: Timestamp,
    /// Whether somebody asked for it again.
    pub replayed: bool,
    /// Why it is parked.
    pub reason: String,
}

/// All that is known of one parked delivery.
#[derive(Debug)]
pub struct Details {
    /// The delivery.
    pub delivery: Delivery,
    /// The event's id in the log.
    pub event: i64,
    /// The context of the event, from which topics are made, as the text that PostgreSQL wrote.
    pub context: String,
    /// The payload, as the text that PostgreSQL wrote.
    pub data: String,
    /// How many later deliveries of the same entity are parked.
    pub later_parked: i64,
    /// The attempts, oldest first.
    pub attempts: Vec<PastAttempt>,
}

/// An attempt, as it was recorded.
#[derive(Debug)]
pub struct PastAttempt {
    /// When it was recorded.
    pub at: Timestamp,
    /// Which attempt it was, from 1.
    pub number: i32,
    /// `delivered`, `retry` or `dead`.
    pub outcome: String,
    /// HTTP status or MQTT reason code, if there was an answer.
    pub code: Option<i32>,
    /// From the start of the attempt to its end, in milliseconds.
    pub latency_ms: Option<f64>,
    /// The beginning of the answer, or what went wrong.
    pub excerpt: Option<String>,
}

/// The columns of a delivery.
fn columns() -> String {
    format!(
        "id, name, lane, delivery.state, event_id, type, entity_type, entity_id, delivery.tenant, {}, attempts,
        case when next_attempt_at is not null then {} end, {}, replayed, delivery.reason",
        within_reach("occurred_at"),
        within_reach("next_attempt_at"),
        within_reach("parked_at"),
    )
}

/// Returns the time of the database, by which all times of the ledger are.
pub async fn now(client: &Client) -> Result<Timestamp, Error> {
    Ok(client.query_one("select now()", &[]).await?.get(0))
}

/// A destination that has a lane, or had one.
#[derive(Debug, Clone)]
pub struct KnownDestination {
    /// What people call it. Others may have the same name.
    pub name: String,
    /// Its lane.
    pub lane: String,
    /// The tenant that it belongs to.
    pub tenant: String,
}

/// Returns every destination that ever had a lane.
pub async fn destinations(client: &Client) -> Result<Vec<KnownDestination>, Error> {
    let sql = "select name, lane, tenant from andon.lanes where replay is null order by name, lane";
    let known = |row: &tokio_postgres::Row| KnownDestination { name: row.get(0), lane: row.get(1), tenant: row.get(2) };
    Ok(client.query(sql, &[]).await?.iter().map(known).collect())
}

/// Counts what is parked, by destination and state.
pub async fn counts(client: &Client, filter: &Filter) -> Result<Vec<Count>, Error> {
    let rows = client
        .query(
            &format!(
                "select name, lane, delivery.state, count(*), {}, mode() within group (order by delivery.reason)
                from andon.deliveries delivery join andon.lanes using (lane)
                where ($1::text[] is null or lane = any ($1)) and ($2::text is null or delivery.state = $2)
                group by name, lane, delivery.state order by name, lane, delivery.state",
                within_reach("min(parked_at)")
            ),
            &[&filter.lanes, &filter.state],
        )
        .await?;
    let count = |row: &tokio_postgres::Row| Count {
        destination: row.get(0),
        lane: row.get(1),
        state: row.get(2),
        count: row.get(3),
        oldest: row.get(4),
        reason: row.get(5),
    };
    Ok(rows.iter().map(count).collect())
}

/// Returns the first `limit` parked deliveries, by destination, and in the order in which their events happened.
pub async fn list(client: &Client, filter: &Filter, limit: i64) -> Result<Vec<Delivery>, Error> {
    let rows = client
        .query(
            &format!(
                "select {} from andon.deliveries delivery join andon.lanes using (lane)
                where ($1::text[] is null or lane = any ($1)) and ($2::text is null or delivery.state = $2)
                order by name, lane, event limit $3",
                columns()
            ),
            &[&filter.lanes, &filter.state, &limit],
        )
        .await?;
    Ok(rows.iter().map(delivery).collect())
}

/// Returns all that is known of one delivery, if it is still parked.
pub async fn details(client: &Client, id: i64) -> Result<Option<Details>, Error> {
    let found = client
        .query_opt(
            &format!(
                "select {}, event, context, data, (
                    select count(*) from andon.deliveries later
                    where (later.lane, later.entity_type, later.entity_id) = (delivery.lane, delivery.entity_type, delivery.entity_id)
                        and hashtextextended(later.entity_id, 0) = hashtextextended(delivery.entity_id, 0)
                        and later.event > delivery.event and later.state <> 'dead'
                )
                from andon.deliveries delivery join andon.lanes using (lane) where id = $1",
                columns()
            ),
            &[&id],
        )
        .await?;
    let Some(row) = found else { return Ok(None) };
    let delivery = delivery(&row);
    let Json(context): Json<Box<RawValue>> = row.get(16);
    let Json(data): Json<Box<RawValue>> = row.get(17);
    let attempts = client
        .query(
            // The first attempt is recorded in the transaction that parks the event, so that older partitions need not be read.
            &format!(
                "select {}, attempt, outcome, code, latency_ms, excerpt from andon.attempts
                where lane = $1 and event_id = $2 and at >= $3 order by at, attempt",
                within_reach("at")
            ),
            &[&delivery.lane, &delivery.event_id, &delivery.parked_at],
        )
        .await?;
    let attempt = |row: &tokio_postgres::Row| PastAttempt {
        at: row.get(0),
        number: row.get(1),
        outcome: row.get(2),
        code: row.get(3),
        latency_ms: row.get(4),
        excerpt: row.get(5),
    };
    Ok(Some(Details {
        delivery,
        event: row.get(15),
        context: context.get().to_owned(),
        data: data.get().to_owned(),
        later_parked: row.get(18),
        attempts: attempts.iter().map(attempt).collect(),
    }))
}

/// Returns those of these deliveries that are parked.
pub async fn known(client: &Client, ids: &[i64]) -> Result<Vec<i64>, Error> {
    let found = client.query("select id from andon.deliveries where id = any ($1)", &[&ids]).await?;
    Ok(found.iter().map(|row| row.get(0)).collect())
}

fn delivery(row: &tokio_postgres::Row) -> Delivery {
    Delivery {
        id: row.get(0),
        destination: row.get(1),
        lane: row.get(2),
        state: row.get(3),
        event_id: row.get(4),
        r#type: row.get(5),
        entity_type: row.get(6),
        entity_id: row.get(7),
        tenant: row.get(8),
        occurred_at: row.get(9),
        attempts: row.get(10),
        next_attempt_at: row.get(11),
        parked_at: row.get(12),
        replayed: row.get(13),
        reason: row.get(14),
    }
}
