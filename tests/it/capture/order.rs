//! The order of cause and consequence. In: tables whose changes make the plant's own triggers, foreign keys and rules change others. Out:
//! whether the event of a change has a lower id than the events of what it brings about, and a warning where that cannot be had.

use andon::capture::Mapping;

use crate::support::plant::Plant;

/// Jobs and their operations: each change of the status makes an event that says the status.
const TABLES: &str = "
    create table jobs (id int primary key, status text not null default 'open', open_operations int not null default 0);
    create table operations (
        id int primary key, job_id int references jobs on delete cascade on update cascade, status text not null default 'open'
    );";

const MAPPING: &str = "
    [source]
    name = 'mes'
    [[capture]]
    table = 'jobs'
    on = ['insert', 'update', 'delete']
    entity_type = 'job'
    type_sql = \"'job.' || this.status\"
    [[capture]]
    table = 'operations'
    on = ['insert', 'update', 'delete']
    entity_type = 'operation'
    type_sql = \"'operation.' || this.status\"";

/// Releases a job that was just inserted.
const RELEASE: &str = "
    create function release() returns trigger language plpgsql as $$
    begin update jobs set status = 'released' where id = new.id and status = 'open'; return null; end $$;";

/// Completes a job once all of its operations are.
const COMPLETE: &str = "
    create function complete() returns trigger language plpgsql as $$
    begin
        update jobs set status = 'completed' where status <> 'completed'
            and not exists (select from operations o where o.job_id = jobs.id and o.status <> 'completed');
        return null;
    end $$;";

async fn plant(own: &str) -> Plant {
    Plant::with(&format!("{TABLES} {RELEASE} {COMPLETE} {own}"), MAPPING).await
}

/// Attaches the mapping to the plant, and returns what it warns of.
async fn warnings(own: &str) -> Vec<String> {
    let mut plant = Plant::empty().await;
    plant.run(&format!("{TABLES} {RELEASE} {COMPLETE} {own}")).await;
    plant.attach(MAPPING).await.warnings
}

#[tokio::test]
async fn what_a_plants_trigger_does_to_a_row_follows_the_event_of_the_row() {
    for own in [
        "create trigger release after insert on jobs for each row execute function release()",
        "create trigger \"#release\" after insert on jobs for each row execute function release()",
        "create constraint trigger aa after insert on jobs for each row execute function release()",
    ] {
        let plant = plant(own).await;

        let types = plant.clean_types_after("insert into jobs (id) values (1), (2)").await;

        assert_eq!(types, ["job.open", "job.released", "job.open", "job.released"], "{own}");
    }
}

#[tokio::test]
async fn what_a_plants_trigger_does_to_another_table_follows_its_cause() {
    for own in [
        "create trigger a after update on operations for each row execute function complete()",
        // It would fire before a trigger of Andon's for the statement, by its name.
        "create trigger a after update on operations for each statement execute function complete()",
        "create trigger zz after update of status on operations for each row when (new.status = 'completed') execute function complete()",
    ] {
        let plant = plant(own).await;
        plant.run("insert into jobs (id) values (1); insert into operations values (1, 1), (2, 1)").await;

        let first = plant.clean_types_after("update operations set status = 'completed' where id = 1").await;
        let last = plant.clean_types_after("update operations set status = 'completed' where id = 2").await;

        assert_eq!(
            (first, last),
            (
                vec!["operation.completed".to_owned()],
                vec!["operation.completed".to_owned(), "job.completed".to_owned()]
            ),
            "{own}"
        );
    }
}

