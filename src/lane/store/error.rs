//! Says why a lane could not write: either it has lost its row for good, or the database failed and the lane tries again.

use std::sync::Arc;

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

use crate::destination::LaneName;
use crate::ranges::NotRanges;

/// What to do where PostgreSQL denies what a lane writes.
pub const RIGHTS: &str = "the role of this daemon lacks a right: run what `andon grants` prints for it";

/// Another daemon has taken the lane over, somebody has moved its cursor, or the database has lost what the lane wrote. The lane must stop: it
/// can write nothing any more.
#[derive(Debug, thiserror::Error)]
#[error(
    "lane `{0}` was taken away: another andon serves it, it was set to another place in the log, or the database lost what it wrote"
)]
pub struct Lost(pub(super) LaneName);

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The row belongs to somebody else now.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The database failed; the same may succeed later. The error is shared because one statement writes the cursors of many lanes.
    #[error(transparent)]
    Database(#[from] Arc<DatabaseError>),
}

/// How the database failed.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The pool gave no connection.
    #[error("cannot reach the database")]
    Connection(#[source] PoolError),
    /// A statement failed, or the connection broke under it.
    #[error(transparent)]
    Statement(tokio_postgres::Error),
    /// `pending` of a lane's row holds what Andon does not write.
    #[error("the stored cursor cannot be read")]
    Pending(#[source] NotRanges),
    /// Somebody else holds the lock of the lane's row.
    #[error("another session has locked the lane's row in andon.lanes")]
    Locked,
    /// The task that writes the cursors has ended, which only a panic can do.
    #[error("the writer of cursors has ended")]
    CursorWriter,
}

impl StoreError {
    /// Returns whether somebody else has locked the lane's row.
    pub(super) fn is_of_a_lock(&self) -> bool {
        matches!(self, StoreError::Database(error) if matches!(**error, DatabaseError::Locked))
    }

    /// Returns whether the role of the daemon lacks a right.
    pub fn is_of_a_right(&self) -> bool {
        let StoreError::Database(error) = self else { return false };
        matches!(&**error, DatabaseError::Statement(error) if is_denied(error))
    }

    /// Returns whether what was written names a row that does not exist.
    pub(super) fn is_of_a_reference(&self) -> bool {
        let StoreError::Database(error) = self else { return false };
        let DatabaseError::Statement(error) = &**error else { return false };
        error.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION)
    }
}

/// Returns whether PostgreSQL has denied a right.
pub(super) fn is_denied(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> StoreError {
        StoreError::Database(Arc::new(error))
    }
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> StoreError {
        DatabaseError::Connection(error).into()
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> StoreError {
        DatabaseError::Statement(error).into()
    }
}

impl From<NotRanges> for StoreError {
    fn from(error: NotRanges) -> StoreError {
        DatabaseError::Pending(error).into()
    }
}
