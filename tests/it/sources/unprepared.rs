//! A database that nobody prepared, attached as a new user would: `andon source init`, `check`, `attach`. In: a schema of more than fifty
//! tables and what people do in it. Out: the proposal, which nobody edits, and the events of its captures.

use andon::capture::propose;
use andon::capture::propose::MOST_ENTRIES;
use andon::capture::propose::Wish;
use andon::capture::propose::tables;
use serde_json::Value;

use crate::command::file;
use crate::command::run_andon;
use crate::support::plant::Plant;

const SCHEMA: &str = include_str!("unprepared.schema.sql");

/// What is there before anybody attaches anything.
const ROWS: &str = r#"
    insert into company values ('c1', 'Acme', 'T', 'secret-api-key'), ('c2', 'Bolt', 'T', 'x');
    insert into site values ('s', 'c1', 'Hamburg');
    insert into department values ('d', 'c1', 's', 'Milling');
    insert into "productionLine" values ('l', 'c1', 'd', 'Line 2');
    insert into "workCenter" values ('w', 'c1', 'l', 'Mill 7');
    insert into customer values ('k', 'c1', 'Bolt & Co');
    insert into item values ('i', 'c1', 'I-1', 'P-7', 'Bracket');
    insert into process values ('p', 'c1', 'Milling');
    insert into "salesOrder" (id, "companyId", "orderNumber", "customerId") values ('so', 'c1', 'SO-1', 'k');
    insert into job (id, "companyId", "jobNumber", "itemId", "salesOrderId", "customerId") values ('j', 'c1', 'J-1', 'i', 'so', 'k');
    insert into "jobOperation" (id, "companyId", "jobId", "processId", "workCenterId") values ('o', 'c1', 'j', 'p', 'w');
    insert into machine (id, "companyId", "workCenterId", name, "accessToken") values ('m', 'c1', 'w', 'DMU 50', 'secret-token');
    insert into "nonConformance" (id, "companyId", "nonConformanceNumber", "jobId") values ('n', 'c1', 'NC-1', 'j');
    insert into "nonConformanceTask" (id, "nonConformanceId") values ('t', 'n');"#;

#[tokio::test]
async fn a_database_that_nobody_prepared_is_attached_as_proposed() {
    let plant = Plant::empty().await;
    plant.run(SCHEMA).await;
    plant.run(ROWS).await;

    let proposed = run_andon(&plant.url, &["source", "init", "--name", "unprepared"]);
    let mapping = file("unprepared.toml", &proposed.out);
    let checked = run_andon(&plant.url, &["check", "--source", &mapping]);
    let attached = run_andon(&plant.url, &["attach", "--source", &mapping]);
    let events = plant
        .events_after(
            r#"
            set app.company = 'c1';
            update "jobOperation" set status = 'In Progress' where id = 'o';
            update "jobOperation" set "quantityComplete" = 1, status = 'Done' where id = 'o';
            update job set status = 'Completed' where id = 'j';
            update job set "isDeleted" = true where id = 'j';
            update "salesOrder" set "orderStatus" = 'Shipped' where id = 'so';
            update "salesOrder" set "paymentStatus" = 'Paid' where id = 'so';
            update machine set state = 'DOWN' where id = 'm';
            insert into "stockMovement" ("companyId", "itemId", quantity) values ('c1', 'i', 3);
            insert into shipment (id, "companyId", "shipmentNumber", "salesOrderId") values ('sh', 'c1', 'S-1', 'so');
            update shipment set "shipmentStatus" = 'Posted' where id = 'sh';
            update "nonConformanceTask" set status = 'Done' where id = 't'"#,
        )
        .await;

    std::fs::remove_file(mapping).unwrap();
    assert_eq!(proposed.status, 0, "{}", proposed.err);
    assert!(checked.status == 0 && checked.out.contains("fits the database"), "{}\n{}", checked.out, proposed.out);
    assert_eq!(attached.status, 0, "{}", attached.err);
    assert_eq!(plant.errors().await, []);
    insta::assert_snapshot!("events_of_an_unprepared_database", lines(&events));
    insta::assert_snapshot!("proposal_for_an_unprepared_database", proposed.out);
}

