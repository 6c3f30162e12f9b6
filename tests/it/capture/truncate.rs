//! Tables that are emptied as a whole, and rows that a foreign key deletes. In: `truncate`, and deletes that cascade. Out: whether an entry
//! for `truncate` makes one event for the table, and whether what it cannot have is refused by name.

use andon::capture::Mapping;
use serde_json::json;

use crate::command::run_andon;
use crate::support::plant::Plant;

const TABLES: &str = "
    create table jobs (id int primary key, tenant_id text, status text);
    create table parts (id int primary key, job_id int references jobs on delete cascade);
    create table logs (id int, day int, primary key (id, day)) partition by range (day);
    create table logs_1 partition of logs for values from (0) to (10);";

const MAPPING: &str = "
    [source]
    name = 'mes'
    site = 'main'
    tenant = 'this.tenant_id'
    [table.jobs]
    entity_type = 'order'
    columns = ['id', 'status']
    context = { cell = 'this.status' }
    [[capture]]
    table = 'jobs'
    on = ['insert', 'update', 'delete']
    type = 'job.changed'
    [[capture]]
    table = 'jobs'
    on = 'truncate'
    type = 'job.emptied'
    data = { by = 'session_user::text' }
    [[capture]]
    table = 'logs'
    on = 'truncate'
    tenant = \"'acme'\"
    type = 'log.emptied'";

async fn findings(entry: &str) -> Vec<String> {
    let mut plant = Plant::empty().await;
    plant.run(TABLES).await;
    let text = format!("[source]\nname = 'mes'\n[[capture]]\ntable = 'jobs'\ntype = 'job.emptied'\n{entry}");
    match Mapping::parse("mes.toml", &text) {
        Err(problems) => problems.0.iter().map(|finding| finding.message.clone()).collect(),
        Ok(mapping) => {
            let findings = andon::capture::check(&mut plant.client, &mapping).await.unwrap().findings;
            findings.into_iter().map(|finding| format!("{}: {}", finding.field, finding.message)).collect()
        }
    }
}

#[tokio::test]
async fn a_table_that_is_emptied_is_one_event_whatever_was_in_it() {
    let plant = Plant::with(TABLES, MAPPING).await;
    plant
        .run("insert into jobs select n, 'acme', 'open' from generate_series(1, 50) n; insert into logs values (1, 1)")
        .await;

    let emptied = plant.events_after("truncate jobs cascade; truncate jobs, parts; truncate logs").await;

    let types: Vec<_> = emptied.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["job.emptied", "job.emptied", "log.emptied"]);
    let first = &emptied[0];
    assert_eq!(
        (&first["entity_type"], &first["entity_id"], &first["tenant"]),
        (&json!("order"), &json!("*"), &json!(""))
    );
    assert_eq!((&first["context"], &first["data"]), (&json!({"site": "main"}), &json!({"by": "postgres"})));
    assert_eq!(emptied[2]["tenant"], "acme");
    assert_eq!(plant.errors().await, []);
}

#[tokio::test]
async fn the_event_of_an_emptied_table_precedes_what_the_plants_triggers_do_about_it() {
    let plant = Plant::with(
        &format!(
            "{TABLES}
             create function refill() returns trigger language plpgsql as $$
             begin insert into jobs values (1, 'acme', 'open'); return null; end $$;
             create trigger a after truncate on jobs for each statement execute function refill()"
        ),
        MAPPING,
    )
    .await;

    assert_eq!(plant.clean_types_after("truncate jobs cascade").await, ["job.emptied", "job.changed"]);
    // The table's rows are still captured together: what happens to the table as a whole decides nothing about them.
    let by_statement = "select count(*) from pg_trigger where tgname = 'andon_mes_update' and tgtype & 1 = 0";
    assert_eq!(plant.count(by_statement).await, 1);
}

#[tokio::test]
async fn a_truncate_without_an_entry_makes_no_event_and_one_that_fails_is_recorded_and_captured_again() {
    let mapping = "[source]
         name = 'mes'
         [[capture]]
         table = 'jobs'
         on = ['insert', 'delete']
         type = 'job.changed'
         [[capture]]
         table = 'logs'
         on = 'truncate'
         type = 'log.emptied'
         data = { number = '1 / (select count(*) from public.jobs)' }";
    let mut plant = Plant::with(TABLES, mapping).await;

    assert_eq!(plant.types_after("truncate jobs cascade; truncate logs").await, [""; 0]);

    let errors = plant.errors().await;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!((errors[0].0.as_str(), errors[0].2.as_str()), ("truncate", "22012"));
    plant.attach(&mapping.replace("1 / (", "1 + (")).await;
    let again = run_andon(&plant.url, &["capture", "--again"]);
    assert_eq!(again.out, "recovered 1 changes, which made 1 events\n", "{again:?}");
}

