//! Answers that are slow, endless, broken or hardly HTTP. In: endpoints that answer with bytes of the test's choice. Out: whether the
//! status alone decides, whether a connection is kept as long as it can be, and what an endless answer costs.

use std::time::Duration;

use rig::ScriptedEndpoint;
use rig::scripted_endpoint::Step;
use serde_json::json;

use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::marker;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Starts an endpoint that answers every request in this way.
async fn answering(steps: Vec<Step>) -> ScriptedEndpoint {
    ScriptedEndpoint::start(move |_| steps.clone()).await.unwrap()
}

/// Starts a line with one webhook per endpoint, emits two events of one entity, and returns the lanes once each endpoint has got
/// `requests` requests.
async fn two_events_to(endpoints: &[ScriptedEndpoint], requests: usize) -> (Line, Vec<String>) {
    let (mut line, mut lanes) = (Line::new().await, Vec::new());
    for endpoint in endpoints {
        let settings = json!({"timeout": "1s", "retry": ["1h"]});
        lanes.push(line.webhook(&endpoint.url(), settings).await);
    }
    line.emit("acme", "e", 1).await;
    line.emit("acme", "e", 2).await;
    line.start();
    for endpoint in endpoints {
        endpoint.requests().wait_for_count(PATIENCE, requests).await.unwrap();
    }
    (line, lanes)
}

/// Returns the counters of the events that an endpoint got.
fn counters(endpoint: &ScriptedEndpoint) -> Vec<u64> {
    endpoint.requests().snapshot().iter().map(|request| marker(&request.body).1).collect()
}

