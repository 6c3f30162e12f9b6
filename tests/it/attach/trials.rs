//! Attaching tries what it installs. In: mappings whose statements can be prepared and cannot be run. Out: whether that shows before anything
//! is installed, and whether a trial leaves no event, no failure and no work of the plant's triggers.

use andon::capture::Mapping;
use andon::capture::SourceError;

use crate::support::plant::Plant;
use crate::support::plant::connect;

const MAPPING: &str = "[source]
name = 'mes'
[[capture]]
table = 'jobs'
on = ['insert', 'update', 'delete']
type = 'job.changed'
lookup = [{ alias = 'cell', table = 'cells', on = 'cell.id = this.cell_id' }]
data = { cell = 'cell.name', rate = '100 / this.pieces' }";

const SCHEMA: &str = "create table jobs (id int primary key, cell_id int not null, pieces int not null);
    create table cells (id int primary key, name text);";

fn parsed(text: &str) -> Mapping {
    Mapping::parse("test.toml", text).unwrap()
}

#[tokio::test]
async fn a_trial_leaves_nothing_behind_and_touches_no_row() {
    let mut plant = Plant::empty().await;
    plant.run(SCHEMA).await;
    plant
        .run(
            "insert into jobs values (1, 1, 1), (2, 1, 0);
             create table audit (at timestamptz);
             create function audited() returns trigger language plpgsql as $$ begin insert into public.audit values (now()); return null; end $$;
             create trigger audit after insert or update or delete on jobs for each statement execute function audited()",
        )
        .await;
    // The rows above are counted in the session that wrote them, until its counts are handed over at some time.
    plant.client = connect(&plant.url).await;
    let listener = connect(&plant.url).await;
    let before = "select (select count(*) from pg_class) + (select coalesce(sum(n_tup_ins + n_tup_upd), 0) from pg_stat_xact_user_tables where relname = 'jobs')::bigint";
    let classes = plant.count(before).await;

    let report = andon::capture::attach(&mut plant.client, &parsed(MAPPING)).await.unwrap();

    assert_eq!(report.warnings, [] as [&str; 0]);
    assert_eq!(plant.count(before).await, classes, "a table is left");
    for table in ["audit", "andon.events", "andon.capture_errors"] {
        assert_eq!(plant.count(&format!("select count(*) from {table}")).await, 0, "{table}");
    }
    assert_eq!(
        listener
            .query_one("select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())", &[])
            .await
            .unwrap()
            .get::<_, i64>(0),
        0
    );
}

#[tokio::test]
async fn a_right_that_the_functions_lack_is_found_before_anything_is_installed() {
    let plant = Plant::empty().await;
    let owner = format!("owner_{}", plant.url.rsplit('/').next().unwrap());
    plant
        .run(&format!(
            "{SCHEMA} create role {owner} login; alter table jobs owner to {owner};
             grant usage, create on schema andon to {owner}; grant all on all tables in schema andon to {owner};
             grant execute on all functions in schema andon to {owner}"
        ))
        .await;
    let mut client = connect(&plant.url.replace("//postgres@", &format!("//{owner}@"))).await;

    let refused = andon::capture::attach(&mut client, &parsed(MAPPING)).await.unwrap_err();

    let SourceError::Powerless(rights) = &refused else { panic!("{refused:?}") };
    assert!(
        rights[0].contains(&format!("run: grant select (id, name) on table public.cells to {owner}")),
        "{rights:?}"
    );
    assert_eq!(plant.count("select count(*) from andon.sources").await, 0);
    assert_eq!(plant.count("select count(*) from andon.capture_errors").await, 0);
    plant.run(&format!("grant select on cells to {owner}")).await;
    andon::capture::attach(&mut client, &parsed(MAPPING)).await.unwrap();
}

#[tokio::test]
async fn what_attach_accepts_is_captured_although_the_key_has_operators_of_its_own() {
    let mut plant = Plant::empty().await;
    // The type has no operator of its own in pg_catalog, as ltree has none.
    plant
        .run(
            "create extension if not exists ltree;
             create table jobs (id ltree primary key, status text)",
        )
        .await;
    let mapping = parsed("[source]\nname = 'mes'\n[[capture]]\ntable = 'jobs'\non = 'update'\ntype = 'job.updated'");

    match andon::capture::attach(&mut plant.client, &mapping).await {
        Err(refused) => assert!(refused.to_string().contains("no update could be captured"), "{refused}"),
        Ok(_) => {
            let work = "insert into jobs values ('a.b', 'x'); update jobs set status = 'y'";
            assert_eq!(plant.clean_types_after(work).await, ["job.updated"]);
        }
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_captured_is_a_warning_and_a_row_of_nulls_is_none() {
    let mut plant = Plant::empty().await;
    plant.run(SCHEMA).await;

    let empty = andon::capture::attach(&mut plant.client, &parsed(MAPPING)).await.unwrap();
    andon::capture::detach(&mut plant.client, "mes").await.unwrap();
    plant.run("insert into jobs values (1, 1, 0)").await;
    let with_row = andon::capture::attach(&mut plant.client, &parsed(MAPPING)).await.unwrap();

    assert_eq!(empty.warnings, [] as [&str; 0]);
    assert!(
        with_row
            .warnings
            .iter()
            .any(|it| it.contains("the insert of a row that is there could not be captured: division by zero")),
        "{with_row:?}"
    );
    assert_eq!(plant.count("select count(*) from andon.capture_errors").await, 0);
}
