//! Capture by attached triggers. In: a plant's statements on a real PostgreSQL. Out: whether each change leaves exactly its event, and
//! whether the plant's statement succeeds whatever happens to the capture.

mod event_names;
mod lookups;
mod names;
mod operators;
mod order;
mod sessions;
mod settings;
mod times;
mod truncate;

use serde_json::json;

use crate::support::plant::Plant;
use crate::support::plant::connect;

const TENANT: &str = "00000000-0000-0000-0000-00000000000a";
const JOB: &str = "00000000-0000-0000-0000-000000000001";
const PART: &str = "00000000-0000-0000-0000-000000000002";
const OPERATION: &str = "00000000-0000-0000-0000-000000000003";

#[tokio::test]
async fn every_event_of_eryxon_is_captured() {
    let plant = Plant::attached().await;
    let import = |kind: &str| {
        format!(
            "insert into sync_imports (tenant_id, source, entity_type, status) values ('{TENANT}', 'api', '{kind}', 'completed')"
        )
    };
    let work = [
        ("job.created", format!("insert into jobs (tenant_id, job_number) values ('{TENANT}', 'J-2')")),
        ("job.updated", format!("update jobs set customer = 'Nut Ltd' where id = '{JOB}'")),
        ("job.started", format!("update jobs set status = 'in_progress' where id = '{JOB}'")),
        ("job.stopped", format!("update jobs set status = 'on_hold' where id = '{JOB}'")),
        ("job.resumed", format!("update jobs set status = 'in_progress' where id = '{JOB}'")),
        ("job.completed", format!("update jobs set status = 'completed' where id = '{JOB}'")),
        (
            "part.created",
            format!("insert into parts (tenant_id, job_id, part_number) values ('{TENANT}', '{JOB}', 'P-8')"),
        ),
        ("part.updated", format!("update parts set quantity = 9 where id = '{PART}'")),
        ("operation.started", format!("update operations set status = 'in_progress' where id = '{OPERATION}'")),
        ("operation.paused", format!("update operations set status = 'on_hold' where id = '{OPERATION}'")),
        ("operation.resumed", format!("update operations set status = 'in_progress' where id = '{OPERATION}'")),
        ("operation.completed", format!("update operations set status = 'completed' where id = '{OPERATION}'")),
        (
            "issue.created",
            format!(
                "insert into issues (tenant_id, operation_id, description) values ('{TENANT}', '{OPERATION}', 'burr')"
            ),
        ),
        ("issue.approved", "update issues set status = 'approved'".to_owned()),
        ("issue.resolved", "update issues set status = 'closed'".to_owned()),
        ("sync.jobs.completed", import("jobs")),
        ("sync.parts.completed", import("parts")),
        ("sync.batch.completed", import("operations")),
        ("part.deleted", "delete from parts where part_number = 'P-8'".to_owned()),
        ("job.deleted", "delete from jobs where job_number = 'J-2'".to_owned()),
        ("job.deleted", format!("update jobs set deleted_at = now(), status = 'on_hold' where id = '{JOB}'")),
        ("part.deleted", format!("update parts set deleted_at = now() where id = '{PART}'")),
    ];

    for (expected, sql) in work {
        assert_eq!(plant.clean_types_after(&sql).await, [expected], "{sql}");
    }
}

#[tokio::test]
async fn an_event_names_its_tenant_its_entity_and_its_place() {
    let plant = Plant::attached().await;

    let events = plant
        .events_after(&format!(
            "update operations set status = 'completed', actual_time = 1.5, completed_at = '2026-03-01 12:00+01' where id = '{OPERATION}'"
        ))
        .await;

    let event = &events[0];
    assert_eq!(event["tenant"], TENANT);
    assert_eq!(event["entity_type"], "operation");
    assert_eq!(event["entity_id"], OPERATION);
    assert_eq!(
        event["context"],
        json!({"cell": "Laser 1", "operation": "Cut", "job_number": "J-1", "part_number": "P-7"})
    );
    assert_eq!(
        event["data"],
        json!({
            "id": OPERATION, "part_id": PART, "operation_name": "Cut", "sequence": 0, "status": "completed",
            "old_status": "not_started", "estimated_time": 0, "actual_time": 1.5, "planned_start": null, "planned_end": null,
            "completed_at": "2026-03-01T11:00:00+00:00", "completion_percentage": 0, "assigned_operator_id": null,
            "job_number": "J-1", "part_number": "P-7", "cell": "Laser 1", "operation_id": OPERATION, "job_id": JOB,
            "operator_id": null, "operator_name": null
        })
    );
}

#[tokio::test]
async fn a_sync_import_that_is_updated_to_its_end_makes_one_event() {
    let plant = Plant::attached().await;

    let types = plant
        .types_after(&format!(
            "insert into sync_imports (tenant_id, source, entity_type) values ('{TENANT}', 'csv', 'jobs');
             update sync_imports set status = 'processing';
             update sync_imports set created_count = 4;
             update sync_imports set status = 'completed';
             update sync_imports set file_name = 'x.csv'"
        ))
        .await;

    assert_eq!(types, ["sync.jobs.completed"]);
}

