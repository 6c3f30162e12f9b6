//! Reads the parked deliveries of a lane that are due, page after page. In: where the page before ended, and how much there is room for. Out:
//! deliveries to try, and at the end of the walk how long it takes until the next is due. A page goes on where the one before ended, so that
//! it costs the same however many deliveries are due, and however many that were due are gone.

use std::time::Duration;

use deadpool_postgres::GenericClient as _;
use deadpool_postgres::Object;
use tokio_postgres::Error;
use tokio_postgres::GenericClient;
use tokio_postgres::Row;
use tokio_postgres::types::Timestamp;
use tokio_postgres::types::ToSql;

use crate::database::portion;
use crate::database::portion::RowLimit;
use crate::destination::LaneName;
use crate::ledger::Parked;
use crate::ledger::parked_row;

/// A time of the database, exactly as it is stored.
type Moment = Timestamp<jiff::Timestamp>;

/// A walk through all that was due when it began. What becomes due meanwhile is left to the next walk, so that a walk comes to an end and
/// finds what somebody has put behind it by hand.
#[derive(Debug, Clone, Copy)]
pub struct Walk {
    /// When it began; before its first page any time is right.
    began: Moment,
    /// The time and the event of the last delivery that was read.
    at: Moment,
    event: i64,
    /// How many rows a page asks for.
    limit: RowLimit,
}

/// What one read of a walk brought.
#[derive(Debug)]
pub struct Page {
    /// The deliveries, those that are due first in front.
    pub found: Vec<Parked>,
    /// The walk from here on, or a new one if all that was due is read.
    pub walk: Walk,
    /// How long it takes until there is something to read; none if nothing has a time.
    pub next: Option<Duration>,
}

/// The rows that the first page asks for, and those that any page asks for at most.
const FIRST_ROWS: usize = 16;
const ROWS: usize = 512;

impl Default for Walk {
    fn default() -> Walk {
        Walk {
            began: Timestamp::PosInfinity,
            at: Timestamp::NegInfinity,
            event: i64::MIN,
            limit: RowLimit::new(FIRST_ROWS, ROWS),
        }
    }
}

impl Walk {
    /// Returns a new walk, which knows how large the deliveries were.
    #[must_use]
    pub fn anew(self) -> Walk {
        Walk { limit: self.limit, ..Walk::default() }
    }

    /// Returns whether there is a page before the next one.
    pub fn has_begun(&self) -> bool {
        !matches!(self.began, Timestamp::PosInfinity)
    }

    /// Reads the next page, without the deliveries in hand: `most` of them at most, and no more than weigh `room` unless a single one is
    /// heavier.
    pub async fn page(
        mut self,
        client: &Object,
        lane: &LaneName,
        in_hand: &[i64],
        (most, room): (usize, usize),
    ) -> Result<Page, Error> {
        let rows = self.limit.rows().min(i64::try_from(most).unwrap_or(i64::MAX));
        let statement = client
            .prepare_cached(&format!(
                "select {}, next_attempt_at, now() from andon.deliveries
                where lane = $1 and state = 'retry' and next_attempt_at <= least($2::timestamptz, now())
                    and (next_attempt_at, event) > ($3::timestamptz, $4::int8) and id <> all ($5)
                order by next_attempt_at, event limit $6",
                parked_row::columns()
            ))
            .await?;
        let parameters: [&(dyn ToSql + Sync); 6] = [&lane.0, &self.began, &self.at, &self.event, &in_hand, &rows];
        // An event weighs about twice as much as its row.
        let portion = portion::read(client, &statement, &parameters, room / 2).await?;
        self.limit.learn(portion.rows.len(), portion.bytes, room / 2);
        let found = portion.rows.iter().map(parked_row::read).collect::<Result<Vec<Parked>, Error>>()?;
        if let (Some(row), Some(parked)) = (portion.rows.last(), found.last()) {
            if !self.has_begun() {
                self.began = row.try_get(parked_row::COUNT + 1)?;
            }
            (self.at, self.event) = (row.try_get(parked_row::COUNT)?, parked.event.id);
        }
        if self.has_begun() && (portion.is_cut || portion.rows.len() as i64 == rows) {
            return Ok(Page { found, walk: self, next: Some(Duration::ZERO) });
        }
        let next = self.next_due_in(client, lane, in_hand).await?;
        Ok(Page { found, walk: self.anew(), next })
    }

    /// Returns how long it takes until the next delivery is due that was not due when this walk began.
    async fn next_due_in(self, client: &Object, lane: &LaneName, in_hand: &[i64]) -> Result<Option<Duration>, Error> {
        // A walk that found nothing does not know when it began: what has become due in the meantime must not be missed.
        let after = if self.has_begun() { self.began } else { Timestamp::NegInfinity };
        let statement = client
            .prepare_cached(
                // In a day it is looked up again, because somebody may have written a time that is never.
                "select extract(epoch from least(greatest(next_attempt_at, now()), now() + interval '1 day') - now())::float8
                from andon.deliveries where lane = $1 and state = 'retry' and next_attempt_at > $2 and id <> all ($3)
                order by next_attempt_at, event limit 1",
            )
            .await?;
        let next = client.query_opt(&statement, &[&lane.0, &after, &in_hand]).await?;
        Ok(next.map(|row| Duration::from_secs_f64(row.get::<_, f64>(0).max(0.0))))
    }
}

/// Reads the delivery that is due next, however long that takes, without those that are named.
pub async fn next_but(client: &impl GenericClient, lane: &LaneName, ids: &[i64]) -> Result<Option<Parked>, Error> {
    let sql = format!(
        "select {} from andon.deliveries where lane = $1 and state = 'retry' and id <> all ($2) order by next_attempt_at, event limit 1",
        parked_row::columns()
    );
    let row: Option<Row> = client.query_opt(&sql, &[&lane.0, &ids]).await?;
    row.as_ref().map(parked_row::read).transpose()
}
