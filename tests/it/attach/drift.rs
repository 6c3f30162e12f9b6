//! What a plant's migrations, its DBA and accidents do to what was attached. In: a captured database, and one such change. Out: whether `andon
//! check` names the cause and the cure and fails, whether attaching again leads back from there, and whether all changes are captured then.

use andon::capture::Mapping;

use crate::command::run_andon;
use crate::support::plant::Plant;

/// Returns a mapping that captures all changes of these tables.
fn mapping(tables: &[&str]) -> String {
    let entries = tables.iter().map(|table| {
        let name = table.rsplit('.').next().unwrap();
        let entry = |on: &str| format!("[[capture]]\ntable = '{table}'\non = '{on}'\ntype = '{name}.{on}'\n");
        entry("insert") + &entry("update") + &entry("delete")
    });
    format!("[source]\nname = 'mes'\n{}", entries.collect::<String>())
}

/// What a change is done to, and what it is.
struct Case {
    schema: &'static str,
    tables: &'static [&'static str],
    change: &'static str,
    /// What `andon check` says of it.
    cause: &'static str,
    /// The tables of the mapping that is attached afterwards, if the tables have other names then.
    then: &'static [&'static str],
    /// Changes of rows, and the events that they have to make then.
    work: &'static str,
    events: &'static [&'static str],
}

const JOBS: &str = "create table jobs (id int primary key, status text)";
const JOBS_AND_PARTS: &str =
    "create table jobs (id int primary key, status text); create table parts (id int primary key, status text)";
const PARTITIONED: &str = "create table jobs (id int primary key, status text) partition by range (id);
    create table jobs_1 partition of jobs for values from (0) to (100)";
const WORK: &str = "insert into jobs values (1, 'a'); update jobs set status = 'b'; delete from jobs";
const EVENTS: &[&str] = &["jobs.insert", "jobs.update", "jobs.delete"];

/// A change after which the same mapping is attached again.
const fn same(change: &'static str, cause: &'static str) -> Case {
    Case { schema: JOBS, tables: &["jobs"], change, cause, then: &["jobs"], work: WORK, events: EVENTS }
}

async fn is_said_and_mended(case: Case) {
    let Case { schema, tables, change, cause, then, work, events } = case;
    let mut plant = Plant::with(schema, &mapping(tables)).await;
    let before = run_andon(&plant.url, &["check"]);
    assert!(before.status == 0 && before.out.contains("mes fits the database"), "{change}: {before:?}");

    plant.run(change).await;

    let found = run_andon(&plant.url, &["check"]);
    assert!(found.status == 1 && found.out.contains(cause), "{change}: {found:?}");
    assert!(found.out.contains("run `andon attach --source"), "{change}: {found:?}");
    plant.attach(&mapping(then)).await;
    let mended = run_andon(&plant.url, &["check"]);
    assert!(mended.status == 0 && mended.out.contains("mes fits the database"), "{change}: {mended:?}");
    assert_eq!(plant.clean_types_after(work).await, events, "{change}");
    let again = plant.attach(&mapping(then)).await;
    assert!(again.tables.iter().all(|(_, change)| *change == andon::capture::Change::Unchanged), "{change}: {again:?}");
    andon::capture::detach(&mut plant.client, "mes").await.unwrap();
    let left = "select count(*) from pg_proc where proname like 'capture\\_mes%'";
    assert_eq!(plant.count(left).await, 0, "{change}");
}

#[tokio::test]
async fn a_table_that_was_renamed_is_captured_after_the_next_attach() {
    is_said_and_mended(Case {
        then: &["orders"],
        work: "insert into orders values (1, 'a'); update orders set status = 'b'; delete from orders",
        events: &["orders.insert", "orders.update", "orders.delete"],
        ..same("alter table jobs rename to orders", "table public.jobs does not exist")
    })
    .await;
}

#[tokio::test]
async fn a_table_that_moved_to_another_schema_is_captured_after_the_next_attach() {
    is_said_and_mended(Case {
        then: &["mes.jobs"],
        work: "insert into mes.jobs values (1, 'a'); update mes.jobs set status = 'b'; delete from mes.jobs",
        ..same("create schema mes; alter table jobs set schema mes", "there is mes.jobs")
    })
    .await;
}

