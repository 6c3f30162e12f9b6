//! As whom capture functions run. In: a superuser who attaches, and the owner of a looked-up table who puts a view with his own function in its
//! place. Out: whether the superuser is refused, and whether the function ever runs as anybody who can log in.

use rig::Postgres;

use crate::command::file;
use crate::command::run_andon;
use crate::command::run_andon_with;
use crate::support::line::Line;
use crate::support::plant::Plant;
use crate::support::plant::connect;
use crate::support::role::printed;

const SCHEMA: &str = "create schema mes; create type mes.mood as enum ('good');
    create table mes.jobs (id int primary key, cell int, mood mes.mood);
    create table mes.cells (id int primary key, name text); insert into mes.cells values (1, 'Laser')";
const MAPPING: &str = "[source]
name = 'mes'
[[capture]]
table = 'mes.jobs'
on = ['insert', 'update']
type = 'job.changed'
lookup = [{ alias = 'cell', table = 'mes.cells', on = 'cell.id = this.cell' }]
data = { mood = 'this.mood', moods = 'array[this.mood]' }
context = { cell = 'cell.name' }";
/// The attack: a function that notes as whom it runs, in a view in place of the table, and in a cast of the type to json.
const ATTACK: &str = "
    create table mes.seen (role text, session text, how text); grant insert on mes.seen to public;
    create function mes.spy(text) returns text language plpgsql as $$ begin insert into mes.seen values (current_user, session_user, 'view'); return $1; end $$;
    create function mes.spy(mes.mood) returns json language plpgsql as $$ begin insert into mes.seen values (current_user, session_user, 'cast'); return '1'; end $$;
    create cast (mes.mood as json) with function mes.spy(mes.mood);
    create function mes.spelled(mes.mood) returns text language plpgsql as $$ begin insert into mes.seen values (current_user, session_user, 'cast'); return 'x'; end $$;
    create cast (mes.mood as text) with function mes.spelled(mes.mood);
    alter table mes.cells rename to cells_before; alter table mes.cells_before owner to plant_owner;
    create view mes.cells as select id, mes.spy(name) as name from mes.cells_before; grant select on mes.cells to public;";

