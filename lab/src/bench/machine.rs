//! The machine that figures were taken on. In: what the kernel and the programs of the servers say. Out: a few facts to go with the
//! figures. It never guesses: a fact that cannot be read is left out.

use std::process::Command;

use serde_json::Value;
use serde_json::json;

use rig::process;

/// Describes processor, cores, memory, kernel, and the versions of the servers.
pub(super) fn description() -> Value {
    json!({
        "processor": field("/proc/cpuinfo", "model name"),
        "cores": std::thread::available_parallelism().ok().map(std::num::NonZero::get),
        "memory": field("/proc/meminfo", "MemTotal"),
        "kernel": std::fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| text.trim().to_owned()),
        "load_before": std::fs::read_to_string("/proc/loadavg").ok().map(|text| text.trim().to_owned()),
        "postgresql": version("postgres", "postgresql", "--version"),
        "mosquitto": version("mosquitto", "mosquitto", "-h"),
        "andon": env!("CARGO_PKG_VERSION"),
        "is_optimised": !cfg!(debug_assertions),
    })
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn version(program: &str, package: &str, option: &str) -> Option<String> {
    let output = Command::new(process::program(program, package).ok()?).arg(option).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
}