#[tokio::test]
async fn two_tables_that_swapped_their_names_are_both_captured_after_the_next_attach() {
    is_said_and_mended(Case {
        schema: JOBS_AND_PARTS,
        tables: &["jobs", "parts"],
        change: "alter table jobs rename to x; alter table parts rename to jobs; alter table x rename to parts",
        cause: "trigger andon_mes_insert on public.jobs runs andon.capture_mes_parts",
        then: &["jobs", "parts"],
        work: "insert into jobs values (1, 'a'); insert into parts values (1, 'a'); delete from parts",
        events: &["jobs.insert", "parts.insert", "parts.delete"],
    })
    .await;
}

#[tokio::test]
async fn a_table_that_was_made_anew_under_its_name_is_captured_after_the_next_attach() {
    let change = "create table jobs_new (like jobs including all); insert into jobs_new select * from jobs;
        alter table jobs rename to jobs_old; alter table jobs_new rename to jobs";
    is_said_and_mended(same(change, "trigger andon_mes_insert on public.jobs is missing")).await;
    is_said_and_mended(same(
        "drop table jobs; create table jobs (id int primary key, status text)",
        "trigger andon_mes_update on public.jobs is missing",
    ))
    .await;
}

#[tokio::test]
async fn a_table_that_became_a_partition_is_captured_after_the_next_attach() {
    let change = "alter table jobs rename to jobs_1; create table jobs (id int primary key, status text) partition by range (id);
        alter table jobs attach partition jobs_1 for values from (0) to (100)";
    is_said_and_mended(same(change, "trigger andon_mes_insert on public.jobs_1 is not wanted there")).await;
    let change = "create table all_jobs (id int primary key, status text) partition by range (id);
        alter table all_jobs attach partition jobs for values from (0) to (100)";
    is_said_and_mended(Case {
        work: "insert into all_jobs values (1, 'a'); update all_jobs set status = 'b'; delete from all_jobs",
        ..same(change, "public.jobs has to be captured row by row, and is captured statement by statement")
    })
    .await;
}

#[tokio::test]
async fn a_partition_that_was_captured_and_detached_is_captured_after_the_next_attach() {
    is_said_and_mended(Case {
        schema: PARTITIONED,
        tables: &["jobs_1"],
        change: "alter table jobs detach partition jobs_1",
        cause: "public.jobs_1 can be captured statement by statement again, and is captured row by row",
        then: &["jobs_1"],
        work: "insert into jobs_1 values (1, 'a')",
        events: &["jobs_1.insert"],
    })
    .await;
}

#[tokio::test]
async fn a_mapping_may_turn_from_a_partition_to_the_whole_and_back() {
    for (before, then, events) in [(&["jobs_1"], &["jobs"], "jobs.insert"), (&["jobs"], &["jobs_1"], "jobs_1.insert")] {
        let mut plant = Plant::with(PARTITIONED, &mapping(before)).await;

        plant.attach(&mapping(then)).await;

        assert_eq!(plant.clean_types_after("insert into jobs values (1, 'a')").await, [events]);
    }
}

#[tokio::test]
async fn a_table_that_came_to_inherit_from_a_captured_one_is_said_and_captured() {
    is_said_and_mended(Case {
        schema: "create table jobs (id int primary key, status text); create table jobs_a () inherits (jobs)",
        change: "create table jobs_b () inherits (jobs)",
        cause: "trigger \"!andon_mes_insert\" on public.jobs_b is missing",
        work: "insert into jobs_b values (1, 'a')",
        events: &["jobs.insert"],
        ..same("", "")
    })
    .await;
}

#[tokio::test]
async fn a_trigger_that_somebody_meddled_with_is_said_and_put_back() {
    let own = "create function own() returns trigger language plpgsql as 'begin return null; end'";
    for (change, cause) in [
        ("drop trigger andon_mes_update on jobs", "trigger andon_mes_update on public.jobs is missing"),
        ("alter table jobs disable trigger andon_mes_update", "andon_mes_update on public.jobs is disabled"),
        ("alter table jobs disable trigger all", "andon_mes_insert on public.jobs is disabled"),
        ("alter table jobs enable replica trigger andon_mes_delete", "fires only in replica sessions"),
        ("alter trigger andon_mes_insert on jobs rename to audit", "trigger audit on public.jobs is not wanted there"),
        (
            &format!(
                "{own}; create or replace trigger andon_mes_insert after insert on jobs for each row execute function own()"
            ),
            "trigger andon_mes_insert on public.jobs runs public.own",
        ),
        (
            &format!(
                "{own}; drop trigger andon_mes_insert on jobs; create constraint trigger andon_mes_insert after insert on jobs for each row execute function own()"
            ),
            "trigger andon_mes_insert on public.jobs runs public.own",
        ),
        (
            "create or replace trigger andon_mes_update after update of status on jobs for each statement execute function andon.capture_mes_jobs()",
            "does not fire when or how it should",
        ),
        (
            "create or replace trigger andon_mes_delete before delete on jobs for each row execute function andon.capture_mes_jobs()",
            "does not fire when or how it should",
        ),
    ] {
        is_said_and_mended(same(String::leak(change.to_owned()), cause)).await;
    }
}

