//! Rows that change while the gateway runs. In: new, edited, deactivated and deleted webhooks. Out: whether each change takes effect
//! at once, leaves the other lanes alone, and loses no event that the lane holds in memory.

use std::time::Duration;
use std::time::Instant;

use rig::receiver::Answer;
use rig::receiver::Receiver;
use serde_json::json;

use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::SECRET;
use crate::support::line::judge_requests;
use crate::support::line::marker;
use crate::support::line::wait_for_requests;

/// Sooner than a daemon looks at all rows on its own, and than a request that hangs is given up. How soon it is on a machine that does nothing
/// else, `andon-lab bench lanes` measures.
const AT_ONCE: Duration = Duration::from_secs(10);

impl Line {
    /// Inserts a webhook without `start_at`, so that it starts with the events that come after it.
    async fn webhook_from_now(&self, url: &str, settings: &str) -> String {
        let row = self
            .client
            .query_one(
                "insert into andon.webhooks (tenant_id, url, secret_key, events, settings)
                values ('acme', $1, $2, '{*}', $3::text::jsonb) returning 'andon.webhooks/' || id",
                &[&url, &SECRET, &settings],
            )
            .await
            .unwrap();
        row.get(0)
    }

    async fn epoch(&self, lane: &str) -> i64 {
        self.client.query_one("select epoch from andon.lanes where lane = $1", &[&lane]).await.unwrap().get(0)
    }

    /// Changes the row of a lane's destination, and returns how long it took until the lane was replaced or gone.
    async fn changed(&self, lane: &str, change: &str) -> Duration {
        let before = self.epoch(lane).await;
        let row = lane.split_once('/').unwrap().1;
        self.run(&format!("{change} where id = '{row}'")).await;
        let started = Instant::now();
        self.until(&format!("select epoch > {before} from andon.lanes where lane = '{lane}'")).await;
        started.elapsed()
    }
}

/// Returns entity and counter of each request that was accepted on a path.
fn accepted(receiver: &Receiver, path: &str) -> Vec<(String, u64)> {
    receiver.accepted().iter().filter(|it| it.path == path).map(|it| marker(&it.body)).collect()
}

