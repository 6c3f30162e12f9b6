//! A throw-away PostgreSQL. In: nothing. Out: a server on a free port of 127.0.0.1, with as many fresh databases as asked for. It is
//! not durable (no fsync) unless asked to be: it forgets everything when the machine goes down, and is removed with its owner.

mod standby;

use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use nix::sys::signal::Signal;
use nix::unistd::User;
use tokio_postgres::NoTls;

use crate::process;
use crate::process::Server;
use crate::process::ServerOptions;

const PACKAGE: &str = "postgresql";

/// The settings of a server that lives for one test. Hundreds of short queries over catalogues look costly to the planner, and to compile them
/// would take a fifth of the time that all tests take.
const FLEETING: &[&str] = &["fsync=off", "jit=off"];

/// A running server. Dropping it ends it.
pub struct Postgres {
    server: Mutex<Server>,
    port: u16,
    databases: AtomicU32,
}

impl Postgres {
    /// Starts a server of its own; blocks until it takes connections.
    pub fn start() -> Result<Postgres> {
        Postgres::start_with(FLEETING)
    }

    /// Starts a server for measurements, whose commits wait for the disk as a plant's do. Its data fits into its buffers, and no checkpoint
    /// falls into a measurement that had not fallen into the one it is compared with.
    pub fn start_durable() -> Result<Postgres> {
        Postgres::start_with(&["fsync=on", "shared_buffers=512MB", "max_wal_size=8GB", "checkpoint_timeout=30min"])
    }

    /// Starts a server with other settings, each as `name=value`.
    pub fn start_with(own: &[&str]) -> Result<Postgres> {
        Postgres::start_fresh(&process::program("initdb", PACKAGE)?, process::program("postgres", PACKAGE)?, own)
    }

    /// Starts a server of another version, whose programs are in this directory.
    pub fn start_from(programs: &Path) -> Result<Postgres> {
        Postgres::start_fresh(&programs.join("initdb"), programs.join("postgres"), FLEETING)
    }

    fn start_fresh(initdb: &Path, postgres: PathBuf, own: &[&str]) -> Result<Postgres> {
        let made_by = |data: &Path, user: Option<&User>| {
            let mut initdb = process::command_as(initdb, user);
            initdb
                .args(["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-D"])
                .arg(data);
            Ok(initdb)
        };
        Postgres::start_on(postgres, own, made_by)
    }

    /// Starts a server on the data that this command makes. It gets the path of the data and the user that is to own them.
    fn start_on(
        postgres: PathBuf,
        own: &[&str],
        made_by: impl FnOnce(&Path, Option<&User>) -> Result<Command>,
    ) -> Result<Postgres> {
        let user = process::server_user()?;
        let port = process::free_port()?;
        let mut server = Server::prepare(|directory| {
            let data = directory.join("data");
            let mut command = vec![postgres.into(), "-D".into(), data.into()];
            for setting in settings(directory, port, own) {
                command.extend(["-c".into(), setting.into()]);
            }
            Ok(ServerOptions {
                name: "postgres",
                command,
                environment: vec![],
                user: user.clone(),
                end: Signal::SIGQUIT,
            })
        })?;
        let mut making = made_by(&server.directory().join("data"), user.as_ref())?;
        let made = making.stdin(Stdio::null()).output().with_context(|| format!("cannot run {making:?}"))?;
        if !made.status.success() {
            bail!("{making:?} failed ({}):\n{}", made.status, String::from_utf8_lossy(&made.stderr));
        }
        server.start()?;
        let postgres = Postgres { server: Mutex::new(server), port, databases: AtomicU32::new(0) };
        postgres.wait_ready()?;
        Ok(postgres)
    }

