//! A mosquitto with the settings of its package, which takes twenty publishes at a time and lets the kernel delay small packets. In: a
//! backlog. Out: whether the lane drains it without waiting for acknowledgements that the broker's kernel keeps back.

use std::time::Duration;
use std::time::Instant;

use rig::Mosquitto;
use rig::MosquittoOptions;
use serde_json::json;

use super::chunk;
use crate::support::line::Line;

const EVENTS: u32 = 10_000;

/// Such a broker keeps acknowledgements back until its last packet is confirmed. A lane that waits for more of them before it publishes the
/// next event delivers only twenty events in each 40 ms, the time after which the kernel confirms a packet anyway. That costs twenty
/// seconds here on any machine. The broker that keeps nothing back shows how long the rest takes on this machine.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_that_a_broker_keeps_back_do_not_hold_up_a_backlog() {
    let at_once = drain(&MosquittoOptions::default()).await;
    let kept_back = drain(&MosquittoOptions::as_installed()).await;

    let held_up = Duration::from_millis(40) * (EVENTS / 20);
    assert!(kept_back < at_once + held_up / 2, "{kept_back:?} instead of {at_once:?}");
}

/// Measures how long the lane takes to deliver a backlog.
async fn drain(options: &MosquittoOptions) -> Duration {
    let broker = Mosquitto::start(options).unwrap();
    let mut line = Line::new().await;
    let publisher = line.publisher(broker.port(), json!({})).await;
    line.run(&chunk(10, 1, u64::from(EVENTS) / 10)).await;

    let started = Instant::now();
    line.start();
    line.until(&format!("select exists (select from andon.lanes where lane = '{publisher}' and delivered = {EVENTS})"))
        .await;
    let took = started.elapsed();
    line.stop().await.unwrap();
    took
}
