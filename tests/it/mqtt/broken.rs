//! Brokers that stop, die or fall silent, and connections that break. In: faults while events flow. Out: whether an event is missing or
//! out of order, and whether only events that were in flight arrive twice.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use rand::Rng as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Proxy;
use rig::Subscriber;
use rig::Tap;
use rig::oracle;
use rig::tap::Seen;
use rig::tap::TapOptions;
use serde_json::json;

use super::chunk;
use super::events;
use super::expected;
use super::wait_for_all;
use super::wait_for_done;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::judge_messages;
use crate::support::line::marker;
use crate::support::plant::connect;

/// The lane has at most this many events in flight by default.
const WINDOW: usize = 256;

#[tokio::test(flavor = "multi_thread")]
async fn forty_thousand_events_survive_three_restarts_and_ten_cuts() {
    let seed = std::env::var("ANDON_SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    println!("ANDON_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let broker = Mosquitto::start(&MosquittoOptions { persistence: true, ..MosquittoOptions::default() }).unwrap();
    let proxy = Proxy::start(broker.port()).await.unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    line.publisher(proxy.port(), json!({})).await;
    line.start();

    let plant = connect(&line.url).await;
    let arrivals = Arc::clone(subscriber.messages());
    let inserting = tokio::spawn(async move {
        for part in 0..20 {
            // The plant stays only a little ahead of the subscriber, so that each fault meets a busy lane.
            let arrived = (part as usize).saturating_sub(2) * 2_000;
            arrivals.wait_for_count(PATIENCE, arrived).await.unwrap();
            plant.batch_execute(&chunk(200, part * 10 + 1, part * 10 + 10)).await.unwrap();
        }
    });
    for fault in 1..=13 {
        subscriber.wait_received(PATIENCE, fault * 2_800).await.unwrap();
        if fault % 4 == 0 {
            tokio::task::block_in_place(|| {
                broker.stop_term().unwrap();
                broker.start_again().unwrap();
            });
        } else {
            proxy.cut_after(random.random_range(1..200_000));
        }
    }
    inserting.await.unwrap();

    wait_for_all(&subscriber, 40_000).await;
    line.stop().await.unwrap();
    let received = subscriber.received();
    let verdict = judge_messages(&expected(200, 200), &received);
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!(proxy.cuts(), 10);
    // The broker marks a message that it sends to the subscriber again. Each duplicate without that mark was sent twice by the lane.
    let mut seen = HashSet::new();
    let repeats = events(&received).filter(|message| !seen.insert(marker(&message.payload)) && !message.dup).count();
    println!("{verdict:?}, of the duplicates {repeats} by the lane");
    assert!(repeats <= 13 * WINDOW, "{repeats} were sent twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_without_a_puback_when_the_broker_is_killed() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let tap = Tap::start(broker.port(), TapOptions::default()).await.unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(tap.port(), json!({})).await;
    line.start();
    let acknowledged = || {
        let seen = tap.seen().snapshot();
        let payloads = seen
            .iter()
            .filter_map(|seen| if let Seen::Acknowledged { payload, .. } = &**seen { Some(payload) } else { None });
        payloads
            .filter(|payload| !payload.starts_with(b"{\"gateway\""))
            .map(|payload| marker(payload))
            .collect::<Vec<_>>()
    };
    let done = "select data ->> 'entity', (data ->> 'counter')::int8 from andon.events, andon.lanes
        where lane = $1 and id <= position and not pending @> id";

    line.run(&chunk(100, 1, 300)).await;
    let mut found = Vec::new();
    for kill in 1..=3 {
        tap.seen().wait_for_count(PATIENCE, kill * 7_000).await.unwrap();
        tokio::task::block_in_place(|| broker.kill().unwrap());
        let before: HashSet<_> = line
            .client
            .query(done, &[&lane])
            .await
            .unwrap()
            .iter()
            .map(|row| (row.get::<_, String>(0), row.get::<_, i64>(1) as u64))
            .collect();
        let by_then: HashSet<_> = acknowledged().into_iter().collect();
        found.push((before.len(), before.difference(&by_then).count()));
        tokio::task::block_in_place(|| broker.start_again().unwrap());
    }
    wait_for_done(&line, &lane).await;

    line.stop().await.unwrap();
    for (done, without) in found {
        assert!(done > 0 && without == 0, "{without} of {done} were done without a PUBACK");
    }
    let acknowledged = acknowledged();
    let verdict =
        oracle::judge(&expected(100, 300), acknowledged.iter().map(|(entity, counter)| (entity.as_str(), *counter)));
    assert!(verdict.is_clean() && verdict.duplicates <= 3 * WINDOW as u64, "{verdict:?}");
    assert!(line.parked(&lane).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_falls_silent_is_left_and_nothing_is_lost() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let proxy = Proxy::start(broker.port()).await.unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(proxy.port(), json!({"keep_alive": "1s"})).await;
    line.start();
    line.run(&chunk(10, 1, 10)).await;
    wait_for_all(&subscriber, 100).await;

    proxy.stall();
    line.run(&chunk(10, 11, 100)).await;
    let reason = line.state(&lane, "retrying").await;
    proxy.resume();

    wait_for_all(&subscriber, 1_000).await;
    line.state(&lane, "running").await;
    line.stop().await.unwrap();
    let expected_reasons = ["no acknowledgement for 2s", "the broker answers no ping"];
    assert!(expected_reasons.contains(&reason.as_str()), "{reason}");
    let verdict = judge_messages(&expected(10, 100), &subscriber.received());
    assert!(verdict.is_clean(), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_nothing_come_twice() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    line.publisher(broker.port(), json!({})).await;
    line.run(&chunk(100, 1, 200)).await;

    let mut stops = HashMap::new();
    for stop in 1..=3 {
        line.start();
        subscriber.wait_received(PATIENCE, stop * 5_000).await.unwrap();
        line.stop().await.unwrap();
        stops.insert(stop, subscriber.messages().len());
    }
    line.start();
    wait_for_all(&subscriber, 20_000).await;
    line.stop().await.unwrap();

    assert!(stops[&3] < 20_000, "the stops came while events flowed: {stops:?}");
    let verdict = judge_messages(&expected(100, 200), &subscriber.received());
    assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
}
