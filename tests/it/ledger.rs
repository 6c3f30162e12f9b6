//! Very many parked deliveries. In: rows that are due at the same moment, most of them behind others of their entity. Out: whether each arrives
//! once and in order, and how much of the ledger was read for that.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Receiver;
use rig::Subscriber;
use rig::subscriber::Message;
use serde_json::json;

use crate::support::daemon;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::marker;
use crate::support::plant::connect;

const ENTITIES: i64 = 600;
const EACH: i64 = 4;
/// All of them together are larger than any page.
const PARKED: usize = (ENTITIES * EACH) as usize;

/// Parks deliveries of a lane that are all due at the same moment, though most wait for others. Of each third entity somebody has made all due.
async fn park(line: &Line, lane: &str) {
    line.client
        .execute(
            "insert into andon.deliveries (lane, event, event_id, tenant, type, entity_type, entity_id, occurred_at, context, data, state,
                next_attempt_at, reason)
            select $1, -counter * $2 - number, gen_random_uuid(), 'acme', 'job.updated', 'job', 'e' || number, now(), '{}',
                jsonb_build_object('entity', 'e' || number, 'counter', $3 - counter), is_due.state,
                case when is_due.state = 'retry' then now() end, 'a test'
            from generate_series(1, $2::int8) number, generate_series(0, $3::int8 - 1) counter,
                lateral (select case when counter = $3 - 1 or number % 3 = 0 then 'retry' else 'waiting' end state) is_due
            order by random()",
            &[&lane, &ENTITIES, &EACH],
        )
        .await
        .unwrap();
}

/// Returns how many rows of the ledger were read so far. The counts of a session are there once it has ended.
async fn rows_read(line: &Line) -> i64 {
    line.until("select count(*) = 1 from pg_stat_activity where datname = current_database()").await;
    let sql = "select pg_stat_clear_snapshot()::text, (seq_tup_read + idx_tup_fetch)::int8
        from pg_stat_user_tables where relid = 'andon.deliveries'::regclass";
    let fresh = connect(&line.url).await;
    fresh.query_one(sql, &[]).await.unwrap().get(1)
}

fn is_each_once_and_in_order(got: impl Iterator<Item = (String, u64)>) {
    let mut counters: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (entity, counter) in got {
        counters.entry(entity).or_default().push(counter);
    }
    assert_eq!(counters.len() as i64, ENTITIES);
    for (entity, counters) in counters {
        assert_eq!(counters, Vec::from_iter(1..=EACH.unsigned_abs()), "{entity}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_at_one_moment_is_read_once_and_delivered_in_the_order_of_each_entity() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({})).await;
    line.start();
    line.state(&lane, "running").await;
    line.stop().await.unwrap();
    park(&line, &lane).await;
    line.run("analyze andon.deliveries").await;
    let before = rows_read(&line).await;
    line.start();

    receiver.wait_accepted(PATIENCE, PARKED).await.unwrap();
    line.until("select count(*) = 0 from andon.deliveries").await;
    line.stop().await.unwrap();

    is_each_once_and_in_order(receiver.accepted().iter().map(|request| marker(&request.body)));
    let read = rows_read(&line).await - before;
    assert!(read < 40 * PARKED as i64, "{read} rows were read for {PARKED} deliveries");
    let tried = "select count(*) = $1 and bool_and(outcome = 'delivered') from andon.attempts";
    let tried = line.client.query_one(tried, &[&(PARKED as i64)]).await.unwrap();
    assert!(tried.get::<_, bool>(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_at_one_moment_is_published_in_the_order_of_each_entity_beside_live_events() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(broker.port(), json!({})).await;
    park(&line, &lane).await;
    for counter in 1..=EACH.unsigned_abs() {
        line.emit("acme", "live", counter).await;
    }
    line.start();

    let mut left = PARKED + EACH.unsigned_abs() as usize;
    let has_all = |message: &Message| {
        left -= usize::from(!message.topic.starts_with("andon/"));
        left == 0
    };
    subscriber.messages().wait_for(PATIENCE, has_all).await.unwrap();
    line.until("select count(*) = 0 from andon.deliveries").await;
    line.stop().await.unwrap();
    let received = subscriber.received();
    let events = received.iter().filter(|message| !message.topic.starts_with("andon/"));
    let (live, parked): (Vec<_>, Vec<_>) =
        events.map(|message| marker(&message.payload)).partition(|(entity, _)| entity == "live");
    assert_eq!(live.iter().map(|(_, counter)| *counter).collect::<Vec<_>>(), Vec::from_iter(1..=EACH.unsigned_abs()));
    is_each_once_and_in_order(parked.into_iter());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_amid_what_is_due_loses_nothing_and_repeats_only_what_was_in_hand() {
    let receiver = Receiver::start().await.unwrap();
    let line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({})).await;
    park(&line, &lane).await;

    for accepted in [300, 900] {
        let daemon = daemon::start(&line.url).await;
        receiver.wait_accepted(PATIENCE, accepted).await.unwrap();
        daemon.kill().await.unwrap();
    }
    let daemon = daemon::start(&line.url).await;
    line.until("select count(*) = 0 from andon.deliveries").await;
    daemon.stop().await.unwrap();

    let mut seen = BTreeSet::new();
    let all: Vec<(String, u64)> = receiver.accepted().iter().map(|request| marker(&request.body)).collect();
    let firsts = all.iter().filter(|it| seen.insert((*it).clone())).cloned();
    is_each_once_and_in_order(firsts);
    // A lane has no more in hand, and it crashed twice.
    let repeated = all.len() - PARKED;
    assert!(repeated <= 2 * 1024, "{repeated} came twice");
}
