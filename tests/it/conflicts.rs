//! Conflicts between transactions that a capture gets in the middle of. In: plants that work with `serializable`, and errors by which a
//! database asks for a retry. Out: whether the application gets the error and the event comes with its retry.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::support::plant::Plant;
use crate::support::plant::connect;

const MAPPING: &str = "
[source]
name = 'line'
[[capture]]
table = 'things'
on = 'insert'
type = 'thing.made'
entity_id = 'new.id'
data = { note = 'public.note_of(new.id)' }";

/// A function that a mapping calls fails with this code.
fn failing(table: &str, code: &str) -> String {
    format!(
        "{table}; create function note_of(int) returns text language plpgsql as
        $$ begin raise exception 'not now' using errcode = '{code}'; end $$"
    )
}

#[tokio::test]
async fn an_error_that_asks_for_a_retry_reaches_the_application_and_is_no_failure_of_the_capture() {
    let partitioned = "create table things (id int primary key) partition by hash (id);
        create table part partition of things for values with (modulus 1, remainder 0)";
    for table in ["create table things (id int primary key)", partitioned] {
        for code in ["40001", "40P01"] {
            let plant = Plant::with(&failing(table, code), MAPPING).await;

            let refused = plant.client.batch_execute("insert into things values (1)").await.unwrap_err();

            assert_eq!(refused.code().map(SqlState::code), Some(code), "{refused:?}");
            assert_eq!(plant.count("select count(*) from things").await, 0, "neither the row nor its event is kept");
            assert_eq!(plant.errors().await, []);
        }
    }
}

#[tokio::test]
async fn a_conflict_while_rows_are_captured_one_by_one_or_recorded_reaches_the_application_too() {
    let plant = Plant::with(
        "create table things (id int primary key); create function note_of(id int) returns text language plpgsql as $$ begin
            perform 1 / (id - 1);
            raise exception 'not now' using errcode = '40001';
        end $$",
        MAPPING,
    )
    .await;
    let refused = plant.client.batch_execute("insert into things values (1), (2)").await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{refused:?}");

    plant
        .run("create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not now' using errcode = '40P01'; end $$;
            create trigger refuse before insert on andon.capture_errors for each row execute function refuse()")
        .await;
    let refused = plant.client.batch_execute("insert into things values (1)").await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::T_R_DEADLOCK_DETECTED), "{refused:?}");
}

#[tokio::test]
async fn a_value_too_large_for_postgresql_costs_its_own_row_and_no_other() {
    let plant = Plant::with(
        "create table things (id int primary key); create function note_of(id int) returns text language plpgsql as $$ begin
            if id = 2 then raise exception 'string buffer' using errcode = '54000'; end if;
            if id = 3 then raise exception 'invalid memory alloc request size' using errcode = 'XX000'; end if;
            return 'good';
        end $$",
        MAPPING,
    )
    .await;

    let types = plant.types_after("insert into things values (1), (2), (3), (4)").await;

    assert_eq!(types.len(), 2);
    let keys: Vec<_> = plant.errors().await.into_iter().map(|(_, key, code, _)| (key.unwrap(), code)).collect();
    assert_eq!(keys, [("2".to_owned(), "54000".to_owned()), ("3".to_owned(), "XX000".to_owned())]);
}

const WRITERS: i64 = 8;
const TURNS: i64 = 50;

/// Inserts a row, and again until it is committed, as an application that works with `serializable` does.
async fn commit(client: &Client, id: i64) {
    let sql = format!("begin isolation level serializable; insert into things values ({id}); commit");
    while let Err(error) = client.batch_execute(&sql).await {
        let code = error.code().map(SqlState::code);
        assert!(matches!(code, Some("40001" | "40P01")), "{error:?}");
        client.batch_execute("rollback").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_commit_of_a_plant_that_works_with_serializable_has_its_event() {
    let plant = Plant::with(
        "create table things (id int primary key);
        create function note_of(id int) returns text language sql as $$ select count(*)::text from public.things $$",
        MAPPING,
    )
    .await;
    let writers = (0..WRITERS).map(|writer| {
        let url = plant.url.clone();
        tokio::spawn(async move {
            let client = connect(&url).await;
            for turn in 0..TURNS {
                commit(&client, writer * TURNS + turn).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }

    assert_eq!(plant.errors().await, []);
    assert_eq!(plant.count("select count(distinct entity_id) from andon.events").await, WRITERS * TURNS);
    assert_eq!(plant.count("select count(*) from andon.events").await, WRITERS * TURNS);
}
