//! Retention of the log. In: logs in small partitions, lanes that keep up and lanes that do not. Out: whether only what is beyond a limit
//! is removed, whether no writer waits for it, and whether a lane that lost events reports how many.

use std::time::Duration;
use std::time::Instant;

use andon::destination::Defaults;
use andon::gateway::retention;
use andon::settings::Retention;
use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Postgres;
use rig::Subscriber;
use rig::receiver::Answer;
use rig::receiver::Receiver;
use serde_json::json;

use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::emit_sql;
use crate::support::line::judge_requests;
use crate::support::line::marker;
use crate::support::plant::connect;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Line {
    /// Creates a line whose log has partitions of a hundred ids each.
    pub(crate) async fn in_small_partitions() -> Line {
        let line = Line::new().await;
        line.cut_small().await;
        line
    }

    async fn cut_small(&self) {
        self.run(
            "do $$ declare unused regclass; begin
                for unused in select part from andon.log_partitions() loop execute format('drop table %s', unused); end loop;
            end $$;
            select andon.extend_log(smallest => 100)",
        )
        .await;
    }

    /// Sets the time of the events below this id back.
    async fn age(&self, past: i64, by: &str) {
        self.run(&format!("update andon.events set captured_at = captured_at - interval '{by}' where id < {past}"))
            .await;
    }

    /// Tidies until no partition is left below this id: one that somebody has open, such as autovacuum, stays until the next time.
    async fn tidy_away(&self, past: i64, retention: &Retention) {
        let deadline = Instant::now() + PATIENCE;
        self.tidy(retention).await;
        while self.number(&format!("{PARTITIONS_BELOW} {past}")).await > 0 {
            if Instant::now() >= deadline {
                panic!("partitions below {past} stay: {}", self.text(WHY_THEY_STAY).await);
            }
            self.tidy(retention).await;
        }
    }

    pub(crate) async fn tidy(&self, retention: &Retention) {
        let mut client = connect(&self.url).await;
        retention::apply(&mut client, retention, &self.defaults).await.unwrap();
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Waits until the tail has decided every id and has stored that.
    pub(crate) async fn all_is_read(&self) {
        self.until("select position >= pg_sequence_last_value('andon.events_id_seq') and holes = '{}' from andon.tail")
            .await;
    }
}

fn a_week() -> Retention {
    Retention { log_age: DAY * 7, ..Retention::default() }
}

fn no_room() -> Retention {
    Retention { log_size: 1, ..Retention::default() }
}

/// What keeps partitions: ids that a lane or the tail has not passed, events that are too young, and locks of others.
const WHY_THEY_STAY: &str = "select concat_ws(e'\\n',
    (select string_agg(concat_ws(' ', part, low, past), ', ') from (select * from andon.log_partitions() limit 3) part),
    (select 'tail ' || tail::text from andon.tail),
    (select string_agg(concat_ws(' ', lane, state, epoch, position, andon.pending_ids(lanes)), ', ') from andon.lanes),
    (select string_agg(concat_ws(' ', tableoid::regclass, count, age), ', ')
        from (select tableoid, count(*), now() - max(captured_at) as age from andon.events group by tableoid order by tableoid) it),
    (select string_agg(concat_ws(' ', l.locktype, l.relation::regclass, l.objid, l.mode, l.granted, l.pid, a.backend_type, a.state, now() - a.xact_start, a.query),
        e'\\n') from pg_locks l join pg_stat_activity a using (pid) where l.pid <> pg_backend_pid() and a.datname = current_database()))";

