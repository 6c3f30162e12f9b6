//! Types that extensions bring. In: columns of such types in conditions, expressions and keys. Out: whether the operators of the type count, as
//! in psql, and whether that lets nobody in who may create operators.

use andon::capture::Mapping;
use andon::capture::SourceError;
use andon::capture::Trust;
use andon::capture::attach_with;

use crate::command::run_andon;
use crate::support::plant::Plant;

/// Returns a mapping of one table.
fn mapping(table: &str, entry: &str) -> String {
    format!(
        "[source]
        name = 'mes'
        [[capture]]
        table = '{table}'
        type = '{table}.changed'
        {entry}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn text_without_case_is_compared_without_case() {
    let schema = "create extension citext; create table job (id int primary key, status citext, note text)";
    let entry = "on = ['insert', 'update']
        when = \"new.status = 'completed'\"
        lookup = [{ alias = 'other', table = 'job', on = \"other.status = new.note::public.citext\" }]
        data = { status = 'new.status', found = 'other.id' }";
    let plant = Plant::with(schema, &mapping("job", entry)).await;

    let events = plant
        .events_after("insert into job values (1, 'COMPLETED', 'Completed'); update job set status = 'open'")
        .await;

    assert_eq!(plant.errors().await, []);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["data"], serde_json::json!({"status": "COMPLETED", "found": 1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_a_type_of_an_extension_pairs_rows_and_finds_them_again() {
    let schema = "create schema \"Ext\"; create extension ltree schema \"Ext\";
        create table place (path \"Ext\".ltree primary key, state text)";
    let entry = "on = ['insert', 'update', 'delete']
        type_sql = \"'place.' || coalesce(this.state, 'none')\"
        entity_type = 'place'";
    let plant = Plant::with(schema, &mapping("place", entry).replace("type = 'place.changed'", "")).await;

    let types = plant
        .clean_types_after(
            "insert into place values ('plant.hall.cell', 'new'), ('plant.hall', 'new');
             update place set state = 'up' where path::text = 'plant.hall'; delete from place where state = 'new'",
        )
        .await;
    plant
        .run("alter table place rename state to mode; insert into place values ('plant.lift', 'new'); alter table place rename mode to state")
        .await;
    let again = run_andon(&plant.url, &["capture", "--again"]);
    let check = run_andon(&plant.url, &["check"]);

    assert_eq!(types, ["place.new", "place.new", "place.up", "place.new"]);
    assert_eq!(again.out, "recovered 1 changes, which made 1 events\n", "{again:?}");
    assert!(!check.out.contains("FAULT   source") && !check.out.contains("`set` clauses"), "{check:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_an_operator_is_refused_before_anything_is_installed() {
    let mut plant = Plant::empty().await;
    plant
        .run(
            "create schema ext; create extension ltree schema ext; create schema other;
             alter operator ext.= (ext.ltree, ext.ltree) set schema other;
             create table place (path ext.ltree primary key, state text)",
        )
        .await;
    let mapping = Mapping::parse("test.toml", &mapping("place", "on = 'update'\ncolumns = ['state']")).unwrap();

    let refused = andon::capture::plan_sql(&mut plant.client, &mapping).await.unwrap_err();

    assert!(refused.to_string().contains("an update of public.place by the primary key"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_of_a_type_need_no_schema() {
    let schema = "create schema ext; create extension hstore schema ext;
        create table part (id int primary key, tags ext.hstore)";
    let entry = "on = 'insert'
        when = \"new.tags -> 'line' = 'L1' and new.tags ? 'lot'\"
        data = { lot = \"new.tags -> 'lot'\" }";
    let plant = Plant::with(schema, &mapping("part", entry)).await;

    let events = plant
        .events_after("insert into part values (1, 'line=>L1,lot=>7'), (2, 'line=>L2,lot=>8'), (3, 'line=>L1')")
        .await;

    assert_eq!(plant.errors().await, []);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["data"]["lot"], "7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_in_which_others_may_create_operators_is_refused_by_name() {
    let mut plant = Plant::empty().await;
    plant
        .run(
            "create extension citext; grant create on schema public to public;
             create table job (id int primary key, status citext); create table sent (id int primary key, status citext)",
        )
        .await;
    let text = mapping("job", "on = 'insert'\nwhen = \"new.status = 'completed'\"");
    let compares = Mapping::parse("test.toml", &text).unwrap();
    let text = mapping("sent", "on = 'insert'\ncolumns = ['status']").replace("'mes'", "'erp'");
    let sends = Mapping::parse("test.toml", &text).unwrap();

    let refused = attach_with(&mut plant.client, &compares, Trust::Itself).await;
    let trusted = attach_with(&mut plant.client, &compares, Trust::Everybody).await;
    let sent = attach_with(&mut plant.client, &sends, Trust::Itself).await;
    plant.run("revoke create on schema public from public").await;
    let closed = attach_with(&mut plant.client, &compares, Trust::Itself).await;

    let Err(SourceError::UntrustedOwners(owners)) = refused else { panic!("{refused:?}") };
    assert!(owners[0].starts_with("everybody may create functions in schema public"), "{owners:?}");
    assert!(owners[0].contains("revoke create on schema public from public"), "{owners:?}");
    assert!(trusted.is_ok() && closed.is_ok(), "{trusted:?} {closed:?}");
    assert!(sent.is_ok(), "a column that is only sent needs no operator: {sent:?}");
}
