//! Brokers that refuse a client, a topic or a size. In: events that the broker takes, and events that it refuses. Out: whether the lane
//! gives the reason, loses no event that the broker would take, and tries again slowly.

use std::collections::BTreeMap;
use std::time::Duration;

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Subscriber;
use rig::Tap;
use rig::subscriber::SubscriberOptions;
use rig::tap::Seen;
use rig::tap::TapOptions;
use serde_json::json;
use tokio::time::Instant;

use super::emit_with;
use super::set;
use super::wait_for_all;
use super::wait_for_done;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::judge_messages;

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_reported_and_tried_slowly_until_it_is_right() {
    let users = vec![("andon".to_owned(), "right".to_owned())];
    let broker = Mosquitto::start(&MosquittoOptions { users, ..MosquittoOptions::default() }).unwrap();
    let tap = Tap::start(broker.port(), TapOptions::default()).await.unwrap();
    let credentials = Some(("andon".to_owned(), "right".to_owned()));
    let options = SubscriberOptions { port: broker.port(), filter: "#".to_owned(), credentials };
    let subscriber = Subscriber::start_with(options).await.unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(tap.port(), json!({})).await;
    set(&line, "username = 'andon', password = 'wrong'").await;
    let started = Instant::now();
    line.start();
    line.emit("acme", "e", 1).await;

    let reason = line.state(&lane, "retrying").await;
    tap.seen().wait_for_matching(PATIENCE, 5, |seen| matches!(seen, Seen::Connect(_))).await.unwrap();
    let pauses = started.elapsed();
    set(&line, "password = 'right'").await;

    wait_for_all(&subscriber, 1).await;
    line.stop().await.unwrap();
    assert_eq!(reason, "the broker refused the connection: not authorized (0x87)");
    assert!(pauses > Duration::from_millis(1500), "five connections within {pauses:?}");
    assert!(
        !tap.seen().snapshot().iter().any(|seen| **seen == Seen::Connect(4)),
        "a refused password does not mean that the broker lacks MQTT 5"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_the_broker_refuses_costs_only_its_own_events() {
    let acl = Some("topic write acme/good/#\ntopic write andon/#\ntopic read #\n".to_owned());
    // Without a limit on its queue, mosquitto 2.0.11 ends the connection at each refusal.
    let options = MosquittoOptions { acl, max_queued_messages: 10_000, ..MosquittoOptions::default() };
    let broker = Mosquitto::start(&options).unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(broker.port(), json!({})).await;
    for counter in 1..=20 {
        line.emit("acme", "good", counter).await;
        line.emit("acme", "forbidden", counter).await;
    }

    line.start();
    wait_for_all(&subscriber, 20).await;
    wait_for_done(&line, &lane).await;

    line.stop().await.unwrap();
    let parked = line.parked(&lane).await;
    assert_eq!(parked, vec!["dead 1 the broker answered: not authorized (0x87)"; 20]);
    let verdict = judge_messages(&BTreeMap::from([("good".to_owned(), 20)]), &subscriber.received());
    assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_for_the_broker_is_not_sent_and_costs_no_other() {
    let options = MosquittoOptions { max_packet_size: Some(2_000), ..MosquittoOptions::default() };
    let broker = Mosquitto::start(&options).unwrap();
    let tap = Tap::start(broker.port(), TapOptions::default()).await.unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(tap.port(), json!({})).await;
    line.emit("acme", "e", 1).await;
    emit_with(&line, "large", 1, &"x".repeat(4_000)).await;
    line.emit("acme", "e", 2).await;

    line.start();
    wait_for_all(&subscriber, 2).await;
    wait_for_done(&line, &lane).await;

    line.stop().await.unwrap();
    let parked = line.parked(&lane).await;
    assert!(parked.len() == 1 && parked[0].starts_with("dead 1 the packet would have 4"), "{parked:?}");
    assert!(
        parked[0].ends_with("bytes, and the broker takes 2000; send less or raise its maximum packet size"),
        "{parked:?}"
    );
    let connects = tap.seen().snapshot().iter().filter(|seen| matches!(***seen, Seen::Connect(_))).count();
    assert_eq!(connects, 1, "the broker never saw it");
    let verdict = judge_messages(&BTreeMap::from([("e".to_owned(), 2)]), &subscriber.received());
    assert!(verdict.is_clean(), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_refuses_every_event_costs_three_and_the_others_wait_until_it_takes_one() {
    let users = ["bad", "good"].map(|name| (name.to_owned(), "secret".to_owned())).to_vec();
    let acl = "user bad\ntopic write andon/#\nuser good\ntopic readwrite #\n".to_owned();
    let options =
        MosquittoOptions { acl: Some(acl), users, max_queued_messages: 10_000, ..MosquittoOptions::default() };
    let broker = Mosquitto::start(&options).unwrap();
    let credentials = Some(("good".to_owned(), "secret".to_owned()));
    let filter = "#".to_owned();
    let subscriber =
        Subscriber::start_with(SubscriberOptions { port: broker.port(), filter, credentials }).await.unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(broker.port(), json!({})).await;
    set(&line, "username = 'bad', password = 'secret'").await;
    let expected = line.emit_all(10, 50).await;

    line.start();
    let reason = line.state(&lane, "retrying").await;
    line.emit("acme", "late", 1).await;
    let connects = |log: &str| log.matches("New client connected").count();
    let before = connects(&broker.log());
    while connects(&broker.log()) < before + 3 {
        line.client.query_one("select", &[]).await.unwrap();
    }
    let parked = line.parked(&lane).await;
    set(&line, "username = 'good'").await;
    wait_for_all(&subscriber, 498).await;

    line.run(
        "update andon.deliveries set state = 'retry', next_attempt_at = now(); select pg_notify('andon', 'deliveries')",
    )
    .await;
    wait_for_all(&subscriber, 501).await;
    line.stop().await.unwrap();
    assert_eq!(parked, vec!["dead 1 the broker answered: not authorized (0x87)"; 3]);
    assert_eq!(
        reason,
        "it takes no event: the broker answered: not authorized (0x87); after 3 that are parked dead, the others wait until it takes one"
    );
    let mut expected = expected;
    expected.insert("late".to_owned(), 1);
    assert_eq!(judge_messages(&expected, &subscriber.received()).missing, 0);
    assert!(line.parked(&lane).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_run_of_refused_events_is_parked_once_the_broker_takes_another() {
    let acl = Some("topic write acme/good/#\ntopic write andon/#\ntopic read #\n".to_owned());
    let options = MosquittoOptions { acl, max_queued_messages: 10_000, ..MosquittoOptions::default() };
    let broker = Mosquitto::start(&options).unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(broker.port(), json!({})).await;
    line.emit_all(1, 100).await;
    line.emit("acme", "good", 1).await;

    line.start();
    wait_for_all(&subscriber, 1).await;
    wait_for_done(&line, &lane).await;

    line.stop().await.unwrap();
    assert_eq!(line.parked(&lane).await, vec!["dead 1 the broker answered: not authorized (0x87)"; 100]);
}
