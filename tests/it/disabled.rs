//! Destinations are disabled when they answer 410 or have failed for a week. In: failures that began some time ago. Out: the state with its
//! reason, the event that tells the tenant's other destinations, and what is delivered after the row was changed.

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Proxy;
use rig::Subscriber;
use rig::receiver::Answer;
use rig::receiver::Received;
use rig::receiver::Receiver;
use serde_json::Value;
use serde_json::json;

use crate::support::line::Line;
use crate::support::line::PATIENCE;

impl Line {
    /// Makes the database believe that the lane has been failing for this time.
    async fn failing_for(&self, lane: &str, time: &str) {
        let failing = format!("select from andon.lanes where lane = '{lane}' and failing_since is not null");
        self.until(&format!("select exists ({failing})")).await;
        self.run(&format!("update andon.lanes set failing_since = now() - interval '{time}' where lane = '{lane}'"))
            .await;
    }

    async fn is_failing(&self, lane: &str) -> bool {
        let sql = "select failing_since is not null from andon.lanes where lane = $1";
        self.client.query_one(sql, &[&lane]).await.unwrap().get(0)
    }
}

/// Returns the events about disabled destinations among the requests on a path.
fn news(received: &[std::sync::Arc<Received>], path: &str) -> Vec<Value> {
    let bodies = received.iter().filter(|request| request.path == path);
    let bodies = bodies.map(|request| serde_json::from_slice::<Value>(&request.body).unwrap());
    bodies.filter(|body| body["type"] == "andon.destination.disabled").collect()
}

