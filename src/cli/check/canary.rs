//! The canary: whether what a publisher publishes arrives. In: a publisher, and recent events of its tenant for its topics. Out: for each
//! topic, whether a message that the broker acknowledged came back to us. It publishes, with the event name `andon.canary`, and nothing
//! of the plant is in the message.

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

use crate::cli::check::brokers;
use crate::cli::check::findings::Findings;
use crate::destination::LaneName;
use crate::event::Entity;
use crate::event::Event;
use crate::lane::mqtt::link::Link;
use crate::lane::mqtt::message::MessageBuilder;
use crate::lane::mqtt::protocol::Ack;
use crate::lane::mqtt::protocol::ConnectOptions;
use crate::lane::mqtt::protocol::Incoming;
use crate::router::Route;
use crate::topic::Topic;

/// What became of the canary on a topic.
#[derive(Debug)]
pub(super) enum Fate {
    /// It came back.
    Arrived,
    /// The broker acknowledged it, and it did not come back.
    Dropped,
    /// The broker acknowledged it, and does not let us listen.
    Unheard,
    /// The broker did not take it, and this is why.
    Refused(String),
}

const KIND: &str = "andon.canary";
/// How many topics are tried, and how far back in the log their events are looked for.
const TOPICS: usize = 10;
const RECENT: i64 = 10_000;
/// How long the broker may take to answer, and how long to wait for what it has acknowledged.
const ANSWER_TIME: Duration = Duration::from_secs(10);
const ARRIVAL_TIME: Duration = Duration::from_secs(2);

/// The topics of recent events that the publisher takes, had they been canaries; or that of a made-up one, if there are none.
pub(super) async fn topics(
    client: &Client,
    route: &Route<LaneName>,
    publishing: &MessageBuilder,
) -> anyhow::Result<Vec<Topic>> {
    let rows = client
        .query(
            "select type, entity_type, entity_id, context, data from andon.events
            where tenant = $1 and id > (select max(id) - $2 from andon.events)
            order by id desc limit 1000",
            &[&route.tenant.0, &RECENT],
        )
        .await?;
    let mut topics = BTreeMap::new();
    let event = |kind: &str, entity, context: &RawValue, data: &RawValue| {
        let (now, tenant) = (Timestamp::now(), route.tenant.clone());
        Event::new(0, Uuid::nil(), tenant, kind.to_owned(), entity, now, context.to_owned(), data.to_owned())
    };
    let mut problem = None;
    for row in &rows {
        let Json(context): Json<Box<RawValue>> = row.get(3);
        let Json(data): Json<Box<RawValue>> = row.get(4);
        let entity = Entity { kind: row.get(1), id: row.get(2) };
        if topics.len() < TOPICS && route.takes(&event(row.get(0), entity.clone(), &context, &data)) {
            match publishing.build(&event(KIND, entity, &context, &data), usize::MAX) {
                Ok(prepared) => drop(topics.insert(prepared.topic.to_string(), prepared.topic)),
                Err(reason) => problem = Some(reason),
            }
        }
    }
    if topics.is_empty() && problem.is_none() {
        let nothing = RawValue::from_string("{}".to_owned())?;
        let entity = Entity { kind: "canary".to_owned(), id: "canary".to_owned() };
        match publishing.build(&event(KIND, entity, &nothing, &nothing), usize::MAX) {
            Ok(prepared) => drop(topics.insert(prepared.topic.to_string(), prepared.topic)),
            Err(reason) => problem = Some(reason),
        }
    }
    match problem {
        Some(reason) if topics.is_empty() => Err(anyhow::anyhow!("no topic to try: {reason}")),
        _ => Ok(topics.into_values().collect()),
    }
}

/// Publishes on each topic, and listens to it. Each has a connection of its own: some brokers end it with a refusal.
pub(super) async fn fly(plan: &ConnectOptions, topics: Vec<Topic>) -> Result<Vec<(Topic, Fate)>, String> {
    let mut fates = Vec::new();
    for topic in topics {
        let (mut link, _) = brokers::connect(plan).await?;
        let fate = match fly_to(&mut link, &topic).await {
            Ok(fate) => fate,
            Err(reason) => Fate::Refused(reason),
        };
        fates.push((topic, fate));
        link.close().await;
    }
    Ok(fates)
}

async fn fly_to(link: &mut Link, topic: &Topic) -> Result<Fate, String> {
    let (gone, silent) = ("the connection ended".to_owned(), format!("no answer within {ANSWER_TIME:?}"));
    if !link.subscribe(topic) {
        return Err(gone);
    }
    let is_heard = loop {
        match timeout(ANSWER_TIME, link.incoming()).await {
            Ok(Some(Incoming::Subscribed(granted))) => break granted,
            Ok(Some(Incoming::Message(_))) => {}
            Ok(None) => return Err(gone),
            Err(_) => return Err(silent),
        }
    };
    let id = Uuid::from_u128(rand::random());
    let payload = json!({"id": id, "type": KIND, "timestamp": Timestamp::now().to_string()});
    let payload = Bytes::from(payload.to_string());
    let Some(notice) = link.publish(topic, payload.clone(), id, false) else { return Err(gone) };
    match timeout(ANSWER_TIME, notice).await {
        Ok(Ack::Accepted) if !is_heard => return Ok(Fate::Unheard),
        Ok(Ack::Accepted) => {}
        Ok(Ack::NotNow(reason) | Ack::Failed(reason) | Ack::Refused(reason)) => return Err(reason),
        Ok(Ack::Lost) => return Err(gone),
        Err(_) => return Err(silent),
    }
    let arriving = async {
        while let Some(heard) = link.incoming().await {
            if heard == Incoming::Message(payload.clone()) {
                return true;
            }
        }
        false
    };
    Ok(if timeout(ARRIVAL_TIME, arriving).await == Ok(true) { Fate::Arrived } else { Fate::Dropped })
}

/// One line for each topic that does not work, and one for all that do.
pub(super) fn report(broker: &str, fates: &[(Topic, Fate)], findings: &mut Findings) {
    let mut arrived = Vec::new();
    for (topic, fate) in fates {
        match fate {
            Fate::Arrived => arrived.push(topic.as_str()),
            Fate::Dropped => findings.fault(
                "canary",
                format!("{broker}: `{topic}` was acknowledged but dropped; let its user write there, and for this check read"),
            ),
            Fate::Unheard => findings.warning(
                "canary",
                format!("{broker}: `{topic}` was acknowledged; whether it arrives cannot be told, since its user may not subscribe"),
            ),
            Fate::Refused(reason) => findings.fault("canary", format!("{broker}: `{topic}` was refused: {reason}")),
        }
    }
    if !arrived.is_empty() {
        findings.good("canary", format!("{broker}: arrives on {}", arrived.join(", ")));
    }
}
