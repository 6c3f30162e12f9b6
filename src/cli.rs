//! The command line. In: arguments and the environment. Out: one command, run to its end, and an exit status: 0 for success, 1 for a
//! fault, 2 for bad usage or a bad configuration. Integrators and operators read its texts; it decides nothing about events.

mod attach;
mod capture;
mod check;
mod deliveries;
pub mod failure;
mod find_lanes;
mod grants;
mod migrate;
mod names;
mod options;
mod received_request;
mod replay;
mod run;
mod screen;
mod secrets;
mod source;
mod text_table;
mod time;
mod webhooks;

use std::process::ExitCode;

use clap::Parser;
use clap::Subcommand;

use crate::cli::failure::Failure;
use crate::cli::options::GlobalOptions;
use crate::telemetry::LogFormat;

/// Andon carries what happens in a manufacturing database to MQTT and webhooks: each committed change, in order, at least once.
#[derive(Debug, Parser)]
#[command(name = "andon", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(flatten)]
    options: GlobalOptions,

    /// Format of the log on standard error; ANDON_LOG=debug (or RUST_LOG) logs more
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORMAT")]
    pub log: LogFormat,

    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
A database is attached in three steps: `andon migrate`, `andon attach --source FILE`, `andon run`.
`andon check` reports everything that is wrong. Exit status: 0, 1 for a fault, 2 for bad usage or a bad configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Create schema `andon` in the database, or bring it up to date
    ///
    /// Run it as the owner of the database, before any other command and after every update of Andon. It changes nothing outside
    /// schema `andon`.
    Migrate,
    /// Install the triggers of a source mapping, or update them after the mapping was edited
    ///
    /// The mapping is checked against the database first. Either everything is installed, or nothing is and every reason is printed.
    /// Run it as the owner of the tables.
    Attach(attach::Attach),
    /// Remove every trace of an attached source; its events stay in the log
    Detach(attach::Detach),
    /// List changes that could not be captured, capture them again, or acknowledge them
    ///
    /// A change that a trigger cannot capture does not fail the plant's statement: it is recorded with its key and the columns that the
    /// mapping names. Once the cause is mended and the mapping attached, --again makes the missed events. Run it as the owner of schema
    /// `andon`.
    Capture(capture::Capture),
    /// Print the SQL that gives a role the rights it needs, and no others
    ///
    /// It is for the database administrator to read and run: `andon grants --role andon_run | psql plant`. Without a role of its own,
    /// `andon run` has the rights of whoever migrated.
    Grants(grants::Grants),
    /// Help with source mappings: propose one, or compare one with what is attached
    #[command(subcommand)]
    Source(source::Source),
    /// Report every fault in configuration, database, sources, destinations and brokers
    ///
    /// It changes nothing, and sends nothing except with --canary. The exit status is 1 when there is a fault.
    Check(check::Check),
    /// Deliver events until told to stop
    ///
    /// After SIGTERM or Ctrl-C, deliveries that are under way may finish within the configured grace period; a second signal ends it at
    /// once. Nothing is lost either way: events that were not acknowledged are sent again at the next start.
    Run,
    /// List, show, retry or discard parked deliveries
    ///
    /// A delivery that could not be made is parked. In state `retry` it is tried again on its schedule. In state `waiting` it waits for
    /// an earlier event of the same job or machine. In state `dead` it stays until somebody retries or discards it.
    Deliveries(deliveries::Deliveries),
    /// Deliver the events of a period to a destination again
    ///
    /// `andon run` carries out the replay next to its live deliveries, and goes on with it after a restart. Every delivery is marked as
    /// replayed: a webhook by the header `andon-replayed`, MQTT 5 by the user property `replayed`; MQTT 3.1.1 has no place for a mark.
    /// The payload is the same, byte for byte. The exit status is 1 when something could not be delivered.
    Replay(replay::Replay),
    /// Seal the secrets of destinations, so that the database holds none in plain text
    #[command(subcommand)]
    Secrets(secrets::Secrets),
    /// Rotate the secret of a webhook, print its public keys, or verify a request
    #[command(subcommand)]
    Webhooks(webhooks::Webhooks),
}