#[tokio::test]
async fn an_update_that_changes_nothing_makes_no_event() {
    let plant = Plant::attached().await;

    let types = plant
        .types_after(
            "update jobs set status = status, customer = customer; update jobs set updated_at = now() + interval '1 s'",
        )
        .await;

    assert_eq!(types, Vec::<String>::new());
}

#[tokio::test]
async fn a_change_that_is_rolled_back_leaves_no_event() {
    let plant = Plant::attached().await;

    let types = plant
        .types_after(&format!(
            "begin; update jobs set status = 'in_progress' where id = '{JOB}'; rollback;
             begin; savepoint a; update jobs set status = 'on_hold' where id = '{JOB}'; rollback to a;
             update jobs set status = 'completed' where id = '{JOB}'; commit"
        ))
        .await;

    assert_eq!(types, ["job.completed"]);
}

#[tokio::test]
async fn a_condition_that_no_row_fulfils_writes_nothing_and_rings_no_bell() {
    let plant = Plant::with(
        "create table tanks (id int primary key, level int)",
        "[source]
         name = 'line'
         [[capture]]
         table = 'tanks'
         on = 'insert'
         when = 'new.level > 90'
         type = 'tank.full'",
    )
    .await;

    let events = plant.events_after("begin; insert into tanks select n, 1 from generate_series(1, 1000) n").await;

    assert!(events.is_empty());
    let bell =
        "select count(*) from pg_locks where locktype = 'advisory' and classid = 1097753711 and pid = pg_backend_pid()";
    assert_eq!(plant.count(bell).await, 0);
    plant.run("insert into tanks values (0, 91)").await;
    assert_eq!(plant.count(bell).await, 1);
}

const RATES: &str = "create table rates (id int primary key, parts int, hours int, note text)";
const RATES_MAPPING: &str = "
    [source]
    name = 'line'
    [[capture]]
    table = 'rates'
    on = ['insert', 'update', 'delete']
    type = 'rate.measured'
    data = { rate = 'this.parts / this.hours' }";

#[tokio::test]
async fn a_row_that_cannot_be_captured_is_recorded_and_the_others_are_captured() {
    let plant = Plant::with(RATES, RATES_MAPPING).await;

    let inserted = plant.events_after("insert into rates values (1, 8, 2), (2, 8, 0), (3, 9, 3)").await;
    let updated = plant.types_after("update rates set note = 'seen'").await;
    let deleted = plant.types_after("delete from rates").await;

    assert_eq!(inserted.iter().map(|event| event["data"]["rate"].clone()).collect::<Vec<_>>(), [4, 3]);
    assert_eq!((updated.len(), deleted.len()), (2, 2));
    let errors: Vec<_> =
        plant.errors().await.into_iter().map(|(operation, key, state, _)| (operation, key, state)).collect();
    let error = |operation: &str| (operation.to_owned(), Some("2".to_owned()), "22012".to_owned());
    assert_eq!(errors, [error("insert"), error("update"), error("delete")]);
}

#[tokio::test]
async fn a_statement_of_many_bad_rows_keeps_ten_thousand_of_them_and_counts_the_rest() {
    let plant = Plant::with(RATES, RATES_MAPPING).await;

    let types = plant.types_after("insert into rates select n, 1, n % 2 from generate_series(1, 20400) n").await;

    assert_eq!(types.len(), 10_200);
    let errors = plant.errors().await;
    assert_eq!(errors.len(), 10_001);
    assert!(errors[10_000].3.starts_with("200 more rows"), "{}", errors[10_000].3);
}

#[tokio::test]
async fn a_column_dropped_after_attaching_does_not_stop_the_plant() {
    let plant = Plant::with(RATES, RATES_MAPPING).await;
    plant.run("alter table rates drop column hours").await;

    let types = plant.types_after("insert into rates values (1, 8), (2, 9)").await;

    assert_eq!((types.len(), plant.count("select count(*) from rates").await), (0, 2));
    let errors = plant.errors().await;
    let found: Vec<_> = errors.iter().map(|(_, key, state, _)| (key.as_deref(), state.as_str())).collect();
    assert_eq!(found, [(Some("1"), "42703"), (Some("2"), "42703")]);
}

#[tokio::test]
async fn a_table_renamed_after_attaching_is_still_captured_and_never_stopped() {
    let mut plant = Plant::with(RATES, RATES_MAPPING).await;
    plant.run("alter table rates rename to measurements").await;
    plant.client = connect(&plant.url).await;

    let types = plant.types_after("insert into measurements values (1, 8, 2); update measurements set parts = 4").await;
    plant.run("insert into measurements values (2, 8, 0)").await;

    assert_eq!(types.len(), 2);
    assert_eq!(plant.count("select count(*) from measurements").await, 2);
    assert_eq!(plant.errors().await.len(), 1);
}

