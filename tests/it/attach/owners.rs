//! Who could act as the role that attaches. In: tables, types and functions of several owners. Out: whether attaching is refused where one of
//! them could become that role, and only there.

use andon::capture::Mapping;
use andon::capture::SourceError;
use andon::capture::Trust;

use crate::command::file;
use crate::command::run_andon;
use crate::support::plant::Plant;
use crate::support::plant::connect;

const JOBS: &str = "create table jobs (id int primary key, status text, cell_id int);
    create table cells (id int primary key, name text);";

const MAPPING: &str = "[source]
name = 'mes'
[[capture]]
table = 'jobs'
on = ['insert', 'update']
type = 'job.changed'
lookup = [{ alias = 'cell', table = 'cells', on = 'cell.id = new.cell_id' }]
data = { cell = 'cell.name', status = 'new.status' }";

/// Makes a role that the tests of this process do not share, and returns its name.
async fn role(plant: &Plant, name: &str) -> String {
    let name = format!("{name}_{}", plant.url.rsplit('/').next().unwrap());
    plant.run(&format!("create role {name} login")).await;
    name
}

fn parsed(text: &str) -> Mapping {
    Mapping::parse("test.toml", text).unwrap()
}

#[tokio::test]
async fn whoever_owns_what_a_capture_reads_cannot_become_the_role_that_attaches() {
    let with_function = MAPPING.replace("'new.status'", "'public.shown(new.status)'");
    let with_operator = MAPPING.replace("'new.status'", "'new.status operator(public.||||) new.status'");
    let with_function_in_when = MAPPING.replace("type =", "when = 'public.shown(new.status) is not null'\ntype =");
    let shown = "create function public.shown(text) returns text language sql return $1; alter function public.shown owner to eve";
    let in_a_schema = MAPPING.replace("table = 'cells'", "table = 'plant.cells'");
    let function_in_a_schema = MAPPING.replace("'new.status'", "'plant.shown(new.status)'");
    for (change, mapping, named) in [
        ("create schema plant; create table plant.cells (id int primary key, name text); alter schema plant owner to eve", in_a_schema.as_str(), "eve owns schema plant"),
        ("create schema plant; create function plant.shown(text) returns text language sql return $1; alter schema plant owner to eve", function_in_a_schema.as_str(), "eve owns schema plant"),
        ("create schema plant; create type plant.state as enum ('a'); alter table jobs add kind plant.state; alter schema plant owner to eve", MAPPING, "eve owns schema plant"),
        ("alter table cells owner to eve", MAPPING, "eve owns table public.cells"),
        ("alter table jobs owner to eve", MAPPING, "eve owns table public.jobs"),
        ("create type state as enum ('a'); alter type state owner to eve; alter table jobs add kind state", MAPPING, "eve owns type public.state"),
        ("create type state as enum ('a'); alter type state owner to eve; alter table cells add kinds state[]", MAPPING, "eve owns type public.state"),
        ("create domain state as text; alter domain state owner to eve; alter table jobs add kind state", MAPPING, "eve owns type public.state"),
        ("create type part as (id int); alter type part owner to eve; create type parts as (p part); alter table jobs add p parts", MAPPING, "eve owns type public.part"),
        (shown, &with_function, "eve owns function public.shown(text)"),
        (shown, &with_function_in_when, "eve owns function public.shown(text)"),
        ("create function public.joined(text, text) returns text language sql return $1 || $2; alter function public.joined owner to eve;
          create operator public.|||| (leftarg = text, rightarg = text, function = public.joined)", &with_operator, "eve owns function public.joined(text,text)"),
    ] {
        let mut plant = Plant::empty().await;
        let eve = role(&plant, "eve").await;
        plant.run(JOBS).await;
        plant.run(&change.replace("to eve", &format!("to {eve}"))).await;

        let refused = andon::capture::attach(&mut plant.client, &parsed(mapping)).await.unwrap_err();

        let named = named.replace("eve", &eve);
        let SourceError::UntrustedOwners(owners) = &refused else { panic!("{change}: {refused:?}") };
        assert_eq!(owners, &[named], "{change}");
        assert!(refused.to_string().contains("--trust-owners"), "{refused}");
        assert_eq!(plant.count("select count(*) from andon.sources").await, 0);
    }
}

#[tokio::test]
async fn the_owner_of_the_tables_attaches_and_a_superuser_may_own_what_he_reads() {
    let plant = Plant::empty().await;
    let owner = role(&plant, "owner").await;
    plant
        .run(&format!(
            "{JOBS} alter table jobs owner to {owner};
        create type state as enum ('a'); alter table cells add kind state; grant select on cells to {owner};
        grant usage, create on schema andon to {owner}; grant all on all tables in schema andon to {owner};
        grant execute on all functions in schema andon to {owner}"
        ))
        .await;
    let mut client = connect(&plant.url.replace("//postgres@", &format!("//{owner}@"))).await;

    let report = andon::capture::attach(&mut client, &parsed(MAPPING)).await.unwrap();

    assert_eq!(report.warnings, [] as [&str; 0]);
    assert_eq!(plant.clean_types_after("insert into jobs values (1, 'a', 1)").await, ["job.changed"]);
    let check = run_andon(&plant.url, &["check"]);
    assert!(check.status == 0 && check.out.contains("mes fits the database"), "{check:?}");
}

#[tokio::test]
async fn a_function_that_is_given_to_somebody_later_is_named_by_the_check() {
    let mut plant = Plant::empty().await;
    let eve = role(&plant, "eve").await;
    plant.run(JOBS).await;
    plant.run("create function public.shown(text) returns text language sql return $1").await;
    let mapping = MAPPING.replace("'new.status'", "'public.shown(new.status)'");
    andon::capture::attach(&mut plant.client, &parsed(&mapping)).await.unwrap();

    let before = run_andon(&plant.url, &["check"]);
    plant.run(&format!("alter function public.shown owner to {eve}")).await;
    let after = run_andon(&plant.url, &["check"]);

    assert!(!before.out.contains("and could act as"), "{before:?}");
    assert!(
        after.out.contains(&format!("{eve} owns function public.shown(text), and could act as postgres")),
        "{after:?}"
    );
}

#[tokio::test]
async fn an_owner_that_is_trusted_on_purpose_is_told_no_more_and_one_that_comes_later_is_a_warning() {
    let mut plant = Plant::empty().await;
    let eve = role(&plant, "eve").await;
    plant.run(JOBS).await;
    andon::capture::attach(&mut plant.client, &parsed(MAPPING)).await.unwrap();
    plant.run(&format!("alter table cells owner to {eve}")).await;

    let later = run_andon(&plant.url, &["check"]);
    let path = file("owners.toml", MAPPING);
    let refused = run_andon(&plant.url, &["attach", "--source", &path]);
    let dry = run_andon(&plant.url, &["attach", "--source", &path, "--dry-run"]);
    let trusted = run_andon(&plant.url, &["attach", "--source", &path, "--trust-owners"]);
    let afterwards = run_andon(&plant.url, &["check"]);

    let said = format!("{eve} owns table public.cells, and could act as postgres");
    assert!(later.status == 0 && later.out.contains(&said), "{later:?}");
    assert!(refused.status == 1 && refused.err.contains("--trust-owners"), "{refused:?}");
    assert!(
        dry.status == 0 && dry.out.starts_with("\\set ON_ERROR_STOP on\n-- WARNING: ") && dry.out.contains(&eve),
        "{dry:?}"
    );
    assert!(trusted.status == 0, "{trusted:?}");
    assert!(!afterwards.out.contains(&eve), "{afterwards:?}");
    andon::capture::attach_with(&mut plant.client, &parsed(MAPPING), Trust::Everybody).await.unwrap();
}

#[tokio::test]
async fn the_owner_of_a_type_runs_nothing_by_a_column_that_no_mapping_names() {
    let mut plant = Plant::empty().await;
    let eve = role(&plant, "eve").await;
    plant.run(JOBS).await;
    andon::capture::attach(&mut plant.client, &parsed(MAPPING)).await.unwrap();
    for (column, value) in
        [("mood eves.mood", "'glad'"), ("moods eves.mood[]", "'{glad}'"), ("one eves.one", "row('glad')")]
    {
        plant
            .run(&format!(
                "create schema eves; create type eves.mood as enum ('glad'); create type eves.one as (mood eves.mood);
                create function eves.spy(eves.mood) returns json language plpgsql as
                    $$ begin create table public.spied (); return '1'; end $$;
                create cast (eves.mood as json) with function eves.spy(eves.mood);
                alter schema eves owner to {eve}; alter type eves.mood owner to {eve}; alter type eves.one owner to {eve};
                alter function eves.spy(eves.mood) owner to {eve}; alter table jobs add {column}"
            ))
            .await;

        let name = column.split_once(' ').unwrap().0;
        // It is too large for an event, so that what is kept of the row goes to the failures.
        plant.run(&format!("insert into jobs (id, status, {name}) values (1, repeat('x', 1200000), {value})")).await;

        assert_eq!(plant.count("select count(*) from andon.capture_errors").await, 1, "{column}");
        assert_eq!(plant.count("select count(*) from pg_class where relname = 'spied'").await, 0, "{column}");
        plant.run("drop schema eves cascade; truncate andon.capture_errors, jobs").await;
    }
}
