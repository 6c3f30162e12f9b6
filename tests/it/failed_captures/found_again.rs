//! A change that failed is found again whatever its row is called and however large it is. In: keys with slashes, large values, and tables and
//! columns that have another name by the time at which they are captured again. Out: the right event of the right row, once.

use serde_json::Value;

use crate::command::run_andon;
use crate::support::plant::Plant;

use super::events;

const LOTS: &str = "create table lot (line text, number text, status text, primary key (line, number))";

fn lots(column: &str) -> String {
    format!(
        r#"
        [source]
        name = "mes"
        [[capture]]
        table = "lot"
        on = ["insert", "delete"]
        type_sql = "'lot.' || this.{column}"
        entity_type = "lot"
        [[capture]]
        table = "lot"
        on = "update"
        of = ["{column}"]
        type = "lot.changed"
        data = {{ before = "old.{column}", after = "new.{column}" }}"#
    )
}

/// Runs `andon capture --again`, which has to capture all that is open.
fn again(plant: &Plant) -> String {
    let run = run_andon(&plant.url, &["capture", "--again"]);
    assert_eq!(run.status, 0, "{run:?}");
    run.out
}

#[tokio::test]
async fn keys_of_several_columns_are_told_apart_whatever_their_parts_hold() {
    let mut plant = Plant::with(LOTS, &lots("status")).await;
    plant.run("insert into lot values ('a/b', 'c', 'one'), ('a', 'b/c', 'two'), ('~1', '/', 'three')").await;
    plant.run("alter table lot rename status to state; update lot set state = state || '2'").await;
    let keys = "select string_agg(key, ' ' order by id) from andon.capture_errors";
    let kept: String = plant.client.query_one(keys, &[]).await.unwrap().get(0);
    // One of which nothing is kept but the key.
    plant.run("select andon.capture_failed('mes', 'public.lot', 'insert', 'a/b~1c', '42703', 'no image')").await;
    plant.attach(&lots("state")).await;
    let before = events(&plant).await.len();

    let said = again(&plant);

    let mut kept: Vec<&str> = kept.split(' ').collect();
    kept.sort_unstable();
    assert_eq!(kept, ["a/b~1c", "a~1b/c", "~01/~1"]);
    assert_eq!(said, "recovered 4 changes, which made 4 events\n");
    let mut made = events(&plant).await.split_off(before);
    made.sort_unstable();
    assert_eq!(
        made,
        [
            r#"lot.changed a/b~1c {"after": "two2", "before": null} {"recovered": true}"#,
            r#"lot.changed a~1b/c {"after": "one2", "before": null} {"recovered": true}"#,
            r#"lot.changed ~01/~1 {"after": "three2", "before": null} {"recovered": true}"#,
            r#"lot.two2 a/b~1c {} {"recovered": true}"#,
        ]
    );
}

#[tokio::test]
async fn an_update_of_a_column_that_has_another_name_now_is_not_taken_for_no_change() {
    let schema = "create table job (id int primary key, status text, customer text, note text)";
    let mapping = |column: &str| {
        format!(
            r#"
            [source]
            name = "mes"
            [[capture]]
            table = "job"
            on = "update"
            of = ["status"]
            type = "job.status"
            data = {{ {column} = "new.{column}" }}
            [[capture]]
            table = "job"
            on = "update"
            of = ["{column}"]
            type = "job.moved"
            data = {{ to = "new.{column}", from = "old.{column}" }}"#
        )
    };
    let mut plant = Plant::with(schema, &mapping("customer")).await;
    plant.run("insert into job select n, 'new', 'A', 'x' from generate_series(1, 4) n").await;
    plant
        .run(
            "alter table job rename customer to client;
             update job set client = 'B' where id = 1; update job set status = 'done' where id = 2;
             update job set note = 'y' where id = 3; update job set status = status where id = 4",
        )
        .await;
    plant.attach(&mapping("client")).await;

    let said = again(&plant);

    assert_eq!(said, "recovered 4 changes, which made 2 events\n");
    assert_eq!(
        events(&plant).await,
        [
            r#"job.moved 1 {"to": "B", "from": null} {"recovered": true}"#,
            r#"job.status 2 {"client": "A"} {"recovered": true}"#,
        ]
    );
}

