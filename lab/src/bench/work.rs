//! What processors did for a program: its own threads, its children, and those that have ended. In: a process id. Out: seconds. It reads
//! `/proc` and nothing else.

use std::path::Path;

use anyhow::Context as _;
use anyhow::Result;

/// The processor time of a process and of all its descendants so far, in seconds.
pub(super) fn of(pid: i32) -> Result<f64> {
    let own = Times::read(pid).with_context(|| format!("process {pid} is gone"))?;
    let mut family = vec![own];
    let mut waiting = vec![pid];
    // One pass would do if the kernel listed parents first; it promises no order.
    let all: Vec<Times> = std::fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| Times::read(entry.file_name().to_str()?.parse().ok()?).ok())
        .collect();
    while let Some(parent) = waiting.pop() {
        for child in all.iter().filter(|it| it.parent == parent) {
            waiting.push(child.pid);
            family.push(*child);
        }
    }
    Ok(family.iter().map(|it| it.ticks).sum::<f64>() / TICKS)
}

/// The kernel tells hundredths of a second, whatever its own clock does.
const TICKS: f64 = 100.0;

#[derive(Debug, Clone, Copy)]
struct Times {
    pid: i32,
    parent: i32,
    /// Its own, and those of children that have ended.
    ticks: f64,
}

impl Times {
    fn read(pid: i32) -> Result<Times> {
        let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))?;
        // The name may hold anything, blanks included; it ends with the last parenthesis.
        let (_, fields) = stat.rsplit_once(") ").context("no times")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks = fields.get(11..15).context("no times")?.iter().filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
        Ok(Times { pid, parent: fields[1].parse()?, ticks })
    }
}
