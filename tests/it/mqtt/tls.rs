//! TLS to the broker. In: certificates that are right, expired, or for another name. Out: whether the lane trusts only the right ones, and
//! tells the operator what to change about the others.

use std::path::PathBuf;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::DnType;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::mosquitto::MosquittoTls;
use serde_json::Value;
use serde_json::json;

use super::set;
use super::wait_for_done;
use crate::support::line::Line;

/// A certificate authority that a test makes for itself, with its files.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
    directory: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let directory = std::env::temp_dir().join(format!("andon-tls-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&directory).unwrap();
        Authority { issuer: Issuer::new(params, key), pem, directory }
    }

    /// Returns a certificate and its key for a name, valid until the end of the year `until`.
    pub(crate) fn sign(&self, name: &str, until: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        // With the same name as its issuer, the certificate would count as self-signed.
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = rcgen::date_time_ymd(until, 12, 31);
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn broker(&self, name: &str, until: i32, require_certificate: bool) -> Mosquitto {
        let (certificate, key) = self.sign(name, until);
        let tls = Some(MosquittoTls { ca: self.pem.clone(), certificate, key, require_certificate });
        Mosquitto::start(&MosquittoOptions { tls, ..MosquittoOptions::default() }).unwrap()
    }

    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn trusted(&self) -> Value {
        json!({"ca_file": self.file("ca.pem", &self.pem)})
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// Starts a gateway with a publisher for each of these brokers, and emits one event.
async fn line(publishers: &[(&Mosquitto, Value)]) -> (Line, Vec<String>) {
    let mut line = Line::new().await;
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
    let good = authority.broker("127.0.0.1", 2099, false);
    let expired = authority.broker("127.0.0.1", 2020, false);
    let other = authority.broker("broker.example", 2099, false);
    let trusted = authority.trusted();

    let (mut line, lanes) =
        line(&[(&good, json!({})), (&expired, trusted.clone()), (&other, trusted.clone()), (&good, trusted.clone())])
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
    let broker = authority.broker("127.0.0.1", 2099, true);
    let (certificate, key) = authority.sign("andon", 2099);
    let without = authority.trusted();
    let mut with = without.clone();
    with["client_cert_file"] = json!(authority.file("client.pem", &certificate));
    with["client_key_file"] = json!(authority.file("client.key", &key));

    let (mut line, lanes) = line(&[(&broker, without), (&broker, with)]).await;

    wait_for_done(&line, &lanes[1]).await;
    let reason = line.state(&lanes[0], "retrying").await;
    line.stop().await.unwrap();
    assert!(reason.contains("set settings.client_cert_file and settings.client_key_file"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_file_that_cannot_be_read_makes_the_lane_misconfigured() {
    let authority = Authority::new();
    let broker = authority.broker("127.0.0.1", 2099, false);
    let nowhere = authority.directory.join("nowhere.pem");

    let (mut line, lanes) = line(&[(&broker, json!({"ca_file": nowhere}))]).await;

    let reason = line.state(&lanes[0], "misconfigured").await;
    line.stop().await.unwrap();
    assert!(reason.contains("nowhere.pem") && reason.contains("name a readable PEM file"), "{reason}");
}
