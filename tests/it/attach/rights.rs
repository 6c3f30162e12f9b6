//! What the owner of the capture functions may do. In: a source that a plain role has attached, and rights that somebody takes away. Out: whether
//! `andon check` and the daemon's look say so before a change is lost.

use std::time::Duration;

use andon::capture::watch::Look;
use andon::capture::watch::look;

use crate::command::file;
use crate::command::run_andon;
use crate::support::plant::Plant;

const SCHEMA: &str = "create schema mes; create table mes.jobs (id int primary key, cell int, status text);
    create table mes.cells (id int primary key, name text); insert into mes.cells values (1, 'Laser')";
const MAPPING: &str = "[source]
name = 'mes'
[[capture]]
table = 'mes.jobs'
on = 'insert'
type = 'job.created'
lookup = [{ alias = 'cell', table = 'mes.cells', on = 'cell.id = this.cell' }]
context = { cell = 'cell.name' }";

/// Returns a plant that a role without other rights than README's owner owns, and that role.
async fn owned() -> (Plant, String) {
    let plant = Plant::empty().await;
    plant.run(SCHEMA).await;
    let owner = format!("owner_{}", plant.url.rsplit('/').next().unwrap());
    plant
        .run(&format!(
            "create role {owner} login; alter schema mes owner to {owner}; alter table mes.jobs owner to {owner};
             alter table mes.cells owner to {owner}; grant usage, create on schema andon to {owner};
             grant all on all tables in schema andon to {owner}; grant execute on all functions in schema andon to {owner}"
        ))
        .await;
    (plant, owner)
}

#[tokio::test]
async fn a_right_that_the_capture_functions_lose_is_said_before_a_change_is_lost() {
    let (mut plant, owner) = owned().await;
    let path = file("rights.toml", MAPPING);
    let url = plant.url.replace("//postgres@", &format!("//{owner}@"));
    let attached = run_andon(&url, &["attach", "--source", &path]);
    assert!(attached.status == 0 && !attached.out.contains("warning"), "{attached:?}");

    for (right, of, back) in [
        ("usage", "schema andon", owner.as_str()),
        ("insert", "table andon.events", &owner),
        ("execute", "function andon.capture_failed(text,text,text,oid,text[],text,text,jsonb,jsonb)", &owner),
        ("execute", "function andon.lookup_failed(text,text,oid,text,text)", &owner),
        ("usage", "schema mes", &owner),
        ("select", "table mes.cells", &owner),
    ] {
        plant.run(&format!("revoke {right} on {of} from {owner}")).await;
        let check = run_andon(&plant.url, &["check"]);
        let looks = look(&mut plant.client, Duration::ZERO).await.unwrap();
        let lacks = if right == "select" { "select (id, name)" } else { right };
        let said = format!("lacks {lacks} on {of}; run: grant {lacks} on {of} to {owner}");
        plant.run(&format!("grant {right} on {of} to {back}")).await;

        let line = check.out.lines().find(|line| line.contains(&said)).unwrap_or_else(|| panic!("{said}: {check:?}"));
        assert!(check.status == 1 && line.starts_with("FAULT   source"), "{check:?}");
        assert!(!line.contains("andon attach"), "attaching again mends no right: {line}");
        assert!(matches!(&looks[0].1, Look::Differs(reason) if reason.contains(&said)), "{looks:?}");
    }
    let check = run_andon(&plant.url, &["check"]);
    assert!(check.status == 0 && check.out.contains("mes fits the database"), "{check:?}");
}

#[tokio::test]
async fn row_security_that_hides_what_is_looked_up_is_a_warning() {
    let (plant, owner) = owned().await;
    let path = file("row_security.toml", MAPPING);
    let url = plant.url.replace("//postgres@", &format!("//{owner}@"));
    let attached = run_andon(&url, &["attach", "--source", &path]);
    assert_eq!(attached.status, 0, "{attached:?}");

    plant.run("alter table mes.cells enable row level security; create policy mine on mes.cells using (name = current_setting('app.cell', true))").await;
    let enabled = run_andon(&plant.url, &["check"]);
    plant.run("alter table mes.cells force row level security").await;
    let unpinned = run_andon(&plant.url, &["check"]);
    let attached = run_andon(&url, &["attach", "--source", &path]);
    let forced = run_andon(&plant.url, &["check"]);
    plant.run(&format!("alter role {owner} bypassrls")).await;
    let bypassed = run_andon(&plant.url, &["check"]);

    let said = format!("row-level security of mes.cells holds for {owner}");
    assert!(!enabled.out.contains(&said), "the owner sees all rows: {enabled:?}");
    assert!(
        unpinned.status == 1 && unpinned.out.contains("other `set` clauses"),
        "what a session sees is pinned: {unpinned:?}"
    );
    assert_eq!(attached.status, 0, "{attached:?}");
    let line = forced.out.lines().find(|line| line.contains(&said)).unwrap_or_else(|| panic!("{forced:?}"));
    assert!(forced.status == 0 && line.starts_with("warning source"), "{line}");
    assert!(!bypassed.out.contains(&said), "{bypassed:?}");
}
