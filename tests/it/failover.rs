//! A log that is not the one that was read: a standby that lagged is promoted, or a crash takes back what was not flushed. In: real servers,
//! and daemons that know more than the log that they find. Out: whether all that is in that log is delivered.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::time::Duration;

use rig::Postgres;
use rig::Receiver;
use rig::proxy::Proxy;
use rig::receiver::Answer;
use rig::receiver::Received;
use serde_json::json;

use crate::support::daemon;
use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::judge_requests;
use crate::support::line::marker;
use crate::support::plant::connect;

/// A primary with a standby. A daemon gets the addresses of both, and reaches the standby only once the test lets it.
struct Pair {
    primary: Postgres,
    standby: Postgres,
    to_standby: Proxy,
}

impl Pair {
    async fn start() -> (Pair, Line, String) {
        let (primary, standby) = tokio::task::spawn_blocking(|| {
            let primary = Postgres::start().unwrap();
            let standby = primary.start_standby().unwrap();
            (primary, standby)
        })
        .await
        .unwrap();
        let to_standby = Proxy::start(standby.port()).await.unwrap();
        to_standby.refuse(true).await.unwrap();
        let line = Line::on(&primary).await;
        let database = line.url.rsplit('/').next().unwrap();
        let url =
            format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{database}", primary.port(), to_standby.port());
        (Pair { primary, standby, to_standby }, line, url)
    }

    /// Kills the primary and promotes the standby. The line's own client goes there, and the daemons cannot yet.
    async fn fail_over(&self, line: &mut Line) {
        self.primary.crash().unwrap();
        self.standby.promote().await.unwrap();
        let database = line.url.rsplit('/').next().unwrap();
        line.url = self.standby.url(database);
        line.client = connect(&line.url).await;
    }
}

impl Line {
    /// Emits the counters 1 to `last` of one entity.
    async fn emit_of(&self, entity: &str, last: u64) {
        self.run(&format!(
            "insert into andon.events (tenant, type, entity_type, entity_id, data)
            select 'acme', 'job.updated', 'job', '{entity}', jsonb_build_object('entity', '{entity}', 'counter', counter)
            from generate_series(1, {last}) counter; select andon.ring()"
        ))
        .await;
    }
}

fn is_of(request: &Received, entity: &str) -> bool {
    marker(&request.body).0 == entity
}

/// Waits until each path got each counter of the entity, however often.
async fn all_of(receiver: &Receiver, entity: &str, last: u64, paths: usize) {
    let mut seen = HashSet::new();
    let is_first = |it: &Received| is_of(it, entity) && seen.insert((it.path.clone(), marker(&it.body)));
    receiver.acceptances().wait_for_matching(PATIENCE, last as usize * paths, is_first).await.unwrap();
}

