//! `andon source diff`: what another mapping would change for receivers. In: an attached mapping, an edited one, and the types of the live
//! database. Out: the differences, and an exit status that says whether a receiver could break.

use crate::command::Run;
use crate::command::file;
use crate::command::run_andon;
use crate::support::plant::ERYXON;
use crate::support::plant::Plant;

const TABLES: &str =
    "create table jobs (id int primary key, status text, quantity numeric, lot varchar(20), cell text)";

const ATTACHED: &str = r#"
[source]
name = "plant"
[table.jobs]
context = { cell = "this.cell" }
columns = ["id", "quantity", "lot"]
[[capture]]
table = "jobs"
on = "insert"
type = "job.created"
[[capture]]
table = "jobs"
on = "update"
of = ["status"]
type_sql = "'job.' || new.status"
entity_type = "job"
[[capture]]
table = "stations"
on = "update"
type = "station.changed"
optional = true
"#;

fn diff(plant: &Plant, mapping: &str) -> Run {
    let path = file(&format!("{}.toml", mapping.len()), mapping);
    let run = run_andon(&plant.url, &["source", "diff", "--source", &path]);
    std::fs::remove_file(path).unwrap();
    run
}

#[tokio::test]
async fn a_new_mapping_is_compared_with_the_attached_one_field_by_field_and_type_by_type() {
    let plant = Plant::with(TABLES, ATTACHED).await;
    let edited = ATTACHED
        .replace(r#"columns = ["id", "quantity", "lot"]"#, r#"columns = ["id", "lot"]"#)
        .replace(
            "type = \"job.created\"",
            "type = \"job.created\"\ndata = { quantity = \"new.quantity::text\", lot = \"new.lot::text\" }",
        )
        .replace("type = \"station.changed\"\noptional = true", "type = \"station.moved\"\noptional = true");

    let run = diff(&plant, &edited);

    assert_eq!((run.status, run.err.as_str()), (1, ""));
    insta::assert_snapshot!(run.out, @r"
    source plant
      job.created
        data.lot is new.lot::text, was this.lot
    !   data.quantity is text, was numeric
      named by 'job.' || new.status
    !   data.quantity is gone
    2 of 3 changes could break a receiver
    ");
}

#[tokio::test]
async fn what_is_only_more_is_no_fault() {
    let plant = Plant::with(TABLES, ATTACHED).await;

    let same = diff(&plant, ATTACHED);
    let more = diff(&plant, &ATTACHED.replace(r#""lot"]"#, r#""lot", "status"]"#));

    assert_eq!((same.status, same.out.as_str()), (0, "source plant: nothing changes for receivers\n"), "{same:?}");
    assert!(more.status == 0 && more.out.contains("data.status is new: this.status (text)"), "{more:?}");
}

#[tokio::test]
async fn a_database_that_has_changed_since_is_not_passed_over() {
    let plant = Plant::with(TABLES, ATTACHED).await;
    plant.run("create table stations (id int primary key)").await;

    let same = diff(&plant, ATTACHED);

    assert!(same.out.contains("the database has changed since plant was attached"), "{same:?}");
}

#[tokio::test]
async fn a_mapping_that_cannot_be_compared_says_why() {
    let plant = Plant::with(TABLES, ATTACHED).await;

    let unknown = run_andon(&plant.url, &["source", "diff", "--source", ERYXON]);
    let unfit = diff(&plant, &ATTACHED.replace(r#""lot"]"#, r#""lott"]"#));
    let broken = diff(&plant, "[source]\n");
    plant.run("alter table jobs rename column quantity to amount").await;
    let healing = diff(&plant, &ATTACHED.replace(r#""quantity""#, r#""amount""#));

    assert!(unknown.status == 1 && unknown.err.contains("source `eryxon` is not attached here"), "{unknown:?}");
    assert!(
        unfit.status == 1 && unfit.err.contains("column lott of public.jobs does not exist; the nearest is lot"),
        "{unfit:?}"
    );
    assert!(broken.status == 2 && broken.err.contains("name: is missing"), "{broken:?}");
    assert!(healing.status == 1 && healing.out.contains("!   data.quantity is gone"), "{healing:?}");
}
