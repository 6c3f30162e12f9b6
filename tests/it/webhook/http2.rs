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
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

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

/// Does the same with TLS that refuses nobody, whatever versions are offered.
async fn lenient(authority: &Authority, behind: u16, versions: &[&str]) -> TlsFront {
    let (certificate, key) = authority.sign("localhost", 2099);
    let protocols = versions.iter().map(|name| (*name).to_owned()).collect();
    TlsFront::start(behind, Speaks::LenientTls { certificate, key, protocols }).await.unwrap()
}

/// Starts a server that closes a connection without a word unless it begins as HTTP/2 does. The rest is passed on to a port.
async fn mute_to_http1(behind: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut start = [0; 3];
            if matches!(socket.peek(&mut start).await, Ok(3)) && start == *b"PRI" {
                let mut server = TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
                tokio::spawn(async move { copy_bidirectional(&mut socket, &mut server).await.ok() });
            }
        }
    });
    port
}

/// Starts an endpoint that answers everything with these bytes, and ends the connection. Returns its port too.
async fn answering(bytes: &'static [u8]) -> (ScriptedEndpoint, u16) {
    let endpoint = ScriptedEndpoint::start(move |_| vec![Step::Send(Bytes::from_static(bytes)), Step::Close]);
    let endpoint = endpoint.await.unwrap();
    let port = endpoint.url().rsplit(':').next().unwrap().trim_end_matches("/hook").parse().unwrap();
    (endpoint, port)
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
async fn an_endpoint_that_has_only_http2_and_refuses_nobody_for_it_gets_it_and_no_request_twice() {
    let (mut line, authority) = (Line::new().await, Authority::new());
    let (greeting, mute) = (Receiver::start_http2().await.unwrap(), Receiver::start_http2().await.unwrap());
    let first = lenient(&authority, greeting.port(), &["h2"]).await;
    let second = lenient(&authority, mute_to_http1(mute.port()).await, &["h2"]).await;
    greeting.expect_signature("/first", SECRET);
    let settings = json!({"ca": authority.pem, "concurrency": 1, "retry": ["1s"]});
    let mut lanes = Vec::new();
    for (front, path) in [(&first, "/first"), (&second, "/second")] {
        let url = format!("https://localhost:{}{path}", front.port());
        lanes.push(line.webhook(&url, settings.clone()).await);
    }
    for counter in 1..=20 {
        line.emit("acme", "e", counter).await;
    }
    line.start();

    greeting.wait_accepted(PATIENCE, 20).await.unwrap();
    mute.wait_accepted(PATIENCE, 20).await.unwrap();
    line.stop().await.unwrap();

    for receiver in [&greeting, &mute] {
        let counters: Vec<u64> = receiver.accepted().iter().map(|it| marker(&it.body).1).collect();
        assert_eq!((counters, receiver.received().len()), ((1..=20).collect::<Vec<u64>>(), 20));
    }
    assert_eq!([versions(&first), versions(&second)], [["", "h2"], ["", "h2"]]);
    // Who closes without a word may have taken the request, so the next attempt tries HTTP/2.
    let failed = "select array_agg(lane || ' ' || excerpt) from andon.attempts where outcome <> 'delivered'";
    let failed: Vec<String> = line.client.query_one(failed, &[]).await.unwrap().get(0);
    let reason = "the request failed: the endpoint closed the connection without an answer; see what it logs";
    assert_eq!(failed, [format!("{} {reason}", lanes[1])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_has_no_http2_in_tls_either_is_told_as_one_that_speaks_none_and_gets_one_request_in_an_attempt()
 {
    let (mut line, authority) = (Line::new().await, Authority::new());
    let goaway = answering(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]).await;
    let garbage = answering(b"OK\n").await;
    let http2 = Receiver::start_http2().await.unwrap();
    let mut lanes = Vec::new();
    let mut fronts = Vec::new();
    for (behind, versions) in [(goaway.1, &["h2"][..]), (garbage.1, &["h2"]), (http2.port(), &[])] {
        let front = lenient(&authority, behind, versions).await;
        let url = format!("https://localhost:{}/hook", front.port());
        lanes.push(line.webhook(&url, json!({"ca": authority.pem, "retry": ["1h"]})).await);
        fronts.push(front);
    }
    line.emit("acme", "e", 1).await;
    line.start();

    line.until("select count(*) = 3 from andon.deliveries where attempts > 0").await;
    line.stop().await.unwrap();

    let asked = |endpoint: &ScriptedEndpoint| {
        endpoint.requests().snapshot().iter().map(|it| it.body.is_empty()).collect::<Vec<_>>()
    };
    // The preface of HTTP/2 looks like a request without a body.
    assert_eq!((asked(&goaway.0), asked(&garbage.0), http2.received().len()), (vec![false, true], vec![false], 0));
    let agreed: Vec<Vec<String>> = fronts.iter().map(versions).collect();
    assert_eq!(agreed, [vec!["", "h2"], vec![""], vec!["", ""]]);
    for lane in &lanes[1..] {
        let parked = line.parked(lane).await.join("\n");
        assert!(parked.contains("so the answer is none of HTTP"), "{parked}");
    }
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
