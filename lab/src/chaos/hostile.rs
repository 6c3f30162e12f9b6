//! An endpoint and a broker that misbehave as no real server can be made to. In: a malice, or none. Out: servers that show it to everybody
//! who connects, and destinations that send everything there. Nobody judges what these get: what counts is that the others get all of theirs
//! meanwhile.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::Result;
use rig::ScriptedBroker;
use rig::ScriptedEndpoint;
use rig::scripted_broker;
use rig::scripted_broker::Answer;
use rig::scripted_broker::Request;
use rig::scripted_endpoint::Step;
use tokio_postgres::Client;

/// How the two misbehave. The number is the reason code of MQTT 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malice {
    /// The endpoint answers in chunks.
    Chunks,
    /// The broker sends messages that nobody has subscribed to.
    Flood,
    /// The broker has no retained messages, and refuses a will that is to be retained.
    RetainsNothing,
    RefusesConnections(u8),
    RefusesPublishes(u8),
    EndsConnections(u8),
}

pub(super) const MALICES: [Malice; 11] = [
    Malice::Flood,
    Malice::RefusesPublishes(QUOTA),
    Malice::EndsConnections(QUOTA),
    Malice::RetainsNothing,
    Malice::Chunks,
    Malice::RefusesConnections(QUOTA),
    Malice::EndsConnections(BUSY),
    Malice::EndsConnections(RATE),
    Malice::RefusesConnections(CONNECTION_RATE),
    Malice::RefusesConnections(BUSY),
    Malice::EndsConnections(CONNECT_TIME),
];

const BUSY: u8 = 0x89;
const RATE: u8 = 0x96;
const QUOTA: u8 = 0x97;
const RETAIN_NOT_SUPPORTED: u8 = 0x9a;
const CONNECTION_RATE: u8 = 0x9f;
const CONNECT_TIME: u8 = 0xa0;

/// The two servers.
pub(super) struct Hostile {
    endpoint: ScriptedEndpoint,
    broker: ScriptedBroker,
    malice: Arc<Mutex<Option<Malice>>>,
}

impl Malice {
    pub(super) fn name(self) -> String {
        match self {
            Malice::Chunks => "endpoint that answers in chunks".to_owned(),
            Malice::Flood => "broker floods".to_owned(),
            Malice::RetainsNothing => "broker retains nothing".to_owned(),
            Malice::RefusesConnections(code) => format!("broker refuses connections {code:#x}"),
            Malice::RefusesPublishes(code) => format!("broker refuses publishes {code:#x}"),
            Malice::EndsConnections(code) => format!("broker ends connections {code:#x}"),
        }
    }
}

impl Hostile {
    /// Starts both, and adds a destination for each.
    pub(super) async fn start(client: &Client) -> Result<Hostile> {
        let malice: Arc<Mutex<Option<Malice>>> = Arc::default();
        let (of_endpoint, of_broker) = (Arc::clone(&malice), Arc::clone(&malice));
        let endpoint = ScriptedEndpoint::start(move |_| answer(current(&of_endpoint))).await?;
        let broker = ScriptedBroker::start(move |request| reply(request, current(&of_broker))).await?;
        let (url, port) = (endpoint.url(), broker.port());
        let insert = format!(
            "insert into andon.webhooks (tenant_id, url, secret_key, events)
             values ('acme', '{url}', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', '{{*}}');
             insert into andon.mqtt_publishers (tenant_id, name, broker_url, port, topic_pattern, events)
             values ('acme', 'hostile', '127.0.0.1', {port}, 'hostile/{{entity_id}}', '{{*}}')"
        );
        client.batch_execute(&insert).await.context("cannot add the hostile destinations")?;
        Ok(Hostile { endpoint, broker, malice })
    }

    /// Shows this malice from now on.
    pub(super) fn set(&self, malice: Option<Malice>) {
        *self.malice.lock().unwrap_or_else(PoisonError::into_inner) = malice;
    }

    /// Returns how many requests and packets came.
    pub(super) fn contacts(&self) -> usize {
        self.endpoint.requests().snapshot().len() + self.broker.seen().snapshot().len()
    }
}

fn current(malice: &Mutex<Option<Malice>>) -> Option<Malice> {
    *malice.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(malice: Option<Malice>) -> Vec<Step> {
    match malice {
        Some(Malice::Chunks) => vec![
            Step::send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n"),
            Step::Wait(Duration::from_millis(5)),
            Step::send("0\r\n\r\n"),
        ],
        _ => vec![Step::send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")],
    }
}

fn reply(request: &Request, malice: Option<Malice>) -> Answer {
    match (request, malice) {
        (Request::Connect { level, .. }, Some(Malice::Flood)) => {
            let mut flood = scripted_broker::connack(*level, 0);
            // A PUBLISH at QoS 0 to topic `a`; at MQTT 5, a byte says that it has no properties.
            flood.extend(if *level == 5 {
                [0x30, 5, 0, 1, b'a', 0, b'x'].to_vec()
            } else {
                [0x30, 4, 0, 1, b'a', b'x'].to_vec()
            });
            Answer::Endless(flood)
        }
        (Request::Connect { level: 5, .. }, Some(Malice::RefusesConnections(code))) => {
            Answer::Last(scripted_broker::connack(5, code))
        }
        (Request::Connect { level: 5, will: Some((_, true)), .. }, Some(Malice::RetainsNothing)) => {
            Answer::Last(scripted_broker::connack(5, RETAIN_NOT_SUPPORTED))
        }
        (Request::Publish { level: 5, .. }, Some(Malice::RefusesPublishes(code))) => request.refused(code),
        (Request::Publish { level: 5, .. }, Some(Malice::EndsConnections(code))) => {
            Answer::Last(scripted_broker::disconnect(code, "not now"))
        }
        _ => request.accepted(),
    }
}
