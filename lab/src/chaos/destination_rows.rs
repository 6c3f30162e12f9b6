//! The rows of the destinations. In: what is to be changed. Out: changes to `andon.mqtt_publishers` and `andon.webhooks`, as an
//! administrator would make them, with as many tries as it takes. It does not look at how the gateway reacts.

use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use serde_json::Value;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::chaos::destinations::CONCURRENCY;
use crate::chaos::destinations::DESTINATIONS;
use crate::chaos::destinations::Destination;
use crate::chaos::destinations::KEEP_ALIVE;
use crate::chaos::destinations::TIMEOUT;
use crate::chaos::destinations::WINDOW;
use crate::stage::connect;
use crate::witness::Way;

/// How long a statement is repeated while the database is away.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Rows(Vec<Mutex<Row>>);

struct Row {
    destination: &'static Destination,
    port: u16,
    /// Counts how many times it was added: 1, and one more each time that it was deleted and added again.
    generation: u32,
    /// Counts its versions: 1, and one more for each edit.
    version: u32,
}

impl Rows {
    /// Adds a row for each destination, with the port of its broker or endpoint. All start at the beginning of the log.
    pub(super) async fn insert(client: &Client, ports: &[u16]) -> Result<Rows> {
        let mut rows = Vec::new();
        for (destination, port) in DESTINATIONS.iter().zip(ports) {
            let row = Row { destination, port: *port, generation: 1, version: 1 };
            client.batch_execute(&row.insert(true)).await.context("cannot add a destination")?;
            rows.push(Mutex::new(row));
        }
        Ok(Rows(rows))
    }

    pub(super) async fn edit(&self, destination: usize, database: &str) -> Result<()> {
        let mut row = self.0[destination].lock().await;
        row.version += 1;
        let settings = row.settings(true);
        let (table, change) = match row.destination.way {
            Way::Mqtt(_) => ("mqtt_publishers", format!("topic_pattern = '{}'", row.pattern())),
            Way::Webhook => ("webhooks", format!("url = '{}'", row.url())),
        };
        execute(database, &format!("update andon.{table} set settings = '{settings}', {change} where {}", row.is_it()))
            .await
    }

    pub(super) async fn activate(&self, destination: usize, is_active: bool, database: &str) -> Result<()> {
        let row = self.0[destination].lock().await;
        let table = row.table();
        execute(database, &format!("update andon.{table} set active = {is_active} where {}", row.is_it())).await
    }

    pub(super) async fn delete(&self, destination: usize, database: &str) -> Result<()> {
        let row = self.0[destination].lock().await;
        execute(database, &format!("delete from andon.{} where {}", row.table(), row.is_it())).await
    }

    /// Adds a deleted destination again, under another label, because what was under way to the old one is not for the new one.
    pub(super) async fn replace(&self, destination: usize, database: &str) -> Result<()> {
        let mut row = self.0[destination].lock().await;
        row.generation += 1;
        execute(database, &row.insert(false)).await
    }
}

impl Row {
    fn label(&self) -> String {
        let label = self.destination.label;
        if self.generation == 1 { label.to_owned() } else { format!("{label}.{}", self.generation) }
    }

    fn table(&self) -> &'static str {
        if matches!(self.destination.way, Way::Mqtt(_)) { "mqtt_publishers" } else { "webhooks" }
    }

    fn pattern(&self) -> String {
        format!("{}/v{}/{{entity_id}}/{{event}}", self.label(), self.version)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/{}?v={}", self.port, self.label(), self.version)
    }

    fn is_it(&self) -> String {
        match self.destination.way {
            Way::Mqtt(_) => format!("name = '{}'", self.label()),
            Way::Webhook => format!("url like '%/{}?%'", self.label()),
        }
    }

    /// Returns settings that keep no more in flight than the allowance assumes, and that retry for longer than any fault lasts, so that no
    /// delivery is dead when it is over.
    fn settings(&self, from_the_start: bool) -> Value {
        let less = u64::from(self.version.is_multiple_of(2));
        let mut settings = match self.destination.way {
            Way::Mqtt(_) => json!({"window": WINDOW - 8 * less, "keep_alive": format!("{KEEP_ALIVE}s")}),
            Way::Webhook => json!({
                "concurrency": CONCURRENCY - less, "timeout": format!("{TIMEOUT}s"), "retry": vec!["300ms"; 1000],
            }),
        };
        settings["order"] = self.destination.order.into();
        if from_the_start {
            settings["start_at"] = json!("2000-01-01T00:00:00Z");
        }
        settings
    }

    fn insert(&self, from_the_start: bool) -> String {
        let Destination { tenant, kind, .. } = self.destination;
        let events = kind.map_or_else(|| "{*}".to_owned(), |kind| format!("{{{kind}.*}}"));
        let (label, port, settings) = (self.label(), self.port, self.settings(from_the_start));
        match self.destination.way {
            Way::Mqtt(_) => format!(
                "insert into andon.mqtt_publishers (tenant_id, name, broker_url, port, topic_pattern, events, settings)
                values ('{tenant}', '{label}', '127.0.0.1', {port}, '{}', '{events}', '{settings}')",
                self.pattern()
            ),
            Way::Webhook => format!(
                "insert into andon.webhooks (tenant_id, url, secret_key, events, settings)
                values ('{tenant}', '{}', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', '{events}', '{settings}')",
                self.url()
            ),
        }
    }
}

/// Repeats statements until the database takes them. They must bear repetition.
pub(super) async fn execute(database: &str, sql: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let done = async { Ok(connect(database).await?.batch_execute(sql).await?) };
        match done.await {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                let error: anyhow::Error = error;
                return Err(error.context(format!("cannot run: {sql}")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
