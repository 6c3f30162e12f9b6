//! `andon replay` to destinations to which nothing is delivered until somebody changes their rows. In: such destinations, before a replay is
//! asked for and while it runs. Out: whether the command says so at once, with what to do, and whether the replay goes on afterwards.

use rig::receiver::Answer;
use rig::receiver::Receiver;
use serde_json::json;

use crate::command::run_andon;
use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;

const REPLAY: [&str; 5] = ["replay", "--destination", "erp", "--since", "1h"];

/// Creates a line whose webhook has received 10 events.
async fn ten_delivered(receiver: &Receiver) -> (Line, String) {
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"retry": ["1h"]})).await;
    line.run("update andon.webhooks set name = 'erp'").await;
    line.start();
    line.emit_all(10, 1).await;
    receiver.wait_accepted(PATIENCE, 10).await.unwrap();
    line.until(ALL_DONE).await;
    (line, lane)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_of_a_destination_that_stands_still() {
    let receiver = Receiver::start().await.unwrap();
    let (mut line, lane) = ten_delivered(&receiver).await;
    receiver.answer("/hook", Answer::status(410));
    line.emit("acme", "e", 1).await;
    line.state(&lane, "disabled").await;

    let disabled = run_andon(&line.url, &REPLAY);
    let check = run_andon(&line.url, &["check"]);
    // Its row is changed, and the lane has not seen that yet: what it said before is said no more.
    line.stop().await.unwrap();
    line.run(r#"update andon.webhooks set settings = settings || '{"paused": true}'"#).await;
    let paused = run_andon(&line.url, &REPLAY);
    line.run("update andon.webhooks set settings = settings - 'paused', active = false").await;
    let inactive = run_andon(&line.url, &REPLAY);

    let asked: i64 = line.client.query_one("select count(*) from andon.replays", &[]).await.unwrap().get(0);
    assert_eq!(asked, 0);
    assert!(disabled.status == 1 && disabled.err.contains("`erp` is disabled (answered 410: 410"), "{disabled:?}");
    assert!(
        disabled.err.contains("; mend that, change its row so that it is tried again, and repeat this"),
        "{disabled:?}"
    );
    assert!(check.out.contains("; mend that, and change its row so that it is tried again\n"), "{}", check.out);
    assert!(paused.status == 1 && paused.err.contains("`erp` is paused; take settings.paused out"), "{paused:?}");
    assert!(inactive.status == 1 && inactive.err.contains("is not active; nothing can be delivered"), "{inactive:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_whose_destination_stands_still_meanwhile_says_so_and_goes_on_when_it_is_changed() {
    for (change, trouble, back) in [
        ("settings = settings || '{\"paused\": true}'", "paused", "settings = settings - 'paused'"),
        ("settings = settings || '{\"timeout\": 0}'", "misconfigured", "settings = settings - 'timeout'"),
        ("active = false", "its destination is gone or not active", "active = true"),
        ("name = 'erp'", "disabled: ", "settings = settings || '{\"timeout\": \"9s\"}'"),
    ] {
        let receiver = Receiver::start().await.unwrap();
        let (mut line, _) = ten_delivered(&receiver).await;
        let status = if trouble.starts_with("disabled") { 410 } else { 503 };
        receiver.answer("/hook", Answer::status(status));

        let url = line.url.clone();
        let replay = tokio::task::spawn_blocking(move || run_andon(&url, &REPLAY));
        receiver.requests().wait_for_count(PATIENCE, 11).await.unwrap();
        line.run(&format!("update andon.webhooks set {change}")).await;
        let run = tokio::time::timeout(PATIENCE, replay).await.expect("it does not wait without end").unwrap();
        receiver.answer("/hook", Answer::status(200));
        line.run(&format!("update andon.webhooks set {back}; update andon.deliveries set next_attempt_at = now() where state = 'retry'")).await;
        line.run("select andon.notify_deliveries()").await;

        assert!(run.status == 1 && run.out.contains(trouble), "{run:?}");
        assert!(run.err.contains("replay 1 stands still until the row of its destination is changed"), "{run:?}");
        receiver.wait_accepted(PATIENCE, 20).await.unwrap();
        line.until("select state = 'done' from andon.replays").await;
        line.stop().await.unwrap();
    }
}