fn counters(last: u64) -> Vec<(String, u64)> {
    (1..=last).map(|counter| ("e".to_owned(), counter)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_webhook_starts_at_now() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/first"), json!({})).await;
    line.start();
    line.emit("acme", "past", 1).await;
    receiver.wait_accepted(PATIENCE, 1).await.unwrap();

    let lane = line.webhook_from_now(&receiver.url("/new"), "{}").await;
    let inserted = Instant::now();
    line.state(&lane, "running").await;
    let took = inserted.elapsed();
    line.emit("acme", "e", 1).await;

    receiver.wait_accepted(PATIENCE, 3).await.unwrap();
    line.stop().await.unwrap();
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(accepted(&receiver, "/new"), counters(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_webhook_is_another_one_at_once_and_its_neighbour_is_not_touched() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/old"), json!({})).await;
    let neighbour = line.webhook(&receiver.url("/neighbour"), json!({})).await;
    line.start();
    line.emit("acme", "e", 1).await;
    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    let epoch = line.epoch(&neighbour).await;

    let to = format!("update andon.webhooks set url = '{}'", receiver.url("/new"));
    let new_url = line.changed(&lane, &to).await;
    line.emit("acme", "e", 2).await;
    receiver.wait_accepted(PATIENCE, 4).await.unwrap();
    let other_events = line.changed(&lane, "update andon.webhooks set events = '{part.*}'").await;
    line.emit("acme", "e", 3).await;
    line.run(r#"select andon.emit('part.created', '{"entity": "p", "counter": 1}', 'acme', 'part', 'p')"#).await;

    receiver.wait_accepted(PATIENCE, 7).await.unwrap();
    line.stop().await.unwrap();
    assert!(new_url < AT_ONCE && other_events < AT_ONCE, "{new_url:?} {other_events:?}");
    assert_eq!(line.epoch(&neighbour).await, epoch);
    assert_eq!(accepted(&receiver, "/old"), counters(1));
    assert_eq!(accepted(&receiver, "/new"), [("e".to_owned(), 2), ("p".to_owned(), 1)]);
    let mut neighbour = accepted(&receiver, "/neighbour");
    neighbour.retain(|(entity, _)| entity == "e");
    assert_eq!(neighbour, counters(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_a_webhook_did_not_want_before_its_edit_do_not_come_after_it() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({})).await;
    line.webhook(&receiver.url("/neighbour"), json!({})).await;
    line.run("update andon.webhooks set events = '{part.*}' where url like '%/hook'").await;
    line.start();
    // The lane reads the second of them from the live stream, so it has caught up.
    for counter in 1..=2 {
        line.run("select andon.emit('part.created', '{\"entity\": \"p\", \"counter\": 1}', 'acme')").await;
        receiver.wait_accepted(PATIENCE, 2 * counter).await.unwrap();
    }
    line.until(&format!(
        "select position >= (select max(id) from andon.events) and isempty(pending) from andon.lanes where lane = '{lane}'"
    ))
    .await;
    line.emit("acme", "past", 1).await;
    receiver.wait_accepted(PATIENCE, 5).await.unwrap();

    line.changed(&lane, "update andon.webhooks set events = '{job.*}'").await;
    line.emit("acme", "e", 1).await;

    receiver.wait_accepted(PATIENCE, 7).await.unwrap();
    line.stop().await.unwrap();
    assert_eq!(accepted(&receiver, "/hook")[2..], counters(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deactivated_or_deleted_webhook_stops_at_once_while_others_go_on() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let deactivated = line.webhook(&receiver.url("/deactivated"), json!({})).await;
    let deleted = line.webhook(&receiver.url("/deleted"), json!({})).await;
    let other = line.webhook(&receiver.url("/other"), json!({})).await;
    line.start();
    line.emit("acme", "e", 1).await;
    receiver.wait_accepted(PATIENCE, 3).await.unwrap();
    let epoch = line.epoch(&other).await;

    let took = [
        line.changed(&deactivated, "update andon.webhooks set active = false").await,
        line.changed(&deleted, "delete from andon.webhooks").await,
    ];
    line.state(&deactivated, "removed").await;
    line.state(&deleted, "removed").await;
    line.emit("acme", "e", 2).await;

    receiver.wait_accepted(PATIENCE, 4).await.unwrap();
    line.stop().await.unwrap();
    assert!(took.iter().all(|took| *took < AT_ONCE), "{took:?}");
    assert_eq!(accepted(&receiver, "/deactivated"), counters(1));
    assert_eq!(accepted(&receiver, "/deleted"), counters(1));
    assert_eq!(accepted(&receiver, "/other"), counters(2));
    assert_eq!(line.epoch(&other).await, epoch);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_active_again_gets_nothing_twice() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let from_a_time = line.webhook(&receiver.url("/from-a-time"), json!({})).await;
    let from_now = line.webhook_from_now(&receiver.url("/from-now"), "{}").await;
    line.start();
    line.state(&from_now, "running").await;
    line.emit("acme", "e", 1).await;
    receiver.wait_accepted(PATIENCE, 2).await.unwrap();

    for lane in [&from_a_time, &from_now] {
        line.changed(lane, "update andon.webhooks set active = false").await;
        line.changed(lane, "update andon.webhooks set active = true").await;
    }
    line.emit("acme", "e", 2).await;

    receiver.wait_accepted(PATIENCE, 4).await.unwrap();
    line.stop().await.unwrap();
    assert_eq!(accepted(&receiver, "/from-a-time"), counters(2));
    assert_eq!(accepted(&receiver, "/from-now"), counters(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_about_to_be_disabled_can_be_edited_all_the_same() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer_containing("/gone", "slow", Answer::hang());
    receiver.answer("/gone", Answer::status(410));
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/gone"), json!({"timeout": "1m"})).await;
    line.start();
    line.emit("acme", "slow", 1).await;
    receiver.wait_received(PATIENCE, 1).await.unwrap();
    line.emit("acme", "e", 1).await;
    // The lane is disabled, and still waits for the slow request to end.
    line.state(&lane, "disabled").await;

    let to = format!("update andon.webhooks set url = '{}'", receiver.url("/new"));
    let took = line.changed(&lane, &to).await;

    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    line.stop().await.unwrap();
    assert!(took < AT_ONCE, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_hand_when_a_row_changes_goes_to_the_new_place_in_order() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/hangs", Answer::hang());
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hangs"), json!({"timeout": "1m", "concurrency": 4})).await;
    let expected = line.emit_all(20, 20).await;
    line.start();
    receiver.wait_received(PATIENCE, 4).await.unwrap();

    let to = format!("update andon.webhooks set url = '{}'", receiver.url("/new"));
    let took = line.changed(&lane, &to).await;

    wait_for_requests(&receiver, &expected).await;
    line.stop().await.unwrap();
    assert!(took < AT_ONCE, "{took:?}");
    let verdict = judge_requests(&expected, &receiver.accepted());
    assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
}
