//! The rig itself, before it judges others. In: the rig's own servers and witnesses. Out: whether they see everything, break what they are
//! told to break, and clean up after themselves.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic, in its helping functions too")]

use std::collections::BTreeSet;
use std::time::Duration;
use std::time::Instant;

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Proxy;
use rig::Receiver;
use rig::Subscriber;
use rig::SubscriberV4;
use rig::mosquitto::MosquittoTls;
use rig::proxy::Side;
use rig::receiver::Answer;
use rig::signature::Signature;
use rig::subscriber::Message;
use rig::subscriber::SubscriberOptions;
use rumqttc_v5::AsyncClient;
use rumqttc_v5::MqttOptions;
use rumqttc_v5::PublishOptions;
use rumqttc_v5::mqttbytes::QoS;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(30);

/// Publishes and returns when the broker has acknowledged it, whatever breaks on the way.
async fn publish(port: u16, topic: &str, payload: Vec<u8>) {
    let mut options = MqttOptions::new(format!("publisher-{}", rand::random::<u32>()), ("127.0.0.1", port));
    options.set_unlimited_incoming_packet_size();
    let (client, mut events) = AsyncClient::builder(options).capacity(10).build();
    let driver = tokio::spawn(async move {
        loop {
            if events.poll().await.is_err() {
                tokio::task::yield_now().await;
            }
        }
    });
    let notice =
        client.publish_tracked(topic, payload, PublishOptions::new(QoS::AtLeastOnce)).await.expect("a valid publish");
    timeout(SOON, notice.wait_async()).await.expect("an acknowledgement in time").expect("an acknowledgement");
    driver.abort();
}

#[tokio::test]
async fn a_subscriber_behind_a_broken_proxy_sees_everything() {
    let mosquitto = Mosquitto::start(&MosquittoOptions { persistence: true, ..MosquittoOptions::default() }).unwrap();
    let proxy = Proxy::start(mosquitto.port()).await.unwrap();
    let subscriber = Subscriber::start(proxy.port()).await.unwrap();
    let large = vec![b'x'; 2_000_000];

    publish(mosquitto.port(), "a/1", b"one".to_vec()).await;
    proxy.cut();
    publish(mosquitto.port(), "a/2", b"two".to_vec()).await;
    mosquitto.stop_term().unwrap();
    mosquitto.start_again().unwrap();
    publish(mosquitto.port(), "a/3", large.clone()).await;
    proxy.refuse(true).await.unwrap();
    proxy.cut();
    publish(mosquitto.port(), "a/4", b"four".to_vec()).await;
    proxy.refuse(false).await.unwrap();

    let mut missing = BTreeSet::from(["a/1", "a/2", "a/3", "a/4"]);
    let are_all_there = |message: &Message| {
        missing.remove(message.topic.as_str());
        missing.is_empty()
    };
    subscriber.messages().wait_for(SOON, are_all_there).await.unwrap();
    assert!(subscriber.received().iter().any(|message| message.payload == large));
}

#[tokio::test]
async fn a_broker_with_passwords_and_an_acl_lets_only_its_users_in() {
    let options = MosquittoOptions {
        users: vec![("plant".to_owned(), "secret".to_owned())],
        acl: Some("user plant\ntopic readwrite a/#\n".to_owned()),
        ..MosquittoOptions::default()
    };
    let mosquitto = Mosquitto::start(&options).unwrap();
    let subscribe = |password: &str| SubscriberOptions {
        port: mosquitto.port(),
        filter: "a/#".to_owned(),
        credentials: Some(("plant".to_owned(), password.to_owned())),
    };

    let right = Subscriber::start_with(subscribe("secret")).await;
    let wrong = Subscriber::start_with(subscribe("guess")).await;

    assert!(right.is_ok());
    assert!(wrong.err().unwrap().to_string().contains("refuses the subscription"));
}

#[tokio::test]
async fn a_broker_serves_tls() {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let tls = MosquittoTls {
        ca: key.cert.pem(),
        certificate: key.cert.pem(),
        key: key.signing_key.serialize_pem(),
        require_certificate: false,
    };

    let mosquitto = Mosquitto::start(&MosquittoOptions { tls: Some(tls), ..MosquittoOptions::default() }).unwrap();

    // This listener would answer a TLS client hello. Anything else is a fault.
    let mut socket = TcpStream::connect(("127.0.0.1", mosquitto.port())).await.unwrap();
    socket.write_all(b"this is not tls at all\n").await.unwrap();
    let mut answer = Vec::new();
    // It ends the connection, whether by an alert or by a reset.
    drop(timeout(SOON, socket.read_to_end(&mut answer)).await.expect("the broker ends the connection"));
    assert!(mosquitto.pid().is_some());
}

