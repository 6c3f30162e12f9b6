//! TLS to the broker. In: certificates that are right, expired, or for another name. Out: whether the lane trusts only the right ones, and
//! tells the operator what to change about the others.

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::mosquitto::MosquittoTls;
use serde_json::Value;
use serde_json::json;

use super::set;
use super::wait_for_done;
use crate::support::authority::Authority;
use crate::support::line::Line;

fn broker(authority: &Authority, name: &str, until: i32, require_certificate: bool) -> Mosquitto {
    let (certificate, key) = authority.sign(name, until);
    let tls = Some(MosquittoTls { ca: authority.pem.clone(), certificate, key, require_certificate });
    Mosquitto::start(&MosquittoOptions { tls, ..MosquittoOptions::default() }).unwrap()
}

fn trusted(authority: &Authority) -> Value {
    authority.file("ca.pem", &authority.pem);
    json!({"ca_file": "ca.pem"})
}

/// Starts a gateway with a publisher for each of these brokers, and emits one event.
async fn line(authority: &Authority, publishers: &[(&Mosquitto, Value)]) -> (Line, Vec<String>) {
    let mut line = Line::new().await;
    line.defaults.certificates = Some(authority.directory.clone());
    let mut lanes = Vec::new();
    for (broker, settings) in publishers {
        lanes.push(line.publisher(broker.port(), settings.clone()).await);
    }
    set(&line, "use_tls = true").await;
    line.emit("acme", "e", 1).await;
    line.start();
    (line, lanes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_is_trusted_by_its_ca_and_no_other_way() {
    let authority = Authority::new();
    let good = broker(&authority, "127.0.0.1", 2099, false);
    let expired = broker(&authority, "127.0.0.1", 2020, false);
    let other = broker(&authority, "broker.example", 2099, false);
    let trusted = trusted(&authority);

    let (mut line, lanes) = line(
        &authority,
        &[(&good, json!({})), (&expired, trusted.clone()), (&other, trusted.clone()), (&good, trusted.clone())],
    )
    .await;

    wait_for_done(&line, &lanes[3]).await;
    let mut reasons = Vec::new();
    for lane in &lanes[..3] {
        reasons.push(line.state(lane, "retrying").await);
    }
    line.stop().await.unwrap();
    for (reason, parts) in reasons.iter().zip([
        ["UnknownIssuer", "name the CA that signed it in settings.ca_file"],
        ["expired", "the server needs a new one"],
        ["not valid for name", "connect by a name that stands in it"],
    ]) {
        assert!(reason.starts_with("TLS: ") && parts.iter().all(|part| reason.contains(part)), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_shown_where_the_broker_wants_one() {
    let authority = Authority::new();
    let broker = broker(&authority, "127.0.0.1", 2099, true);
    let (certificate, key) = authority.sign("andon", 2099);
    let without = trusted(&authority);
    let mut named = without.clone();
    authority.file("client.pem", &certificate);
    authority.file("client.key", &key);
    named["client_cert_file"] = json!("client.pem");
    named["client_key_file"] = json!("client.key");
    let held = json!({"ca": authority.pem, "client_cert": certificate, "client_key": key});

    let (mut line, lanes) = line(&authority, &[(&broker, without), (&broker, named), (&broker, held)]).await;

    wait_for_done(&line, &lanes[1]).await;
    wait_for_done(&line, &lanes[2]).await;
    let reason = line.state(&lanes[0], "retrying").await;
    line.stop().await.unwrap();
    assert!(reason.contains("set settings.client_cert_file and settings.client_key_file"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_file_that_cannot_be_read_makes_the_lane_misconfigured() {
    let authority = Authority::new();
    let broker = broker(&authority, "127.0.0.1", 2099, false);
    let (mut line, lanes) = line(&authority, &[(&broker, json!({"ca_file": "nowhere.pem"}))]).await;

    let reason = line.state(&lanes[0], "misconfigured").await;
    line.stop().await.unwrap();
    assert!(reason.contains("nowhere.pem") && reason.contains("name a readable PEM file"), "{reason}");
}