const PARTITIONS_BELOW: &str = "select count(*) from andon.log_partitions() where past <=";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_and_passed_goes_with_its_partition_and_nothing_else_does() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::in_small_partitions().await;
    line.webhook(&receiver.url("/hook"), json!({})).await;
    line.start();
    line.emit_all(10, 35).await;
    receiver.wait_accepted(PATIENCE, 350).await.unwrap();
    line.until(ALL_DONE).await;
    line.all_is_read().await;
    line.age(250, "8 days").await;

    line.tidy_away(200, &a_week()).await;

    assert_eq!(
        line.number("select min(id) from andon.events").await,
        200,
        "the one that holds 200 to 299 is not all old"
    );
    assert_eq!(line.number("select sum(lost)::int8 from andon.lanes").await, 0);
    let expected = line.emit_more(10, 35, 36).await;
    receiver.wait_accepted(PATIENCE, 360).await.unwrap();
    line.stop().await.unwrap();
    let verdict = judge_requests(&expected, &receiver.accepted());
    assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_is_away_for_too_long_reports_exactly_how_many_events_it_lost() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::in_small_partitions().await;
    let lane = line.publisher(1, json!({})).await;
    line.run("update andon.mqtt_publishers set events = '{job.*}'").await;
    line.start();
    line.state(&lane, "retrying").await;
    for round in 0..10 {
        line.emit_more(10, round * 2, round * 2 + 2).await;
        line.run("select andon.emit('part.made', tenant => 'acme'), andon.emit('job.updated', tenant => 'rival')")
            .await;
    }
    line.all_is_read().await;
    line.age(100, "8 days").await;

    line.tidy(&a_week()).await;

    let lost = line.number("select lost from andon.lanes").await;
    assert_eq!(line.number("select min(id) from andon.events").await, 100);
    assert!((85..100).contains(&lost), "of the 99 events that are gone, some were not for it: {lost}");
    line.run(&format!("update andon.mqtt_publishers set port = {}", broker.port())).await;
    line.until(ALL_DONE).await;
    line.stop().await.unwrap();
    let rest: Vec<_> =
        subscriber.received().iter().filter(|it| it.topic.starts_with("acme/")).map(|it| marker(&it.payload)).collect();
    assert_eq!(rest.len() as i64 + lost, 200);
    assert_eq!(line.number("select lost from andon.lanes").await, lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_gets_on_is_waited_for_as_long_as_there_is_room() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/hook", Answer::hang());
    let mut line = Line::in_small_partitions().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"concurrency": 1})).await;
    line.start();
    line.emit_all(1, 350).await;
    receiver.wait_received(PATIENCE, 1).await.unwrap();
    line.all_is_read().await;
    let epoch = line.number("select epoch from andon.lanes").await;
    line.age(300, "8 days").await;

    line.tidy(&a_week()).await;
    let kept = line.number("select count(*) from andon.events").await;
    line.tidy(&no_room()).await;

    assert_eq!(kept, 350);
    assert_eq!(line.number("select min(id) from andon.events").await, 300);
    assert_eq!(line.number("select lost from andon.lanes").await, 299);
    line.until(&format!("select epoch > {epoch} + 1 from andon.lanes where lane = '{lane}'")).await;
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn shortening_the_log_makes_no_writer_wait_whoever_holds_it_open() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::in_small_partitions().await;
    line.webhook(&receiver.url("/hook"), json!({})).await;
    line.start();
    line.emit_all(10, 35).await;
    receiver.wait_accepted(PATIENCE, 350).await.unwrap();
    line.until(ALL_DONE).await;
    line.all_is_read().await;
    line.age(300, "8 days").await;
    let partitions = line.number(&format!("{PARTITIONS_BELOW} 300")).await;
    let import = connect(&line.url).await;
    import.batch_execute(&format!("begin; {}", emit_sql("acme", "import", 1))).await.unwrap();

    let (plant, url) = (connect(&line.url).await, line.url.clone());
    let tidying = tokio::spawn(async move {
        let mut client = connect(&url).await;
        for _ in 0..5 {
            retention::apply(&mut client, &a_week(), &Defaults::default()).await.unwrap();
        }
    });
    // This counts the time in which a writer waits for a lock, and not that in which it waits for a busy machine.
    plant.batch_execute("set lock_timeout = '1s'").await.unwrap();
    while !tidying.is_finished() {
        plant.batch_execute(&emit_sql("acme", "e1", 36)).await.expect("a writer goes on");
    }
    tidying.await.unwrap();

    assert_eq!(line.number("select count(*) from andon.events where id < 300").await, 0, "the room is free at once");
    assert_eq!(line.number(&format!("{PARTITIONS_BELOW} 300")).await, partitions, "dropping them has to wait");
    import.batch_execute("commit").await.unwrap();
    line.tidy_away(300, &a_week()).await;
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_in_another_database_of_the_server_keeps_no_partition() {
    let (line, neighbour) = (Line::in_small_partitions().await, Line::new().await);
    let oid = "select 'andon.events'::regclass::oid::int8";
    assert_eq!(line.number(oid).await, neighbour.number(oid).await, "both were made from one template");
    line.run("alter sequence andon.events_id_seq restart with 300").await;
    line.emit("acme", "e1", 1).await;
    let mut client = connect(&line.url).await;
    line.run("update andon.tail set position = 300, holes = '{}'").await;
    let import = connect(&neighbour.url).await;
    import.batch_execute(&format!("begin; {}", emit_sql("acme", "import", 1))).await.unwrap();

    retention::apply(&mut client, &a_week(), &Defaults::default()).await.unwrap();

    assert_eq!(line.number(&format!("{PARTITIONS_BELOW} 300")).await, 0);
    import.batch_execute("rollback").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_not_committed_yet_keeps_its_partition() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::in_small_partitions().await;
    line.webhook(&receiver.url("/hook"), json!({})).await;
    line.start();
    line.emit_all(10, 15).await;
    let import = connect(&line.url).await;
    import.batch_execute(&format!("begin; {}", emit_sql("acme", "import", 1))).await.unwrap();
    line.emit_more(10, 15, 35).await;
    receiver.wait_accepted(PATIENCE, 350).await.unwrap();
    line.until("select position > 350 and holes <> '{}' from andon.tail").await;
    // What a lane has delivered and not stored yet would count as lost.
    line.until("select delivered >= 350 from andon.lanes").await;

    line.tidy(&no_room()).await;
    import.batch_execute("commit").await.unwrap();

    receiver.wait_accepted(PATIENCE, 351).await.unwrap();
    line.stop().await.unwrap();
    assert_eq!(line.number("select min(id) from andon.events").await, 100);
    assert_eq!(line.number("select sum(lost)::int8 from andon.lanes").await, 0);
}

