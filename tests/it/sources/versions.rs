//! One mapping for several versions of a system, whose tables and columns differ. In: a mapping with optional entries and several names for a
//! table, and two versions of a database. Out: what is captured in each, and what the commands say about the rest.

use crate::command::file;
use crate::command::run_andon;
use crate::support::plant::ERYXON;
use crate::support::plant::Plant;

const MAPPING: &str = r#"
[source]
name = "plant"

[table.work_orders]
optional = ["columns.lot", "context.line"]
lookup = [
    { alias = "cell", table = ["cells", "stations"], on = "cell.id = this.cell_id" },
    { alias = "shift", table = "shifts", on = "shift.id = this.shift_id", optional = true },
]
context = { cell = "cell.name", line = "cell.line" }
columns = ["number", "lot"]
data = { shift = "shift.name" }

[[capture]]
table = ["work_orders", "work_order"]
on = "update"
of = ["status", "substatus"]
optional = ["of.substatus"]
type = "work_order.changed"

[[capture]]
table = ["work_orders", "work_order"]
on = "insert"
when = "new.status = 'waiting'"
type = "work_order.waiting"
optional = true

[[capture]]
table = ["work_orders", "work_order"]
on = "insert"
type = "work_order.created"

[[capture]]
table = "inspections"
on = "insert"
type = "inspection.made"
optional = true

[[capture]]
table = ["work_orders", "work_order"]
on = "delete"
when = "old.archived_at is null"
type = "work_order.deleted"
optional = true
"#;

const OLD: &str = "
    create type status as enum ('open', 'done');
    create table stations (id int primary key, name text);
    create table work_order (id int primary key, number text, cell_id int, status status);
    insert into stations values (1, 'Laser')";

const NEW: &str = "
    create type status as enum ('open', 'waiting', 'done');
    create table cells (id int primary key, name text, line text);
    create table shifts (id int primary key, name text);
    create table work_orders (id int primary key, number text, lot text, cell_id int, shift_id int, status status, substatus text, archived_at date);
    create table inspections (id int primary key);
    insert into cells values (1, 'Laser', 'L2'); insert into shifts values (1, 'night')";

