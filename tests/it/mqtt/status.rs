//! The retained status topic: online while the lane is connected, offline when it is not, however it went.

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Proxy;
use rig::Subscriber;
use rig::record::Follower;
use rig::subscriber::Message;
use serde_json::Value;
use serde_json::json;
use tokio::time::timeout;

use crate::support::line::Line;
use crate::support::line::PATIENCE;

/// What a status message says; nothing if it is none.
fn said(message: &Message) -> Option<bool> {
    let is_status = message.topic.starts_with("andon/test/andon.mqtt_publishers_");
    is_status.then(|| serde_json::from_slice::<Value>(&message.payload).unwrap()["online"] == true)
}

/// Waits for the next thing that is said.
async fn next(messages: &mut Follower<Message>) -> bool {
    let said = async {
        loop {
            if let Some(online) = said(&*messages.next().await) {
                return online;
            }
        }
    };
    timeout(PATIENCE, said).await.expect("something is said")
}

/// What somebody learns who comes now.
async fn retained(broker: &Mosquitto) -> bool {
    let late = Subscriber::start(broker.port()).await.unwrap();
    late.wait_received(PATIENCE, 1).await.unwrap();
    let received = late.received();
    assert!(received[0].retain && received[0].topic.ends_with("/status"), "{received:?}");
    said(&received[0]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_topic_says_whether_the_lane_is_connected() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let proxy = Proxy::start(broker.port()).await.unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut statuses = subscriber.messages().follow();
    let mut line = Line::new().await;
    line.publisher(proxy.port(), json!({})).await;

    line.start();
    assert!(next(&mut statuses).await);
    assert!(retained(&broker).await);

    proxy.refuse(true).await.unwrap();
    proxy.cut();
    assert!(!next(&mut statuses).await);
    assert!(!retained(&broker).await, "the last will spoke");

    proxy.refuse(false).await.unwrap();
    assert!(next(&mut statuses).await);
    line.stop().await.unwrap();
    assert!(!next(&mut statuses).await);
    assert!(!retained(&broker).await, "it said so itself");
}
