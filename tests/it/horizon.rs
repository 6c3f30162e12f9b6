//! A transaction that stays open for a whole run holds back the horizon: no row that is updated or deleted meanwhile can be cleaned up. In:
//! two runs, one with four times the events of the other. Out: whether the number of dead rows grows only with time and with failed
//! deliveries, and not with the number of events. Failed deliveries count because their rows in the ledger are deleted one by one.

use std::collections::BTreeSet;
use std::time::Instant;

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Subscriber;
use rig::receiver::Answer;
use rig::receiver::Received;
use rig::receiver::Receiver;
use serde_json::json;

use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::marker;
use crate::support::plant::connect;

/// Events in the small run; the large one has four times as many.
const EVENTS: u64 = 600;
/// Events that their endpoint never accepts: each is tried, parked, tried again, and then dead.
const POISON: u64 = 8;
/// Events that are tried while their endpoint is away, before its lane only probes.
const EARLY: u64 = 5;

const DEAD: &str = "select count(*) from andon.deliveries where state = 'dead'";
const RETRIED: &str = "select count(*) from andon.deliveries where state <> 'dead'";

/// The dead rows of each table, and how many seconds the run took.
struct Left {
    rows: Vec<(String, u64)>,
    seconds: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_rows_grow_with_time_and_trouble_but_not_with_the_number_of_events() {
    let (few, many) = tokio::join!(run(EVENTS), run(EVENTS * 4));
    for (events, left) in [(EVENTS, few), (EVENTS * 4, many)] {
        for (table, rows) in left.rows {
            // The lanes, the tail and the lease each write a row once or twice a second; each failed delivery leaves some more.
            let allowed = left.seconds * 8 + (POISON + EARLY) * 6;
            assert!(rows < allowed, "{table}: {rows} dead rows after {events} events in {} s", left.seconds);
        }
    }
}

/// Delivers this number of events to three destinations, one of which is away for a while, with the horizon held back.
async fn run(events: u64) -> Left {
    let (broker, receiver) =
        (Mosquitto::start(&MosquittoOptions::default()).unwrap(), Receiver::start().await.unwrap());
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::in_small_partitions().await;
    line.publisher(broker.port(), json!({})).await;
    line.webhook(&receiver.url("/hook"), json!({})).await;
    let away = line.webhook(&receiver.url("/away"), json!({"retry": ["1ms", "1ms"], "concurrency": 4})).await;
    let holder = connect(&line.url).await;
    holder.batch_execute("begin isolation level repeatable read; select 1").await.unwrap();
    let started = Instant::now();
    receiver.answer_containing("/away", "poison", Answer::status(422));
    receiver.answer("/away", Answer::status(503));
    line.start();

    for early in 1..=EARLY {
        line.emit("acme", &format!("early{early}"), 1).await;
    }
    line.state(&away, "open").await;
    line.emit_all(10, events / 20).await;
    receiver.answer("/away", Answer::status(200));
    line.state(&away, "running").await;
    let mut last = events / 20;
    for counter in 1..=POISON {
        line.emit("acme", &format!("poison{counter}"), 1).await;
        last += 1;
        line.emit_more(10, last - 1, last).await;
    }
    line.emit_more(10, last, events / 10).await;

    // A failing endpoint is only probed, and a probe needs an event that the endpoint accepts. A plant always has a next one.
    let mut all = events + POISON + EARLY;
    while line.number(RETRIED).await > 0 || line.number(DEAD).await < POISON as i64 {
        all += 1;
        line.emit("acme", "trickle", all).await;
        let trickle = ("trickle".to_owned(), all);
        let is_there = |it: &Received| it.path == "/away" && marker(&it.body) == trickle;
        receiver.acceptances().wait_for(PATIENCE, is_there).await.unwrap();
    }
    let all = all as usize;
    subscriber.messages().wait_for_matching(PATIENCE, all, |it| it.topic.starts_with("acme/")).await.unwrap();
    line.until(ALL_DONE).await;
    let accepted = receiver.accepted();
    let to = |path: &str| {
        let to_path = accepted.iter().filter(|it| it.path == path);
        to_path.map(|it| marker(&it.body)).collect::<BTreeSet<_>>().len() as i64
    };
    // Deliveries that were tried three times before the breaker opened are dead as well.
    let dead = line.number(DEAD).await;
    assert!(dead >= POISON as i64);
    assert_eq!((to("/hook"), to("/away") + dead), (all as i64, all as i64));
    line.stop().await.unwrap();
    // PostgreSQL publishes the statistics of a session when it ends.
    line.until("select count(*) = 0 from pg_stat_activity where application_name like 'andon%' and query <> 'listen andon' and datname = current_database()").await;
    let held = "select exists (select from pg_stat_activity where backend_xmin::text::bigint + $1 < txid_snapshot_xmax(txid_current_snapshot())
        and datname = current_database() and pid <> pg_backend_pid())";
    assert!(line.client.query_one(held, &[&20_i64]).await.unwrap().get::<_, bool>(0), "the horizon is not held back");
    let counted = "select relname, n_tup_upd + n_tup_del from pg_stat_user_tables where schemaname = 'andon'";
    let rows = line.client.query(counted, &[]).await.unwrap();
    Left {
        rows: rows.iter().map(|row| (row.get(0), row.get::<_, i64>(1).unsigned_abs())).collect(),
        seconds: started.elapsed().as_secs() + 1,
    }
}
