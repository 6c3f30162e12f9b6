//! A gateway with a database of its own, for the tests of delivery. In: destinations and events. Out: what the witnesses received, and
//! the verdict on it. Its destinations start at the beginning of the log, so that a test may emit its events before the gateway runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use andon::database;
use andon::database::Database;
use andon::destination::Defaults;
use andon::egress::Egress;
use andon::gateway;
use andon::secret::Secret;
use andon::settings::Retention;
use andon::topic::Equipment;
use rig::Postgres;
use rig::Receiver;
use rig::Subscriber;
use rig::oracle::Oracle;
use rig::oracle::Verdict;
use rig::receiver::Received;
use rig::record::LONGEST;
use rig::record::Record;
use rig::subscriber::Message;
use serde_json::Value;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::AsyncMessage;
use tokio_postgres::Client;
use tokio_postgres::NoTls;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::plant::Plant;
use crate::support::plant::connect;
use crate::support::role;

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// A test fails once nothing at all has happened for this long. It is longer than the longest pause of the gateway, which is the minute
/// between two attempts at a failing webhook. A test that passes never waits for all of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// This query gives true once every lane has passed every event.
pub(crate) const ALL_DONE: &str = "select bool_and(position >= (select max(id) from andon.events) and andon.pending_ids(lanes) = '{}') from andon.lanes";

/// This query gives a digest that changes while a gateway works, and stays the same while it hangs.
const PROGRESS: &str = "select md5(concat(
    (select string_agg(lanes::text, ' ' order by lane) from andon.lanes),
    (select (count(*), sum(attempts), max(id))::text from andon.deliveries),
    (select string_agg(tail::text, ' ') from andon.tail)))";

/// With what the notifications of signed channels are signed.
pub(crate) const CHANNEL_KEY: &str = "a key that nobody guesses";

pub(crate) struct Line {
    pub(crate) client: Client,
    pub(crate) url: String,
    /// What the configuration says of destinations. They may reach the servers of the rig, unless a test says otherwise.
    pub(crate) defaults: Defaults,
    running: Option<(CancellationToken, JoinHandle<anyhow::Result<()>>)>,
}

impl Line {
    /// Creates a database with Andon's schema. No gateway runs yet.
    pub(crate) async fn new() -> Line {
        Line::of(Plant::empty().await)
    }

    /// Does the same on a server that the test has for itself.
    pub(crate) async fn on(server: &Postgres) -> Line {
        let url = server.create_database().await.unwrap();
        let mut client = connect(&url).await;
        andon::migrate::migrate(&mut client).await.unwrap();
        role::grant(&client).await;
        Line { client, url, defaults: Defaults { egress: loopback(), ..Defaults::default() }, running: None }
    }

    /// Uses the database of a plant that is built already.
    pub(crate) fn of(plant: Plant) -> Line {
        Line {
            client: plant.client,
            url: plant.url,
            defaults: Defaults { egress: loopback(), ..Defaults::default() },
            running: None,
        }
    }

    /// Uses a database that has everything already.
    pub(crate) async fn at(url: &str) -> Line {
        let client = connect(url).await;
        if client.query_one("select to_regclass('andon.lane_status') is not null", &[]).await.unwrap().get(0) {
            role::grant(&client).await;
        }
        Line {
            client,
            url: url.to_owned(),
            defaults: Defaults { egress: loopback(), ..Defaults::default() },
            running: None,
        }
    }

    /// Inserts a publisher of tenant `acme` that wants all events, with `settings` merged in. Returns the lane's name.
    pub(crate) async fn publisher(&self, port: u16, settings: Value) -> String {
        self.publisher_of("acme", "{tenant_id}/{entity_id}/{event}", port, settings).await
    }

    /// Inserts a publisher of any tenant, with its topic pattern. Returns the lane's name.
    pub(crate) async fn publisher_of(&self, tenant: &str, pattern: &str, port: u16, settings: Value) -> String {
        let row = self
            .client
            .query_one(
                "insert into andon.mqtt_publishers (tenant_id, name, broker_url, port, topic_pattern, events, settings)
                values ($1, 'plant', '127.0.0.1', $2, $3, '{*}', $4) returning id",
                &[&tenant, &i32::from(port), &pattern, &from_the_start(settings)],
            )
            .await
            .unwrap();
        format!("andon.mqtt_publishers/{}", row.get::<_, Uuid>(0))
    }

