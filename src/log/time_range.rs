//! Turns times into ranges of the log. In: when events were captured. Out: their ids, found by bisection, so that it costs the same however
//! long the log is; and how far back the log reaches. It only reads.

use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::GenericClient;

/// Ids and times of capture are handed out one after the other, and a session may be held up between the two for as long as this.
const DISORDER: Duration = Duration::from_secs(10);

/// Returns the lowest id of the events that were captured at this time or later.
pub async fn first(client: &impl GenericClient, time: Timestamp) -> Result<Option<i64>, Error> {
    let row = client.query_one("select coalesce(min(id), 1), coalesce(max(id), 0) from andon.events", &[]).await?;
    let near = since_time(client, time.checked_sub(DISORDER).unwrap_or(time), row.get(0), row.get(1)).await?;
    let sql = "select id from andon.events where id >= $1 and captured_at >= $2 order by id limit 1";
    Ok(client.query_opt(sql, &[&near, &time]).await?.map(|row| row.get(0)))
}

/// Returns the first and the last id of the events that were captured at `since` or later and before `until`, if there are any. Ids and
/// times of capture are handed out together, so they are in the same order.
pub async fn between(client: &Client, since: Timestamp, until: Timestamp) -> Result<Option<(i64, i64)>, Error> {
    let row = client.query_one("select coalesce(min(id), 1), coalesce(max(id), 0) from andon.events", &[]).await?;
    let (low, high) = (row.get(0), row.get(1));
    let first = since_time(client, since, low, high).await?;
    let past = since_time(client, until, first, high).await?;
    Ok((first < past).then_some((first, past - 1)))
}

/// Returns when the newest of the events that are no longer in the log was captured.
pub async fn forgotten(client: &Client) -> Result<Option<Timestamp>, Error> {
    Ok(client.query_one("select forgotten from andon.tail", &[]).await?.get(0))
}

/// Returns the lowest id from `low` to `high` such that its event and all later ones were captured at this time or later, or `high + 1`.
async fn since_time(client: &impl GenericClient, time: Timestamp, mut low: i64, high: i64) -> Result<i64, Error> {
    let next = client
        .prepare("select id, captured_at >= $2 from andon.events where id between $1 and $3 order by id limit 1")
        .await?;
    let mut past = high + 1;
    while low < past {
        let middle = low + (past - low) / 2;
        match client.query_opt(&next, &[&middle, &time, &high]).await? {
            Some(event) if !event.get::<_, bool>(1) => low = event.get::<_, i64>(0) + 1,
            _ => past = middle,
        }
    }
    Ok(low)
}