    /// Returns the one server that all tests of this process share. Each test makes its own database.
    ///
    /// # Panics
    /// Panics when the server cannot be started, because a test without its server must fail loudly.
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| match Postgres::start() {
            Ok(postgres) => postgres,
            Err(error) => panic!("the tests need PostgreSQL: {error:#}"),
        })
    }

    /// Returns the URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Returns the port on 127.0.0.1, the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the postmaster's process id, while it runs.
    pub fn pid(&self) -> Option<i32> {
        self.server().pid()
    }

    /// Makes an empty database, and returns its URL.
    pub async fn create_database(&self) -> Result<String> {
        // `template0` takes no connections, so that two databases can be made at the same time.
        self.create_from("template0").await
    }

    /// Makes a copy of a database to which nobody is connected, and returns its URL.
    pub async fn copy_database(&self, url: &str) -> Result<String> {
        self.create_from(url.rsplit('/').next().unwrap_or_default()).await
    }

    async fn create_from(&self, template: &str) -> Result<String> {
        let name = format!("rig_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let (client, connection) =
            tokio_postgres::connect(&self.url("postgres"), NoTls).await.context("cannot reach the rig's PostgreSQL")?;
        let connection = tokio::spawn(connection);
        let made = client.batch_execute(&format!("create database {name} template {template}")).await;
        drop(client);
        connection.await?.context("the connection to the rig's PostgreSQL failed")?;
        made.with_context(|| format!("cannot create database {name}"))?;
        Ok(self.url(&name))
    }

    /// Ends it as a crash would (no checkpoint, connections cut), and starts it again; blocks until it takes connections.
    pub fn restart_immediate(&self) -> Result<()> {
        self.crash()?;
        self.start_again()
    }

    /// Ends it in order; the data stays for `start_again`.
    pub fn stop(&self) -> Result<()> {
        self.server().end(Signal::SIGINT)
    }

    /// Ends it as a crash would; the data stays for `start_again`.
    pub fn crash(&self) -> Result<()> {
        self.server().end(Signal::SIGQUIT)
    }

    /// Kills its postmaster (SIGKILL), as a system that is out of memory would, and starts it again; blocks until it takes connections.
    pub fn restart_killed(&self) -> Result<()> {
        self.server().end(Signal::SIGKILL)?;
        let deadline = Instant::now() + process::PATIENCE;
        loop {
            match self.start_again() {
                // The orphans of the killed postmaster notice its death at different times, and no server starts before the last is gone.
                Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(100)),
                started => return started,
            }
        }
    }

    /// Starts it after `stop` or `crash`, on the same port.
    pub fn start_again(&self) -> Result<()> {
        self.server().start()?;
        self.wait_ready()
    }

    fn server(&self) -> std::sync::MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_ready(&self) -> Result<()> {
        let server = self.server();
        // The status line of the lock file says `ready`, or `standby`, when it takes connections; an open port alone comes too early.
        let lock_file = server.directory().join("data/postmaster.pid");
        server.wait_ready(|| {
            let status = std::fs::read_to_string(&lock_file).unwrap_or_default();
            status.lines().nth(7).is_some_and(|word| ["ready", "standby"].contains(&word.trim()))
                && TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        })
    }
}

fn settings(directory: &Path, port: u16, own: &[&str]) -> Vec<String> {
    // A socket's path must stay under 108 bytes; a longer one would keep the server from starting.
    let socket_directory = if directory.as_os_str().len() < 80 { directory } else { Path::new("/tmp") };
    let mut settings = vec![
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        format!("unix_socket_directories={}", socket_directory.display()),
        "max_connections=200".to_owned(),
        "max_prepared_transactions=10".to_owned(),
        "shared_buffers=64MB".to_owned(),
        "timezone=UTC".to_owned(),
        // So that a witness can tell in which order transactions were committed.
        "track_commit_timestamp=on".to_owned(),
    ];
    // Of a setting that is given twice, the last counts.
    settings.extend(own.iter().map(|&setting| setting.to_owned()));
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_starts_restarts_and_leaves_nothing() {
        let postgres = Postgres::start().unwrap();
        let url = postgres.create_database().await.unwrap();
        let before = postgres.pid();
        let directory = postgres.server().directory().to_owned();

        postgres.restart_immediate().unwrap();
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        client.batch_execute("select 1").await.unwrap();
        drop(client);
        connection.await.unwrap().unwrap();
        let after = postgres.pid();
        drop(postgres);

        assert!(before.is_some() && after.is_some() && before != after);
        assert!(!directory.exists());
    }

    #[tokio::test]
    async fn what_was_committed_survives_a_kill_of_the_postmaster() {
        let postgres = Postgres::start().unwrap();
        let url = postgres.create_database().await.unwrap();
        let run = async |sql: &str| {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            let connection = tokio::spawn(connection);
            let answer = client.simple_query(sql).await.map(|messages| messages.len());
            drop(client);
            connection.await.unwrap().unwrap();
            answer.unwrap()
        };
        run("create table kept (number int); insert into kept values (1)").await;
        let before = postgres.pid();

        postgres.restart_killed().unwrap();

        assert_ne!(postgres.pid(), before);
        run("select 1 / count(*) from kept").await;
    }
}
