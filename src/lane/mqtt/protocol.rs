//! Holds what both versions of MQTT have in common: how to reach a broker, and what a broker can answer. It is plain data and knows neither
//! version.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::ClientConfig;

use crate::destination::echo::Echo;
pub use crate::destination::publisher::MqttVersion as Version;
use crate::egress::Dialer;
use crate::lane::mqtt::reason_code::Meaning;
use crate::secret::Secret;

/// Says how to reach a broker, as which user, and which last will it is to publish when the connection is lost.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Connects to the host, if that may be reached.
    pub dialer: Dialer,
    /// The TLS settings; without them the connection is not encrypted.
    pub tls: Option<Arc<ClientConfig>>,
    /// The client id, which must be unique at the broker.
    pub client_id: String,
    /// User name and password.
    pub credentials: Option<(String, Secret)>,
    /// MQTT keep-alive.
    pub keep_alive: Duration,
    /// How many publishes may be unacknowledged at once.
    pub window: u16,
    /// The size of the largest packet in bytes.
    pub max_packet: usize,
    /// The topic of the retained status message.
    pub status_topic: String,
    /// The size of the packet of a status message in bytes, at most.
    pub status_packet: usize,
    /// The payload that the broker publishes on the status topic when it loses the connection.
    pub last_will: Bytes,
    /// Whether this connection replays events that were published before.
    pub is_replay: bool,
    /// The only version of MQTT to speak, if the row names one.
    pub version: Option<Version>,
    /// Whether the last will is to be retained. A broker that keeps no retained messages refuses a client that asks for it.
    pub retains: bool,
    /// Whether messages are asked for. If not, one that arrives ends the connection.
    pub subscribes: bool,
}

impl ConnectOptions {
    /// Returns what the broker is told in confidence, and the proxy before it, which may answer in its name. A password of fewer than four letters
    /// would only blacken what it says.
    pub(super) fn echo(&self) -> Echo {
        let password = self.credentials.as_ref().map(|(_, password)| password.expose().to_owned());
        let password = password.filter(|password| password.len() >= SHORTEST_SECRET);
        Echo::of(password).and_foreign(self.dialer.secrets())
    }
}

/// Says why there is no connection.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The reason, as a text for people.
    pub reason: String,
    /// The relation of the refusal to the version of MQTT that was tried.
    pub cause: Cause,
}

/// The relation of a refusal to the version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The broker says that it does not speak this version.
    Version,
    /// The broker took the connection and closed it, or let the time run out, before it said anything. Some brokers do so when they read
    /// MQTT 5, and so does any broker that goes down.
    Silence,
    /// The broker lets us in, in a way that this version forbids.
    Forbidden,
    /// The broker keeps no retained messages.
    NoRetained,
    /// The refusal has nothing to do with the version.
    Other,
}

/// The broker's answer to a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ack {
    /// The broker has the message.
    Accepted,
    /// The broker does not take the message now. This says nothing against the event.
    NotNow(String),
    /// The broker failed, and does not say whether the event or the broker itself is the trouble.
    Failed(String),
    /// The broker will never take the message.
    Refused(String),
    /// The connection ended before the broker answered.
    Lost,
}

impl Ack {
    /// Returns whether the broker has decided: it took the message, or it never will.
    pub fn is_final(&self) -> bool {
        matches!(self, Ack::Accepted | Ack::Refused(_))
    }
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    /// The reason, as a text for people.
    pub(super) reason: String,
    /// Whether an event may be the trouble.
    pub(super) meaning: Meaning,
}

impl Ending {
    /// Makes the ending of a connection that broke without a word of the broker.
    pub(super) fn unclear(reason: impl Into<String>) -> Ending {
        Ending { reason: reason.into(), meaning: Meaning::Unclear }
    }

    /// Makes the ending of a connection on which more came in than is read.
    pub(super) fn flooded() -> Ending {
        let reason = "the broker sent more messages than were read".to_owned();
        Ending { reason, meaning: Meaning::Broker }
    }
}

/// A packet that comes in for a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// The broker has answered the request to subscribe; the value says whether it granted it.
    Subscribed(bool),
    /// A message has arrived; the value is its payload.
    Message(Bytes),
}

/// The limits that the broker sets for a connection.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many publishes may be unacknowledged at once.
    pub window: usize,
    /// What the broker says about that, however few the lane wants.
    pub receive_max: u16,
    /// The size of the largest packet in bytes.
    pub max_packet: usize,
    /// Whether the broker keeps retained messages.
    pub retains: bool,
}

/// A shorter password is not hidden in what a broker says.
const SHORTEST_SECRET: usize = 4;
/// How long it may take to connect, including TLS and the broker's answer.
pub(super) const CONNECT_TIME: Duration = Duration::from_secs(10);
/// How many requests and packets the client library handles in one turn of its loop.
pub(super) const BATCH: usize = 64;
