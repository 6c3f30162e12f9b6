//! How a row names its broker and its user. In: addresses and passwords as people write them. Out: whether the lane gets through, or says why
//! it cannot.

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Receiver;
use rig::ScriptedBroker;
use rig::Subscriber;
use rig::mosquitto::MosquittoTls;
use rig::scripted_broker::Answer;
use rig::subscriber::SubscriberOptions;
use serde_json::json;

use super::set;
use super::wait_for_all;
use crate::support::authority::Authority;
use crate::support::line::Line;

#[tokio::test(flavor = "multi_thread")]
async fn an_address_and_a_password_are_taken_as_they_are_written() {
    let credentials = ("andon".to_owned(), " pass word ".to_owned());
    let users = vec![credentials.clone()];
    let broker = Mosquitto::start(&MosquittoOptions { users, ..MosquittoOptions::default() }).unwrap();
    let options = SubscriberOptions { port: broker.port(), filter: "#".to_owned(), credentials: Some(credentials) };
    let subscriber = Subscriber::start_with(options).await.unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(1, json!({})).await;
    set(&line, "username = 'andon', password = ' pass word '").await;
    set(&line, &format!("broker_url = 'mqtt://an:s3cret@LocalHost:{}/plant'", broker.port())).await;
    line.emit("acme", "e", 1).await;

    line.start();
    let reason = line.state(&lane, "misconfigured").await;
    set(&line, &format!("broker_url = 'MQTT://LocalHost:{}/'", broker.port())).await;
    wait_for_all(&subscriber, 1).await;

    line.stop().await.unwrap();
    assert!(reason.contains("use the columns username and password"), "{reason}");
    assert!(reason.contains("a broker has no path; remove what stands behind"), "{reason}");
    assert!(!reason.contains("s3cret"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_something_else_is_told_apart_with_what_to_use() {
    let authority = Authority::new();
    let (certificate, key) = authority.sign("127.0.0.1", 2099);
    let tls = Some(MosquittoTls { ca: authority.pem.clone(), certificate, key, require_certificate: false });
    let mosquitto = Mosquitto::start(&MosquittoOptions { tls, ..MosquittoOptions::default() }).unwrap();
    let mute = ScriptedBroker::start(|_| Answer::Last(Vec::new())).await.unwrap();
    let page = Receiver::start().await.unwrap();
    let alert = Answer::Last(vec![0x15, 3, 1, 0, 2, 2, 70]);
    let tls = ScriptedBroker::start(move |_| alert.clone()).await.unwrap();
    let mut line = Line::new().await;
    let lanes = [
        (page.port(), "5"),
        (page.port(), "3.1.1"),
        (tls.port(), "5"),
        (tls.port(), "3.1.1"),
        (mosquitto.port(), "5"),
        (mosquitto.port(), "3.1.1"),
        (mute.port(), "5"),
        (mute.port(), "3.1.1"),
    ];
    let mut publishers = Vec::new();
    for (port, version) in lanes {
        publishers.push(line.publisher(port, json!({"version": version})).await);
    }

    line.start();
    let mut reasons = Vec::new();
    for lane in &publishers {
        reasons.push(line.state(lane, "retrying").await);
    }
    line.stop().await.unwrap();

    for (reason, what) in reasons.iter().zip(["speaks HTTP", "speaks HTTP", "speaks TLS", "speaks TLS"]) {
        assert!(reason.starts_with(&format!("the server {what} on this port")), "{reason}");
    }
    assert!(reasons[2..].iter().all(|reason| reason.contains("write mqtts:// before its name")), "{reasons:#?}");
}