/// Returns each event on two lines, without what differs from run to run.
fn lines(events: &[Value]) -> String {
    let line = |event: &Value| {
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        format!(
            "{} {} {}\n    {}\n    {}\n",
            text("tenant"),
            text("type"),
            text("entity_id"),
            event["context"],
            event["data"]
        )
    };
    events.iter().map(line).collect()
}

#[tokio::test]
async fn nothing_secret_is_ever_proposed_whatever_is_asked_for() {
    let plant = Plant::empty().await;
    plant.run(SCHEMA).await;

    let proposed = run_andon(&plant.url, &["source", "init", "--table", "*"]);

    assert_eq!(proposed.status, 0, "{}", proposed.err);
    let keys: Vec<&str> = proposed.out.lines().filter(|line| !line.starts_with('#')).collect();
    for secret in ["apiKey\"", "passwordHash", "keyHash", "token", "accessToken", "email", "contactEmail"] {
        let named = keys.iter().filter(|line| line.contains(secret) && !line.contains("table"));
        assert_eq!(named.count(), 0, "{secret}\n{}", proposed.out);
    }
}

#[tokio::test]
async fn tables_are_proposed_by_pattern_and_what_is_left_out_is_said() {
    let plant = Plant::empty().await;
    plant.run(SCHEMA).await;
    plant.run("create schema other; create table other.job (id int primary key, status text)").await;
    let init = |options: &[&str]| run_andon(&plant.url, &[&["source", "init"], options].concat());

    let jobs = init(&["--table", "job*", "--not-table", "*note"]);
    let limited = init(&["--limit", "1"]);
    let users = init(&["--table", "user"]);
    let mistyped = init(&["--table", "joboperatoin"]);

    let captured = |out: &str| {
        let mut tables: Vec<String> =
            out.lines().filter(|line| line.starts_with("[table.")).map(str::to_owned).collect();
        tables.sort();
        tables
    };
    let expected = ["[table.\"other.job\"]", "[table.jobMaterial]", "[table.jobOperation]", "[table.job]"];
    assert_eq!(captured(&jobs.out), expected, "{}", jobs.out);
    assert!(jobs.out.contains("1 table because --not-table names them:\n#   jobOperationNote"), "{}", jobs.out);
    assert_eq!(captured(&limited.out).len(), 1, "{}", limited.out);
    assert!(limited.out.contains("because there are busier ones"), "{}", limited.out);
    assert_eq!(captured(&users.out), ["[table.user]"]);
    assert!(mistyped.status == 1 && mistyped.err.contains("the nearest is jobOperation"), "{mistyped:?}");
    for proposed in [jobs, limited, users] {
        let mapping = file("pattern.toml", &proposed.out);
        let checked = run_andon(&plant.url, &["check", "--source", &mapping]);
        std::fs::remove_file(mapping).unwrap();
        assert_eq!(checked.status, 0, "{}\n{}", checked.out, proposed.out);
    }
}

/// Names and values that are odd in every way that PostgreSQL allows.
const ODD: &str = r#"
    create type mood as enum ('it''s', 'a\b', '-- x', 'a"b', '', '完了', 'created', 'Ready', 'READY', 'deleted');
    create domain nested as mood;
    create table "Work Orders" (id int primary key, "order" int, "user" text, "group" text, status nested not null default 'Ready',
                                "a--b" text, "Größe" text, "say ""hi""" text);
    create table "1st" (id int primary key, "2nd" int references "Work Orders", state mood, "new" int, "old" text, "this" text);
    create table select_ (id int primary key, "orderId" int references "Work Orders", "select" int references "1st",
                          status text check (status in ('x', 'y')));
    create table "工单" (id int primary key, status text);
    create table self (id int primary key, parent int references self, other int references self, status text);
    create table "a""b" (id int primary key, status text);
    create table "a.b" (id int primary key, status text);
    create table parent (id int primary key, status text); create table child () inherits (parent);
    create table many (id int primary key, status int references many, "statusId" int references self, phase text, stage text);
    create view v as select * from self; create materialized view mv as select 1 as status;
    create table two (a int, b text, status text, at timestamp, primary key (a, b));
    create table three (id int primary key, a int, b text, status text, foreign key (a, b) references two (a, b));
    create table U&"bell\0007" (id int primary key, status text, U&"when\000Ais\0001it" timestamp);
    create table U&"no\0001key\000Ax = 1" (status text);
    create type beep as enum (E'\x01', E'a\n[b]'); create table beeper (id int primary key, status beep);
    create schema "Other"; create table "Other"."self" (id int primary key, status text, at timestamp);"#;

