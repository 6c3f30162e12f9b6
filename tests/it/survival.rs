//! The gateway survives its own death, the loss of its connections and of the database, a log that goes back in time, and changes of its
//! destinations.

use std::collections::BTreeMap;
use std::time::Duration;

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Postgres;
use rig::Receiver;
use rig::Subscriber;
use rig::receiver::Answer;
use serde_json::json;

use crate::support::daemon;
use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::emit_sql;
use crate::support::line::judge_messages;
use crate::support::line::judge_requests;
use crate::support::line::marker;
use crate::support::line::wait_for_messages;
use crate::support::line::wait_for_requests;
use crate::support::plant::connect;

#[tokio::test(flavor = "multi_thread")]
async fn after_sigkill_only_what_was_not_checkpointed_comes_twice() {
    let (broker, receiver) =
        (Mosquitto::start(&MosquittoOptions::default()).unwrap(), Receiver::start().await.unwrap());
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let line = Line::new().await;
    line.publisher(broker.port(), json!({})).await;
    line.webhook(&receiver.url("/hook"), json!({})).await;
    line.emit_all(20, 20).await;
    let daemon = daemon::start(&line.url).await;
    receiver.wait_accepted(PATIENCE, 400).await.unwrap();
    line.until(ALL_DONE).await;

    let second = line.emit_more(20, 20, 70).await;
    receiver.wait_accepted(PATIENCE, 500).await.unwrap();
    daemon.kill().await.unwrap();
    let _again = daemon::start(&line.url).await;

    wait_for_messages(&subscriber, &second).await;
    wait_for_requests(&receiver, &second).await;
    line.until(ALL_DONE).await;
    for verdict in [judge_messages(&second, &subscriber.received()), judge_requests(&second, &receiver.accepted())] {
        assert!(verdict.is_clean(), "{verdict:?}");
    }
    let early: Vec<_> = receiver.accepted().into_iter().filter(|it| marker(&it.body).1 <= 20).collect();
    assert_eq!(early.len(), 400, "what was checkpointed came again");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_connections_lose_nothing_and_repeat_nothing() {
    let (broker, receiver) =
        (Mosquitto::start(&MosquittoOptions::default()).unwrap(), Receiver::start().await.unwrap());
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    line.publisher(broker.port(), json!({})).await;
    line.webhook(&receiver.url("/hook"), json!({})).await;
    line.start();
    let mut expected = line.emit_all(10, 20).await;

    for round in 1..=5 {
        let so_far = round * 200;
        receiver.wait_accepted(PATIENCE, so_far as usize).await.unwrap();
        line.run("select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'andon%' and datname = current_database()")
            .await;
        expected = line.emit_more(10, round * 20, (round + 1) * 20).await;
    }

    wait_for_messages(&subscriber, &expected).await;
    wait_for_requests(&receiver, &expected).await;
    line.stop().await.unwrap();
    for verdict in [judge_messages(&expected, &subscriber.received()), judge_requests(&expected, &receiver.accepted())]
    {
        assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_crashes_loses_nothing() {
    let server = tokio::task::spawn_blocking(|| Postgres::start().unwrap()).await.unwrap();
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::on(&server).await;
    line.webhook(&receiver.url("/hook"), json!({})).await;
    line.start();
    line.emit_all(10, 20).await;
    receiver.wait_accepted(PATIENCE, 200).await.unwrap();

    server.restart_immediate().unwrap();
    line.client = connect(&line.url).await;
    let expected = line.emit_more(10, 20, 40).await;

    wait_for_requests(&receiver, &expected).await;
    line.stop().await.unwrap();
    let verdict = judge_requests(&expected, &receiver.accepted());
    assert!(verdict.is_clean(), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_went_back_in_time_is_read_again_from_what_exists() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({})).await;
    line.start();
    line.emit_all(5, 10).await;
    receiver.wait_accepted(PATIENCE, 50).await.unwrap();
    line.stop().await.unwrap();

    // This looks like a restore from before the last 20 events: the sequence is below what was read, and hands out its ids again.
    line.run("delete from andon.events where id > 30; select setval(pg_get_serial_sequence('andon.events', 'id'), 30)")
        .await;
    line.start();
    line.until("select position = 30 from andon.lanes").await;
    line.emit_all(5, 4).await;

    receiver.wait_accepted(PATIENCE, 70).await.unwrap();
    line.until(ALL_DONE).await;
    line.stop().await.unwrap();
    assert_eq!(receiver.accepted().len(), 70, "nothing of what is still there came again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_starts_during_an_open_transaction_gets_what_that_commits() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let open = connect(&line.url).await;
    open.batch_execute(&format!("begin; {}", emit_sql("acme", "open", 1))).await.unwrap();
    line.emit("acme", "other", 1).await;

    line.webhook(&receiver.url("/hook"), json!({})).await;
    line.start();
    receiver.wait_accepted(PATIENCE, 1).await.unwrap();
    open.batch_execute("commit").await.unwrap();

    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_falls_behind_reads_the_log_and_comes_back() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/slow", Answer::status(200).after(Duration::from_millis(2)));
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/slow"), json!({"concurrency": 4})).await;
    line.webhook(&receiver.url("/fast"), json!({})).await;
    line.start();

    let mut expected = BTreeMap::new();
    for round in 0..3 {
        expected = line.emit_more(60, round * 20, (round + 1) * 20).await;
    }

    for path in ["/slow", "/fast"] {
        receiver.acceptances().wait_for_matching(PATIENCE, 3600, |it| it.path == path).await.unwrap();
        let own: Vec<_> = receiver.accepted().into_iter().filter(|it| it.path == path).collect();
        let verdict = judge_requests(&expected, &own);
        assert!(verdict.is_clean() && verdict.duplicates == 0, "{path}: {verdict:?}");
    }
    line.until(ALL_DONE).await;
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_come_after_the_grants_are_read_directly() {
    let server = tokio::task::spawn_blocking(|| Postgres::start().unwrap()).await.unwrap();
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::on(&server).await;
    receiver.answer_next("/hook", 1, &Answer::status(500));
    line.webhook(&receiver.url("/hook"), json!({"retry": ["1ms", "1ms"]})).await;
    // The tail reads in a partition that was created after the grants.
    line.run(
        "select setval('andon.events_id_seq', max(past)) from andon.log_partitions(); select andon.extend_log();
        select setval('andon.events_id_seq', max(low)) from andon.log_partitions();
        update andon.tail set position = (select max(low) from andon.log_partitions())",
    )
    .await;
    let its = "(select part from andon.log_partitions(), andon.tail where position + 1 >= low and position + 1 < past)";
    line.until(&format!("select has_table_privilege('andon_run', {its}, 'select')")).await;

    line.start();
    line.emit("acme", "e", 1).await;
    line.emit("acme", "e", 2).await;
    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    line.stop().await.unwrap();
    // This looks as if the partition had come before an older version was told to share it.
    line.run(&format!("do $$ begin execute format('revoke select on %s from andon_run', {its}); end $$")).await;
    line.start();
    line.emit("acme", "e", 3).await;

    receiver.wait_accepted(PATIENCE, 3).await.unwrap();
    line.until(ALL_DONE).await;
    line.stop().await.unwrap();
}
