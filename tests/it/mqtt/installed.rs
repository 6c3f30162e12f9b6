//! A mosquitto as it is installed: twenty publishes at a time, and packets that it fills before they leave.

use rig::Mosquitto;
use rig::MosquittoOptions;
use serde_json::json;

use super::chunk;
use crate::line::Line;

/// It keeps acknowledgements back until its last packet is confirmed. Who waits for more of them before the next publish gets twenty events
/// through in the 40 ms after which the kernel confirms by itself, and these in 80 seconds: later than anything is waited for here.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_that_a_broker_keeps_back_do_not_hold_up_a_backlog() {
    let broker = Mosquitto::start(&MosquittoOptions::as_installed()).unwrap();
    let mut line = Line::new().await;
    let publisher = line.publisher(broker.port(), json!({})).await;
    line.run(&chunk(10, 1, 4_000)).await;

    line.start();

    line.until(&format!("select exists (select from andon.lanes where lane = '{publisher}' and delivered = 40000)"))
        .await;
    line.stop().await.unwrap();
}
