//! A gateway that loses its database, or is stopped, while it calls webhooks. In: cut connections and stops at bad moments. Out: whether
//! any event is lost, out of order, or sent twice without need.

use std::collections::BTreeMap;
use std::time::Duration;

use rig::Postgres;
use rig::proxy::Proxy;
use rig::receiver::Answer;
use rig::receiver::Receiver;
use serde_json::json;

use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::judge_requests;
use crate::support::line::wait_for_requests;

/// Returns the URL of the same database through the proxy.
fn through(proxy: &Proxy, url: &str) -> String {
    let server = Postgres::shared().port();
    url.replace(&format!(":{server}/"), &format!(":{}/", proxy.port()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_between_attempts_costs_nothing_but_time() {
    let (receiver, proxy) = (Receiver::start().await.unwrap(), Proxy::start(Postgres::shared().port()).await.unwrap());
    receiver.answer("/hook", Answer::status(200).after(Duration::from_millis(5)));
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({"retry": vec!["1ms"; 40], "concurrency": 4})).await;
    line.start_at(&through(&proxy, &line.url));
    let expected = line.emit_all(20, 20).await;

    for accepted in [50, 120, 200] {
        receiver.wait_accepted(PATIENCE, accepted).await.unwrap();
        // A delivery that fails while the database is away cannot be parked. It must wait in memory and hold its entity there.
        proxy.refuse(true).await.unwrap();
        proxy.cut();
        let before = receiver.received().len();
        receiver.answer_next("/hook", 3, &Answer::status(503));
        receiver.wait_received(PATIENCE, before + 8).await.unwrap();
        proxy.refuse(false).await.unwrap();
    }

    wait_for_requests(&receiver, &expected).await;
    line.until("select count(*) = 0 from andon.deliveries").await;
    line.stop().await.unwrap();
    let verdict = judge_requests(&expected, &receiver.accepted());
    assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
    assert!(receiver.received().len() > receiver.accepted().len(), "some events were tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_the_database_cut_at_any_byte_lose_and_disorder_nothing() {
    let (receiver, proxy) = (Receiver::start().await.unwrap(), Proxy::start(Postgres::shared().port()).await.unwrap());
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({"retry": vec!["1ms"; 40], "concurrency": 8})).await;
    line.start_at(&through(&proxy, &line.url));
    let mut expected = BTreeMap::from([("first".to_owned(), 1)]);
    line.emit("acme", "first", 1).await;
    receiver.wait_accepted(PATIENCE, 1).await.unwrap();

    for round in 1..=8 {
        receiver.answer_next("/hook", 2, &Answer::status(503));
        proxy.cut_after(rand::random_range(200..10_000));
        for entity in ["a", "b", "c"] {
            for counter in 1..=10 {
                line.emit("acme", entity, (round - 1) * 10 + counter).await;
            }
            expected.insert(entity.to_owned(), round * 10);
        }
        wait_for_requests(&receiver, &expected).await;
    }

    line.until("select count(*) = 0 from andon.deliveries").await;
    line.stop().await.unwrap();
    let verdict = judge_requests(&expected, &receiver.accepted());
    assert!(verdict.is_clean(), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_open_requests_end_and_writes_down_that_they_did() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/hook", Answer::status(200).after(Duration::from_millis(300)));
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({"concurrency": 4})).await;
    let expected = line.emit_all(4, 2).await;
    line.start();
    receiver.wait_received(PATIENCE, 4).await.unwrap();

    line.stop().await.unwrap();
    assert_eq!((receiver.received().len(), receiver.accepted().len()), (4, 4), "no request was begun after the stop");
    line.start();

    receiver.wait_accepted(PATIENCE, 8).await.unwrap();
    line.stop().await.unwrap();
    let verdict = judge_requests(&expected, &receiver.accepted());
    assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_outlasts_the_grace_of_a_stop_is_made_again() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/hook", Answer::hang());
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({"timeout": "1m"})).await;
    let expected = line.emit_all(3, 2).await;
    line.start();
    receiver.wait_received(PATIENCE, 3).await.unwrap();

    line.stop().await.unwrap();
    receiver.answer("/hook", Answer::status(200));
    line.start();

    receiver.wait_accepted(PATIENCE, 6).await.unwrap();
    line.stop().await.unwrap();
    let verdict = judge_requests(&expected, &receiver.accepted());
    assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
}
