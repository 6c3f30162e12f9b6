//! Builds the message that is published for an event. In: an event, and how its publisher is set up. Out: topic and payload, checked
//! before the broker sees them, or the reason why there is no message. It never connects.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hash as _;
use std::hash::Hasher as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;

use crate::destination::LaneName;
use crate::destination::client_id;
use crate::destination::publisher::Publisher;
use crate::destination::status_level;
use crate::event::Event;
use crate::lane::mqtt::protocol::ConnectOptions;
use crate::payload;
use crate::secret::Secret;
use crate::settings::Order;
use crate::tls;
use crate::topic::Equipment;
use crate::topic::Topic;

/// Builds all that a publisher sends: the messages for its events, its status, and the options of its connection.
#[derive(Debug)]
pub struct MessageBuilder {
    publisher: Publisher,
    equipment: Arc<Equipment>,
    connect_options: ConnectOptions,
    gateway: String,
}

/// A message for an event.
#[derive(Debug)]
pub struct Message {
    /// The topic to publish on.
    pub topic: Topic,
    /// The payload to publish.
    pub payload: Bytes,
}

impl Message {
    /// Returns why this is too much for a broker that takes packets up to `max_packet` bytes, if it is. Unlike a payload over `max_payload` this
    /// may be the broker's fault.
    pub(super) fn too_large_for(&self, max_packet: usize) -> Option<String> {
        let packet = self.payload.len() + self.topic.as_str().len() + OVERHEAD;
        (packet > max_packet).then(|| {
            format!("the packet would have {packet} bytes, and the broker takes {max_packet}; send less or raise its maximum packet size")
        })
    }
}

/// The most bytes that a PUBLISH needs besides topic and payload: headers, packet id, the event's id as a user property, the content type.
const OVERHEAD: usize = 128;
/// The most bytes that the PUBLISH of a status needs besides topic and payload: headers, packet id, the content type.
const STATUS_OVERHEAD: usize = 32;
/// The upper limit of [`MessageBuilder::stall`].
const LONGEST_STALL: Duration = Duration::from_secs(30);

impl MessageBuilder {
    /// Prepares the options of the connection. An error says what is wrong with the certificates.
    pub fn new(
        publisher: Publisher,
        lane: &LaneName,
        gateway: &str,
        equipment: Arc<Equipment>,
    ) -> anyhow::Result<MessageBuilder> {
        let (ca, identity) = publisher.certificates.parts();
        let tls = match publisher.tls {
            true => {
                let mut config = tls::client(ca, identity)?;
                config.alpn_protocols = publisher.alpn.iter().map(|name| name.clone().into_bytes()).collect();
                Some(Arc::new(config))
            }
            false => None,
        };
        let mut hash = DefaultHasher::new();
        (gateway, lane, std::process::id()).hash(&mut hash);
        let (status_topic, offline) = (status_level::topic(gateway, &publisher.status_level), status(gateway, false));
        let made_up = client_id::made_up(hash.finish());
        let connect_options = ConnectOptions {
            host: publisher.host.clone(),
            port: publisher.port,
            dialer: publisher.dialer.clone(),
            tls,
            client_id: publisher.client_id.clone().unwrap_or(made_up),
            credentials: publisher
                .username
                .clone()
                .map(|username| (username, publisher.password.clone().unwrap_or(Secret::new(String::new())))),
            keep_alive: publisher.keep_alive,
            window: match publisher.order {
                // The next event is not sent before the broker has taken this one.
                Order::Strict => 1,
                Order::Entity | Order::None => publisher.window,
            },
            max_packet: publisher.max_payload + u16::MAX as usize + OVERHEAD,
            status_packet: status_topic.len() + offline.len() + STATUS_OVERHEAD,
            status_topic,
            last_will: offline,
            is_replay: false,
            version: publisher.version,
            retains: true,
            subscribes: false,
        };
        Ok(MessageBuilder { publisher, equipment, connect_options, gateway: gateway.to_owned() })
    }

    /// Builds messages for a replay instead: they tell subscribers so, and a replay leaves no status at the broker. An empty retained
    /// message removes the one before it.
    pub fn for_replay(mut self) -> MessageBuilder {
        self.connect_options.is_replay = true;
        self.connect_options.last_will = Bytes::new();
        self
    }

    /// Adds to the broker's reason to refuse the connection what the broker's settings may not know of.
    pub(super) fn explain(&self, reason: String) -> String {
        let options = &self.connect_options;
        if options.is_replay {
            format!("{reason}; a replay connects as client `{}`", options.client_id)
        } else {
            reason
        }
    }

    /// Returns the options of the connection.
    pub fn connect_options(&self) -> &ConnectOptions {
        &self.connect_options
    }

    /// Returns which events wait for which.
    pub fn order(&self) -> Order {
        self.publisher.order
    }

    /// Returns the most events per second, if they are limited.
    pub(super) fn rate(&self) -> Option<u32> {
        self.publisher.rate
    }

    /// Returns how long an acknowledgement may take before the connection counts as dead, whatever TCP says: as long as a ping may take.
    pub fn stall(&self) -> Duration {
        match self.connect_options.keep_alive {
            Duration::ZERO => LONGEST_STALL,
            keep_alive => (keep_alive * 2).min(LONGEST_STALL),
        }
    }

    /// Returns the status that the broker keeps while the lane is connected.
    pub fn online(&self) -> Bytes {
        status(&self.gateway, true)
    }

    /// Returns the status that the broker keeps when the lane has disconnected on purpose.
    pub fn offline(&self) -> Bytes {
        if self.connect_options.is_replay { Bytes::new() } else { status(&self.gateway, false) }
    }

    /// Builds the message for an event. An error is a text for people, and the event's own fault.
    pub fn build(&self, event: &Event) -> Result<Message, String> {
        let publisher = &self.publisher;
        let topic = publisher
            .topic
            .expand(event, publisher.naming, publisher.missing, &self.equipment, &publisher.levels)
            .map_err(|problem| problem.to_string())?;
        if status_level::is_of_a_status(topic.as_str()) {
            return Err(format!(
                "`{topic}` is a topic where Andon keeps the status of a publisher; change topic_pattern"
            ));
        }
        let most = publisher.max_payload;
        let too_large =
            |bytes: String| format!("the payload has {bytes} bytes, and max_payload is {most}; send less or raise it");
        // What is too large is not even made.
        let least = payload::least_bytes(event, publisher.format);
        if least > most {
            return Err(too_large(format!("at least {least}")));
        }
        let payload = payload::mqtt(event, publisher.format);
        if payload.len() > most {
            return Err(too_large(payload.len().to_string()));
        }
        Ok(Message { topic, payload })
    }
}

fn status(gateway: &str, online: bool) -> Bytes {
    let status = json!({
        "online": online,
        "gateway": gateway,
        "version": env!("CARGO_PKG_VERSION"),
        "timestamp": format!("{:.3}", Timestamp::now()),
    });
    Bytes::from(status.to_string())
}
