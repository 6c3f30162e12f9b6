//! Subscribers that are slower than a backlog. In: a backlog, and a publisher with a rate. Out: whether it leaves no faster, and whether the
//! check says why one may want that.

use std::time::Duration;

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Subscriber;
use serde_json::json;
use tokio::time::Instant;

use super::chunk;
use super::expected;
use super::wait_for_all;
use crate::command::run_andon;
use crate::support::line::Line;
use crate::support::line::judge_messages;

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_leaves_no_faster_than_the_rate_of_its_publisher() {
    let broker = Mosquitto::start(&MosquittoOptions::as_installed()).unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    line.publisher(broker.port(), json!({"rate": 100})).await;
    line.run(&chunk(10, 1, 30)).await;

    let started = Instant::now();
    line.start();
    wait_for_all(&subscriber, 300).await;
    let took = started.elapsed();

    line.stop().await.unwrap();
    assert!(took > Duration::from_millis(2_900), "300 events at 100 a second took {took:?}");
    let verdict = judge_messages(&expected(10, 30), &subscriber.received());
    assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_says_what_a_mosquitto_drops_unless_the_row_has_a_rate() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let line = Line::new().await;
    line.publisher(broker.port(), json!({})).await;

    let without = run_andon(&line.url, &["check"]);
    line.run(r#"update andon.mqtt_publishers set settings = '{"rate": 500}'"#).await;
    let with = run_andon(&line.url, &["check"]);

    assert!(without.status == 0 && without.out.contains("speaks MQTT 5 (mosquitto version "), "{without:?}");
    assert!(without.out.contains("unless its max_queued_messages is raised"), "{without:?}");
    assert!(with.status == 0 && with.out.contains("speaks MQTT 5\n"), "{with:?}");
}
