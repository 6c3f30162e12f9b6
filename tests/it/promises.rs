//! The seven promises of the design. For each of them there is a test that would fail without it.

use std::collections::BTreeMap;
use std::time::Duration;

use rig::mosquitto::Mosquitto;
use rig::mosquitto::MosquittoOptions;
use rig::receiver::Answer;
use rig::receiver::Receiver;
use rig::subscriber::Subscriber;
use serde_json::json;

use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::emit_sql;
use crate::support::line::judge_messages;
use crate::support::line::judge_requests;
use crate::support::line::wait_for_messages;
use crate::support::line::wait_for_requests;
use crate::support::plant::connect;

fn one(entity: &str, counter: u64) -> BTreeMap<String, u64> {
    BTreeMap::from([(entity.to_owned(), counter)])
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_committed_is_lost() {
    let (broker, receiver) =
        (Mosquitto::start(&MosquittoOptions::default()).unwrap(), Receiver::start().await.unwrap());
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    line.publisher(broker.port(), json!({})).await;
    line.webhook(&receiver.url("/hook"), json!({})).await;

    let expected = line.emit_all(40, 50).await;
    line.start();

    wait_for_messages(&subscriber, &expected).await;
    wait_for_requests(&receiver, &expected).await;
    line.stop().await.unwrap();
    for verdict in [judge_messages(&expected, &subscriber.received()), judge_requests(&expected, &receiver.accepted())]
    {
        assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_rolled_back_is_sent() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({})).await;
    line.start();

    line.run(&format!("begin; {}; rollback", emit_sql("acme", "ghost", 1))).await;
    line.emit("acme", "real", 1).await;
    line.run(&format!(
        "begin; savepoint s; {}; rollback to s; {}; commit",
        emit_sql("acme", "ghost", 2),
        emit_sql("acme", "real", 2)
    ))
    .await;

    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    line.stop().await.unwrap();
    let verdict = judge_requests(&one("real", 2), &receiver.accepted());
    assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_an_entity_arrive_in_order_retries_included() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({"retry": ["1ms", "1ms", "1ms", "1ms", "1ms"], "concurrency": 16}))
        .await;
    for _ in 0..4 {
        receiver.answer_next("/hook", 3, &Answer::status(503));
        receiver.answer_next("/hook", 40, &Answer::status(200));
    }

    let expected = line.emit_all(10, 30).await;
    line.start();

    wait_for_requests(&receiver, &expected).await;
    line.stop().await.unwrap();
    let verdict = judge_requests(&expected, &receiver.accepted());
    assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
    assert!(receiver.received().len() > 300, "some were tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_down_hurts_no_other() {
    let (dead, alive) = (Receiver::start().await.unwrap(), Receiver::start().await.unwrap());
    dead.answer("/hook", Answer::hang());
    let mut line = Line::new().await;
    let hanging = line.webhook(&dead.url("/hook"), json!({"timeout": "200ms"})).await;
    let refused = line.webhook("http://127.0.0.1:1/hook", json!({})).await;
    let unreachable = line.publisher(1, json!({})).await;
    line.webhook(&alive.url("/hook"), json!({})).await;

    let expected = line.emit_all(50, 40).await;
    line.start();

    wait_for_requests(&alive, &expected).await;
    assert_eq!(line.state(&hanging, "open").await, "no answer within 200ms");
    assert!(line.state(&refused, "open").await.starts_with("cannot connect"));
    assert!(line.state(&unreachable, "retrying").await.contains("refused"));
    let tried = dead.received().len();
    assert!(tried < 100, "{tried} attempts were wasted on a dead endpoint with 2,000 events waiting");

    dead.answer("/hook", Answer::status(200));
    wait_for_requests(&dead, &expected).await;
    line.stop().await.unwrap();
    let verdict = judge_requests(&expected, &dead.accepted());
    assert!(verdict.is_clean(), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_transaction_delays_nobody() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({})).await;
    line.start();
    let import = connect(&line.url).await;
    import.batch_execute("begin").await.unwrap();
    import
        .batch_execute(
            "insert into andon.events (tenant, type, entity_type, entity_id, data)
            select 'acme', 'job.updated', 'job', 'import', jsonb_build_object('entity', 'import', 'counter', counter)
            from generate_series(1, 5000) counter; select andon.ring();",
        )
        .await
        .unwrap();

    for counter in 1..=20 {
        line.emit("acme", "other", counter).await;
    }

    wait_for_requests(&receiver, &one("other", 20)).await;
    import.batch_execute("commit").await.unwrap();
    let all = BTreeMap::from([("other".to_owned(), 20), ("import".to_owned(), 5000)]);
    receiver.wait_accepted(PATIENCE, 5020).await.unwrap();
    line.stop().await.unwrap();
    let verdict = judge_requests(&all, &receiver.accepted());
    assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_never_mix() {
    let (broker, receiver) =
        (Mosquitto::start(&MosquittoOptions::default()).unwrap(), Receiver::start().await.unwrap());
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    for tenant in ["acme", "rival"] {
        line.publisher_of(tenant, &format!("to-{tenant}/{{tenant_id}}/{{event}}"), broker.port(), json!({})).await;
        line.webhook_of(tenant, &receiver.url(&format!("/{tenant}")), json!({})).await;
    }

    for counter in 1..=50 {
        for tenant in ["acme", "rival", "nobody", ""] {
            line.emit(tenant, &format!("of-{tenant}"), counter).await;
        }
    }
    line.start();

    let is_event = |topic: &str| topic.starts_with("to-");
    subscriber.messages().wait_for_matching(PATIENCE, 100, |message| is_event(&message.topic)).await.unwrap();
    receiver.wait_accepted(PATIENCE, 100).await.unwrap();
    line.stop().await.unwrap();
    for message in subscriber.received().iter().filter(|message| is_event(&message.topic)) {
        assert!(
            ["to-acme/acme/job/updated", "to-rival/rival/job/updated"].contains(&message.topic.as_str()),
            "{}",
            message.topic
        );
    }
    for tenant in ["acme", "rival"] {
        let of_tenant: Vec<_> =
            receiver.received().into_iter().filter(|request| request.path == format!("/{tenant}")).collect();
        let verdict = judge_requests(&one(&format!("of-{tenant}"), 50), &of_tenant);
        assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_late_failed_parked_or_misconfigured_is_visible_with_its_reason() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/late", Answer::status(500));
    receiver.answer("/dead", Answer::status(500));
    let mut line = Line::new().await;
    let late = line.webhook(&receiver.url("/late"), json!({"retry": ["1h"]})).await;
    let dead = line.webhook(&receiver.url("/dead"), json!({"retry": []})).await;
    let wrong = line.webhook("not a url", json!({})).await;
    line.start();

    line.emit("acme", "e", 1).await;
    line.emit("acme", "e", 2).await;

    line.until("select count(*) = 4 from andon.deliveries").await;
    assert_eq!(
        line.parked(&late).await,
        ["retry 1 answered 500: 500", "waiting 0 waits behind an earlier event of the same entity"]
    );
    assert_eq!(line.parked(&dead).await, ["dead 1 answered 500: 500", "dead 1 answered 500: 500"]);
    assert!(line.state(&wrong, "misconfigured").await.contains("url is not the address of an endpoint: relative URL"));
    line.until("select count(*) = 3 from andon.attempts where code = 500 and outcome in ('retry', 'dead')").await;
    tokio::time::timeout(Duration::from_secs(5), line.stop()).await.unwrap().unwrap();
}
