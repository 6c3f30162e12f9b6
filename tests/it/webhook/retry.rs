//! Deliveries that fail at first. In: endpoints that fail in every way. Out: whether the schedule, `Retry-After`, 410 and the breaker work
//! as documented, and whether the ledger records each attempt.

use std::collections::BTreeMap;
use std::time::Duration;

use rig::receiver::Answer;
use rig::receiver::Receiver;
use serde_json::json;

use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::judge_requests;
use crate::support::line::marker;
use crate::support::line::wait_for_requests;
use crate::support::plant::connect;

impl Line {
    /// Returns the lane's attempts as `attempt outcome code`, the oldest first.
    async fn attempts(&self, lane: &str) -> Vec<String> {
        let sql = "select attempt || ' ' || outcome || ' ' || coalesce(code::text, '-') from andon.attempts
            where lane = $1 order by at, attempt";
        self.client.query(sql, &[&lane]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// Returns the position and the pending ids of a lane.
    pub(super) async fn cursor(&self, lane: &str) -> (i64, String) {
        let sql = "select position, pending::text from andon.lanes where lane = $1";
        let row = self.client.query_one(sql, &[&lane]).await.unwrap();
        (row.get(0), row.get(1))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_tried_by_its_schedule_and_dead_after_the_last_attempt() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer_containing("/hook", r#""counter": 1"#, Answer::status(500));
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"retry": ["1ms", "1ms"]})).await;
    line.start();

    line.emit("acme", "e", 1).await;
    line.emit("acme", "e", 2).await;

    receiver.wait_accepted(PATIENCE, 1).await.unwrap();
    line.stop().await.unwrap();
    assert_eq!(marker(&receiver.accepted()[0].body), ("e".to_owned(), 2), "the entity's next event goes on");
    assert_eq!(line.parked(&lane).await, ["dead 3 answered 500: 500"]);
    assert_eq!(line.attempts(&lane).await[..3], ["1 retry 500", "2 retry 500", "3 dead 500"]);
    assert_eq!(receiver.received().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_notes_about_the_ledger_keeps_no_delivery_from_its_time() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer_next("/hook", 1, &Answer::status(500));
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({"retry": ["1s"]})).await;
    line.start();
    let anyone = connect(&line.url).await;
    let flood = tokio::spawn(async move {
        loop {
            anyone.batch_execute("notify andon, 'deliveries'").await.unwrap();
        }
    });

    line.emit("acme", "e", 1).await;
    receiver.wait_accepted(PATIENCE, 1).await.unwrap();

    assert!(!flood.is_finished());
    flood.abort();
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_delivery_is_not_tried_before_the_time_that_its_receiver_asked_for() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer_next("/soon", 1, &Answer::status(429).retry_after("2"));
    receiver.answer_next("/late", 1, &Answer::status(429).retry_after("90"));
    let mut line = Line::new().await;
    let soon = line.webhook(&receiver.url("/soon"), json!({"retry": ["1ms"]})).await;
    let late = line.webhook(&receiver.url("/late"), json!({"retry": ["1ms"]})).await;
    line.start();

    line.emit("acme", "patient", 1).await;
    line.until("select count(*) = 2 from andon.deliveries").await;
    line.emit("acme", "other", 1).await;

    receiver.wait_accepted(PATIENCE, 3).await.unwrap();
    line.stop().await.unwrap();
    assert_eq!(line.attempts(&soon).await, ["1 retry 429", "2 delivered 200"]);
    let received = receiver.received();
    let at: Vec<_> = received
        .iter()
        .filter(|request| request.path == "/soon" && marker(&request.body).0 == "patient")
        .map(|request| request.at)
        .collect();
    assert!(at[1] - at[0] >= Duration::from_secs(2), "{:?}", at[1] - at[0]);
    assert_eq!(line.parked(&late).await, ["retry 1 answered 429: 429"]);
    line.until("select bool_and(next_attempt_at - parked_at >= '90 s') from andon.deliveries").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_410_disables_its_lane_alone_and_an_edited_row_goes_on_from_the_cursor() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/gone", Answer::status(410));
    let mut line = Line::new().await;
    let gone = line.webhook(&receiver.url("/gone"), json!({})).await;
    line.webhook(&receiver.url("/other"), json!({})).await;
    line.run("update andon.webhooks set events = '{job.*}' where url like '%/other'").await;
    line.start();
    line.emit("acme", "e", 1).await;
    assert_eq!(line.state(&gone, "disabled").await, "answered 410: 410");
    let tried = receiver.received().iter().filter(|request| request.path == "/gone").count();

    line.emit("acme", "e", 2).await;
    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    line.stop().await.unwrap();
    let cursor = line.cursor(&gone).await;
    line.start();
    line.emit("acme", "e", 3).await;
    receiver.wait_accepted(PATIENCE, 3).await.unwrap();

    assert_eq!(line.state(&gone, "disabled").await, "answered 410: 410");
    assert_eq!(line.cursor(&gone).await, cursor);
    assert_eq!(receiver.received().iter().filter(|request| request.path == "/gone").count(), tried);
    line.run(&format!(
        "update andon.webhooks set url = '{}' where url like '%/gone'; select andon.ring()",
        receiver.url("/moved")
    ))
    .await;
    receiver.wait_accepted(PATIENCE, 6).await.unwrap();
    assert_eq!(line.state(&gone, "running").await, "");
    line.stop().await.unwrap();
    let expected = BTreeMap::from([("e".to_owned(), 3)]);
    for path in ["/moved", "/other"] {
        let got: Vec<_> = receiver.accepted().into_iter().filter(|request| request.path == path).collect();
        let verdict = judge_requests(&expected, &got);
        assert!(verdict.is_clean() && verdict.duplicates == 0, "{path}: {verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_breaker_opens_probes_one_at_a_time_and_closes_with_nothing_lost() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/hook", Answer::status(503));
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"retry": ["1ms", "1ms", "1ms"], "concurrency": 4})).await;

    let expected = line.emit_all(30, 5).await;
    line.start();
    assert_eq!(line.state(&lane, "open").await, "answered 503: 503");
    // Five failures open the breaker. Requests that were in progress at the fifth failure may end after it.
    let opened = receiver.received().len();
    receiver.wait_received(PATIENCE, opened + 2).await.unwrap();
    let received = receiver.received();
    assert!(received.len() < 5 + 4 + 4, "{} attempts", received.len());
    assert!(received.iter().rev().take(2).all(|probe| probe.concurrent.is_empty()), "probes are made one at a time");
    receiver.answer("/hook", Answer::status(200).after(Duration::from_millis(20)));

    wait_for_requests(&receiver, &expected).await;
    assert_eq!(line.state(&lane, "running").await, "");
    line.stop().await.unwrap();
    let verdict = judge_requests(&expected, &receiver.accepted());
    assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
    assert!(receiver.accepted().iter().any(|request| request.concurrent.len() == 3), "as many at a time as before");
    assert_eq!(line.parked(&lane).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_costs_no_event_its_attempts() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/hook", Answer::status(503));
    let mut line = Line::new().await;
    // The schedule allows two attempts, so that a second failure would make a delivery dead.
    let lane = line.webhook(&receiver.url("/hook"), json!({"retry": ["1s"], "concurrency": 1})).await;
    line.emit_all(5, 1).await;
    line.start();
    line.state(&lane, "open").await;

    receiver.wait_received(PATIENCE, 5 + 3).await.unwrap();
    line.until("select count(*) = 5 and bool_and(state = 'retry' and attempts = 1) from andon.deliveries").await;
    receiver.answer("/hook", Answer::status(200));

    receiver.wait_accepted(PATIENCE, 5).await.unwrap();
    line.stop().await.unwrap();
    assert_eq!(line.parked(&lane).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_a_dead_endpoint_stay_in_the_log_even_if_their_entities_are_all_held() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/hook", Answer::status(503));
    let mut line = Line::new().await;
    let retry = ["1ms"; 9];
    let lane = line.webhook(&receiver.url("/hook"), json!({"retry": retry, "concurrency": 2})).await;
    line.start();
    line.emit_all(5, 1).await;
    line.state(&lane, "open").await;

    let expected = line.emit_more(5, 1, 60).await;
    let opened = receiver.received().len();
    receiver.wait_received(PATIENCE, opened + 2).await.unwrap();
    let parked = line.parked(&lane).await.len();
    receiver.answer("/hook", Answer::status(200));

    receiver.wait_accepted(PATIENCE, 300).await.unwrap();
    line.stop().await.unwrap();
    let verdict = judge_requests(&expected, &receiver.accepted());
    assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
    // The ledger may hold the first event of each entity, those that the lane may take while the breaker is open, and those that two
    // probes let in.
    assert!(parked <= 5 + 32 + 2 * 16, "{parked} of 300 were moved into the ledger");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_that_its_endpoint_cannot_take_does_not_keep_the_breaker_open() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer_containing("/hook", "poison", Answer::status(422));
    let mut line = Line::new().await;
    let retry = ["1ms"; 20];
    let lane = line.webhook(&receiver.url("/hook"), json!({"retry": retry, "concurrency": 1})).await;
    line.start();
    line.emit("acme", "poison", 1).await;
    assert_eq!(line.state(&lane, "open").await, "answered 422: 422");

    let expected = line.emit_all(5, 3).await;

    wait_for_requests(&receiver, &expected).await;
    line.stop().await.unwrap();
    let verdict = judge_requests(&expected, &receiver.accepted());
    assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
    assert!(line.parked(&lane).await[0].ends_with("answered 422: 422"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_event_that_its_endpoint_cannot_take_does_not_keep_the_breaker_open() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/hook", Answer::status(503));
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"retry": ["1h"], "concurrency": 1})).await;
    line.start();
    line.emit_all(5, 1).await;
    assert_eq!(line.state(&lane, "open").await, "answered 503: 503");
    line.until("select count(*) = 5 from andon.deliveries").await;

    receiver.answer_containing("/hook", "poison", Answer::status(422));
    // The parked ones go on to fail.
    receiver.answer_containing("/hook", r#""entity": "e"#, Answer::status(503));
    receiver.answer("/hook", Answer::status(200));
    line.emit("acme", "poison", 1).await;
    line.emit("acme", "healthy", 1).await;

    receiver.wait_accepted(PATIENCE, 1).await.unwrap();
    line.stop().await.unwrap();
    assert_eq!(marker(&receiver.accepted()[0].body), ("healthy".to_owned(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_deliveries_survive_a_restart_and_go_on_in_their_order() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/hook", Answer::status(503));
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"retry": ["1h"]})).await;
    line.start();
    for counter in 1..=3 {
        line.emit("acme", "e", counter).await;
    }
    line.until("select count(*) = 3 from andon.deliveries").await;
    line.stop().await.unwrap();
    let waits = "waiting 0 waits behind an earlier event of the same entity";
    assert_eq!(line.parked(&lane).await, ["retry 1 answered 503: 503", waits, waits]);

    receiver.answer("/hook", Answer::status(200));
    line.emit("acme", "e", 4).await;
    line.start();
    line.until("select count(*) = 4 from andon.deliveries").await;
    assert_eq!(
        receiver.accepted().len(),
        0,
        "no delivery is tried before its time, nor before an earlier one of its entity"
    );
    line.stop().await.unwrap();
    line.run("update andon.deliveries set next_attempt_at = now() where state = 'retry'").await;
    line.start();

    receiver.wait_accepted(PATIENCE, 4).await.unwrap();
    line.until("select count(*) = 0 from andon.deliveries").await;
    line.stop().await.unwrap();
    let verdict = judge_requests(&BTreeMap::from([("e".to_owned(), 4)]), &receiver.accepted());
    assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_probes_again_after_its_parked_deliveries_were_discarded() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/hook", Answer::status(503));
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"retry": ["1h"], "concurrency": 1})).await;
    line.start();
    line.emit_all(5, 1).await;
    assert_eq!(line.state(&lane, "open").await, "answered 503: 503");
    line.emit_more(5, 1, 30).await;
    line.until("select count(*) >= 5 + 16 from andon.deliveries").await;

    receiver.answer("/hook", Answer::status(200));
    line.run("begin; delete from andon.deliveries; select pg_notify('andon', 'deliveries'); commit").await;

    receiver.wait_accepted(PATIENCE, 100).await.unwrap();
    line.stop().await.unwrap();
}