#[tokio::test]
async fn of_a_row_that_is_too_large_the_key_and_the_small_values_are_kept_and_the_rest_is_named() {
    let schema = "create table job (id int primary key, status text, plan text, customer text)";
    let mapping = |column: &str| {
        format!(
            r#"
            [source]
            name = "mes"
            [[capture]]
            table = "job"
            on = ["insert", "update", "delete"]
            type_sql = "'job.' || this.status"
            entity_type = "job"
            data = {{ customer = "this.{column}", size = "length(this.plan)" }}"#
        )
    };
    let mut plant = Plant::with(schema, &mapping("customer")).await;
    plant.run("insert into job values (1, 'new', 'small', 'A'), (2, 'old', repeat('x', 400000), 'A')").await;
    let before = events(&plant).await.len();
    plant
        .run(
            "alter table job rename customer to client;
             update job set plan = repeat('y', 300000) where id = 1; insert into job values (3, 'new', repeat('z', 300001), 'C');
             update job set status = 'done' where id = 3; delete from job where id = 2",
        )
        .await;
    let kept =
        "select jsonb_agg(jsonb_build_array(key, new_image, old_image, cut) order by id) from andon.capture_errors";
    let kept: Value = plant.client.query_one(kept, &[]).await.unwrap().get(0);
    let listed = run_andon(&plant.url, &["capture", "errors"]);
    plant.attach(&mapping("client")).await;

    let said = again(&plant);

    assert_eq!(
        kept[0],
        serde_json::json!(["1", {"id": 1, "status": "new"}, {"id": 1, "plan": "small", "status": "new"}, ["plan"]])
    );
    assert_eq!(kept[3], serde_json::json!(["2", null, {"id": 2, "status": "old"}, ["plan"]]));
    assert_eq!(listed.out.matches("row without plan").count(), 4, "{listed:?}");
    assert!(
        said.contains("recovered 4 changes, which made 4 events") && said.contains("4 of them lack values"),
        "{said}"
    );
    assert_eq!(
        events(&plant).await[before..],
        [
            r#"job.new 1 {"size": 300000, "customer": "A"} {"recovered": true}"#,
            r#"job.new 3 {"size": 300001, "customer": "C"} {"recovered": true}"#,
            r#"job.done 3 {"size": 300001, "customer": "C"} {"recovered": true}"#,
            r#"job.old 2 {"size": null, "customer": null} {"recovered": true}"#,
        ]
    );
}

/// Returns a mapping of these tables, each of which may have several names.
fn work(tables: &[(&str, &str)]) -> String {
    let entry = |(names, event): &(&str, &str)| {
        format!(
            "[[capture]]\ntable = {names}\non = ['insert', 'update']\ntype = '{event}'\nentity_type = 'x'\ndata = {{ client = 'this.client' }}\n"
        )
    };
    format!("[source]\nname = 'mes'\n{}", tables.iter().map(entry).collect::<String>())
}

