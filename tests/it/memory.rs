//! Memory is bounded in bytes. In: events of the largest size, many at once, and lanes that are behind or whose destinations are away. Out:
//! the memory of the process at its peak, as the kernel counts it, and whether everything arrives all the same.

use rig::Daemon;
use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Proxy;
use rig::Receiver;
use rig::receiver::Answer;
use serde_json::json;

use crate::support::daemon;
use crate::support::line::Line;
use crate::support::line::PATIENCE;

const MIB: usize = 1 << 20;
/// The memory that a daemon may take besides what `log.memory` says, as README has it.
const BESIDES: usize = 128 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn large_events_take_no_more_memory_than_readme_says() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let line = Line::new().await;
    line.publisher(broker.port(), json!({})).await;
    let memory = 8 * MIB;
    let daemon = start(&line, memory).await;
    daemon.ready().await.unwrap();

    // The first are read as they come, by the tail.
    insert(&line, 400, 384 << 10).await;
    insert(&line, 80, MIB - 2048).await;
    line.until("select bool_and(delivered = 480) from andon.lanes").await;
    // These are behind, and read the log.
    for _ in 0..6 {
        line.publisher(broker.port(), json!({})).await;
    }
    line.until("select count(*) = 7 and bool_and(delivered = 480) from andon.lanes").await;

    let peak = peak(&daemon);
    assert!(peak < memory + BESIDES, "{} MiB", peak / MIB);
    daemon.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn destinations_that_are_away_leave_memory_to_those_that_are_there() {
    let receiver = Receiver::start().await.unwrap();
    let line = Line::new().await;
    // Each of them has more in hand than fits into memory with that of the others.
    for number in 0..12 {
        let path = format!("/away/{number}");
        receiver.answer(&path, if number % 2 == 0 { Answer::hang() } else { Answer::status(500) });
        line.webhook(&receiver.url(&path), json!({"timeout": "500ms"})).await;
    }
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let black_hole = Proxy::start(broker.port()).await.unwrap();
    for _ in 0..6 {
        line.publisher(black_hole.port(), json!({"keep_alive": "1s"})).await;
    }
    let memory = 2 * MIB;
    let daemon = start(&line, memory).await;
    daemon.ready().await.unwrap();
    line.until("select count(*) = 18 and bool_and(state = 'running') from andon.lanes").await;
    black_hole.stall();
    insert(&line, 40, 300 << 10).await;
    line.until("select bool_and(state in ('open', 'retrying')) from andon.lanes").await;

    line.webhook(&receiver.url("/there"), json!({})).await;

    receiver.acceptances().wait_for_matching(PATIENCE, 40, |request| request.path == "/there").await.unwrap();
    let peak = peak(&daemon);
    assert!(peak < memory + BESIDES, "{} MiB", peak / MIB);
    daemon.stop().await.unwrap();
}

async fn start(line: &Line, log_memory: usize) -> Daemon {
    daemon::start_with(&line.url, vec![("ANDON_LOG_MEMORY".into(), log_memory.to_string().into())]).await
}

/// Puts `count` events of `bytes` bytes each into the log, in one statement.
async fn insert(line: &Line, count: usize, bytes: usize) {
    line.run(&format!(
        "insert into andon.events (tenant, type, entity_type, entity_id, data)
        select 'acme', 'job.updated', 'job', n::text, jsonb_build_object('x', repeat('x', {bytes})) from generate_series(1, {count}) n;
        select andon.ring();"
    ))
    .await;
}

/// Returns the most memory that a daemon had so far, in bytes.
fn peak(daemon: &Daemon) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.running().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
}