#[tokio::test]
async fn a_log_that_overtook_its_partitions_goes_on_and_comes_back_into_them() {
    let line = Line::in_small_partitions().await;
    line.run("alter sequence andon.events_id_seq restart with 5000").await;
    line.emit_all(1, 10).await;
    let overflow = line.number("select count(*) from andon.events_default").await;

    line.run("select andon.extend_log(smallest => 100)").await;
    let ahead = line.number("select min(low) from andon.log_partitions() where low > 5000").await;
    line.run(&format!("alter sequence andon.events_id_seq restart with {ahead}")).await;
    line.emit_all(1, 10).await;
    line.run(&format!("update andon.tail set position = {}", ahead + 9)).await;
    line.age(ahead, "8 days").await;
    line.tidy(&a_week()).await;

    assert_eq!(overflow, 10);
    assert_eq!(
        line.number("select count(*) from andon.events_default").await,
        0,
        "what is over goes from there as well"
    );
    assert_eq!(line.number("select min(id) from andon.events").await, ahead);
}

#[tokio::test]
async fn partitions_are_as_wide_as_the_pace_of_the_plant_and_the_limits_say() {
    let line = Line::in_small_partitions().await;
    line.emit_all(1, 1000).await;
    line.run("update andon.events set captured_at = now() - (1000 - id) * interval '1 second'").await;

    line.run("select andon.extend_log(log_age => '16 hours', smallest => 100)").await;

    // There is one event a second, so a sixteenth of sixteen hours holds an hour of ids.
    let widest = line.number("select max(past - low) from andon.log_partitions()").await;
    assert!((3400..3700).contains(&widest), "{widest}");
    line.run("select andon.extend_log(log_age => '16 hours', log_size => 1000000, smallest => 100), setval('andon.events_id_seq', 5000)").await;
    line.run("select andon.extend_log(log_age => '16 hours', log_size => 1000000, smallest => 100)").await;
    let last = line.number("select past - low from andon.log_partitions() order by low desc limit 1").await;
    assert!((100..1000).contains(&last), "{last} ids for a sixteenth of a megabyte");
}

