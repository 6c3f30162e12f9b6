//! Brokers that do what the standard forbids. In: floods, packets that nobody asked for, packets that are too large. Out: whether the daemon
//! keeps its memory and its other destinations, and whether what was acknowledged stays acknowledged.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::ScriptedBroker;
use rig::Subscriber;
use rig::scripted_broker::Answer;
use rig::scripted_broker::Request;
use rig::scripted_broker::connack;
use serde_json::json;

use super::chunk;
use super::wait_for_all;
use super::wait_for_done;
use crate::support::daemon;
use crate::support::line::Line;
use crate::support::line::PATIENCE;

/// Returns a PUBLISH of QoS 0 that nobody has subscribed to, with a payload of this many bytes.
fn unasked(size: usize) -> Vec<u8> {
    let length = size + 4;
    let length = [u8::try_from(length % 128).unwrap() | 0x80, u8::try_from(length / 128).unwrap()];
    [&[0x30][..], &length, &[0, 1, b't', 0], &vec![b'x'; size]].concat()
}

/// Returns a field of `/proc/<pid>/status` in KiB.
fn memory(pid: i32, field: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_floods_its_publisher_costs_no_memory_and_no_other_destination() {
    let floods = [
        unasked(2_000),
        // The largest packet that there can be, and no end of it.
        vec![0x30, 0xff, 0xff, 0xff, 0x7f],
        // Answers to pings, acknowledgements and grants that nobody waits for.
        vec![0xd0, 0],
        vec![0x40, 2, 0x7f, 0xff],
        vec![0x90, 4, 0, 1, 0, 0],
        connack(5, 0),
        // It is no packet at all.
        vec![0],
    ];
    let (kinds, connection) = (floods.len(), AtomicUsize::new(0));
    let flooding = ScriptedBroker::start(move |request| match request {
        Request::Connect { .. } => {
            connection.fetch_add(1, Ordering::SeqCst);
            request.accepted()
        }
        _ => Answer::Endless(floods[connection.load(Ordering::SeqCst) % floods.len()].clone()),
    })
    .await
    .unwrap();
    let good = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let subscriber = Subscriber::start(good.port()).await.unwrap();
    let line = Line::new().await;
    line.publisher(flooding.port(), json!({"version": "5"})).await;
    line.publisher(good.port(), json!({})).await;
    let daemon = daemon::start(&line.url).await;
    daemon.ready().await.unwrap();
    let before = memory(daemon.running().unwrap(), "VmRSS");

    line.run(&chunk(10, 1, 10)).await;
    let is_connect = |request: &Request| matches!(request, Request::Connect { .. });
    flooding.seen().wait_for_matching(PATIENCE, kinds + 1, is_connect).await.unwrap();
    wait_for_all(&subscriber, 100).await;

    let peak = memory(daemon.running().unwrap(), "VmHWM");
    assert_eq!(daemon.stop().await.unwrap(), 0);
    assert!(peak < before + 16 * 1024, "the peak is {peak} KiB, and it had {before} KiB before");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_stays_acknowledged_whatever_follows_it() {
    let answers = AtomicUsize::new(0);
    let broker = ScriptedBroker::start(move |request| match request.accepted() {
        Answer::Bytes(accepted) if request.is_event() && answers.fetch_add(1, Ordering::SeqCst) < 3 => {
            // It reads nothing more, because what is published after the acknowledgement has none, and is rightly published again.
            Answer::Last([accepted, unasked(100)].concat())
        }
        accepted => accepted,
    })
    .await
    .unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(broker.port(), json!({"order": "strict"})).await;
    line.run(&chunk(1, 1, 5)).await;

    line.start();
    wait_for_done(&line, &lane).await;

    line.stop().await.unwrap();
    let seen = broker.seen().snapshot();
    assert_eq!(seen.iter().filter(|request| request.is_event()).count(), 5, "none was sent twice");
    assert_eq!(seen.iter().filter(|request| matches!(***request, Request::Connect { .. })).count(), 4);
    assert!(line.parked(&lane).await.is_empty());
}
