//! The command line as integrators and operators use it. In: the program itself, on a real PostgreSQL. Out: what it prints, and its exit
//! status.

use std::net::TcpListener;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::time::Duration;

use crate::support::plant::ERYXON;
use crate::support::plant::Plant;
use crate::support::plant::SCHEMA;
use crate::support::plant::connect;
use crate::support::role::as_daemon;
use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use rig::Postgres;
use rig::reference::System;
use serde_json::Value;
use tokio::io::AsyncBufReadExt;
use tokio::io::BufReader;
use tokio::time::timeout;

const TENANT: &str = "00000000-0000-0000-0000-00000000000a";

/// The exit status of the program, and the text that it printed.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the program in an empty environment, away from the repository's own configuration.
pub(crate) fn run_andon(url: &str, arguments: &[&str]) -> Run {
    // The tests own their databases as a superuser, which no plant should.
    let is_superuser = arguments.first() == Some(&"attach") && url.contains("//postgres@");
    let flag: &[&str] = if is_superuser { &["--as-superuser"] } else { &[] };
    run_andon_with(url, &[arguments, flag].concat(), &[])
}

/// Does the same with these variables.
pub(crate) fn run_andon_with(url: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_andon"));
    command.env_clear().env("DATABASE_URL", url).current_dir(std::env::temp_dir()).args(arguments);
    command.envs([rig::daemon::allow_loopback()]).envs(variables.iter().copied());
    if arguments.first() == Some(&"check") && !arguments.contains(&"--timeout") {
        // The tests of other things than its time must bear a busy machine.
        command.args(["--timeout", "60s"]);
    }
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { status: status.code().unwrap(), out: text(stdout), err: text(stderr) }
}

