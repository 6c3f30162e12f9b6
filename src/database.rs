//! Connections to PostgreSQL. In: a URL and a CA file. Out: connected clients, their connections and pools of them, each a session of
//! Andon's own on a server that takes writes. It runs no query but those that prepare a session or take an advisory lock, and never shows
//! a password.

mod anchor;
mod dial;
mod encryption;
mod error;
pub mod locks;
mod password_guard;
mod pooler;
pub(crate) mod portion;
pub mod reconnect;
mod session;
pub mod turns;
mod url;

use std::fmt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use deadpool_postgres::Connect;
use deadpool_postgres::Manager;
use deadpool_postgres::ManagerConfig;
use deadpool_postgres::Pool;
use deadpool_postgres::RecyclingMethod;
use deadpool_postgres::Runtime;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::Config;
use tokio_postgres::error::SqlState;

use crate::database::anchor::Anchor;
use crate::database::dial::Hosts;
pub use crate::database::dial::PostgresConnection;
pub use crate::database::error::DatabaseError;
use crate::database::pooler::Verdict;
use crate::pem::Pem;
use crate::secret::Secret;
use crate::tls;
use crate::tls::Peer;

/// Where the database is, and which certificates to trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `postgres://user:password@host:5432/name?sslmode=require`, or `host=… user=…`.
    pub url: Secret,
    /// CA certificates (PEM) to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
}

/// Everything that a connection to the database needs. Clones share it.
#[derive(Clone)]
pub struct Database {
    hosts: Hosts,
    ignored: Vec<String>,
    /// Whether connections were found to be sessions of their own, in a database that Andon can work with.
    is_judged: Arc<Mutex<bool>>,
    /// The session beside which pooled connections are used, if they are not to be used without one.
    anchor: Option<Anchor>,
}

/// Checks that a URL can be read.
pub fn check_url(url: &Secret) -> Result<(), DatabaseError> {
    url::read(url.expose())?;
    Ok(())
}

/// Returns the hosts and ports of a URL, `localhost` for a socket of the file system. A URL that cannot be read has none.
pub fn endpoints(url: &Secret) -> Vec<(String, u16)> {
    url::read(url.expose()).map(|address| dial::endpoints(&address.hosts)).unwrap_or_default()
}

/// Returns whether a URL that can be read holds a password.
pub fn has_password(url: &Secret) -> bool {
    url::read(url.expose()).is_ok_and(|address| address.hosts.iter().any(|host| host.get_password().is_some()))
}

impl Database {
    /// Reads the URL and the certificates, without connecting.
    pub fn new(settings: &Settings) -> Result<Database, DatabaseError> {
        let mut address = url::read(settings.url.expose())?;
        let ca_file = match (&settings.ca_file, &address.ca_file) {
            (Some(one), Some(other)) if one != other => return Err(DatabaseError::TwoAuthorities),
            (one, other) => one.as_deref().or(other.as_deref()),
        };
        if ca_file.is_some() || address.identity.is_some() {
            // Whoever names certificates relies on them.
            address.tls = address.tls.with_certificates();
        }
        let file = |path: &Path| Pem::File(path.to_owned());
        let identity = address.identity.as_ref().map(|(certificate, key)| (file(certificate), file(key)));
        let shown = identity.as_ref().map(|(certificate, key)| (certificate, key));
        let tls = tls::client(ca_file.map(file).as_ref(), shown).map_err(DatabaseError::Tls)?;
        let hosts = Hosts::new(&address, tls);
        for parameter in &address.ignored {
            let database = &hosts.target;
            tracing::warn!(
                parameter,
                database,
                "a parameter of the database's URL means nothing to Andon and is ignored"
            );
        }
        Ok(Database { hosts, ignored: address.ignored, is_judged: Arc::default(), anchor: None })
    }

    /// Returns the same database, with this mark at the end of the name of each session.
    pub fn marked(mut self, mark: &str) -> Database {
        self.hosts.mark(mark);
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
        &self.hosts.target
    }

    /// Returns the parameters of the URL that mean nothing to Andon.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Returns whether connections are made only to a server whose certificate is verified.
    pub fn verifies(&self) -> bool {
        self.hosts.verifies()
    }

    /// Returns whether all hosts are this machine, so that no network lies between.
    pub fn is_local(&self) -> bool {
        self.hosts.is_local()
    }

