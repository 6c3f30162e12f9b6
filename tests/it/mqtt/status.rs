//! The retained status topic. In: a lane that connects, is cut off, and stops. Out: whether the topic says online while the lane is
//! connected and offline otherwise, both after a cut and after a stop.

use std::collections::HashSet;

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

/// Returns what a status message says: true for online. Other messages give `None`.
fn status(message: &Message) -> Option<bool> {
    let is_status = message.topic == "andon/test/plant/status";
    is_status.then(|| serde_json::from_slice::<Value>(&message.payload).unwrap()["online"] == true)
}

/// Waits for the next status message, and returns what it says.
async fn next_status(messages: &mut Follower<Message>) -> bool {
    let next = async {
        loop {
            if let Some(online) = status(&*messages.next().await) {
                return online;
            }
        }
    };
    timeout(PATIENCE, next).await.expect("a status message arrives")
}

/// Returns the status that a new subscriber receives at once.
async fn retained(broker: &Mosquitto) -> bool {
    let late = Subscriber::start(broker.port()).await.unwrap();
    late.wait_received(PATIENCE, 1).await.unwrap();
    let received = late.received();
    assert!(received[0].retain && received[0].topic.ends_with("/status"), "{received:?}");
    status(&received[0]).unwrap()
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
    assert!(next_status(&mut statuses).await);
    assert!(retained(&broker).await);

    proxy.refuse(true).await.unwrap();
    proxy.cut();
    assert!(!next_status(&mut statuses).await);
    assert!(!retained(&broker).await, "the broker published the last will");

    proxy.refuse(false).await.unwrap();
    assert!(next_status(&mut statuses).await);
    line.stop().await.unwrap();
    assert!(!next_status(&mut statuses).await);
    assert!(!retained(&broker).await, "the lane published the status before it stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_publisher_of_a_name_keeps_its_status_topic_and_the_next_gets_one_without_dots() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let mut line = Line::new().await;
    line.publisher(broker.port(), json!({})).await;
    line.publisher_of("rival", "{event}", broker.port(), json!({})).await;
    let early = Subscriber::start(broker.port()).await.unwrap();
    line.start();
    // A lane that has not connected yet says `running` as well.
    early.wait_received(PATIENCE, 2).await.unwrap();
    line.stop().await.unwrap();

    let late = Subscriber::start(broker.port()).await.unwrap();
    late.wait_received(PATIENCE, 2).await.unwrap();

    let topics: HashSet<String> = late.received().iter().map(|message| message.topic.clone()).collect();
    assert_eq!(topics.len(), 2, "{topics:?}");
    let suffix = |topic: &String| Some(topic.strip_prefix("andon/test/plant-")?.strip_suffix("/status")?.to_owned());
    let suffixes: Vec<String> = topics.iter().filter_map(suffix).collect();
    assert!(suffixes.len() == 1 && suffixes[0].len() == 8 && !suffixes[0].contains('.'), "{topics:?}");
    assert!(topics.contains("andon/test/plant/status"), "{topics:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_is_deleted_leaves_no_status_behind() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    let (kept, gone) = (line.publisher(broker.port(), json!({})).await, line.publisher(broker.port(), json!({})).await);
    line.run(&format!(
        "update andon.mqtt_publishers set name = 'gone' where 'andon.mqtt_publishers/' || id = '{gone}'"
    ))
    .await;
    line.start();
    line.state(&kept, "running").await;
    line.state(&gone, "running").await;

    line.run("delete from andon.mqtt_publishers where name = 'gone'").await;
    let is_removal = |message: &Message| message.topic == "andon/test/gone/status" && message.payload.is_empty();
    subscriber.messages().wait_for_matching(PATIENCE, 1, is_removal).await.unwrap();
    line.state(&gone, "removed").await;
    line.run("update andon.mqtt_publishers set events = '{job.*}'").await;
    line.stop().await.unwrap();

    let late = Subscriber::start(broker.port()).await.unwrap();
    late.wait_received(PATIENCE, 1).await.unwrap();
    let topics: Vec<String> = late.received().iter().map(|message| message.topic.clone()).collect();
    assert_eq!(topics, ["andon/test/plant/status"], "the other keeps its status");
}
