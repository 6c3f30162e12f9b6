//! Endpoints that speak HTTP/2. In: servers behind TLS that have only that version, both, or floods in place of an answer. Out: which version is
//! spoken, and whether a delivery keeps all of its promises in it: one connection, order, retries, bounds, and secrets that are not shown.

use std::sync::Arc;

use bytes::Bytes;
use rig::Receiver;
use rig::ScriptedEndpoint;
use rig::TlsFront;
use rig::receiver::Answer;
use rig::scripted_endpoint::Step;
use rig::tls_front::Greeting;
use rig::tls_front::Speaks;
use serde_json::json;

use super::header;
use crate::shown::told;
use crate::support::authority::Authority;
use crate::support::daemon;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::SECRET;
use crate::support::line::marker;

/// Starts TLS with these versions of HTTP in front of a port.
async fn front(authority: &Authority, behind: u16, versions: &[&str]) -> TlsFront {
    let (certificate, key) = authority.sign("localhost", 2099);
    let protocols = versions.iter().map(|name| (*name).to_owned()).collect();
    TlsFront::start(behind, Speaks::Tls { certificate, key, clients: None, protocols }).await.unwrap()
}

/// Returns the versions that were agreed on, connection by connection.
fn versions(front: &TlsFront) -> Vec<String> {
    let protocol = |greeting: &Arc<Greeting>| greeting.protocol.clone().unwrap_or_default();
    front.greetings().snapshot().iter().map(protocol).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_has_only_http2_gets_it_and_one_that_has_both_gets_http1() {
    let (mut line, receiver, authority) = (Line::new().await, Receiver::start().await.unwrap(), Authority::new());
    let only = front(&authority, receiver.port(), &["h2"]).await;
    let both = front(&authority, receiver.port(), &["h2", "http/1.1"]).await;
    receiver.expect_signature("/only", SECRET);
    receiver.answer_next("/only", 1, &Answer::status(503));
    for (front, path) in [(&only, "/only?a=b"), (&both, "/both")] {
        let url = format!("https://localhost:{}{path}", front.port());
        line.webhook(&url, json!({"ca": authority.pem, "concurrency": 1, "retry": ["1s"]})).await;
    }
    for counter in 1..=20 {
        line.emit("acme", "e", counter).await;
    }
    line.start();

    receiver.wait_accepted(PATIENCE, 40).await.unwrap();
    line.stop().await.unwrap();

    let accepted = receiver.accepted();
    let of = |path: &str| accepted.iter().filter(|it| it.path == path).collect::<Vec<_>>();
    let counters: Vec<u64> = of("/only?a=b").iter().map(|it| marker(&it.body).1).collect();
    assert_eq!(counters, (1..=20).collect::<Vec<u64>>());
    assert_eq!(versions(&only), ["h2"], "one connection for all");
    assert_eq!(versions(&both), ["http/1.1"]);
    assert_eq!(header(of("/only?a=b")[0], "content-type"), header(of("/both")[0], "content-type"));
    assert_eq!(receiver.received().len(), 41, "no request is sent twice, but for the one that was refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_http2_has_the_bounds_of_any_other() {
    let (mut line, receiver, authority) = (Line::new().await, Receiver::start().await.unwrap(), Authority::new());
    receiver.answer("/endless", Answer::endless());
    let good = front(&authority, receiver.port(), &["h2"]).await;
    // The end of the client's preface looks like that of a request. Settings, and pings without end.
    let settings = Bytes::from_static(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let ping = Bytes::from([&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], &[7; 8]].concat().repeat(1_000));
    let floods = ScriptedEndpoint::start(move |_| vec![Step::Send(settings.clone()), Step::Flood(ping.clone())]);
    let floods = floods.await.unwrap();
    let flooding_port = floods.url().rsplit(':').next().unwrap().trim_end_matches("/hook").parse().unwrap();
    let bad = front(&authority, flooding_port, &["h2"]).await;
    let ca = json!({"ca": authority.pem, "retry": ["1h"]});
    line.webhook(&format!("https://localhost:{}/endless", good.port()), ca.clone()).await;
    let flooded = line.webhook(&format!("https://localhost:{}/flood", bad.port()), ca).await;
    line.emit("acme", "e", 1).await;
    line.emit("acme", "f", 1).await;
    line.start();

    // The status decides, and what follows it without end costs its connection.
    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    line.until(&format!("select exists (select from andon.deliveries where lane = '{flooded}' and attempts > 0)"))
        .await;
    line.stop().await.unwrap();

    let parked = line.parked(&flooded).await.join("\n");
    assert!(parked.contains("the answer is longer than 98304 bytes"), "{parked}");
    assert!(floods.bytes_sent() < 64 << 20, "{}", floods.bytes_sent());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_with_which_an_endpoint_ends_a_connection_are_shown_without_its_secrets() {
    let (line, authority) = (Line::new().await, Authority::new());
    let said = "pl4nted-token is not welcome";
    let length = u8::try_from(said.len()).unwrap() + 8;
    let goaway = [&[0, 0, length, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11][..], said.as_bytes()].concat();
    let bytes = Bytes::from([&[0, 0, 0, 4, 0, 0, 0, 0, 0][..], &goaway].concat());
    let ends = ScriptedEndpoint::start(move |_| vec![Step::Send(bytes.clone())]).await.unwrap();
    let port = ends.url().rsplit(':').next().unwrap().trim_end_matches("/hook").parse().unwrap();
    let front = front(&authority, port, &["h2"]).await;
    let url = format!("https://localhost:{}/hook", front.port());
    let lane = line.webhook(&url, json!({"ca": authority.pem, "retry": ["1h"]})).await;
    line.run("update andon.webhooks set token = 'pl4nted-token'").await;
    line.emit("acme", "e", 1).await;

    let daemon = daemon::start_with(&line.url, vec![("ANDON_LOG".into(), "trace".into())]).await;
    line.until(&format!("select exists (select from andon.deliveries where lane = '{lane}' and attempts > 0)")).await;
    assert_eq!(daemon.stop().await.unwrap(), 0, "{}", daemon.log_tail());

    let told = told(&line).await;
    assert!(told.contains("… is not welcome") && !told.contains("pl4nted"), "{told}");
    assert!(!daemon.log().contains("pl4nted"));
}
