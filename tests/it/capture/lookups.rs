//! Lookups that fail while the plant works. In: columns that are renamed, tables that are gone, rights that are taken. Out: whether the event is
//! captured without what the lookup gives, what is said about it, and that an event is never one of something else.

use serde_json::Value;
use serde_json::json;

use crate::command::run_andon;
use crate::support::plant::Plant;

const SCHEMA: &str = "
    create table site (id int primary key, name text);
    create table cell (id int primary key, name text, site_id int);
    create table client (id int primary key, name text, tenant text);
    create table job (id int primary key, status text, cell_id int, client_id int);
    create table step (id int, job_id int, cell_id int) partition by range (id);
    create table step_all partition of step default;
    insert into site values (1, 'Chicago');
    insert into cell values (1, 'Laser 1', 1), (2, 'Saw', 1);
    insert into client values (1, 'Bolt', 'bolt');";

const MAPPING: &str = r#"
    [source]
    name = "mes"
    [[capture]]
    table = "job"
    on = ["insert", "update", "delete"]
    type = "job.changed"
    lookup = [
        { alias = "cell", table = "cell", on = "cell.id = this.cell_id" },
        { alias = "site", table = "site", on = "site.id = cell.site_id" },
        { alias = "client", table = "client", on = "client.id = this.client_id" },
    ]
    context = { cell = "cell.name", site = "site.name" }
    data = { status = "this.status", client = "client.name", where = "coalesce(cell.name, '?')" }
    [[capture]]
    table = "step"
    on = ["insert", "update", "delete"]
    type = "step.changed"
    entity_id = "this.id"
    lookup = [{ alias = "cell", table = "cell", on = "cell.id = this.cell_id" }]
    context = { cell = "cell.name" }
    data = { job = "this.job_id" }"#;

/// Returns the context and the data of each event that SQL makes.
async fn sent(plant: &Plant, sql: &str) -> Vec<(Value, Value)> {
    let events = plant.events_after(sql).await;
    events.into_iter().map(|mut event| (event["context"].take(), event["data"].take())).collect()
}

const JOBS: &str = "insert into job values (1, 'new', 1, 1), (2, 'new', 2, 1);
    update job set status = 'done' where id = 1; delete from job where id = 2";
const STEPS: &str = "insert into step values (1, 7, 1); update step set job_id = 8; delete from step";

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_that_fails_costs_what_it_gives_and_nothing_else() {
    for broken in [
        "alter table cell rename name to title",
        "alter table cell rename id to number",
        "alter table cell rename to cells",
        "drop table cell",
    ] {
        let plant = Plant::with(SCHEMA, MAPPING).await;
        plant.run(broken).await;

        let (jobs, steps) = (sent(&plant, JOBS).await, sent(&plant, STEPS).await);

        // The site is found through the cell, and goes with it.
        let job = |status: &str| (json!({}), json!({"status": status, "client": "Bolt", "where": "?"}));
        let step = |job: i32| (json!({}), json!({"job": job}));
        assert_eq!(jobs, [job("new"), job("new"), job("done"), job("new")], "{broken}");
        assert_eq!(steps, [step(7), step(8), step(8)], "{broken}");
        let errors = plant.errors().await;
        assert_eq!(errors.len(), 2, "one for each table and minute: {errors:?}");
        assert!(
            errors.iter().all(|(operation, _, _, said)| operation == "lookup" && said.contains("lookup `cell`: ")),
            "{errors:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_lookups_of_an_event_work_as_before() {
    let plant = Plant::with(SCHEMA, MAPPING).await;
    plant.run("alter table site rename to sites").await;

    let jobs = sent(&plant, JOBS).await;

    let expected = (json!({"cell": "Laser 1"}), json!({"status": "new", "client": "Bolt", "where": "Laser 1"}));
    assert_eq!(jobs[0], expected);
    assert_eq!(jobs.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_that_fails_is_a_fault_until_it_is_mended_and_no_event_is_sent_twice() {
    let mut plant = Plant::with(SCHEMA, MAPPING).await;
    plant.run("alter table cell rename name to title").await;
    plant.run(JOBS).await;
    let broken = run_andon(&plant.url, &["check"]);
    let too_early = run_andon(&plant.url, &["capture", "--again"]);
    plant.attach(&MAPPING.replace("cell.name", "cell.title")).await;

    let listed = run_andon(&plant.url, &["capture", "errors"]);
    let again = run_andon(&plant.url, &["capture", "--again"]);
    let check = run_andon(&plant.url, &["check"]);

    assert_eq!(broken.status, 1);
    assert!(broken.out.contains("events are captured without what a lookup gives"), "{broken:?}");
    assert!(broken.out.contains("lookup `cell`: column cell.name does not exist"), "{broken:?}");
    assert_eq!(too_early.status, 1, "{too_early:?}");
    assert!(listed.out.contains(" lookup "), "{listed:?}");
    assert_eq!((again.status, again.out.as_str()), (0, "recovered 1 changes, which made 0 events\n"), "{again:?}");
    assert!(!check.out.contains("FAULT   capture"), "{check:?}");
    assert_eq!(plant.count("select count(*) from andon.events").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_never_made_without_the_lookup_that_says_whose_it_is() {
    for required in ["tenant = 'client.tenant'", "entity_id = 'client.name'", "occurred_at = 'client.seen'"] {
        let mapping = format!(
            "[source]
            name = 'mes'
            [[capture]]
            table = 'job'
            on = 'insert'
            type = 'job.made'
            lookup = [{{ alias = 'client', table = 'client', on = 'client.id = new.client_id' }}]
            {required}
            data = {{ client = 'client.name' }}"
        );
        let mut plant = Plant::with(&format!("{SCHEMA} alter table client add seen timestamptz"), &mapping).await;
        plant.run("alter table client rename to clients; insert into job values (1, 'new', 1, 1)").await;
        let failed = plant.errors().await;
        plant.attach(&mapping.replace("table = 'client'", "table = 'clients'")).await;

        let again = run_andon(&plant.url, &["capture", "--again"]);

        assert_eq!(failed.len(), 1);
        assert_eq!(
            (failed[0].0.as_str(), failed[0].1.as_deref(), failed[0].2.as_str()),
            ("insert", Some("1"), "42P01")
        );
        assert_eq!(again.out, "recovered 1 changes, which made 1 events\n", "{again:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_whose_right_is_taken_costs_what_it_gives() {
    let mut plant = Plant::empty().await;
    plant.run(SCHEMA).await;
    let owner = format!("owner_{}", std::process::id());
    plant
        .run(&format!(
            "create role {owner}; grant all on schema andon to {owner};
             grant all on all tables in schema andon to {owner}; grant all on all functions in schema andon to {owner};
             alter table job owner to {owner}; alter table step owner to {owner}; alter table step_all owner to {owner};
             grant select on cell, site, client to {owner}; set role {owner}"
        ))
        .await;
    plant.attach(MAPPING).await;
    plant.run("reset role").await;
    plant.run(&format!("revoke select on cell from {owner}")).await;

    let jobs = sent(&plant, JOBS).await;

    assert_eq!(jobs[0].1, json!({"status": "new", "client": "Bolt", "where": "?"}));
    assert!(plant.errors().await[0].3.contains("permission denied for table cell"));
}
