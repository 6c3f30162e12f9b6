//! Connections to PostgreSQL. In: a URL and a CA file. Out: connected clients, their connections and pools of them. It runs no query but
//! those that take an advisory lock, and never shows a password.

mod anchor;
pub mod locks;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use deadpool_postgres::BuildError;
use deadpool_postgres::Connect;
use deadpool_postgres::Manager;
use deadpool_postgres::ManagerConfig;
use deadpool_postgres::Pool;
use deadpool_postgres::RecyclingMethod;
use deadpool_postgres::Runtime;
use futures_util::future::BoxFuture;
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::Connection;
use tokio_postgres::Socket;
use tokio_postgres::config::Host;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::database::anchor::Anchor;
use crate::secret::Secret;
use crate::tls;
use crate::tls::TlsProblem;

/// Where the database is, and which certificates to trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `postgres://user:password@host:5432/name?sslmode=require`, or `host=… user=…`.
    pub url: Secret,
    /// CA certificates (PEM) to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
}

/// Why there is no connection. None of these errors shows a password.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// The URL cannot be read. The parser's error is left out, since it may quote a piece of the password.
    #[error(
        "is not the address of a PostgreSQL database; write postgres://user:password@host:5432/name?sslmode=require and percent-encode special characters of the password"
    )]
    Url,
    /// A certificate cannot be used.
    #[error("cannot prepare TLS to PostgreSQL")]
    Tls(#[source] TlsProblem),
    /// The pool cannot be built. That should not happen, since the pool is told everything that it needs.
    #[error("cannot prepare a pool of connections to PostgreSQL")]
    Pool(#[source] BuildError),
    /// The server does not answer, or refuses us.
    #[error("cannot connect to PostgreSQL at {target}")]
    Connect {
        /// User, host, port and database.
        target: String,
        /// The error of the driver.
        source: tokio_postgres::Error,
    },
}

/// How long connecting may take, and how long a server may be silent before TCP asks whether it is still there.
const PATIENCE: Duration = Duration::from_secs(10);

/// Options for the server. JIT is off because reads of ranges look costly to the planner and are not: to compile them would take longer
/// than to run them. The keepalives let the server notice within half a minute that we are gone: until then our session holds the lock that
/// lets only one daemon's tail lead.
const OPTIONS: &str = "-c jit=off -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3";

/// A connection, which has to be polled. Notifications come out of it.
pub type PostgresConnection = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Everything that a connection to the database needs. Clones share it.
#[derive(Clone)]
pub struct Database {
    config: tokio_postgres::Config,
    connector: MakeRustlsConnect,
    target: String,
    /// With `sslmode=prefer`, whether the server's certificate could not be verified.
    without_tls: Arc<AtomicBool>,
    /// The session beside which pooled connections are used, if they are not to be used without one.
    anchor: Option<Anchor>,
}

/// Checks that a URL can be read.
pub fn check_url(url: &Secret) -> Result<(), DatabaseError> {
    parse(url).map(drop)
}

impl Database {
    /// Reads the URL and the certificates, without connecting.
    pub fn new(settings: &Settings) -> Result<Database, DatabaseError> {
        let config = parse(&settings.url)?;
        let tls = tls::client(settings.ca_file.as_deref(), None).map_err(DatabaseError::Tls)?;
        let target = target(&config);
        Ok(Database {
            config,
            connector: MakeRustlsConnect::new(tls),
            target,
            without_tls: Arc::default(),
            anchor: None,
        })
    }

    /// Returns the same database, with this mark at the end of the name of each session.
    pub fn marked(mut self, mark: &str) -> Database {
        // The server cuts names off after 63 bytes.
        let name: String = self.config.get_application_name().unwrap_or_default().chars().take(40).collect();
        self.config.application_name(name + mark);
        self
    }

    /// Returns the same database, whose pools use only connections to the server of the session that was given to [`Database::anchor_at`]
    /// last.
    pub fn anchored(self) -> Database {
        Database { anchor: Some(Anchor::default()), ..self }
    }

    /// Lets the pools use connections to the server of this session. Those that were opened before are used no more.
    pub async fn anchor_at(&self, client: &Client) -> Result<(), tokio_postgres::Error> {
        match &self.anchor {
            Some(anchor) => anchor.set(client).await,
            None => Ok(()),
        }
    }

    /// Lets the pools use no connection until there is another anchor.
    pub fn lose_anchor(&self) {
        if let Some(anchor) = &self.anchor {
            anchor.clear();
        }
    }

    /// Returns user, host, port and database, for messages.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Creates a client and its connection, which the caller has to poll.
    pub async fn connect_apart(&self) -> Result<(Client, PostgresConnection), DatabaseError> {
        self.open().await.map_err(|source| DatabaseError::Connect { target: self.target.clone(), source })
    }

    /// Creates a client whose connection is polled by a task of its own, which ends with the client.
    pub async fn connect(&self) -> Result<Client, DatabaseError> {
        let (client, link) = self.connect_apart().await?;
        drop(spawned(link));
        Ok(client)
    }

    /// Creates a pool of up to `size` connections, which are opened when they are needed. Waiting for one ends after the same time as
    /// connecting.
    pub fn pool(&self, size: usize) -> Result<Pool, DatabaseError> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(self.config.clone(), self.clone(), recycling);
        let pool = Pool::builder(manager).max_size(size).runtime(Runtime::Tokio1);
        let pool = self.anchor.iter().fold(pool, |pool, anchor| anchor.guard(pool));
        pool.wait_timeout(Some(PATIENCE)).create_timeout(Some(PATIENCE)).build().map_err(DatabaseError::Pool)
    }

    /// As in libpq, `prefer` goes on without TLS when TLS fails, and `require` does not. Unlike in libpq, `require` verifies the
    /// certificate.
    async fn open(&self) -> Result<(Client, PostgresConnection), tokio_postgres::Error> {
        let mut config = self.config.clone();
        if self.without_tls.load(Ordering::Relaxed) {
            config.ssl_mode(SslMode::Disable);
        }
        let error = match config.connect(self.connector.clone()).await {
            Err(error) if config.get_ssl_mode() == SslMode::Prefer && is_of_tls(&error) => error,
            outcome => return outcome,
        };
        let opened = config.ssl_mode(SslMode::Disable).connect(self.connector.clone()).await?;
        if !self.without_tls.swap(true, Ordering::Relaxed) {
            let error = tls_reason(&error);
            tracing::warn!(database = %self.target, error, "the connection to PostgreSQL is not encrypted, for its certificate \
                cannot be verified; set database.ca_file and sslmode=require, or sslmode=disable where that is meant");
        }
        Ok(opened)
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Database({})", self.target)
    }
}