#[tokio::test]
async fn what_a_truncate_cannot_have_is_refused_by_name() {
    let refused = |found: &[String], field: &str| found.iter().any(|it| it.starts_with(field) && it.contains("no row"));

    let found = findings("on = 'truncate'\ncolumns = ['status']\nwhen = \"old.status = 'open'\"\ndata = { it = 'this.id', ids = 'new.id' }").await;
    for field in ["when", "columns.status", "data.it", "data.ids"] {
        assert!(refused(&found, field), "{field}: {found:?}");
    }
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(findings("on = ['delete', 'truncate']").await[0].starts_with("truncate needs an entry of its own"));
    assert!(findings("on = 'truncate'\nof = ['status']").await[0].starts_with("only an update has changed columns"));
    assert!(findings("on = 'drop'").await[0].contains("use insert, update, delete or truncate"));
}

#[tokio::test]
async fn a_trigger_for_truncate_is_compared_and_removed_like_any_other() {
    let mut plant = Plant::with(TABLES, MAPPING).await;
    let mapping = Mapping::parse("mes.toml", MAPPING).unwrap();
    plant.run("alter table jobs disable trigger \"!andon_mes_truncate\"").await;

    let differences = andon::capture::inspect(&mut plant.client, &mapping).await.unwrap().differences;

    assert_eq!(differences, ["trigger \"!andon_mes_truncate\" on public.jobs is disabled"]);
    plant.attach(MAPPING).await;
    assert_eq!(plant.clean_types_after("truncate jobs cascade").await, ["job.emptied"]);
    andon::capture::detach(&mut plant.client, "mes").await.unwrap();
    assert_eq!(plant.count("select count(*) from pg_trigger where tgname like '%andon_mes%'").await, 0);
}

#[tokio::test]
async fn a_look_up_that_finds_nothing_in_a_cascade_is_a_warning_and_the_row_can_carry_what_it_needs() {
    let mut plant = Plant::empty().await;
    plant
        .run(
            "create table jobs (id int primary key, number text);
             create table parts (id int primary key, job_number text, job_id int references jobs on delete cascade);
             create table steps (id int primary key, part_id int references parts on delete cascade, cell_id int);
             create table cells (id int primary key, name text)",
        )
        .await;
    let mapping = "
        [source]
        name = 'mes'
        [table.steps]
        lookup = [
            { alias = 'part', table = 'parts', on = 'part.id = this.part_id' },
            { alias = 'job', table = 'jobs', on = 'job.id = part.job_id' },
            { alias = 'cell', table = 'cells', on = 'cell.id = this.cell_id' },
        ]
        context = { cell = 'cell.name' }
        [table.parts]
        lookup = [{ alias = 'job', table = 'jobs', on = 'job.id = this.job_id' }]
        data = { job_number = 'this.job_number' }
        [[capture]]
        table = 'jobs'
        on = 'delete'
        type = 'job.deleted'
        [[capture]]
        table = 'parts'
        on = 'delete'
        type = 'part.deleted'
        [[capture]]
        table = 'parts'
        on = 'insert'
        type = 'part.created'
        data = { job = 'job.number' }
        [[capture]]
        table = 'steps'
        on = 'delete'
        type = 'step.deleted'
        data = { job = 'job.number' }";

    let warnings = plant.attach(mapping).await.warnings;

    // What reads no parent warns of none: a look-up that an entry does not use, an insert, and a table that takes nothing along.
    let about: Vec<String> =
        warnings.iter().map(|it| it.split(" finds").next().unwrap_or_default().to_owned()).collect();
    assert_eq!(
        about,
        ["look-up `part` of the deletes of public.steps", "look-up `job` of the deletes of public.steps"]
    );
    plant
        .run("insert into jobs values (1, 'J-1'); insert into parts values (1, 'J-1', 1); insert into steps values (1, 1, 1)")
        .await;
    let events = plant.events_after("delete from jobs").await;
    let told: Vec<String> = events.iter().map(|event| format!("{} {}", event["type"], event["data"])).collect();
    assert_eq!(
        told,
        ["\"job.deleted\" {}", "\"part.deleted\" {\"job_number\":\"J-1\"}", "\"step.deleted\" {\"job\":null}"]
    );
}
