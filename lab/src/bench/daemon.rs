//! The gateway as the bench's child. In: the URL of a database. Out: a running `andon run`, and what memory it took at most. It takes no
//! figure from the gateway itself.

use std::path::PathBuf;

use anyhow::Context as _;
use anyhow::Result;
use nix::sys::signal::Signal;

use crate::andon::Andon;
use crate::bench::work;
use rig::process::Plan;
use rig::process::Server;

/// A running gateway. Dropping it ends it in order.
pub(super) struct Daemon {
    server: Server,
}

impl Daemon {
    /// Starts it, with its defaults; whether it serves yet is for the caller to find out.
    pub(super) fn start(andon: &Andon, database: &str) -> Result<Daemon> {
        let mut server = Server::prepare(|directory| {
            let configuration = directory.join("andon.toml");
            Ok(Plan {
                name: "gateway",
                command: vec![andon.program().into(), "run".into(), "--config".into(), configuration.into()],
                // Beats one that the user has set for a database of theirs.
                environment: vec![("ANDON_DATABASE_URL".into(), database.into())],
                user: None,
                end: Signal::SIGTERM,
            })
        })?;
        server.write("andon.toml", "")?;
        server.start()?;
        Ok(Daemon { server })
    }

    /// The most memory it had resident since `forget_peak`, in MiB.
    pub(super) fn peak(&self) -> Result<f64> {
        let path = self.proc("status")?;
        let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel tells no VmHWM")?;
        let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().context("VmHWM is no number")?;
        Ok(kibibytes / 1024.0)
    }

    /// The time that processors worked for it so far, in seconds.
    pub(super) fn worked(&self) -> Result<f64> {
        work::of(self.server.pid().with_context(|| format!("the gateway ended:\n{}", self.server.log_tail()))?)
    }

    /// Measures the peak from here on.
    pub(super) fn forget_peak(&self) -> Result<()> {
        std::fs::write(self.proc("clear_refs")?, "5").context("the kernel does not reset VmHWM")
    }

    /// The end of its log, for messages.
    pub(super) fn log_tail(&self) -> String {
        self.server.log_tail()
    }

    fn proc(&self, file: &str) -> Result<PathBuf> {
        let pid = self.server.pid().with_context(|| format!("the gateway ended:\n{}", self.server.log_tail()))?;
        Ok(PathBuf::from(format!("/proc/{pid}/{file}")))
    }
}
