//! The tail on a real PostgreSQL. In: many writers, late commits, rollbacks and prepared transactions. Out: whether the tail sees each
//! committed event exactly once, and whether a writer rings when the tail sleeps and only then.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use andon::database;
use andon::database::Database;
use andon::database::reconnect::Reconnect;
use andon::log::follower::Follower;
use andon::log::follower::Opened;
use andon::secret::Secret;
use rand::Rng as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rig::record::Record;
use tokio::task::JoinHandle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::emit_sql;
use crate::support::line::listener;
use crate::support::line::prepare_process;
use crate::support::plant::connect;

/// Runs a tail and records the id of every event that it hands on.
struct Tailing {
    seen: Arc<Record<i64>>,
    task: JoinHandle<()>,
}

impl Tailing {
    fn start(url: &str) -> Tailing {
        prepare_process();
        let settings = database::Settings { url: Secret::new(url.to_owned()), ca_file: None };
        let database = Database::new(&settings).unwrap();
        let follower = Follower {
            pool: database.pool(1).unwrap(),
            database,
            signals: Arc::default(),
            pulse: Arc::new(AtomicU64::new(0)),
            has_company: Arc::default(),
        };
        let seen = Arc::new(Record::new());
        let record = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut reconnect = Reconnect::new(PATIENCE);
            let Opened::Ready(session, first) = follower.open(None, &mut reconnect).await else {
                panic!("the log went back")
            };
            first.events.iter().for_each(|event| record.append(Arc::new(event.id)));
            let (error, _) = follower
                .follow(session, |batch| batch.events.iter().for_each(|event| record.append(Arc::new(event.id))))
                .await;
            panic!("{error:#}");
        });
        Tailing { seen, task }
    }

    fn ids(&self) -> Vec<i64> {
        self.seen.snapshot().iter().map(|id| **id).collect()
    }
}

