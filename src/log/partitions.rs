//! The partitions of the log. In: limits of age and size. Out: partitions that are made before the log reaches them, and emptied and
//! dropped once they are beyond a limit. It never waits for a lock that would make a writer of the plant wait behind it, and never looks at
//! a lane: whoever empties a partition has to set its lanes forward first.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::GenericClient;
use tokio_postgres::Transaction;

use crate::event::TenantId;
use crate::log::set_aside;
use crate::ranges::Ranges;

/// A part of the log that has events in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The table.
    pub table: String,
    /// Whether it has the table for itself.
    pub kind: Kind,
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

/// What of a table a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All of it.
    Table,
    /// Some ids of the default partition, which has newer ones too.
    Stretch,
    /// The newest ids of the default partition.
    LastStretch,
}

/// How many rows of the default partition are deleted in one transaction.
const DELETED_AT_ONCE: i64 = 50_000;

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

/// Returns the first id for which no partition is made yet.
pub async fn end(client: &Client) -> Result<i64, Error> {
    Ok(client.query_one("select coalesce(max(past), 0) from andon.log_partitions()", &[]).await?.get(0))
}

/// Lists the partitions with events in them, from the oldest. The default partition holds what the log had no other partition for: each
/// stretch of it counts as a partition of its own, in its place.
pub async fn list(client: &Client) -> Result<Vec<Partition>, Error> {
    let rows = client
        .query(
            "with made as (select part::text as name, pg_total_relation_size(part) as bytes, low, past from andon.log_partitions()),
            gap as (
                select past as low, lead(low, 1, 9223372036854775807) over (order by low) as past
                from (select low, past from made union all select -9223372036854775808, -9223372036854775807) it
            ),
            stretch as (
                select it.low, it.past, max(it.past) over () = it.past as is_last,
                    least(pg_total_relation_size('andon.events_default') / sum(it.past - it.low) over (), row_bytes + 200)
                        * (it.past - it.low) as bytes
                from gap cross join lateral (
                    select min(id) as low, max(id) + 1 as past from only andon.events_default where id >= gap.low and id < gap.past
                ) it cross join lateral (
                    -- Rows that were deleted still take room in the file. What the others take is judged by the newest.
                    select avg(pg_column_size(context) + pg_column_size(data)) as row_bytes from (
                        select context, data from only andon.events_default where id < it.past order by id desc limit 100
                    ) newest
                ) sample
            )
            select name, low, past, bytes,
                extract(epoch from clock_timestamp() - least(clock_timestamp(), greatest('1970-01-01Z', newest.captured_at)))::float8,
                position >= past - 1 and not holes && int8range(low, past), is_last
            from (
                select name, low, past, bytes, null as is_last from made
                union all select 'andon.events_default', low, past, bytes::int8, is_last from stretch
            ) part cross join andon.tail cross join lateral (
                select captured_at from andon.events where id >= low and id < past order by id desc limit 1
            ) newest order by low",
            &[],
        )
        .await?;
    let kind = |is_last: Option<bool>| match is_last {
        None => Kind::Table,
        Some(true) => Kind::LastStretch,
        Some(false) => Kind::Stretch,
    };
    let partition = |row: &tokio_postgres::Row| Partition {
        table: row.get(0),
        kind: kind(row.get(6)),
        low: row.get(1),
        past: row.get(2),
        bytes: row.get::<_, i64>(3).unsigned_abs(),
        age: Duration::from_secs_f64(row.get::<_, f64>(4).max(0.0)),
        is_decided: row.get(5),
    };
    Ok(rows.iter().map(partition).collect())
}

/// Lists the partitions that are beyond a limit, from the oldest. Stops at the first one that the tail has not fully read. Of a stretch of
/// the default partition, which may be as large as the log, it takes only what has to go.
pub fn over(partitions: &[Partition], age: Duration, size: usize) -> Vec<(Partition, Limit)> {
    let size = size as u64;
    let mut bytes: u64 = partitions.iter().map(|partition| partition.bytes).sum();
    let mut over = Vec::new();
    for partition in partitions.iter().take_while(|partition| partition.is_decided) {
        let limit = match () {
            () if bytes > size => Limit::Size,
            () if partition.age > age => Limit::Age,
            () => break,
        };
        let left = bytes - partition.bytes;
        if limit == Limit::Size && partition.kind != Kind::Table && left < size {
            // A little more than has to go, so that there is not a little to do each time.
            let part = partition.beginning((bytes - size).max(size / 16));
            over.extend(part.pieces().map(|piece| (piece, limit)));
            break;
        }
        over.extend(partition.pieces().map(|piece| (piece, limit)));
        bytes = left;
    }
    over
}

