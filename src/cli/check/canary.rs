//! The canary shows whether the messages of a publisher arrive. In: a publisher, and recent events of its tenant, which give the topics.
//! Out: for each topic, whether a message that the broker acknowledged came back to us. The message has the event name `andon.canary` and
//! carries no data of the plant.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::cli::check::connection;
use crate::cli::check::report::CheckReport;
use crate::destination::LaneName;
use crate::event::Entity;
use crate::event::Event;
use crate::event::TenantId;
use crate::lane::mqtt::link::Link;
use crate::lane::mqtt::message::MessageBuilder;
use crate::lane::mqtt::protocol::Ack;
use crate::lane::mqtt::protocol::ConnectOptions;
use crate::lane::mqtt::protocol::Incoming;
use crate::router::Route;
use crate::topic::Topic;

/// The outcome of the canary on one topic.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It came back.
    Arrived,
    /// The broker acknowledged it, but it did not come back.
    Dropped,
    /// The broker acknowledged it, but does not let us subscribe to the topic.
    Unverifiable,
    /// The broker did not accept it, for this reason.
    Refused(String),
}

const EVENT_TYPE: &str = "andon.canary";
/// At most this number of topics is tried.
const MAX_TOPICS: usize = 10;
/// The topics come from events among the last ids of the log, this many at most.
const RECENT_IDS: i64 = 10_000;
/// How long the broker may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a message that the broker has acknowledged may take to come back.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns the topics that canaries get in the place of recent events that the publisher takes. If there are none, a made-up event gives a
/// topic.
pub(super) async fn topics(
    client: &Client,
    route: &Route<LaneName>,
    publishing: &MessageBuilder,
) -> anyhow::Result<Vec<Topic>> {
    let rows = client
        .query(
            "select type, entity_type, entity_id, context, data, tenant from andon.events
            where ($1 = '*' or tenant = $1) and id > (select max(id) - $2 from andon.events)
            order by id desc limit 1000",
            &[&route.tenant.0, &RECENT_IDS],
        )
        .await?;
    let mut topics = BTreeMap::new();
    let event = |tenant: &TenantId, event_type: &str, entity, context: &RawValue, data: &RawValue| {
        let (now, tenant) = (Timestamp::now(), tenant.clone());
        Event::new(0, Uuid::nil(), tenant, event_type.to_owned(), entity, now, context.to_owned(), data.to_owned())
    };
    let mut problem = None;
    for row in &rows {
        let Json(context): Json<Box<RawValue>> = row.get(3);
        let Json(data): Json<Box<RawValue>> = row.get(4);
        let (entity, tenant) = (Entity { entity_type: row.get(1), id: row.get(2) }, TenantId(row.get(5)));
        if topics.len() < MAX_TOPICS && route.takes(&event(&tenant, row.get(0), entity.clone(), &context, &data)) {
            match publishing.build(&event(&tenant, EVENT_TYPE, entity, &context, &data)) {
                Ok(prepared) => drop(topics.insert(prepared.topic.to_string(), prepared.topic)),
                Err(reason) => problem = Some(reason),
            }
        }
    }
    if topics.is_empty() && problem.is_none() {
        let nothing = RawValue::from_string("{}".to_owned())?;
        let entity = Entity { entity_type: "canary".to_owned(), id: "canary".to_owned() };
        match publishing.build(&event(&route.tenant, EVENT_TYPE, entity, &nothing, &nothing)) {
            Ok(prepared) => drop(topics.insert(prepared.topic.to_string(), prepared.topic)),
            Err(reason) => problem = Some(reason),
        }
    }
    match problem {
        Some(reason) if topics.is_empty() => Err(anyhow::anyhow!("no topic to try: {reason}")),
        _ => Ok(topics.into_values().collect()),
    }
}

/// Publishes a canary on each topic and waits for it. Each topic has a connection of its own, since some brokers close the connection
/// when they refuse a message.
pub(super) async fn send(plan: &ConnectOptions, topics: Vec<Topic>) -> Result<Vec<(Topic, Outcome)>, String> {
    let plan = ConnectOptions { subscribes: true, ..plan.clone() };
    let mut outcomes = Vec::new();
    for topic in topics {
        let (mut link, _) = connection::connect(&plan).await?;
        let outcome = match send_one(&mut link, &topic).await {
            Ok(outcome) => outcome,
            Err(reason) => Outcome::Refused(reason),
        };
        outcomes.push((topic, outcome));
        link.close().await;
    }
    Ok(outcomes)
}

async fn send_one(link: &mut Link, topic: &Topic) -> Result<Outcome, String> {
    let (closed, timed_out) = ("the connection ended".to_owned(), format!("no answer within {ANSWER_TIMEOUT:?}"));
    if !link.subscribe(topic.as_str()) {
        return Err(closed);
    }
    let may_subscribe = loop {
        match timeout(ANSWER_TIMEOUT, link.incoming()).await {
            Ok(Some(Incoming::Subscribed(granted))) => break granted,
            Ok(Some(Incoming::Message(_))) => {}
            Ok(None) => return Err(closed),
            Err(_) => return Err(timed_out),
        }
    };
    let id = Uuid::from_u128(rand::random());
    let payload = json!({"id": id, "type": EVENT_TYPE, "timestamp": Timestamp::now().to_string()});
    let payload = Bytes::from(payload.to_string());
    let Some(notice) = link.publish(topic, payload.clone(), id, false) else { return Err(closed) };
    match timeout(ANSWER_TIMEOUT, notice).await {
        Ok(Ack::Accepted) if !may_subscribe => return Ok(Outcome::Unverifiable),
        Ok(Ack::Accepted) => {}
        Ok(Ack::NotNow(reason) | Ack::Failed(reason) | Ack::Refused(reason)) => return Err(reason),
        Ok(Ack::Lost) => return Err(closed),
        Err(_) => return Err(timed_out),
    }
    let arriving = async {
        while let Some(heard) = link.incoming().await {
            if heard == Incoming::Message(payload.clone()) {
                return true;
            }
        }
        false
    };
    Ok(if timeout(ARRIVAL_TIMEOUT, arriving).await == Ok(true) { Outcome::Arrived } else { Outcome::Dropped })
}

/// Reports one line for each topic that does not work, and one line for all that do.
pub(super) fn report(broker: &str, outcomes: &[(Topic, Outcome)], report: &mut CheckReport) {
    let mut arrived = Vec::new();
    for (topic, outcome) in outcomes {
        match outcome {
            Outcome::Arrived => arrived.push(topic.as_str()),
            Outcome::Dropped => report.fault(
                "canary",
                format!("{broker}: `{topic}` was acknowledged but dropped; let its user write there, and for this check read"),
            ),
            Outcome::Unverifiable => report.warning(
                "canary",
                format!("{broker}: `{topic}` was acknowledged; whether it arrives cannot be told, since its user may not subscribe"),
            ),
            Outcome::Refused(reason) => report.fault("canary", format!("{broker}: `{topic}` was refused: {reason}")),
        }
    }
    if !arrived.is_empty() {
        report.ok("canary", format!("{broker}: arrives on {}", arrived.join(", ")));
    }
}
