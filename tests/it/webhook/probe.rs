//! A lane whose breaker is open must find out that its endpoint is back, whatever was done to its parked deliveries meanwhile. In: an
//! endpoint that fails, deliveries that are parked for hours, and people who retry, discard and delete them. Out: whether the lane goes
//! on, in order, with nothing lost.

use rig::receiver::Answer;
use rig::receiver::Receiver;
use serde_json::json;

use crate::command::run_andon;
use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::judge_requests;
use crate::support::line::marker;

/// A line whose one lane has opened its breaker; five events are parked for an hour.
async fn open_lane() -> (Receiver, Line, String) {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/hook", Answer::status(503));
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"retry": ["1h"], "concurrency": 1})).await;
    line.start();
    line.emit_all(5, 1).await;
    assert_eq!(line.state(&lane, "open").await, "answered 503: 503");
    line.until("select count(*) = 5 from andon.deliveries").await;
    (receiver, line, lane)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_whose_parked_deliveries_are_all_due_hours_away_probes_with_them() {
    let (receiver, mut line, lane) = open_lane().await;
    let tried = receiver.received().len();
    receiver.wait_received(PATIENCE, tried + 2).await.unwrap();

    receiver.answer("/hook", Answer::status(200));
    let probe = receiver.received().len();
    receiver.wait_accepted(PATIENCE, 1).await.unwrap();
    assert_eq!(line.state(&lane, "running").await, "");

    line.until("select count(*) = 4 and bool_and(attempts = 1) from andon.deliveries").await;
    line.until("select bool_and(next_attempt_at - parked_at > '50 min') from andon.deliveries").await;
    line.stop().await.unwrap();
    assert!(receiver.received().len() <= probe + 2, "the others keep their time");
    let probes: Vec<_> = receiver.received()[tried..].iter().map(|request| marker(&request.body).0).collect();
    assert_ne!(probes[0], probes[1], "they take turns: {probes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_delivery_that_its_endpoint_never_takes_is_not_the_only_one_to_probe_with() {
    let (receiver, mut line, lane) = open_lane().await;

    for entity in ["e1", "e2", "e3"] {
        receiver.answer_containing("/hook", &format!(r#""entity": "{entity}""#), Answer::status(422));
    }
    receiver.answer("/hook", Answer::status(200));

    receiver.wait_accepted(PATIENCE, 1).await.unwrap();
    assert_eq!(line.state(&lane, "running").await, "");
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_were_deleted_in_silence_hold_nothing_back() {
    let (receiver, mut line, _) = open_lane().await;
    // These wait behind the parked ones.
    line.emit_more(5, 1, 2).await;
    line.until("select count(*) = 10 from andon.deliveries").await;

    // Nobody tells the lane.
    line.run("delete from andon.deliveries where state = 'retry'").await;
    receiver.answer("/hook", Answer::status(200));

    line.until("select count(*) = 0 from andon.deliveries").await;
    line.emit_more(5, 2, 3).await;
    line.until(ALL_DONE).await;
    line.stop().await.unwrap();
    let mut got: Vec<_> = receiver.accepted().iter().map(|request| marker(&request.body).1).collect();
    // The lane may have had one of the deleted ones in hand.
    got.retain(|counter| *counter > 1);
    assert_eq!(got, [2, 2, 2, 2, 2, 3, 3, 3, 3, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_deliveries_go_once_nothing_is_left_that_they_could_wait_for() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/hook", Answer::status(503));
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({"retry": ["1h"]})).await;
    line.start();
    line.emit_all(3, 1).await;
    line.until("select count(*) = 3 from andon.deliveries").await;
    line.emit_more(3, 1, 2).await;
    line.until("select count(*) = 6 from andon.deliveries").await;
    receiver.answer("/hook", Answer::status(200));

    // Nobody tells the lane, which sees it with the next event of the third entity.
    line.run(
        "delete from andon.deliveries where state = 'retry' and entity_id <> 'e3';
        update andon.deliveries set next_attempt_at = now() where state = 'retry'",
    )
    .await;
    line.emit("acme", "e3", 3).await;

    line.until(&format!("select ({ALL_DONE}) and count(*) = 0 from andon.deliveries")).await;
    line.stop().await.unwrap();
    let mut got: Vec<_> = receiver.accepted().iter().map(|request| marker(&request.body)).collect();
    got.sort();
    let of = |entity: &str, counter| (entity.to_owned(), counter);
    assert_eq!(got, [of("e1", 2), of("e2", 2), of("e3", 1), of("e3", 2), of("e3", 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_whose_ledger_was_emptied_in_silence_goes_on_with_the_next_event() {
    let (receiver, mut line, _) = open_lane().await;

    line.run("delete from andon.deliveries").await;
    receiver.answer("/hook", Answer::status(200));
    line.emit_more(5, 1, 40).await;

    receiver.wait_accepted(PATIENCE, 39 * 5).await.unwrap();
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_whose_predecessor_was_deleted_in_silence_goes_with_the_next_event_of_its_entity() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer_containing("/hook", r#""counter": 1"#, Answer::status(503));
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({"retry": ["1h"]})).await;
    line.start();
    line.emit("acme", "e", 1).await;
    line.until("select count(*) = 1 from andon.deliveries").await;
    line.emit("acme", "e", 2).await;
    line.until("select count(*) = 2 from andon.deliveries").await;

    line.run("delete from andon.deliveries where state = 'retry'").await;
    line.emit("acme", "e", 3).await;

    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    line.stop().await.unwrap();
    let got: Vec<_> = receiver.accepted().iter().map(|request| marker(&request.body).1).collect();
    assert_eq!(got, [2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_parked_is_delivered_in_order_after_a_restart_and_a_retry_by_hand() {
    let (receiver, mut line, _) = open_lane().await;
    let expected = line.emit_more(5, 1, 3).await;
    line.until("select count(*) = 15 from andon.deliveries").await;
    line.stop().await.unwrap();
    receiver.answer("/hook", Answer::status(200));
    let ids = "select array_agg(id::text order by id) from andon.deliveries where state = 'retry'";
    let ids: Vec<String> = line.client.query_one(ids, &[]).await.unwrap().get(0);
    line.start();

    let twice = ids.iter().chain(&ids).map(String::as_str);
    let retried = run_andon(&line.url, &["deliveries", "retry"].into_iter().chain(twice).collect::<Vec<_>>());
    // The lane may have been faster.
    assert!(retried.status == 0 || retried.err.contains("is not parked"), "{retried:?}");

    receiver.wait_accepted(PATIENCE, 15).await.unwrap();
    line.until("select count(*) = 0 from andon.deliveries").await;
    line.stop().await.unwrap();
    let verdict = judge_requests(&expected, &receiver.accepted());
    assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
}
