//! The options that every command takes: which configuration file, and which database.

use std::path::Path;
use std::path::PathBuf;

use clap::Args;

use crate::cli::failure::Failure;
use crate::config;
use crate::config::Config;
use crate::config::ConfigError;
use crate::config::Environment;
use crate::config::Problem;
use crate::database;
use crate::database::Database;
use crate::secret::Secret;

/// The options that may stand before or after any command.
#[derive(Debug, Args)]
pub(super) struct GlobalOptions {
    /// Configuration file [default: config/andon.toml where it exists]
    #[arg(long, global = true, env = "ANDON_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Database to use instead of the configured one; a password is safer in DATABASE_URL or in a file
    #[arg(long, global = true, value_name = "URL")]
    pub(super) database: Option<String>,
}

impl GlobalOptions {
    /// Loads the configuration; every problem in it is a usage failure.
    pub(super) fn load(&self) -> Result<Config, Failure> {
        Config::load(self.file(), config::environment(), self.url()).map_err(|error| Failure::Usage(error.into()))
    }

    /// Loads as much of the configuration as can be read, and returns its problems instead of failing.
    pub(super) fn inspect(&self, environment: Environment) -> Result<(Config, Vec<Problem>), ConfigError> {
        Config::inspect(self.file(), environment, self.url())
    }

    /// Returns whether an option, the environment or the configuration file names a database.
    pub(super) fn names_database(&self) -> bool {
        let missing = |problem: &Problem| problem.key == "database.url" && problem.message.starts_with("is not set");
        self.inspect(config::environment()).map_or(true, |(_, problems)| !problems.iter().any(missing))
    }

    /// Returns the database of the configuration, without connecting to it.
    pub(super) fn database(&self) -> Result<Database, Failure> {
        Database::new(&self.load()?.database).map_err(|error| Failure::Usage(error.into()))
    }

    /// Returns the configuration file: the one that is given, or else the default one if it exists.
    pub(super) fn file(&self) -> Option<&Path> {
        let default = Path::new(config::DEFAULT_PATH);
        self.config.as_deref().or_else(|| default.exists().then_some(default))
    }

    /// Warns of a password in the arguments: whoever may log in to this host can read them as long as the command runs, and overwriting
    /// them later would be too late.
    pub(super) fn warn_of_arguments(&self) {
        let url = self.database.as_ref().map(|url| Secret::new(url.clone()));
        if url.is_some_and(|url| database::has_password(&url)) {
            tracing::warn!(
                "--database holds a password, which every user of this host can read in the list of processes; use DATABASE_URL or \
                database.url_file"
            );
        }
    }

    fn url(&self) -> Option<&str> {
        self.database.as_deref()
    }
}
