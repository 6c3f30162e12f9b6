//! Servers and roles with which Andon cannot do its work. In: a hot standby, defaults that keep triggers from firing, rights that are missing.
//! Out: whether `andon check` names each of them, and what to do.

use rig::Postgres;

use crate::command::run_andon;
use crate::support::line::Line;
use crate::support::plant::Plant;
use crate::support::plant::connect;
use crate::support::role;
use crate::support::role::as_daemon;

/// Restarts a server so that it can only be read, as one that follows a primary.
pub(super) async fn turn_into_a_standby(server: &Postgres) {
    let admin = connect(&server.url("postgres")).await;
    admin.batch_execute("copy (select) to program 'cat > standby.signal'").await.unwrap();
    server.stop().unwrap();
    server.start_again().unwrap();
}

#[tokio::test]
async fn a_hot_standby_is_called_by_its_name() {
    let server = Postgres::start().unwrap();
    let line = Line::on(&server).await;
    turn_into_a_standby(&server).await;

    let check = run_andon(&line.url, &["check"]);
    let migrate = run_andon(&line.url, &["migrate"]);

    for (run, text) in [(&check, &check.out), (&migrate, &migrate.err)] {
        assert_eq!(run.status, 1, "{run:?}");
        assert!(text.contains("is a hot standby") && text.contains("connect to its primary"), "{run:?}");
    }
}

#[tokio::test]
async fn whatever_keeps_triggers_from_firing_is_a_fault_with_its_remedy() {
    let server = Postgres::start().unwrap();
    let line = Line::on(&server).await;
    let name = line.url.rsplit('/').next().unwrap();
    line.run(&format!(
        "create role mes login;
         alter role mes set session_replication_role = replica;
         alter database {name} set session_replication_role = 'replica';
         alter table andon.webhooks disable trigger andon_destinations;
         alter table andon.sources enable replica trigger andon_destinations;
         alter database {name} connection limit 5"
    ))
    .await;

    let check = run_andon(&line.url, &["check"]);

    assert_eq!(check.status, 1);
    for fault in [
        "role mes has session_replication_role = replica",
        &format!("database {name} has session_replication_role = replica"),
        "trigger andon_destinations of andon.webhooks is switched off",
        "run: alter table andon.webhooks enable trigger andon_destinations",
        "trigger andon_destinations of andon.sources fires for replication only",
        &format!("database {name} may have 5 connections"),
    ] {
        assert!(check.out.contains(fault), "{fault}: {}", check.out);
    }
}

#[tokio::test]
async fn a_table_that_a_subscription_fills_is_a_fault() {
    let server = Postgres::start_with(&["fsync=off", "wal_level=logical"]).unwrap();
    let (line, publisher) = (Line::on(&server).await, server.create_database().await.unwrap());
    let publisher = connect(&publisher).await;
    let tables = "create table cells (id int primary key, name text)";
    publisher.batch_execute(&format!("{tables}; create publication p for all tables")).await.unwrap();
    publisher.batch_execute("select pg_create_logical_replication_slot('s', 'pgoutput')").await.unwrap();
    let name: String = publisher.query_one("select current_database()::text", &[]).await.unwrap().get(0);
    line.run(tables).await;
    let mapping = "[source]\nname = 'line'\n[[capture]]\ntable = 'cells'\non = 'insert'\ntype = 'cell.made'\nentity_type = 'cell'\ndata = { name = 'new.name' }";
    let mut owner = connect(&line.url).await;
    let mapping = andon::capture::Mapping::parse("line.toml", mapping).unwrap_or_else(|problems| panic!("{problems}"));
    andon::capture::attach(&mut owner, &mapping).await.unwrap();
    line.run(&format!(
        "create subscription s connection 'host=127.0.0.1 port={} user=postgres dbname={name}' publication p
         with (create_slot = false, enabled = false)",
        server.port()
    ))
    .await;

    let check = run_andon(&line.url, &["check"]);
    line.run("alter subscription s set (slot_name = none); drop subscription s").await;

    assert!(check.status == 1 && check.out.contains("subscription s writes into public.cells"), "{check:?}");
}

#[tokio::test]
async fn each_right_that_is_missing_is_named_with_the_statement_that_gives_it() {
    let server = Postgres::start().unwrap();
    let line = Line::on(&server).await;
    let url = as_daemon(&line.url);
    let complete = run_andon(&url, &["check"]);
    assert!(complete.status == 0 && !complete.out.contains("rights"), "{complete:?}");

    for (right, of) in [
        ("usage", "schema andon"),
        ("select", "table andon.events"),
        ("delete", "table andon.lanes"),
        ("update", "table andon.tail"),
        ("update (reason)", "table andon.sources"),
        ("select", "table andon.webhooks"),
        ("execute", "function andon.drop_empty_log()"),
    ] {
        line.run(&format!("revoke {right} on {of} from andon_run")).await;
        let check = run_andon(&url, &["check"]);
        role::grant(&line.client).await;

        let fault = format!("andon_run lacks {right} on {of}; run: grant {right} on {of} to andon_run");
        assert!(check.status == 1 && check.out.contains(&fault), "{fault}: {check:?}");
    }
    line.run("revoke select on andon.events_default from andon_run").await;
    let slow = run_andon(&url, &["check"]);
    assert!(slow.status == 0 && slow.out.contains("warning rights"), "{slow:?}");
}

#[tokio::test]
async fn a_table_of_destinations_whose_rows_a_policy_hides_is_a_fault() {
    let plant = Plant::empty().await;
    plant.run("alter table andon.webhooks enable row level security").await;

    let check = run_andon(&as_daemon(&plant.url), &["check"]);

    assert!(check.status == 1 && check.out.contains("row-level security policy"), "{check:?}");
}