#[tokio::test]
async fn whatever_names_a_database_has_the_proposal_can_be_attached_and_its_captures_work() {
    let plant = Plant::empty().await;
    plant.run(ODD).await;

    let proposed = run_andon(&plant.url, &["source", "init", "--name", "odd", "--limit", "1000"]);
    let all = run_andon(&plant.url, &["source", "init", "--name", "odd", "--table", "*"]);
    for proposal in [&proposed, &all] {
        let mapping = file("odd.toml", &proposal.out);
        let attached = run_andon(&plant.url, &["attach", "--source", &mapping]);
        std::fs::remove_file(mapping).unwrap();
        assert_eq!((proposal.status, attached.status), (0, 0), "{}\n{}\n{}", proposal.err, attached.err, proposal.out);
    }
    let types = plant
        .clean_types_after(
            r#"insert into "Work Orders" (id) values (1); update "Work Orders" set status = 'it''s';
               update "Work Orders" set status = 'a\b'; update "Work Orders" set status = 'READY';
               update "Work Orders" set status = '完了'; update "Work Orders" set status = 'created';
               insert into "1st" values (1, 1, 'Ready', 1, 'x', 'y'); update "1st" set state = '-- x';
               insert into select_ values (1, 1, 1, 'x'); update select_ set status = 'y';
               insert into "工单" values (1, 'a'); update "工单" set status = 'b';
               insert into two values (1, 'x', 'a'); insert into three values (1, 1, 'x', 'a'); insert into child values (1, 'a');
               insert into "Other".self values (1, 'a')"#,
        )
        .await;

    let expected = [
        "work_order.created",
        "work_order.it_s",
        "work_order.a_b",
        "work_order.ready",
        "work_order.status_changed",
        "work_order.status_changed",
        "1st.created",
        "1st.x",
        "select.created",
        "select.y",
        "thing.created",
        "thing.status_changed",
        "two.created",
        "three.created",
        "parent.created",
        "other_self.created",
    ];
    assert_eq!(types, expected);
    assert!(proposed.out.contains("a mapping cannot write their names"), "{}", proposed.out);
}

#[tokio::test]
async fn the_busiest_tables_come_first_and_no_more_entries_than_said() {
    let plant = Plant::empty().await;
    plant.run(SCHEMA).await;
    let mut tables = tables::list(&plant.client).await.unwrap();
    tables.iter_mut().filter(|table| table.name == "quote").for_each(|table| table.writes = 1_000_000);

    let proposed = propose::mapping(&Wish { name: "plant".to_owned(), ..Wish::default() }, &tables).unwrap();

    let first = proposed.lines().find(|line| line.starts_with("[table."));
    assert_eq!(first, Some("[table.quote]"));
    assert!(proposed.matches("[[capture]]").count() <= MOST_ENTRIES, "{proposed}");
}

#[tokio::test]
async fn writes_to_partitions_count_for_their_parent() {
    let plant = Plant::empty().await;
    plant
        .run(
            "create table moves (id int, at int, primary key (id, at)) partition by range (at);
             create table moves_all partition of moves default",
        )
        .await;
    plant.run("insert into moves select n, n from generate_series(1, 7) n").await;

    // Without this the session would report what it did a second later.
    plant.run("select pg_stat_force_next_flush()").await;
    let writes = tables::list(&plant.client).await.unwrap()[0].writes;

    assert_eq!(writes, 7);
}