    /// Inserts a webhook of tenant `acme` that wants all events. Returns the lane's name.
    pub(crate) async fn webhook(&self, url: &str, settings: Value) -> String {
        self.webhook_of("acme", url, settings).await
    }

    /// Inserts a webhook of any tenant. Returns the lane's name.
    pub(crate) async fn webhook_of(&self, tenant: &str, url: &str, settings: Value) -> String {
        let row = self
            .client
            .query_one(
                "insert into andon.webhooks (tenant_id, url, secret_key, events, settings)
                values ($1, $2, $3, '{*}', $4) returning id",
                &[&tenant, &url, &SECRET, &from_the_start(settings)],
            )
            .await
            .unwrap();
        format!("andon.webhooks/{}", row.get::<_, Uuid>(0))
    }

    /// Starts the gateway in this process.
    pub(crate) fn start(&mut self) {
        self.start_at(&self.url.clone());
    }

    /// Starts the gateway with another URL of the database, such as that of a proxy.
    pub(crate) fn start_at(&mut self, url: &str) {
        prepare_process();
        let settings = gateway::Settings {
            database: Database::new(&database::Settings { url: Secret::new(role::as_daemon(url)), ca_file: None })
                .unwrap(),
            name: "test".to_owned(),
            grace: Duration::from_secs(5),
            memory: 8 << 20,
            defaults: self.defaults.clone(),
            equipment: Arc::new(Equipment::default()),
            retention: Retention::default(),
            channel_key: Some(Secret::new(CHANNEL_KEY.to_owned())),
        };
        let token = CancellationToken::new();
        let stop = token.clone().cancelled_owned();
        self.running = Some((token, tokio::spawn(gateway::run(settings, stop))));
    }

    /// Stops the gateway, and returns how it ended.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        let (token, task) = self.running.take().unwrap();
        token.cancel();
        tokio::time::timeout(PATIENCE, task).await.expect("the gateway stops").unwrap()
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    /// Returns the text that a query gives.
    pub(crate) async fn text(&self, sql: &str) -> String {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Emits one event with a counter, in a transaction of its own.
    pub(crate) async fn emit(&self, tenant: &str, entity: &str, counter: u64) {
        self.run(&emit_sql(tenant, entity, counter)).await;
    }

    /// Emits the counters 1 to `last` of each of the entities, in one statement. Returns the last counter of each entity.
    pub(crate) async fn emit_all(&self, entities: u64, last: u64) -> BTreeMap<String, u64> {
        self.emit_more(entities, 0, last).await
    }

    /// Emits the counters `after + 1` to `last` in the same way.
    pub(crate) async fn emit_more(&self, entities: u64, after: u64, last: u64) -> BTreeMap<String, u64> {
        self.run(&format!(
            "insert into andon.events (tenant, type, entity_type, entity_id, data)
            select 'acme', 'job.updated', 'job', 'e' || entity, jsonb_build_object('entity', 'e' || entity, 'counter', counter)
            from generate_series({after} + 1, {last}) counter, generate_series(1, {entities}) entity order by counter;
            select andon.ring();"
        ))
        .await;
        (1..=entities).map(|entity| (format!("e{entity}"), last)).collect()
    }

    /// Waits until a query for one boolean gives true; null is not true yet. It fails if neither the lanes nor the tail have moved for [`PATIENCE`].
    pub(crate) async fn until(&self, sql: &str) {
        let end = Instant::now() + PATIENCE * LONGEST;
        let mut clock = tokio::time::interval(Duration::from_millis(20));
        let (mut seen, mut deadline) = (None, Instant::now());
        while self.client.query_one(sql, &[]).await.unwrap().get::<_, Option<bool>>(0) != Some(true) {
            if Instant::now() >= deadline {
                let progress: Option<String> = self.client.query_one(PROGRESS, &[]).await.unwrap().get(0);
                assert!(progress != seen && Instant::now() < end, "never became true: {sql}");
                (seen, deadline) = (progress, Instant::now() + PATIENCE);
            }
            clock.tick().await;
        }
    }

    /// Waits until a lane is in this state, and returns the reason that it gives.
    pub(crate) async fn state(&self, lane: &str, state: &str) -> String {
        self.until(&format!("select exists (select from andon.lanes where lane = '{lane}' and state = '{state}')"))
            .await;
        let sql = "select coalesce(reason, '') from andon.lanes where lane = $1";
        self.client.query_one(sql, &[&lane]).await.unwrap().get(0)
    }

    /// Returns the lane's parked deliveries as `state attempts reason`, the oldest first.
    pub(crate) async fn parked(&self, lane: &str) -> Vec<String> {
        let sql =
            "select state || ' ' || attempts || ' ' || reason from andon.deliveries where lane = $1 order by event";
        self.client.query(sql, &[&lane]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }
}

/// Connects a session that can listen, and records the notifications that it receives.
pub(crate) async fn listener(url: &str) -> (Client, Arc<Record<String>>) {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let received = Arc::new(Record::new());
    let record = Arc::clone(&received);
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(note) = message {
                record.append(Arc::new(note.payload().to_owned()));
            }
        }
    });
    (client, received)
}

