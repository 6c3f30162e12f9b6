//! Webhooks as their receivers see them. In: events, and endpoints that verify every signature. Out: whether headers, ids, signatures and
//! bodies follow Standard Webhooks, or eryxon's own format where eryxon's table names the endpoint.

mod answers;
mod away;
mod credentials;
mod culprits;
mod http2;
mod limits;
mod live;
mod order;
mod probe;
mod retry;
mod standard;

use rig::receiver::Answer;
use rig::receiver::Received;
use rig::receiver::Receiver;
use rig::signature::Signature;
use serde_json::Value;
use serde_json::json;

use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::SECRET;
use crate::support::line::marker;
use crate::support::plant::Plant;

fn header<'a>(request: &'a Received, name: &str) -> &'a str {
    request.headers[name].to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_keeps_its_id_and_each_attempt_is_signed_at_its_own_time() {
    let receiver = Receiver::start().await.unwrap();
    for path in ["/a", "/b"] {
        receiver.expect_signature(path, SECRET);
    }
    receiver.answer_next("/a", 1, &Answer::status(503));
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/a"), json!({"retry": ["1s"]})).await;
    line.webhook(&receiver.url("/b"), json!({})).await;
    line.start();

    line.emit("acme", "e", 1).await;

    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    line.stop().await.unwrap();
    let received = receiver.received();
    let to = |path: &str| received.iter().filter(|request| request.path == path).collect::<Vec<_>>();
    let (a, b) = (to("/a"), to("/b"));
    assert_eq!((a.len(), b.len()), (2, 1));
    assert!(received.iter().all(|request| request.signature == Signature::Valid), "{received:?}");
    assert!(received.iter().all(|request| header(request, "content-type") == "application/json"));
    assert_eq!(header(a[0], "webhook-id"), header(a[1], "webhook-id"));
    assert_ne!(header(a[0], "webhook-id"), header(b[0], "webhook-id"));
    let at = |request: &Received| header(request, "webhook-timestamp").parse::<u64>().unwrap();
    assert!(at(a[1]) > at(a[0]), "each attempt has its own time");
    assert_eq!((&a[0].body, &a[0].body), (&a[1].body, &b[0].body));
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_secrets_sign_and_during_a_rotation_the_old_and_the_new_one_do() {
    const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    for (path, stands, expected) in [
        ("/plain", "a secret, as people type it", "a secret, as people type it"),
        ("/blanks", " blanks at both ends \n", " blanks at both ends \n"),
        ("/old", &format!("{SECRET} {NEW}"), SECRET),
        ("/new", &format!("{SECRET} {NEW}"), NEW),
    ] {
        receiver.expect_signature(path, expected);
        let lane = line.webhook(&receiver.url(path), json!({})).await;
        let row = lane.split_once('/').unwrap().1;
        line.run(&format!("update andon.webhooks set secret_key = '{stands}' where id = '{row}'")).await;
    }
    line.start();

    line.emit("acme", "e", 1).await;

    receiver.wait_accepted(PATIENCE, 4).await.unwrap();
    line.stop().await.unwrap();
    for request in receiver.received() {
        assert_eq!(request.signature, Signature::Valid, "{}", request.path);
        let signatures = header(&request, "webhook-signature").split(' ').count();
        assert_eq!(signatures, if ["/plain", "/blanks"].contains(&request.path.as_str()) { 1 } else { 2 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_in_eryxons_own_table_gets_eryxons_body_and_headers() {
    let receiver = Receiver::start().await.unwrap();
    receiver.expect_signature("/hook", " an eryxon secret ");
    let plant = Plant::attached().await;
    plant
        .run(&format!(
            "insert into webhooks (tenant_id, url, events, secret_key)
            values ('00000000-0000-0000-0000-00000000000a', '{}', '{{job.created}}', ' an eryxon secret ')",
            receiver.url("/hook")
        ))
        .await;
    let mut line = Line::of(plant);
    line.start();
    line.until("select count(*) = 1 from andon.lanes where lane like 'public.webhooks/%' and state = 'running'").await;

    line.run(
        "insert into jobs (tenant_id, job_number, customer)
        values ('00000000-0000-0000-0000-00000000000a', 'J-2', 'Nut & Sons')",
    )
    .await;

    receiver.wait_accepted(PATIENCE, 1).await.unwrap();
    line.stop().await.unwrap();
    let request = &receiver.received()[0];
    assert_eq!(request.signature, Signature::Valid);
    assert!(header(request, "x-eryxon-signature").starts_with("sha256="));
    assert_eq!(header(request, "x-eryxon-event"), "job.created");
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let data: String = line
        .client
        .query_one("select data::text from andon.events where type = 'job.created'", &[])
        .await
        .unwrap()
        .get(0);
    let timestamp = body["timestamp"].as_str().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&request.body),
        format!(r#"{{"event":"job.created","timestamp":"{timestamp}","data":{data}}}"#)
    );
    assert_eq!(body["data"]["job_number"], "J-2");
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_requests_as_allowed_are_open_at_a_time_and_never_two_of_one_entity() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/hook", Answer::status(200).after(std::time::Duration::from_millis(50)));
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({"concurrency": 4})).await;

    line.emit_all(20, 4).await;
    line.start();

    receiver.wait_accepted(PATIENCE, 80).await.unwrap();
    line.stop().await.unwrap();
    let received = receiver.received();
    assert_eq!(received.iter().map(|request| request.concurrent.len() + 1).max(), Some(4));
    for request in received {
        let entity = marker(&request.body).0;
        assert!(request.concurrent.iter().all(|body| marker(body).0 != entity), "two of {entity} at a time");
    }
}
