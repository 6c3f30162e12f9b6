//! Migrations. In: databases in several states. Out: whether each of them ends up current, or is refused with the reason.

use andon::migrate::MigrateError;
use andon::migrate::migrate;
use andon::migrate::pending;
use rig::Postgres;

use crate::support::daemon;
use crate::support::plant::Plant;
use crate::support::plant::connect;

#[tokio::test]
async fn a_new_database_gets_everything_once_even_from_two_at_the_same_time() {
    let url = Postgres::shared().create_database().await.unwrap();
    let (mut one, mut two) = (connect(&url).await, connect(&url).await);

    let before = pending(&one).await.unwrap();
    let (first, second) = tokio::join!(migrate(&mut one), migrate(&mut two));

    let mut applied = first.unwrap();
    applied.extend(second.unwrap());
    assert_eq!(applied, before);
    assert_eq!(pending(&one).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn an_edited_migration_and_a_newer_database_are_refused() {
    let mut plant = Plant::empty().await;

    plant.run("insert into andon.migrations values (1000, '1000_future', 'x')").await;
    let newer = migrate(&mut plant.client).await.unwrap_err();
    plant.run("delete from andon.migrations where version = 1000; update andon.migrations set checksum = 'x' where version = 2").await;
    let edited = pending(&plant.client).await.unwrap_err();

    assert!(matches!(newer, MigrateError::Newer { found: 1000, .. }), "{newer}");
    assert!(matches!(&edited, MigrateError::Edited(name) if name == "0002_capture"), "{edited}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_refuses_an_older_schema_with_what_to_do_and_serves_a_newer_one() {
    let plant = Plant::empty().await;
    plant.run("create table kept as select * from andon.migrations order by version desc limit 1").await;
    plant.run("delete from andon.migrations where version = (select version from kept)").await;

    let refused = daemon::start(&plant.url).await.ready().await.unwrap_err().to_string();
    plant.run("insert into andon.migrations select * from kept").await;
    plant.run("insert into andon.migrations values (1000, '1000_future', 'x')").await;
    let served = daemon::start(&plant.url).await.ready().await;

    for part in ["schema andon is older than this version, which needs 00", "run `andon migrate`"] {
        assert!(refused.contains(part), "{refused}");
    }
    assert!(!refused.contains("lease"), "{refused}");
    served.unwrap();
}

#[tokio::test]
async fn a_partition_that_cannot_be_made_now_is_a_warning_and_the_log_goes_on() {
    let plant = Plant::empty().await;
    plant.run("alter sequence andon.events_id_seq restart with 2400000").await;
    let import = connect(&plant.url).await;
    import.batch_execute("begin; select andon.emit('a.b')").await.unwrap();
    let partitions = "select count(*) from andon.log_partitions() where low > 2400000";

    plant.run("select andon.extend_log(); select andon.emit('a.b')").await;
    let while_busy = plant.count(partitions).await;
    import.batch_execute("commit").await.unwrap();
    plant.run("select andon.extend_log()").await;

    assert_eq!(while_busy, 0);
    assert!(plant.count(partitions).await > 0);
    assert_eq!(plant.count("select count(*) from andon.events_default").await, 2);
}

#[tokio::test]
async fn what_holds_a_delivery_back_is_one_probe_of_the_index() {
    let plant = Plant::empty().await;
    plant.run("set enable_seqscan = off").await;
    let explain = "explain select from andon.deliveries where not exists (
        select from andon.parked_before(lane, entity_type, entity_id, event))";

    let rows = plant.client.query(explain, &[]).await.unwrap();

    let plan = rows.iter().map(|row| row.get(0)).collect::<Vec<String>>().join("\n");
    assert!(plan.contains("using deliveries_of_entity") && !plan.contains("parked_before"), "not inlined:\n{plan}");
}

#[tokio::test]
async fn a_role_that_writes_the_lanes_writes_the_names_at_brokers_without_new_grants() {
    let plant = Plant::empty().await;
    let count = "select count(*)::int8 from information_schema.role_table_grants where table_schema = 'andon'
        and table_name = 'broker_names' and grantee = current_database() || '_writer'";
    // As a version before this table leaves the schema, and a role that runs a daemon.
    plant
        .run(
            "drop table andon.broker_names;
            do $$ begin
                execute format('create role %I', current_database() || '_writer');
                execute format('grant select, insert, update, delete on andon.lanes to %I', current_database() || '_writer');
            end $$",
        )
        .await;

    plant.run(include_str!("../../migrations/0036_broker_names.sql")).await;

    let rights = plant.count(count).await;
    plant
        .run(
            "do $$ begin
                execute format('drop owned by %I', current_database() || '_writer');
                execute format('drop role %I', current_database() || '_writer');
            end $$",
        )
        .await;
    assert_eq!(rights, 4);
}
