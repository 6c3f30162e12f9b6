//! Says why a source could not be checked, attached or detached. Whatever the reason, nothing was changed.

use tokio_postgres::error::SqlState;

use crate::capture::finding::Problems;

/// Why a source could not be attached or detached.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The mapping does not fit the database.
    #[error("the mapping does not fit the database:\n{0}")]
    Findings(Problems),
    /// Another transaction held a table for longer than we may make the plant wait.
    #[error(
        "table {table} is busy: a transaction kept it locked through {attempts} attempts; end it or try again when it is quiet"
    )]
    Busy {
        /// The table, as SQL.
        table: String,
        /// How often a lock was asked for.
        attempts: u32,
    },
    /// The schema is not there yet, or too old.
    #[error("schema andon is missing or old; run `andon migrate` first")]
    NotMigrated,
    /// No source of that name is attached.
    #[error("source `{0}` is not attached here; `select name from andon.sources` lists those that are")]
    Unknown(String),
    /// What was asked to be captured again cannot be.
    #[error("nothing was captured: {0}")]
    NotRecovered(String),
    /// The mapping has a character that the encoding of the database does not have.
    #[error(
        "cannot {doing}: the mapping has characters that this database cannot hold; write it without them, comments included"
    )]
    Encoding {
        /// The purpose of the statement.
        doing: String,
        /// The error that PostgreSQL returned, which names the encoding.
        #[source]
        source: tokio_postgres::Error,
    },
    /// PostgreSQL refused a statement.
    #[error("cannot {doing}")]
    Database {
        /// The purpose of the statement.
        doing: String,
        /// The error that PostgreSQL returned.
        #[source]
        source: tokio_postgres::Error,
    },
}

impl SourceError {
    /// PostgreSQL refused a statement; `doing` says what the statement was for.
    pub(super) fn database(doing: impl Into<String>, source: tokio_postgres::Error) -> SourceError {
        let doing = doing.into();
        if source.code() == Some(&SqlState::UNTRANSLATABLE_CHARACTER) {
            SourceError::Encoding { doing, source }
        } else {
            SourceError::Database { doing, source }
        }
    }
}
