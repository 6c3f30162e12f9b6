//! The retained status topic: online while the lane is connected, offline when it is not, however it went.

use std::sync::Arc;

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Proxy;
use rig::Subscriber;
use rig::subscriber::Message;
use serde_json::Value;
use serde_json::json;

use crate::line::Line;
use crate::line::PATIENCE;

/// What each status message said, in order.
fn said(got: &[Arc<Message>]) -> Vec<bool> {
    let statuses = got.iter().filter(|message| message.topic.starts_with("andon/test/andon.mqtt_publishers_"));
    statuses.map(|message| serde_json::from_slice::<Value>(&message.payload).unwrap()["online"] == true).collect()
}

/// What somebody learns who comes now.
async fn retained(broker: &Mosquitto) -> bool {
    let late = Subscriber::start(broker.port()).await.unwrap();
    late.wait_until(PATIENCE, |got| !said(got).is_empty()).await.unwrap();
    let received = late.received();
    assert!(received[0].retain && received[0].topic.ends_with("/status"), "{received:?}");
    said(&received)[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_topic_says_whether_the_lane_is_connected() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let proxy = Proxy::start(broker.port()).await.unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    line.publisher(proxy.port(), json!({})).await;

    line.start();
    subscriber.wait_until(PATIENCE, |got| said(got) == [true]).await.unwrap();
    assert!(retained(&broker).await);

    proxy.refuse(true).await.unwrap();
    proxy.cut();
    subscriber.wait_until(PATIENCE, |got| said(got) == [true, false]).await.unwrap();
    assert!(!retained(&broker).await, "the last will spoke");

    proxy.refuse(false).await.unwrap();
    subscriber.wait_until(PATIENCE, |got| said(got) == [true, false, true]).await.unwrap();
    line.stop().await.unwrap();
    subscriber.wait_until(PATIENCE, |got| said(got) == [true, false, true, false]).await.unwrap();
    assert!(!retained(&broker).await, "it said so itself");
}
