//! What requests show besides the signature. In: rows with headers, users, tokens and a server of tokens. Out: what the endpoint gets, how
//! often a token is asked for, and whether the trouble of a server of tokens is that of its own lane.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rig::Receiver;
use rig::ScriptedEndpoint;
use rig::receiver::Answer;
use rig::receiver::Received;
use rig::scripted_endpoint::Step;
use serde_json::json;

use crate::shown::told;
use crate::support::line::Line;
use crate::support::line::PATIENCE;

const IS_DOWN: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 28\r\n\r\n{\"error\":\"t0ken cl13nt-s3cr\"";

/// Starts a server of tokens that is down until it is told to be up. It gives `t0ken-1`, `t0ken-2` and so on.
async fn tokens(is_up: &Arc<AtomicBool>) -> ScriptedEndpoint {
    let (is_up, given) = (Arc::clone(is_up), AtomicUsize::new(0));
    let answer = move |_: &rig::scripted_endpoint::Request| {
        if !is_up.load(Ordering::SeqCst) {
            return vec![Step::send(IS_DOWN)];
        }
        let number = given.fetch_add(1, Ordering::SeqCst) + 1;
        let body = format!(r#"{{"access_token": "t0ken-{number}", "token_type": "Bearer", "expires_in": 3600}}"#);
        // All that want a token at once wait for the same one.
        let pause = Step::Wait(Duration::from_millis(200));
        vec![pause, Step::send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))]
    };
    ScriptedEndpoint::start(answer).await.unwrap()
}