#[tokio::test]
async fn a_superuser_who_attaches_is_refused_before_anything_runs() {
    let plant = Plant::empty().await;
    plant.run(SCHEMA).await;
    plant.run("create function mes.trap(text) returns text language plpgsql as $$ begin create role sprung; return $1; end $$").await;
    plant.run("alter table mes.jobs rename to old_jobs; create view mes.jobs as select id, cell, mood, mes.trap('x') from mes.old_jobs").await;
    let path = file("superuser.toml", MAPPING);

    let refused = run_andon_with(&plant.url, &["attach", "--source", &path], &[]);

    assert_eq!(refused.status, 1, "{refused:?}");
    assert!(refused.err.contains("postgres is a superuser") && refused.err.contains("--as-superuser"), "{refused:?}");
    assert_eq!(plant.count("select count(*) from pg_roles where rolname = 'sprung'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_owner_slips_in_runs_as_nobody_who_can_log_in() {
    let server = Postgres::start().unwrap();
    let line = Line::on(&server).await;
    line.run(SCHEMA).await;
    line.run(
        "create role plant_owner login; alter schema mes owner to plant_owner; alter schema andon owner to plant_owner; alter table mes.jobs owner to plant_owner;
        alter type mes.mood owner to plant_owner; alter table mes.cells owner to plant_owner; create role app login;
        grant usage on schema mes to app; grant insert on mes.jobs to app;
        grant usage, create on schema andon to plant_owner; grant all on all tables in schema andon to plant_owner;
        grant execute on all functions in schema andon to plant_owner",
    )
    .await;
    let (path, url) = (file("capture_role.toml", MAPPING), line.url.replace("//postgres@", "//plant_owner@"));
    let attached = run_andon(&url, &["attach", "--source", &path]);
    let warned = run_andon(&line.url, &["check"]);
    line.run(&printed(&["--role", "plant_owner", "--for", "capture"])).await;
    let again = run_andon(&url, &["attach", "--source", &path]);
    let checked = run_andon(&line.url, &["check"]);

    line.run(ATTACK).await;
    let app = connect(&line.url.replace("//postgres@", "//app@")).await;
    app.batch_execute("insert into mes.jobs values (1, 1, 'good')").await.unwrap();

    assert_eq!((attached.status, again.status), (0, 0), "{attached:?} {again:?}");
    assert!(warned.status == 0 && warned.out.contains("belong to plant_owner, which can log in"), "{warned:?}");
    assert!(warned.out.contains("`andon grants --role plant_owner --for capture`"), "{warned:?}");
    assert!(checked.status == 0 && !checked.out.contains("which can log in"), "{checked:?}");
    let seen = "select string_agg(distinct role || ' by way of ' || how, ' ') from mes.seen";
    let seen: Option<String> = line.client.query_one(seen, &[]).await.unwrap().get(0);
    assert_eq!(seen.as_deref(), Some("andon_capture by way of view"), "the attack has run as nobody, and no cast did");
    let power = "select rolcanlogin or rolsuper or has_schema_privilege('andon_capture', 'andon', 'create')
        or has_table_privilege('andon_capture', 'andon.webhooks', 'select') from pg_roles where rolname = 'andon_capture'";
    assert!(!line.client.query_one(power, &[]).await.unwrap().get::<_, bool>(0));
    let captured: i64 = line.client.query_one("select count(*) from andon.events", &[]).await.unwrap().get(0);
    assert_eq!(captured, 1);

    line.run("drop view mes.cells; alter table mes.cells_before rename to cells; drop cast (mes.mood as json); drop cast (mes.mood as text)").await;
    let detached = run_andon(&url, &["detach", "--source", "mes"]);
    assert_eq!(detached.status, 0, "{detached:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_database_grants_is_not_taken_for_a_right_in_another() {
    let server = Postgres::start().unwrap();
    let (first, line) = (Line::on(&server).await, Line::on(&server).await);
    let own = "alter schema andon owner to plant_owner; grant all on all tables in schema andon to plant_owner;
        grant execute on all functions in schema andon to plant_owner";
    first.run(&format!("create role plant_owner login; {own}")).await;
    line.run(&format!(
        "{own}; create schema mes authorization plant_owner; create table mes.jobs (id int primary key, status text);
        alter table mes.jobs owner to plant_owner"
    ))
    .await;
    let grants = printed(&["--role", "plant_owner", "--for", "capture"]);
    first.run(&grants).await;
    let mapping = "[source]\nname = 'mes'\n[[capture]]\ntable = 'mes.jobs'\non = 'insert'\ntype = 'job.created'";
    let (path, url) = (file("second.toml", mapping), line.url.replace("//postgres@", "//plant_owner@"));

    let refused = run_andon(&url, &["attach", "--source", &path]);
    let sources: i64 = line.client.query_one("select count(*) from andon.sources", &[]).await.unwrap().get(0);
    line.run(&grants).await;
    let attached = run_andon(&url, &["attach", "--source", &path]);
    line.run("insert into mes.jobs values (1, 'good')").await;

    assert_eq!((refused.status, sources, attached.status), (1, 0, 0), "{refused:?} {attached:?}");
    for said in ["changes would be lost", "grant insert on table andon.events to andon_capture", "--for capture"] {
        assert!(refused.err.contains(said), "{said}: {refused:?}");
    }
    let captured: i64 = line.client.query_one("select count(*) from andon.events", &[]).await.unwrap().get(0);
    assert_eq!(captured, 1);
}

/// What the capture role may read of tables, and which schemas it may use.
const MAY: &str = "select concat_ws('; ',
    (select string_agg(format('%s.%s', a.attrelid::regclass, a.attname), ' ' order by a.attname) from pg_attribute a join pg_class c on c.oid = a.attrelid
     where c.relnamespace = 'mes'::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
       and has_column_privilege('andon_capture', c.oid, a.attnum, 'select')),
    case when has_schema_privilege('andon_capture', 'mes', 'usage') then 'mes' end)";

#[tokio::test(flavor = "multi_thread")]
async fn the_capture_role_reads_the_columns_that_mappings_name_and_nothing_once_they_are_gone() {
    let server = Postgres::start().unwrap();
    let line = Line::on(&server).await;
    line.run(
        "create schema mes; create table mes.jobs (id int primary key, cell int);
        create table mes.cells (id int, name text, salary int, doubled int generated always as (salary * 2) stored) partition by list (id);
        create table mes.cells_1 partition of mes.cells default; insert into mes.cells values (1, 'Laser', 7);
        create role plant_owner login; alter schema mes owner to plant_owner; alter schema andon owner to plant_owner;
        alter table mes.jobs owner to plant_owner; alter table mes.cells owner to plant_owner; alter table mes.cells_1 owner to plant_owner;
        grant all on all tables in schema andon to plant_owner; grant execute on all functions in schema andon to plant_owner",
    )
    .await;
    line.run(&printed(&["--role", "plant_owner", "--for", "capture"])).await;
    line.run("grant usage on schema mes to andon_capture; set role plant_owner; grant select on mes.cells to andon_capture; grant usage on schema mes to andon_capture; reset role").await;
    let url = line.url.replace("//postgres@", "//plant_owner@");
    let may = async || line.client.query_one(MAY, &[]).await.unwrap().get::<_, String>(0);
    let mapping = |name: &str, column: &str| {
        let text = MAPPING
            .replace("'mes'\n[[", &format!("'{name}'\n[["))
            .replace("data = { mood = 'this.mood', moods = 'array[this.mood]' }\n", "");
        file(&format!("columns_{name}.toml"), &text.replace("cell.name", &format!("cell.{column}")))
    };
    let attach = |path: String| run_andon(&url, &["attach", "--source", &path]);

    let first = attach(mapping("mes", "name"));
    let names = may().await;
    line.run("insert into mes.jobs values (1, 1)").await;
    let other = attach(mapping("other", "doubled"));
    let both = may().await;
    line.run("alter table mes.cells rename name to label").await;
    let renamed = attach(mapping("mes", "label"));
    let labels = may().await;
    line.run("insert into mes.jobs values (2, 1)").await;
    let detached = run_andon(&url, &["detach", "--source", "other"]);
    let left = may().await;
    let gone = run_andon(&url, &["detach", "--source", "mes"]);
    let none = may().await;

    for run in [&first, &other, &renamed, &detached, &gone] {
        assert_eq!(run.status, 0, "{run:?}");
    }
    assert_eq!(names, "mes.cells.id mes.cells.name; mes");
    assert_eq!(both, "mes.cells.doubled mes.cells.id mes.cells.name; mes");
    assert_eq!(labels, "mes.cells.doubled mes.cells.id mes.cells.label; mes");
    assert_eq!(left, "mes.cells.id mes.cells.label; mes");
    assert_eq!(none, "");
    let cells =
        "select string_agg(context ->> 'cell', ' ' order by id) from andon.events where context ->> 'cell' <> '14'";
    let cells: Option<String> = line.client.query_one(cells, &[]).await.unwrap().get(0);
    assert_eq!(cells.as_deref(), Some("Laser Laser"));
}