impl Drop for Tailing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn committed(line: &Line) -> BTreeSet<i64> {
    line.client.query("select id from andon.events", &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Waits until the tail holds the bell's lock.
async fn asleep(line: &Line) {
    line.until(
        "select exists (select from pg_locks where locktype = 'advisory' and classid = 1097753711 and objid = 1
        and mode = 'ExclusiveLock' and granted and database = (select oid from pg_database where datname = current_database()))",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_committed_event_is_seen_once_among_32_writers_and_one_that_stays_open() {
    let line = Line::new().await;
    let tailing = Tailing::start(&line.url);
    let import = connect(&line.url).await;
    import.batch_execute("begin").await.unwrap();
    import
        .batch_execute(
            "insert into andon.events (tenant, type, entity_type, entity_id)
            select 'acme', 'job.updated', 'job', 'import' from generate_series(1, 10000); select andon.ring()",
        )
        .await
        .unwrap();

    let mut writers = JoinSet::new();
    for seed in 0..32 {
        let url = line.url.clone();
        writers.spawn(async move {
            let client = connect(&url).await;
            let mut random = StdRng::seed_from_u64(seed);
            for _ in 0..60 {
                client.batch_execute("begin").await.unwrap();
                for counter in 0..random.random_range(1..4) {
                    client.batch_execute(&emit_sql("acme", "e", counter)).await.unwrap();
                }
                let end = if random.random_bool(0.2) { "rollback" } else { "commit" };
                client.batch_execute(end).await.unwrap();
            }
        });
    }
    writers.join_all().await;

    let of_the_others = committed(&line).await;
    let flowing = tailing.seen.wait_for_count(PATIENCE, of_the_others.len()).await;
    flowing.expect("the open transaction holds up no other event");
    import.batch_execute("commit").await.unwrap();
    let all = committed(&line).await;
    assert_eq!(all.len(), of_the_others.len() + 10_000);
    tailing.seen.wait_for_count(PATIENCE, all.len()).await.unwrap();
    let seen = tailing.ids();
    assert_eq!(seen.len(), all.len(), "some were seen twice");
    assert_eq!(BTreeSet::from_iter(seen), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_subtransactions_that_is_committed_in_two_phases_is_seen_before_what_follows_it() {
    let line = Line::new().await;
    let tailing = Tailing::start(&line.url);
    let import = connect(&line.url).await;
    import.batch_execute("begin").await.unwrap();
    for part in 0..6 {
        let end = if part % 3 == 2 { "rollback to part" } else { "release part" };
        import
            .batch_execute(&format!(
                "savepoint part; insert into andon.events (tenant, type, entity_type, entity_id)
                select 'acme', 'job.updated', 'job', 'import' from generate_series(1, 1000); {end}"
            ))
            .await
            .unwrap();
        // An event between two parts gives the import a hole for each part, and transaction ids on both sides of the other writer's.
        line.emit("acme", "other", part + 1).await;
    }
    // The import does not ring, because PostgreSQL refuses to prepare a transaction that has sent a NOTIFY.
    import.batch_execute("prepare transaction 'import'").await.unwrap();
    for counter in 7..=12 {
        line.emit("acme", "other", counter).await;
    }
    tailing.seen.wait_for_count(PATIENCE, 12).await.expect("a prepared transaction holds up no other event");

    line.run("commit prepared 'import'").await;
    line.emit("acme", "import", 1).await;

    tailing.seen.wait_for_count(PATIENCE, 4013).await.unwrap();
    let seen = tailing.ids();
    assert_eq!(seen.last(), committed(&line).await.last(), "an event emitted after the import overtook it");
    assert_eq!(BTreeSet::from_iter(seen), committed(&line).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bell_wakes_a_sleeping_tail() {
    let line = Line::new().await;
    let tailing = Tailing::start(&line.url);

    // Each event waits for the one before, so that the tail is asleep or falling asleep. With the tail's polling alone, this would take
    // minutes.
    for counter in 1..=60 {
        line.emit("acme", "e", counter).await;
        tailing.seen.wait_for_count(PATIENCE, counter as usize).await.unwrap();
    }

    assert_eq!(tailing.ids().len(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_rings_while_the_tail_is_awake_for_a_crowd() {
    let line = Line::new().await;
    let tailing = Tailing::start(&line.url);
    asleep(&line).await;
    let over = CancellationToken::new();
    let mut crowd = JoinSet::new();
    for _ in 0..8 {
        let (url, over) = (line.url.clone(), over.clone());
        crowd.spawn(async move {
            let client = connect(&url).await;
            while !over.is_cancelled() {
                client.batch_execute(&emit_sql("acme", "crowd", 1)).await.unwrap();
            }
        });
    }
    let open = connect(&line.url).await;
    let pid: i32 = open.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    let shares =
        "select exists (select from pg_locks where locktype = 'advisory' and classid = 1097753711 and objid = 1
        and mode = 'ShareLock' and granted and pid = $1)";

    // Once this transaction holds the bell's lock, the tail cannot fall asleep until it ends, because it has not rung.
    let begin = format!("begin; {}", emit_sql("acme", "open", 1));
    open.batch_execute(&begin).await.unwrap();
    while !line.client.query_one(shares, &[&pid]).await.unwrap().get::<_, bool>(0) {
        open.batch_execute(&format!("rollback; {begin}")).await.unwrap();
    }
    over.cancel();
    crowd.join_all().await;
    let (listener, received) = listener(&line.url).await;
    listener.batch_execute("listen andon").await.unwrap();
    for counter in 1..=20 {
        line.emit("acme", "e", counter).await;
    }

    listener.batch_execute("select 1").await.unwrap();
    assert!(received.is_empty(), "a NOTIFY was sent although the tail was awake");
    let all = committed(&line).await;
    tailing.seen.wait_for_count(PATIENCE, all.len()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_sleeps_is_woken_by_each_commit_and_keeps_the_lock() {
    let line = Line::new().await;
    let tailing = Tailing::start(&line.url);
    let (listener, received) = listener(&line.url).await;
    asleep(&line).await;
    listener.batch_execute("listen andon").await.unwrap();

    for counter in 1..=20 {
        line.emit("acme", "e", counter).await;
        tailing.seen.wait_for_count(PATIENCE, counter as usize).await.unwrap();
    }

    listener.batch_execute("select 1").await.unwrap();
    assert_eq!(received.len(), 20, "few writers ring, so that the tail need not poll");
}

#[tokio::test(flavor = "multi_thread")]
async fn holes_of_rolled_back_transactions_are_closed() {
    let line = Line::new().await;
    let tailing = Tailing::start(&line.url);
    for counter in 1..=20 {
        line.run(&format!("begin; {}; rollback", emit_sql("acme", "ghost", counter))).await;
        line.emit("acme", "e", counter).await;
    }
    tailing.seen.wait_for_count(PATIENCE, 20).await.unwrap();

    line.until("select position = 40 and holes = '{}' from andon.tail").await;

    assert_eq!(tailing.ids().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_in_a_later_partition_is_seen_while_one_stays_open_in_an_earlier() {
    let line = Line::new().await;
    // Partitions are 10,000 ids wide at first. The log starts near the end of one, so that each hole is narrow and the tail reads it
    // together with the new events.
    line.run("update andon.tail set position = 19979; select setval('andon.events_id_seq', 19979)").await;
    let tailing = Tailing::start(&line.url);
    let go_on_at = async |id: i64| line.run(&format!("select setval('andon.events_id_seq', {})", id - 1)).await;
    let begin = async || {
        let import = connect(&line.url).await;
        import.batch_execute("begin").await.unwrap();
        import.batch_execute(&emit_sql("acme", "import", 1)).await.unwrap();
        import
    };
    let emit = async |counter: u64, expected: usize| {
        line.emit("acme", "other", counter).await;
        let seen = tailing.seen.wait_for_count(PATIENCE, expected).await;
        seen.unwrap_or_else(|_| panic!("event {counter} was not seen; seen: {:?}", tailing.ids()));
    };

    emit(1, 1).await;
    let first = begin().await;
    emit(2, 2).await;
    go_on_at(20_005).await;
    emit(3, 3).await;
    let second = begin().await;
    go_on_at(45_000).await;
    emit(4, 4).await;
    first.batch_execute("commit").await.unwrap();
    second.batch_execute("commit").await.unwrap();
    emit(5, 7).await;

    let seen = tailing.ids();
    assert_eq!(BTreeSet::from_iter(seen.clone()), committed(&line).await);
    assert_eq!(seen.len(), 7, "some were seen twice: {seen:?}");
    assert_eq!((seen[2], seen[3]), (20_005, 45_000));
}