/// Returns what an endpoint gets as this header.
fn header<'a>(received: &'a Received, name: &str) -> &'a str {
    received.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_users_and_tokens_of_a_row_are_sent_and_shown_nowhere() {
    let (mut line, receiver) = (Line::new().await, Receiver::start().await.unwrap());
    for path in ["/basic", "/bearer", "/headers"] {
        line.webhook(&receiver.url(path), json!({})).await;
        receiver.answer_next(path, 1, &Answer::status(500));
    }
    line.run(
        r#"update andon.webhooks set username = 'andon', password = ' p4ss ' where url like '%/basic';
        update andon.webhooks set token = 'b34rer' where url like '%/bearer';
        update andon.webhooks set headers = '{"X-Api-Key": "h34der", "User-Agent": "plant"}' where url like '%/headers';
        update andon.webhooks set settings = settings || '{"retry": ["1s", "1s"]}'"#,
    )
    .await;
    line.emit("acme", "e", 1).await;
    line.start();

    receiver.wait_accepted(PATIENCE, 3).await.unwrap();

    line.stop().await.unwrap();
    let accepted = receiver.accepted();
    let got = |path: &str| accepted.iter().find(|it| it.path == path).unwrap();
    assert_eq!(header(got("/basic"), "authorization"), "Basic YW5kb246IHA0c3Mg");
    assert_eq!(header(got("/bearer"), "authorization"), "Bearer b34rer");
    assert_eq!((header(got("/headers"), "x-api-key"), header(got("/headers"), "user-agent")), ("h34der", "plant"));
    let told = told(&line).await;
    for secret in ["p4ss", "YW5kb246", "b34rer", "h34der"] {
        assert!(!told.contains(secret), "{secret} is shown: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_once_and_once_more_when_it_is_not_taken() {
    let is_up = Arc::new(AtomicBool::new(true));
    let (mut line, receiver, server) = (Line::new().await, Receiver::start().await.unwrap(), tokens(&is_up).await);
    let lane = line.webhook(&receiver.url("/hook"), json!({"order": "none", "concurrency": 8, "retry": ["1h"]})).await;
    grant(&line, &server).await;
    line.emit_all(20, 1).await;
    line.start();

    receiver.wait_accepted(PATIENCE, 20).await.unwrap();
    assert_eq!(server.requests().snapshot().len(), 1);
    assert!(receiver.accepted().iter().all(|it| header(it, "authorization") == "Bearer t0ken-1"));
    receiver.answer_next("/hook", 1, &Answer::status(401));
    line.emit("acme", "last", 1).await;
    receiver.wait_accepted(PATIENCE, 21).await.unwrap();

    assert_eq!(header(&receiver.accepted()[20], "authorization"), "Bearer t0ken-2");
    assert_eq!((server.requests().snapshot().len(), line.parked(&lane).await.len()), (2, 0));
    let asked = String::from_utf8_lossy(&server.requests().snapshot()[0].body).into_owned();
    assert_eq!(asked, "grant_type=client_credentials&scope=write+events");
    // An endpoint that takes no token at all is asked twice for each attempt, and no more.
    receiver.answer("/hook", Answer::status(401));
    line.emit("acme", "never", 1).await;
    line.until(&format!("select exists (select from andon.deliveries where lane = '{lane}' and attempts = 1)")).await;
    line.stop().await.unwrap();
    assert!(line.parked(&lane).await[0].contains("answered 401"), "{:?}", line.parked(&lane).await);
    assert_eq!(server.requests().snapshot().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trouble_of_a_server_of_tokens_is_named_and_is_that_of_its_lane_alone() {
    let is_up = Arc::new(AtomicBool::new(false));
    let (mut line, receiver, server) = (Line::new().await, Receiver::start().await.unwrap(), tokens(&is_up).await);
    let lane = line.webhook(&receiver.url("/hook"), json!({"retry": ["1s", "1s", "1s", "1s", "1s", "1h"]})).await;
    grant(&line, &server).await;
    line.webhook(&receiver.url("/other"), json!({})).await;
    line.emit("acme", "e", 1).await;
    line.start();

    receiver.acceptances().wait_for_matching(PATIENCE, 1, |it| it.path == "/other").await.unwrap();
    line.until(&format!("select exists (select from andon.deliveries where lane = '{lane}' and attempts > 0)")).await;
    let (parked, at) = (line.parked(&lane).await.join("\n"), server.url().replace("/hook", ""));
    let told = told(&line).await;
    is_up.store(true, Ordering::SeqCst);
    receiver.acceptances().wait_for_matching(PATIENCE, 1, |it| it.path == "/hook").await.unwrap();
    line.stop().await.unwrap();

    assert!(parked.contains(&format!("no token from {at}: it answered 503")), "{parked}");
    assert!(!told.contains("cl13nt-s3cret") && !told.contains("t0ken"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_tokens_that_wants_the_secret_in_the_body_gets_it_there() {
    let (mut line, receiver) = (Line::new().await, Receiver::start().await.unwrap());
    let server = tokens(&Arc::new(AtomicBool::new(true))).await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"oauth_auth_method": "client_secret_jwt"})).await;
    grant(&line, &server).await;
    line.emit("acme", "e", 1).await;
    line.start();

    let reason = line.state(&lane, "misconfigured").await;
    line.run(r#"update andon.webhooks set settings = settings || '{"oauth_auth_method": "client_secret_post"}'"#).await;
    receiver.wait_accepted(PATIENCE, 1).await.unwrap();
    line.stop().await.unwrap();

    let wanted =
        "settings.oauth_auth_method: `client_secret_jwt` is not one of client_secret_basic, client_secret_post";
    assert!(reason.contains(wanted), "{reason}");
    let asked = String::from_utf8_lossy(&server.requests().snapshot()[0].body).into_owned();
    let form = "grant_type=client_credentials&scope=write+events&client_id=andon&client_secret=cl13nt-s3cret";
    assert_eq!((asked.as_str(), header(&receiver.accepted()[0], "authorization")), (form, "Bearer t0ken-1"));
}

/// Gives the webhook of path `/hook` client credentials.
async fn grant(line: &Line, server: &ScriptedEndpoint) {
    line.run(&format!(
        "update andon.webhooks set oauth_token_url = '{}', oauth_client_id = 'andon', oauth_client_secret = 'cl13nt-s3cret',
        oauth_scope = 'write events' where url like '%/hook'",
        server.url()
    ))
    .await;
}
