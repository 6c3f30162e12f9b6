//! `andon check`: everything that is wrong, at once. In: the configuration, the database, the sources, the destinations and their
//! brokers. Out: one line for each, and an exit status. It changes nothing and sends no event; only `--canary` publishes something.

mod brokers;
mod canary;
mod explain;
mod findings;
mod plant;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::capture::Mapping;
use crate::capture::Types;
use crate::cli::Place;
use crate::cli::check::findings::Findings;
use crate::config;
use crate::config::Config;
use crate::database::Database;

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Check this source mapping against the database instead of those that are attached
    #[arg(long, value_name = "FILE")]
    source: Option<PathBuf>,

    /// Print a table of what the mapping sends: each event, from which change, with an example of topic and payload
    ///
    /// Where a database is given, the mapping is checked against it, and the examples show the types of its columns.
    #[arg(long, requires = "source")]
    explain: bool,

    /// PUBLISH a test message for each active publisher, and see whether it arrives
    ///
    /// A broker of MQTT 3.1.1 can acknowledge what it drops. The messages go to the publisher's own topics, made of recent events, with
    /// the event name `andon.canary`; whoever subscribes to them there sees them. Nothing is published without this option.
    #[arg(long, conflicts_with = "source")]
    canary: bool,
}

impl Check {
    pub(super) async fn run(self, place: &Place) -> ExitCode {
        let mut findings = Findings::default();
        let mapping = self.source.map(|file| Mapping::read(&file));
        if let Some(Err(problems)) = &mapping {
            problems.0.iter().for_each(|finding| findings.fault("mapping", finding));
        }
        let is_explained = self.explain && mapping.as_ref().is_some_and(Result::is_ok);
        if is_explained && !place.names_database() {
            // The mapping alone says enough.
            mapping.iter().flatten().for_each(|mapping| print!("{}", explain::table(mapping, None)));
            return ExitCode::SUCCESS;
        }
        let mut types = None;
        if let Some(config) = configuration(place, &mut findings) {
            match &mapping {
                None => whole(&config, self.canary, &mut findings).await,
                Some(Ok(mapping)) => types = one_source(&config, mapping, &mut findings).await,
                Some(Err(_)) => {}
            }
        }
        print!("{findings}");
        if is_explained {
            mapping.iter().flatten().for_each(|mapping| print!("\n{}", explain::table(mapping, types.as_ref())));
        }
        if findings.has_fault() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// The configuration; none when the database is not in it, so that nothing more can be looked at.
fn configuration(place: &Place, findings: &mut Findings) -> Option<Config> {
    let (config, problems) = place
        .inspect(config::environment())
        .map_err(|error| findings.fault("configuration", format!("{:#}", anyhow::Error::from(error))))
        .ok()?;
    for problem in &problems {
        findings.fault("configuration", problem);
    }
    if problems.is_empty() {
        let origin = place.file().map_or("the defaults".to_owned(), |path| path.display().to_string());
        findings.good("configuration", origin);
    }
    let is_lost = |key: &str| key.starts_with("database.") || key.starts_with("ANDON_DATABASE_");
    (!problems.iter().any(|problem| is_lost(&problem.key))).then_some(config)
}

async fn whole(config: &Config, canary: bool, findings: &mut Findings) {
    let Some(database) = prepared(config, findings) else { return };
    let Some(mut client) = plant::database(&database, findings).await else { return };
    plant::sources(&mut client, findings).await;
    plant::troubles(&client, findings).await;
    let listed = plant::destinations(&client, config, findings).await;
    brokers::check(&client, listed, config, canary, findings).await;
}

async fn one_source(config: &Config, mapping: &Mapping, findings: &mut Findings) -> Option<Types> {
    let database = prepared(config, findings)?;
    let mut client = plant::database(&database, findings).await?;
    plant::mapping(&mut client, mapping, findings).await
}

fn prepared(config: &Config, findings: &mut Findings) -> Option<Database> {
    let prepared = Database::new(&config.database);
    prepared.map_err(|error| findings.fault("database", format!("{:#}", anyhow::Error::from(error)))).ok()
}
