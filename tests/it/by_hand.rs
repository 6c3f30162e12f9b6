//! Parked deliveries are changed by hand while the gateway runs. In: rows of `andon.deliveries` that are retried or discarded. Out: whether
//! the lane follows at once, and keeps the order of each entity.

use std::time::Duration;

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Subscriber;
use rig::receiver::Answer;
use rig::receiver::Receiver;
use serde_json::json;

use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::marker;

impl Line {
    /// Changes parked deliveries, and notifies the lanes of it.
    async fn by_hand(&self, sql: &str) {
        self.run(&format!("begin; {sql}; select pg_notify('andon', 'deliveries'); commit")).await;
    }
}

const RETRY: &str = "update andon.deliveries set state = 'retry', next_attempt_at = now() where state = 'dead'";

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_delivery_that_is_retried_is_delivered_at_once() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer_next("/hook", 2, &Answer::status(500));
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"retry": ["1ms"]})).await;
    line.start();
    line.emit("acme", "e", 1).await;
    line.until("select count(*) = 1 from andon.deliveries where state = 'dead'").await;
    line.emit("acme", "e", 2).await;
    receiver.wait_accepted(PATIENCE, 1).await.unwrap();

    line.by_hand(RETRY).await;

    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    line.until("select count(*) = 0 from andon.deliveries").await;
    line.stop().await.unwrap();
    let accepted: Vec<_> = receiver.accepted().iter().map(|request| marker(&request.body).1).collect();
    assert_eq!(accepted, [2, 1]);
    assert!(line.parked(&lane).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_delivery_lets_those_behind_it_go_in_their_order() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer_next("/hook", 2, &Answer::status(500));
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({"retry": ["1h"], "concurrency": 1})).await;
    line.start();
    for (entity, last) in [("alone", 1), ("first", 3)] {
        for counter in 1..=last {
            line.emit("acme", entity, counter).await;
        }
    }
    line.until("select count(*) filter (where state = 'retry') = 2 and count(*) = 4 from andon.deliveries").await;

    line.by_hand("delete from andon.deliveries where state = 'retry'").await;
    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    line.until("select count(*) = 0 from andon.deliveries").await;
    line.emit("acme", "first", 4).await;
    line.emit("acme", "alone", 2).await;

    receiver.wait_accepted(PATIENCE, 4).await.unwrap();
    line.stop().await.unwrap();
    let accepted: Vec<_> = receiver.accepted().iter().map(|request| marker(&request.body)).collect();
    let wanted = [("first", 2), ("first", 3), ("first", 4), ("alone", 2)];
    assert_eq!(accepted, wanted.map(|(entity, counter)| (entity.to_owned(), counter)));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_discarded_while_it_is_tried_is_not_overtaken() {
    tokio::join!(discarded(200, 2), discarded(200, 1), discarded(500, 2), discarded(500, 1));
}

/// Parks this many deliveries of an entity and discards the first of them during its second attempt, which ends with this status.
async fn discarded(status: u16, parked: u64) {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer_next("/hook", 1, &Answer::status(500));
    receiver.answer_next("/hook", 1, &Answer::status(status).after(Duration::from_millis(700)));
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({"retry": ["1s", "1h"]})).await;
    line.start();
    for counter in 1..=parked {
        line.emit("acme", "e", counter).await;
        line.until(&format!("select count(*) = {counter} from andon.deliveries")).await;
    }
    receiver.wait_received(PATIENCE, 2).await.unwrap();

    line.by_hand("delete from andon.deliveries where state = 'retry'").await;
    line.emit("acme", "e", parked + 1).await;

    receiver.acceptances().wait_for(PATIENCE, |it| marker(&it.body).1 == parked + 1).await.unwrap();
    line.until("select count(*) = 0 from andon.deliveries").await;
    line.stop().await.unwrap();
    let accepted: Vec<_> = receiver.accepted().iter().map(|request| marker(&request.body).1).collect();
    let first = if status == 200 { 1 } else { 2 };
    assert_eq!(accepted, Vec::from_iter(first..=parked + 1), "answered {status}, with {parked} parked");
    assert!(receiver.received().iter().all(|request| request.concurrent.is_empty()), "two of one entity at a time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_event_of_a_publisher_that_is_retried_is_published_or_dead_again() {
    let options = MosquittoOptions { max_packet_size: Some(2_000), ..MosquittoOptions::default() };
    let broker = Mosquitto::start(&options).unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(broker.port(), json!({})).await;
    line.start();
    for entity in ["long", "longer"] {
        line.run(&format!(
            "select andon.emit('job.updated', jsonb_build_object('entity', '{entity}', 'counter', 1, 'text', repeat('x', 4000)),
            'acme', 'job', '{entity}')"
        ))
        .await;
    }
    line.until("select count(*) = 2 from andon.deliveries where state = 'dead'").await;

    line.by_hand(&format!("update andon.deliveries set data = data - 'text' where entity_id = 'long'; {RETRY}")).await;

    subscriber.messages().wait_for(PATIENCE, |it| it.topic.starts_with("acme/")).await.unwrap();
    line.until("select count(*) = 1 from andon.deliveries where state = 'dead' and attempts = 2").await;
    line.emit("acme", "e", 1).await;
    subscriber.messages().wait_for(PATIENCE, |it| it.topic.starts_with("acme/e/")).await.unwrap();
    line.stop().await.unwrap();
    let received = subscriber.received();
    let topics: Vec<_> = received.iter().map(|it| it.topic.as_str()).filter(|it| it.starts_with("acme/")).collect();
    assert_eq!(topics, ["acme/long/job/updated", "acme/e/job/updated"]);
    assert!(line.parked(&lane).await[0].starts_with("dead 2 the packet would have 4"));
    line.until("select count(*) = 1 from andon.attempts where outcome = 'delivered' and attempt = 2").await;
}
