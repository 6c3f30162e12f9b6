//! `andon run` as a child. In: the address of the database, and signals. Out: a daemon that is started again when it ends by itself, as a
//! supervisor would, and its log. It touches nothing of the gateway's inside.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use nix::sys::signal::Signal;

use crate::andon::Andon;
use rig::process::Plan;
use rig::process::Server;
use rig::process::State;

/// Starts a daemon anew after it has ended by itself.
const SUPERVISOR_PAUSE: Duration = Duration::from_millis(500);
const LOG: &str = "info,andon=debug,tokio_postgres=warn,deadpool=error";

/// One daemon. Dropping it ends it in order.
pub(super) struct Daemon {
    pub(super) name: String,
    server: Arc<Mutex<Server>>,
    /// A fault has ended it, and will start it again.
    is_down: AtomicBool,
}

/// What the daemon with this number, from 1, is called.
pub(super) fn name(number: usize) -> String {
    format!("gateway-{number}")
}

impl Daemon {
    /// Prepares a daemon; it does not run yet.
    pub(super) fn prepare(andon: &Andon, number: usize, url: &str) -> Result<Daemon> {
        let name = name(number);
        let url = format!("{url}?application_name=andon-{number}&sslmode=disable");
        let server = Server::prepare(|directory| {
            let configuration = directory.join("andon.toml");
            Ok(Plan {
                name: "gateway",
                command: vec![andon.program().into(), "run".into(), "--config".into(), configuration.into()],
                environment: vec![("ANDON_DATABASE_URL".into(), url.into()), ("ANDON_LOG".into(), LOG.into())],
                user: None,
                end: Signal::SIGTERM,
            })
        })?;
        // A small memory, so that lanes that are behind read the log.
        server
            .write("andon.toml", format!("[gateway]\nname = \"{name}\"\ngrace = \"3s\"\n[log]\nmemory = \"1MiB\"\n"))?;
        Ok(Daemon { name, server: Arc::new(Mutex::new(server)), is_down: AtomicBool::new(false) })
    }

    pub(super) async fn start(&self) -> Result<()> {
        self.blocking(|server| if server.pid().is_none() { server.start().map(drop) } else { Ok(()) }).await?;
        self.is_down.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Ends it by this signal; it stays away until `start`.
    pub(super) async fn end(&self, signal: Signal) -> Result<()> {
        self.is_down.store(true, Ordering::SeqCst);
        self.blocking(move |server| server.end(signal)).await
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        self.server().signal(signal)
    }

    /// Starts it again whenever it ends by itself, for as long as it is polled. `note` hears of it.
    pub(super) async fn supervise(&self, note: impl Fn(&str)) {
        let mut state = self.server().state();
        loop {
            let ended = state.wait_for(|state| matches!(state, State::Ended(_))).await;
            let Ok(status) = ended.map(|state| *state) else { return };
            tokio::time::sleep(SUPERVISOR_PAUSE).await;
            if self.is_down.load(Ordering::SeqCst) || self.server().pid().is_some() {
                continue;
            }
            if let State::Ended(status) = status {
                note(&format!("{} ended by itself with status {status}; starting it again", self.name));
            }
            if let Err(error) = self.start().await {
                note(&format!("{} does not start: {error:#}", self.name));
            }
        }
    }

    pub(super) fn log(&self) -> String {
        let log = std::fs::read(self.server().log_path()).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    async fn blocking(&self, act: impl FnOnce(&mut Server) -> Result<()> + Send + 'static) -> Result<()> {
        let server = Arc::clone(&self.server);
        tokio::task::spawn_blocking(move || act(&mut server.lock().unwrap_or_else(PoisonError::into_inner)))
            .await
            .context("a daemon's signal was given up")?
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
