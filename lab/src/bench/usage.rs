//! Measures what a process uses. In: a process id. Out: the processor time of the process, its threads and its children, and its memory at
//! the peak. It reads `/proc` and asks nobody.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Context as _;
use anyhow::Result;

/// The kernel counts in hundredths of a second, whatever its own clock does.
const TICKS: f64 = 100.0;

/// Returns the processor time of a process and of all its descendants so far, in seconds.
pub(super) fn processor(pid: i32) -> Result<f64> {
    let own = Times::read(pid).with_context(|| format!("process {pid} is gone"))?;
    let mut family = vec![own];
    let mut waiting = vec![pid];
    // One pass would do if the kernel listed parents first, but it promises no order.
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

/// Returns the most memory that a process had resident since [`forget_peak`], in MiB.
pub(super) fn peak_memory(pid: i32) -> Result<f64> {
    let path = proc(pid, "status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel reports no VmHWM")?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().context("VmHWM is no number")?;
    Ok(kibibytes / 1024.0)
}

/// Makes the kernel measure the peak of a process from here on.
pub(super) fn forget_peak(pid: i32) -> Result<()> {
    std::fs::write(proc(pid, "clear_refs"), "5").context("the kernel does not reset VmHWM")
}

#[derive(Debug, Clone, Copy)]
struct Times {
    pid: i32,
    parent: i32,
    /// Its own ticks, and those of children that have ended.
    ticks: f64,
}

impl Times {
    fn read(pid: i32) -> Result<Times> {
        let stat = std::fs::read_to_string(proc(pid, "stat"))?;
        // The name may hold anything, blanks included; it ends with the last parenthesis.
        let (_, fields) = stat.rsplit_once(") ").context("no times")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks = fields.get(11..15).context("no times")?.iter().filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
        Ok(Times { pid, parent: fields[1].parse()?, ticks })
    }
}

fn proc(pid: i32, file: &str) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join(file)
}
