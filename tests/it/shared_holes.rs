//! An import that inserts row by row leaves thousands of holes in the log, which the rows of the lanes share. In: imports that end in every
//! way, and daemons that end meanwhile. Out: whether what fills a hole is delivered once, and what the rows of the lanes say.

use std::collections::BTreeMap;

use rig::Receiver;
use serde_json::json;
use tokio_postgres::Client;

use crate::support::daemon;
use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::judge_requests;
use crate::support::line::wait_for_requests;
use crate::support::plant::connect;

/// Enough to be shared.
const HOLES: i64 = 1500;
/// So few that the others go on being shared when these are filled.
const FEW: i64 = 400;
const MANY: i64 = 4000;
/// How many ranges a row has of its own.
const RANGES: &str = "(select count(*) from unnest(pending)) + (select count(*) from unnest(filled))";
const SHARED: &str = "select bool_and(shared_holes is not null) from andon.lanes";

/// A transaction that holds every second id of a stretch of the log.
struct Import {
    client: Client,
    holes: Vec<i64>,
}

impl Import {
    /// Takes the ids. Between each two of them stands an event that nobody wants.
    async fn begin(line: &Line, holes: i64) -> Import {
        let client = connect(&line.url).await;
        client.batch_execute("begin; select andon.emit('row.begun', tenant => 'nobody')").await.unwrap();
        let sql = "insert into andon.events (tenant, type, entity_type, entity_id, data)
            select 'nobody', 'row.passed', 'row', n::text, jsonb_build_object('hole', hole)
            from (select n, nextval('andon.events_id_seq') as hole from generate_series(1, $1::bigint) n offset 0) row
            returning (data->>'hole')::bigint";
        let holes = line.client.query(sql, &[&holes]).await.unwrap().iter().map(|row| row.get(0)).collect();
        line.run("select andon.ring()").await;
        Import { client, holes }
    }

    /// Fills the holes with the counters of an entity, and commits. Returns what is to be delivered.
    async fn commit(self, entity: &str) -> (String, u64) {
        let sql = "insert into andon.events (id, tenant, type, entity_type, entity_id, data) overriding system value
            select hole, 'acme', 'job.updated', 'job', $2::text, jsonb_build_object('entity', $2::text, 'counter', counter)
            from unnest($1::int8[]) with ordinality row (hole, counter)";
        self.client.execute(sql, &[&self.holes, &entity]).await.unwrap();
        self.client.batch_execute("select andon.ring(); commit").await.unwrap();
        (entity.to_owned(), self.holes.len() as u64)
    }
}

/// Adds two webhooks of one tenant.
async fn two_webhooks() -> (Line, [Receiver; 2]) {
    let line = Line::new().await;
    let receivers = [Receiver::start().await.unwrap(), Receiver::start().await.unwrap()];
    for receiver in &receivers {
        line.webhook(&receiver.url("/hook"), json!({"concurrency": 32})).await;
    }
    (line, receivers)
}

/// Emits the next counter of an entity, which makes the lanes write their rows.
async fn tick(line: &Line, expected: &mut BTreeMap<String, u64>) {
    let counter = expected.entry("tick".to_owned()).or_default();
    *counter += 1;
    line.emit("acme", "tick", *counter).await;
}

/// Waits until each webhook has had all of it, and judges what it got.
async fn assert_delivered(receivers: &[Receiver; 2], expected: &BTreeMap<String, u64>) {
    for receiver in receivers {
        wait_for_requests(receiver, expected).await;
        let verdict = judge_requests(expected, &receiver.accepted());
        assert!(verdict.is_clean(), "{verdict:?}");
    }
}

