//! The gateway as the demo's child. In: the URL of the plant's database. Out: the source attached, and a running `andon run` that is
//! started again when somebody kills it. It uses the command line as a user would and touches nothing of the gateway's inside.

use std::convert::Infallible;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use nix::sys::signal::Signal;
use tokio::net::UnixDatagram;
use tokio::time::timeout;

use crate::andon::Andon;
use rig::process::PATIENCE;
use rig::process::Plan;
use rig::process::Server;
use rig::process::State;
use rig::reference::System;

/// Ends by itself are faults, not visitors with `kill -9`: so many in a row end the demo.
const FAULTS_IN_A_ROW: u32 = 3;

/// A running gateway. Dropping it ends it in order.
pub(super) struct Gateway {
    server: Server,
    notices: UnixDatagram,
}

impl Gateway {
    /// Prepares the database and attaches the source; the gateway does not run yet.
    pub(super) async fn prepare(database: &str, system: &System, andon: &Andon) -> Result<Gateway> {
        let server = Server::prepare(|directory| {
            Ok(Plan {
                name: "gateway",
                command: vec![
                    andon.program().into(),
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
        andon.migrate(database).await?;
        andon.attach(database, &system.mapping).await?;
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

fn how(status: i32) -> String {
    if status > 128 { format!("killed by signal {}", status - 128) } else { format!("ended with status {status}") }
}