#[tokio::test]
async fn a_killed_broker_comes_back_on_the_same_port() {
    let mosquitto = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let subscriber = Subscriber::start(mosquitto.port()).await.unwrap();
    let first = mosquitto.pid();

    mosquitto.kill().unwrap();
    assert_eq!(mosquitto.pid(), None);
    mosquitto.start_again().unwrap();

    assert_ne!(mosquitto.pid(), first);
    // Its session is lost with the broker, and the subscriber makes a new one at some moment.
    let mut tries = 0;
    while subscriber.received().is_empty() {
        publish(mosquitto.port(), "again", format!("{tries}").into_bytes()).await;
        tries += 1;
        assert!(tries < 10_000, "the subscriber did not come back");
    }
}

#[tokio::test]
async fn the_older_subscriber_goes_on_with_a_session_that_the_broker_kept() {
    let options = MosquittoOptions { persistence: true, ..MosquittoOptions::default() };
    let mosquitto = Mosquitto::start(&options).unwrap();
    let proxy = Proxy::start(mosquitto.port()).await.unwrap();
    let filter = "line/#".to_owned();
    let options = SubscriberOptions { port: proxy.port(), filter, credentials: None };
    let subscriber = SubscriberV4::start(options).await.unwrap();

    publish(mosquitto.port(), "line/a", b"1".to_vec()).await;
    subscriber.messages().wait_for_count(SOON, 1).await.unwrap();
    proxy.refuse(true).await.unwrap();
    proxy.cut();
    publish(mosquitto.port(), "line/a", b"2".to_vec()).await;
    publish(mosquitto.port(), "other/a", b"3".to_vec()).await;
    proxy.refuse(false).await.unwrap();
    subscriber.wait_confirmed(2).await.unwrap();
    publish(mosquitto.port(), "line/b", b"4".to_vec()).await;
    let is_last = |message: &Message| message.payload == "4";
    subscriber.messages().wait_for(SOON, is_last).await.unwrap();

    let received = subscriber.messages().snapshot();
    let received: Vec<_> = received.iter().map(|it| (it.topic.as_str(), it.payload.as_ref())).collect();
    assert_eq!(received, [("line/a", &b"1"[..]), ("line/a", b"2"), ("line/b", b"4")]);
}

async fn exchange(port: u16, path: &str) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, socket.read_to_string(&mut answer)).await.expect("an answer in time").unwrap();
    answer
}

#[tokio::test]
async fn a_receiver_answers_as_configured() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer_next("/flaky", 2, &Answer::status(503).retry_after("7"));
    receiver.answer("/moved", Answer::redirect("http://127.0.0.1/elsewhere"));
    receiver.answer("/slow", Answer::status(204).after(Duration::from_millis(50)));
    receiver.answer("/gone", Answer::drop_connection());
    receiver.expect_signature("/signed", "secret");

    let first = exchange(receiver.port(), "/flaky").await;
    let second = exchange(receiver.port(), "/flaky").await;
    let third = exchange(receiver.port(), "/flaky").await;
    let moved = exchange(receiver.port(), "/moved").await;
    let started = Instant::now();
    let slow = exchange(receiver.port(), "/slow").await;
    let took = started.elapsed();
    let gone = exchange(receiver.port(), "/gone").await;
    let unsigned = exchange(receiver.port(), "/signed").await;

    assert!(first.starts_with("HTTP/1.1 503") && first.contains("retry-after: 7"), "{first}");
    assert!(second.starts_with("HTTP/1.1 503"));
    assert!(third.starts_with("HTTP/1.1 200"));
    assert!(moved.starts_with("HTTP/1.1 301") && moved.contains("location: http://127.0.0.1/elsewhere"));
    assert!(slow.starts_with("HTTP/1.1 204") && took >= Duration::from_millis(50));
    assert_eq!(gone, "");
    assert!(unsigned.starts_with("HTTP/1.1 401"));
    let accepted: Vec<String> = receiver.accepted().iter().map(|request| request.path.clone()).collect();
    assert_eq!(accepted, ["/flaky", "/slow"]);
    assert_eq!(receiver.received().len(), 7);
    assert_eq!(receiver.received()[6].signature, Signature::Invalid("no webhook-id"));
}