impl Partition {
    /// Returns the part of a stretch that takes so many bytes, from its first id.
    fn beginning(&self, bytes: u64) -> Partition {
        let ids = u128::from(self.past.abs_diff(self.low)) * u128::from(bytes) / u128::from(self.bytes.max(1));
        let past = self.low.saturating_add(i64::try_from(ids).unwrap_or(i64::MAX)).clamp(self.low + 1, self.past);
        let kind = if past < self.past { Kind::Stretch } else { self.kind };
        Partition { kind, past, bytes: bytes.min(self.bytes), ..self.clone() }
    }

    /// Returns what is to be removed at a time: few rows where they have to be deleted, and else everything.
    fn pieces(&self) -> impl Iterator<Item = Partition> {
        let step = if self.kind == Kind::Stretch { DELETED_AT_ONCE } else { self.past - self.low };
        let lows = (0..).map_while(move |count| Some(self.low + step * count).filter(|low| *low < self.past));
        lows.map(move |low| Partition { low, past: low.saturating_add(step).min(self.past), ..self.clone() })
    }
}

/// Counts the tenant's events among these ids, by type.
pub async fn count(client: &impl GenericClient, tenant: &TenantId, ids: &Ranges) -> Result<Vec<(String, i64)>, Error> {
    let (lows, highs): (Vec<i64>, Vec<i64>) = ids.iter().unzip();
    let rows = client
        .query(
            // As bytes, so that one type that is no text does not keep the others from being counted.
            "select convert_to(type, getdatabaseencoding()), sum(count)::int8
            from unnest($1::int8[], $2::int8[]) part (low, high) cross join lateral (
                select type, count(*) from andon.events where id between low and high and ($3 = '*' or tenant = $3) group by type
            ) counted group by type",
            &[&lows, &highs, &tenant.0],
        )
        .await?;
    Ok(rows.iter().map(|row| (String::from_utf8_lossy(row.get(0)).into_owned(), row.get(1))).collect())
}

/// Counts them within a transaction. Returns nothing if they cannot be counted, because a page is damaged.
pub async fn try_count(
    transaction: &Transaction<'_>,
    tenant: &TenantId,
    ids: &Ranges,
) -> Result<Option<Vec<(String, i64)>>, Error> {
    transaction.batch_execute("savepoint counting").await?;
    match count(transaction, tenant, ids).await {
        Ok(counts) => Ok(Some(counts)),
        Err(error) if set_aside::is_of_a_row(&error) => {
            transaction.batch_execute("rollback to counting").await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Empties a partition for good. Returns false if it could not: another session uses it, or it has new events that have to stay.
pub async fn empty(transaction: &Transaction<'_>, partition: &Partition) -> Result<bool, Error> {
    let row = match partition.kind {
        Kind::Table => {
            let sql = "select andon.empty_log($1::text::regclass, $2)";
            transaction.query_one(sql, &[&partition.table, &partition.past]).await?
        }
        Kind::Stretch | Kind::LastStretch => {
            transaction.query_one("select andon.trim_log($1)", &[&partition.past]).await?
        }
    };
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
            kind: Kind::Table,
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
    fn of_a_stretch_of_the_default_partition_only_what_has_to_go_goes_and_in_pieces() {
        let table = |low: i64, past: i64, bytes: u64| Partition { low, past, bytes, ..partitions().remove(0) };
        let of_default = |kind, low, past, bytes| Partition { kind, ..table(low, past, bytes) };
        let whole = [
            of_default(Kind::Stretch, 1, 100_001, 1600),
            table(100_001, 200_001, 1600),
            of_default(Kind::LastStretch, 200_001, 400_001, 3200),
        ];
        let removed = |size: usize| -> Vec<_> {
            let over = over(&whole, HOUR * 9, size);
            over.into_iter().map(|(it, _)| (it.kind, it.low, it.past)).collect()
        };
        let older = vec![(Kind::Stretch, 1, 50_001), (Kind::Stretch, 50_001, 100_001)];
        let table = vec![(Kind::Table, 100_001, 200_001)];

        assert_eq!(removed(6400), []);
        assert_eq!(removed(6399), [(Kind::Stretch, 1, 24_938)], "a sixteenth of the limit at least");
        assert_eq!(removed(4800), older);
        assert_eq!(removed(4000), [older.clone(), table.clone()].concat(), "a partition goes as a whole");
        let first = vec![(Kind::Stretch, 200_001, 237_501)];
        assert_eq!(removed(2600), [older.clone(), table.clone(), first].concat(), "the newest stay");
        let last = vec![(Kind::LastStretch, 200_001, 400_001)];
        assert_eq!(removed(0), [older, table, last].concat(), "a table that is over is emptied at once");
    }

    #[test]
    fn nothing_goes_that_the_tail_has_not_decided_nor_anything_after_it() {
        assert_eq!(doomed(Duration::ZERO, 0), [(0, Limit::Size), (10, Limit::Size), (20, Limit::Size)]);
    }
}
