//! `andon check` is honest. In: daemons that were killed, destinations that get nothing, tables that are locked, peers that never answer. Out:
//! whether each is a fault with its cause, and the exit status 1, in a report that people and machines read.

use std::net::TcpListener;
use std::process::Stdio;

use rig::receiver::Answer;
use rig::receiver::Receiver;
use serde_json::Value;
use serde_json::json;

use crate::command::run_andon;
use crate::support::daemon;
use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::plant::Plant;
use crate::support::plant::connect;

/// True once no daemon holds a lease.
const NOBODY_LIVES: &str = "select not exists (select from andon.daemons where andon.lives(lease_until))";

impl Line {
    /// Waits until a query gives true, without looking at tables that are locked.
    async fn until_true(&self, sql: &str) {
        let mut clock = tokio::time::interval(std::time::Duration::from_millis(20));
        let end = tokio::time::Instant::now() + PATIENCE;
        while !self.client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0) {
            assert!(tokio::time::Instant::now() < end, "never became true: {sql}");
            clock.tick().await;
        }
    }
}

/// Returns the line of a report that contains a text.
fn line_with<'r>(report: &'r str, text: &str) -> &'r str {
    report.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no line has {text}: {report}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_was_killed_is_a_fault_with_what_waits_since() {
    let receiver = Receiver::start().await.unwrap();
    let line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({})).await;
    let before = run_andon(&line.url, &["check"]);
    let daemon = daemon::start(&line.url).await;
    line.emit_all(2, 3).await;
    receiver.wait_accepted(PATIENCE, 6).await.unwrap();
    line.until(ALL_DONE).await;
    let alive = run_andon(&line.url, &["check"]);

    daemon.kill().await.unwrap();
    line.until(NOBODY_LIVES).await;
    line.emit_more(3, 3, 7).await;
    let killed = run_andon(&line.url, &["check"]);

    assert!(
        before.status == 0 && before.out.contains("warning daemon          no daemon has ever held a lease"),
        "{before:?}"
    );
    assert!(alive.status == 0 && alive.out.contains("ok      daemon"), "{alive:?}");
    assert!(alive.out.contains(&format!("ok      webhook         {}", receiver.url("#"))), "{alive:?}");
    assert_eq!(killed.status, 1, "{killed:?}");
    let told = line_with(&killed.out, "FAULT   daemon");
    assert!(told.contains("no daemon holds a lease since 20") && told.contains("12 events wait"), "{told}");
    assert!(told.contains("start `andon run`"), "{told}");
    let webhook = line_with(&killed.out, &receiver.url("#"));
    assert!(webhook.starts_with("FAULT") && webhook.contains("no daemon serves it"), "{webhook}");
    assert!(webhook.contains("12 events wait, the oldest since 20"), "{webhook}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_answers_500_is_a_fault_and_nothing_calls_it_ok() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/hook", Answer::status(500));
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"retry": ["1h"]})).await;
    line.start();
    line.emit_all(20, 1).await;
    line.state(&lane, "open").await;
    line.until(&format!("select parked > 0 and waiting > 0 from andon.lane_status where lane = '{lane}'")).await;

    let check = run_andon(&line.url, &["check"]);
    let json = run_andon(&line.url, &["check", "--json"]);
    line.stop().await.unwrap();

    assert_eq!((check.status, json.status), (1, 1), "{check:?}");
    let told: Vec<&str> = check.out.lines().filter(|line| line.contains(&receiver.url("#"))).collect();
    assert!(told.len() == 1 && told[0].starts_with("FAULT   webhook"), "{told:?}");
    assert!(told[0].contains("is open since") && told[0].contains("answered 500"), "{told:?}");
    assert!(told[0].contains("events wait") && told[0].contains("deliveries failed"), "{told:?}");
    let document: Value = serde_json::from_str(&json.out).unwrap();
    let found = document["findings"].as_array().unwrap().iter().find(|it| it["lane"] == lane).unwrap().clone();
    assert_eq!(
        (&document["status"], &found["grade"], &found["area"]),
        (&json!("fault"), &json!("fault"), &json!("webhook"))
    );
    assert_eq!(found["name"], receiver.url(&lane.replace("andon.webhooks/", "#")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_fails_the_check_only_if_it_is_to_be_strict() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"paused": true})).await;
    line.start();
    line.state(&lane, "paused").await;

    let lenient = run_andon(&line.url, &["check"]);
    let strict = run_andon(&line.url, &["check", "--strict"]);
    line.stop().await.unwrap();

    assert!(lenient.status == 0 && lenient.out.contains("is paused since"), "{lenient:?}");
    assert_eq!((strict.status, strict.out.lines().count()), (1, lenient.out.lines().count()), "{strict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_ends_whatever_hangs_and_says_what_it_still_waits_for() {
    let line = Line::new().await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    line.publisher(silent.local_addr().unwrap().port(), json!({})).await;
    let black_hole = run_andon(&line.url, &["check", "--timeout", "5s"]);
    let away = format!("postgres://andon@127.0.0.1:{}/mes", silent.local_addr().unwrap().port());
    let database = run_andon(&away, &["check", "--timeout", "5s"]);

    assert_eq!((black_hole.status, database.status), (1, 1), "{black_hole:?} {database:?}");
    let told = line_with(&black_hole.out, "plant at 127.0.0.1:");
    assert!(told.starts_with("FAULT   broker") && told.contains("did not answer in time"), "{told}");
    assert!(
        database.out.contains("FAULT   database") && database.out.contains("did not answer within"),
        "{database:?}"
    );

    // The locks are held for as long as the check runs.
    for (table, area) in
        [("lanes", "lane"), ("capture_errors", "capture"), ("sources", "source"), ("mqtt_publishers", "destination")]
    {
        let mut holder = connect(&line.url).await;
        let holding = holder.transaction().await.unwrap();
        holding.batch_execute(&format!("lock table andon.{table} in access exclusive mode")).await.unwrap();
        let process: i32 = holding.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);

        let check = run_andon(&line.url, &["check", "--timeout", "5s"]);
        // Nothing of the check still stands in the queue for the lock, where the plant would wait behind it.
        let left = "select not exists (select from pg_locks join pg_database d on d.oid = database
            where not granted and datname = current_database())";
        line.until_true(left).await;
        holding.rollback().await.unwrap();

        assert_eq!(check.status, 1, "{table}: {check:?}");
        let told = line_with(&check.out, &format!("FAULT   {area} "));
        let names_it = told.contains(&format!("process {process} ")) && told.contains(&format!("andon.{table}"));
        assert!(names_it || told.contains("has locked it"), "{table}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_is_killed_leaves_nothing_in_the_queue_for_a_lock() {
    let line = Line::new().await;
    let mut holder = connect(&line.url).await;
    let holding = holder.transaction().await.unwrap();
    holding.batch_execute("lock table andon.lanes in access exclusive mode").await.unwrap();
    let waits = "exists (select from pg_locks join pg_database d on d.oid = database where not granted and datname = current_database())";

    let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_andon"));
    check.env_clear().env("DATABASE_URL", &line.url).current_dir(std::env::temp_dir());
    let mut check = check.args(["check", "--timeout", "5s"]).stdout(Stdio::null()).spawn().unwrap();
    line.until_true(&format!("select {waits}")).await;
    check.kill().unwrap();
    check.wait().unwrap();

    line.until_true(&format!("select not {waits}")).await;
    holding.rollback().await.unwrap();
}

