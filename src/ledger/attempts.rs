//! Writes `andon.attempts`, a batch at a time, and makes and drops its partitions, one for each day.

use std::time::Duration;

use deadpool_postgres::Transaction;
use tokio_postgres::Client;

use crate::destination::LaneName;
use crate::ledger::Attempt;

/// Records what was tried.
pub async fn record(
    transaction: &Transaction<'_>,
    lane: &LaneName,
    attempts: &[Attempt],
) -> Result<(), tokio_postgres::Error> {
    if attempts.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&Attempt) -> i32| attempts.iter().map(of).collect::<Vec<_>>();
    let statement = transaction
        .prepare_cached(
            "insert into andon.attempts (lane, event, event_id, attempt, outcome, code, latency_ms, excerpt)
            select $1, * from unnest($2::int8[], $3::uuid[], $4::int4[], $5::text[], $6::int4[], $7::float8[], $8::text[])",
        )
        .await?;
    transaction
        .execute(
            &statement,
            &[
                &lane.0,
                &attempts.iter().map(|it| it.event.id).collect::<Vec<_>>(),
                &attempts.iter().map(|it| it.event.event_id).collect::<Vec<_>>(),
                &column(|it| it.number),
                &attempts.iter().map(|it| it.outcome).collect::<Vec<_>>(),
                &attempts.iter().map(|it| it.code).collect::<Vec<_>>(),
                &attempts.iter().map(|it| it.latency.as_secs_f64() * 1e3).collect::<Vec<_>>(),
                &attempts.iter().map(|it| it.excerpt.as_str()).collect::<Vec<_>>(),
            ],
        )
        .await?;
    Ok(())
}

/// Makes the partitions of the next days, and drops those whose attempts are older than `age`.
pub async fn keep(client: &Client, age: Duration) -> Result<(), tokio_postgres::Error> {
    client.execute("select andon.keep_attempts($1::float8 * interval '1 second')", &[&age.as_secs_f64()]).await?;
    Ok(())
}