/// Judges what a path got of the entities that exist.
fn assert_complete(receiver: &Receiver, path: &str, expected: &BTreeMap<String, u64>) {
    let accepted = receiver.accepted();
    let own: Vec<_> = accepted.into_iter().filter(|it| it.path == path && !is_of(it, "lost")).collect();
    let verdict = judge_requests(expected, &own);
    assert!(verdict.is_clean(), "{path}: {verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_after_the_promotion_of_a_standby_that_lagged_is_delivered() {
    let (pair, mut line, url) = Pair::start().await;
    let receiver = Receiver::start().await.unwrap();
    for path in ["/one", "/two"] {
        line.webhook(&receiver.url(path), json!({})).await;
    }
    line.start_at(&url);
    let mut expected = line.emit_all(10, 10).await;
    receiver.wait_accepted(PATIENCE, 200).await.unwrap();
    line.until(ALL_DONE).await;
    pair.standby.stop_following(&pair.primary).await.unwrap();

    line.emit_of("lost", 300).await;
    all_of(&receiver, "lost", 300, 2).await;
    pair.fail_over(&mut line).await;
    line.emit_of("new", 300).await;
    pair.to_standby.refuse(false).await.unwrap();

    all_of(&receiver, "new", 300, 2).await;
    line.until(ALL_DONE).await;
    line.stop().await.unwrap();
    expected.insert("new".to_owned(), 300);
    for path in ["/one", "/two"] {
        assert_complete(&receiver, path, &expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_several_daemons_notices_a_promotion_even_one_that_comes_back_late() {
    let (pair, mut line, url) = Pair::start().await;
    let receiver = Receiver::start().await.unwrap();
    let paths: Vec<String> = (0..4).map(|hook| format!("/{hook}")).collect();
    for path in &paths {
        line.webhook(&receiver.url(path), json!({})).await;
    }
    let (early, late) = (daemon::start(&url).await, daemon::start(&url).await);
    let mut expected = line.emit_all(10, 10).await;
    receiver.wait_accepted(PATIENCE, 400).await.unwrap();
    line.until(ALL_DONE).await;
    pair.standby.stop_following(&pair.primary).await.unwrap();

    line.emit_of("lost", 300).await;
    all_of(&receiver, "lost", 300, 4).await;
    late.pause().unwrap();
    pair.fail_over(&mut line).await;
    line.emit_of("new", 150).await;
    pair.to_standby.refuse(false).await.unwrap();
    all_of(&receiver, "new", 150, 4).await;
    line.emit_of("newer", 300).await;
    late.resume().unwrap();
    all_of(&receiver, "newer", 300, 4).await;
    line.emit_of("newest", 100).await;

    all_of(&receiver, "newest", 100, 4).await;
    line.until(ALL_DONE).await;
    for daemon in [early, late] {
        assert_eq!(daemon.stop().await.unwrap(), 0);
    }
    expected.extend([("new", 150), ("newer", 300), ("newest", 100)].map(|(entity, last)| (entity.to_owned(), last)));
    for path in &paths {
        assert_complete(&receiver, path, &expected);
    }
}

/// Starts a server that answers a commit before it is on the disk, and flushes only every ten seconds.
async fn start_forgetful() -> Postgres {
    let settings = ["synchronous_commit=off", "wal_writer_delay=10s", "fsync=off"];
    tokio::task::spawn_blocking(move || Postgres::start_with(&settings).unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_whose_ids_a_crash_took_back_and_gave_to_others_are_delivered() {
    let server = start_forgetful().await;
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::on(&server).await;
    line.webhook(&receiver.url("/hook"), json!({})).await;
    line.start();
    let mut expected = line.emit_all(10, 10).await;
    receiver.wait_accepted(PATIENCE, 100).await.unwrap();
    line.until(ALL_DONE).await;
    line.run("set synchronous_commit = on; select pg_switch_wal(), andon.emit('flush', tenant => 'nobody')").await;

    let mut has_lost = false;
    for round in 0..20 {
        let entity = format!("new{round}");
        line.emit_of("lost", 50).await;
        let before =
            line.client.query_one("select event_id::text from andon.events order by id desc limit 1", &[]).await;
        let before: String = before.unwrap().get(0);
        receiver.acceptances().wait_for_matching(PATIENCE, 50 * (round + 1), |it| is_of(it, "lost")).await.unwrap();
        server.restart_immediate().unwrap();
        line.client = connect(&line.url).await;
        line.run("set synchronous_commit = on").await;
        line.emit_of(&entity, 50).await;
        all_of(&receiver, &entity, 50, 1).await;
        line.run("set synchronous_commit = off").await;
        expected.insert(entity, 50);
        let sql = format!("select not exists (select from andon.events where event_id = '{before}')");
        has_lost = line.client.query_one(&sql, &[]).await.unwrap().get(0);
        if has_lost {
            break;
        }
    }

    assert!(has_lost, "no crash took anything back");
    line.until(ALL_DONE).await;
    line.stop().await.unwrap();
    assert_complete(&receiver, "/hook", &expected);
}

/// Crashes the server, and returns whether nothing was written to its files of what happened after `flushed`.
async fn crash_after(server: &Postgres, line: &mut Line, flushed: &str) -> bool {
    let is_lost = line.text("select pg_current_wal_lsn()::text").await == flushed;
    server.restart_immediate().unwrap();
    line.client = connect(&line.url).await;
    is_lost
}

impl Line {
    /// Emits one event of an entity, and waits until it is on the disk. Returns how far the disk is.
    async fn emit_durably(&self, entity: &str) -> String {
        self.run("set synchronous_commit = on").await;
        self.emit_of(entity, 1).await;
        self.text("select pg_current_wal_lsn()::text").await
    }
}

const TRIES: usize = 10;

/// Waits until the entity's delivery is made. It is made due again and again: a lane that never heard that its parking was written parks it
/// once more, for an hour. That helps no delivery of which nothing is parked, which is what the test is about.
async fn is_made(line: &Line, receiver: &Receiver, entity: &str) {
    let make_due = async {
        let mut clock = tokio::time::interval(Duration::from_millis(500));
        loop {
            clock.tick().await;
            line.run("update andon.deliveries set next_attempt_at = now(); select andon.notify_deliveries()").await;
        }
    };
    tokio::select! {
        () = all_of(receiver, entity, 1, 1) => {}
        () = make_due => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_whose_parking_a_crash_took_back_is_made_even_if_no_event_follows() {
    let server = start_forgetful().await;
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::on(&server).await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"retry": ["1h"]})).await;
    line.start();
    line.emit_durably("first").await;
    all_of(&receiver, "first", 1, 1).await;
    line.until(ALL_DONE).await;

    let mut is_lost = false;
    for attempt in 0..TRIES {
        let entity = format!("parked{attempt}");
        receiver.answer("/hook", Answer::status(500));
        let flushed = line.emit_durably(&entity).await;
        line.until(&format!("select exists (select from andon.deliveries where lane = '{lane}')")).await;
        is_lost = crash_after(&server, &mut line, &flushed).await;
        receiver.answer("/hook", Answer::status(200));
        is_made(&line, &receiver, &entity).await;
        if is_lost {
            break;
        }
        line.until(ALL_DONE).await;
    }

    assert!(is_lost, "no crash took the parking back");
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_a_crash_took_back_is_found_and_told_again() {
    let server = start_forgetful().await;
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::on(&server).await;
    let lane = line.webhook(&receiver.url("/hook"), json!({})).await;
    line.start();
    line.emit_durably("first").await;
    all_of(&receiver, "first", 1, 1).await;
    line.until(ALL_DONE).await;

    receiver.answer("/hook", Answer::status(410));
    let mut is_lost = false;
    for _ in 0..TRIES {
        let flushed = line.emit_durably("gone").await;
        line.until(&format!("select state = 'disabled' from andon.lanes where lane = '{lane}'")).await;
        is_lost = crash_after(&server, &mut line, &flushed).await;
        line.until(&format!("select state = 'disabled' from andon.lanes where lane = '{lane}'")).await;
        if is_lost {
            break;
        }
        line.run("update andon.webhooks set settings = settings || jsonb_build_object('timeout', '5s')").await;
        line.run("update andon.webhooks set settings = settings - 'timeout'").await;
    }

    assert!(is_lost, "no crash took the state back");
    line.stop().await.unwrap();
}
