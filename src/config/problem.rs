//! Says what is wrong with a configuration, in errors and problems that a person can act on. They never contain a secret.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file does not exist, or cannot be read.
    #[error("cannot read configuration `{path}`; name another with --config or ANDON_CONFIG")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is not TOML. The line is not shown, because it may contain a password.
    #[error("configuration `{path}` is not TOML: line {line}, column {column}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from one.
        line: usize,
        /// The column in characters, counted from one.
        column: usize,
        /// The message of the parser.
        message: String,
    },
    /// Values of the file or of the environment cannot be used.
    #[error("configuration `{path}` cannot be used:{}", lines(problems))]
    Problems {
        /// The file.
        path: PathBuf,
        /// All of them.
        problems: Vec<Problem>,
    },
}

impl ConfigError {
    pub(super) fn syntax(path: PathBuf, text: &str, error: &toml::de::Error) -> ConfigError {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let (line, column) = (before.matches('\n').count() + 1, before[start..].chars().count() + 1);
        ConfigError::Syntax { path, line, column, message: error.message().replace('\n', ", ") }
    }
}

/// One value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its key, such as `mqtt.window`, or its variable, such as `ANDON_MQTT_WINDOW`.
    pub key: String,
    /// What is wrong, and what to do about it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.key, self.message)
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}