#[tokio::test]
async fn the_plant_works_on_when_not_even_the_failure_can_be_recorded() {
    let plant = Plant::with(RATES, RATES_MAPPING).await;
    plant.run("alter table andon.capture_errors rename to elsewhere; alter table andon.events rename to gone").await;

    plant.run("insert into rates values (1, 8, 2); update rates set parts = 3; delete from rates").await;

    assert_eq!(plant.count("select count(*) from rates").await, 0);
}

#[tokio::test]
async fn a_row_whose_key_changes_is_captured_as_deleted_and_created() {
    let plant = Plant::with(
        RATES,
        "[source]
         name = 'line'
         [table.rates]
         columns = ['id']
         [[capture]]
         table = 'rates'
         on = 'insert'
         type = 'rate.created'
         [[capture]]
         table = 'rates'
         on = 'update'
         type = 'rate.updated'
         [[capture]]
         table = 'rates'
         on = 'delete'
         type = 'rate.deleted'",
    )
    .await;
    plant.run("insert into rates values (1), (2)").await;

    let mut events =
        plant.events_after("update rates set id = case id when 2 then 3 else id end, note = 'moved'").await;

    events.sort_by_key(|event| event["entity_id"].to_string());
    let seen: Vec<_> = events.iter().map(|event| format!("{} {}", event["type"], event["entity_id"])).collect();
    assert_eq!(seen, ["\"rate.updated\" \"1\"", "\"rate.deleted\" \"2\"", "\"rate.created\" \"3\""]);
}

#[tokio::test]
async fn a_partitioned_table_is_captured_and_so_are_its_future_partitions() {
    let plant = Plant::with(
        "create table logs (id int, day date, state text, primary key (id, day)) partition by range (day);
         create table logs_1 partition of logs for values from ('2026-01-01') to ('2026-02-01')",
        "[source]
         name = 'line'
         [[capture]]
         table = 'logs'
         on = ['insert', 'update', 'delete']
         type = 'log.changed'
         columns = ['state']",
    )
    .await;

    plant.run("create table logs_2 partition of logs for values from ('2026-02-01') to ('2026-03-01')").await;
    let types = plant
        .types_after(
            "insert into logs values (1, '2026-01-05', 'a'), (2, '2026-02-05', 'a');
             update logs set state = 'b'; update logs_2 set state = state; delete from logs_1",
        )
        .await;

    assert_eq!(types.len(), 5);
    assert_eq!(plant.errors().await, []);
}

#[tokio::test]
async fn two_keys_of_several_columns_are_two_entities_whatever_stands_in_them() {
    let plant = Plant::with(
        "create table lots (a text, b text, c int, primary key (a, b, c))",
        "[source]
         name = 'line'
         [[capture]]
         table = 'lots'
         on = 'insert'
         type = 'lot.made'",
    )
    .await;

    let events = plant
        .events_after("insert into lots values ('a/b', 'c', 1), ('a', 'b/c', 1), ('a~1b', 'c', 1), ('~', '/', 1), ('', '', 2), ('lot', '7', 3)")
        .await;

    let mut entities: Vec<_> = events.iter().map(|event| event["entity_id"].as_str().unwrap()).collect();
    entities.sort_unstable();
    assert_eq!(entities, ["//2", "a/b~1c/1", "a~01b/c/1", "a~1b/c/1", "lot/7/3", "~0/~1/1"]);
}

#[tokio::test]
async fn inherited_tables_and_tables_without_a_key_are_captured_row_by_row() {
    let plant = Plant::with(
        "create table machines (id int primary key, state text);
         create table lasers (watts int) inherits (machines);
         create table notes (text text, more json)",
        "[source]
         name = 'line'
         [[capture]]
         table = 'machines'
         on = 'update'
         type = 'machine.changed'
         [[capture]]
         table = 'notes'
         on = 'update'
         type = 'note.changed'
         entity_id = 'new.text'",
    )
    .await;

    let types = plant
        .types_after(
            "insert into machines values (1, 'idle'); insert into lasers values (2, 'idle', 400);
             update machines set state = 'running'; update lasers set state = 'idle';
             insert into notes values ('a', '{}'), ('b', '{}'); update notes set more = '{\"x\": 1}' where text = 'a'",
        )
        .await;

    assert_eq!(types, ["machine.changed", "machine.changed", "machine.changed", "note.changed"]);
    assert_eq!(plant.errors().await, []);
}

#[tokio::test]
async fn an_application_raises_its_own_event_and_a_bad_name_is_refused() {
    let plant = Plant::empty().await;

    let events = plant
        .events_after(
            "select andon.emit('shift.ended', '{\"parts\": 7}', 'acme', 'shift', 'S-1', '{\"site\": \"main\"}')",
        )
        .await;
    let refused = plant.client.batch_execute("select andon.emit('shift ended')").await.unwrap_err();

    assert_eq!(events[0]["data"], json!({"parts": 7}));
    assert_eq!((&events[0]["tenant"], &events[0]["entity_id"]), (&json!("acme"), &json!("S-1")));
    assert!(refused.as_db_error().unwrap().message().contains("'shift ended' is not a dotted name"));
}