#[tokio::test]
async fn a_trigger_that_is_disabled_on_one_partition_is_said_and_put_back() {
    is_said_and_mended(Case {
        schema: PARTITIONED,
        ..same(
            "alter table jobs_1 disable trigger \"!andon_mes_insert\"; alter table jobs_1 enable replica trigger \"!andon_mes_update\"",
            "trigger \"!andon_mes_insert\" on public.jobs_1, a part of public.jobs, is disabled",
        )
    })
    .await;
}

#[tokio::test]
async fn a_function_that_somebody_meddled_with_is_said_and_put_back() {
    let function = "andon.capture_mes_jobs()";
    for (change, cause) in [
        ("drop function {} cascade", "function andon.capture_mes_jobs is missing"),
        (
            "create or replace function {} returns trigger language plpgsql security definer as 'begin return null; end'",
            "has another body",
        ),
        ("alter function {} reset jit", "has other `set` clauses"),
        ("alter function {} set datestyle = 'german'", "has other `set` clauses"),
        ("alter function {} security invoker", "runs with other rights"),
        ("grant execute on function {} to public", "may be called by everybody"),
        ("comment on function {} is null", "has another comment"),
        ("alter function {} rename to was_capture", "function andon.capture_mes_jobs is missing"),
        ("alter function {} set schema public", "function andon.capture_mes_jobs is missing"),
        (
            "drop role if exists meddler; create role meddler; grant create on schema andon to meddler; alter function {} owner to meddler",
            "belongs to meddler, and not to postgres",
        ),
    ] {
        is_said_and_mended(same(String::leak(change.replace("{}", function)), cause)).await;
    }
}

#[tokio::test]
async fn a_trigger_on_a_table_of_destinations_that_somebody_meddled_with_is_said_and_put_back() {
    let mapping = &mapping(&["jobs"]).replace("name = 'mes'", "name = 'mes'\nwebhooks = 'hooks'");
    let hooks = "create table jobs (id int primary key, status text);
        create table hooks (id int primary key, url text, events text[], active boolean)";
    for change in [
        "alter table hooks disable trigger andon_destinations",
        "drop trigger andon_destinations on hooks",
        "create table next (like hooks including all); drop table hooks; alter table next rename to hooks",
        "create or replace trigger andon_destinations after delete on hooks for each statement execute function andon.destinations_changed()",
    ] {
        let mut plant = Plant::with(hooks, mapping).await;

        plant.run(change).await;

        let found = run_andon(&plant.url, &["check"]);
        assert!(
            found.status == 1 && found.out.contains("trigger andon_destinations on public.hooks"),
            "{change}: {found:?}"
        );
        plant.attach(mapping).await;
        let mended = run_andon(&plant.url, &["check"]);
        assert!(mended.status == 0, "{change}: {mended:?}");
    }
}

#[tokio::test]
async fn a_source_is_not_attached_by_a_transaction_that_does_not_end_as_planned() {
    let mut plant = Plant::empty().await;
    // An event trigger of a DBA who wants no triggers from others.
    plant
        .run(
            "create table jobs (id int primary key, status text);
             create function no_triggers() returns event_trigger language plpgsql as $$ begin
                 alter table public.jobs disable trigger all;
             end $$;
             create event trigger no_triggers on ddl_command_end when tag in ('CREATE TRIGGER') execute function no_triggers()",
        )
        .await;
    let mapping = Mapping::parse("test.toml", &mapping(&["jobs"])).unwrap();

    let refused = andon::capture::attach(&mut plant.client, &mapping).await.unwrap_err().to_string();

    assert!(
        refused.contains("not as planned") && refused.contains("andon_mes_insert on public.jobs is disabled"),
        "{refused}"
    );
    assert_eq!(plant.count("select count(*) from andon.sources").await, 0);
    assert_eq!(plant.count("select count(*) from pg_trigger where tgname like 'andon_mes%'").await, 0);
}
