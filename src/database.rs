//! The connection to PostgreSQL. In: a URL, and a CA to trust. Out: connections and a pool. It never shows a password.

use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::Context as _;
use deadpool_postgres::Manager;
use deadpool_postgres::ManagerConfig;
use deadpool_postgres::Pool;
use deadpool_postgres::RecyclingMethod;
use deadpool_postgres::Runtime;
use tokio_postgres::Client;
use tokio_postgres::Config;
use tokio_postgres::Connection;
use tokio_postgres::Socket;
use tokio_postgres::config::Host;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::tls;

/// A database that can be connected to.
#[derive(Clone)]
pub struct Database {
    config: Config,
    tls: MakeRustlsConnect,
}

/// How long connecting may take, and how long a silent peer is believed to be alive.
const PATIENCE: Duration = Duration::from_secs(10);

impl Database {
    /// Reads `postgres://user@host/name`, or the `key=value` form.
    pub fn new(url: &str, ca_file: Option<&Path>) -> anyhow::Result<Database> {
        let mut config =
            Config::from_str(url).context("database.url is not a PostgreSQL URL such as postgres://user@host/name")?;
        config.application_name("andon").connect_timeout(PATIENCE);
        config
            .keepalives_idle(PATIENCE)
            .keepalives_interval(PATIENCE / 2)
            .keepalives_retries(3)
            .tcp_user_timeout(PATIENCE * 3);
        let tls = MakeRustlsConnect::new(tls::client(ca_file, None)?);
        Ok(Database { config, tls })
    }

    /// A connection that lives as long as its client.
    pub async fn connect(&self) -> anyhow::Result<Client> {
        let (client, connection) = self.connect_apart().await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "a database connection ended");
            }
        });
        Ok(client)
    }

    /// A client and its connection, for who wants to see the server's messages.
    pub async fn connect_apart(
        &self,
    ) -> anyhow::Result<(Client, Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>)> {
        self.config.connect(self.tls.clone()).await.with_context(|| format!("cannot connect to {}", self.describe()))
    }

    /// A pool of at most `size` connections.
    pub fn pool(&self, size: usize) -> anyhow::Result<Pool> {
        let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(self.config.clone(), self.tls.clone(), config);
        let pool = Pool::builder(manager).max_size(size).runtime(Runtime::Tokio1);
        Ok(pool.wait_timeout(Some(PATIENCE)).create_timeout(Some(PATIENCE)).build()?)
    }

    fn describe(&self) -> String {
        let hosts: Vec<String> = self
            .config
            .get_hosts()
            .iter()
            .map(|host| match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let user = self.config.get_user().unwrap_or("(nobody)");
        format!("database `{}` at {}:{port} as {user}", self.config.get_dbname().unwrap_or(user), hosts.join(","))
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe())
    }
}