fn is_news(received: &Received) -> bool {
    String::from_utf8_lossy(&received.body).contains("andon.destination.disabled")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_failed_for_a_week_is_disabled_until_its_row_changes_and_the_others_are_told() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/hook", Answer::status(503));
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"retry": ["1h"]})).await;
    let other = line.webhook(&receiver.url("/other"), json!({})).await;
    line.webhook_of("rival", &receiver.url("/rival"), json!({})).await;
    line.start();
    line.emit_all(10, 1).await;
    line.failing_for(&lane, "6 days").await;
    // The time of failing survives a restart, and six days are not enough to disable the lane.
    line.stop().await.unwrap();
    line.start();
    line.state(&lane, "open").await;
    line.failing_for(&lane, "8 days").await;
    line.stop().await.unwrap();
    line.start();

    let reason = line.state(&lane, "disabled").await;
    receiver.acceptances().wait_for(PATIENCE, is_news).await.unwrap();
    let tried = receiver.received().len();
    line.stop().await.unwrap();
    line.start();
    assert_eq!(line.state(&lane, "disabled").await, reason);
    receiver.answer("/hook", Answer::status(200));
    line.run(r#"update andon.webhooks set settings = settings || '{"timeout": "9s"}' where url like '%/hook'"#).await;
    line.run("update andon.deliveries set next_attempt_at = now() where state = 'retry'; select pg_notify('andon', 'deliveries')")
        .await;

    receiver.acceptances().wait_for_matching(PATIENCE, 10, |it| it.path == "/hook").await.unwrap();
    line.until(&format!("select failing_since is null and state = 'running' from andon.lanes where lane = '{lane}'"))
        .await;
    line.emit("acme", "last", 1).await;
    receiver.acceptances().wait_for_matching(PATIENCE, 11, |it| it.path == "/hook").await.unwrap();
    line.stop().await.unwrap();
    assert_eq!(reason, "it took nothing for 7 days; the last: answered 503: 503");
    assert!(receiver.received().len() > tried);
    let received = receiver.received();
    assert!(news(&received, "/hook").is_empty() && news(&received, "/rival").is_empty());
    let reports = news(&received, "/other");
    assert_eq!(reports.len(), 1);
    let (report, data) = (&reports[0], &reports[0]["data"]);
    assert_eq!(report["entity"], json!({"type": "destination", "id": lane}));
    assert_eq!((&data["lane"], &data["kind"], &data["reason"]), (&json!(lane), &json!("webhook"), &json!(reason)));
    assert_eq!(data["name"], receiver.url(&format!("#{}", lane.split_once('/').unwrap().1)));
    let since: jiff::Timestamp = data["since"].as_str().unwrap().parse().unwrap();
    let occurred: jiff::Timestamp = report["timestamp"].as_str().unwrap().parse().unwrap();
    assert_eq!(occurred.duration_since(since).as_hours() / 24, 8);
    assert!(!line.is_failing(&other).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_failed_for_a_week_is_disabled_until_its_row_changes_and_the_others_are_told() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(1, json!({})).await;
    line.webhook(&receiver.url("/other"), json!({})).await;
    line.start();
    line.emit("acme", "e", 1).await;
    line.failing_for(&lane, "8 days").await;

    let reason = line.state(&lane, "disabled").await;
    receiver.acceptances().wait_for(PATIENCE, is_news).await.unwrap();
    line.run(&format!("update andon.mqtt_publishers set port = {}", broker.port())).await;
    subscriber.messages().wait_for(PATIENCE, |it| it.topic.starts_with("acme/e/")).await.unwrap();

    line.until(&format!("select failing_since is null and state = 'running' from andon.lanes where lane = '{lane}'"))
        .await;
    line.stop().await.unwrap();
    assert!(reason.starts_with("it took nothing for 7 days; the last: "), "{reason}");
    let reports = news(&receiver.received(), "/other");
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0]["data"]["kind"], "mqtt");
    assert!(!subscriber.received().iter().any(|it| it.topic.contains("disabled")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_410_tells_the_tenants_other_destinations_once() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer_containing("/gone", "slow", Answer::status(503).after(std::time::Duration::from_millis(500)));
    receiver.answer("/gone", Answer::status(410));
    let mut line = Line::new().await;
    let gone = line.webhook(&receiver.url("/gone"), json!({"concurrency": 16})).await;
    line.webhook(&receiver.url("/other"), json!({})).await;
    line.start();
    // These attempts are under way when the lane is disabled. They fail, and must not disable it a second time.
    let slow: String = (0..8)
        .map(|entity| format!("{};", crate::support::line::emit_sql("acme", &format!("slow{entity}"), 1)))
        .collect();
    line.run(&slow).await;
    receiver.requests().wait_for_matching(PATIENCE, 8, |it| it.path == "/gone").await.unwrap();
    line.emit("acme", "e", 1).await;

    line.state(&gone, "disabled").await;
    line.until(&format!("select count(*) = 5 from andon.deliveries where lane = '{gone}'")).await;
    line.emit("acme", "e", 2).await;

    receiver.wait_accepted(PATIENCE, 11).await.unwrap();
    assert_eq!(line.state(&gone, "disabled").await, "answered 410: 410");
    line.stop().await.unwrap();
    let reports = news(&receiver.received(), "/other");
    assert_eq!(reports.len(), 1);
    assert_eq!(
        (&reports[0]["data"]["lane"], &reports[0]["data"]["reason"]),
        (&json!(gone), &json!("answered 410: 410"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_in_which_nobody_tried_is_not_held_against_a_destination() {
    let mut line = Line::new().await;
    let lane = line.publisher(1, json!({})).await;
    line.start();
    line.failing_for(&lane, "1 day").await;
    line.stop().await.unwrap();
    line.run(
        "update andon.lanes set failing_since = now() - interval '15 days', failed_at = now() - interval '14 days'",
    )
    .await;

    line.start();

    line.until("select failed_at > now() - interval '1 hour' from andon.lanes").await;
    line.state(&lane, "retrying").await;
    line.stop().await.unwrap();
    line.until("select failing_since > now() - interval '1 hour' from andon.lanes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_was_away_on_purpose_begins_anew() {
    let mut line = Line::new().await;
    let lane = line.publisher(1, json!({})).await;
    line.start();
    line.failing_for(&lane, "1 day").await;
    line.run("update andon.mqtt_publishers set active = false").await;
    line.state(&lane, "removed").await;
    line.failing_for(&lane, "8 days").await;

    line.run("update andon.mqtt_publishers set active = true").await;

    line.state(&lane, "retrying").await;
    line.until("select failing_since > now() - interval '1 hour' from andon.lanes").await;
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_ends_the_failure_after_a_restart_too() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let proxy = Proxy::start(broker.port()).await.unwrap();
    proxy.refuse(true).await.unwrap();
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/hook", Answer::status(503));
    let mut line = Line::new().await;
    let lanes = [
        line.publisher(proxy.port(), json!({})).await,
        line.webhook(&receiver.url("/hook"), json!({"retry": ["1s", "1s", "1s"]})).await,
    ];
    line.emit_all(10, 1).await;
    line.start();
    for lane in &lanes {
        line.failing_for(lane, "6 days").await;
    }
    line.stop().await.unwrap();
    proxy.refuse(false).await.unwrap();
    receiver.answer("/hook", Answer::status(200));

    line.start();

    line.until("select count(*) = 2 and bool_and(failing_since is null) from andon.lanes").await;
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_an_outage_keeps_since_and_costs_no_event_an_attempt() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/away", Answer::status(503));
    receiver.answer("/gone", Answer::status(410));
    let mut line = Line::new().await;
    let away = line.webhook(&receiver.url("/away"), json!({"retry": ["1h"], "concurrency": 1})).await;
    let gone = line.webhook_of("rival", &receiver.url("/gone"), json!({})).await;
    line.start();
    line.emit_all(20, 1).await;
    line.emit("rival", "e", 1).await;
    assert_eq!(line.state(&away, "open").await, "answered 503: 503");
    line.state(&gone, "disabled").await;
    line.stop().await.unwrap();
    let shown =
        "select string_agg(concat_ws(' ', lane, state, reason, state_since), '; ' order by lane) from andon.lanes";
    let (before, parked) = (line.text(shown).await, line.parked(&away).await);
    let epoch: i64 = line.client.query_one("select max(epoch) from andon.lanes", &[]).await.unwrap().get(0);
    let tried = receiver.received().iter().filter(|it| it.path == "/away").count();

    line.start();
    line.until(&format!("select bool_and(epoch > {epoch}) from andon.lanes")).await;
    receiver.requests().wait_for_matching(PATIENCE, tried + 2, |it| it.path == "/away").await.unwrap();
    line.stop().await.unwrap();

    assert_eq!(line.text(shown).await, before);
    assert_eq!(line.parked(&away).await, parked);
    receiver.answer("/away", Answer::status(200));
    line.start();
    assert_eq!(line.state(&away, "running").await, "");
    receiver.acceptances().wait_for_matching(PATIENCE, 20 - parked.len(), |it| it.path == "/away").await.unwrap();
    line.stop().await.unwrap();
}
