//! The systems that come with Andon, each from its mapping to the last byte that is sent. In: config/sources, a real PostgreSQL, a broker
//! for each tenant, and a receiver. Out: whether the system's whole shift arrives as in the snapshot and each event only at its own tenant,
//! and whether detaching leaves nothing in the database.

mod difference;
mod messages;
mod unprepared;
mod versions;

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use andon::capture::Change;
use andon::capture::Mapping;
use andon::capture::attach;
use andon::capture::detach;
use jiff::Timestamp;
use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Postgres;
use rig::Receiver;
use rig::Subscriber;
use rig::reference::System;
use rig::reference::plant;
use rig::reference::plant::Outlet;
use rig::reference::system::names;
use rig::subscriber::Message;
use serde_json::Value;
use tokio_postgres::Client;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::attach::catalogue;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::plant::Plant;

#[tokio::test]
async fn the_shift_of_every_system_arrives_as_in_the_snapshot_and_at_its_own_tenant() {
    for name in names() {
        let shop = Shop::open(name).await;

        shop.run_a_cycle().await;
        let log = shop.log().await;
        shop.all_arrived(&log).await;

        assert_eq!(shop.capture_errors().await, Vec::<String>::new(), "{name}");
        let mut snapshot = Redacted::default();
        for (outlet, subscriber) in shop.outlets.iter().zip(&shop.subscribers) {
            let own: Vec<Uuid> = log.iter().filter(|event| event.1 == outlet.tenant).map(|event| event.0).collect();
            let mut posted = shop.posted(outlet);
            posted.sort();
            let mut sorted = own.clone();
            sorted.sort();
            let messages = events(subscriber);
            assert_eq!(messages.iter().map(|message| event_id(message)).collect::<Vec<_>>(), own, "{name}");
            assert_eq!(posted, sorted, "{name}");
            snapshot.heading(&outlet.tenant);
            messages.iter().for_each(|message| snapshot.message(message));
        }
        insta::assert_snapshot!(format!("shift_of_{name}"), snapshot.text);
        shop.close().await;
    }
}

#[tokio::test]
async fn attach_edit_attach_and_detach_leave_the_catalogue_of_every_system_as_it_was() {
    for name in names() {
        let system = System::find(name).unwrap();
        let mut client = Plant::empty().await.client;
        client.batch_execute(&system.schema).await.unwrap();
        let before = catalogue(&client).await;
        let edited = system.mapping.replacen("\ntype = \"", "\ntype = \"edited.", 1);
        let edited = Mapping::parse(name, &edited).unwrap();

        attach(&mut client, &mapping(&system)).await.unwrap();
        let report = attach(&mut client, &edited).await.unwrap();
        let attached = catalogue(&client).await;
        detach(&mut client, name).await.unwrap();

        assert!(report.tables.iter().any(|(_, change)| *change == Change::Replaced), "{report:?}");
        assert!(attached.len() > before.len());
        assert_eq!(catalogue(&client).await, before, "{name}");
    }
}

#[tokio::test]
async fn a_session_that_sees_only_its_own_organization_is_captured_like_the_owner() {
    let system = System::find("plant-mes").unwrap();
    let mut logs = Vec::new();
    for role in ["none", "mes_operator"] {
        let client = attached(&system).await;
        client
            .batch_execute(&format!(
                "do $$ begin create role mes_operator; exception when duplicate_object then null; end $$;
                 grant usage on schema public to mes_operator;
                 grant all on all tables in schema public to mes_operator;
                 grant all on all sequences in schema public to mes_operator;
                 set role {role}"
            ))
            .await
            .unwrap();

        run_a_cycle(&client, &system).await;
        client.batch_execute("set app.current_organization_id = '2'").await.unwrap();
        let organizations = "select count(distinct organization_id) from work_orders";
        let visible: i64 = client.query_one(organizations, &[]).await.unwrap().get(0);
        client.batch_execute("reset role").await.unwrap();
        let errors: i64 = client.query_one("select count(*) from andon.capture_errors", &[]).await.unwrap().get(0);
        let log = "select tenant, type, entity_type, entity_id, context::text, data from andon.events order by id";
        let events: Vec<_> = client.query(log, &[]).await.unwrap().iter().map(without_times).collect();

        assert_eq!((errors, visible), (0, if role == "none" { 2 } else { 1 }), "{role}");
        logs.push(events);
    }

    assert!(logs[0].len() > 50);
    assert_eq!(logs[0], logs[1]);
}

/// Returns tenant, type, entity and context of an event, and its payload without the times and hashes, which differ from run to run.
fn without_times(row: &Row) -> (Vec<String>, Value) {
    let mut data: Value = row.get(5);
    if let Some(fields) = data.as_object_mut() {
        fields
            .retain(|_, value| value.as_str().is_none_or(|text| text.parse::<Timestamp>().is_err() && text.len() < 64));
    }
    ((0..5).map(|column| row.get(column)).collect(), data)
}

/// Builds the system's schema and plant in a new database and attaches it.
async fn attached(system: &System) -> Client {
    let Plant { mut client, url } = Plant::empty().await;
    plant::build(&url, system).await.unwrap();
    attach(&mut client, &mapping(system)).await.unwrap();
    client
}

/// A system at work: its database is attached, and a gateway serves a broker and a webhook for each of its tenants.
struct Shop {
    system: System,
    line: Line,
    outlets: Vec<Outlet>,
    subscribers: Vec<Subscriber>,
    receiver: Receiver,
    _brokers: Vec<Mosquitto>,
}