#[tokio::test]
async fn a_receiver_can_hang_and_can_talk_without_end() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/hang", Answer::hang());
    receiver.answer("/endless", Answer::endless());

    let hanging = timeout(Duration::from_millis(100), exchange(receiver.port(), "/hang")).await;
    let mut socket = TcpStream::connect(("127.0.0.1", receiver.port())).await.unwrap();
    socket.write_all(b"POST /endless HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let mut much = vec![0; 5_000_000];
    let read = timeout(SOON, socket.read_exact(&mut much)).await.unwrap();

    assert!(hanging.is_err());
    assert!(read.is_ok());
    receiver.wait_received(SOON, 2).await.unwrap();
}

#[tokio::test]
async fn a_receiver_can_answer_slowly_and_never_come_to_its_answer() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/slow", Answer::slow_body(200, Duration::from_millis(10)));
    receiver.answer("/endless", Answer::endless_interim());

    let slow = exchange(receiver.port(), "/slow").await;
    let mut endless = TcpStream::connect(("127.0.0.1", receiver.port())).await.unwrap();
    endless.write_all(b"POST /endless HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let mut talk = vec![0; 1 << 20];
    timeout(SOON, endless.read_exact(&mut talk)).await.unwrap().unwrap();

    assert!(slow.contains("transfer-encoding: chunked") && slow.ends_with("7\r\nslowly\n\r\n0\r\n\r\n"), "{slow}");
    let talk = String::from_utf8(talk).unwrap();
    assert!(talk.split("\r\n\r\n").all(|head| "HTTP/1.1 103 Early Hints\r\nlink: </a>".starts_with(head)), "{talk}");
    assert_eq!(receiver.accepted().len(), 1);
}

#[tokio::test]
async fn a_proxy_stalls_slows_and_cuts_at_a_byte() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap().port()).await.unwrap();
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let mut buffer = [0; 100];

    proxy.stall();
    client.write_all(b"late").await.unwrap();
    let stalled = timeout(Duration::from_millis(100), server.read(&mut buffer)).await;
    proxy.resume();
    let resumed = timeout(SOON, server.read(&mut buffer)).await.unwrap().unwrap();
    proxy.slow(Some(100));
    let started = Instant::now();
    client.write_all(&[7; 20]).await.unwrap();
    timeout(SOON, server.read_exact(&mut buffer[..20])).await.unwrap().unwrap();
    let slowly = started.elapsed();
    proxy.slow(None);
    proxy.cut_after(10);
    client.write_all(&[8; 50]).await.unwrap();
    let mut rest = Vec::new();
    // A reset ends it just like a close.
    drop(timeout(SOON, server.read_to_end(&mut rest)).await.expect("the connection is cut"));

    assert!(stalled.is_err());
    assert_eq!(resumed, 4);
    assert!(slowly >= Duration::from_millis(100), "{slowly:?}");
    assert_eq!(rest.len(), 10);
}

/// Connects through a proxy, and returns both ends of the connection.
async fn connected(proxy: &Proxy, listener: &tokio::net::TcpListener) -> (TcpStream, TcpStream) {
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    // A byte in each direction shows that the proxy forwards the connection.
    client.write_all(b"1").await.unwrap();
    server.read_exact(&mut [0]).await.unwrap();
    server.write_all(b"2").await.unwrap();
    client.read_exact(&mut [0]).await.unwrap();
    (client, server)
}

async fn end_of(socket: &mut TcpStream) -> std::io::Result<usize> {
    timeout(SOON, socket.read(&mut [0; 100])).await.expect("the connection ends")
}

#[tokio::test]
async fn a_proxy_resets_both_sides() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap().port()).await.unwrap();
    let (mut client, mut server) = connected(&proxy, &listener).await;

    proxy.reset();

    for side in [&mut client, &mut server] {
        assert_eq!(end_of(side).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    }
    connected(&proxy, &listener).await;
}

#[tokio::test]
async fn a_half_open_connection_ends_for_one_side_only_and_new_ones_work() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap().port()).await.unwrap();

    for gone in [Side::Target, Side::Client] {
        let (client, server) = connected(&proxy, &listener).await;
        let (mut told, mut untold) = if gone == Side::Target { (server, client) } else { (client, server) };
        proxy.half_open(gone);
        let told_end = end_of(&mut told).await.unwrap();
        let (mut new_client, mut new_server) = connected(&proxy, &listener).await;
        untold.write_all(b"is anybody there?").await.unwrap();
        let silence = timeout(Duration::from_millis(100), untold.read(&mut [0; 100])).await;
        proxy.release();
        let untold_end = end_of(&mut untold).await;
        new_client.write_all(b"3").await.unwrap();
        new_server.read_exact(&mut [0]).await.unwrap();

        assert_eq!(told_end, 0, "{gone:?}");
        assert!(silence.is_err(), "{gone:?}");
        assert_eq!(untold_end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset, "{gone:?}");
    }
}
