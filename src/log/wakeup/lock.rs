//! The bell: how the tail sleeps without missing a commit, and without making a crowd of writers pay for NOTIFY. In: an advisory lock
//! that writers share (see `andon.ring()`). Out: permission to sleep. It never decides by a clock.
//!
//! While nobody holds the lock exclusively, a writer takes it shared, keeps it to its commit, and sends nothing: the tail must look by
//! itself. To sleep, the tail takes it exclusively. If it cannot, a transaction that sent nothing is still open, and it must go on
//! looking. If it can, every later writer will ring, for as long as it keeps the lock: each ring is answered by one read.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::Statement;
use tokio_postgres::Transaction;

/// The first key of all advisory locks of Andon: "Ando" in ASCII.
const OURS: i32 = 1_097_753_711;
const BELL: i32 = 1;
const TAIL: i32 = 2;
/// 3 is that of `andon migrate`.
const CHANNELS: i32 = 4;
const ROSTER: i32 = 5;

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
            sleep: client.prepare(&format!("select pg_try_advisory_lock({OURS}, {BELL})")).await?,
            wake: client.prepare(&format!("select pg_advisory_unlock({OURS}, {BELL})")).await?,
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

/// Takes the lock of the daemon whose tail rings the bell for all daemons of this database. False: another one has it.
pub(crate) async fn claim_tail(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let row = client.query_one("select pg_try_advisory_lock($1, $2)", &[&OURS, &TAIL]).await?;
    Ok(row.get(0))
}

/// Rings for the other daemons, which do not know what a silent writer has committed.
pub(crate) async fn ring(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.query_one("select pg_notify('andon', '')", &[]).await?;
    Ok(())
}

/// Waits until no other session listens to the channels of this database: what two of them heard would be in the log twice.
pub(crate) async fn await_channels(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.query_one("select pg_advisory_lock($1, $2)", &[&OURS, &CHANNELS]).await?;
    Ok(())
}

/// Waits until no other daemon lists the destinations; the lock lasts as long as the transaction.
pub(crate) async fn lock_roster(transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
    transaction.query_one("select pg_advisory_xact_lock($1, $2)", &[&OURS, &ROSTER]).await?;
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
