//! `andon check` reports everything that is wrong at once. In: the configuration, the database, the sources, the destinations and their
//! brokers. Out: a line for each, and an exit status. It changes nothing and sends no event; only `--canary` publishes something.

mod brokers;
mod canary;
mod captures;
mod connection;
mod daemons;
mod database;
mod destinations;
mod explain;
mod identity;
mod in_the_open;
mod lanes;
mod parts;
mod proxy;
mod reach;
mod report;
mod rights;
mod secrets;
mod server;
mod sources;
mod subject;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;
use tokio::time::timeout_at;
use tokio_postgres::Client;

use crate::capture::Mapping;
use crate::capture::Types;
use crate::cli::check::parts::Parts;
use crate::cli::check::report::CheckReport;
use crate::cli::check::report::Finding;
use crate::cli::check::report::Grade;
use crate::cli::options::GlobalOptions;
use crate::cli::screen;
use crate::config;
use crate::config::Config;
use crate::database::Database;
use crate::quantity;

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

    /// Exit with status 1 for a warning too
    #[arg(long)]
    strict: bool,

    /// Print one JSON document, for machines: `status`, and for each finding `grade`, `area`, `name`, `lane`, `message` and `cure`
    #[arg(long, conflicts_with = "explain")]
    json: bool,

    /// How long everything may take together; what has no answer by then is a fault that says what it waits for
    ///
    /// With --canary the messages may take longer, and with --source the database for as long as it waits for nobody.
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = quantity::duration)]
    timeout: Duration,
}

/// What to do about a database that does not answer. A pooler is recognised by an answer that it holds back, which takes longer.
const SILENT: &str = "give more time: --timeout 20s also finds out whether it is a pooler that shares its only session, which needs pool_mode = session";
/// What is left of the time for printing the report and ending the process.
const ENDING: Duration = Duration::from_millis(400);
/// How long a part may take that asks Andon's own tables, so that there is time for the others if one of them is locked.
const PATIENCE: Duration = Duration::from_millis(900);
/// How long all canaries may take. Each waits for its broker for some seconds.
const CANARY_PATIENCE: Duration = Duration::from_secs(300);
/// How long looking at the lanes may take: it waits for a daemon that is about to take some of them over.
const LANES_PATIENCE: Duration = Duration::from_millis(3000);