#[tokio::test]
async fn attempts_are_kept_by_day_and_go_by_day() {
    let line = Line::new().await;
    let attempt = |at: &str| {
        format!(
            "insert into andon.attempts (at, lane, event, event_id, attempt, outcome)
            values ({at}, 'andon.webhooks/1', 1, gen_random_uuid(), 1, 'retry')"
        )
    };
    line.run(
        "create table andon.attempts_20200101 (like andon.attempts including defaults including constraints);
        alter table andon.attempts attach partition andon.attempts_20200101 for values from ('2020-01-01Z') to ('2020-01-02Z')",
    )
    .await;
    for at in ["now()", "now() + interval '1 day'", "'2020-01-01 12:00Z'", "'2019-01-01Z'"] {
        line.run(&attempt(at)).await;
    }
    assert_eq!(line.number("select count(*) from only andon.attempts_default").await, 1);

    line.tidy(&Retention::default()).await;

    assert_eq!(line.number("select count(*) from andon.attempts").await, 2);
    assert_eq!(line.number("select count(*) from andon.attempts_default").await, 0);
    assert_eq!(line.number("select count(*) from pg_class where relname = 'attempts_20200101'").await, 0);
}

#[tokio::test]
async fn attempts_from_before_they_were_kept_by_day_stay() {
    let url = Postgres::shared().create_database().await.unwrap();
    let line = Line::at(&url).await;
    for sql in [
        include_str!("../../migrations/0001_andon.sql"),
        include_str!("../../migrations/0002_capture.sql"),
        include_str!("../../migrations/0003_daemons.sql"),
        include_str!("../../migrations/0004_ledger.sql"),
        "insert into andon.attempts (lane, event, event_id, attempt, outcome) values ('l', 1, gen_random_uuid(), 1, 'retry')",
        include_str!("../../migrations/0005_retention.sql"),
    ] {
        line.run(sql).await;
    }

    andon::ledger::attempts::keep(&line.client, Retention::default().attempts_age).await.unwrap();

    assert_eq!(line.number("select count(*) from andon.attempts where lane = 'l'").await, 1);
    let new = "insert into andon.attempts (at, lane, event, event_id, attempt, outcome)
        select now() + it * interval '1 day', 'n', 1, gen_random_uuid(), 1, 'dead' from generate_series(0, 2) it";
    line.run(new).await;
    assert_eq!(line.number("select count(*) from andon.attempts_default").await, 0, "each day has a partition");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_of_a_daemon_can_tidy_and_others_cannot() {
    let server = tokio::task::spawn_blocking(|| Postgres::start().unwrap()).await.unwrap();
    let line = Line::on(&server).await;
    line.cut_small().await;
    line.run("create role reader login; grant usage on schema andon to reader").await;
    line.emit_all(1, 250).await;
    line.run("update andon.tail set position = 250").await;
    let as_role = |role: &str| line.url.replace("postgres://postgres@", &format!("postgres://{role}@"));

    let mut daemon = connect(&as_role("andon_run")).await;
    retention::apply(&mut daemon, &no_room(), &Defaults::default()).await.unwrap();
    let reader = connect(&as_role("reader")).await;

    assert_eq!(line.number("select min(id) from andon.events").await, 200);
    for call in ["andon.empty_log('andon.events_200', 300)", "andon.drop_empty_log()", "andon.keep_attempts('1 s')"] {
        let refused = reader.batch_execute(&format!("select {call}")).await.unwrap_err();
        assert_eq!(refused.code().map(|code| code.code()), Some("42501"), "{call}");
    }
}
