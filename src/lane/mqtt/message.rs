//! From an event to what is published. In: an event and how its publisher is set up. Out: topic and payload, checked before the broker
//! sees them, or why there are none. It never connects.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hash as _;
use std::hash::Hasher as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;

use crate::destination::LaneName;
use crate::destination::publisher::Publisher;
use crate::event::Event;
use crate::lane::mqtt::link::Plan;
use crate::payload;
use crate::secret::Secret;
use crate::settings::Order;
use crate::tls;
use crate::topic::Equipment;
use crate::topic::Topic;

/// How a publisher publishes, ready to be used.
#[derive(Debug)]
pub struct Publishing {
    publisher: Publisher,
    equipment: Arc<Equipment>,
    plan: Plan,
    gateway: String,
}

/// What is published.
#[derive(Debug)]
pub struct Prepared {
    /// Where.
    pub topic: Topic,
    /// What.
    pub payload: Bytes,
}

/// What a PUBLISH needs beside topic and payload: headers, packet id, the event's id as a user property, the content type.
const OVERHEAD: usize = 128;
/// See [`Publishing::stall`].
const LONGEST_STALL: Duration = Duration::from_secs(30);

impl Publishing {
    /// Prepares connection and topics. The error says what is wrong with the certificates.
    pub fn new(
        publisher: Publisher,
        lane: &LaneName,
        gateway: &str,
        equipment: Arc<Equipment>,
    ) -> anyhow::Result<Publishing> {
        let identity = publisher.client_cert.as_ref().map(|(cert, key)| (cert.as_path(), key.as_path()));
        let tls = match publisher.tls {
            true => Some(Arc::new(tls::client(publisher.ca_file.as_deref(), identity)?)),
            false => None,
        };
        let mut hash = DefaultHasher::new();
        (gateway, lane, std::process::id()).hash(&mut hash);
        let made_up = format!("andon{:016x}", hash.finish());
        let plan = Plan {
            host: publisher.host.clone(),
            port: publisher.port,
            tls,
            client_id: publisher.client_id.clone().unwrap_or(made_up),
            credentials: publisher
                .username
                .clone()
                .map(|username| (username, publisher.password.clone().unwrap_or(Secret::new(String::new())))),
            keep_alive: publisher.keep_alive,
            window: match publisher.order {
                // What follows is not offered before this one is taken.
                Order::Strict => 1,
                Order::Entity | Order::None => publisher.window,
            },
            max_packet: publisher.max_payload + u16::MAX as usize + OVERHEAD,
            status_topic: format!("andon/{}/{}/status", level(gateway), level(&lane.0)),
            last_will: status(gateway, false),
            is_replay: false,
        };
        Ok(Publishing { publisher, equipment, plan, gateway: gateway.to_owned() })
    }

    /// For a replay: its subscribers are told so, and no status of it is left behind. An empty retained message takes the last one away.
    pub fn for_replay(mut self) -> Publishing {
        self.plan.is_replay = true;
        self.plan.last_will = Bytes::new();
        self
    }

    /// How to reach the broker.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How long an acknowledgement may take before the connection is dead, whatever TCP thinks: as long as a ping may take.
    pub fn stall(&self) -> Duration {
        match self.plan.keep_alive {
            Duration::ZERO => LONGEST_STALL,
            keep_alive => (keep_alive * 2).min(LONGEST_STALL),
        }
    }

    /// What the status topic says while the lane is connected.
    pub fn online(&self) -> Bytes {
        status(&self.gateway, true)
    }

    /// What it says when the lane has left of its own accord.
    pub fn offline(&self) -> Bytes {
        if self.plan.is_replay { Bytes::new() } else { status(&self.gateway, false) }
    }

    /// Topic and payload of an event, for a broker that takes packets of this size. The error is for people.
    pub fn prepare(&self, event: &Event, max_packet: usize) -> Result<Prepared, String> {
        let publisher = &self.publisher;
        let topic = publisher
            .topic
            .expand(event, publisher.naming, publisher.missing, &self.equipment, &publisher.levels)
            .map_err(|problem| problem.to_string())?;
        let payload = payload::mqtt(event, publisher.format);
        if payload.len() > publisher.max_payload {
            let most = publisher.max_payload;
            return Err(format!(
                "the payload has {} bytes, and max_payload is {most}; send less or raise it",
                payload.len()
            ));
        }
        let packet = payload.len() + topic.as_str().len() + OVERHEAD;
        if packet > max_packet {
            return Err(format!("the packet would have {packet} bytes, and the broker takes {max_packet}; send less"));
        }
        Ok(Prepared { topic, payload })
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

/// One topic level: the names in the status topic are our own, but a host name or a table may hold anything.
fn level(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' }).collect()
}