impl Connect for Database {
    fn connect(
        &self,
        _: &tokio_postgres::Config,
    ) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        Box::pin(async {
            let (client, link) = self.open().await?;
            Ok((client, spawned(link)))
        })
    }
}

fn spawned(link: PostgresConnection) -> JoinHandle<()> {
    tokio::spawn(async move {
        // Whoever waits for an answer gets the error too; this line shows when it happened.
        if let Err(error) = link.await {
            tracing::debug!(%error, "a connection to PostgreSQL ended");
        }
    })
}

fn parse(url: &Secret) -> Result<tokio_postgres::Config, DatabaseError> {
    // The driver knows nothing stricter than `require`; here that verifies host and chain, which is what these two ask for.
    let text = url
        .expose()
        .trim()
        .replace("sslmode=verify-full", "sslmode=require")
        .replace("sslmode=verify-ca", "sslmode=require");
    let mut config: tokio_postgres::Config = text.parse().map_err(|_| DatabaseError::Url)?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(DatabaseError::Url);
    }
    if config.get_application_name().is_none() {
        config.application_name("andon");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(PATIENCE);
    }
    let options = format!("{} {OPTIONS}", config.get_options().unwrap_or_default());
    config.options(options.trim());
    // A server that vanished without a word is noticed within half a minute, and not after the system's default of two hours.
    config.keepalives_idle(PATIENCE).keepalives_interval(PATIENCE / 2).keepalives_retries(3);
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(PATIENCE * 3);
    }
    Ok(config)
}

fn target(config: &tokio_postgres::Config) -> String {
    let mut ports = config.get_ports().iter().copied();
    let mut port = 5432;
    let named = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    });
    let names: Vec<String> = if config.get_hosts().is_empty() {
        config.get_hostaddrs().iter().map(ToString::to_string).collect()
    } else {
        named.collect()
    };
    let hosts = names.into_iter().map(|host| {
        // A single port is that of all hosts.
        port = ports.next().unwrap_or(port);
        format!("{host}:{port}")
    });
    let hosts = hosts.collect::<Vec<_>>().join(",");
    let user = config.get_user().unwrap_or("(current user)");
    let database = config.get_dbname().or(config.get_user()).unwrap_or("(default)");
    format!("{user}@{hosts}/{database}")
}

fn is_of_tls(error: &tokio_postgres::Error) -> bool {
    source_of_tls(error).is_some()
}

fn tls_reason(error: &tokio_postgres::Error) -> String {
    source_of_tls(error).map_or_else(|| error.to_string(), ToString::to_string)
}

fn source_of_tls(error: &tokio_postgres::Error) -> Option<&rustls::Error> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let within = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(found) = within.and_then(|error| error.downcast_ref()).or_else(|| error.downcast_ref()) {
            return Some(found);
        }
        source = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> Settings {
        Settings { url: Secret::new(url.to_owned()), ca_file: None }
    }

    #[test]
    fn a_message_names_the_target_and_no_password() {
        let database = Database::new(&settings("postgres://andon:hunter2@db.plant/mes?sslmode=verify-full")).unwrap();

        assert_eq!(database.target(), "andon@db.plant:5432/mes");
        assert_eq!(database.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(database.config.get_application_name(), Some("andon"));
        assert!(!format!("{database:?}").contains("hunter2"));
    }

    #[test]
    fn a_text_that_is_no_address_is_refused_without_being_shown() {
        for url in ["", "plant", "mysql://root:hunter2@db/x", "postgres://u@db/x?hunter2=1", "postgres:///name"] {
            let error = check_url(&Secret::new(url.to_owned())).expect_err(url);
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn a_socket_of_the_system_is_an_address_too() {
        let database = Database::new(&settings("host=/run/postgresql user=andon dbname=mes port=5433")).unwrap();

        assert_eq!(database.target(), "andon@/run/postgresql:5433/mes");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named() {
        let database = Database::new(&settings("postgres://andon:hunter2@127.0.0.1:1/mes")).unwrap();

        let error = anyhow::Error::from(database.connect().await.err().unwrap());

        let text = format!("{error:#}");
        assert!(text.starts_with("cannot connect to PostgreSQL at andon@127.0.0.1:1/mes: "), "{text}");
        assert!(!text.contains("hunter2"));
    }
}
