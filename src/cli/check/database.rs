//! The part of the check that asks the database. In: a connection. Out: findings about the server, the schema and a mapping. It only reads.

use tokio_postgres::Client;

use crate::capture;
use crate::capture::Mapping;
use crate::capture::Types;
use crate::cli::check::report::CheckReport;
use crate::database::Database;
use crate::migrate;

/// Connects. Returns no client when nothing in the database can be checked.
pub(super) async fn connect(database: &Database, report: &mut CheckReport) -> Option<Client> {
    let connected = database.connect().await;
    let client =
        connected.map_err(|error| report.fault("database", format!("{:#}", anyhow::Error::from(error)))).ok()?;
    let version =
        client.query_one("select current_setting('server_version')", &[]).await.map(|row| row.get::<_, String>(0));
    report.ok("database", format!("{}, PostgreSQL {}", database.target(), version.unwrap_or_default()));
    Some(client)
}

/// Checks the schema. Returns false when nothing that is in it can be checked.
pub(super) async fn has_schema(client: &Client, report: &mut CheckReport) -> bool {
    match migrate::pending(client).await {
        Ok(pending) if pending.is_empty() => {
            report.ok("schema", "andon is up to date");
            true
        }
        Ok(pending) => {
            report.fault("schema", format!("{} not applied; run `andon migrate`", pending.join(", ")));
            false
        }
        Err(error) => {
            report.fault("schema", format!("{:#}", anyhow::Error::from(error)));
            false
        }
    }
}

/// Checks a mapping against the database before it is attached, and returns the types that its expressions have there.
pub(super) async fn mapping(client: &mut Client, mapping: &Mapping, report: &mut CheckReport) -> Option<Types> {
    match capture::check(client, mapping).await {
        Ok(checked) => {
            checked.findings.iter().for_each(|finding| report.fault("mapping", finding));
            if checked.findings.is_empty() {
                report.ok("mapping", format!("{} fits the database", mapping.file));
                checked.left_out.iter().for_each(|finding| report.ok("mapping", format!("left out: {finding}")));
            }
            Some(checked.types)
        }
        Err(error) => {
            report.fault("mapping", format!("{:#}", anyhow::Error::from(error)));
            None
        }
    }
}