impl Check {
    pub(super) async fn run(self, global: &GlobalOptions) -> ExitCode {
        let mut report = CheckReport::default();
        let mapping = self.source.map(|file| Mapping::read(&file));
        let deadline = Instant::now() + self.timeout.saturating_sub(ENDING);
        if let Some(Err(problems)) = &mapping {
            problems.0.iter().for_each(|finding| report.fault("mapping", finding));
        }
        let is_explained = self.explain && mapping.as_ref().is_some_and(Result::is_ok);
        if is_explained && !global.names_database() {
            // A mapping can be explained without a database.
            mapping.iter().flatten().for_each(|mapping| screen::verbatim(explain::table(mapping, None)));
            return ExitCode::SUCCESS;
        }
        let mut types = None;
        if let Some(config) = check_configuration(global, &mut report) {
            match &mapping {
                None => Box::pin(check_everything(&config, self.canary, deadline, &mut report)).await,
                Some(Ok(mapping)) => types = Box::pin(check_mapping(&config, mapping, deadline, &mut report)).await,
                Some(Err(_)) => {}
            }
        }
        if self.json {
            screen::document(report.json());
        } else {
            screen::show(&report);
        }
        if is_explained {
            mapping
                .iter()
                .flatten()
                .for_each(|mapping| screen::verbatim(format_args!("\n{}", explain::table(mapping, types.as_ref()))));
        }
        let worst = if self.strict { Grade::Ok } else { Grade::Warning };
        if report.grade() > worst { ExitCode::FAILURE } else { ExitCode::SUCCESS }
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
    for warning in &config.warnings {
        report.warning("configuration", warning);
    }
    if problems.is_empty() {
        let origin = global.file().map_or("the defaults".to_owned(), |path| path.display().to_string());
        report.ok("configuration", origin);
    }
    let is_of_database = |key: &str| key.starts_with("database.") || key.starts_with("ANDON_DATABASE_");
    (!problems.iter().any(|problem| is_of_database(&problem.key))).then_some(config)
}

async fn check_everything(config: &Config, canary: bool, deadline: Instant, report: &mut CheckReport) {
    let Some(database) = configured_database(config, report) else { return };
    if !is_reached(&database, deadline, report).await {
        return;
    }
    let mut parts = Parts::new(&database, deadline);
    parts.run("server", PATIENCE, report, async |client, report| server::check(client, report).await).await;
    parts.run("rights", PATIENCE, report, async |client, report| rights::check(client, report).await).await;
    if !has_schema(&mut parts, report).await {
        return;
    }
    // The mappings are compared with the whole catalogue, which takes longest: it is done on a connection of its own, meanwhile.
    let mut of_sources = CheckReport::default();
    let mut beside = Parts::new(&database, deadline);
    let has_key = config.channel_key.is_some();
    let sources = async |client: &mut Client, report: &mut CheckReport| sources::check(client, has_key, report).await;
    let (mut of_lanes, mut of_proxy) = (CheckReport::default(), CheckReport::default());
    tokio::join!(
        proxy::check(config, deadline, &mut of_proxy),
        beside.run("source", Duration::MAX, &mut of_sources, sources),
        check_delivery(&mut parts, config, canary, deadline, &mut of_lanes),
    );
    report.append(of_sources);
    report.append(of_proxy);
    report.append(of_lanes);
}

/// Checks what was not captured, who delivers, and where to.
async fn check_delivery(
    parts: &mut Parts<'_>,
    config: &Config,
    canary: bool,
    deadline: Instant,
    report: &mut CheckReport,
) {
    let captures = async |client: &mut Client, report: &mut CheckReport| captures::check(client, report).await;
    parts.run("capture", PATIENCE, report, captures).await;
    let list = async |client: &mut Client, report: &mut CheckReport| destinations::list(client, config, report).await;
    let Some(listing) = parts.run("destination", PATIENCE, report, list).await else { return };
    let secrets = async |client: &mut Client, report: &mut CheckReport| secrets::check(client, config, report).await;
    parts.run("secrets", PATIENCE, report, secrets).await;
    let state =
        async |client: &mut Client, report: &mut CheckReport| destinations::state(client, listing, report).await;
    let Some(subjects) = Box::pin(parts.run("lane", LANES_PATIENCE, report, state)).await else { return };
    // Each broker says for itself that it did not answer.
    let deadline = deadline.checked_sub(ENDING).unwrap_or(deadline);
    let brokers = async |client: &mut Client, report: &mut CheckReport| {
        brokers::check(client, subjects, config, canary, deadline, report).await;
    };
    if canary {
        parts.extend(CANARY_PATIENCE);
    }
    parts.run("broker", Duration::MAX, report, brokers).await;
}

async fn check_mapping(
    config: &Config,
    mapping: &Mapping,
    deadline: Instant,
    report: &mut CheckReport,
) -> Option<Types> {
    let database = configured_database(config, report)?;
    if !is_reached(&database, deadline, report).await {
        return None;
    }
    let mut parts = Parts::new(&database, deadline);
    if !has_schema(&mut parts, report).await {
        return None;
    }
    let mapping =
        async |client: &mut Client, report: &mut CheckReport| database::mapping(client, mapping, report).await;
    // A mapping of hundreds of tables may take longer, as somebody who has just written it knows.
    parts.run_while_it_works("mapping", report, mapping).await.flatten()
}

/// Finds out whether the database answers before the deadline.
async fn is_reached(database: &Database, deadline: Instant, report: &mut CheckReport) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    match timeout_at(deadline, database::connect(database, report)).await {
        Ok(client) => client.is_some(),
        Err(_) => {
            let message = format!("{} did not answer within {:.1} s", database.target(), left.as_secs_f64());
            report.add(Finding::fault("database", message).cure(SILENT));
            false
        }
    }
}

/// Finds out whether what is in the schema can be checked.
async fn has_schema(parts: &mut Parts<'_>, report: &mut CheckReport) -> bool {
    let schema = async |client: &mut Client, report: &mut CheckReport| database::has_schema(client, report).await;
    parts.run("schema", PATIENCE, report, schema).await == Some(true)
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
