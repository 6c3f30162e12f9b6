//! Events that end every connection that they are sent on. In: a broker that breaks on some events, or on all. Out: whether the lane finds
//! and parks only these, and whether a broker that merely comes and goes costs no event.

use std::collections::BTreeMap;

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Subscriber;
use rig::Tap;
use rig::tap::Seen;
use rig::tap::TapOptions;
use serde_json::json;

use super::chunk;
use super::emit_with;
use super::expected;
use super::set;
use super::wait_for_all;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::judge_messages;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_ends_every_connection_is_parked_and_the_others_go_on_in_order() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let options = TapOptions { poison: Some(b"arsenic".to_vec()), ..TapOptions::default() };
    let tap = Tap::start(broker.port(), options).await.unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(tap.port(), json!({})).await;
    line.run(&chunk(10, 1, 10)).await;
    emit_with(&line, "bad", 1, "arsenic").await;
    line.run(&chunk(10, 11, 100)).await;

    line.start();
    wait_for_all(&subscriber, 1_000).await;
    line.until("select count(*) = 1 from andon.deliveries").await;

    line.stop().await.unwrap();
    let parked = line.parked(&lane).await;
    assert_eq!(
        parked,
        [
            "dead 1 the broker took others, and failed on it alone more than 5 times; the last: the broker closed the connection"
        ]
    );
    let verdict = judge_messages(&expected(10, 100), &subscriber.received());
    assert!(verdict.is_clean(), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_comes_and_goes_costs_no_event() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let tap = Tap::start(broker.port(), TapOptions { flaps: 6, ..TapOptions::default() }).await.unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(tap.port(), json!({})).await;
    line.emit("acme", "e", 1).await;

    line.start();
    wait_for_all(&subscriber, 1).await;

    line.stop().await.unwrap();
    let poisoned = tap.seen().snapshot().iter().filter(|seen| ***seen == Seen::Poisoned).count();
    assert_eq!(poisoned, 6);
    assert!(line.parked(&lane).await.is_empty());
    let verdict = judge_messages(&BTreeMap::from([("e".to_owned(), 1)]), &subscriber.received());
    assert!(verdict.is_clean(), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_ends_the_connection_on_every_event_costs_none() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let options = TapOptions { poison: Some(b"counter".to_vec()), ..TapOptions::default() };
    let tap = Tap::start(broker.port(), options).await.unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(tap.port(), json!({})).await;
    line.run(&chunk(10, 1, 3)).await;

    line.start();
    // Before events were compared, the first of them was dead after seven connections.
    tap.seen().wait_for_matching(PATIENCE, 9, |seen| *seen == Seen::Poisoned).await.unwrap();
    let reason = line.state(&lane, "retrying").await;
    let parked = line.parked(&lane).await;
    set(&line, &format!("port = {}", broker.port())).await;
    wait_for_all(&subscriber, 30).await;

    line.stop().await.unwrap();
    assert!(parked.is_empty() && line.parked(&lane).await.is_empty(), "{parked:?}");
    assert!(reason.starts_with("the broker closed the connection"), "{reason}");
}
