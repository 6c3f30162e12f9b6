//! Why there is no connection. None of these errors shows a password.

use deadpool_postgres::BuildError;
use thiserror::Error;

use crate::database::url::PATIENCE;
use crate::database::url::UrlProblem;
use crate::tls::TlsProblem;

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// The URL cannot be read, or asks for something that Andon cannot do.
    #[error(transparent)]
    Url(#[from] UrlProblem),
    /// Two files are named for the same purpose.
    #[error(
        "database.ca_file and the URL's sslrootcert name different files; name one file that holds all certificates"
    )]
    TwoAuthorities,
    /// A certificate cannot be used.
    #[error("cannot prepare TLS to PostgreSQL")]
    Tls(#[source] TlsProblem),
    /// The pool cannot be built. That should not happen, since the pool is told everything that it needs.
    #[error("cannot prepare a pool of connections to PostgreSQL")]
    Pool(#[source] BuildError),
    /// The server does not answer, or refuses us.
    #[error("cannot connect to PostgreSQL at {target}")]
    Connect {
        /// User, host, port and database.
        target: String,
        /// The error of the driver.
        source: tokio_postgres::Error,
    },
    /// The server cannot encrypt the connection as it has to be.
    #[error(
        "PostgreSQL at {target} has no TLS, without which Andon shows it no password and trusts no certificate; switch it on there (ssl = on), or write \
        sslmode=disable if nobody else can reach the network between"
    )]
    NoTls {
        /// User, host, port and database.
        target: String,
    },
    /// The server takes the connection, and TLS with it fails.
    #[error("cannot connect to PostgreSQL at {target}: {advice}")]
    Encryption {
        /// User, host, port and database.
        target: String,
        /// What is wrong, and what to do.
        advice: String,
    },
    /// The server takes the connection and says nothing.
    #[error("PostgreSQL at {target} does not answer within {PATIENCE:?}")]
    Silent {
        /// User, host, port and database.
        target: String,
    },
    /// The server can only be read.
    #[error("PostgreSQL at {target} is a hot standby, which takes no writes; connect to its primary")]
    Standby {
        /// User, host, port and database.
        target: String,
        /// The error of PostgreSQL.
        source: tokio_postgres::Error,
    },
    /// A pooler needs a start-up parameter to be allowed.
    #[error(
        "the pooler at {target} refuses the `options` of the URL; remove them, or add `options` to its ignore_startup_parameters"
    )]
    PoolerRefusesOptions {
        /// User, host, port and database.
        target: String,
        /// The error of the pooler.
        source: tokio_postgres::Error,
    },
    /// A pooler lends the server's sessions to several clients.
    #[error(
        "{target} is a pooler that shares its sessions between clients from {unit} to {unit}; Andon needs sessions of its own: set pool_mode = session for its user or database, or connect to PostgreSQL directly"
    )]
    Pooled {
        /// User, host, port and database.
        target: String,
        /// What a session is lent for.
        unit: &'static str,
    },
    /// The server does not know which characters its texts consist of.
    #[error(
        "the database at {target} has the encoding SQL_ASCII, so that nobody can tell which characters its texts consist of; move it into a database with an encoding, such as one made by `createdb -E UTF8 -T template0`"
    )]
    NoEncoding {
        /// User, host, port and database.
        target: String,
    },
}

impl DatabaseError {
    /// Returns whether trying again is of no use until somebody has changed something.
    pub fn is_final(&self) -> bool {
        !matches!(
            self,
            DatabaseError::Connect { .. }
                | DatabaseError::NoTls { .. }
                | DatabaseError::Encryption { .. }
                | DatabaseError::Silent { .. }
                | DatabaseError::Standby { .. }
        )
    }
}
