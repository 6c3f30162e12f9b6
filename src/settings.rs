//! Defaults for destinations whose rows say nothing else, and how long things are kept. The configuration fills them in.

use std::path::PathBuf;
use std::time::Duration;

use crate::retry::Schedule;

/// The events of a destination that are delivered one after the other, so that they wait while an earlier one fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The events of one entity wait for each other.
    #[default]
    Entity,
    /// All events wait for each other.
    Strict,
    /// No event waits for another.
    None,
}

impl Order {
    /// The names that [`Order::parse`] knows, for error messages.
    pub const CHOICES: &str = "one of entity, strict, none";

    /// Reads an order by its name.
    pub fn parse(text: &str) -> Option<Order> {
        Some(match text {
            "entity" => Order::Entity,
            "strict" => Order::Strict,
            "none" => Order::None,
            _ => return None,
        })
    }
}

/// The defaults for MQTT publishers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttSettings {
    /// How many publishes may be unacknowledged at a time.
    pub window: u16,
    /// The MQTT keep-alive.
    pub keep_alive: Duration,
    /// The largest payload in bytes.
    pub max_payload: usize,
    /// Which events wait for which others.
    pub order: Order,
    /// CA certificates (PEM) to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
}

impl Default for MqttSettings {
    fn default() -> MqttSettings {
        MqttSettings {
            window: 256,
            keep_alive: Duration::from_secs(15),
            max_payload: 1 << 20,
            order: Order::default(),
            ca_file: None,
        }
    }
}

/// The defaults for webhooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// How many requests may be open at a time.
    pub concurrency: usize,
    /// The most that a row may ask for, unless the default above is more.
    pub max_concurrency: usize,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// The longest that a row may ask for, unless the default above is longer.
    pub max_timeout: Duration,
    /// The largest body in bytes. A row may ask for less.
    pub max_payload: usize,
    /// When a failed delivery is tried again.
    pub retry: Schedule,
    /// Which events wait for which others.
    pub order: Order,
    /// CA certificates (PEM) to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
}

impl Default for WebhookSettings {
    fn default() -> WebhookSettings {
        WebhookSettings {
            concurrency: 8,
            max_concurrency: 64,
            timeout: Duration::from_secs(15),
            max_timeout: Duration::from_secs(60),
            max_payload: 1 << 20,
            retry: Schedule::default(),
            order: Order::default(),
            ca_file: None,
        }
    }
}

/// How long the past is kept, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// How long the log keeps events, for replay and for destinations that are away.
    pub log_age: Duration,
    /// How many bytes of the database's disk the log may use.
    pub log_size: usize,
    /// How long the record of attempts is kept.
    pub attempts_age: Duration,
}

impl Default for Retention {
    fn default() -> Retention {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Retention { log_age: DAY * 14, log_size: 10 << 30, attempts_age: DAY * 30 }
    }
}
