//! Deliveries that the ledger does not take. In: entities that are too long for an index, and a ledger that refuses what it is to hold.
//! Out: whether only the delivery in question suffers, and whether a lane that cannot write its progress says so.

use rig::receiver::Answer;
use rig::receiver::Receiver;
use rig::scripted_endpoint::ScriptedEndpoint;
use rig::scripted_endpoint::Step;
use serde_json::json;

use crate::command::run_andon;
use crate::support::daemon::start;
use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::marker;
use crate::support::role;

/// A line whose endpoint fails for the counter 1, so that the first event of each entity is parked.
async fn line_that_parks() -> (Receiver, Line, String) {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer_containing("/hook", r#""counter": 1"#, Answer::status(503));
    let line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"retry": ["1h"]})).await;
    (receiver, line, lane)
}

/// Writes an event into the log as it is, as a trigger does.
async fn log(line: &Line, entity: &str, counter: u32) {
    let data = json!({"entity": "e", "counter": counter}).to_string();
    let sql = "insert into andon.events (tenant, type, entity_type, entity_id, data) values ('acme', 'job.made', 'job', $1, $2::text::jsonb)";
    line.client.execute(sql, &[&entity, &data]).await.unwrap();
    line.run("select andon.ring()").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entity_of_any_length_is_parked_in_its_order() {
    let (receiver, mut line, lane) = line_that_parks().await;
    // What does not repeat itself cannot be compressed either.
    let long: String = (0..1500).map(|_| format!("{:04x}", rand::random::<u16>())).collect();
    let other = format!("{}!", &long[..5999]);
    // The log of an earlier version holds such events.
    line.run("alter table andon.events drop constraint type_tenant_and_entity_have_512_bytes_at_most").await;
    line.start();
    log(&line, &long, 1).await;
    log(&line, &other, 1).await;
    line.until("select count(*) = 2 from andon.deliveries where state = 'retry'").await;
    log(&line, &long, 2).await;
    line.until("select count(*) = 3 from andon.deliveries").await;
    assert_eq!(receiver.accepted().len(), 0, "the second waits for the first");

    line.run("delete from andon.deliveries where event = 1; select andon.notify_deliveries()").await;

    receiver.wait_accepted(PATIENCE, 1).await.unwrap();
    line.until("select count(*) = 1 from andon.deliveries").await;
    line.until(ALL_DONE).await;
    line.stop().await.unwrap();
    assert_eq!(line.state(&lane, "running").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_the_ledger_refuses_is_dead_and_the_others_are_parked() {
    let (receiver, mut line, lane) = line_that_parks().await;
    line.run(
        "alter table andon.deliveries add constraint no_poison check (entity_id <> 'poison' or state = 'dead');
        alter table andon.deliveries add constraint short check (length(entity_id) <= 64)",
    )
    .await;
    for entity in ["a", "poison", &"long".repeat(100), "b"] {
        log(&line, entity, 1).await;
    }
    line.start();
    line.until("select count(*) = 4 from andon.deliveries").await;
    // The entities of those that are dead are not held.
    for entity in ["poison", &"long".repeat(100)] {
        log(&line, entity, 2).await;
    }

    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    line.until(ALL_DONE).await;
    line.stop().await.unwrap();
    let parked = line.parked(&lane).await;
    let refused =
        "dead 1 answered 503: 503; it cannot be parked: new row for relation \"deliveries\" violates check constraint";
    assert_eq!([&parked[0], &parked[3]], ["retry 1 answered 503: 503"; 2]);
    assert_eq!(parked[1], format!("{refused} \"no_poison\""));
    let bare = "this is event 3 of the log without its data, so that no retry delivers it: `andon replay` does while the log has it";
    assert_eq!(parked[2], format!("{refused} \"short\"; {bare}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_whose_progress_cannot_be_written_says_so_and_goes_on_when_it_can() {
    let (receiver, mut line, lane) = line_that_parks().await;
    let other = line.webhook(&receiver.url("/other"), json!({})).await;
    line.run("alter table andon.deliveries add constraint nothing check (false)").await;
    line.start();
    line.emit("acme", "e", 1).await;

    let reason = line.state(&lane, "retrying").await;
    let check = run_andon(&line.url, &["check"]);
    line.emit("acme", "f", 2).await;
    receiver.acceptances().wait_for_matching(PATIENCE, 2, |it| it.path == "/other").await.unwrap();
    assert_eq!(line.state(&other, "running").await, "");

    line.run("alter table andon.deliveries drop constraint nothing").await;
    assert_eq!(line.state(&lane, "running").await, "");
    receiver.acceptances().wait_for_matching(PATIENCE, 1, |it| it.path == "/hook").await.unwrap();
    line.stop().await.unwrap();
    assert!(reason.starts_with("cannot write its progress: ") && reason.contains("\"nothing\""), "{reason}");
    assert!(check.status == 1 && check.out.contains("takes no more events: it cannot write its progress"), "{check:?}");
    // It is dead if the constraint went between two tries to park it.
    let parked = line.parked(&lane).await;
    assert!(parked.len() == 1 && parked[0].contains(" 1 answered 503: 503"), "{parked:?}");
    assert_eq!(receiver.accepted().iter().filter(|it| it.path == "/hook").map(|it| marker(&it.body).1).max(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_whose_role_may_not_park_says_that_it_has_stopped_and_goes_on_with_the_rights() {
    let (receiver, mut line, lane) = line_that_parks().await;
    line.run("revoke execute on function andon.park from andon_run").await;
    line.start();
    line.emit("acme", "e", 1).await;

    let reason = line.state(&lane, "retrying").await;
    let check = run_andon(&line.url, &["check"]);
    line.emit("acme", "f", 2).await;
    role::grant(&line.client).await;

    assert_eq!(line.state(&lane, "running").await, "");
    receiver.wait_accepted(PATIENCE, 1).await.unwrap();
    line.stop().await.unwrap();
    assert!(reason.contains("permission denied for function park; ") && reason.contains("`andon grants`"), "{reason}");
    assert!(check.out.contains("takes no more events: it cannot write its progress: "), "{check:?}");
    assert_eq!(line.parked(&lane).await, ["retry 1 answered 503: 503"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_whose_role_may_not_tell_others_is_disabled_all_the_same() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/gone", Answer::status(410));
    let line = Line::new().await;
    let gone = line.webhook(&receiver.url("/gone"), json!({})).await;
    line.run("revoke execute on function andon.emit_disabled from andon_run").await;
    let daemon = start(&line.url).await;
    line.emit("acme", "e", 1).await;

    let reason = line.state(&gone, "disabled").await;
    daemon.stop().await.unwrap();

    assert_eq!(reason, "answered 410: 410");
    let log = daemon.log();
    let told: Vec<&str> = log.lines().filter(|it| it.contains("permission denied")).collect();
    assert!(told.len() == 1 && told[0].contains("ERROR") && told[0].contains("`andon grants`"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_endpoint_says_is_written_down_even_if_the_database_cannot_hold_its_letters() {
    let answer = "HTTP/1.1 503 Busy\r\ncontent-length: 15\r\n\r\n\u{fc}berlastet \u{2713}";
    let endpoint = ScriptedEndpoint::start(move |_| vec![Step::send(answer)]).await.unwrap();
    let mut line = Line::new().await;
    let lane = line.webhook(&endpoint.url(), json!({"retry": ["1h"]})).await;
    // So does a database whose encoding is not UTF-8.
    line.run(
        "alter table andon.deliveries add constraint ascii check (length(reason) = octet_length(reason));
        alter table andon.attempts add constraint ascii check (length(excerpt) = octet_length(excerpt));
        alter table andon.lanes add constraint ascii check (length(reason) = octet_length(reason))",
    )
    .await;
    line.start();
    line.emit_all(5, 1).await;

    let reason = line.state(&lane, "open").await;
    line.until("select count(*) = 5 from andon.deliveries where state = 'retry'").await;
    line.until("select count(*) >= 5 from andon.attempts").await;
    line.stop().await.unwrap();
    assert_eq!(reason, r"answered 503: \u{fc}berlastet \u{2713}");
    assert_eq!(line.parked(&lane).await[0], r"retry 1 answered 503: \u{fc}berlastet \u{2713}");
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_cannot_be_recorded_hold_nothing_back() {
    let (receiver, mut line, lane) = line_that_parks().await;
    line.run("alter table andon.attempts add constraint nothing check (false)").await;
    line.start();
    line.emit("acme", "e", 1).await;
    line.until("select count(*) = 1 from andon.deliveries").await;

    line.emit("acme", "f", 2).await;

    receiver.wait_accepted(PATIENCE, 1).await.unwrap();
    line.until(ALL_DONE).await;
    assert_eq!(line.state(&lane, "running").await, "");
    line.stop().await.unwrap();
    assert_eq!(line.parked(&lane).await, ["retry 1 answered 503: 503"]);
}
