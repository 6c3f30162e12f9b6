//! The daemon watches what is attached. In: a daemon, and a plant that changes under it. Out: whether what it finds stands in `andon.sources`
//! and in its log, and goes away again.

use std::time::Duration;

use andon::capture::Mapping;
use andon::capture::watch::Look;
use andon::capture::watch::look;

use crate::command::file;
use crate::command::run_andon;
use crate::support::daemon;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::plant::Plant;
use crate::support::plant::connect;
use crate::support::plant::eryxon;
use crate::support::role::printed;

async fn state(plant: &Plant) -> (String, Option<String>) {
    let row = plant.client.query_one("select state, reason from andon.sources", &[]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn a_look_keeps_what_it_found_until_it_is_mended() {
    let mut plant = Plant::attached().await;
    assert_eq!(state(&plant).await, ("attached".to_owned(), None));
    plant.run("alter table jobs disable trigger all; alter table parts rename column part_number to number").await;

    let early = look(&mut plant.client, Duration::from_secs(300)).await.unwrap();
    let due = look(&mut plant.client, Duration::ZERO).await.unwrap();
    let (differs, reason) = state(&plant).await;
    plant.run("alter table parts rename column number to part_number").await;
    look(&mut plant.client, Duration::ZERO).await.unwrap();
    let (still, disabled) = state(&plant).await;
    andon::capture::attach(&mut plant.client, &eryxon()).await.unwrap();

    assert_eq!(early[0].1, Look::Attached, "it was looked at when it was attached");
    assert_eq!((differs.as_str(), &due[0].1), ("differs", &Look::Differs(reason.clone().unwrap())));
    assert!(reason.as_ref().unwrap().contains("part_number does not exist"), "{reason:?}");
    assert!(still == "differs" && disabled.as_ref().unwrap().contains("on public.jobs is disabled"), "{disabled:?}");
    assert_eq!(state(&plant).await, ("attached".to_owned(), None));
}

const WATCHED: &str = "[source]
name = 'mes'
watch_ddl = true
[[capture]]
table = 'jobs'
on = 'insert'
type = 'job.created'";

fn parsed(text: &str) -> Mapping {
    Mapping::parse("test.toml", text).unwrap()
}

/// Waits until the daemon has written this state.
async fn becomes(line: &Line, state: &str) {
    let query = format!("select state = '{state}' from andon.sources");
    line.until(&query).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_learns_of_a_change_of_the_schema_at_once_where_event_triggers_can_be_had() {
    let plant = Plant::with("create table jobs (id int primary key, status text)", WATCHED).await;
    let mut line = Line::of(plant);
    line.start();
    line.until("select checked_at is not null and exists (select from andon.daemons) from andon.sources").await;

    // Without the event triggers, the next look would be minutes later.
    for (change, mend) in [
        ("drop trigger andon_mes_insert on jobs", None),
        ("alter table jobs disable trigger all", Some("alter table jobs enable trigger all")),
        ("alter table jobs rename to orders", Some("alter table orders rename to jobs")),
    ] {
        line.run(change).await;
        becomes(&line, "differs").await;
        match mend {
            Some(mend) => line.run(mend).await,
            None => drop(andon::capture::attach(&mut line.client, &parsed(WATCHED)).await.unwrap()),
        }
        becomes(&line, "attached").await;
    }
    line.stop().await.unwrap();
}

#[tokio::test]
async fn an_event_trigger_never_makes_a_statement_of_the_plant_fail() {
    let plant = Plant::with("create table jobs (id int primary key, status text)", WATCHED).await;
    let name = plant.url.rsplit('/').next().unwrap();
    plant
        .run(&format!(
            "create role worker_{name} login; create schema own authorization worker_{name}; create schema gone"
        ))
        .await;
    let worker = connect(&plant.url.replace("//postgres@", &format!("//worker_{name}@"))).await;
    let work = "create table own.t (id int); alter table own.t add x int; create temp table t (id int); alter table t add y int;
        drop table t; create index on own.t (x); create view own.v as select 1 as x; drop table own.t; drop view own.v;
        begin; create table own.u (id int); drop table own.u; rollback";
    worker.batch_execute(work).await.unwrap();
    plant.run("drop schema gone cascade; comment on table jobs is 'x'; grant select on jobs to public; analyze").await;

    // What the function needs is gone.
    plant.run("alter function pg_catalog.pg_notify(text, text) rename to pg_notify_gone").await;
    worker.batch_execute(work).await.unwrap();

    plant.run("drop schema andon cascade; alter table jobs add y int; drop table jobs").await;
    assert_eq!(plant.count("select count(*) from pg_event_trigger").await, 0);
}

#[tokio::test]
async fn who_may_not_create_event_triggers_attaches_without_them_and_is_told() {
    let plant = Plant::empty().await;
    let owner = format!("owner_{}", plant.url.rsplit('/').next().unwrap());
    plant
        .run(&format!(
            "create table jobs (id int primary key, status text); create role {owner} login; alter table jobs owner to {owner};
             grant usage, create on schema andon to {owner}; grant all on all tables in schema andon to {owner};
             grant execute on all functions in schema andon to {owner}"
        ))
        .await;
    let url = plant.url.replace("//postgres@", &format!("//{owner}@"));
    let mut client = connect(&url).await;
    let path = file("watched.toml", WATCHED);

    let dry = run_andon(&url, &["attach", "--source", &path, "--dry-run"]);
    let attached = run_andon(&url, &["attach", "--source", &path]);
    let check = run_andon(&plant.url, &["check"]);
    assert!(dry.status == 0 && dry.out.contains("A superuser may run this"), "{dry:?}");
    let (_, by_superuser) = dry.out.split_once("-- A superuser may run this, without the dashes:\n").unwrap();
    let lines: Vec<&str> = by_superuser.lines().map(|line| line.strip_prefix("-- ").unwrap_or_default()).collect();
    plant.run(&lines.join("\n")).await;
    let afterwards = run_andon(&plant.url, &["check"]);

    let said = "watch_ddl has no effect, because only a superuser may create its event triggers";
    assert!(attached.status == 0 && attached.out.contains(said), "{attached:?}");
    assert!(check.status == 0 && check.out.contains(said), "{check:?}");
    assert!(!afterwards.out.contains(said), "{afterwards:?}");
    let detached = andon::capture::detach(&mut client, "mes").await.unwrap();
    assert!(detached.warnings.iter().any(|it| it.contains("let a superuser drop them")), "{detached:?}");
}

#[tokio::test]
async fn the_last_source_that_wants_event_triggers_takes_them_with_it() {
    let mut plant = Plant::with("create table jobs (id int primary key, status text)", WATCHED).await;
    let triggers = "select count(*) from pg_event_trigger where evtname like 'andon%'";
    plant.attach(&WATCHED.replace("'mes'", "'erp'")).await;
    assert_eq!(plant.count(triggers).await, 2);

    plant.attach(&WATCHED.replace("watch_ddl = true", "")).await;
    let one_is_left = plant.count(triggers).await;
    andon::capture::detach(&mut plant.client, "erp").await.unwrap();

    assert_eq!((one_is_left, plant.count(triggers).await), (2, 0));
}

#[tokio::test]
async fn a_daemon_says_once_as_an_error_what_is_not_attached_any_more() {
    let schema = "create table jobs (id int primary key); create table parts (id int primary key)";
    let two_tables = "[source]
name = 'mes'
[[capture]]
table = 'jobs'
on = 'insert'
type = 'job.created'
[[capture]]
table = 'parts'
on = 'insert'
type = 'part.created'";
    let plant = Plant::with(schema, two_tables).await;
    plant.run("alter table jobs disable trigger all; alter table parts disable trigger all").await;
    let daemon = daemon::start(&plant.url).await;
    let lines = || {
        let is_about_it = |line: &&str| line.contains("what is attached is not what it should be");
        daemon.log().lines().filter(is_about_it).map(str::to_owned).collect::<Vec<_>>()
    };

    // It looks at its start, and again when it is told that the schema has changed.
    let line = Line::of(plant);
    line.until("select state = 'differs' from andon.sources").await;
    for _ in 0..2 {
        line.run("update andon.sources set checked_at = null; select pg_notify('andon', 'schema')").await;
        line.until("select checked_at is not null from andon.sources").await;
    }
    line.run("alter table parts enable trigger all; update andon.sources set checked_at = null; select pg_notify('andon', 'schema')").await;
    let mut clock = tokio::time::interval(Duration::from_millis(50));
    let end = tokio::time::Instant::now() + PATIENCE;
    while lines().len() < 2 {
        assert!(tokio::time::Instant::now() < end, "{}", daemon.log());
        clock.tick().await;
    }
    daemon.stop().await.unwrap();

    let lines = lines();
    assert_eq!(lines.len(), 2, "once for each reason: {lines:#?}");
    assert!(
        lines.iter().all(|line| line.contains("ERROR") && line.contains("andon_mes_insert on public.jobs is disabled")),
        "{lines:#?}"
    );
    assert!(lines[0].contains("public.parts") && !lines[1].contains("public.parts"), "{lines:#?}");
}

#[tokio::test]
async fn a_role_that_may_not_look_says_which_right_it_lacks_and_blames_nothing_else() {
    let mapping = WATCHED.replace("'jobs'", "'mes.jobs'").replace("watch_ddl = true", "");
    let plant =
        Plant::with("create schema mes; create table mes.jobs (id int primary key, status text)", &mapping).await;
    let role = format!("run_{}", plant.url.rsplit('/').next().unwrap());
    plant.run(&printed(&["--role", &role])).await;
    plant.run(&format!("revoke usage on schema mes from {role}")).await;
    let url = plant.url.replace("//postgres@", &format!("//{role}@"));
    let mut client = connect(&url).await;

    let looks = look(&mut client, Duration::ZERO).await.unwrap();
    let check = run_andon(&url, &["check"]);
    plant.run(&format!("grant usage on schema mes to {role}")).await;
    let with_usage = look(&mut client, Duration::ZERO).await.unwrap();
    let check_with_usage = run_andon(&url, &["check"]);

    let said = format!("grant usage on schema mes to {role}");
    assert!(matches!(&looks[0].1, Look::Unknown(reason) if reason.contains(&said)), "{looks:?}");
    assert!(check.status == 0 && check.out.contains(&said), "{check:?}");
    assert_eq!(with_usage[0].1, Look::Attached);
    assert!(
        check_with_usage.status == 0 && check_with_usage.out.contains("mes fits the database"),
        "{check_with_usage:?}"
    );
}