#[tokio::test]
async fn a_failure_belongs_to_its_table_whatever_that_is_called_now() {
    const ORDER: &str = "create table work_order (id int primary key, customer text)";
    const TWO: &str =
        "create table a (id int primary key, customer text); create table b (id int primary key, customer text)";
    const PARTS: &str = "create table jobs (id int primary key, customer text) partition by range (id);
        create table jobs_1 partition of jobs for values from (0) to (100)";
    let either = ("['work_orders', 'work_order']", "order");
    for (schema, tables, fails, then, made) in [
        (
            ORDER,
            &[either][..],
            "alter table work_order rename customer to client; insert into work_order values (1, 'C')",
            ("alter table work_order rename to work_orders", &[either][..]),
            "order",
        ),
        (
            ORDER,
            &[("'work_order'", "order")],
            "alter table work_order rename customer to client; insert into work_order values (1, 'C')",
            ("create schema mes; alter table work_order set schema mes", &[("'mes.work_order'", "order")]),
            "order",
        ),
        (
            TWO,
            &[("'a'", "a"), ("'b'", "b")],
            "alter table a rename customer to client; alter table b rename customer to client; insert into a values (1, 'C')",
            (
                "alter table a rename to c; alter table b rename to a; alter table c rename to b",
                &[("'a'", "b"), ("'b'", "a")],
            ),
            "a",
        ),
        (
            PARTS,
            &[("'jobs'", "job")],
            "alter table jobs rename customer to client; insert into jobs values (1, 'C')",
            ("alter table jobs rename to orders", &[("'orders'", "job")]),
            "job",
        ),
        (
            ORDER,
            &[("'work_order'", "order")],
            "alter table work_order rename customer to client; insert into work_order values (1, 'C')",
            (
                "create table copy (like work_order including all); insert into copy select * from work_order; drop table work_order; alter table copy rename to work_order",
                &[("'work_order'", "order")],
            ),
            "order",
        ),
    ] {
        let mapping = |tables, column: &str| work(tables).replace("this.client", &format!("this.{column}"));
        let mut plant = Plant::with(schema, &mapping(tables, "customer")).await;
        plant.run(fails).await;
        let (change, tables) = then;
        plant.run(change).await;
        plant.attach(&mapping(tables, "client")).await;

        let said = again(&plant);

        assert_eq!(said, "recovered 1 changes, which made 1 events\n", "{change}");
        assert_eq!(events(&plant).await, [format!(r#"{made} 1 {{"client": "C"}} {{"recovered": true}}"#)], "{change}");
    }
}

#[tokio::test]
async fn a_failure_that_knows_only_a_name_is_found_by_each_name_that_the_mapping_has() {
    let either = "['work_orders', 'work_order']";
    let plant =
        Plant::with("create table work_orders (id int primary key, client text)", &work(&[(either, "order")])).await;
    plant
        .run(
            "insert into work_orders values (1, 'C');
             select andon.capture_failed('mes', 'public.work_order', 'update', '1', '42703', 'of an older version')",
        )
        .await;

    assert_eq!(again(&plant), "recovered 1 changes, which made 1 events\n");
}

#[tokio::test]
async fn a_row_whose_key_has_another_name_now_is_found_by_its_value() {
    let mut plant = Plant::with(
        "create table job (id int primary key, customer text)",
        &work(&[("'job'", "job")]).replace("this.client", "this.customer"),
    )
    .await;
    plant.run("alter table job rename customer to client; insert into job values (7, 'C')").await;
    plant.run("alter table job rename id to number").await;
    plant.attach(&work(&[("'job'", "job")])).await;

    again(&plant);

    assert_eq!(events(&plant).await, [r#"job 7 {"client": "C"} {"recovered": true}"#]);
}

#[tokio::test]
async fn what_two_operators_capture_again_at_once_is_captured_once() {
    let mut plant = Plant::with(LOTS, &lots("status")).await;
    plant
        .run("alter table lot rename status to state; insert into lot select 'l', n, 'made' from generate_series(1, 3000) n")
        .await;
    plant.attach(&lots("state")).await;

    let outcomes: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..2).map(|_| scope.spawn(|| run_andon(&plant.url, &["capture", "--again"]))).collect();
        runs.into_iter()
            .map(|run| run.join().unwrap())
            .map(|run| {
                assert_eq!(run.status, 0, "{run:?}");
                run.out
            })
            .collect()
    });

    let recovered = outcomes.iter().map(|out| out.split(' ').nth(1).unwrap().parse::<i64>().unwrap());
    assert_eq!(recovered.sum::<i64>(), 3000, "{outcomes:?}");
    let counts = "select count(*) from (select entity_id from andon.events group by entity_id having count(*) = 1) it";
    assert_eq!(plant.count(counts).await, 3000);
}

#[tokio::test]
async fn a_choice_that_meets_nothing_says_that_others_are_open() {
    let plant = Plant::with(LOTS, &lots("status")).await;
    plant.run("select andon.capture_failed('mes', 'public.lot', 'insert', 'a/b', '42703', 'an error')").await;

    for arguments in [&["errors", "--table", "lots"][..], &["acknowledge", "--source", "erp"], &["--again", "77"]] {
        let run = run_andon(&plant.url, &[&["capture"], arguments].concat());

        assert!(run.out.contains("none of the chosen is open, 1 others are (andon capture errors)"), "{run:?}");
    }
    let unknown = run_andon(&plant.url, &["capture", "--again", "--table", "lots", "--where", "true"]);
    assert!(unknown.status == 1 && unknown.err.contains("captured are public.lot"), "{unknown:?}");
}

#[tokio::test]
async fn columns_that_a_key_only_includes_are_no_part_of_it() {
    let mut plant = Plant::empty().await;
    plant
        .run("create table lot (line text, number text, status text, primary key (line, number) include (status))")
        .await;
    plant.attach(&lots("status")).await;

    let events = plant.events_after("insert into lot values ('l', '1', 'new'); update lot set status = 'done'").await;

    let found: Vec<_> =
        events.iter().map(|event| (event["type"].as_str().unwrap(), event["entity_id"].as_str().unwrap())).collect();
    assert_eq!(found, [("lot.new", "l/1"), ("lot.changed", "l/1")]);
}

#[tokio::test]
async fn a_value_that_has_no_json_costs_neither_the_key_nor_the_other_rows() {
    let schema = "create table job (id int primary key, customer text, note text, doc json)";
    let mapping = |column: &str| {
        format!(
            "[source]\nname = 'mes'\n[[capture]]\ntable = 'job'\non = 'insert'\ntype = 'job.made'\ndata = {{ c = 'new.{column}', size = 'length(new.doc::text)' }}"
        )
    };
    let mut plant = Plant::with(schema, &mapping("customer")).await;
    plant
        .run(
            r#"alter table job rename customer to client;
               insert into job values (1, 'A', 'x', '{}'), (2, 'B', 'x', '{"a": "\u0000"}'), (3, 'C', 'x', '{}')"#,
        )
        .await;
    let sql = "select string_agg(concat_ws(' ', key, new_image, cut), '; ' order by id) from andon.capture_errors";
    let kept: String = plant.client.query_one(sql, &[]).await.unwrap().get(0);
    plant.attach(&mapping("client")).await;

    let said = again(&plant);

    assert_eq!(kept, r#"1 {"id": 1, "doc": {}}; 2 {"id": 2} {doc}; 3 {"id": 3, "doc": {}}"#);
    assert!(said.starts_with("recovered 3 changes, which made 3 events"), "{said}");
    assert!(
        events(&plant).await.contains(&r#"job.made 2 {"c": "B", "size": 15} {"recovered": true}"#.to_owned()),
        "{:?}",
        events(&plant).await
    );
}
