//! The bell: how the tail sleeps without missing a commit, and without making a crowd of writers pay for NOTIFY. In: an advisory lock
//! that writers share (see `andon.ring()`). Out: permission to sleep. It never decides by a clock.
//!
//! While nobody holds the lock exclusively, a writer takes it shared, keeps it to its commit, and sends nothing: the tail must look by
//! itself. To sleep, the tail takes it exclusively. If it cannot, a transaction that sent nothing is still open, and it must go on
//! looking. If it can, every later writer will ring, for as long as it keeps the lock: each ring is answered by one read.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::Statement;

use crate::database::locks::Lock;

/// How often a tail looks that must do so by itself. It looks less often the longer nothing comes: what took a while to be committed is
/// found after half as long again, and a transaction left open for an hour does not cost an hour of polling.
const FIRST_LOOK: Duration = Duration::from_micros(250);
const LAST_LOOK: Duration = Duration::from_millis(50);
/// What the runtime's timer is exact to.
const TICK: Duration = Duration::from_millis(2);

/// What is asked of the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Nothing.
    Nothing,
    /// To take it, so that every later writer rings.
    Sleep,
    /// To give it back, so that they are silent.
    Wake,
}

/// The lock, for the session that reads.
#[derive(Debug)]
pub(crate) struct Bell {
    sleep: Statement,
    wake: Statement,
}

impl Bell {
    pub(crate) async fn prepare(client: &Client) -> Result<Bell, tokio_postgres::Error> {
        Ok(Bell {
            sleep: client.prepare(&format!("select pg_try_advisory_lock({})", Lock::Bell)).await?,
            wake: client.prepare(&format!("select pg_advisory_unlock({})", Lock::Bell)).await?,
        })
    }

    /// Whether we hold it then; for [`Ask::Nothing`] that is not known. The request is on its way once this is polled: what is sent behind
    /// it is done behind it.
    pub(crate) async fn ask(&self, client: &Client, ask: Ask) -> Result<bool, tokio_postgres::Error> {
        match ask {
            Ask::Nothing => Ok(false),
            Ask::Sleep => Ok(client.query_one(&self.sleep, &[]).await?.get(0)),
            Ask::Wake => client.query_one(&self.wake, &[]).await.map(|_| false),
        }
    }
}

/// Rings for the other daemons, which do not know what a silent writer has committed.
pub(crate) async fn ring(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.query_one("select pg_notify('andon', '')", &[]).await?;
    Ok(())
}

/// The pauses of a tail that looks by itself and finds nothing.
#[derive(Debug)]
pub(crate) struct Watch(Duration);

impl Watch {
    pub(crate) fn new() -> Watch {
        Watch(FIRST_LOOK)
    }

    /// Something was found: look often again.
    pub(crate) fn restart(&mut self) {
        self.0 = FIRST_LOOK;
    }

    /// Waits until the next look is due.
    pub(crate) async fn pause(&mut self) {
        let pause = self.0;
        self.0 = (pause * 3 / 2).min(LAST_LOOK);
        if pause < TICK {
            // The runtime would wait for several times as long.
            drop(tokio::task::spawn_blocking(move || std::thread::sleep(pause)).await);
        } else {
            tokio::time::sleep(pause).await;
        }
    }
}