/// Writes a file for the program to read, and returns its path.
pub(crate) fn file(name: &str, text: &str) -> String {
    // The files go below the build's own directory, where they disturb nobody and need no cleaning up.
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_database_is_migrated_attached_checked_and_detached() {
    let url = Postgres::shared().create_database().await.unwrap();
    connect(&url).await.batch_execute(SCHEMA).await.unwrap();

    let unmigrated = run_andon(&url, &["check"]);
    let migrated = run_andon(&url, &["migrate"]);
    let again = run_andon(&url, &["migrate"]);
    let dry = run_andon(&url, &["attach", "--source", ERYXON, "--dry-run"]);
    let unattached = run_andon(&url, &["check"]);
    let attached = run_andon(&url, &["attach", "--source", ERYXON]);
    let good = run_andon(&url, &["check"]);
    let detached = run_andon(&url, &["detach", "--source", ERYXON]);
    let gone = run_andon(&url, &["detach", "--source", "eryxon"]);

    assert!(unmigrated.status == 1 && unmigrated.out.contains("run `andon migrate`"), "{unmigrated:?}");
    assert!(migrated.status == 0 && migrated.out.starts_with("applied 0001_andon\n"), "{migrated:?}");
    assert_eq!((again.status, again.out.as_str()), (0, "schema andon is up to date\n"));
    assert!(dry.status == 0 && dry.out.contains("create or replace trigger andon_eryxon_insert"), "{}", dry.err);
    assert!(unattached.status == 0 && unattached.out.contains("warning source"), "{unattached:?}");
    assert!(attached.status == 0 && attached.out.contains("created    public.jobs"), "{attached:?}");
    assert!(good.status == 0 && good.out.contains("ok      source          eryxon fits the database"), "{good:?}");
    assert!(detached.status == 0 && detached.out.contains("dropped    public.jobs"), "{detached:?}");
    assert!(gone.status == 1 && gone.err.contains("is not attached"), "{gone:?}");
}

#[tokio::test]
async fn a_first_mapping_is_proposed_that_can_be_attached_as_it_is() {
    for name in rig::reference::system::names() {
        let plant = Plant::empty().await;
        plant.run(&System::find(name).unwrap().schema).await;

        let proposed = run_andon(&plant.url, &["source", "init", "--name", name]);
        let mapping = file(&format!("{name}.toml"), &proposed.out);
        let checked = run_andon(&plant.url, &["check", "--source", &mapping]);
        let attached = run_andon(&plant.url, &["attach", "--source", &mapping]);

        std::fs::remove_file(mapping).unwrap();
        assert_eq!(proposed.status, 0, "{}", proposed.err);
        assert!(checked.status == 0 && checked.out.contains("fits the database"), "{}\n{}", checked.out, proposed.out);
        assert_eq!(attached.status, 0, "{}\n{}", attached.err, proposed.out);
        if name == "eryxon" {
            insta::assert_snapshot!("source_init_eryxon", proposed.out);
        }
    }
}

#[tokio::test]
async fn a_database_without_anything_to_propose_is_told_so() {
    let plant = Plant::empty().await;
    plant.run("create table notes (text text); create table colours (id int primary key)").await;

    let proposed = run_andon(&plant.url, &["source", "init"]);

    assert_eq!((proposed.status, proposed.out.as_str()), (1, ""));
    for expected in [
        "--table",
        "no primary key, so that an entry needs an entity_id:\n#   notes",
        "no log of what happened:\n#   colours",
    ] {
        assert!(proposed.err.contains(expected), "{}", proposed.err);
    }
}

#[tokio::test]
async fn a_mapping_is_explained_with_a_database_and_without() {
    let plant = Plant::built().await;

    let mut alone = Command::new(env!("CARGO_BIN_EXE_andon"));
    alone.env_clear().current_dir(std::env::temp_dir()).args(["check", "--source", ERYXON, "--explain"]);
    let alone = String::from_utf8(alone.output().unwrap().stdout).unwrap();
    let typed = run_andon(&plant.url, &["check", "--source", ERYXON, "--explain"]);

    assert!(
        alone.contains("eryxon/chicago") || alone.contains("acme/chicago/fabrication/laser_1/job/completed"),
        "{alone}"
    );
    assert!(alone.contains(r#""job_number": "<job.job_number>""#), "{alone}");
    assert!(typed.status == 0 && typed.out.contains("fits the database"), "{typed:?}");
    assert!(typed.out.contains(r#""id": "<uuid>""#) && typed.out.contains(r#""quantity": "<int4>""#), "{}", typed.out);
}

#[tokio::test]
async fn a_check_tells_every_fault_at_once() {
    let plant = Plant::attached().await;
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    plant
        .run(&format!(
            "insert into mqtt_publishers (tenant_id, name, broker_url, port, topic_pattern, events) values
                ('{TENANT}', 'wild', '127.0.0.1', 1883, '{{site}}/#/{{cel}}', '{{*}}'),
                ('{TENANT}', 'away', '127.0.0.1', {closed}, '{{site}}/{{event}}', '{{*}}');
             insert into webhooks (tenant_id, url, secret_key, events) values ('{TENANT}', 'ftp://erp', 'secret', '{{*}}');
             alter table jobs rename column customer to client"
        ))
        .await;
    let config = file("faults.toml", "[mqtt]\nwindow = 0\n[web]\n");

    let run = run_andon(&plant.url, &["check", "--config", &config]);

    std::fs::remove_file(config).unwrap();
    assert_eq!(run.status, 1, "{run:?}");
    for expected in [
        "FAULT   configuration   mqtt.window: `0` is not a whole number",
        "FAULT   configuration   web: unknown section",
        "column 8: `#` is a wildcard",
        "column 10: unknown placeholder `{cel}`; did you mean `{cell}`?",
        "FAULT   broker          away at 127.0.0.1:",
        "ftp://erp",
        "customer",
    ] {
        assert!(run.out.contains(expected), "{expected} is not in\n{}", run.out);
    }
}

#[tokio::test]
async fn a_mapping_is_checked_before_it_is_attached() {
    let plant = Plant::built().await;
    let text = std::fs::read_to_string(ERYXON).unwrap();
    let bad = file("bad.toml", &text.replace("new.deleted_at is not null", "new.deleted is not null"));

    let good = run_andon(&plant.url, &["check", "--source", ERYXON]);
    let found = run_andon(&plant.url, &["check", "--source", &bad]);
    let refused = run_andon(&plant.url, &["attach", "--source", &bad]);
    let absent = run_andon(&plant.url, &["attach", "--source", "absent.toml"]);

    std::fs::remove_file(bad).unwrap();
    assert!(good.status == 0 && good.out.contains("fits the database"), "{good:?}");
    assert!(found.status == 1 && found.out.contains("FAULT   mapping"), "{found:?}");
    assert!(refused.status == 1 && refused.err.contains("the mapping does not fit the database"), "{refused:?}");
    assert!(absent.status == 2 && absent.err.contains("absent.toml"), "{absent:?}");
}

#[tokio::test]
async fn the_sql_of_the_readme_does_what_it_says() {
    let plant = Plant::empty().await;
    let readme = include_str!("../../README.md");

    let blocks: Vec<&str> = readme.split("```sql").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let inline = readme.split('`').filter(|text| text.starts_with("select "));
    for sql in blocks.iter().copied().chain(inline) {
        plant.run(&sql.replace('…', "")).await;
    }

    let run = run_andon(&plant.url, &["check"]);
    assert_eq!(plant.count("select count(*) from andon.events where type = 'shift.handover'").await, 1);
    assert!(run.out.contains("ok      webhook         erp: fit to be called"), "{run:?}");
    assert!(run.out.contains("broker          plant at broker.plant:1883"), "{run:?}");
    assert!(!run.out.contains("FAULT   destination"), "{run:?}");
}

#[tokio::test]
async fn a_signal_stops_it_in_order_whether_the_database_is_there_or_not() {
    let there = Plant::empty().await.url;
    let away = "postgres://andon:hunter2@127.0.0.1:1/mes".to_owned();

    for (url, signal, mark) in [(there, Signal::SIGTERM, "starting"), (away, Signal::SIGINT, "WARN")] {
        let log = timeout(Duration::from_secs(30), log_until_stopped(&url, signal, mark)).await.unwrap();

        assert!(log.iter().any(|line| line["signal"] == signal.as_str()), "{log:?}");
        assert_eq!(log.last().unwrap()["message"], "stopped");
        assert!(!log.iter().any(|line| line.to_string().contains("hunter2")), "{log:?}");
    }
}

/// Starts a gateway, sends it a signal as soon as it has logged `mark`, waits for it to end with status 0, and returns its log.
async fn log_until_stopped(url: &str, signal: Signal, mark: &str) -> Vec<Value> {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_andon"));
    command.env_clear().env("ANDON_DATABASE_URL", as_daemon(url)).current_dir(std::env::temp_dir());
    command.args(["run", "--log", "json"]).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut log: Vec<Value> = Vec::new();
    let mut is_signalled = false;
    while let Some(line) = lines.next_line().await.unwrap() {
        log.push(serde_json::from_str(&line).unwrap());
        if !is_signalled && line.contains(mark) {
            is_signalled = true;
            kill(Pid::from_raw(child.id().unwrap().try_into().unwrap()), signal).unwrap();
        }
    }
    assert_eq!(child.wait().await.unwrap().code(), Some(0), "{log:?}");
    log
}

#[test]
fn bad_usage_has_a_status_of_its_own_and_a_password_is_never_shown() {
    let url = "postgres://andon:hunter2@127.0.0.1:1/mes";
    let secret = file("secret.toml", "[database]\nurl = \"postgres://andon:hunter2@db\" mes\n");

    let unknown = run_andon(url, &["rum"]);
    let unconfigured = run_andon("", &["run"]);
    let misplaced = run_andon(url, &["run", "--config", "/nonexistent.toml"]);
    let broken = run_andon(url, &["run", "--config", &secret]);
    let away = run_andon(url, &["migrate"]);
    let checked = run_andon(url, &["check"]);

    std::fs::remove_file(secret).unwrap();
    assert_eq!((unknown.status, unconfigured.status, misplaced.status, broken.status), (2, 2, 2, 2));
    assert!(unconfigured.err.contains("database.url: is not set"), "{unconfigured:?}");
    assert!(misplaced.err.contains("cannot read configuration `/nonexistent.toml`"), "{misplaced:?}");
    assert!(broken.err.contains("is not TOML: line 2"), "{broken:?}");
    assert!(away.status == 1 && away.err.contains("cannot connect to PostgreSQL at andon@127.0.0.1:1/mes"), "{away:?}");
    assert!(checked.status == 1 && checked.out.contains("FAULT   database"), "{checked:?}");
    for run in [unknown, unconfigured, misplaced, broken, away, checked] {
        assert!(!run.out.contains("hunter2") && !run.err.contains("hunter2"), "{run:?}");
    }
}
