//! Bad destinations take nothing from the others. In: lanes that come back after an outage, next to live ones. Out: whether they continue
//! from their cursors and deliver everything in order while the live lanes continue. `make bench-isolation` measures the speed.

use std::collections::BTreeMap;

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Proxy;
use rig::Receiver;
use rig::Subscriber;
use rig::receiver::Answer;
use serde_json::json;

use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::judge_messages;
use crate::support::line::judge_requests;
use crate::support::line::wait_for_messages;
use crate::support::plant::connect;

/// More events than an inbox of the feed holds, so that lanes have to read the rest from the log.
const BACKLOG: u64 = 2500;

#[tokio::test(flavor = "multi_thread")]
async fn lanes_that_return_go_on_from_their_cursors_while_the_live_ones_go_on() {
    let (broker, receiver) =
        (Mosquitto::start(&MosquittoOptions::default()).unwrap(), Receiver::start().await.unwrap());
    let (black_hole, refusing) =
        (Proxy::start(broker.port()).await.unwrap(), Proxy::start(receiver.port()).await.unwrap());
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    let stalled = line.publisher(black_hole.port(), json!({"keep_alive": "1s"})).await;
    let refused = line.webhook(&format!("http://127.0.0.1:{}/refused", refusing.port()), json!({})).await;
    // On a machine that is busy with other tests, an answer can take longer than that, and the default retries come minutes later.
    let retry = vec!["200ms"; 50];
    let silent = line.webhook(&receiver.url("/silent"), json!({"timeout": "200ms", "retry": retry})).await;
    line.webhook(&receiver.url("/live"), json!({})).await;
    line.start();
    let first = line.emit_all(10, 1).await;
    wait_for_messages(&subscriber, &first).await;
    for path in ["/refused", "/silent", "/live"] {
        arrived(&receiver, path, 10).await;
    }

    black_hole.stall();
    refusing.refuse(true).await.unwrap();
    refusing.cut();
    receiver.answer("/silent", Answer::hang());
    let backlog = line.emit_more(10, 1, 1 + BACKLOG / 10).await;
    arrived(&receiver, "/live", 10 + BACKLOG).await;
    line.state(&refused, "open").await;
    line.state(&silent, "open").await;
    line.state(&stalled, "retrying").await;
    let parked = "select count(*) from andon.deliveries";
    let held: i64 = line.client.query_one(parked, &[]).await.unwrap().get(0);
    assert!(held < 1000, "{held} of {BACKLOG} events of dead lanes were moved from the log into the ledger");

    black_hole.resume();
    refusing.refuse(false).await.unwrap();
    receiver.answer("/silent", Answer::status(200));
    let mut expected: BTreeMap<String, u64> = backlog;
    for counter in 1..=50 {
        line.emit("acme", "live", counter).await;
    }
    expected.insert("live".to_owned(), 50);

    let all = 10 + BACKLOG + 50;
    wait_for_messages(&subscriber, &expected).await;
    for path in ["/refused", "/silent", "/live"] {
        arrived(&receiver, path, all).await;
    }
    line.until("select count(*) = 0 from andon.deliveries").await;
    line.stop().await.unwrap();
    for path in ["/refused", "/silent", "/live"] {
        let requests: Vec<_> = receiver.accepted().into_iter().filter(|it| it.path == path).collect();
        let verdict = judge_requests(&expected, &requests);
        assert!(verdict.is_clean(), "{path}: {verdict:?}");
    }
    let verdict = judge_messages(&expected, &subscriber.received());
    assert!(verdict.is_clean(), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_whose_row_somebody_holds_does_not_hold_up_the_cursors_of_the_others() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let mut line = Line::new().await;
    let held = line.publisher(broker.port(), json!({})).await;
    let free = line.publisher(broker.port(), json!({})).await;
    line.start();
    let written = async |lane: &str, count: i32| {
        line.until(&format!("select exists (select from andon.lanes where lane = '{lane}' and delivered = {count})"))
            .await;
    };
    line.emit("acme", "e", 1).await;
    written(&held, 1).await;
    written(&free, 1).await;

    let somebody = connect(&line.url).await;
    somebody.batch_execute("begin").await.unwrap();
    somebody.execute("select from andon.lanes where lane = $1 for update", &[&held]).await.unwrap();
    line.emit("acme", "e", 2).await;
    written(&free, 2).await;
    line.emit("acme", "e", 3).await;
    written(&free, 3).await;
    // Whoever waited for the row would keep its connection from the others.
    line.until("select not exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')").await;

    somebody.batch_execute("commit").await.unwrap();
    written(&held, 3).await;
    line.stop().await.unwrap();
}

/// Waits until a path has answered this number of requests with 200.
async fn arrived(receiver: &Receiver, path: &str, count: u64) {
    receiver.acceptances().wait_for_matching(PATIENCE, count as usize, |it| it.path == path).await.unwrap();
}
