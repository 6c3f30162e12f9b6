//! Rows of lanes that somebody has locked. In: a session that holds the rows of all lanes of one tenant. Out: whether lanes of another tenant
//! deliver and write their progress, and whether those of the first go on once the rows are free.

use andon::destination::Defaults;
use andon::gateway::retention;
use andon::settings::Retention;
use rig::Receiver;
use rig::receiver::Answer;
use serde_json::json;

use super::NEIGHBOUR;
use super::the_neighbour_gets;
use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::plant::connect;

#[tokio::test(flavor = "multi_thread")]
async fn lanes_whose_rows_are_locked_hold_up_no_other() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let other = line.webhook_of("acme", &receiver.url(NEIGHBOUR), json!({})).await;
    for place in 0..12 {
        // Half of them park, the others only move their cursors.
        let path = format!("/{place}");
        if place % 2 == 0 {
            receiver.answer_next(&path, 2, &Answer::status(500));
        }
        line.webhook_of("rival", &receiver.url(&path), json!({"retry": ["1ms", "1ms", "1ms", "1ms"]})).await;
    }
    line.start();
    line.until("select count(*) = 13 and bool_and(state = 'running') from andon.lanes").await;
    let locker = connect(&line.url).await;
    locker.batch_execute("begin; select from andon.lanes where tenant = 'rival' for update").await.unwrap();
    for counter in 1..=20 {
        line.emit("rival", "r", counter).await;
    }
    receiver.acceptances().wait_for_matching(PATIENCE, 6, |it| it.path != NEIGHBOUR).await.unwrap();

    for counter in 1..=3 {
        the_neighbour_gets(&line, &receiver, counter).await;
        let passed = "position >= (select max(id) from andon.events) and pending = '{}'";
        line.until(&format!("select {passed} from andon.lanes where lane = '{other}'")).await;
    }
    // A change of a destination is felt as well.
    line.webhook(&receiver.url("/new"), json!({})).await;
    receiver.acceptances().wait_for_matching(PATIENCE, 3, |it| it.path == "/new").await.unwrap();
    locker.batch_execute("commit").await.unwrap();

    line.until(ALL_DONE).await;
    line.until("select count(*) = 0 from andon.deliveries").await;
    line.stop().await.unwrap();
    for place in 0..12 {
        let path = format!("/{place}");
        let got = receiver.accepted().iter().filter(|it| it.path == path).count();
        assert!(got >= 20, "{path} got {got}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_gives_up_for_now_where_somebody_has_locked_a_lane() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url(NEIGHBOUR), json!({})).await;
    line.start();
    line.state(&lane, "running").await;
    line.stop().await.unwrap();
    line.emit_all(1, 100).await;
    line.run("update andon.lanes set state = 'retrying', reason = 'away'; update andon.tail set position = (select min(past) from andon.log_partitions())").await;
    let locker = connect(&line.url).await;
    locker.batch_execute("begin; select from andon.lanes for update").await.unwrap();
    let no_room = Retention { log_size: 0, ..Retention::default() };
    let mut daemon = connect(&line.url).await;

    let defaults = Defaults::default();

    let refused = retention::apply(&mut daemon, &no_room, &defaults);
    let refused = tokio::time::timeout(PATIENCE, refused).await.expect("it does not wait for ever").unwrap_err();
    let kept: i64 = line.client.query_one("select count(*) from andon.events", &[]).await.unwrap().get(0);
    locker.batch_execute("commit").await.unwrap();
    // A lane that has read a part since is not said to have lost that part.
    line.run("update andon.lanes set position = 40").await;
    retention::apply(&mut daemon, &no_room, &defaults).await.unwrap();

    assert!(format!("{refused:#}").contains("lock timeout"), "{refused:#}");
    assert_eq!(kept, 100);
    line.until("select lost = 60 from andon.lanes").await;
}
