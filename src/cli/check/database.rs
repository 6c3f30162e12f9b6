//! The part of the check that asks the database. In: a connection. Out: findings about the server, the schema, the attached sources, the
//! lanes and the rows of the destinations. It only reads.

use tokio_postgres::Client;

use crate::capture;
use crate::capture::Mapping;
use crate::capture::Types;
use crate::cli::check::report::CheckReport;
use crate::config::Config;
use crate::database::Database;
use crate::destination::Defaults;
use crate::destination::Destination;
use crate::gateway::destinations;
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

/// Checks the attached mappings once more, since the tables may have changed after they were attached.
pub(super) async fn sources(client: &mut Client, report: &mut CheckReport) {
    let rows = match client.query("select name, mapping from andon.sources order by name", &[]).await {
        Ok(rows) => rows,
        Err(error) => {
            let error = anyhow::Error::from(error);
            return report.fault("source", format!("cannot read andon.sources: {error:#}"));
        }
    };
    if rows.is_empty() {
        report.warning(
            "source",
            "no source is attached; run `andon attach --source FILE`, else only andon.emit() creates events",
        );
    }
    for row in rows {
        let (name, text): (String, String) = (row.get(0), row.get(1));
        match Mapping::parse(&format!("{name} as attached"), &text) {
            Ok(attached) => match capture::check(client, &attached).await {
                Ok(checked) if checked.findings.is_empty() => {
                    report.ok("source", format!("{name} fits the database"));
                    checked.left_out.iter().for_each(|finding| report.ok("source", format!("left out: {finding}")));
                    match capture::outdated(client, &attached).await {
                        Ok(tables) => tables.iter().for_each(|table| {
                            report.fault(
                                "source",
                                format!("{name}: the capture of {table} is not as this andon installs it; run `andon attach` again"),
                            );
                        }),
                        Err(error) => report.fault("source", format!("{name}: {:#}", anyhow::Error::from(error))),
                    }
                }
                Ok(checked) => checked.findings.iter().for_each(|finding| report.fault("source", finding)),
                Err(error) => report.fault("source", format!("{name}: {:#}", anyhow::Error::from(error))),
            },
            Err(problems) => problems.0.iter().for_each(|finding| report.fault("source", finding)),
        }
    }
}

/// Reports the problems that the daemon and the triggers have recorded, so that none of them goes unnoticed.
pub(super) async fn recorded_problems(client: &Client, report: &mut CheckReport) {
    let rows = client
        .query(
            "select 'capture', format('%s changes of %s could not be captured, last %s: %s; see andon.capture_errors',
                                      count(*), table_name, max(at)::timestamptz(0), (array_agg(message order by at desc))[1])
               from andon.capture_errors where source <> 'andon.log' group by table_name
             union all
             select 'log', format('%s events cannot be read and go to nobody, the last at %s is %s: %s; once you know, delete its row in andon.capture_errors',
                                  count(*), max(at)::timestamptz(0), (array_agg(key order by at desc))[1], (array_agg(message order by at desc))[1])
               from andon.capture_errors where source = 'andon.log' having count(*) > 0
             union all
             select 'lane', format('%s (%s) is %s since %s: %s', lane, name, state, state_since::timestamptz(0),
                                   coalesce(reason, 'no reason given'))
               from andon.lanes where state in ('open', 'disabled', 'paused')
             union all
             select 'fault', format('%s (%s) is %s since %s: %s', lane, name, state, state_since::timestamptz(0), reason)
               from andon.lanes where reason like 'cannot read the destinations in %' or reason like 'it failed by a fault of Andon%'
             union all
             select 'progress', format('%s (%s) delivers, but %s (since %s)', lane, name, reason, state_since::timestamptz(0))
               from andon.lanes where state = 'retrying' and reason like 'cannot write its progress: %'
             union all
             select 'lane', format('%s (%s) fell too far behind and lost %s events, the last at %s', lane, name, lost, lost_at::timestamptz(0))
               from andon.lanes where lost > 0
             union all
             select 'deliveries', format('%s to %s are %s; run `andon deliveries`', count(*), lane, state)
               from andon.deliveries where state = 'dead' group by lane, state",
            &[],
        )
        .await;
    match rows {
        Ok(rows) => {
            for row in rows {
                let problem: String = row.get(1);
                match row.get::<_, &str>(0) {
                    // Nobody will ever get these events, so it takes a person to say that this is known.
                    "log" => report.fault("log", problem),
                    "progress" => report.fault("lane", problem),
                    // `andon run` cannot do its work, whatever the role of `andon check` can do.
                    "fault" => report.fault("lane", problem),
                    "capture" => report.warning("capture", problem),
                    "lane" => report.warning("lane", problem),
                    _ => report.warning("deliveries", problem),
                }
            }
        }
        Err(error) => {
            let error = anyhow::Error::from(error);
            report.fault("ledger", format!("cannot read the recorded problems: {error:#}"));
        }
    }
}

/// Checks every active row of the destination tables, and returns the destinations that can be used.
pub(super) async fn destinations(client: &mut Client, config: &Config, report: &mut CheckReport) -> Vec<Destination> {
    let defaults = Defaults { mqtt: config.mqtt.clone(), webhook: config.webhook.clone() };
    let listing = match destinations::list(client, &defaults).await {
        Ok(listing) => listing,
        Err(error) => {
            report.fault("destination", format!("{error:#}"));
            return Vec::new();
        }
    };
    for unread in &listing.unread {
        report.fault("destination", &unread.reason);
    }
    let listed = listing.active;
    if listed.is_empty() && listing.unread.is_empty() {
        report.warning("destination", "no destination is active; events stay in the log until there is one");
    }
    let mut usable = Vec::new();
    for listed in listed {
        match listed.usable {
            Ok(destination) => usable.push(destination),
            Err(problems) => problems.iter().for_each(|problem| report.fault("destination", problem)),
        }
    }
    usable
}