/// Returns the SQL that emits one event with a counter.
pub(crate) fn emit_sql(tenant: &str, entity: &str, counter: u64) -> String {
    let data = json!({"entity": entity, "counter": counter});
    format!("select andon.emit('job.updated', '{data}', '{tenant}', 'job', '{entity}')")
}

/// Allows the servers of the rig, which are all on loopback.
fn loopback() -> Egress {
    let items: Vec<String> = rig::daemon::LOOPBACK.split(',').map(str::to_owned).collect();
    Egress::default().allow(&items).unwrap()
}

/// Installs the TLS provider and the log, which a process has only once.
pub(crate) fn prepare_process() {
    // Another test in this process may already have installed them.
    drop(rustls::crypto::ring::default_provider().install_default());
    let filter = tracing_subscriber::EnvFilter::try_from_env("ANDON_LOG").unwrap_or_else(|_| "andon=info".into());
    drop(tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init());
}

/// Reads the entity and the counter from a payload in the andon format.
pub(crate) fn marker(payload: &[u8]) -> (String, u64) {
    let payload: Value = serde_json::from_slice(payload).unwrap();
    let entity = payload["data"]["entity"].as_str().unwrap().to_owned();
    (entity, payload["data"]["counter"].as_u64().unwrap())
}

/// Waits until every expected event has arrived at a subscriber.
pub(crate) async fn wait_for_messages(subscriber: &Subscriber, expected: &BTreeMap<String, u64>) {
    let mut oracle = Oracle::new(expected);
    let has_all = |message: &Message| {
        if !message.topic.starts_with("andon/") {
            let (entity, counter) = marker(&message.payload);
            oracle.push(&entity, counter);
        }
        oracle.verdict().missing == 0
    };
    subscriber.messages().wait_for(PATIENCE, has_all).await.unwrap();
}

/// Waits until every expected event was accepted by a receiver.
pub(crate) async fn wait_for_requests(receiver: &Receiver, expected: &BTreeMap<String, u64>) {
    let mut oracle = Oracle::new(expected);
    let has_all = |request: &Received| {
        let (entity, counter) = marker(&request.body);
        oracle.push(&entity, counter);
        oracle.verdict().missing == 0
    };
    receiver.acceptances().wait_for(PATIENCE, has_all).await.unwrap();
}

pub(crate) fn judge_messages(expected: &BTreeMap<String, u64>, messages: &[Arc<Message>]) -> Verdict {
    let events = messages.iter().filter(|message| !message.topic.starts_with("andon/"));
    judge(expected, events.map(|message| marker(&message.payload)))
}

pub(crate) fn judge_requests(expected: &BTreeMap<String, u64>, requests: &[Arc<Received>]) -> Verdict {
    judge(expected, requests.iter().map(|request| marker(&request.body)))
}

fn judge(expected: &BTreeMap<String, u64>, markers: impl Iterator<Item = (String, u64)>) -> Verdict {
    let mut oracle = Oracle::new(expected);
    markers.for_each(|(entity, counter)| oracle.push(&entity, counter));
    oracle.verdict().clone()
}

/// Makes a destination start at the beginning of the log.
fn from_the_start(mut settings: Value) -> Value {
    settings["start_at"] = json!("2000-01-01T00:00:00Z");
    settings
}