#[tokio::test]
async fn what_a_version_does_not_have_is_left_out_and_said_and_the_rest_is_captured() {
    let mapping = file("versions.toml", MAPPING);
    let plant = Plant::empty().await;
    plant.run(OLD).await;

    let checked = run_andon(&plant.url, &["check", "--source", &mapping]);
    let dry = run_andon(&plant.url, &["attach", "--source", &mapping, "--dry-run"]);
    let explained = run_andon(&plant.url, &["check", "--source", &mapping, "--explain"]);
    let attached = run_andon(&plant.url, &["attach", "--source", &mapping]);
    let afterwards = run_andon(&plant.url, &["check"]);
    let events = plant
        .events_after(
            "insert into work_order values (1, 'W-1', 1, 'open'); update work_order set status = 'done'; delete from work_order",
        )
        .await;

    std::fs::remove_file(mapping).unwrap();
    for (run, lead) in [
        (&checked, "ok      mapping "),
        (&attached, "  left out "),
        (&afterwards, "ok      source "),
        (&dry, "-- left out: "),
    ] {
        assert_eq!(run.status, 0, "{run:?}");
        let said: Vec<&str> =
            run.out.lines().filter(|line| line.contains("left out") && line.starts_with(lead)).collect();
        for expected in [
            "lookup.shift: table public.shifts does not exist",
            "data.shift: reads `shift`, which is left out",
            "columns: column lot of public.work_order does not exist",
            "context.line: column cell.line does not exist",
            "of: column substatus of public.work_order does not exist",
            "when: 'waiting' is no value of public.status; its values are 'open', 'done'",
            "table: table public.inspections does not exist",
            "when: column old.archived_at does not exist",
        ] {
            assert!(said.iter().any(|line| line.contains(expected)), "{expected}\n{}", run.out);
        }
    }
    let table = explained.out.split("EVENT").nth(1).unwrap();
    assert!(table.contains("work_order.changed") && table.contains(r#""data":{"number": "<text>"}"#), "{table}");
    for left_out in ["inspection.made", "work_order.waiting", "Line 2", "\"lot\"", "\"shift\""] {
        assert!(!table.contains(left_out), "{left_out}\n{table}");
    }
    let events: Vec<String> =
        events.iter().map(|event| format!("{} {} {}", event["type"], event["context"], event["data"])).collect();
    assert_eq!(
        events,
        [
            r#""work_order.created" {"cell":"Laser"} {"number":"W-1"}"#,
            r#""work_order.changed" {"cell":"Laser"} {"number":"W-1"}"#,
        ]
    );
}

#[tokio::test]
async fn what_a_version_has_is_captured_and_after_an_update_of_the_system_check_asks_for_attach() {
    let mapping = file("newer.toml", MAPPING);
    let plant = Plant::empty().await;
    plant.run(NEW).await;

    let attached = run_andon(&plant.url, &["attach", "--source", &mapping]);
    let events = plant
        .events_after(
            "insert into work_orders values (1, 'W-1', 'A', 1, 1, 'waiting'); update work_orders set substatus = 'x';
             insert into inspections values (1); delete from work_orders",
        )
        .await;
    plant.run("alter table work_orders rename to work_order; alter table work_order drop column lot").await;
    let changed = run_andon(&plant.url, &["check"]);

    std::fs::remove_file(mapping).unwrap();
    assert!(attached.status == 0 && !attached.out.contains("left out"), "{attached:?}");
    assert_eq!(events[0]["context"].to_string(), r#"{"cell":"Laser","line":"L2"}"#);
    assert_eq!(events[0]["data"].to_string(), r#"{"lot":"A","number":"W-1","shift":"night"}"#);
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["work_order.waiting", "work_order.changed", "inspection.made", "work_order.deleted"]);
    assert!(changed.status == 1 && changed.out.contains("run `andon attach --source FILE`"), "{changed:?}");
}

#[tokio::test]
async fn eryxon_is_attached_as_its_documents_described_it_and_as_it_is() {
    let plant = Plant::built().await;
    let now = run_andon(&plant.url, &["check", "--source", ERYXON]);
    plant
        .run(
            "drop table operation_batches, substeps, operation_quantities, scrap_reasons, shipments, sync_imports;
             alter table issues drop column issue_type, drop column ncr_category, drop column disposition, drop column affected_quantity",
        )
        .await;

    let before = run_andon(&plant.url, &["check", "--source", ERYXON]);
    let attached = run_andon(&plant.url, &["attach", "--source", ERYXON]);

    assert!(now.status == 0 && !now.out.contains("left out"), "{}", now.out);
    assert_eq!(before.status, 0, "{}", before.out);
    assert_eq!(attached.status, 0, "{}", attached.err);
    for table in ["operation_batches", "substeps", "operation_quantities", "shipments", "sync_imports"] {
        assert!(attached.out.contains(&format!("table public.{table} does not exist")), "{table}\n{}", attached.out);
    }
    assert!(attached.out.contains("when: column new.issue_type does not exist"), "{}", attached.out);
}

#[tokio::test]
async fn a_destination_that_wants_only_what_is_left_out_is_told() {
    let plant = Plant::empty().await;
    plant.run(OLD).await;
    let mapping = file("left-out.toml", MAPPING);
    let attached = run_andon(&plant.url, &["attach", "--source", &mapping]);
    plant
        .run(
            "insert into andon.webhooks (url, secret_key, events) values
                ('https://only.example', 's', '{inspection.*}'), ('https://also.example', 's', '{inspection.made,work_order.*}'),
                ('https://rest.example', 's', '{work_order.*}')",
        )
        .await;

    let check = run_andon(&plant.url, &["check"]);

    assert_eq!(attached.status, 0, "{attached:?}");
    let told = |name: &str| check.out.lines().find(|line| line.contains(name)).unwrap().to_owned();
    for (name, grade) in [("only.example", "FAULT"), ("also.example", "warning")] {
        let line = told(name);
        assert!(
            line.starts_with(grade) && line.contains("is left out here") && line.contains("inspection.made"),
            "{line}"
        );
    }
    assert!(told("rest.example").starts_with("ok"), "{check:?}");
}
