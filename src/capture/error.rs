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
    /// The mapping names a table and a part of it.
    #[error(
        "the mapping captures {whole} and {part}, which is a part of it, so that each change of {part} would be two events; name one of them"
    )]
    Overlap {
        /// The table, as SQL.
        whole: String,
        /// Its partition, or a table that inherits from it.
        part: String,
    },
    /// Somebody owns what the functions would read, and could act as the role that attaches.
    #[error(
        "not attached, because others could act as the role that attaches: {}; attach as the owner of the tables, or say --trust-owners if each of these roles may do whatever that role may",
        .0.join("; ")
    )]
    UntrustedOwners(Vec<String>),
    /// The role that the functions would belong to lacks rights in this database.
    #[error(
        "not attached, because changes would be lost without a trace:\n{}\n`andon grants --role ROLE --for capture`, for the role that attaches, prints what \
         andon_capture needs in this database",
        .0.join("\n")
    )]
    Powerless(Vec<String>),
    /// Functions that were just made do not work.
    #[error("what would be installed was tried and fails:\n{}", .0.join("\n"))]
    FailedTrials(Vec<String>),
    /// What stands in the catalogue is not what was planned.
    #[error("after all steps, the database is not as planned, so that nothing was kept:\n{}", .0.join("\n"))]
    NotAsPlanned(Vec<String>),
    /// A table got another name while the plan was made.
    #[error("a table was renamed, replaced or dropped at this moment; attach again")]
    MovedMeanwhile,
    /// The role may not look at the tables.
    #[error(
        "not compared, because {role} may not use schema {schemas}; run: grant usage on schema {schemas} to {role}"
    )]
    NoUsage {
        /// The role, as SQL.
        role: String,
        /// The schemas, as SQL.
        schemas: String,
    },
    /// The schema is not there yet, or too old.
    #[error("schema andon is missing or old; run `andon migrate` first")]
    NotMigrated,
    /// No source of that name is attached.
    #[error("source `{0}` is not attached here; `select name from andon.sources` lists those that are")]
    Unknown(String),
    /// A superuser attaches.
    #[error(
        "{0} is a superuser, so that whoever can alter what the capture functions read could do everything on this server; log in as the owner of \
         the tables, or run what --dry-run prints there; --as-superuser attaches all the same"
    )]
    Superuser(String),
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
    /// Returns whether somebody else had a lock, so that trying again may help.
    pub(super) fn is_busy(&self) -> bool {
        match self {
            SourceError::Busy { .. } => true,
            SourceError::Database { source, .. } => source.code() == Some(&SqlState::LOCK_NOT_AVAILABLE),
            _ => false,
        }
    }

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
