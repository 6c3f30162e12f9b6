//! A broker of any make, as a throw-away server. In: which one. Out: a broker on a free port of 127.0.0.1 that can be killed and started
//! again with what it has kept. How each make is configured is in `recipes`.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use rig::process;
use rig::process::Server;

use crate::compat::programs::Programs;
use crate::compat::recipes;
use crate::compat::recipes::Companion;
use crate::compat::recipes::Make;
use crate::stage::blocking;

/// How long a broker may take to start. On a busy machine, some take more than a minute.
const PATIENCE: Duration = Duration::from_secs(300);

/// A running broker. Dropping it ends it.
#[derive(Clone)]
pub(super) struct Broker {
    server: Arc<Mutex<Server>>,
    _companion: Option<Arc<Server>>,
    pub(super) port: u16,
    /// User and password, if it lets nobody in without.
    pub(super) credentials: Option<(String, String)>,
    /// Name and version.
    pub(super) title: String,
}

impl Broker {
    /// Starts it, and returns when it takes connections.
    pub(super) async fn start(make: Make, programs: &Programs) -> Result<Broker> {
        let programs = programs.clone();
        blocking(move || Broker::start_now(make, &programs)).await
    }

    fn start_now(make: Make, programs: &Programs) -> Result<Broker> {
        let port = process::free_port()?;
        let companion = recipes::companion(make)?.map(Companion::start).transpose()?;
        let (mut files, mut title, mut credentials) = (Vec::new(), String::new(), None);
        let server = Server::prepare(|directory| {
            let recipe = recipes::recipe(make, programs, directory, port, companion.as_ref().map(|it| it.port))?;
            (files, title, credentials) = (recipe.files, recipe.title, recipe.credentials);
            Ok(recipe.options)
        })?;
        for (name, content) in files {
            server.write(name, content)?;
        }
        let broker = Broker {
            server: Arc::new(Mutex::new(server)),
            _companion: companion.map(|companion| Arc::new(companion.server)),
            port,
            credentials,
            title,
        };
        broker.start_again_now()?;
        Ok(broker)
    }

    /// Kills it (SIGKILL) and starts it again on the same port.
    pub(super) async fn restart_killed(&self) -> Result<()> {
        let broker = self.clone();
        blocking(move || {
            broker.server.lock().unwrap_or_else(PoisonError::into_inner).end(Signal::SIGKILL)?;
            broker.start_again_now()
        })
        .await
    }

    fn start_again_now(&self) -> Result<()> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.start()?;
        server.wait_ready_within(PATIENCE, || TcpStream::connect(("127.0.0.1", self.port)).is_ok())
    }
}
