//! The bench of the pure hot paths between the log and the network: `make bench-pure`. In: nothing. Out: for each path the nanoseconds per
//! event, which are the median of rounds in which the paths take turns, and the instructions per event, which valgrind counts and which do
//! not depend on the machine's other work. It never touches a server.

#[path = "pure/fan_out.rs"]
mod fan_out;
#[path = "pure/paths.rs"]
mod paths;

use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use andon::event::Event;
use mimalloc::MiMalloc;

use paths::PATHS;
use paths::Path;
use paths::Stage;

/// The gateway uses this allocator too.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const ROUNDS: usize = 25;
const EVENTS: i64 = 1000;
/// This program starts itself under valgrind with this option, to walk a single path.
const ONLY: &str = "--only";

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != ONLY);
    if let Some(index) = arguments.nth(1) {
        let index: usize = index.parse().expect("the index of a path follows");
        walk(&PATHS[index], &Stage::new(), &events());
        return;
    }
    let times = times();
    let is_counted = Command::new("valgrind").arg("--version").output().is_ok();
    println!("{:<40}{:>10}{:>14}{:>14}", "per event", "ns", "instructions", "allocations");
    for (index, path) in PATHS.iter().enumerate() {
        let instructions = if is_counted { instructions(index).to_string() } else { "-".to_owned() };
        println!("{:<40}{:>10.0}{:>14}{:>14}", path.name, times[index], instructions, path.allocations);
    }
    println!(
        "feed: {} events at once into the inboxes of {} lanes: {:.1} ns per event and lane",
        fan_out::EVENTS,
        fan_out::LANES,
        fan_out::measure()
    );
    println!(
        "allocations: the bound that a test enforces. valgrind knows no SHA instructions, so signatures show far more instructions than they take."
    );
    if !is_counted {
        println!("instructions need valgrind: apt-get install valgrind");
    }
}

/// Measures the nanoseconds per event of each path.
fn times() -> Vec<f64> {
    let stage = Stage::new();
    let mut taken = vec![Vec::new(); PATHS.len()];
    for _ in 0..ROUNDS {
        for (path, taken) in PATHS.iter().zip(&mut taken) {
            let events = events();
            let started = Instant::now();
            walk(path, &stage, &events);
            taken.push(started.elapsed().as_secs_f64() * 1e9 / EVENTS as f64);
        }
    }
    for taken in &mut taken {
        taken.sort_by(f64::total_cmp);
    }
    taken.iter().map(|taken| taken[ROUNDS / 2]).collect()
}

/// Counts the instructions per event of one path.
fn instructions(index: usize) -> u64 {
    let this = std::env::current_exe().expect("the system knows which program this is");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*walk*"])
        .arg(this)
        .args([ONLY, &index.to_string()])
        .output()
        .expect("valgrind was there a moment ago");
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report.lines().find_map(|line| line.split_once("Collected :"));
    let total: u64 = collected.and_then(|(_, number)| number.trim().parse().ok()).unwrap_or_else(|| panic!("{report}"));
    total / EVENTS.unsigned_abs()
}

/// Walks a path with each event. Only the instructions in this function are counted, so it must not be inlined.
#[inline(never)]
fn walk(path: &Path, stage: &Stage, events: &[Event]) {
    for event in events {
        (path.run)(black_box(stage), black_box(event));
    }
}

/// Makes new events for each round, because an event may cache what was read from it.
fn events() -> Vec<Event> {
    (0..EVENTS).map(paths::event).collect()
}