impl Shop {
    async fn open(name: &str) -> Shop {
        let system = System::find(name).unwrap();
        let Plant { mut client, url } = Plant::empty().await;
        plant::build(&url, &system).await.unwrap();
        attach(&mut client, &mapping(&system)).await.unwrap();
        drop(client);
        let tenants = plant::tenants(Postgres::shared(), &url, &system.shift).await.unwrap();
        let receiver = Receiver::start().await.unwrap();
        let (mut brokers, mut subscribers, mut outlets) = (Vec::new(), Vec::new(), Vec::new());
        for (number, tenant) in (1..).zip(tenants) {
            let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
            subscribers.push(Subscriber::start(broker.port()).await.unwrap());
            outlets.push(Outlet { tenant, broker: broker.port(), path: format!("/{number}") });
            brokers.push(broker);
        }
        plant::direct(&url, &system, &outlets, &receiver).await.unwrap();
        let mut line = Line::at(&url).await;
        line.start();
        let lanes = 2 * outlets.len();
        line.until(&format!("select count(*) = {lanes} from andon.lanes where state = 'running'")).await;
        Shop { system, line, outlets, subscribers, receiver, _brokers: brokers }
    }

    async fn run_a_cycle(&self) {
        run_a_cycle(&self.line.client, &self.system).await;
    }

    /// Returns the id and the tenant of every event, in the order of the log.
    async fn log(&self) -> Vec<(Uuid, String)> {
        let log = self.line.client.query("select event_id, tenant from andon.events order by id", &[]).await.unwrap();
        log.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    async fn all_arrived(&self, log: &[(Uuid, String)]) {
        let mut expected: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, tenant) in log {
            *expected.entry(tenant).or_default() += 1;
        }
        for (outlet, subscriber) in self.outlets.iter().zip(&self.subscribers) {
            let count = expected.remove(outlet.tenant.as_str()).unwrap_or(0);
            subscriber.messages().wait_for_matching(PATIENCE, count, is_event).await.unwrap();
        }
        assert!(expected.is_empty(), "events of tenants without a destination: {expected:?}");
        self.receiver.wait_accepted(PATIENCE, log.len()).await.unwrap();
    }

    /// Returns the events that this tenant's endpoint accepted.
    fn posted(&self, outlet: &Outlet) -> Vec<Uuid> {
        let accepted = self.receiver.accepted();
        let ours = accepted.iter().filter(|request| request.path == outlet.path);
        ours.map(|request| {
            let id = request.headers["webhook-id"].to_str().unwrap();
            id.split('_').next().unwrap().parse().unwrap()
        })
        .collect()
    }

    async fn capture_errors(&self) -> Vec<String> {
        let errors = "select format('%s of %s: %s', operation, table_name, message) from andon.capture_errors";
        self.line.client.query(errors, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    async fn close(mut self) {
        self.line.stop().await.unwrap();
    }
}

fn mapping(system: &System) -> Mapping {
    Mapping::parse(&system.name, &system.mapping).unwrap()
}

async fn run_a_cycle(client: &Client, system: &System) {
    for step in &system.shift.steps {
        let end = if step.is_given_up { "rollback" } else { "commit" };
        let ran = client.batch_execute(&format!("begin;\n{}\n;{end}", step.sql(1))).await;
        ran.unwrap_or_else(|error| panic!("{}: {error:?}", step.what(1)));
    }
}

fn is_event(message: &Message) -> bool {
    !message.topic.starts_with("andon/")
}

fn events(subscriber: &Subscriber) -> Vec<Arc<Message>> {
    subscriber.received().into_iter().filter(|message| is_event(message)).collect()
}

fn event_id(message: &Message) -> Uuid {
    let (_, id) = message.user_properties.iter().find(|(name, _)| name == "event_id").unwrap();
    id.parse().unwrap()
}

/// The messages that arrived, without values that differ from run to run: generated ids and hashes become numbers, and the current time
/// becomes `[now]`.
#[derive(Default)]
struct Redacted {
    text: String,
    generated: HashMap<String, String>,
}

impl Redacted {
    fn heading(&mut self, tenant: &str) {
        let whose = if tenant.is_empty() { "no tenant".to_owned() } else { format!("tenant {tenant}") };
        self.text.push_str(&format!("=== {whose}\n"));
    }

    fn message(&mut self, message: &Message) {
        let event = event_id(message).to_string();
        let payload = String::from_utf8(message.payload.to_vec()).unwrap();
        let parts: Vec<String> = payload
            .split('"')
            .map(|part| if part == event { "[event]".to_owned() } else { self.without_generated(part) })
            .collect();
        self.text.push_str(&format!("{}\n    {}\n", message.topic, parts.join("\"")));
    }

    fn without_generated(&mut self, text: &str) -> String {
        let is_now = |time: Timestamp| {
            time.duration_since(Timestamp::now()).abs() < Duration::from_secs(600).try_into().unwrap()
        };
        if text.parse::<Timestamp>().is_ok_and(is_now) {
            return "[now]".to_owned();
        }
        // An id that someone wrote by hand consists mostly of zeros.
        let is_generated = text.parse::<Uuid>().is_ok() && text.matches('0').count() < 12;
        let is_hash = text.len() == 64 && text.chars().all(|letter| letter.is_ascii_hexdigit());
        if !is_generated && !is_hash {
            return text.to_owned();
        }
        let kind = if is_hash { "hash" } else { "uuid" };
        let number = self.generated.len() + 1;
        self.generated.entry(text.to_owned()).or_insert_with(|| format!("[{kind} {number}]")).clone()
    }
}
