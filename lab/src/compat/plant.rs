//! The plant of the compatibility run. In: the name of a step, and how much happens in it. Out: events, each counted in the transaction
//! that emits it. It tries again while the database is away, as a plant would.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::stage::connect;

/// How many events a transaction emits, one of each entity of the step.
pub(super) const PER_TRANSACTION: u32 = 10;
/// How long it tries while the database is away.
const PATIENCE: Duration = Duration::from_secs(120);
const AGAIN: Duration = Duration::from_millis(100);

/// Commits this many transactions, with a pause after each.
pub(super) async fn work(database: &str, step: &str, transactions: u32, pause: Duration) -> Result<()> {
    let mut session = None;
    for _ in 0..transactions {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = report(database, &mut session, step).await {
            session = None;
            if Instant::now() > deadline {
                return Err(error);
            }
            tokio::time::sleep(AGAIN).await;
        }
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

async fn report(database: &str, session: &mut Option<Client>, step: &str) -> Result<()> {
    let client = match session {
        Some(client) => client,
        None => session.insert(connect(database).await?),
    };
    client.execute("select plant.report($1)", &[&step]).await?;
    Ok(())
}

/// Returns the highest counter that was committed of each entity of a step.
pub(super) async fn committed(database: &str, step: &str) -> Result<BTreeMap<String, u64>> {
    let statement = "select entity, counter from plant.counters where step = $1";
    let rows = connect(database).await?.query(statement, &[&step]).await?;
    rows.iter().map(|row| Ok((row.get(0), u64::try_from(row.get::<_, i64>(1))?))).collect()
}
