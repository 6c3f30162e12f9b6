//! Brokers that announce limits with which no lane, or hardly an event, can live. In: a CONNACK with such a limit. Out: whether no event is
//! dead for what is the broker's fault, and whether the lane says which limit it is and what to do.

use std::collections::BTreeMap;

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::ScriptedBroker;
use rig::Subscriber;
use rig::scripted_broker::Answer;
use rig::scripted_broker::Request;
use serde_json::Value;
use serde_json::json;

use super::chunk;
use super::emit_with;
use super::set;
use super::wait_for_all;
use super::wait_for_done;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::judge_messages;

/// Starts a broker of MQTT 5 whose CONNACK has this property, and which takes all else.
async fn broker(property: &'static [u8]) -> ScriptedBroker {
    let length = u8::try_from(property.len()).unwrap();
    let script = move |request: &Request| match request {
        Request::Connect { .. } => Answer::Bytes([&[0x20, length + 3, 0, 0, length], property].concat()),
        _ => request.accepted(),
    };
    ScriptedBroker::start(script).await.unwrap()
}

/// Returns what a lane says of such a broker when it has met it three times. No event may be dead, and none sent.
async fn reason(property: &'static [u8]) -> String {
    reason_of(broker(property).await, json!({"version": "5"})).await
}

async fn reason_of(broker: ScriptedBroker, settings: Value) -> String {
    let mut line = Line::new().await;
    let lane = line.publisher(broker.port(), settings).await;
    line.run(&chunk(10, 1, 20)).await;

    line.start();
    let is_connect = |request: &Request| matches!(request, Request::Connect { .. });
    broker.seen().wait_for_matching(PATIENCE, 3, is_connect).await.unwrap();
    let reason = line.state(&lane, "retrying").await;

    line.stop().await.unwrap();
    assert!(line.parked(&lane).await.is_empty(), "{reason}");
    assert!(!broker.seen().snapshot().iter().any(|request| request.is_event()), "{reason}");
    reason
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_whose_packets_are_too_small_for_the_status_costs_no_event_and_is_told_apart() {
    for (property, size) in [(&[0x27, 0, 0, 0, 64], 64), (&[0x27, 0, 0, 0, 1], 1), (&[0x27, 0, 0, 0, 0], 0)] {
        let reason = reason(property).await;

        let expected = format!("the broker takes packets of {size} bytes at most, and our status on `andon/");
        assert!(reason.starts_with(&expected), "{reason}");
        assert!(reason.ends_with("; raise its maximum packet size"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_of_qos_0_only_is_told_apart() {
    assert_eq!(
        reason(&[0x24, 0]).await,
        "the broker takes messages of QoS 0 only, which nobody acknowledges; let it take QoS 1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_lets_no_publish_be_unacknowledged_is_told_apart() {
    // The second knows nothing but MQTT 5.
    let script = |request: &Request| match request {
        Request::Connect { level: 5, .. } => Answer::Bytes(vec![0x20, 6, 0, 0, 3, 0x21, 0, 0]),
        Request::Connect { .. } => Answer::Last(vec![0x20, 2, 0, 1]),
        _ => request.accepted(),
    };
    let reasons =
        [reason(&[0x21, 0, 0]).await, reason_of(ScriptedBroker::start(script).await.unwrap(), json!({})).await];

    for reason in reasons {
        assert!(reason.starts_with("the broker announces a Receive Maximum of 0"), "{reason}");
        assert!(reason.contains("let it allow one unacknowledged publish or more"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_whose_packets_are_too_small_for_every_event_costs_three_and_the_others_wait_for_a_larger_size() {
    // The status needs less than 190 bytes, and each event more.
    let small = broker(&[0x27, 0, 0, 0, 190]).await;
    let large = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let subscriber = Subscriber::start(large.port()).await.unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(small.port(), json!({})).await;
    line.run(&chunk(10, 1, 100)).await;

    line.start();
    let reason = line.state(&lane, "retrying").await;
    let is_connect = |request: &Request| matches!(request, Request::Connect { .. });
    small.seen().wait_for_matching(PATIENCE, 3, is_connect).await.unwrap();
    line.until("select count(*) >= 3 from andon.deliveries where state = 'dead'").await;
    let parked = line.parked(&lane).await;
    set(&line, &format!("port = {}", large.port())).await;
    wait_for_all(&subscriber, 997).await;

    line.stop().await.unwrap();
    let cure = "and the broker takes 190; send less or raise its maximum packet size";
    assert!(parked.len() == 3 && parked.iter().all(|it| it.ends_with(cure)), "{parked:?}");
    assert!(reason.starts_with("it takes no event: the packet would have ") && reason.contains(cure), "{reason}");
    assert_eq!(line.parked(&lane).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_too_large_for_the_broker_are_dead_once_it_takes_a_small_one() {
    let options = MosquittoOptions { max_packet_size: Some(2_000), ..MosquittoOptions::default() };
    let broker = Mosquitto::start(&options).unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(broker.port(), json!({})).await;
    for counter in 1..=20 {
        emit_with(&line, "large", counter, &"x".repeat(4_000)).await;
    }
    line.emit("acme", "e", 1).await;

    line.start();
    wait_for_all(&subscriber, 1).await;
    wait_for_done(&line, &lane).await;

    line.stop().await.unwrap();
    assert_eq!(line.parked(&lane).await.len(), 20);
    let verdict = judge_messages(&BTreeMap::from([("e".to_owned(), 1)]), &subscriber.received());
    assert!(verdict.is_clean(), "{verdict:?}");
}