#[tokio::test]
async fn a_partitioned_table_and_a_family_of_tables_keep_the_order_of_names_out_of_it() {
    let mut plant = Plant::empty().await;
    plant
        .run(
            "create table logs (id int, day int, state text, primary key (id, day)) partition by range (day);
             create table logs_1 partition of logs for values from (0) to (10);
             create table machines (id int primary key, state text);
             create table lasers () inherits (machines);
             create function seen() returns trigger language plpgsql as $$
             begin execute format('update %I set state = ''seen'' where id = $1', tg_argv[0]) using new.id; return null; end $$;
             create trigger aaa after insert on logs for each row execute function seen('logs');
             create trigger aaa after insert on lasers for each row execute function seen('machines')",
        )
        .await;
    let entry = |table: &str| {
        format!(
            "[[capture]]\ntable = '{table}'\non = ['insert', 'update']\nentity_type = 'it'\ntype_sql = \"'it.' || new.state\"\nentity_id = 'new.id'\n"
        )
    };
    plant.attach(&format!("[source]\nname = 'mes'\n{}{}", entry("logs"), entry("machines"))).await;

    let types = plant
        .clean_types_after("insert into logs values (1, 1, 'new'); insert into lasers values (2, 'new'), (3, 'new')")
        .await;

    assert_eq!(types, ["it.new", "it.seen", "it.new", "it.seen", "it.new", "it.seen"]);
}

#[tokio::test]
async fn what_a_foreign_key_deletes_or_changes_follows_its_cause() {
    for own in ["", "create trigger a after delete or update on jobs for each row execute function complete()"] {
        let plant = plant(own).await;
        plant
            .run("insert into jobs (id, status) values (1, 'completed'); insert into operations values (1, 1), (2, 1)")
            .await;

        let moved = plant.clean_types_after("update jobs set id = 7").await;
        let deleted = plant.clean_types_after("delete from jobs").await;

        // The key of the job changes: its event is that of a job that is gone and of one that has come.
        assert_eq!(moved, ["job.completed", "job.completed", "operation.open", "operation.open"], "{own}");
        assert_eq!(deleted, ["job.completed", "operation.open", "operation.open"], "{own}");
    }
}

#[tokio::test]
async fn a_table_without_triggers_of_the_plant_is_captured_statement_by_statement() {
    let plant = plant(
        "create function touch() returns trigger language plpgsql as $$ begin return new; end $$;
         create trigger a before insert on jobs for each row execute function touch();
         create trigger b after truncate on jobs for each statement execute function touch()",
    )
    .await;

    let names = "select count(*) from pg_trigger where tgname like 'andon_mes_%' and tgtype & 1 = 0";
    assert_eq!(plant.count(names).await, 6);
}

#[tokio::test]
async fn a_trigger_of_the_plant_for_the_statement_costs_no_row_by_row() {
    let own = "create trigger a after update on operations for each statement execute function complete()";
    let mut plant = plant("").await;
    plant.run("insert into jobs (id) values (1); insert into operations values (1, 1), (2, 1)").await;
    plant.run(own).await;
    let mapping = Mapping::parse("mes.toml", MAPPING).unwrap();
    let differences = andon::capture::inspect(&mut plant.client, &mapping).await.unwrap().differences;
    assert!(differences[0].starts_with("public.operations has the plant's trigger `a`"), "{differences:?}");

    plant.attach(MAPPING).await;
    let types = plant.clean_types_after("update operations set status = 'completed'").await;

    assert_eq!(types, ["operation.completed", "operation.completed", "job.completed"]);
    let first = "select count(*) from pg_trigger where tgname like '!andon_mes_%' and tgtype & 1 = 0";
    assert_eq!(plant.count(first).await, 3);
}

