//! The part of the check that asks the database. In: a connection. Out: findings about the server, the schema, the attached sources, the
//! lanes and the rows of the destinations. It only reads.

use tokio_postgres::Client;

use crate::capture;
use crate::capture::Mapping;
use crate::capture::Types;
use crate::cli::check::findings::Findings;
use crate::config::Config;
use crate::database::Database;
use crate::destination::Defaults;
use crate::destination::Destination;
use crate::gateway::destinations;
use crate::migrate;

/// Connects; none when there is no use in going on.
pub(super) async fn database(database: &Database, findings: &mut Findings) -> Option<Client> {
    let connected = database.connect().await;
    let client =
        connected.map_err(|error| findings.fault("database", format!("{:#}", anyhow::Error::from(error)))).ok()?;
    let version =
        client.query_one("select current_setting('server_version')", &[]).await.map(|row| row.get::<_, String>(0));
    findings.good("database", format!("{}, PostgreSQL {}", database.target(), version.unwrap_or_default()));
    match migrate::pending(&client).await {
        Ok(pending) if pending.is_empty() => {
            findings.good("schema", "andon is up to date");
            Some(client)
        }
        Ok(pending) => {
            findings.fault("schema", format!("{} not applied; run `andon migrate`", pending.join(", ")));
            None
        }
        Err(error) => {
            findings.fault("schema", format!("{:#}", anyhow::Error::from(error)));
            None
        }
    }
}

/// A mapping against the database, before it is attached; and the types that its expressions have there.
pub(super) async fn mapping(client: &mut Client, mapping: &Mapping, findings: &mut Findings) -> Option<Types> {
    match capture::check(client, mapping).await {
        Ok(checked) => {
            checked.findings.iter().for_each(|finding| findings.fault("mapping", finding));
            if checked.findings.is_empty() {
                findings.good("mapping", format!("{} fits the database", mapping.file));
            }
            Some(checked.types)
        }
        Err(error) => {
            findings.fault("mapping", format!("{:#}", anyhow::Error::from(error)));
            None
        }
    }
}

/// The mappings as they were attached: the tables may have changed since.
pub(super) async fn sources(client: &mut Client, findings: &mut Findings) {
    let rows = match client.query("select name, mapping from andon.sources order by name", &[]).await {
        Ok(rows) => rows,
        Err(error) => return findings.fault("source", format!("cannot read andon.sources: {error}")),
    };
    if rows.is_empty() {
        findings
            .warning("source", "none is attached; run `andon attach --source FILE`, or only andon.emit() makes events");
    }
    for row in rows {
        let (name, text): (String, String) = (row.get(0), row.get(1));
        match Mapping::parse(&format!("{name} as attached"), &text) {
            Ok(attached) => match capture::check(client, &attached).await {
                Ok(checked) if checked.findings.is_empty() => {
                    findings.good("source", format!("{name} fits the database"));
                }
                Ok(checked) => checked.findings.iter().for_each(|finding| findings.fault("source", finding)),
                Err(error) => findings.fault("source", format!("{name}: {:#}", anyhow::Error::from(error))),
            },
            Err(problems) => problems.0.iter().for_each(|finding| findings.fault("source", finding)),
        }
    }
}

/// What the daemon and the triggers have put on record: nothing of it is silent.
pub(super) async fn troubles(client: &Client, findings: &mut Findings) {
    let asked = client
        .query(
            "select 'capture', format('%s changes of %s could not be captured, last %s: %s; see andon.capture_errors',
                                      count(*), table_name, max(at)::timestamptz(0), (array_agg(message order by at desc))[1])
               from andon.capture_errors group by table_name
             union all
             select 'lane', format('%s (%s) is %s since %s: %s', lane, name, state, state_since::timestamptz(0),
                                   coalesce(reason, 'no reason given'))
               from andon.lanes where state in ('open', 'disabled')
             union all
             select 'lane', format('%s (%s) was away for too long and lost %s events, the last %s', lane, name, lost, lost_at::timestamptz(0))
               from andon.lanes where lost > 0
             union all
             select 'deliveries', format('%s to %s are %s; run `andon deliveries`', count(*), lane, state)
               from andon.deliveries where state = 'dead' group by lane, state",
            &[],
        )
        .await;
    match asked {
        Ok(rows) => {
            for row in rows {
                let subject = match row.get::<_, &str>(0) {
                    "capture" => "capture",
                    "lane" => "lane",
                    _ => "deliveries",
                };
                findings.warning(subject, row.get::<_, String>(1));
            }
        }
        Err(error) => findings.fault("ledger", format!("cannot read what is on record: {error}")),
    }
}

/// Every active row of the destinations' tables; those that can be used come back.
pub(super) async fn destinations(client: &Client, config: &Config, findings: &mut Findings) -> Vec<Destination> {
    let defaults = Defaults { mqtt: config.mqtt.clone(), webhook: config.webhook.clone() };
    let listed = match destinations::list(client, &defaults).await {
        Ok(listed) => listed,
        Err(error) => {
            findings.fault("destination", format!("{error:#}"));
            return Vec::new();
        }
    };
    if listed.is_empty() {
        findings.warning("destination", "none is active; events stay in the log until there is one");
    }
    let mut usable = Vec::new();
    for listed in listed {
        match listed.usable {
            Ok(destination) => usable.push(destination),
            Err(problems) => problems.iter().for_each(|problem| findings.fault("destination", problem)),
        }
    }
    usable
}
