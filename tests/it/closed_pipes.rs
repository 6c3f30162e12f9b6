//! Output that nobody reads any more, as behind `andon check | head`. In: each command that prints, with closed pipes. Out: whether it ends as
//! other tools do, and whether the daemon goes on without anybody who reads its log.

use std::io::PipeWriter;
use std::io::Read as _;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use rig::Receiver;
use serde_json::json;

use crate::secrets::KeyFiles;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::plant::ERYXON;
use crate::support::plant::Plant;
use crate::support::role::as_daemon;

/// Returns the end of a pipe of which nobody has the other end.
fn nobody() -> PipeWriter {
    std::io::pipe().unwrap().1
}

fn start(url: &str, arguments: &[&str], error: impl Into<Stdio>) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_andon"));
    command.env_clear().env("DATABASE_URL", url).current_dir(std::env::temp_dir()).args(arguments);
    command.envs([rig::daemon::allow_loopback()]).stdout(nobody()).stderr(error);
    command.spawn().unwrap()
}

/// Runs a command whose standard output is closed. Returns its exit status, and what it says on standard error.
fn unread(url: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut child = start(url, arguments, Stdio::piped());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

#[tokio::test]
async fn a_command_whose_output_nobody_reads_ends_without_a_word() {
    let files = KeyFiles::new("unread", &[]);
    let plant = Plant::attached().await;
    let key = files.path("key");
    let commands: [&[&str]; 12] = [
        &["migrate"],
        &["attach", "--source", ERYXON, "--dry-run", "--as-superuser"],
        &["check"],
        &["check", "--json"],
        &["check", "--source", ERYXON, "--explain"],
        &["capture", "errors"],
        &["deliveries"],
        &["grants", "--role", "andon_run"],
        &["replay", "--list"],
        &["secrets", "new-key", key.to_str().unwrap()],
        &["source", "init"],
        &["--help"],
    ];

    for arguments in commands {
        let (status, said) = unread(&plant.url, arguments);
        // What is wrong with the arguments or the database is no matter here.
        let is_help = arguments == ["--help"];
        assert_eq!((status, said.as_str()), (Some(if is_help { 0 } else { 141 }), ""), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_disk_that_is_full_is_a_fault_with_its_reason() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_andon"));
    let output = command.args(["grants", "--role", "andon_run"]).stdout(full).output().unwrap();

    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.starts_with("andon: cannot write to standard output: No space left on device"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_log_nobody_reads_delivers_and_a_command_keeps_its_exit_status() {
    let receiver = Receiver::start().await.unwrap();
    let line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({})).await;
    line.emit("acme", "e", 1).await;

    let mut daemon = start(&as_daemon(&line.url), &["run"], nobody());
    receiver.wait_accepted(PATIENCE, 1).await.unwrap();
    // Each change of a row is a line of the log, and so is a lane that fails by a fault of Andon's own.
    line.run("update andon.webhooks set active = false").await;
    line.state(&lane, "removed").await;
    line.run("update andon.webhooks set active = true").await;
    line.state(&lane, "running").await;
    line.emit("acme", "e", 2).await;
    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    kill(Pid::from_raw(daemon.id().cast_signed()), Signal::SIGTERM).unwrap();
    let ended = tokio::task::spawn_blocking(move || daemon.wait().unwrap()).await.unwrap();
    let mut refused = start("postgres://nobody@127.0.0.1:1/none", &["deliveries"], nobody());

    assert_eq!(ended.code(), Some(0));
    assert_eq!(refused.wait().unwrap().code(), Some(1));
}