#[tokio::test]
async fn a_plants_trigger_that_comes_later_is_said_and_attaching_again_mends_the_order() {
    let mut plant = plant("").await;
    plant.run("create trigger release after insert on jobs for each row execute function release()").await;
    let mapping = Mapping::parse("mes.toml", MAPPING).unwrap();

    let differences = andon::capture::inspect(&mut plant.client, &mapping).await.unwrap().differences;
    assert!(
        differences[0]
            .starts_with("public.jobs has to be captured row by row since it has the plant's trigger `release`"),
        "{differences:?}"
    );
    plant.attach(MAPPING).await;
    let types = plant.clean_types_after("insert into jobs (id) values (1)").await;
    assert_eq!(types, ["job.open", "job.released"]);
    let old = "select count(*) from pg_trigger where tgrelid = 'jobs'::regclass and tgname like 'andon_%'";
    assert_eq!(plant.count(old).await, 0);

    // And back, once the plant has dropped its trigger.
    plant.run("drop trigger release on jobs").await;
    let differences = andon::capture::inspect(&mut plant.client, &mapping).await.unwrap().differences;
    assert!(differences[0].contains("public.jobs can be captured statement by statement again"), "{differences:?}");
    plant.attach(MAPPING).await;
    assert_eq!(plant.count(old).await, 3);
    assert_eq!(andon::capture::inspect(&mut plant.client, &mapping).await.unwrap().differences, [""; 0]);
}

#[tokio::test]
async fn an_order_that_cannot_be_had_is_a_warning_that_names_the_table_and_the_trigger() {
    let by_name =
        warnings("create trigger \" first\" after insert on jobs for each row execute function release()").await;
    assert_eq!(by_name.len(), 1, "{by_name:?}");
    assert!(by_name[0].starts_with("trigger ` first` on public.jobs fires before `!andon_mes_insert`"), "{by_name:?}");

    let before =
        warnings("create trigger c before update on operations for each row execute function complete()").await;
    assert_eq!(before.len(), 1, "{before:?}");
    assert!(before[0].starts_with("trigger `c` on public.operations writes to public.jobs before"), "{before:?}");

    let rule = warnings(
        "create rule r as on update to operations do also update jobs set open_operations = 0 where id = new.job_id",
    )
    .await;
    assert_eq!(rule.len(), 1, "{rule:?}");
    assert!(rule[0].starts_with("rule `r` on public.operations writes to public.jobs before"), "{rule:?}");

    let touch = "create function touch() returns trigger language plpgsql as $$ begin return new; end $$;
        create trigger touch before update on jobs for each row execute function touch();
        create trigger release after insert on jobs for each row execute function release()";
    assert_eq!(warnings(touch).await, [""; 0]);
}

#[tokio::test]
async fn a_key_that_changes_is_a_delete_and_an_insert_row_by_row_too() {
    for own in ["", "create trigger a after update on jobs for each row when (false) execute function release()"] {
        let plant = Plant::with(
            &format!("{TABLES} {RELEASE} {own}"),
            "[source]
             name = 'mes'
             [[capture]]
             table = 'jobs'
             on = 'delete'
             type = 'job.gone'
             [[capture]]
             table = 'jobs'
             on = 'update'
             type = 'job.changed'
             [[capture]]
             table = 'jobs'
             on = 'insert'
             type = 'job.come'
             data = { share = '1 / (new.open_operations - 9)' }",
        )
        .await;
        plant.run("insert into jobs (id) values (1)").await;

        let mut types = plant.clean_types_after("update jobs set id = 2").await;
        types.sort();
        assert_eq!(types, ["job.come", "job.gone"], "{own}");
        assert_eq!(plant.clean_types_after("update jobs set status = 'held'").await, ["job.changed"], "{own}");

        // What cannot be captured is kept as what it was, so that it can be captured again.
        plant.run("update jobs set id = 3, open_operations = 9").await;
        let kept =
            "select count(*) from andon.capture_errors where new_image is not null and old_image is null and key = '3'";
        assert_eq!(plant.count(kept).await, 1, "{own} {:?}", plant.errors().await);
        plant.run("alter table jobs rename column id to number; update jobs set status = 'open'").await;
        let kept = "select count(*) from andon.capture_errors where new_image ? 'number' and old_image ? 'number' and key = '3'";
        assert_eq!(plant.count(kept).await, 1, "{own} {:?}", plant.errors().await);
    }
}
