//! What destinations get that say nothing else, and what is kept for how long. Values, composed by the configuration.

use std::path::PathBuf;
use std::time::Duration;

use crate::retry::Schedule;

/// What of a destination's events is delivered one after the other, and waits behind a failed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Those of one entity.
    #[default]
    Entity,
    /// All.
    Strict,
    /// None: every event for itself.
    None,
}

impl Order {
    /// What there is to choose from.
    pub const CHOICES: &str = "one of entity, strict, none";

    /// Reads its name.
    pub fn parse(text: &str) -> Option<Order> {
        Some(match text {
            "entity" => Order::Entity,
            "strict" => Order::Strict,
            "none" => Order::None,
            _ => return None,
        })
    }
}

/// For MQTT publishers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttSettings {
    /// Publishes that may be unacknowledged.
    pub window: u16,
    /// MQTT keep-alive.
    pub keep_alive: Duration,
    /// The largest payload in bytes.
    pub max_payload: usize,
    /// What waits for what.
    pub order: Order,
    /// CA certificates (PEM) to trust beside the system's.
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

/// For webhooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Requests that may be open at a time.
    pub concurrency: usize,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// When a failed delivery is tried again.
    pub retry: Schedule,
    /// What waits for what.
    pub order: Order,
    /// CA certificates (PEM) to trust beside the system's.
    pub ca_file: Option<PathBuf>,
}

impl Default for WebhookSettings {
    fn default() -> WebhookSettings {
        WebhookSettings {
            concurrency: 8,
            timeout: Duration::from_secs(15),
            retry: Schedule::default(),
            order: Order::default(),
            ca_file: None,
        }
    }
}

/// How much of the past is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// How long the log keeps events, for replay and for destinations that are away.
    pub log_age: Duration,
    /// How many bytes of the database's disk the log may take.
    pub log_size: usize,
    /// How long attempts are kept.
    pub attempts_age: Duration,
}

impl Default for Retention {
    fn default() -> Retention {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Retention { log_age: DAY * 14, log_size: 10 << 30, attempts_age: DAY * 30 }
    }
}