fn accepted(receivers: &[Receiver; 2]) -> usize {
    receivers.iter().map(|receiver| receiver.accepted().len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fills_a_hole_is_delivered_though_the_daemon_was_killed_before() {
    let (line, receivers) = two_webhooks().await;
    let mut expected = BTreeMap::new();
    let daemon = daemon::start(&line.url).await;
    let (first, second, third) =
        (Import::begin(&line, FEW).await, Import::begin(&line, HOLES).await, Import::begin(&line, HOLES).await);
    tick(&line, &mut expected).await;
    line.until(SHARED).await;

    // The rows say now that these are done, while the shared holes still contain them.
    let few = format!("{:?}", first.holes);
    expected.extend([first.commit("first").await]);
    assert_delivered(&receivers, &expected).await;
    // Whether by what is filled of the shared holes, or because these were written anew meanwhile.
    let is_open = format!("exists (select from unnest(array{few}) id where andon.pending_ids(lanes) @> id::int8)");
    line.until(&format!("select bool_and(shared_holes is not null and not {is_open}) from andon.lanes")).await;
    let delivered = accepted(&receivers);
    daemon.kill().await.unwrap();
    expected.extend([second.commit("second").await]);
    let daemon = daemon::start(&line.url).await;
    assert_delivered(&receivers, &expected).await;
    // Nobody rings for a rollback, and no event follows it.
    drop(third);
    line.until(ALL_DONE).await;
    assert_eq!(daemon.stop().await.unwrap(), 0);
    assert_eq!(
        accepted(&receivers) - delivered,
        2 * HOLES as usize,
        "nothing is delivered again that the rows had as done"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_shares_holes_stays_small_and_gives_all_of_them_to_whoever_takes_the_lane() {
    let (mut line, _receivers) = two_webhooks().await;
    line.start();
    let import = Import::begin(&line, MANY).await;
    line.until("select max((select count(*) from unnest(holes))) >= 3000 from andon.shared_holes").await;
    tick(&line, &mut BTreeMap::new()).await;
    line.until(SHARED).await;
    line.until("select bool_and(position >= (select max(id) from andon.events)) from andon.lanes").await;
    line.stop().await.unwrap();

    line.until(&format!("select bool_and({RANGES} <= 1024) from andon.lanes")).await;
    // A daemon of the version before takes a lane in this way, and reads this column.
    let rows = line
        .client
        .query(
            "update andon.lanes set epoch = epoch + 1
            returning (select bool_and(pending @> hole) from unnest($1::int8[]) hole), shared_holes is null and isempty(filled)",
            &[&import.holes],
        )
        .await
        .unwrap();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row.get(0) && row.get(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_shared_holes_each_row_has_all_of_them() {
    let (mut line, receivers) = two_webhooks().await;
    line.run("alter table andon.shared_holes add constraint none check (false)").await;
    line.start();
    let import = Import::begin(&line, HOLES).await;
    let mut expected = BTreeMap::new();
    tick(&line, &mut expected).await;
    line.until("select bool_and((select count(*) from unnest(pending)) >= 1500) from andon.lanes").await;

    expected.extend([import.commit("import").await]);

    assert_delivered(&receivers, &expected).await;
    line.until(ALL_DONE).await;
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_goes_on_when_the_shared_holes_of_its_daemon_are_gone() {
    let (mut line, receivers) = two_webhooks().await;
    line.start();
    let import = Import::begin(&line, HOLES).await;
    let mut expected = BTreeMap::new();
    tick(&line, &mut expected).await;
    line.until(SHARED).await;

    // As after a crash that did not flush them.
    line.run(
        "update andon.lanes set pending = andon.pending_ids(lanes), shared_holes = null, filled = '{}';
        delete from andon.shared_holes",
    )
    .await;
    tick(&line, &mut expected).await;
    expected.extend([import.commit("import").await]);

    assert_delivered(&receivers, &expected).await;
    line.until(ALL_DONE).await;
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_while_the_tails_row_is_locked() {
    let (mut line, receivers) = two_webhooks().await;
    line.start();
    let mut expected = BTreeMap::new();
    tick(&line, &mut expected).await;
    assert_delivered(&receivers, &expected).await;
    let locker = connect(&line.url).await;

    locker.batch_execute("begin; lock table andon.tail in share row exclusive mode").await.unwrap();

    tick(&line, &mut expected).await;
    let waits = "select exists (select from pg_locks where relation = 'andon.tail'::regclass and not granted
        and database = (select oid from pg_database where datname = current_database()))";
    line.until(waits).await;
    tick(&line, &mut expected).await;
    assert_delivered(&receivers, &expected).await;
    locker.batch_execute("rollback").await.unwrap();
    line.until("select position >= (select max(id) from andon.events) from andon.tail").await;
    line.stop().await.unwrap();
}
