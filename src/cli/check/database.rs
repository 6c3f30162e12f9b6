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
    let sql = "select current_setting('server_version'), version from pg_stat_ssl where pid = pg_backend_pid()";
    let row = client.query_opt(sql, &[]).await.ok().flatten();
    let version = row.as_ref().map(|row| row.get::<_, String>(0)).unwrap_or_default();
    let tls = row.and_then(|row| row.get::<_, Option<String>>(1));
    let encryption = match &tls {
        None => "not encrypted".to_owned(),
        Some(version) if database.verifies() => format!("{version}, certificate verified"),
        Some(version) => format!("{version}, certificate not verified"),
    };
    report.ok("database", format!("{}, PostgreSQL {version}, {encryption}", database.target()));
    if !database.is_local() && (tls.is_none() || !database.verifies()) {
        report.warning(
            "database",
            format!(
                "the connection crosses a network and is {encryption}; somebody on the way could read or alter it: write sslmode=verify-full into \
                the URL, and name the server's CA in database.ca_file"
            ),
        );
    }
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
