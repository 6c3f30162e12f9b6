//! Standbys. In: a server. Out: a copy of it that follows it, as far as it is let, until it is promoted to be a server of its own.

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::NoTls;

use crate::postgres::PACKAGE;
use crate::postgres::Postgres;
use crate::process;
use crate::process::PATIENCE;

impl Postgres {
    /// Starts a standby that follows this server; blocks until it takes connections.
    pub fn start_standby(&self) -> Result<Postgres> {
        let source = format!("host=127.0.0.1 port={} user=postgres", self.port);
        Postgres::start_on(process::program("postgres", PACKAGE)?, &["fsync=off"], |data, user| {
            let mut copying = process::command_as(&process::program("pg_basebackup", PACKAGE)?, user);
            copying.args(["--no-sync", "-R", "-X", "stream", "-c", "fast", "-d", &source, "-D"]).arg(data);
            Ok(copying)
        })
    }

    /// Waits until this standby has all that its primary has written so far, and then lets it follow no further.
    pub async fn stop_following(&self, primary: &Postgres) -> Result<()> {
        let primary = connect(&primary.url("postgres")).await?;
        let written: String = primary.query_one("select pg_current_wal_lsn()::text", &[]).await?.get(0);
        let standby = connect(&self.url("postgres")).await?;
        until(&standby, &format!("select pg_last_wal_replay_lsn() >= '{written}'")).await?;
        standby.batch_execute("alter system set primary_conninfo = ''").await?;
        standby.batch_execute("select pg_reload_conf()").await?;
        until(&standby, "select not exists (select from pg_stat_wal_receiver)").await
    }

    /// Makes this standby a primary with a timeline of its own, and returns when it takes writes.
    pub async fn promote(&self) -> Result<()> {
        let standby = connect(&self.url("postgres")).await?;
        let promoted: bool = standby.query_one("select pg_promote(true, 300)", &[]).await?.get(0);
        if promoted { Ok(()) } else { bail!("the standby was not promoted within five minutes") }
    }
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.with_context(|| format!("cannot reach {url}"))?;
    tokio::spawn(connection);
    Ok(client)
}

async fn until(client: &Client, sql: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut clock = tokio::time::interval(Duration::from_millis(20));
    while !client.query_one(sql, &[]).await?.get::<_, bool>(0) {
        if Instant::now() > deadline {
            bail!("never became true: {sql}");
        }
        clock.tick().await;
    }
    Ok(())
}
