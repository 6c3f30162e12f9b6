//! The order of a publisher's events at a broker that refuses some of them for now, because of a quota. Only MQTT 5 has such an answer.

use std::collections::HashSet;

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Subscriber;
use rig::Tap;
use rig::tap::Seen;
use rig::tap::TapOptions;
use serde_json::json;

use super::chunk;
use super::events;
use super::wait_for_all;
use crate::support::line::Line;
use crate::support::line::marker;

/// Starts a broker that refuses the first event this many times.
async fn refusing(times: u32) -> (Mosquitto, Tap, Subscriber) {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let quota = Some((br#""counter": 1}"#.to_vec(), times));
    let tap = Tap::start(broker.port(), TapOptions { quota, ..TapOptions::default() }).await.unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    (broker, tap, subscriber)
}

/// Returns the counters in the order of their first receipt. Events that were in flight when a connection ended arrive twice.
fn counters(subscriber: &Subscriber) -> Vec<u64> {
    let mut seen = HashSet::new();
    let received = subscriber.received();
    events(&received).map(|message| marker(&message.payload).1).filter(|counter| seen.insert(*counter)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn in_strict_order_a_broker_that_refuses_an_event_for_now_has_no_later_one() {
    let (_broker, tap, subscriber) = refusing(3).await;
    let mut line = Line::new().await;
    line.publisher(tap.port(), json!({"order": "strict"})).await;
    line.run(&chunk(1, 1, 30)).await;

    line.start();
    wait_for_all(&subscriber, 30).await;

    line.stop().await.unwrap();
    assert_eq!(tap.seen().snapshot().iter().filter(|seen| ***seen == Seen::Refused).count(), 3);
    assert_eq!(counters(&subscriber), (1..=30).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_refusal_for_now_no_more_events_overtake() {
    let (_broker, tap, subscriber) = refusing(3).await;
    let mut line = Line::new().await;
    let lane = line.publisher(tap.port(), json!({})).await;
    line.run(&chunk(1, 1, 3)).await;

    line.start();
    // The broker already has the events that were in the lane's window when the first one was refused.
    wait_for_all(&subscriber, 2).await;
    line.run(&chunk(1, 4, 9)).await;
    wait_for_all(&subscriber, 9).await;

    line.stop().await.unwrap();
    assert_eq!(tap.seen().snapshot().iter().filter(|seen| ***seen == Seen::Refused).count(), 3);
    assert_eq!(counters(&subscriber), [2, 3, 1, 4, 5, 6, 7, 8, 9]);
    assert!(line.parked(&lane).await.is_empty());
}
