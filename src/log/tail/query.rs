//! The window: where a poll looks. In: the position of the tail and its open holes. Out: the statements that read beyond the one and into
//! the others: of one partition while all of it is there, of the whole log otherwise. It decides nothing about an event.
//!
//! Of the whole log, PostgreSQL locks every partition and opens every index before it knows that it needs one: more than half of what a
//! poll costs. Of one partition, what a poll may miss is what lies beyond its end; the identity's last value tells whether there can be
//! anything. It is read while the snapshot is held, so no row is visible whose id it does not cover.

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::Row;
use tokio_postgres::Statement;

use crate::log::row;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Window {
    whole: Query,
    part: Option<Query>,
    /// The largest id that was given out when the last poll looked.
    given_out: i64,
    looked: Option<Instant>,
}

/// The statements over a table, and which ids are in it.
#[derive(Debug)]
pub(crate) struct Query {
    low: i64,
    past: i64,
    /// `$1` a position, `$2` how many rows beyond it.
    pub(crate) fresh: Statement,
    /// The same, and all in the ranges of ids from `$3` to `$4`, in no order.
    pub(crate) fresh_and_late: Statement,
}

/// In seconds, from the trigger to now; it stands behind the columns of the event. `extract` would reckon in numeric, which takes longer.
const AGE: &str = "date_part('epoch', clock_timestamp() - captured_at) as age";
const AGE_COLUMN: usize = 9;
/// In each row, and in a row of its own where there is no event.
const GIVEN_OUT: usize = 10;
pub(crate) const SNAPSHOT: usize = 11;

/// How often a partition is looked for while the tail is in none.
const AGAIN: Duration = Duration::from_secs(1);

impl Window {
    /// Prepares the statements of the whole log.
    pub(crate) async fn open(client: &Client) -> Result<Window, Error> {
        let whole = Query::prepare(client, "andon.events", i64::MIN, i64::MAX).await?;
        Ok(Window { whole, part: None, given_out: 0, looked: None })
    }

    /// Takes up the partition behind `position`, if the window is in none that has it.
    pub(crate) async fn follow(&mut self, client: &Client, position: i64) -> Result<(), Error> {
        // One that the tail is through with may be dropped at any time.
        let is_over = |part: &Query| position + 1 >= part.past || self.given_out >= part.past;
        if self.part.as_ref().is_some_and(is_over) {
            self.part = None;
        }
        if self.part.is_none() && self.looked.is_none_or(|last| last.elapsed() >= AGAIN) {
            self.looked = Some(Instant::now());
            // Who may read the log by the whole need not be allowed to read it by its parts.
            let find = "select part::text, low, past from andon.log_partitions()
                where low <= $1 and past > $2 and has_table_privilege(part, 'select')";
            if let Some(found) = client.query_opt(find, &[&(position + 1), &self.given_out.max(position + 1)]).await? {
                self.part = Some(Query::prepare(client, found.get(0), found.get(1), found.get(2)).await?);
            }
        }
        Ok(())
    }

    /// The statements to use; `lowest` is the first id at or below the position that is to be looked at.
    pub(crate) fn over(&self, lowest: Option<i64>) -> &Query {
        let reaches = |part: &&Query| lowest.is_none_or(|lowest| lowest >= part.low);
        self.part.as_ref().filter(reaches).unwrap_or(&self.whole)
    }

    /// The statements over all of it.
    pub(crate) fn whole(&self) -> &Query {
        &self.whole
    }

    /// A poll found that so many ids were given out.
    pub(crate) fn saw(&mut self, given_out: i64) {
        self.given_out = given_out;
    }
}

impl Query {
    async fn prepare(client: &Client, table: &str, low: i64, past: i64) -> Result<Query, Error> {
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
        Ok(Query {
            low,
            past,
            fresh: client.prepare(&fresh).await?,
            fresh_and_late: client.prepare(&fresh_and_late).await?,
        })
    }

    /// Whether there may be rows in the log, visible when these were read, that are beyond the table.
    pub(crate) fn misses(&self, given_out: i64) -> bool {
        given_out >= self.past
    }
}

/// The rows that are events, with their ids.
pub(crate) fn events(rows: Vec<Row>) -> impl Iterator<Item = (i64, Row)> {
    rows.into_iter().filter_map(|row| Some((row.get::<_, Option<i64>>(0)?, row)))
}

/// The largest id that was given out when these rows were read; there is always one row to tell it.
pub(crate) fn given_out(rows: &[Row]) -> i64 {
    rows[0].get::<_, Option<i64>>(GIVEN_OUT).unwrap_or(0)
}

/// How old an event was when it was read, in seconds.
pub(crate) fn age(row: &Row) -> f64 {
    row.get(AGE_COLUMN)
}

/// The columns of an event in all rows that the tail reads.
pub(crate) fn columns() -> String {
    format!("{}, {AGE}", row::COLUMNS)
}