impl Command {
    /// Says whom to run it as where PostgreSQL denies a right.
    fn role(&self) -> &'static str {
        match self {
            Command::Migrate => "run it as the owner of the database, or of schema andon once it is there",
            Command::Attach(_) | Command::Detach(_) | Command::Source(_) => "run it as the owner of the tables",
            Command::Capture(_) | Command::Secrets(_) | Command::Webhooks(_) => {
                "run it as the owner of schema andon; the role of `andon run` may not do this"
            }
            Command::Grants(_) | Command::Check(_) | Command::Run | Command::Deliveries(_) | Command::Replay(_) => {
                "the DBA runs what `andon grants --role ROLE` prints, for the role that this runs as"
            }
        }
    }
}

impl Cli {
    /// Returns whether the command runs for long next to a database and a broker that need processors of the same machine.
    pub fn is_daemon(&self) -> bool {
        matches!(self.command, Command::Run)
    }

    /// Runs the command to its end.
    pub async fn run(self) -> Result<ExitCode, Failure> {
        let role = self.command.role();
        self.execute().await.map_err(|failure| failure.with_role(role))
    }

    async fn execute(self) -> Result<ExitCode, Failure> {
        let global = &self.options;
        global.warn_of_arguments();
        match self.command {
            Command::Migrate => migrate::run(&global.database()?).await?,
            Command::Attach(command) => command.run(global).await?,
            Command::Detach(command) => command.run(global).await?,
            Command::Capture(command) => return command.run(global).await,
            Command::Grants(command) => command.run()?,
            Command::Source(command) => return command.run(global).await,
            Command::Check(command) => return Ok(command.run(global).await),
            Command::Run => run::run(global.load()?).await?,
            Command::Deliveries(command) => return command.run(global).await,
            Command::Replay(command) => return command.run(global).await,
            Command::Secrets(command) => return command.run(global).await,
            Command::Webhooks(command) => return command.run(global).await,
        }
        Ok(ExitCode::SUCCESS)
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
          capture     List changes that could not be captured, capture them again, or acknowledge them
          grants      Print the SQL that gives a role the rights it needs, and no others
          source      Help with source mappings: propose one, or compare one with what is attached
          check       Report every fault in configuration, database, sources, destinations and brokers
          run         Deliver events until told to stop
          deliveries  List, show, retry or discard parked deliveries
          replay      Deliver the events of a period to a destination again
          secrets     Seal the secrets of destinations, so that the database holds none in plain text
          webhooks    Rotate the secret of a webhook, print its public keys, or verify a request
          help        Print this message or the help of the given subcommand(s)

        Options:
              --config <FILE>   Configuration file [default: config/andon.toml where it exists] [env:
                                ANDON_CONFIG]
              --database <URL>  Database to use instead of the configured one; a password is safer in
                                DATABASE_URL or in a file
              --log <FORMAT>    Format of the log on standard error; ANDON_LOG=debug (or RUST_LOG) logs more
                                [default: text] [possible values: text, json]
          -h, --help            Print help (see more with '--help')
          -V, --version         Print version

        A database is attached in three steps: `andon migrate`, `andon attach --source FILE`, `andon run`.
        `andon check` reports everything that is wrong. Exit status: 0, 1 for a fault, 2 for bad usage or a
        bad configuration.
        ");
    }

    #[test]
    fn options_may_stand_before_or_after_the_command() {
        let before = Cli::try_parse_from(["andon", "--database", "postgres://a@b/c", "migrate"]).unwrap();
        let after = Cli::try_parse_from(["andon", "migrate", "--database", "postgres://a@b/c"]).unwrap();

        assert_eq!(before.options.database, after.options.database);
    }
}
