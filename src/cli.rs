//! The command line. In: arguments and the environment. Out: one command, run to its end, and an exit status: 0, 1 for a fault, 2 for
//! bad usage or a bad configuration. Its texts are for integrators and operators; it decides nothing about events.

mod attach;
mod check;
mod deliveries;
mod destination;
mod migrate;
mod moment;
mod replay;
mod run;
mod source;
mod table;

use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use clap::Parser;
use clap::Subcommand;

use crate::config;
use crate::config::Config;
use crate::config::ConfigError;
use crate::config::Environment;
use crate::config::Problem;
use crate::database::Database;
use crate::telemetry::Form;

/// Andon carries what happens in a manufacturing database to MQTT and webhooks: each committed change, in order, at least once.
#[derive(Debug, Parser)]
#[command(name = "andon", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(flatten)]
    place: Place,

    /// Form of the log on standard error; ANDON_LOG=debug (or RUST_LOG) says more
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORM")]
    pub log: Form,

    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
A database is attached in three steps: `andon migrate`, `andon attach --source FILE`, `andon run`.
`andon check` tells everything that is wrong. Exit status: 0, 1 for a fault, 2 for bad usage or a bad configuration.";

#[derive(Debug, Args)]
struct Place {
    /// Configuration file [default: config/andon.toml where it exists]
    #[arg(long, global = true, env = "ANDON_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Database, instead of the configured one; a password is better kept in DATABASE_URL or a file
    #[arg(long, global = true, value_name = "URL")]
    database: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create schema `andon` in the database, or bring it up to date
    ///
    /// Run it as the owner of the database, first of all and after every update of Andon. It touches nothing outside schema `andon`.
    Migrate,
    /// Install the triggers of a source mapping, or update them after the mapping was edited
    ///
    /// The mapping is checked against the database first: either everything is installed, or nothing and every reason is told. Run it
    /// as the owner of the tables.
    Attach(attach::Attach),
    /// Remove every trace of an attached source; its events stay in the log
    Detach(attach::Detach),
    /// Help with source mappings
    #[command(subcommand)]
    Source(source::Source),
    /// Tell everything that is wrong: configuration, database, sources, destinations, brokers
    ///
    /// Nothing is changed, and no event is sent. Exit status 1 when there is a fault.
    Check(check::Check),
    /// Carry events until told to stop
    ///
    /// SIGTERM and Ctrl-C let deliveries that are under way finish within the configured grace; a second signal ends at once. Nothing is
    /// lost either way: what was not acknowledged is sent again at the next start.
    Run,
    /// What is parked: list it, show it, try it again, discard it
    ///
    /// A delivery that could not be made is parked: in state `retry` it is tried again by its schedule, `waiting` it waits behind an
    /// earlier event of the same job or machine, `dead` it stays until somebody decides.
    Deliveries(deliveries::Deliveries),
    /// Deliver a stretch of the log to a destination again
    ///
    /// It is carried out by `andon run`, beside the live flow, and survives its restarts. Every delivery says that it is replayed: a
    /// webhook by the header `andon-replayed`, MQTT 5 by the user property `replayed`; MQTT 3.1.1 has no place for it. The payload is
    /// the same to the bit. Exit status 1 when something could not be delivered.
    Replay(replay::Replay),
}

/// Why a command ended before its time.
#[derive(Debug)]
pub enum Failure {
    /// Whoever started it has to write something else.
    Usage(anyhow::Error),
    /// Something did not work out.
    Fault(anyhow::Error),
}

impl Failure {
    /// Tells it to a person, and gives the exit status.
    pub fn tell(&self) -> ExitCode {
        let (error, status) = match self {
            Failure::Usage(error) => (error, 2),
            Failure::Fault(error) => (error, 1),
        };
        eprintln!("andon: {error:#}");
        ExitCode::from(status)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Fault(error)
    }
}

impl Cli {
    /// Whether it carries events beside a database and a broker that need the machine too.
    pub fn is_daemon(&self) -> bool {
        matches!(self.command, Command::Run)
    }

    /// Runs the command to its end.
    pub async fn run(self) -> Result<ExitCode, Failure> {
        let place = &self.place;
        match self.command {
            Command::Migrate => migrate::run(&place.database()?).await?,
            Command::Attach(options) => options.run(place).await?,
            Command::Detach(options) => options.run(place).await?,
            Command::Source(command) => command.run(place).await?,
            Command::Check(options) => return Ok(options.run(place).await),
            Command::Run => run::run(place.load()?).await?,
            Command::Deliveries(options) => return options.run(place).await,
            Command::Replay(options) => return options.run(place).await,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Place {
    fn load(&self) -> Result<Config, Failure> {
        Config::load(self.file(), config::environment(), self.url()).map_err(|error| Failure::Usage(error.into()))
    }

    fn inspect(&self, environment: Environment) -> Result<(Config, Vec<Problem>), ConfigError> {
        Config::inspect(self.file(), environment, self.url())
    }

    /// Whether a database is given anywhere.
    fn names_database(&self) -> bool {
        let missing = |problem: &Problem| problem.key == "database.url" && problem.message.starts_with("is not set");
        self.inspect(config::environment()).map_or(true, |(_, problems)| !problems.iter().any(missing))
    }

    fn database(&self) -> Result<Database, Failure> {
        Database::new(&self.load()?.database).map_err(|error| Failure::Usage(error.into()))
    }

    fn file(&self) -> Option<&Path> {
        let default = Path::new(config::DEFAULT_PATH);
        self.config.as_deref().or_else(|| default.exists().then_some(default))
    }

    fn url(&self) -> Option<&str> {
        self.database.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_says_what_to_do_first() {
        insta::assert_snapshot!(Cli::command().term_width(100).render_help(), @"
        Andon carries what happens in a manufacturing database to MQTT and webhooks: each committed change,
        in order, at least once

        Usage: andon [OPTIONS] <COMMAND>

        Commands:
          migrate     Create schema `andon` in the database, or bring it up to date
          attach      Install the triggers of a source mapping, or update them after the mapping was edited
          detach      Remove every trace of an attached source; its events stay in the log
          source      Help with source mappings
          check       Tell everything that is wrong: configuration, database, sources, destinations, brokers
          run         Carry events until told to stop
          deliveries  What is parked: list it, show it, try it again, discard it
          replay      Deliver a stretch of the log to a destination again
          help        Print this message or the help of the given subcommand(s)

        Options:
              --config <FILE>   Configuration file [default: config/andon.toml where it exists] [env:
                                ANDON_CONFIG]
              --database <URL>  Database, instead of the configured one; a password is better kept in
                                DATABASE_URL or a file
              --log <FORM>      Form of the log on standard error; ANDON_LOG=debug (or RUST_LOG) says more
                                [default: text] [possible values: text, json]
          -h, --help            Print help (see more with '--help')
          -V, --version         Print version

        A database is attached in three steps: `andon migrate`, `andon attach --source FILE`, `andon run`.
        `andon check` tells everything that is wrong. Exit status: 0, 1 for a fault, 2 for bad usage or a
        bad configuration.
        ");
    }

    #[test]
    fn options_may_stand_before_or_behind_the_command() {
        let before = Cli::try_parse_from(["andon", "--database", "postgres://a@b/c", "migrate"]).unwrap();
        let behind = Cli::try_parse_from(["andon", "migrate", "--database", "postgres://a@b/c"]).unwrap();

        assert_eq!(before.place.database, behind.place.database);
    }
}
