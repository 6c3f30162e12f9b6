//! The bell's lock: it lets the tail sleep without missing a commit, and spares concurrent writers the price of NOTIFY. In: an advisory
//! lock that writers share (see `andon.ring()`). Out: permission to sleep. It never decides by a clock.
//!
//! While nobody holds the lock exclusively, a writer takes it shared, keeps it to its commit, and sends nothing: the tail must poll. To
//! sleep, the tail takes it exclusively. If it cannot, a transaction that sent nothing is still open, and the tail must go on polling. If
//! it can, every later writer rings for as long as the tail keeps the lock, and each ring is answered by one read.

use std::sync::Arc;

use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::Statement;

use crate::database::locks::Lock;

/// The request that a poll makes of the lock before it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockRequest {
    /// Leave the lock as it is.
    Nothing,
    /// Take it, so that every later writer rings.
    Take,
    /// Give it back, so that writers are silent.
    Release,
}

/// The lock, as the session that reads the log takes it.
#[derive(Debug)]
pub(super) struct BellLock {
    client: Arc<Client>,
    take: Statement,
    release: Statement,
}

impl BellLock {
    pub(super) async fn prepare(client: Arc<Client>) -> Result<BellLock, Error> {
        let take = client.prepare(&format!("select pg_try_advisory_lock({})", Lock::Bell)).await?;
        let release = client.prepare(&format!("select pg_advisory_unlock({})", Lock::Bell)).await?;
        Ok(BellLock { client, take, release })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns whether the session holds the lock afterwards; for [`LockRequest::Nothing`] the answer means nothing. The request is sent
    /// when this is polled for the first time, and the server executes it before any statement that is sent later.
    pub(super) async fn ask(&self, request: LockRequest) -> Result<bool, Error> {
        match request {
            LockRequest::Nothing => Ok(false),
            LockRequest::Take => Ok(self.client.query_one(&self.take, &[]).await?.get(0)),
            LockRequest::Release => self.client.query_one(&self.release, &[]).await.map(|_| false),
        }
    }

    /// Becomes the leading tail, unless another daemon's tail leads.
    pub(super) async fn try_lead(&self) -> Result<bool, Error> {
        Lock::LeadingTail.try_acquire(&self.client).await
    }

    /// Rings for the tails of other daemons, which do not learn otherwise what a silent writer has committed.
    pub(super) async fn ring(&self) -> Result<(), Error> {
        self.client.query_one("select pg_notify('andon', '')", &[]).await?;
        Ok(())
    }
}
