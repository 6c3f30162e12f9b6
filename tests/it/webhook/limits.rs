//! What a webhook's row may ask for, and what an event may hold. In: rows that ask for too much, and events that are too large. Out:
//! whether each is named, costs nobody else anything, and takes effect when it is mended.

use rig::Receiver;
use serde_json::json;

use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::marker;

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_dead_with_its_size_and_the_next_one_is_sent() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let settings = json!({"max_payload": "1KiB"});
    let lane = line.webhook(&receiver.url("/hook"), settings).await;
    let everything = line.webhook(&receiver.url("/everything"), json!({})).await;
    let emit = async |text: String| {
        let event = json!({"entity": "e", "counter": 1, "text": text});
        line.run(&format!("select andon.emit('job.updated', '{event}', 'acme', 'job', 'e')")).await;
    };
    emit("x".repeat(2000)).await;
    // The envelope alone makes this one too large.
    emit("x".repeat(950)).await;
    line.emit("acme", "e", 2).await;
    line.start();

    receiver.wait_accepted(PATIENCE, 4).await.unwrap();
    line.until("select count(*) = 2 from andon.deliveries").await;
    line.stop().await.unwrap();

    let accepted = receiver.accepted();
    let to_hook: Vec<_> = accepted.iter().filter(|it| it.path == "/hook").map(|it| marker(&it.body)).collect();
    assert_eq!(to_hook, [("e".to_owned(), 2)]);
    assert_eq!(
        line.parked(&lane).await,
        [
            "dead 1 the payload has at least 2043 bytes, and max_payload is 1024; send less or raise it",
            "dead 1 the payload has 1166 bytes, and max_payload is 1024; send less or raise it"
        ]
    );
    assert!(line.parked(&everything).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_asks_for_more_than_the_configuration_allows_is_misconfigured_until_it_asks_for_less() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/greedy"), json!({"timeout": "2000h", "concurrency": 256})).await;
    line.webhook(&receiver.url("/modest"), json!({})).await;
    line.start();
    line.emit("acme", "e", 1).await;
    receiver.wait_accepted(PATIENCE, 1).await.unwrap();

    let reason = line.state(&lane, "misconfigured").await;
    assert!(
        reason.contains("settings.concurrency: `256` is not a number from 1 to 64 (webhook.max_concurrency)"),
        "{reason}"
    );
    assert!(
        reason.contains("settings.timeout: `2000h` is not a duration from 1ms to 60s (webhook.max_timeout)"),
        "{reason}"
    );
    assert!(receiver.received().iter().all(|request| request.path == "/modest"));

    line.run("update andon.webhooks set settings = settings - 'timeout' - 'concurrency'").await;
    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    line.stop().await.unwrap();
    assert_eq!(receiver.received().last().unwrap().path, "/greedy");
}