/// A mapping of one table whose rows have a tenant.
const OF_TENANTS: &str = r#"
    [source]
    name = "mes"
    tenant = "this.tenant"
    [[capture]]
    table = "station"
    on = "insert"
    type = "station.down"
    entity_type = "station"
    data = { id = "new.id" }"#;
const STATIONS: &str = "create table station (id int primary key, tenant text)";

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_no_event_can_reach_is_named_with_the_cause() {
    let plant = Plant::with(STATIONS, OF_TENANTS).await;
    plant.run("insert into station values (1, 'acme')").await;
    plant
        .run(
            "insert into andon.webhooks (tenant_id, url, secret_key, events) values
                ('', 'https://none.example', 's', '{*}'),
                ('acme', 'https://typo.example', 's', '{statoin.*}'),
                ('acme', 'https://good.example', 's', '{station.*}'),
                ('*', 'https://plant.example', 's', '{*}')",
        )
        .await;

    let check = run_andon(&plant.url, &["check"]);

    assert_eq!(check.status, 1, "{check:?}");
    let none = line_with(&check.out, "none.example");
    assert!(none.starts_with("FAULT") && none.contains("no attached source makes an event of its tenant"), "{none}");
    assert!(none.contains("set tenant_id, or `*` for all tenants") && none.contains("`acme`"), "{none}");
    let typo = line_with(&check.out, "typo.example");
    assert!(typo.starts_with("FAULT") && typo.contains("did you mean `station.*`?"), "{typo}");
    for good in ["good.example", "plant.example"] {
        assert!(line_with(&check.out, good).starts_with("ok      webhook"), "{check:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_of_all_tenants_gets_the_events_of_each_live_and_from_the_log() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let lane = line.webhook_of("*", &receiver.url("/plant"), json!({})).await;
    line.webhook_of("acme", &receiver.url("/acme"), json!({})).await;
    line.emit("acme", "a", 1).await;
    line.emit("bolt", "b", 1).await;
    line.start();
    receiver.wait_accepted(PATIENCE, 3).await.unwrap();
    line.emit("acme", "a", 2).await;
    line.emit("", "c", 1).await;
    receiver.wait_accepted(PATIENCE, 6).await.unwrap();
    line.until(ALL_DONE).await;

    let replay = run_andon(&line.url, &["replay", "--destination", &lane, "--since", "1h"]);
    receiver.wait_accepted(PATIENCE, 10).await.unwrap();
    line.stop().await.unwrap();

    assert_eq!(replay.status, 0, "{replay:?}");
    let count = |path: &str| receiver.accepted().iter().filter(|it| it.path == path).count();
    assert_eq!((count("/plant"), count("/acme")), (8, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_select_shows_what_waits_is_parked_and_dead_for_each_destination() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/sick", Answer::status(500));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut line = Line::new().await;
    let well = line.webhook(&receiver.url("/well"), json!({})).await;
    let sick = line.webhook(&receiver.url("/sick"), json!({"retry": []})).await;
    let away = line.publisher(closed, json!({})).await;
    line.run(&format!("update andon.mqtt_publishers set events = '{{job.*}}' where port = {closed}")).await;
    line.start();
    line.emit_all(3, 1).await;
    line.run("select andon.emit('part.made', tenant => 'acme'); select andon.emit('job.made', tenant => 'bolt')").await;
    receiver.acceptances().wait_for_matching(PATIENCE, 4, |it| it.path == "/well").await.unwrap();
    let status = |lane: &str| {
        let sql = "select concat_ws(' ', kind, state, waiting, waiting_is_exact, parked + dead > 0, dead > 0, oldest is not null, daemon is not null)
            from andon.lane_status";
        format!("select coalesce(({sql} where lane = '{lane}'), '')")
    };
    for (lane, expected) in [(&well, "webhook running 0 t f f f t"), (&away, "mqtt retrying 3 t f f t t")] {
        line.until(&format!("select ({}) = '{expected}'", status(lane))).await;
    }
    line.until(&format!("select dead > 0 from andon.lane_status where lane = '{sick}'")).await;
    line.stop().await.unwrap();
    line.until(NOBODY_LIVES).await;
    line.emit_more(5, 1, 2).await;

    for (lane, expected) in [(&well, "webhook running 5 t f f t f"), (&away, "mqtt retrying 8 t f f t f")] {
        let found: String = line.client.query_one(&status(lane), &[]).await.unwrap().get(0);
        assert_eq!(found, expected);
    }
}
