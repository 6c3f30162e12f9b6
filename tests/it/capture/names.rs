//! Columns with names that mean something elsewhere, and columns that are computed. In: tables with them. Out: whether their values arrive,
//! also where a row cannot be captured, and whether nothing in a name is run.

use serde_json::json;

use crate::command::run_andon;
use crate::support::plant::Plant;

/// Names of rows, of what the generated SQL calls its own, and of words that PL/pgSQL reserves.
const ODD: [&str; 33] = [
    "new", "old", "this", "rung", "ladder", "pair", "code", "reason", "event", "tenant", "type", "data", "context",
    "kept", "captured", "failures", "cell", "emptied", "made", "given", "present", "tg_op", "found", "new_rows",
    "old_rows", "loop", "begin", "order", "user", "a\"b", "$andon$", "it's", "Größe",
];

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns a mapping that sends all of these columns, and reads some of them.
fn mapping() -> String {
    let columns: Vec<String> = ODD.iter().map(|name| json!(name).to_string()).collect();
    format!(
        "[source]
         name = 'mes'
         [[capture]]
         table = 'odd'
         on = 'update'
         of = ['new', 'old', 'this', 'loop', '$andon$']
         type = 'odd.changed'
         columns = [{0}]
         lookup = [{{ alias = 'order', table = 'cells', on = '\"order\".cell = this.cell and \"order\".\"new\" = new.\"new\"' }}]
         data = {{ was = 'old.\"old\"', one = '10 / (new.number - 9)' }}
         context = {{ cell = '\"order\".name' }}
         [[capture]]
         table = 'odd'
         on = ['insert', 'update', 'delete']
         entity_type = 'odd'
         type_sql = \"'odd.' || this.\\\"new\\\"\"
         columns = [{0}]
         data = {{ one = '10 / (this.number - 9)' }}",
        columns.join(", ")
    )
}

fn table(key: &str) -> String {
    let columns: Vec<String> = ODD.iter().map(|name| format!("{} text not null default 'v'", quoted(name))).collect();
    format!(
        "create table odd ({}, number int not null, primary key ({key}));
         create table cells (cell text, \"new\" text, name text); insert into cells values ('v', 'v', 'Laser 1')",
        columns.join(", ")
    )
}

#[tokio::test]
async fn columns_with_the_names_of_rows_and_variables_arrive_as_they_are() {
    let row_by_row = "create function own() returns trigger language plpgsql as $$ begin return null; end $$;
        create trigger own after insert on odd for each row execute function own()";
    for own in ["", row_by_row] {
        let keys = "number, \"new\", \"old\", \"loop\", pair, \"$andon$\"";
        let plant = Plant::with(&format!("{}; {own}", table(keys)), &mapping()).await;

        let inserted = plant.events_after("insert into odd (number) values (1), (2)").await;
        let updated = plant
            .events_after("update odd set this = 'w' where number = 1; update odd set code = 'w' where number = 1")
            .await;
        let deleted = plant.events_after("delete from odd where number = 2").await;

        for name in ODD {
            assert_eq!(inserted[0]["data"][name], "v", "{name}");
            assert_eq!(updated[0]["data"][name], if name == "this" { "w" } else { "v" }, "{name}");
            assert_eq!(deleted[0]["data"][name], "v", "{name}");
        }
        assert_eq!((inserted.len(), deleted.len()), (2, 1));
        let types: Vec<_> = updated.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(types, ["odd.changed", "odd.v"]);
        assert_eq!((&updated[0]["context"], &updated[0]["data"]["was"]), (&json!({"cell": "Laser 1"}), &json!("v")));
        assert_eq!(inserted[0]["entity_id"], "1/v/v/v/v/v");
        assert_eq!(plant.errors().await, []);
    }
}

#[tokio::test]
async fn rows_with_such_columns_are_kept_whole_when_they_cannot_be_captured() {
    let mut plant = Plant::with(&table("number, \"old\""), &mapping()).await;

    // One row fails among others; then a column is gone, and every row fails.
    let types = plant.types_after("insert into odd (number) values (1), (9)").await;
    plant
        .run("alter table odd drop column \"Größe\"; update odd set code = 'w'; delete from odd where number = 1")
        .await;

    assert_eq!(types, ["odd.v"]);
    let kept = plant
        .client
        .query("select operation, key, coalesce(new_image, old_image) from andon.capture_errors order by id", &[])
        .await
        .unwrap();
    let told: Vec<(String, String)> = kept.iter().map(|row| (row.get(0), row.get(1))).collect();
    let told: Vec<String> = told.iter().map(|(operation, key)| format!("{operation} {key}")).collect();
    assert_eq!(told, ["insert 9/v", "update 1/v", "update 9/v", "delete 1/v"]);
    for row in &kept {
        let image: serde_json::Value = row.get(2);
        assert!(
            ODD.iter().filter(|name| **name != "Größe" && **name != "code").all(|name| image[*name] == "v"),
            "{image}"
        );
    }

    // With a mapping that fits, they are captured again from what was kept.
    let fits =
        mapping().replace("10 / (this.number - 9)", "this.number").replace("10 / (new.number - 9)", "new.number");
    plant.attach(&fits.replace("\"Größe\"", "\"user\"")).await;
    let before = plant.count("select count(*) from andon.events").await;
    let again = run_andon(&plant.url, &["capture", "--again"]);
    assert_eq!(again.out, "recovered 4 changes, which made 4 events\n", "{again:?}");
    let whole =
        "select count(*) from andon.events where data->>'present' = 'v' and data->>'made' = 'v' and data->>'new' = 'v'";
    assert_eq!(plant.count(whole).await, before + 4);
}

#[tokio::test]
async fn a_stored_generated_column_arrives_with_its_value() {
    let plant = Plant::with(
        "create table orders (id int primary key, price int, pieces int, total int generated always as (price * pieces) stored)",
        "[source]
         name = 'mes'
         [[capture]]
         table = 'orders'
         on = ['insert', 'update', 'delete']
         type = 'order.changed'
         columns = ['total']",
    )
    .await;

    let events = plant
        .events_after("insert into orders values (1, 2, 3); update orders set price = 4; delete from orders")
        .await;

    assert_eq!(events.iter().map(|event| event["data"]["total"].clone()).collect::<Vec<_>>(), [6, 12, 12]);
}
