//! Brokers that lack a part of the standard: retained messages, or any answer to MQTT 5. In: events for such a broker. Out: whether the
//! lane finds the way in which the broker can be used, and keeps to the version that a row names.

use std::sync::Arc;

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::ScriptedBroker;
use rig::Subscriber;
use rig::scripted_broker::Answer;
use rig::scripted_broker::Request;
use rig::scripted_broker::connack;
use serde_json::json;

use super::chunk;
use super::expected;
use super::wait_for_all;
use super::wait_for_done;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::judge_messages;

/// Returns the protocol level of each connection that was asked for, and whether its last will was to be retained.
fn connects(broker: &ScriptedBroker) -> Vec<(u8, bool)> {
    let seen = broker.seen().snapshot();
    let connect = |request: &Arc<Request>| match &**request {
        Request::Connect { level, will, .. } => Some((*level, will.as_ref().is_some_and(|(_, retain)| *retain))),
        _ => None,
    };
    seen.iter().filter_map(connect).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_retained_messages_gets_all_events() {
    for version in ["5", "3.1.1"] {
        let lines = vec!["retain_available false".to_owned()];
        let broker = Mosquitto::start(&MosquittoOptions { lines, ..MosquittoOptions::default() }).unwrap();
        let subscriber = Subscriber::start(broker.port()).await.unwrap();
        let mut line = Line::new().await;
        let lane = line.publisher(broker.port(), json!({"version": version})).await;
        line.run(&chunk(10, 1, 10)).await;

        line.start();
        wait_for_all(&subscriber, 100).await;
        line.state(&lane, "running").await;
        line.stop().await.unwrap();

        let received = subscriber.received();
        let verdict = judge_messages(&expected(10, 10), &received);
        assert!(verdict.is_clean(), "{version}: {verdict:?}");
        assert!(
            received.iter().any(|message| message.topic.ends_with("/status")),
            "the status is published all the same"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_ends_the_connection_at_a_retained_message_gets_none() {
    let broker = ScriptedBroker::start(|request| match request {
        Request::Publish { retain: true, .. } => Answer::Last(vec![0xe0, 1, 0x9a]),
        _ => request.accepted(),
    })
    .await
    .unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(broker.port(), json!({})).await;
    line.run(&chunk(1, 1, 3)).await;

    line.start();
    wait_for_done(&line, &lane).await;

    line.stop().await.unwrap();
    assert_eq!(connects(&broker), [(5, true), (5, false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_never_answers_mqtt_5_gets_3_1_1() {
    let broker = ScriptedBroker::start(|request| match request {
        Request::Connect { level: 5, .. } => Answer::Bytes(Vec::new()),
        _ => request.accepted(),
    })
    .await
    .unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(broker.port(), json!({})).await;
    line.run(&chunk(1, 1, 3)).await;

    line.start();
    wait_for_done(&line, &lane).await;

    line.stop().await.unwrap();
    let levels: Vec<u8> = connects(&broker).into_iter().map(|(level, _)| level).collect();
    assert_eq!(levels, [5, 4, 5, 4], "the broker is asked twice, because it might only have been slow");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_names_a_version_gets_no_other() {
    for (version, level) in [("3.1.1", 4), ("5", 5)] {
        let refused = move |request: &Request| match request {
            Request::Connect { level: asked, .. } if *asked == level => Answer::Last(connack(level, 0x84)),
            _ => request.accepted(),
        };
        let broker = ScriptedBroker::start(refused).await.unwrap();
        let mut line = Line::new().await;
        let lane = line.publisher(broker.port(), json!({"version": version})).await;

        line.start();
        broker.seen().wait_for_count(PATIENCE, 3).await.unwrap();
        line.state(&lane, "retrying").await;

        line.stop().await.unwrap();
        assert!(connects(&broker).iter().all(|(asked, _)| *asked == level), "{version}");
    }
}