fn connections(endpoint: &ScriptedEndpoint) -> Vec<usize> {
    endpoint.requests().snapshot().iter().map(|request| request.connection).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_with_a_2xx_is_delivered_whatever_its_body_does() {
    let sized = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nbegun";
    let chunked = "HTTP/1.1 202 Accepted\r\ntransfer-encoding: chunked\r\n\r\n";
    let a = || "a".to_owned();
    let mut endpoints = Vec::new();
    for steps in [
        vec![Step::send(sized), Step::Hang],
        vec![Step::send(sized), Step::Close],
        vec![Step::send(sized), Step::Reset],
        vec![Step::send("HTTP/1.1 200 OK\r\n\r\n"), Step::Trickle(a().into(), Duration::from_millis(30))],
        vec![Step::send("HTTP/1.1 200 OK\r\n\r\n"), Step::Flood("a".repeat(4096).into())],
        vec![Step::send(format!("{chunked}2\r\nok\r\n")), Step::Hang],
        vec![Step::send(format!("{chunked}2\r\nok\r\n")), Step::Close],
        vec![Step::send(chunked), Step::Flood("1\r\na\r\n".into())],
        vec![Step::send(format!("{chunked}2;")), Step::Flood("x".repeat(4096).into())],
        vec![Step::send(format!("{chunked}0\r\n")), Step::Flood("x-trailer: x\r\n".into())],
        vec![Step::send(format!("{chunked}nonsense\r\n"))],
        vec![Step::send(format!("{chunked}fffffffffffffffff\r\n"))],
        vec![Step::send("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\0\u{1}\u{2}")],
    ] {
        endpoints.push(answering(steps).await);
    }

    let (mut line, _) = two_events_to(&endpoints, 2).await;
    line.until(ALL_DONE).await;

    line.until("select count(*) = 0 from andon.deliveries").await;
    line.until("select count(*) = 0 from andon.attempts").await;
    line.stop().await.unwrap();
    for (number, endpoint) in endpoints.iter().enumerate() {
        assert_eq!(counters(endpoint), [1, 2], "endpoint {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_be_understood_of_the_status_decides() {
    let many: String = (0..101).map(|number| format!("x-{number}: x\r\n")).collect();
    let heads = |status: &str| {
        vec![
            vec![Step::send(format!("HTTP/1.1 {status} x\r\n{many}content-length: 0\r\n\r\n"))],
            vec![Step::send(format!("HTTP/1.1 {status} x\r\nno colon\r\ncontent-length: 0\r\n\r\n"))],
            vec![Step::send(format!("HTTP/1.1 {status} x\r\n: no name\r\ncontent-length: 0\r\n\r\n"))],
            vec![Step::send(format!("HTTP/1.1 {status} x\r\nx-bell: \u{7}\r\ncontent-length: 0\r\n\r\n"))],
            vec![Step::send(format!("HTTP/1.1 {status} x\r\nx y : z\r\ncontent-length : 0\r\n\r\n"))],
            vec![Step::send(format!("HTTP/1.1 {status} x\r\nx: y\r\n folded\r\ncontent-length: 0\r\n\r\n"))],
            vec![Step::send(format!("HTTP/1.1 {status} x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"))],
            vec![Step::send(format!("HTTP/1.1 {status} x\r\ncontent-length: many\r\n\r\n")), Step::Close],
            vec![Step::send(format!("HTTP/1.1 {status} x\r\ntransfer-encoding: zip\r\n\r\n")), Step::Close],
            vec![Step::send(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"))],
            vec![Step::send(format!("HTTP/1.1 {status} x\ncontent-length: 0\n\n"))],
            vec![Step::send(format!("HTTP/1.0 {status} x\r\n\r\n")), Step::Close],
            vec![Step::send(format!("http/1.1 {status} x\r\ncontent-length: 0\r\n\r\n"))],
            vec![Step::send(format!("HTTP/2 {status} x\r\ncontent-length: 0\r\n\r\n"))],
            vec![Step::send(format!("HTTP/1.1  {status} x\r\ncontent-length: 0\r\n\r\n"))],
            vec![Step::send(format!("HTTP/1.1 {status} \0\r\ncontent-length: 0\r\n\r\n"))],
            vec![Step::send(format!("HTTP/1.1 {status} {}", "x".repeat(100_000))), Step::Close],
            vec![Step::send(format!("HTTP/1.1 {status} x\r\nx: ")), Step::Flood("x".repeat(4096).into())],
            vec![Step::send(format!("HTTP/1.1 {status} x\r\nx: y")), Step::Close],
            vec![Step::send(format!("HTTP/1.1 {status} x\r\nx: y")), Step::Reset],
            vec![Step::send(format!("HTTP/1.1 {status} x\r\nx: y")), Step::Hang],
            vec![Step::send(format!("HTTP/1.1 100 Continue\r\nx\r\n\r\nHTTP/1.1 {status} x\r\n{many}\r\n"))],
        ]
    };
    let (mut accepting, mut refusing) = (Vec::new(), Vec::new());
    for (accepts, refuses) in heads("200").into_iter().zip(heads("503")) {
        accepting.push(answering(accepts).await);
        refusing.push(answering(refuses).await);
    }

    let (mut line, _) = two_events_to(&accepting, 2).await;
    line.until(ALL_DONE).await;
    line.until("select count(*) = 0 from andon.deliveries").await;
    line.stop().await.unwrap();
    for (number, endpoint) in accepting.iter().enumerate() {
        assert_eq!(counters(endpoint), [1, 2], "endpoint {number}");
    }

    let (mut line, lanes) = two_events_to(&refusing, 1).await;
    line.until(ALL_DONE).await;
    line.stop().await.unwrap();
    for (number, lane) in lanes.iter().enumerate() {
        let parked = line.parked(lane).await;
        assert!(parked[0].starts_with("retry 1 answered 503"), "endpoint {number}: {parked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_status_is_no_delivery() {
    let mut endpoints = Vec::new();
    for steps in [
        vec![Step::Close],
        vec![Step::send("HTTP/1.1 20"), Step::Close],
        vec![Step::send("HTTP/1.1 100 Continue\r\n\r\n"), Step::Close],
        vec![Step::send("SSH-2.0-OpenSSH_9.2\r\n"), Step::Close],
        vec![Step::send("<html>HTTP/1.1 200 OK</html>\r\n\r\n"), Step::Close],
        vec![Step::send("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")],
    ] {
        endpoints.push(answering(steps).await);
    }

    let (mut line, lanes) = two_events_to(&endpoints, 1).await;
    line.until(ALL_DONE).await;
    line.stop().await.unwrap();

    for (number, lane) in lanes.iter().enumerate() {
        assert_eq!(line.parked(lane).await.len(), 2, "endpoint {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_answer_says_nothing_about_the_next_request_of_its_connection() {
    // The second request goes out on the connection of the first, and is not answered.
    let endpoint = ScriptedEndpoint::start(|request| match marker(&request.body).1 {
        1 => vec![Step::send(OK)],
        _ => vec![Step::Close],
    });
    let endpoints = [endpoint.await.unwrap()];

    let (mut line, lanes) = two_events_to(&endpoints, 2).await;
    line.until(ALL_DONE).await;
    line.stop().await.unwrap();

    assert_eq!(connections(&endpoints[0]), [1, 1]);
    assert_eq!(line.parked(&lanes[0]).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_read_to_its_end_keeps_its_connection() {
    let mut endpoints = Vec::new();
    for answer in [
        OK,
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\nx-trailer: x\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nno colon\r\ncontent-length : 2\r\n\r\nok",
    ] {
        endpoints.push(answering(vec![Step::send(answer)]).await);
    }
    // A body that comes later than its head, in pieces.
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n";
    let pause = || Step::Wait(Duration::from_millis(20));
    endpoints
        .push(answering(vec![Step::send(chunked), pause(), Step::send("0\r\n"), pause(), Step::send("\r\n")]).await);

    let (mut line, _) = two_events_to(&endpoints, 2).await;
    for counter in 3..=10 {
        line.emit("acme", "e", counter).await;
        for endpoint in &endpoints {
            endpoint.requests().wait_for_count(PATIENCE, counter as usize).await.unwrap();
        }
    }

    line.stop().await.unwrap();
    for (number, endpoint) in endpoints.iter().enumerate() {
        assert_eq!(connections(endpoint), [1; 10], "endpoint {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_its_endpoint_closes_is_replaced_and_nothing_is_sent_twice() {
    let mut endpoints = Vec::new();
    for answer in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\n\r\nuntil it ends",
    ] {
        endpoints.push(answering(vec![Step::send(answer), Step::Close]).await);
    }
    // It asks for the connection to be closed, and leaves that to the sender.
    let close = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    endpoints.push(answering(vec![Step::send(close)]).await);

    let (mut line, _) = two_events_to(&endpoints, 2).await;
    line.until(ALL_DONE).await;

    line.stop().await.unwrap();
    for (number, endpoint) in endpoints.iter().enumerate() {
        assert_eq!((connections(endpoint), counters(endpoint)), (vec![1, 2], vec![1, 2]), "endpoint {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_before_its_row_changed_or_the_gateway_stopped_is_not_sent_again() {
    let slow = || vec![Step::send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"), Step::Hang];
    let (changed, stopped, new) =
        (answering(slow()).await, answering(slow()).await, answering(vec![Step::send(OK)]).await);
    let mut line = Line::new().await;
    let lane = line.webhook(&changed.url(), json!({})).await;
    line.start();
    line.state(&lane, "running").await;
    line.emit("acme", "e", 1).await;
    changed.requests().wait_for_count(PATIENCE, 1).await.unwrap();

    line.run(&format!("update andon.webhooks set url = '{}'", stopped.url())).await;
    line.until(&format!("select epoch > 1 from andon.lanes where lane = '{lane}'")).await;
    line.emit("acme", "e", 2).await;
    stopped.requests().wait_for_count(PATIENCE, 1).await.unwrap();
    line.stop().await.unwrap();
    line.run(&format!("update andon.webhooks set url = '{}'", new.url())).await;
    line.start();
    line.emit("acme", "e", 3).await;

    new.requests().wait_for_count(PATIENCE, 1).await.unwrap();
    line.stop().await.unwrap();
    assert_eq!([counters(&changed), counters(&stopped), counters(&new)], [[1], [2], [3]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_never_comes_to_its_answer_is_cut_off_and_takes_no_turns_from_another_tenant() {
    /// What the two ends' socket buffers may hold besides what is read.
    const PER_REQUEST: u64 = 16 << 20;
    let mut line = Line::new().await;
    let (mut endless, mut lanes) = (Vec::new(), Vec::new());
    for interim in ["HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "\r\n"] {
        let endpoint = answering(vec![Step::Flood(interim.repeat(1000).into())]).await;
        lanes.push(line.webhook_of("evil", &endpoint.url(), json!({"timeout": "1m", "concurrency": 16})).await);
        endless.push(endpoint);
    }
    let healthy = answering(vec![Step::send(OK)]).await;
    line.webhook(&healthy.url(), json!({})).await;
    for entity in 0..50 {
        line.emit("evil", &format!("e{entity}"), 1).await;
    }
    line.start();

    for lane in &lanes {
        let reason = "the request failed: no status came within the first 16384 bytes of the answer";
        assert_eq!(line.state(lane, "open").await, reason);
    }
    for counter in 1..=100 {
        line.emit("acme", "e", counter).await;
        healthy.requests().wait_for_count(PATIENCE, counter as usize).await.unwrap();
    }

    line.stop().await.unwrap();
    for endpoint in endless {
        let requests = endpoint.requests().len() as u64;
        assert!(endpoint.bytes_sent() < requests * PER_REQUEST, "{} in {requests} answers", endpoint.bytes_sent());
    }
}
