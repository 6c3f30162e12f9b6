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

use crate::command::run_andon;
use crate::support::daemon;
use crate::support::line::CHANNEL_KEY;
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
    line.until("select count(*) = 3 from andon.capture_errors").await;
    let errors = "select source || ' ' || table_name || ' ' || operation || ' ' || sqlstate from andon.capture_errors order by sqlstate";
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

/// A channel of one tenant, and one whose notifications are signed.
const SAFE: &str = "
[source]
name = 'line'
[[channel]]
channel = 'of acme'
type = 'machine.down'
own_tenant = 'acme'
entity_id = 'id'
[[channel]]
channel = 'signed'
type = 'machine.up'
entity_id = 'id'
tenant = 'org'
signed = true";

#[tokio::test]
async fn what_is_sent_as_another_tenant_or_without_the_key_is_no_event_of_it() {
    let mut line = Line::new().await;
    attach(&mut connect(&line.url).await, &Mapping::parse("line.toml", SAFE).unwrap()).await.unwrap();
    line.run("create extension pgcrypto; create role passer_by login").await;
    line.start();
    wait_for_listeners(&line, "signed", 1).await;
    let passer_by = connect(&line.url.replace("//postgres@", "//passer_by@")).await;
    let signed = |channel: &str, key: &str, payload: &str| {
        format!(
            "select pg_notify('signed', 'sha256=' || encode(hmac('{channel}.{payload}', '{key}', 'sha256'), 'hex') || ' {payload}')"
        )
    };

    for notification in [
        r#"notify "of acme", '{"tenant": "bolt", "org": "bolt", "id": 1}'"#.to_owned(),
        r#"notify signed, '{"org": "bolt", "id": 2}'"#.to_owned(),
        signed("signed", "guessed", r#"{"org": "bolt", "id": 3}"#),
        signed("of acme", CHANNEL_KEY, r#"{"org": "bolt", "id": 4}"#),
        signed("signed", CHANNEL_KEY, r#"{"org": "acme", "id": 5}"#),
    ] {
        passer_by.batch_execute(&notification).await.unwrap();
    }
    line.until("select count(*) = 2 from andon.events").await;
    line.until("select sum(times) = 3 from andon.capture_errors").await;
    line.stop().await.unwrap();

    let events = "select string_agg(concat_ws(' ', type, tenant, entity_id), ', ' order by id) from andon.events";
    let events: String = line.client.query_one(events, &[]).await.unwrap().get(0);
    assert_eq!(events, "machine.down acme 1, machine.up acme 5");
    let errors = "select string_agg(concat_ws(' ', table_name, sqlstate, times), ', ') from andon.capture_errors";
    let errors: String = line.client.query_one(errors, &[]).await.unwrap().get(0);
    assert_eq!(errors, "signed 28000 3");
}

#[tokio::test]
async fn a_channel_that_anybody_can_forge_is_said_by_the_check() {
    let line = Line::new().await;
    let mut owner = connect(&line.url).await;
    attach(&mut owner, &Mapping::parse("line.toml", MAPPING).unwrap()).await.unwrap();
    let forgeable = run_andon(&line.url, &["check"]);
    attach(&mut owner, &Mapping::parse("line.toml", SAFE).unwrap()).await.unwrap();
    let unkeyed = run_andon(&line.url, &["check"]);

    let said = forgeable.out.lines().find(|line| line.contains("channel `Machine events` is forgeable"));
    assert!(forgeable.status == 0 && said.unwrap().starts_with("warning source"), "{forgeable:?}");
    let said = unkeyed.out.lines().find(|line| line.contains("channel `signed` is signed, and no key is configured"));
    assert!(unkeyed.status == 1 && said.unwrap().starts_with("FAULT   source"), "{unkeyed:?}");
    assert!(!unkeyed.out.contains("forgeable"), "{unkeyed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_bad_notifications_are_a_row_and_a_line_and_the_daemon_goes_on() {
    let line = Line::new().await;
    attach(&mut connect(&line.url).await, &Mapping::parse("line.toml", MAPPING).unwrap()).await.unwrap();
    line.run("create role vandal login").await;
    let daemon = daemon::start(&line.url).await;
    daemon.ready().await.unwrap();
    wait_for_listeners(&line, "Machine events", 1).await;
    let vandal = connect(&line.url.replace("//postgres@", "//vandal@")).await;

    let flood = "do $$ begin for i in 1..10000 loop
        perform pg_notify('Machine events', 'no JSON ' || i),
            pg_notify('Machine events', json_build_object('event', 'machine.down', 'org', 'x', 'machine', json_build_object('id', repeat('y', 600) || i))::text);
    end loop; end $$";
    vandal.batch_execute(flood).await.unwrap();
    line.run(r#"notify "Machine events", '{"event": "machine.up", "org": "acme"}'"#).await;
    line.until("select exists (select from andon.events where type = 'machine.up')").await;
    line.until("select sum(times) = 20000 from andon.capture_errors").await;
    daemon.stop().await.unwrap();

    let rows: i64 = line.client.query_one("select count(*) from andon.capture_errors", &[]).await.unwrap().get(0);
    let log = daemon.log();
    let told = log.lines().filter(|line| line.contains("a notification is no event")).count();
    assert_eq!(rows, 2);
    // Once for each cause, and once more for each minute that a slow machine takes.
    assert!((2..20).contains(&told) && log.len() < 20_000, "{told} lines: {log}");
}
