//! The gateway as the demo's child. In: the URL of the plant's database. Out: the source attached, and a running `andon run` that is
//! started again when somebody kills it. It uses the command line as a user would and touches nothing of the gateway's inside.

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use nix::sys::signal::Signal;
use tokio::net::UnixDatagram;
use tokio::process::Command;
use tokio::time::timeout;

use crate::capture::Mapping;
use crate::rig::process::PATIENCE;
use crate::rig::process::Plan;
use crate::rig::process::Server;
use crate::rig::process::State;

/// Ends by itself are faults, not visitors with `kill -9`: so many in a row end the demo.
const FAULTS_IN_A_ROW: u32 = 3;

/// A running gateway. Dropping it ends it in order.
pub(super) struct Gateway {
    server: Server,
    notices: UnixDatagram,
}

impl Gateway {
    /// Prepares the database and attaches the source; the gateway does not run yet.
    pub(super) async fn prepare(database: &str, mapping: &Mapping) -> Result<Gateway> {
        let program = std::env::current_exe().context("cannot find the own program")?;
        let server = Server::prepare(|directory| {
            Ok(Plan {
                name: "gateway",
                command: vec![
                    program.clone().into(),
                    "run".into(),
                    "--config".into(),
                    directory.join("andon.toml").into(),
                ],
                environment: vec![
                    ("NOTIFY_SOCKET".into(), directory.join("notify").into()),
                    // Beats one that the user has set for a database of theirs.
                    ("ANDON_DATABASE_URL".into(), database.into()),
                ],
                user: None,
                end: Signal::SIGTERM,
            })
        })?;
        let mapping = server.write(&format!("{}.toml", mapping.name), &mapping.text)?;
        run_to_end(&program, database, &["migrate".into()]).await?;
        run_to_end(&program, database, &["attach".into(), "--source".into(), mapping.into()]).await?;
        server.write("andon.toml", format!("[database]\nurl = \"{database}\"\n"))?;
        let notices = UnixDatagram::bind(server.directory().join("notify")).context("cannot listen for readiness")?;
        Ok(Gateway { server, notices })
    }

    /// Starts the gateway again whenever it ends; returns only when that makes no sense any more.
    pub(super) async fn keep_running(&mut self) -> Result<Infallible> {
        let mut faults = 0;
        loop {
            let status = self.ended().await?;
            faults = if status > 128 { 0 } else { faults + 1 };
            if faults == FAULTS_IN_A_ROW {
                bail!("the gateway ended {faults} times in a row:\n{}", self.server.log_tail());
            }
            eprintln!("gateway: {}; starting it again", how(status));
            self.start().await?;
        }
    }

    /// Starts the gateway, and returns when it is ready.
    pub(super) async fn start(&mut self) -> Result<()> {
        let pid = self.server.start()?;
        eprintln!("gateway: pid {pid}");
        tokio::select! {
            ready = timeout(PATIENCE, is_ready(&self.notices)) => {
                ready.map_err(|_| self.fault("is not ready in time"))?
            }
            status = self.ended() => match status? {
                // Killed in its first moments; `keep_running` sees to it.
                129.. => Ok(()),
                _ => Err(self.fault("ended before it was ready")),
            },
        }
    }

    async fn ended(&self) -> Result<i32> {
        let mut state = self.server.state();
        let ended =
            state.wait_for(|state| matches!(state, State::Ended(_))).await.context("the gateway's keeper is gone")?;
        match *ended {
            State::Ended(status) => Ok(status),
            State::New | State::Running(_) => bail!("the gateway's keeper contradicts itself"),
        }
    }

    fn fault(&self, what: &str) -> anyhow::Error {
        anyhow::anyhow!("the gateway {what}; its log ends with:\n{}", self.server.log_tail())
    }
}

/// Waits for systemd's `READY=1`.
async fn is_ready(notices: &UnixDatagram) -> Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = notices.recv(&mut buffer).await.context("cannot hear whether the gateway is ready")?;
        if String::from_utf8_lossy(&buffer[..length]).lines().any(|line| line == "READY=1") {
            return Ok(());
        }
    }
}

async fn run_to_end(program: &PathBuf, database: &str, arguments: &[OsString]) -> Result<()> {
    let ran = Command::new(program)
        .args(arguments)
        .env("ANDON_DATABASE_URL", database)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let name = arguments[0].to_string_lossy();
    let ran = timeout(Duration::from_secs(60), ran).await.with_context(|| format!("`andon {name}` takes too long"))?;
    let ran = ran.with_context(|| format!("cannot run `andon {name}`"))?;
    if !ran.status.success() {
        bail!("`andon {name}` failed ({}):\n{}", ran.status, String::from_utf8_lossy(&ran.stderr));
    }
    Ok(())
}

fn how(status: i32) -> String {
    if status > 128 { format!("killed by signal {}", status - 128) } else { format!("ended with status {status}") }
}
