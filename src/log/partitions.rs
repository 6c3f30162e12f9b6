//! The partitions of the log. In: limits of age and size. Out: partitions that are made before the log reaches them, and emptied and
//! dropped once they are beyond a limit. It never waits for a lock that would make a writer of the plant wait behind it, and never looks at
//! a lane: whoever empties a partition has to set its lanes forward first.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::GenericClient;
use tokio_postgres::Transaction;

use crate::event::TenantId;
use crate::ranges::Ranges;

/// A part of the log that has events in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The table.
    pub table: String,
    /// The first id.
    pub low: i64,
    /// The first id after it.
    pub past: i64,
    /// How much of the disk it takes.
    pub bytes: u64,
    /// How old its newest event is.
    pub age: Duration,
    /// Whether every id in it has been given out, and either read by the tail or found to belong to no event.
    pub is_decided: bool,
}

/// The limit that a partition is beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// All of its events are older than the limit.
    Age,
    /// The log is larger than the limit.
    Size,
}

/// Makes partitions ahead of the log. How wide they are follows from the limits.
pub async fn extend(client: &Client, age: Duration, size: usize) -> Result<(), Error> {
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    client
        .execute("select andon.extend_log($1::float8 * interval '1 second', $2)", &[&age.as_secs_f64(), &size])
        .await?;
    Ok(())
}

/// Lists the partitions with events in them, from the oldest.
pub async fn list(client: &Client) -> Result<Vec<Partition>, Error> {
    let rows = client
        .query(
            "select part::text, low, past, pg_total_relation_size(part),
                extract(epoch from clock_timestamp() - newest.captured_at)::float8,
                position >= past - 1 and not holes && int8range(low, past)
            from (
                select part, low, past from andon.log_partitions()
                union all select 'andon.events_default'::regclass, min(id), max(id) + 1 from andon.events_default
            ) part cross join andon.tail cross join lateral (
                select captured_at from andon.events where id >= low and id < past order by id desc limit 1
            ) newest order by low",
            &[],
        )
        .await?;
    let partition = |row: &tokio_postgres::Row| Partition {
        table: row.get(0),
        low: row.get(1),
        past: row.get(2),
        bytes: row.get::<_, i64>(3).unsigned_abs(),
        age: Duration::from_secs_f64(row.get::<_, f64>(4).max(0.0)),
        is_decided: row.get(5),
    };
    Ok(rows.iter().map(partition).collect())
}

/// Lists the partitions that are beyond a limit, from the oldest. Stops at the first one that the tail has not fully read.
pub fn over(partitions: &[Partition], age: Duration, size: usize) -> Vec<(&Partition, Limit)> {
    let mut bytes: u64 = partitions.iter().map(|partition| partition.bytes).sum();
    let mut over = Vec::new();
    for partition in partitions.iter().take_while(|partition| partition.is_decided) {
        let limit = match () {
            () if bytes > size as u64 => Limit::Size,
            () if partition.age > age => Limit::Age,
            () => break,
        };
        bytes -= partition.bytes;
        over.push((partition, limit));
    }
    over
}

/// Counts the tenant's events among these ids, by type.
pub async fn count(client: &impl GenericClient, tenant: &TenantId, ids: &Ranges) -> Result<Vec<(String, i64)>, Error> {
    let (lows, highs): (Vec<i64>, Vec<i64>) = ids.iter().unzip();
    let rows = client
        .query(
            "select type, sum(count)::int8 from unnest($1::int8[], $2::int8[]) part (low, high) cross join lateral (
                select type, count(*) from andon.events where id between low and high and tenant = $3 group by type
            ) counted group by type",
            &[&lows, &highs, &tenant.0],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Empties a partition for good. Returns false if it could not: another session uses it, or it has new events that have to stay.
pub async fn empty(transaction: &Transaction<'_>, partition: &Partition) -> Result<bool, Error> {
    let row = transaction
        .query_one("select andon.empty_log($1::text::regclass, $2)", &[&partition.table, &partition.past])
        .await?;
    Ok(row.get(0))
}

/// Drops partitions that are empty and will stay so, if no writer has to wait for that. Returns how many.
pub async fn drop_empty(client: &Client) -> Result<i64, Error> {
    Ok(client.query_one("select andon.drop_empty_log()", &[]).await?.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// There are five, of which the fourth is not decided yet; each takes 100 bytes and is an hour younger than the one before.
    fn partitions() -> Vec<Partition> {
        let partition = |place: u32| Partition {
            table: format!("andon.events_{place}"),
            low: i64::from(place) * 10,
            past: i64::from(place) * 10 + 10,
            bytes: 100,
            age: HOUR * (5 - place),
            is_decided: place != 3,
        };
        (0..5).map(partition).collect()
    }

    fn doomed(age: Duration, size: usize) -> Vec<(i64, Limit)> {
        over(&partitions(), age, size).into_iter().map(|(partition, limit)| (partition.low, limit)).collect()
    }

    #[test]
    fn the_oldest_go_until_both_limits_are_kept() {
        assert_eq!(doomed(HOUR * 9, 500), []);
        assert_eq!(doomed(HOUR * 9, 499), [(0, Limit::Size)]);
        assert_eq!(doomed(HOUR * 9, 300), [(0, Limit::Size), (10, Limit::Size)]);
        assert_eq!(doomed(HOUR * 4, 500), [(0, Limit::Age)]);
        assert_eq!(doomed(HOUR * 3, 400), [(0, Limit::Size), (10, Limit::Age)]);
    }

    #[test]
    fn nothing_goes_that_the_tail_has_not_decided_nor_anything_after_it() {
        assert_eq!(doomed(Duration::ZERO, 0), [(0, Limit::Size), (10, Limit::Size), (20, Limit::Size)]);
    }
}
