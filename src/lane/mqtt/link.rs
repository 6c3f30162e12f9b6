//! A connection to a broker, whatever version of MQTT it speaks. In: topics and payloads. Out: for each publish the broker's own
//! acknowledgement, or that there was none. A link lives for one connection: the log is the session, so nothing of a dead connection
//! is worth keeping.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::ClientConfig;
use uuid::Uuid;

use crate::lane::mqtt::v4;
use crate::lane::mqtt::v5;
use crate::secret::Secret;
use crate::topic::Topic;

/// How to reach the broker, and as whom.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// TLS, where it is spoken.
    pub tls: Option<Arc<ClientConfig>>,
    /// Unique at the broker.
    pub client_id: String,
    /// User name and password.
    pub credentials: Option<(String, Secret)>,
    /// MQTT keep-alive.
    pub keep_alive: Duration,
    /// Publishes that may be unacknowledged.
    pub window: u16,
    /// The largest packet in bytes.
    pub max_packet: usize,
    /// The retained status topic, and what the broker is to say there when the connection is lost.
    pub status_topic: String,
    /// See `status_topic`.
    pub last_will: Bytes,
    /// Whether all of this is published again.
    pub is_replay: bool,
}

/// Which version to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 5
    V5,
    /// MQTT 3.1.1
    V4,
}

/// Why there is no connection.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// For people.
    pub reason: String,
    /// What it says about the version that was tried.
    pub cause: Cause,
}

/// What a refusal has to do with the version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The broker says that it does not speak this version.
    Version,
    /// It closed the connection before it said anything: some old brokers do so, and any broker that goes down.
    Silence,
    /// Nothing.
    Other,
}

/// What the broker said about a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ack {
    /// It has it.
    Accepted,
    /// Not now: a quota. It says nothing against the event.
    NotNow(String),
    /// It failed, and does not say whether the event or the broker is the trouble.
    Failed(String),
    /// Never.
    Refused(String),
    /// The connection ended first.
    Lost,
}

impl Ack {
    /// Whether the broker is through with the event.
    pub fn is_final(&self) -> bool {
        matches!(self, Ack::Accepted | Ack::Refused(_))
    }
}

/// What the broker said to a subscription, or sent for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Whether it granted it.
    Subscribed(bool),
    /// A message's payload.
    Message(Bytes),
}

/// What the broker allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Publishes that may be unacknowledged.
    pub window: usize,
    /// The largest packet in bytes.
    pub max_packet: usize,
    /// Whether it keeps retained messages.
    pub retains: bool,
}

/// See the module's description.
#[derive(Debug)]
pub enum Link {
    /// MQTT 5
    V5(v5::Link),
    /// MQTT 3.1.1
    V4(v4::Link),
}

/// A promise of an acknowledgement.
#[derive(Debug)]
pub enum Notice {
    /// MQTT 5
    V5(v5::Notice),
    /// MQTT 3.1.1
    V4(v4::Notice),
}

/// How long connecting may take, TLS and CONNACK included.
pub(super) const CONNECT_TIME: Duration = Duration::from_secs(10);

impl Link {
    /// Connects, and returns when the broker has answered.
    pub async fn connect(plan: &Plan, version: Version) -> Result<Link, Refusal> {
        let connecting = async {
            match version {
                Version::V5 => v5::Link::connect(plan).await.map(Link::V5),
                Version::V4 => v4::Link::connect(plan).await.map(Link::V4),
            }
        };
        tokio::time::timeout(CONNECT_TIME, connecting).await.unwrap_or_else(|_| {
            Err(Refusal { reason: format!("no answer within {CONNECT_TIME:?}"), cause: Cause::Other })
        })
    }

    /// What the broker allows.
    pub fn limits(&self) -> Limits {
        match self {
            Link::V5(link) => link.limits(),
            Link::V4(link) => link.limits(),
        }
    }

    /// Publishes at QoS 1; `replayed`: because somebody asked for it again, which 3.1.1 has no place to say. None: the connection has
    /// ended, and nothing was sent.
    pub fn publish(&self, topic: &Topic, payload: Bytes, event_id: Uuid, replayed: bool) -> Option<Notice> {
        match self {
            Link::V5(link) => link.publish(topic.as_str(), payload, Some((event_id, replayed)), false).map(Notice::V5),
            Link::V4(link) => link.publish(topic.as_str(), payload, false).map(Notice::V4),
        }
    }

    /// Publishes on the status topic, retained where the broker can. None: the connection has ended.
    pub fn announce(&self, topic: &str, payload: Bytes) -> Option<Notice> {
        match self {
            Link::V5(link) => link.publish(topic, payload, None, link.limits().retains).map(Notice::V5),
            Link::V4(link) => link.publish(topic, payload, true).map(Notice::V4),
        }
    }

    /// Asks for the messages of a topic. False: the connection has ended.
    pub fn subscribe(&self, topic: &Topic) -> bool {
        match self {
            Link::V5(link) => link.subscribe(topic.as_str()),
            Link::V4(link) => link.subscribe(topic.as_str()),
        }
    }

    /// What comes of a subscription; none when the connection has ended.
    pub async fn heard(&mut self) -> Option<Heard> {
        match self {
            Link::V5(link) => link.heard().await,
            Link::V4(link) => link.heard().await,
        }
    }

    /// Waits for the end of the connection, and says why it ended.
    pub async fn ended(&mut self) -> String {
        match self {
            Link::V5(link) => link.ended().await,
            Link::V4(link) => link.ended().await,
        }
    }

    /// Says goodbye, so that the broker does not send the last will.
    pub async fn close(mut self) {
        match &self {
            Link::V5(link) => link.disconnect(),
            Link::V4(link) => link.disconnect(),
        }
        // A broker that does not close its side is left behind.
        drop(tokio::time::timeout(Duration::from_secs(1), self.ended()).await);
    }
}

impl Notice {
    /// The broker's word, or that the connection ended first.
    pub async fn ack(self) -> Ack {
        match self {
            Notice::V5(notice) => notice.ack().await,
            Notice::V4(notice) => notice.ack().await,
        }
    }
}
