//! `andon run` as a child process. In: the path of the program, the URL of a database, signals. Out: whether it runs and is ready, how it
//! ended, and its log. It knows the command line of the program and nothing of what is inside.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::anyhow;
use anyhow::bail;
use nix::sys::signal::Signal;
use tokio::net::UnixDatagram;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio::time::timeout;

use crate::process::PATIENCE;
use crate::process::Server;
use crate::process::ServerOptions;
use crate::process::State;

/// One daemon with a directory of its own. Dropping it ends it in order.
pub struct Daemon {
    server: Arc<Mutex<Server>>,
    state: watch::Receiver<State>,
    is_ready: Arc<watch::Sender<bool>>,
    notices: JoinHandle<()>,
    /// `end` has ended it, so a supervisor leaves it alone until `start`.
    is_told_to_end: AtomicBool,
}

/// The settings that may differ from one daemon to the next.
#[derive(Debug, Clone, Default)]
pub struct DaemonOptions {
    /// The text of its configuration file.
    pub configuration: String,
    /// Variables in addition to our own environment.
    pub environment: Vec<(OsString, OsString)>,
}

/// The variable that lets destinations reach the servers of a test, which are all on loopback: unless it is named, no destination may.
pub fn allow_loopback() -> (OsString, OsString) {
    ("ANDON_EGRESS_ALLOW".into(), LOOPBACK.into())
}

/// The addresses and ports that [`allow_loopback`] names.
pub const LOOPBACK: &str = "127.0.0.1:1-65535,[::1]:1-65535";

impl Daemon {
    /// Makes the daemon's directory. The daemon does not run before `start`.
    pub fn prepare(program: &Path, database: &str, options: DaemonOptions) -> Result<Daemon> {
        let DaemonOptions { configuration, environment: own } = options;
        let mut environment = vec![allow_loopback()];
        environment.extend(own);
        let server = Server::prepare(|directory| {
            // This variable beats one that the user has set for a database of their own.
            environment.push(("ANDON_DATABASE_URL".into(), database.into()));
            environment.push(("NOTIFY_SOCKET".into(), directory.join("notify").into()));
            let file = directory.join("andon.toml");
            let command = vec![program.into(), "run".into(), "--config".into(), file.into()];
            Ok(ServerOptions { name: "gateway", command, environment, user: None, end: Signal::SIGTERM })
        })?;
        server.write("andon.toml", configuration)?;
        let socket = UnixDatagram::bind(server.directory().join("notify")).context("cannot listen for readiness")?;
        let is_ready = Arc::new(watch::Sender::new(false));
        let notices = tokio::spawn(hear(socket, Arc::clone(&is_ready)));
        let state = server.state();
        let is_told_to_end = AtomicBool::new(false);
        Ok(Daemon { server: Arc::new(Mutex::new(server)), state, is_ready, notices, is_told_to_end })
    }

    /// Starts it unless it runs, and returns its process id. Whether it serves yet is for `ready` to tell.
    pub async fn start(&self) -> Result<i32> {
        self.is_told_to_end.store(false, Ordering::SeqCst);
        let (server, is_ready) = (Arc::clone(&self.server), Arc::clone(&self.is_ready));
        let starting = tokio::task::spawn_blocking(move || {
            let mut server = lock(&server);
            match server.pid() {
                Some(pid) => Ok(pid),
                None => {
                    is_ready.send_replace(false);
                    server.start()
                }
            }
        });
        starting.await.context("the daemon's start was given up")?
    }

    /// Waits until it says that it serves. A daemon that ends before is an error that shows its log, unless a signal ended it: then the
    /// wait is for the one that a supervisor starts.
    pub async fn ready(&self) -> Result<()> {
        let (mut is_ready, mut state) = (self.is_ready.subscribe(), self.state.clone());
        tokio::select! {
            biased;
            ready = timeout(PATIENCE, is_ready.wait_for(|is_ready| *is_ready)) => {
                ready.map_err(|_| self.fault("is not ready in time"))?.context("nobody listens for readiness")?;
                Ok(())
            }
            ended = state.wait_for(|state| matches!(state, State::Ended(..=128))) => {
                drop(ended.context("the keeper is gone")?);
                Err(self.fault("ended before it was ready"))
            }
        }
    }

