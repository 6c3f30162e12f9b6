//! The statements of a poll. In: the position of the tail and its open holes. Out: the statements that read beyond the position and into
//! the holes, over one partition while everything is in it, over the whole log otherwise. It decides nothing about an event.
//!
//! To read the whole log, PostgreSQL locks every partition and opens every index before it knows which one it needs: that is more than half
//! of what a poll costs. A poll of one partition may miss only what lies beyond the end of the partition, and the last value of the
//! identity tells whether anything can. It is read while the snapshot is held, so no row is visible whose id it does not cover.

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::Row;
use tokio_postgres::Statement;

use crate::log::event_row;

/// All statements that polls use.
#[derive(Debug)]
pub(super) struct PollQueries {
    whole: TableQueries,
    partition: Option<TableQueries>,
    /// The largest id that was given out when the last poll looked.
    given_out: i64,
    /// When the tail last searched for a partition.
    searched_at: Option<Instant>,
    /// The rows in the ranges of ids from `$1` to `$2`, in order, `$3` at most.
    pub(super) late: Statement,
    /// Draws an xid.
    pub(super) certificate: Statement,
}

/// The statements over one table, and which ids are in it.
#[derive(Debug)]
pub(super) struct TableQueries {
    low: i64,
    past: i64,
    /// The rows beyond the position `$1`, `$2` at most.
    pub(super) fresh: Statement,
    /// Reads the same rows, and all rows in the ranges of ids from `$3` to `$4`, in no order.
    pub(super) fresh_and_late: Statement,
}

/// The seconds from the trigger to now; the column stands after those of the event. `extract` would compute in numeric, which takes longer.
const AGE: &str = "date_part('epoch', clock_timestamp() - captured_at) as age";
const AGE_COLUMN: usize = 9;
/// Columns of each row, and of the single row that comes when there is no event.
const GIVEN_OUT: usize = 10;
pub(super) const SNAPSHOT: usize = 11;

/// How often the tail searches for a partition while it has none.
const SEARCH_AGAIN: Duration = Duration::from_secs(1);

impl PollQueries {
    /// Prepares the statements over the whole log.
    pub(super) async fn prepare(client: &Client) -> Result<PollQueries, Error> {
        let whole = TableQueries::prepare(client, "andon.events", i64::MIN, i64::MAX).await?;
        let late = client
            .prepare(&format!(
                // Lateral, so that each hole is one probe of the index, however long the log is.
                "select event.* from unnest($1::int8[], $2::int8[]) hole (low, high) cross join lateral (
                    select {} from andon.events where id between low and high order by id limit $3
                ) event order by id limit $3",
                columns()
            ))
            .await?;
        let certificate = client.prepare("select pg_current_xact_id()::text").await?;
        Ok(PollQueries { whole, partition: None, given_out: 0, searched_at: None, late, certificate })
    }

    /// Switches to the partition that contains `position + 1`, if there is one that may be read.
    pub(super) async fn switch_partition(&mut self, client: &Client, position: i64) -> Result<(), Error> {
        // A partition that the tail has read completely may be dropped at any time.
        let is_over = |part: &TableQueries| position + 1 >= part.past || self.given_out >= part.past;
        if self.partition.as_ref().is_some_and(is_over) {
            self.partition = None;
        }
        if self.partition.is_none() && self.searched_at.is_none_or(|last| last.elapsed() >= SEARCH_AGAIN) {
            self.searched_at = Some(Instant::now());
            // A role that may read the log as a whole need not be allowed to read its partitions.
            let find = "select part::text, low, past from andon.log_partitions()
                where low <= $1 and past > $2 and has_table_privilege(part, 'select')";
            if let Some(found) = client.query_opt(find, &[&(position + 1), &self.given_out.max(position + 1)]).await? {
                let queries = TableQueries::prepare(client, found.get(0), found.get(1), found.get(2)).await?;
                self.partition = Some(queries);
            }
        }
        Ok(())
    }

    /// Returns the statements to use when `lowest` is the first id at or below the position that is to be read.
    pub(super) fn over(&self, lowest: Option<i64>) -> &TableQueries {
        let reaches = |part: &&TableQueries| lowest.is_none_or(|lowest| lowest >= part.low);
        self.partition.as_ref().filter(reaches).unwrap_or(&self.whole)
    }

    /// Returns the statements over the whole log.
    pub(super) fn whole(&self) -> &TableQueries {
        &self.whole
    }

    /// Remembers the largest id that was given out when the last poll looked.
    pub(super) fn set_given_out(&mut self, given_out: i64) {
        self.given_out = given_out;
    }
}

impl TableQueries {
    async fn prepare(client: &Client, table: &str, low: i64, past: i64) -> Result<TableQueries, Error> {
        let columns = columns();
        let given_out = "select pg_sequence_last_value('andon.events_id_seq') as given_out";
        let fresh = format!("select {columns} from {table} where id > $1 order by id limit $2");
        let fresh_and_late = format!(
            // Lateral, so that each range is one probe of the index, however long the log is.
            "(select event.* from unnest($3::int8[], $4::int8[]) hole (low, high) cross join lateral (
                select {columns} from {table} where id between low and high
            ) event)
            union all ({fresh})"
        );
        let fresh =
            format!("select event.*, log.* from ({given_out} offset 0) log left join lateral ({fresh}) event on true");
        let fresh_and_late = format!(
            // One statement has one snapshot, and this is it.
            "select event.*, log.* from ({given_out}, pg_current_snapshot()::text as snapshot offset 0) log
            left join lateral ({fresh_and_late}) event on true"
        );
        Ok(TableQueries {
            low,
            past,
            fresh: client.prepare(&fresh).await?,
            fresh_and_late: client.prepare(&fresh_and_late).await?,
        })
    }

    /// Returns whether the log may have rows beyond the table that were visible when these were read.
    pub(super) fn misses(&self, given_out: i64) -> bool {
        given_out >= self.past
    }
}

/// Returns the rows that are events, with their ids.
pub(super) fn events(rows: Vec<Row>) -> impl Iterator<Item = (i64, Row)> {
    rows.into_iter().filter_map(|row| Some((row.get::<_, Option<i64>>(0)?, row)))
}

/// Returns the largest id that was given out when these rows were read. There is always a row that contains it.
pub(super) fn given_out(rows: &[Row]) -> i64 {
    rows[0].get::<_, Option<i64>>(GIVEN_OUT).unwrap_or(0)
}

/// Returns how old an event was when it was read, in seconds.
pub(super) fn age(row: &Row) -> f64 {
    row.get(AGE_COLUMN)
}

/// Returns the columns of an event in every row that the tail reads.
fn columns() -> String {
    format!("{}, {AGE}", event_row::COLUMNS)
}
