//! NOTIFY channels as sources. In: notifications with good and bad payloads, and mappings that are attached and detached. Out: whether
//! each good notification becomes an event that arrives, and each bad one is recorded as a capture error.

use andon::capture::Mapping;
use andon::capture::attach;
use andon::capture::detach;
use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Subscriber;
use serde_json::Value;
use serde_json::json;

use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::plant::connect;

const MAPPING: &str = "
[source]
name = 'line'
site = 'main'
[[channel]]
channel = 'Machine events'
type_path = 'event'
entity_type = 'machine'
entity_id = 'machine.id'
tenant = 'org'
context = { cell = 'machine.name' }
fields = ['code']";

/// Waits until `count` sessions listen to the channel.
async fn wait_for_listeners(line: &Line, channel: &str, count: usize) {
    // The `listen` is the last statement of the listening session, so that pg_stat_activity shows it.
    let sql = "from pg_stat_activity where datname = current_database() and state = 'idle'";
    line.until(&format!("select count(*) = {count} {sql} and query like '%listen \"{channel}\"%'")).await;
}

#[tokio::test]
async fn a_notification_becomes_an_event_and_a_bad_one_is_recorded() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    let mut owner = connect(&line.url).await;
    attach(&mut owner, &Mapping::parse("line.toml", MAPPING).unwrap()).await.unwrap();
    line.publisher_of("acme", "{site}/{cell}/{event}", broker.port(), json!({})).await;
    let shallow =
        "do $$ begin execute format('alter database %I set max_stack_depth = 100', current_database()); end $$";
    line.run(shallow).await;
    line.start();
    wait_for_listeners(&line, "Machine events", 1).await;

    let deep = format!("{}{}", "[".repeat(3900), "]".repeat(3900));
    let down = r#"{"event": "machine.down", "org": "acme", "code": 17, "machine": {"id": 4, "name": "Laser 1"}}"#;
    line.run(&format!(
        "begin; notify \"Machine events\", '{{\"event\": \"machine.never\", \"org\": \"acme\"}}'; rollback;
         notify \"Machine events\", 'no JSON';
         notify \"Machine events\", '{{\"event\": \"machine.down\", \"org\": \"acme\", \"code\": \"\\u0000\"}}';
         notify \"Machine events\", '{{\"event\": \"machine.down\", \"org\": \"acme\", \"code\": {deep}}}';
         notify \"Machine events\", '{down}'"
    ))
    .await;

    subscriber.messages().wait_for(PATIENCE, |message| message.topic == "main/laser_1/machine/down").await.unwrap();
    let event = line.client.query_one("select to_jsonb(e) from andon.events e", &[]).await.unwrap();
    let event: Value = event.get(0);
    assert_eq!(
        (&event["tenant"], &event["entity_id"], &event["data"]),
        (&json!("acme"), &json!("4"), &json!({"code": 17}))
    );
    let errors = "select source || ' ' || table_name || ' ' || operation || ' ' || sqlstate from andon.capture_errors order by id";
    let errors: Vec<String> = line.client.query(errors, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(errors, ["22032", "22P05", "54001"].map(|code| format!("line Machine events notify {code}")));
    let migrated = tokio::time::timeout(PATIENCE, andon::migrate::migrate(&mut owner)).await;
    assert!(migrated.expect("a gateway that listens does not hold up `andon migrate`").unwrap().is_empty());
    line.stop().await.unwrap();
}

#[tokio::test]
async fn channels_come_and_go_with_their_sources_while_the_gateway_runs() {
    let mut line = Line::new().await;
    let mut owner = connect(&line.url).await;
    line.start();

    attach(&mut owner, &Mapping::parse("line.toml", MAPPING).unwrap()).await.unwrap();
    wait_for_listeners(&line, "Machine events", 1).await;
    let other = MAPPING.replace("Machine events", "other");
    attach(&mut owner, &Mapping::parse("line.toml", &other).unwrap()).await.unwrap();
    wait_for_listeners(&line, "other", 1).await;
    line.run("notify \"Machine events\", 'not heard'; notify other, '{\"event\": \"machine.up\", \"org\": \"acme\"}'")
        .await;
    line.until("select count(*) = 1 from andon.events where type = 'machine.up'").await;
    detach(&mut owner, "line").await.unwrap();
    wait_for_listeners(&line, "other", 0).await;

    let errors: i64 = owner.query_one("select count(*) from andon.capture_errors", &[]).await.unwrap().get(0);
    assert_eq!(errors, 0);
    line.stop().await.unwrap();
}
