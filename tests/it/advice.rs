//! What is said to somebody who may not do what he tries, or who is told what to do next. In: roles without rights, and faults of which nothing
//! is kept. Out: whether the message names a cure, and one that works.

use std::time::Duration;

use serde_json::json;

use crate::command::run_andon;
use crate::secrets::KeyFiles;
use crate::support::daemon;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::plant::ERYXON;
use crate::support::plant::Plant;
use crate::support::plant::connect;
use crate::support::role;
use crate::support::role::as_daemon;

/// Returns what PostgreSQL says to a role of that SQL.
async fn refusal(url: &str, role: &str, sql: &str) -> String {
    let client = connect(&url.replace("//postgres@", &format!("//{role}@"))).await;
    let error = client.batch_execute(sql).await.unwrap_err();
    error.as_db_error().unwrap().message().to_owned()
}

#[tokio::test]
async fn a_mapping_whose_schema_the_role_may_not_use_is_not_said_to_be_wrong() {
    let plant = Plant::built().await;
    role::grant(&plant.client).await;
    plant.run("revoke usage on schema public from public, andon_run").await;

    let run = run_andon(&as_daemon(&plant.url), &["check", "--source", ERYXON]);

    assert_eq!(run.status, 1, "{run:?}");
    assert!(run.out.contains("run: grant usage on schema public to andon_run"), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_seal_is_told_who_may() {
    let files = KeyFiles::new("denied", &["plant"]);
    let line = Line::new().await;
    line.webhook("http://127.0.0.1:9/", json!({})).await;
    line.run("update andon.webhooks set name = 'erp'").await;
    let url = as_daemon(&line.url);

    let denied = [
        files.set(&url, "plant", &["--webhook", "erp", "secret_key"], "x"),
        files.run(&url, "plant", &["secrets", "rotate-key"]),
        files.run(&url, "plant", &["webhooks", "rotate-secret", "erp", "--overlap", "1h"]),
        files.run(&url, "plant", &["capture", "--again"]),
    ];
    let keyless = files.run(&line.url, "", &["secrets", "rotate-key"]);
    let check = files.run(&line.url, "", &["check"]);

    for run in denied {
        assert_eq!(run.status, 1, "{run:?}");
        assert!(
            run.err.contains("permission denied") && run.err.contains("; run it as the owner of schema andon"),
            "{run:?}"
        );
    }
    for said in [keyless.err, check.out] {
        assert!(said.contains("name it") && said.contains("start the daemons again"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_kept_is_not_to_be_captured_again() {
    let line = Line::new().await;
    line.run(
        "insert into andon.capture_errors (source, table_name, operation, sqlstate, message, key)
        values ('mes', 'public.jobs', 'insert', '22023', 'odd', null)",
    )
    .await;

    let daemon = daemon::start(&line.url).await;
    let told = || daemon.log().lines().find(|it| it.contains("changes could not be captured")).map(str::to_owned);
    let mut clock = tokio::time::interval(Duration::from_millis(50));
    let end = tokio::time::Instant::now() + PATIENCE;
    while told().is_none() {
        assert!(tokio::time::Instant::now() < end, "{}", daemon.log());
        clock.tick().await;
    }

    let told = told().unwrap();
    assert!(told.contains("andon capture acknowledge") && !told.contains("--again"), "{told}");
}

#[tokio::test]
async fn what_emit_advises_for_a_tenant_is_what_grants_takes() {
    let plant = Plant::empty().await;
    plant.run(&role::printed(&["--role", "adviser", "--for", "emit", "--tenant", "acme"])).await;
    let emit = |tenant: &str| format!("select andon.emit('shift.handover', tenant => {tenant})");

    let quoted = refusal(&plant.url, "adviser", &emit("'it''s'")).await;
    let blank = refusal(&plant.url, "adviser", &emit("'acme '")).await;
    let long = refusal(&plant.url, "adviser", &emit("repeat('acme', 200)")).await;

    assert!(quoted.ends_with(r"andon grants --role 'adviser' --for emit --tenant 'it'\''s'"), "{quoted}");
    assert!(quoted.contains("with --tenant for each other tenant that the role is to keep"), "{quoted}");
    assert!(blank.contains("it has a blank at an end, and no destination has such a tenant"), "{blank}");
    assert!(long.ends_with("it is longer than 512 bytes, and no destination has such a tenant"), "{long}");
}

#[tokio::test]
async fn whoever_may_make_no_role_is_told_what_a_superuser_runs() {
    let plant = Plant::empty().await;
    plant.run(&role::printed(&["--role", "plain_owner", "--for", "emit", "--tenant", "acme"])).await;

    for (purpose, made) in [("run", "create role \"New One\" login"), ("emit", "create role \"New One\" login")] {
        let tenant: &[&str] = if purpose == "emit" { &["--tenant", "acme"] } else { &[] };
        let sql = role::printed(&[&["--role", "New One", "--for", purpose], tenant].concat());
        let refused = refusal(&plant.url, "plain_owner", &sql).await;
        assert_eq!(refused, format!("plain_owner may make no role; a superuser runs this first: {made}"));
    }
}
