//! Destinations that are switched off and on, and those that are paused. In: changes of their rows. Out: what they get, what they pass over,
//! and what the log says of it.

use std::time::Duration;

use rig::Daemon;
use serde_json::json;

use super::line_with_a_neighbour;
use super::the_neighbour_gets;
use crate::command::run_andon;
use crate::support::daemon::start;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::marker;

/// Waits until the daemon's log has a line with all of these texts.
async fn logged(daemon: &Daemon, texts: &[&str]) {
    let mut clock = tokio::time::interval(Duration::from_millis(50));
    let has_line = async {
        while !daemon.log().lines().any(|line| texts.iter().all(|text| line.contains(text))) {
            clock.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, has_line)
        .await
        .unwrap_or_else(|_| panic!("no line with {texts:?} in\n{}", daemon.log()));
}

impl Line {
    async fn set(&self, lane: &str, change: &str) {
        let id = lane.rsplit('/').next().unwrap();
        self.run(&format!("update andon.webhooks set {change} where id = '{id}'")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_was_switched_off_passes_over_what_happened_and_the_log_says_how_much() {
    let (line, receiver) = line_with_a_neighbour().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({})).await;
    // Without a time to start at, it begins now, and begins anew when it is switched on again.
    line.set(&lane, "events = '{job.*}', settings = '{}'").await;
    let daemon = start(&line.url).await;
    line.state(&lane, "running").await;
    line.emit("acme", "e", 1).await;
    receiver.acceptances().wait_for_matching(PATIENCE, 1, |it| it.path == "/hook").await.unwrap();

    line.set(&lane, "active = false").await;
    line.state(&lane, "removed").await;
    logged(&daemon, &["INFO", &lane, "not active any more"]).await;
    the_neighbour_gets(&line, &receiver, 2).await;
    the_neighbour_gets(&line, &receiver, 3).await;
    // These are none that it would have got.
    line.run("select andon.emit('part.created', '{\"entity\": \"e\", \"counter\": 0}', 'acme'), andon.emit('job.created', '{}', 'rival')").await;
    the_neighbour_gets(&line, &receiver, 4).await;
    line.set(&lane, "active = true").await;
    line.state(&lane, "running").await;
    logged(&daemon, &["INFO", &lane, "active again", "passed_over=3"]).await;
    the_neighbour_gets(&line, &receiver, 5).await;

    receiver.acceptances().wait_for_matching(PATIENCE, 2, |it| it.path == "/hook").await.unwrap();
    daemon.stop().await.unwrap();
    let got: Vec<u64> =
        receiver.accepted().iter().filter(|it| it.path == "/hook").map(|it| marker(&it.body).1).collect();
    assert_eq!(got, [1, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_paused_keeps_its_place() {
    let (mut line, receiver) = line_with_a_neighbour().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({})).await;
    line.start();
    line.emit("acme", "e", 1).await;
    receiver.acceptances().wait_for_matching(PATIENCE, 1, |it| it.path == "/hook").await.unwrap();

    line.set(&lane, r#"settings = settings || '{"paused": true}'"#).await;
    let reason = line.state(&lane, "paused").await;
    the_neighbour_gets(&line, &receiver, 2).await;
    let check = run_andon(&line.url, &["check"]);
    line.stop().await.unwrap();
    line.start();
    the_neighbour_gets(&line, &receiver, 3).await;
    let state = line.state(&lane, "paused").await;
    let got = receiver.accepted().iter().filter(|it| it.path == "/hook").count();
    line.set(&lane, r#"settings = settings || '{"paused": false}'"#).await;

    receiver.acceptances().wait_for_matching(PATIENCE, 3, |it| it.path == "/hook").await.unwrap();
    line.stop().await.unwrap();
    assert_eq!((reason.as_str(), state.as_str(), got), ("settings.paused is true", "settings.paused is true", 1));
    assert!(check.status == 0 && check.out.contains("is paused since"), "{check:?}");
    let got: Vec<u64> =
        receiver.accepted().iter().filter(|it| it.path == "/hook").map(|it| marker(&it.body).1).collect();
    assert_eq!(got, [1, 2, 3]);
}
