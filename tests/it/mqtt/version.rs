//! The version of MQTT that the lane speaks. In: brokers that have MQTT 5, and brokers that refuse it in several ways. Out: whether the
//! lane speaks 5 to the former and 3.1.1 to the latter.

use std::sync::Arc;

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Subscriber;
use rig::Tap;
use rig::subscriber::Message;
use rig::tap::Mqtt5;
use rig::tap::Seen;
use rig::tap::TapOptions;
use serde_json::json;

use super::chunk;
use super::events;
use super::expected;
use super::wait_for_all;
use crate::support::line::Line;
use crate::support::line::judge_messages;

/// Returns the messages that a subscriber gets from a broker that treats MQTT 5 in this way, and the versions that the lane asked for.
async fn through(mqtt5: Mqtt5) -> (Vec<Arc<Message>>, Vec<u8>) {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let tap = Tap::start(broker.port(), TapOptions { mqtt5, ..TapOptions::default() }).await.unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    line.publisher(tap.port(), json!({})).await;
    line.run(&chunk(10, 1, 100)).await;

    line.start();
    wait_for_all(&subscriber, 1_000).await;
    line.stop().await.unwrap();

    let seen = tap.seen().snapshot();
    let versions = seen.iter().filter_map(|seen| if let Seen::Connect(level) = **seen { Some(level) } else { None });
    (subscriber.received(), versions.collect())
}

fn is_mqtt5(message: &Message) -> bool {
    message.user_properties.iter().any(|(name, _)| name == "event_id")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_refuses_mqtt_5_gets_3_1_1() {
    // The first broker refuses with a packet of MQTT 5, and the second with one of 3.1.1.
    for answer in [vec![0x20, 3, 0, 0x84, 0], vec![0x20, 2, 0, 1]] {
        let (received, versions) = through(Mqtt5::Answered(answer.clone())).await;

        let verdict = judge_messages(&expected(10, 100), &received);
        assert!(verdict.is_clean() && verdict.duplicates == 0, "{answer:?}: {verdict:?}");
        assert_eq!(versions, [5, 4], "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_up_on_mqtt_5_gets_3_1_1() {
    let (received, versions) = through(Mqtt5::Closed(u32::MAX)).await;

    let verdict = judge_messages(&expected(10, 100), &received);
    assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
    assert_eq!(versions, [5, 4, 5, 4], "the broker is asked twice, because it might only have been restarting");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hung_up_once_gets_mqtt_5() {
    let (received, versions) = through(Mqtt5::Closed(1)).await;

    assert_eq!(versions, [5, 4, 5]);
    assert!(events(&received).all(|message| is_mqtt5(message)));
}