    /// Returns its process id, or an error that shows its log if it does not run.
    pub fn running(&self) -> Result<i32> {
        self.pid().ok_or_else(|| self.fault("does not run"))
    }

    /// Sends a signal, if it runs.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        lock(&self.server).signal(signal)
    }

    /// Stops its processor time and leaves its sockets open.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Ends a pause.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Ends it by a signal and returns its exit status. It stays down until `start`, under a supervisor too.
    pub async fn end(&self, signal: Signal) -> Result<i32> {
        self.is_told_to_end.store(true, Ordering::SeqCst);
        self.signal(signal)?;
        timeout(PATIENCE, self.ended()).await.map_err(|_| self.fault("did not end in time"))?
    }

    /// Ends it in order and returns its exit status.
    pub async fn stop(&self) -> Result<i32> {
        self.end(Signal::SIGTERM).await
    }

    /// Ends it at once.
    pub async fn kill(&self) -> Result<()> {
        self.end(Signal::SIGKILL).await.map(drop)
    }

    /// Waits for its end and returns its exit status as a shell tells it: above 128 if a signal ended it.
    pub async fn ended(&self) -> Result<i32> {
        let mut state = self.state.clone();
        let ended = state.wait_for(|state| matches!(state, State::Ended(_))).await.context("the keeper is gone")?;
        match *ended {
            State::Ended(status) => Ok(status),
            State::New | State::Running(_) => bail!("the keeper contradicts itself"),
        }
    }

    /// Starts it again, after a pause, whenever it ended although no test ended it, as a supervisor would. `saw` is called at each end and
    /// each start, and its error gives up. It runs for as long as it is polled.
    pub async fn supervise(&self, pause: Duration, mut saw: impl FnMut(State) -> Result<()>) -> Result<()> {
        loop {
            let status = self.ended().await?;
            sleep(pause).await;
            if self.is_told_to_end.load(Ordering::SeqCst) || self.pid().is_some() {
                let mut state = self.state.clone();
                state.wait_for(|state| matches!(state, State::Running(_))).await.context("the keeper is gone")?;
                continue;
            }
            saw(State::Ended(status))?;
            match self.start().await {
                Ok(pid) => saw(State::Running(pid))?,
                // If it ended at once, the next round sees that end.
                Err(error) => tracing::warn!(error = format!("{error:#}"), "the daemon does not start"),
            }
        }
    }

    /// Returns its whole log.
    pub fn log(&self) -> String {
        let log = std::fs::read(lock(&self.server).log_path()).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Returns the end of its log, for messages.
    pub fn log_tail(&self) -> String {
        lock(&self.server).log_tail()
    }

    fn pid(&self) -> Option<i32> {
        match *self.state.borrow() {
            State::Running(pid) => Some(pid),
            State::New | State::Ended(_) => None,
        }
    }

    fn fault(&self, what: &str) -> anyhow::Error {
        anyhow!("the gateway {what}; its log ends with:\n{}", self.log_tail())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.notices.abort();
        // The log goes with the directory, and a test that failed needs it.
        if std::thread::panicking() {
            eprintln!("the gateway's log ends with:\n{}", self.log_tail());
        }
    }
}

/// Follows what the daemon tells systemd. Every notice is read: a full socket would block the daemon.
async fn hear(socket: UnixDatagram, is_ready: Arc<watch::Sender<bool>>) {
    let mut buffer = [0; 4096];
    while let Ok(length) = socket.recv(&mut buffer).await {
        if String::from_utf8_lossy(&buffer[..length]).lines().any(|line| line == "READY=1") {
            is_ready.send_replace(true);
        }
    }
}

fn lock(server: &Mutex<Server>) -> MutexGuard<'_, Server> {
    server.lock().unwrap_or_else(PoisonError::into_inner)
}
