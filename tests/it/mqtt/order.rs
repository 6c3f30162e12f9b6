//! The order of a publisher's events at a broker that refuses some for now: a quota, MQTT 5 only.

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

/// A broker that refuses the first event so many times.
async fn refusing(times: u32) -> (Mosquitto, Tap, Subscriber) {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let quota = Some((br#""counter": 1}"#.to_vec(), times));
    let tap = Tap::start(broker.port(), TapOptions { quota, ..TapOptions::default() }).await.unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    (broker, tap, subscriber)
}

/// The counters in the order of their first receipt: what was in flight when a connection ended comes twice.
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
    // What was in its window when it was refused for the first time is with the broker already.
    wait_for_all(&subscriber, 2).await;
    line.run(&chunk(1, 4, 9)).await;
    wait_for_all(&subscriber, 9).await;

    line.stop().await.unwrap();
    assert_eq!(tap.seen().snapshot().iter().filter(|seen| ***seen == Seen::Refused).count(), 3);
    assert_eq!(counters(&subscriber), [2, 3, 1, 4, 5, 6, 7, 8, 9]);
    assert!(line.parked(&lane).await.is_empty());
}
