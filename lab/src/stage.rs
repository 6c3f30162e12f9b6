//! The servers that everything in the lab stands on. In: the program under test, and which kind of PostgreSQL. Out: a throw-away
//! PostgreSQL, databases that Andon has migrated, brokers, connections. It starts no gateway and measures nothing.

use std::sync::Arc;

use anyhow::Context as _;
use anyhow::Result;
use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Postgres;
use tokio_postgres::Client;
use tokio_postgres::NoTls;

use crate::andon::Andon;

/// A PostgreSQL, and the `andon` that is used on it.
pub(crate) struct Stage {
    pub(crate) andon: Andon,
    pub(crate) postgres: Arc<Postgres>,
}

impl Stage {
    /// Starts the server: `server` is [`Postgres::start`] or one of its variants.
    pub(crate) async fn start(
        andon: &Andon,
        server: impl FnOnce() -> Result<Postgres> + Send + 'static,
    ) -> Result<Stage> {
        Ok(Stage { andon: andon.clone(), postgres: Arc::new(blocking(server).await?) })
    }

    /// Makes a database with schema `andon` and returns its URL.
    pub(crate) async fn database(&self) -> Result<String> {
        let database = self.postgres.create_database().await?;
        self.andon.migrate(&database).await?;
        Ok(database)
    }

    /// Ends the server in order, so that nothing is left of it when the program ends.
    pub(crate) fn stop(&self) -> Result<()> {
        self.postgres.stop()
    }
}

/// Starts a broker.
pub(crate) async fn broker(options: MosquittoOptions) -> Result<Mosquitto> {
    blocking(move || Mosquitto::start(&options)).await
}

/// Connects to a database. A connection that breaks shows at its next use.
pub(crate) async fn connect(database: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(database, NoTls).await.context("cannot reach the database")?;
    tokio::spawn(connection);
    Ok(client)
}

/// Runs what blocks on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(act: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(act).await.context("a blocking step was given up")?
}
