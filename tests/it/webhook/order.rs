//! The three orders of a webhook. In: endpoints that fail for some events, or for all. Out: whether the events arrive in the order that
//! was asked for, and whether only those wait that must.

use std::time::Duration;

use rig::receiver::Answer;
use rig::receiver::Receiver;
use serde_json::json;

use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::marker;
use crate::support::plant::connect;

/// Returns entity and counter of each accepted request, in the order of acceptance.
fn accepted(receiver: &Receiver) -> Vec<(String, u64)> {
    receiver.accepted().iter().map(|request| marker(&request.body)).collect()
}

/// Returns entity and counter of each event in the log whose id is greater than `after`.
async fn logged(line: &Line, after: i64) -> Vec<(String, u64)> {
    let sql = "select data ->> 'entity', (data ->> 'counter')::int8 from andon.events where id > $1 order by id";
    let rows = line.client.query(sql, &[&after]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get::<_, i64>(1) as u64)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn in_strict_order_all_events_come_in_the_order_of_the_log_through_failures_and_restarts() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let settings = json!({"order": "strict", "concurrency": 8, "retry": ["10s"]});
    let lane = line.webhook(&receiver.url("/hook"), settings).await;
    line.start();

    for round in 0..3 {
        receiver.answer_next("/hook", if round == 0 { 2 } else { 1 }, &Answer::status(503));
        line.emit_more(7, round * 10, (round + 1) * 10).await;
        let wanted = (round as usize + 1) * 70;
        receiver.wait_received(PATIENCE, wanted - 50).await.unwrap();
        line.stop().await.unwrap();
        line.start();
        receiver.wait_accepted(PATIENCE, wanted).await.unwrap();
    }

    line.until("select count(*) = 0 from andon.deliveries").await;
    assert_eq!(line.state(&lane, "running").await, "");
    line.stop().await.unwrap();
    assert_eq!(accepted(&receiver), logged(&line, 0).await);
    assert!(receiver.received().iter().all(|request| request.concurrent.is_empty()), "one at a time");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_strict_order_a_failing_delivery_keeps_all_others_in_the_log() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer_containing("/hook", "stuck", Answer::status(422));
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"order": "strict", "retry": ["1h"]})).await;
    line.start();
    line.emit("acme", "stuck", 1).await;
    line.emit_all(50, 20).await;
    assert_eq!(line.state(&lane, "open").await, "answered 422: 422");
    receiver.wait_received(PATIENCE, 3).await.unwrap();
    line.stop().await.unwrap();
    line.start();

    receiver.wait_received(PATIENCE, 6).await.unwrap();
    line.until("select count(*) = 1 and bool_and(state = 'retry') from andon.deliveries").await;
    line.stop().await.unwrap();

    assert!(receiver.received().iter().all(|request| marker(&request.body).0 == "stuck"));
    let sql = "select count(*) from andon.events, andon.lanes where id > position or pending @> id";
    assert_eq!(line.client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 1000, "the events stay in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_strict_order_a_delivery_is_dead_when_its_time_is_over_and_the_others_go_on() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer_containing("/hook", "stuck", Answer::status(422));
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"order": "strict", "retry": ["1s", "1s"]})).await;
    line.start();
    line.emit("acme", "stuck", 1).await;
    line.emit_all(3, 2).await;

    receiver.wait_accepted(PATIENCE, 6).await.unwrap();
    line.until("select count(*) = 1 and bool_and(state = 'dead') from andon.deliveries").await;
    assert_eq!(line.state(&lane, "running").await, "");
    line.stop().await.unwrap();
    assert_eq!(accepted(&receiver), logged(&line, 1).await);
    let tried: Vec<_> = receiver.received().iter().take_while(|it| marker(&it.body).0 == "stuck").cloned().collect();
    assert!(tried.len() > 2 && tried.len() < 6, "tried {} times within two seconds", tried.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_order_nothing_waits_behind_a_failed_delivery() {
    let receiver = Receiver::start().await.unwrap();
    for counter in [1, 2] {
        receiver.answer_containing("/hook", &format!(r#""counter": {counter}}}"#), Answer::status(500));
    }
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"order": "none", "retry": ["1s", "1h"]})).await;
    line.start();
    for counter in 1..=2 {
        line.emit("acme", "e", counter).await;
    }
    line.until("select count(*) = 2 and bool_and(state = 'retry') from andon.deliveries").await;
    line.emit("acme", "e", 3).await;
    receiver.wait_accepted(PATIENCE, 1).await.unwrap();
    line.stop().await.unwrap();
    line.start();
    line.emit("acme", "e", 4).await;

    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    line.until("select count(*) = 2 and bool_and(attempts = 2) from andon.deliveries").await;
    line.stop().await.unwrap();
    assert_eq!(accepted(&receiver), [("e".to_owned(), 3), ("e".to_owned(), 4)]);
    assert_eq!(line.parked(&lane).await, vec!["retry 2 answered 500: 500"; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_order_two_of_an_entity_are_tried_at_the_same_time() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/hook", Answer::hang());
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({"order": "none", "timeout": "1s", "retry": ["1ms", "1h"]})).await;
    line.start();

    line.run(&format!("begin; {}; {}; commit", emit(1), emit(2))).await;

    // The lane sends both from the log, and then both again from the ledger.
    receiver.wait_received(PATIENCE, 4).await.unwrap();
    line.stop().await.unwrap();
    let concurrent: Vec<_> = receiver.received().iter().map(|request| request.concurrent.len()).collect();
    assert_eq!(concurrent, [0, 1, 0, 1]);
}

fn emit(counter: u64) -> String {
    crate::support::line::emit_sql("acme", "e", counter)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_parked_while_the_one_before_it_is_being_settled_is_not_overtaken() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({"retry": ["1h"]})).await;
    line.start();
    line.emit("acme", "other", 1).await;
    line.until(ALL_DONE).await;
    receiver.answer_next("/hook", 1, &Answer::status(500));
    line.emit("acme", "e", 1).await;
    line.until("select count(*) = 1 from andon.deliveries").await;
    receiver.answer_next("/hook", 1, &Answer::status(200).after(Duration::from_millis(300)));
    line.run("update andon.deliveries set next_attempt_at = now(); select andon.notify_deliveries()").await;
    receiver.wait_received(PATIENCE, 3).await.unwrap();

    // The lane cannot write down yet that the first is delivered, and has to park the second behind it.
    let locker = connect(&line.url).await;
    locker.batch_execute("begin; select from andon.lanes for update").await.unwrap();
    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    line.emit("acme", "e", 2).await;
    line.emit("acme", "other", 2).await;
    receiver.wait_accepted(PATIENCE, 3).await.unwrap();
    locker.batch_execute("commit").await.unwrap();
    line.until("select not exists (select from andon.deliveries where (data->>'counter')::int = 1)").await;
    line.emit("acme", "e", 3).await;

    receiver.wait_accepted(PATIENCE, 5).await.unwrap();
    line.until("select count(*) = 0 from andon.deliveries").await;
    line.stop().await.unwrap();
    let mut got = accepted(&receiver);
    got.retain(|(entity, _)| entity == "e");
    assert_eq!(got.iter().map(|(_, counter)| *counter).collect::<Vec<_>>(), [1, 2, 3]);
}
