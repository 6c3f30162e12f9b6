//! `andon check` reports everything that is wrong at once. In: the configuration, the database, the sources, the destinations and their
//! brokers. Out: a line for each, and an exit status. It changes nothing and sends no event; only `--canary` publishes something.

mod brokers;
mod canary;
mod connection;
mod database;
mod explain;
mod identity;
mod report;
mod rights;
mod server;
mod sources;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::capture::Mapping;
use crate::capture::Types;
use crate::cli::check::report::CheckReport;
use crate::cli::options::GlobalOptions;
use crate::config;
use crate::config::Config;
use crate::database::Database;

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Check this source mapping against the database, instead of the attached ones
    #[arg(long, value_name = "FILE")]
    source: Option<PathBuf>,

    /// Print a table of what the mapping sends: each event, the change it comes from, and an example of its topic and payload
    ///
    /// If a database is given, the mapping is checked against it, and the examples show the types of its columns.
    #[arg(long, requires = "source")]
    explain: bool,

    /// PUBLISH a test message for each active publisher, and see whether it arrives
    ///
    /// An MQTT 3.1.1 broker can acknowledge a message and drop it. The messages have the event name `andon.canary` and go to the
    /// publisher's own topics, as recent events would; subscribers of these topics see them. Nothing is published without this option.
    #[arg(long, conflicts_with = "source")]
    canary: bool,
}

impl Check {
    pub(super) async fn run(self, global: &GlobalOptions) -> ExitCode {
        let mut report = CheckReport::default();
        let mapping = self.source.map(|file| Mapping::read(&file));
        if let Some(Err(problems)) = &mapping {
            problems.0.iter().for_each(|finding| report.fault("mapping", finding));
        }
        let is_explained = self.explain && mapping.as_ref().is_some_and(Result::is_ok);
        if is_explained && !global.names_database() {
            // A mapping can be explained without a database.
            mapping.iter().flatten().for_each(|mapping| print!("{}", explain::table(mapping, None)));
            return ExitCode::SUCCESS;
        }
        let mut types = None;
        if let Some(config) = check_configuration(global, &mut report) {
            match &mapping {
                None => check_everything(&config, self.canary, &mut report).await,
                Some(Ok(mapping)) => types = check_mapping(&config, mapping, &mut report).await,
                Some(Err(_)) => {}
            }
        }
        print!("{report}");
        if is_explained {
            mapping.iter().flatten().for_each(|mapping| print!("\n{}", explain::table(mapping, types.as_ref())));
        }
        if report.has_fault() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// Checks the configuration and returns it, unless it does not say which database to use: then nothing else can be checked.
fn check_configuration(global: &GlobalOptions, report: &mut CheckReport) -> Option<Config> {
    let (config, problems) = global
        .inspect(config::environment())
        .map_err(|error| report.fault("configuration", format!("{:#}", anyhow::Error::from(error))))
        .ok()?;
    for problem in &problems {
        report.fault("configuration", problem);
    }
    if problems.is_empty() {
        let origin = global.file().map_or("the defaults".to_owned(), |path| path.display().to_string());
        report.ok("configuration", origin);
    }
    let is_of_database = |key: &str| key.starts_with("database.") || key.starts_with("ANDON_DATABASE_");
    (!problems.iter().any(|problem| is_of_database(&problem.key))).then_some(config)
}

async fn check_everything(config: &Config, canary: bool, report: &mut CheckReport) {
    let Some(database) = configured_database(config, report) else { return };
    let Some(mut client) = database::connect(&database, report).await else { return };
    server::check(&client, report).await;
    rights::check(&client, report).await;
    if !database::has_schema(&client, report).await {
        return;
    }
    sources::check(&mut client, report).await;
    database::recorded_problems(&client, report).await;
    let destinations = database::destinations(&mut client, config, report).await;
    brokers::check(&client, destinations, config, canary, report).await;
}

async fn check_mapping(config: &Config, mapping: &Mapping, report: &mut CheckReport) -> Option<Types> {
    let database = configured_database(config, report)?;
    let mut client = database::connect(&database, report).await?;
    if !database::has_schema(&client, report).await {
        return None;
    }
    database::mapping(&mut client, mapping, report).await
}

fn configured_database(config: &Config, report: &mut CheckReport) -> Option<Database> {
    let database = Database::new(&config.database);
    let database =
        database.map_err(|error| report.fault("database", format!("{:#}", anyhow::Error::from(error)))).ok()?;
    for parameter in database.ignored() {
        report.warning("database", format!("{parameter} in the URL means nothing to Andon and is ignored"));
    }
    Some(database)
}
