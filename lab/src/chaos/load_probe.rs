//! Probes whether the machine keeps up. In: a small write to PostgreSQL, four times a second. Out: a fault that nobody ordered, for each
//! write that took so long that a daemon may have lost its lease or given up a connection. It is measured here because the daemons must
//! not be asked.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use tokio::time::sleep;

use crate::chaos::allowance::Happened;
use crate::chaos::fault::Fault;
use crate::stage::connect;

const PAUSE: Duration = Duration::from_millis(250);
/// How long a write may take: half of what is left of a lease when it is renewed.
const PATIENCE: Duration = Duration::from_secs(1);

/// Probes for as long as it is polled.
pub(super) async fn watch(database: &str, start: Instant, happened: &Mutex<Vec<Happened>>) {
    loop {
        // An error means that PostgreSQL restarts, which is a fault of its own.
        if let Err(error) = probe(database, start, happened).await {
            tracing::debug!(error = format!("{error:#}"), "the probe starts again");
        }
        sleep(PAUSE).await;
    }
}

async fn probe(database: &str, start: Instant, happened: &Mutex<Vec<Happened>>) -> Result<()> {
    let client = connect(database).await?;
    loop {
        let from = start.elapsed();
        sleep(PAUSE).await;
        client.batch_execute("update chaos.probe set count = count + 1").await?;
        let until = start.elapsed();
        if until - from > PAUSE + PATIENCE {
            let it = Happened {
                fault: Fault::SlowMachine,
                from: from.as_secs_f64(),
                until: until.as_secs_f64(),
                served: None,
            };
            happened.lock().unwrap_or_else(PoisonError::into_inner).push(it);
        }
    }
}