    /// Creates a client and its connection, which the caller has to poll.
    pub async fn connect_apart(&self) -> Result<(Client, PostgresConnection), DatabaseError> {
        self.refuse_unfit().await?;
        let opening = timeout(self.hosts.patience(), self.hosts.open()).await;
        let opened =
            opening.map_err(|_| self.silent()).and_then(|opened| opened.map_err(|source| self.explained(source)));
        if opened.is_err() {
            // What was away may come back as another.
            *self.is_judged.lock().await = false;
        }
        opened
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
        let manager = Manager::from_connect(Config::new(), self.clone(), recycling);
        let pool = Pool::builder(manager).max_size(size).runtime(Runtime::Tokio1);
        let pool = self.anchor.iter().fold(pool, |pool, anchor| anchor.guard(pool));
        let patience = Some(self.hosts.patience());
        pool.wait_timeout(patience).create_timeout(patience).build().map_err(DatabaseError::Pool)
    }

    /// Finds out whether Andon can work with this database at all, once until it is away. Later connections are like the first ones.
    async fn refuse_unfit(&self) -> Result<(), DatabaseError> {
        let mut is_judged = self.is_judged.lock().await;
        if !*is_judged {
            // Each step has a time limit of its own, but for the answers of a server that falls silent.
            let judged = timeout(self.hosts.patience() * 2, self.judge()).await;
            *is_judged = judged.map_err(|_| self.silent())??;
        }
        Ok(())
    }

    /// Looks for a pooler and at the encoding. Returns false if there is no second connection to judge by.
    async fn judge(&self) -> Result<bool, DatabaseError> {
        let connect_error = |source| self.explained(source);
        let (first, link) = self.hosts.dial().await.map_err(connect_error)?;
        drop(spawned(link));
        let encoding = session::encoding(&first).await.map_err(connect_error)?;
        if encoding == "SQL_ASCII" {
            return Err(DatabaseError::NoEncoding { target: self.hosts.target.clone() });
        }
        let second = match self.hosts.dial().await {
            Ok((second, link)) => {
                drop(spawned(link));
                second
            }
            // A role may have a limit of a single connection, which is enough for most commands.
            Err(error) if error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS) => return Ok(false),
            Err(error) => return Err(connect_error(error)),
        };
        let unit = match pooler::judge(&first, &second).await.map_err(connect_error)? {
            Verdict::OwnSession => return Ok(true),
            Verdict::SharedByTransaction => "transaction",
            Verdict::SharedByStatement => "statement",
        };
        Err(DatabaseError::Pooled { target: self.hosts.target.clone(), unit })
    }

    fn silent(&self) -> DatabaseError {
        DatabaseError::Silent { target: self.hosts.target.clone() }
    }

    fn explained(&self, source: tokio_postgres::Error) -> DatabaseError {
        let target = self.hosts.target.clone();
        let is_options =
            |error: &tokio_postgres::error::DbError| error.message().ends_with("startup parameter: options");
        if dial::has_no_tls(&source) {
            DatabaseError::NoTls { target }
        } else if let Some(advice) = tls::explain(&source, Peer::Database) {
            DatabaseError::Encryption { target, advice }
        } else if session::is_of_standby(&source) {
            DatabaseError::Standby { target, source }
        } else if source.as_db_error().is_some_and(is_options) {
            DatabaseError::PoolerRefusesOptions { target, source }
        } else {
            DatabaseError::Connect { target, source }
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Database({})", self.hosts.target)
    }
}

impl Connect for Database {
    fn connect(&self, _: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        Box::pin(async {
            let (client, link) = self.hosts.open().await?;
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
        assert!(!format!("{database:?}").contains("hunter2"));
    }

    #[test]
    fn a_socket_of_the_system_is_an_address_too() {
        let database = Database::new(&settings("host=/run/postgresql user=andon dbname=mes port=5433")).unwrap();

        assert_eq!(database.target(), "andon@/run/postgresql:5433/mes");
    }

    #[test]
    fn each_host_of_the_url_and_each_address_is_an_endpoint_and_a_socket_is_this_machine() {
        let url = "host=/run/postgresql,db.plant,db2.plant hostaddr=,10.0.0.5, port=5433,5432,6432 dbname=mes password=hunter2";
        let at = |host: &str, port| (host.to_owned(), port);

        let expected = [at("localhost", 5433), at("db.plant", 5432), at("10.0.0.5", 5432), at("db2.plant", 6432)];
        assert_eq!(endpoints(&Secret::new(url.to_owned())), expected);
        assert_eq!(endpoints(&Secret::new("postgres://db.plant/mes".to_owned())), [at("db.plant", 5432)]);
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
