//! The bell: how the tail sleeps without missing a commit, and without making writers pay for NOTIFY while it is awake. In: an
//! advisory lock that writers share (see `andon.ring()`). Out: permission to sleep. It never decides by a clock.
//!
//! While the tail is awake nobody holds the lock exclusively: a writer takes it shared, keeps it to its commit, and sends nothing. To
//! sleep, the tail takes it exclusively. If it cannot, a transaction that sent nothing is still open: the tail must stay awake. If it
//! can, every later writer will ring.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::Transaction;

/// The first key of all advisory locks of Andon: "Ando" in ASCII.
const OURS: i32 = 1_097_753_711;
const BELL: i32 = 1;
const TAIL: i32 = 2;
/// 3 is that of `andon migrate`.
const CHANNELS: i32 = 4;
const ROSTER: i32 = 5;

/// How often an awake tail looks, while a transaction that will not ring is open. It looks less often the longer that lasts, so that a
/// transaction left open for an hour does not cost an hour of polling; nobody waits longer than the last of these.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(50);

/// Takes the lock that makes every later writer ring. False: stay awake.
pub(crate) async fn try_sleep(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let row = client.query_one("select pg_try_advisory_lock($1, $2)", &[&OURS, &BELL]).await?;
    Ok(row.get(0))
}

/// Gives the lock back.
pub(crate) async fn wake(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.query_one("select pg_advisory_unlock($1, $2)", &[&OURS, &BELL]).await?;
    Ok(())
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

/// The pauses of an awake tail that finds nothing.
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

    /// How long to wait before the next look.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 5 / 4).clamp(FIRST_LOOK + Duration::from_millis(1), LAST_LOOK);
        pause
    }
}
