//! The servers of the throughput benches: a durable PostgreSQL with schema `andon`, a mosquitto, a receiver, and `andon run`. In: events
//! for the log, destinations to add. Out: the same servers for the baseline and for Andon. It measures nothing.

use std::time::Duration;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::ensure;
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::andon::Andon;
use crate::bench::arrival::arrival;
use crate::bench::sink::SECRET;
use crate::bench::sink::Sink;
use crate::bench::usage;
use crate::stage;
use crate::stage::Stage;
use crate::stage::connect;
use rig::Daemon;
use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Postgres;
use rig::Subscriber;
use rig::subscriber::Message;
use rig::subscriber::SubscriberOptions;

/// Running servers.
pub(super) struct Servers {
    // They end in this order: what needs the others goes first.
    pub(super) daemon: Daemon,
    pub(super) sink: Sink,
    pub(super) url: String,
    pub(super) client: Client,
    marks: Subscriber,
    pub(super) broker: Mosquitto,
    stage: Stage,
}

/// How long anything may take before it counts as lost.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);
/// The destinations start at the beginning of the log, as after a day away.
const BEGINNING: &str = "2000-01-01T00:00:00Z";
/// Fills `data` so that the payload of an event has 500 bytes.
const FILLING: i32 = 178;

impl Servers {
    /// Starts everything. The gateway has no lanes yet.
    pub(super) async fn start(andon: &Andon) -> Result<Servers> {
        Servers::start_with(andon, MosquittoOptions::default()).await
    }

    /// Starts everything with a broker of these options.
    pub(super) async fn start_with(andon: &Andon, broker: MosquittoOptions) -> Result<Servers> {
        let (stage, broker) = tokio::try_join!(Stage::start(andon, Postgres::start_durable), stage::broker(broker))?;
        let url = stage.database().await?;
        let client = connect(&url).await?;
        let filter = "+/+/+/+/mark/+".to_owned();
        let options = SubscriberOptions { port: broker.port(), filter, credentials: None };
        let marks = Subscriber::start_with(options).await?;
        let daemon = andon.start(&url).await?;
        Ok(Servers { daemon, sink: Sink::start()?, url, client, marks, broker, stage })
    }

    /// Ends PostgreSQL in order.
    pub(super) fn stop(&self) -> Result<()> {
        self.stage.stop()
    }

    /// Puts `count` events of a tenant into the log in one transaction. The first and the last have types that `marks` waits for:
    /// `mark.<label>_first` and `mark.<label>_last`.
    pub(super) async fn fill(&self, tenant: &str, label: &str, count: i64, entities: i64) -> Result<()> {
        self.client
            .execute(
                "insert into andon.events (tenant, type, entity_type, entity_id, context, data)
                select $1, case n when 1 then 'mark.' || $5 || '_first' when $2 then 'mark.' || $5 || '_last' else 'operation.completed' end, 'operation',
                    (n % $3)::text, jsonb_build_object('site', 'Chicago', 'area', 'Fabrication', 'cell', 'Laser 1', 'job_number', 'J-' || n),
                    jsonb_build_object('operation_name', 'Cut', 'quantity', n, 'note', repeat('x', $4))
                from generate_series(1, $2::bigint) n",
                &[&tenant, &count, &entities, &FILLING, &label],
            )
            .await?;
        self.client.batch_execute("select andon.ring()").await?;
        Ok(())
    }

    /// Returns the gateway's processor time so far, in seconds.
    pub(super) fn gateway_worked(&self) -> Result<f64> {
        usage::processor(self.daemon.running()?)
    }

    /// Returns PostgreSQL's processor time so far, in seconds.
    pub(super) fn database_worked(&self) -> Result<f64> {
        usage::processor(self.stage.postgres.pid().context("PostgreSQL ended")?)
    }

    /// Adds a publisher that starts at the beginning of the log. The topics of its events begin with `name`.
    pub(super) async fn publisher(&self, tenant: &str, name: &str) -> Result<Uuid> {
        self.publisher_from(tenant, name, BEGINNING).await
    }

    /// Adds a publisher that starts at another time.
    pub(super) async fn publisher_from(&self, tenant: &str, name: &str, start: &str) -> Result<Uuid> {
        let row = self
            .client
            .query_one(
                "insert into andon.mqtt_publishers (tenant_id, name, broker_url, port, events, default_enterprise, settings)
                values ($1, $2, '127.0.0.1', $3, '{*}', $2, $4) returning id",
                &[&tenant, &name, &i32::from(self.broker.port()), &json!({"start_at": start})],
            )
            .await?;
        Ok(row.get(0))
    }

    /// Adds a webhook that starts at the beginning of the log.
    pub(super) async fn webhook(&self, tenant: &str, path: &str, concurrency: usize) -> Result<Uuid> {
        let settings = json!({"start_at": BEGINNING, "concurrency": concurrency});
        let row = self
            .client
            .query_one(
                "insert into andon.webhooks (tenant_id, url, secret_key, events, settings) values ($1, $2, $3, '{*}', $4) returning id",
                &[&tenant, &self.sink.url(path), &SECRET, &settings],
            )
            .await?;
        Ok(row.get(0))
    }

    /// Waits until the lanes of these destinations have recorded `count` deliveries each, and deletes the destinations.
    pub(super) async fn retire(&self, destinations: &[Uuid], count: i64) -> Result<()> {
        let ids: Vec<String> = destinations.iter().map(Uuid::to_string).collect();
        let sql = "select count(*) from andon.lanes where delivered = $1 and exists (select from unnest($2::text[]) id where lane like '%' || id)";
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while self.client.query_one(sql, &[&count, &ids]).await?.get::<_, i64>(0) < ids.len() as i64 {
            ensure!(
                tokio::time::Instant::now() < deadline,
                "not all of {count} events were delivered:\n{}",
                self.daemon.log_tail()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for table in ["mqtt_publishers", "webhooks"] {
            self.client.execute(&format!("delete from andon.{table} where id = any ($1)"), &[&destinations]).await?;
        }
        Ok(())
    }

    /// Waits for the marked events of a publisher: the first and the last that `fill` put into the log under this label.
    pub(super) async fn marks(&self, publisher: &str, label: &str) -> Result<(Message, Message)> {
        let of = |end: &str| {
            let topic = format!("{publisher}/chicago/fabrication/laser_1/mark/{label}_{end}");
            self.marks.received().into_iter().find(|message| message.topic == topic)
        };
        let look = || match (of("first"), of("last")) {
            (Some(first), Some(last)) => Ok((Message::clone(&first), Message::clone(&last))),
            (first, _) => Err(format!("the {} of `{publisher}`", if first.is_some() { "first event" } else { "name" })),
        };
        arrival(PATIENCE, look).await.with_context(|| self.daemon.log_tail())
    }
}
