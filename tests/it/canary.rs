//! `andon check --canary` finds out whether the messages of a publisher arrive. In: brokers that accept, refuse, or acknowledge and drop.
//! Out: what the command prints, and what a subscriber received.

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Subscriber;
use rig::Tap;
use rig::tap::Mqtt5;
use rig::tap::TapOptions;
use serde_json::Value;
use serde_json::json;

use crate::command::run_andon;
use crate::support::line::Line;

/// Starts a broker with these rights, and a tap through which it appears to lack MQTT 5.
async fn broker(acl: &str) -> (Mosquitto, Tap) {
    let options =
        MosquittoOptions { acl: Some(acl.to_owned()), max_queued_messages: 10_000, ..MosquittoOptions::default() };
    let broker = Mosquitto::start(&options).unwrap();
    let mqtt5 = Mqtt5::Answered(vec![0x20, 3, 0, 0x84, 0]);
    let old = Tap::start(broker.port(), TapOptions { mqtt5, ..TapOptions::default() }).await.unwrap();
    (broker, old)
}

const ACL: &str = "topic write good/#\ntopic write andon/#\ntopic read #\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_tells_what_arrives_what_is_refused_and_what_is_acknowledged_and_dropped() {
    let (broker, old) = broker(ACL).await;
    let line = Line::new().await;
    for (level, port) in [("good", broker.port()), ("bad", broker.port()), ("good", old.port()), ("bad", old.port())] {
        line.publisher_of("acme", &format!("{level}/{{cell}}/{{event}}"), port, json!({"order": "strict"})).await;
    }
    line.run(
        r#"select andon.emit('job.created', '{"secret": 1}', 'acme', 'job', '1', '{"cell": "Laser 1"}');
        select andon.emit('job.updated', '{"secret": 1}', 'acme', 'job', '1', '{"cell": "Laser 1"}');
        select andon.emit('job.updated', '{"secret": 1}', 'acme', 'job', '2', '{"cell": "Laser 2"}');
        select andon.emit('job.updated', '{"secret": 1}', 'rival', 'job', '3', '{"cell": "Laser 3"}')"#,
    )
    .await;

    let run = run_andon(&line.url, &["check", "--canary"]);

    let new = format!("plant at 127.0.0.1:{}", broker.port());
    let old = format!("plant at 127.0.0.1:{}", old.port());
    // All have one name, so that each is told with its id.
    let told = run.out.split(" (andon.mqtt_publishers/");
    let told: String = told.map(|part| part.split_once(" of tenant acme)").map_or(part, |(_, rest)| rest)).collect();
    let dropped = "was acknowledged but dropped; let its user write there, and for this check read";
    for sentence in [
        format!("ok      canary          {new}: arrives on good/laser_1/andon/canary, good/laser_2/andon/canary"),
        format!("ok      canary          {old}: arrives on good/laser_1/andon/canary, good/laser_2/andon/canary"),
        format!(
            "FAULT   canary          {new}: `bad/laser_1/andon/canary` was refused: the broker answered: not authorized (0x87)"
        ),
        format!("FAULT   canary          {old}: `bad/laser_1/andon/canary` {dropped}"),
        format!("FAULT   canary          {old}: `bad/laser_2/andon/canary` {dropped}"),
    ] {
        assert!(told.contains(&sentence), "{sentence}\n{run:?}");
    }
    assert_eq!(run.status, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published_without_being_asked_for_and_a_canary_holds_nothing_of_the_plant() {
    let (broker, _old) = broker(ACL).await;
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let line = Line::new().await;
    line.publisher_of("acme", "good/{cell}/{event}", broker.port(), json!({})).await;

    let without = run_andon(&line.url, &["check"]);
    // The log holds no event, so the topic is made up.
    let with = run_andon(&line.url, &["check", "--canary"]);
    let help = run_andon(&line.url, &["check", "--help"]);

    subscriber.wait_received(crate::support::line::PATIENCE, 1).await.unwrap();
    let received = subscriber.received();
    assert_eq!((without.status, with.status), (0, 0), "{without:?} {with:?}");
    assert!(!without.out.contains("canary") && with.out.contains("arrives on good/_/andon/canary"), "{with:?}");
    assert_eq!(received.len(), 1, "{received:?}");
    let payload: Value = serde_json::from_slice(&received[0].payload).unwrap();
    let keys: Vec<_> = payload.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!((received[0].topic.as_str(), keys), ("good/_/andon/canary", vec!["id", "timestamp", "type"]));
    assert!(!received[0].retain);
    assert!(help.out.contains("PUBLISH a test message for each active publisher"), "{help:?}");
}
