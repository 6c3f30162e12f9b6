//! The demonstration, as a user runs it. In: the program with its options. Out: whether its last line says that nothing is missing,
//! whatever is killed meanwhile, and whether it cleans up after itself.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::BufReader;
use tokio::io::Lines;
use tokio::process::Child;
use tokio::process::ChildStderr;
use tokio::process::Command;
use tokio::time::timeout;

use crate::lab;

/// Only a demo that hangs meets this.
const SOON: Duration = Duration::from_secs(300);

struct Demo {
    child: Child,
    notes: Lines<BufReader<ChildStderr>>,
}

impl Demo {
    fn start(options: &[&str]) -> Demo {
        let mut child = Command::from(lab())
            .arg("demo")
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let notes = BufReader::new(child.stderr.take().unwrap()).lines();
        Demo { child, notes }
    }

    /// Waits until the demo says that the gateway runs, and returns its process id.
    async fn gateway(&mut self) -> Pid {
        let pid = timeout(SOON, async {
            while let Some(note) = self.notes.next_line().await.unwrap() {
                if let Some(pid) = note.strip_prefix("gateway: pid ") {
                    return pid.parse().unwrap();
                }
            }
            panic!("the demo ended before the gateway ran");
        });
        Pid::from_raw(pid.await.expect("the gateway runs in time"))
    }

    /// Ends the shift. The events that are still on their way arrive, and then the demo ends.
    fn interrupt(&self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap());
        nix::sys::signal::kill(pid, Signal::SIGINT).unwrap();
    }

    /// Waits for its end: the exit code, what it printed, and what it noted.
    async fn end(mut self) -> (Option<i32>, String, String) {
        let mut stdout = self.child.stdout.take().unwrap();
        let mut printed = String::new();
        let mut noted = String::new();
        let end = async {
            let notes = async {
                while let Some(note) = self.notes.next_line().await.unwrap() {
                    noted.push_str(&note);
                    noted.push('\n');
                }
            };
            let (read, ()) = tokio::join!(stdout.read_to_string(&mut printed), notes);
            read.unwrap();
            self.child.wait().await.unwrap().code()
        };
        let code = timeout(SOON, end).await.expect("the demo ends in time");
        (code, printed, noted)
    }
}

fn assert_nothing_is_missing(code: Option<i32>, printed: &str, noted: &str) -> Value {
    let report: Value = serde_json::from_str(printed.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("no report ({error}): {printed}{noted}"));
    for way in ["mqtt", "webhook"] {
        assert_eq!(report[way]["missing"], 0, "{report} {noted}");
        assert_eq!(report[way]["out_of_order"], 0, "{report} {noted}");
        assert_eq!(report[way]["expected"], report["captured"], "{report} {noted}");
    }
    assert_eq!(code, Some(0), "{report} {noted}");
    report
}

#[tokio::test]
async fn the_demo_of_every_system_delivers_everything_in_order() {
    let demos = rig::reference::system::names().map(async |name| {
        let demo = Demo::start(&["--source", name, "--for", "4s", "--rate", "100", "--json"]);

        let (code, printed, noted) = demo.end().await;

        let report = assert_nothing_is_missing(code, &printed, &noted);
        assert!(report["captured"].as_u64().unwrap() > 20, "{name}: {report}");
        assert_eq!(printed.lines().count(), 1, "{printed}");
    });
    join_all(demos).await;
}

#[tokio::test]
async fn killing_the_gateway_loses_nothing() {
    let mut demo = Demo::start(&["--rate", "500", "--json"]);
    let first = demo.gateway().await;
    // Once it has used so much processor time, it is past its start, within which the demo has nothing to report.
    wait_for(|| processor_time(first) > 150);

    nix::sys::signal::kill(first, Signal::SIGKILL).unwrap();
    let second = demo.gateway().await;
    demo.interrupt();
    let (code, printed, noted) = demo.end().await;

    assert_ne!(first, second);
    assert_nothing_is_missing(code, &printed, &noted);
}

#[tokio::test]
async fn an_interrupt_ends_everything_and_leaves_nothing() {
    let mut demo = Demo::start(&["--rate", "50"]);
    let gateway = demo.gateway().await;
    let id = demo.child.id().unwrap();
    let prefix = format!("andon-rig-{id}-");
    assert!(!left_behind(&prefix).is_empty());

    demo.interrupt();
    let (code, printed, noted) = demo.end().await;

    assert_eq!(code, Some(0), "{printed}{noted}");
    assert_eq!(left_behind(&prefix), Vec::<String>::new());
    assert!(!Path::new(&format!("/proc/{gateway}")).exists());
}

#[tokio::test]
async fn a_demo_that_is_killed_leaves_nothing_either() {
    let mut demo = Demo::start(&["--rate", "50"]);
    demo.gateway().await;
    let prefix = format!("andon-rig-{}-", demo.child.id().unwrap());
    assert!(!left_behind(&prefix).is_empty());

    demo.child.kill().await.unwrap();

    // Nothing signals that the last file of a dead process is gone, so the test looks again and again.
    wait_for(|| left_behind(&prefix).is_empty());
}

/// Lists directories of the rig, and processes that name them on their command line.
fn left_behind(prefix: &str) -> Vec<String> {
    let directories = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let names = directories.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let processes = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let command = std::fs::read(entry.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&command).replace('\0', " "))
    });
    names.filter(|name| name.starts_with(prefix)).chain(processes.filter(|line| line.contains(prefix))).collect()
}

/// Returns the processor time of a process in hundredths of a second.
fn processor_time(pid: Pid) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    ticks(12) + ticks(13)
}

fn wait_for(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < deadline, "what was waited for did not come");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
