//! Attaching and detaching. In: mappings and a real PostgreSQL. Out: whether the catalogue of the database contains exactly what the
//! mapping asks for, nothing new after a fault, and no trace of Andon's triggers after detaching.

mod capture_role;
mod drift;
mod locked;
mod owners;
mod rights;
mod shared;
mod trials;
mod watch;

use andon::capture::Change;
use andon::capture::Mapping;
use andon::capture::SourceError;
use tokio_postgres::Client;

use crate::support::plant::Plant;
use crate::support::plant::connect;
use crate::support::plant::eryxon;

/// Lists everything that attaching may leave in the database: triggers, functions, rights, comments and sources.
pub(crate) async fn catalogue(client: &Client) -> Vec<String> {
    let rows = client
        .query(
            "select pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
             union all
             select pg_get_functiondef(p.oid) from pg_proc p where pronamespace = 'andon'::regnamespace
             union all
             select p.proname || ' ' || coalesce(p.proacl::text, 'all') from pg_proc p where pronamespace = 'andon'::regnamespace
             union all
             select description from pg_description where classoid = 'pg_proc'::regclass and description like 'andon%'
             union all
             select name || profile || mapping || coalesce(mqtt_publishers, '-') || coalesce(webhooks, '-') from andon.sources
             order by 1",
            &[],
        )
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn attaching_again_changes_nothing_and_says_so() {
    let mut plant = Plant::built().await;
    let mapping = eryxon();

    let first = andon::capture::attach(&mut plant.client, &mapping).await.unwrap();
    let after_first = catalogue(&plant.client).await;
    let second = andon::capture::attach(&mut plant.client, &mapping).await.unwrap();

    assert_eq!(first.tables.len(), 10);
    assert!(first.tables.iter().all(|(_, change)| *change == Change::Created), "{first:?}");
    assert!(second.tables.iter().all(|(_, change)| *change == Change::Unchanged), "{second:?}");
    assert_eq!(catalogue(&plant.client).await, after_first);
}

#[tokio::test]
async fn attach_edit_attach_and_detach_leave_the_catalogue_as_it_was() {
    let mut plant = Plant::built().await;
    let before = catalogue(&plant.client).await;
    let mapping = eryxon();
    let edited =
        mapping.text.replace("type = \"job.updated\"", "type = \"job.edited\"").replace("webhooks = \"webhooks\"", "");
    let without_shipments = edited.find("# --- Shipments").unwrap()..edited.find("# --- Imports").unwrap();
    let edited = edited.replace(&edited[without_shipments], "");

    andon::capture::attach(&mut plant.client, &mapping).await.unwrap();
    let report = plant.attach(&edited).await;
    let types = plant.types_after("update jobs set customer = 'x'; update resources set status = 'in_use'").await;
    let detached = andon::capture::detach(&mut plant.client, "eryxon").await.unwrap();

    let change = |table: &str| report.tables.iter().find(|(known, _)| known == table).map(|(_, change)| *change);
    assert_eq!(change("public.jobs"), Some(Change::Replaced));
    assert_eq!(change("public.parts"), Some(Change::Unchanged));
    assert_eq!(change("public.shipments"), Some(Change::Dropped));
    assert_eq!(types, ["job.edited"]);
    assert_eq!(detached.tables.len(), 8);
    assert_eq!(catalogue(&plant.client).await, before);
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_its_sql_run_by_hand_attaches_the_same() {
    let mut by_andon = Plant::built().await;
    let mut by_hand = Plant::built().await;
    let before = catalogue(&by_hand.client).await;
    let mapping = eryxon();

    let sql = andon::capture::plan_sql(&mut by_hand.client, &mapping).await.unwrap();
    let after_dry_run = catalogue(&by_hand.client).await;
    by_hand.run(sql.strip_prefix("\\set ON_ERROR_STOP on\n").unwrap()).await;
    andon::capture::attach(&mut by_andon.client, &mapping).await.unwrap();

    assert_eq!(after_dry_run, before);
    assert_eq!(catalogue(&by_hand.client).await, catalogue(&by_andon.client).await);
    let second = andon::capture::attach(&mut by_hand.client, &mapping).await.unwrap();
    assert!(second.tables.iter().all(|(_, change)| *change == Change::Unchanged), "{second:?}");
}

#[tokio::test]
async fn a_mapping_that_does_not_fit_gives_all_findings_at_once_and_installs_nothing() {
    let mut plant = Plant::empty().await;
    plant
        .run(
            "create table orders (id int primary key, order_no text, state text, due timestamp, tenant int);
             create table cells (id int primary key, title text);
             create table bare (x int);
             create view overview as select 1 as id",
        )
        .await;
    let before = catalogue(&plant.client).await;
    let mapping = Mapping::parse(
        "plant.toml",
        "[source]
name = 'plant'
webhooks = 'hooks'
[[capture]]
table = 'order'
on = 'insert'
type = 'order.created'
[[capture]]
table = 'orders'
on = 'update'
of = ['status', 'stat']
when = 'old.state'
type = 'order.updated'
lookup = [
    { alias = 'cell', table = 'cell', on = 'cell.id = new.cell_id' },
    { alias = 'place', table = 'cells', on = 'place.id = new.cell_id' },
]
context = { cell = 'cell.name', order = 'new.order_number', place = 'place.title' }
columns = ['id', 'ordr_no', 'due']
data = { half = 'new.state / 2', before = 'this.tenat', f = 'nothing(new.id)' }
[[capture]]
table = 'orders'
on = 'insert'
when = \"old.state = 'x'\"
type = 'order.created'
occurred_at = 'new.state'
[[capture]]
table = 'bare'
on = 'insert'
type = 'bare.created'
[[capture]]
table = 'overview'
on = 'insert'
type = 'view.created'
",
    )
    .unwrap();

    let findings = andon::capture::check(&mut plant.client, &mapping).await.unwrap().findings;
    let refused = andon::capture::attach(&mut plant.client, &mapping).await.unwrap_err();

    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"));
    assert!(matches!(refused, SourceError::Findings(problems) if problems.0 == findings));
    assert_eq!(catalogue(&plant.client).await, before);
}

#[tokio::test]
async fn a_trigger_that_somebody_disabled_or_dropped_is_put_back() {
    let mut plant = Plant::attached().await;
    plant.run("alter table jobs disable trigger andon_eryxon_update; drop trigger andon_eryxon_insert on parts").await;

    let report = andon::capture::attach(&mut plant.client, &eryxon()).await.unwrap();

    let replaced: Vec<&str> = report
        .tables
        .iter()
        .filter(|(_, change)| *change == Change::Replaced)
        .map(|(table, _)| table.as_str())
        .collect();
    assert_eq!(replaced, ["public.jobs", "public.parts"]);
    assert_eq!(plant.types_after("update jobs set status = 'completed'").await, ["job.completed"]);
}

#[tokio::test]
async fn a_busy_table_is_named_and_nothing_is_installed_until_it_is_free() {
    let mut plant = Plant::built().await;
    let before = catalogue(&plant.client).await;
    let other = connect(&plant.url).await;
    other.batch_execute("begin; update issues set description = 'x'").await.unwrap();

    let refused = andon::capture::attach(&mut plant.client, &eryxon()).await.unwrap_err();
    let after_refusal = catalogue(&plant.client).await;
    other.batch_execute("rollback; begin; update issues set description = 'x'").await.unwrap();
    let release = async {
        let waits = "select exists (select from pg_locks where database = (select oid from pg_database where datname = current_database())
            and relation = 'issues'::regclass and not granted)";
        while !other.query_one(waits, &[]).await.unwrap().get::<_, bool>(0) {}
        other.batch_execute("commit").await.unwrap();
    };
    let mapping = eryxon();
    let (attached, ()) = tokio::join!(andon::capture::attach(&mut plant.client, &mapping), release);

    assert!(matches!(&refused, SourceError::Busy { table, .. } if table == "public.issues"), "{refused:?}");
    assert_eq!(after_refusal, before);
    assert_eq!(attached.unwrap().tables.len(), 10);
}

#[tokio::test]
async fn of_two_sources_that_share_tables_one_can_be_detached_without_harm_to_the_other() {
    let mut plant = Plant::attached().await;
    let second = "[source]\nname = 'second'\nwebhooks = 'webhooks'\n[[capture]]\ntable = 'jobs'\non = 'update'\ntype = 'order.touched'";

    plant.attach(second).await;
    let both = plant.types_after("update jobs set status = 'completed'").await;
    andon::capture::detach(&mut plant.client, "eryxon").await.unwrap();
    let one = plant.types_after("update jobs set status = 'on_hold'").await;
    let watched =
        "select count(*) from pg_trigger where tgname = 'andon_destinations' and tgrelid = 'webhooks'::regclass";
    let is_watched = plant.count(watched).await;
    let unknown = andon::capture::detach(&mut plant.client, "eryxon").await.unwrap_err();

    assert_eq!(both, ["job.completed", "order.touched"]);
    assert_eq!(one, ["order.touched"]);
    assert_eq!(is_watched, 1);
    assert!(matches!(unknown, SourceError::Unknown(_)));
}

#[tokio::test]
async fn times_without_a_zone_get_the_zone_of_the_source() {
    let plant = Plant::with(
        "create table logs (id int primary key, at timestamp, day date)",
        "[source]
         name = 'line'
         time_zone = 'Europe/Berlin'
         [[capture]]
         table = 'logs'
         on = 'insert'
         type = 'log.written'
         occurred_at = 'new.at'
         columns = ['at', 'day']",
    )
    .await;

    let events = plant.events_after("insert into logs values (1, '2026-07-01 12:00', '2026-07-01')").await;

    assert_eq!(events[0]["data"]["at"], "2026-07-01T10:00:00+00:00");
    assert_eq!(events[0]["data"]["day"], "2026-07-01");
    assert_eq!(plant.count("select count(*) from andon.events where occurred_at = '2026-07-01 10:00+00'").await, 1);
}

#[tokio::test]
async fn the_example_of_the_readme_can_be_attached() {
    let readme = include_str!("../../config/sources/README.md");
    let example = readme.split("```toml").nth(1).unwrap().split("```").next().unwrap();
    let plant = Plant::with(
        "create table machines (id int primary key, name text);
         create table orders (id int primary key, company_id int, machine_id int, order_no text, state text, quantity int)",
        example,
    )
    .await;

    let events = plant
        .events_after(
            "insert into machines values (7, 'Press 7'); insert into orders values (1, 3, 7, 'O-1', 'new', 5);
             update orders set state = 'finished'",
        )
        .await;

    assert_eq!(events.len(), 1);
    assert_eq!((&events[0]["type"], &events[0]["tenant"]), (&"order.finished".into(), &"3".into()));
    assert_eq!(events[0]["context"], serde_json::json!({"site": "main", "cell": "Press 7"}));
}
