//! Reads the log by key, for a lane that needs events which are no longer kept in memory. In: ranges of ids that the tail has decided. Out:
//! the tenant's events in them, oldest first. It never looks at an id that is undecided, so it needs no snapshot of its own.

use std::sync::Arc;

use deadpool_postgres::Pool;
use tokio_postgres::Client;
use tokio_postgres::Error;

use crate::event::Event;
use crate::event::TenantId;
use crate::log::event_row;
use crate::log::set_aside;
use crate::log::set_aside::Portion;
use crate::ranges::Ranges;

/// The outcome of one read.
#[derive(Debug)]
pub struct Page {
    /// The tenant's events among the ids covered, by id.
    pub events: Vec<Arc<Event>>,
    /// The ids that need not be read again.
    pub covered: Ranges,
}

/// The most rows of a page, since each lane that is behind holds a page in memory.
const ROWS: usize = 256;
/// The most rows of a page that is read row by row.
const SINGLE_ROWS: usize = 64;
/// The fewest and the most ids that a page covers. Between them a page grows for as long as few rows of it are the tenant's.
const NARROW: u64 = 256;
const WIDE: u64 = 64_000;
/// The most ranges of a page: each is one probe of the index.
const PROBES: usize = 256;

/// A reader of the log for one tenant.
#[derive(Debug)]
pub struct Reader {
    pool: Pool,
    tenant: TenantId,
    width: u64,
}

impl Reader {
    /// Creates a reader of `tenant`'s events.
    pub fn new(pool: Pool, tenant: TenantId) -> Reader {
        Reader { pool, tenant, width: NARROW }
    }

    /// Reads the first part of `wanted`. The future may be dropped without losing anything.
    pub async fn page(&mut self, wanted: &Ranges) -> anyhow::Result<Page> {
        let mut probes = first_ids(wanted, self.width);
        let (lows, highs): (Vec<i64>, Vec<i64>) = probes.iter().unzip();
        let mut client = self.pool.get().await?;
        let statement = client
            .prepare_cached(&format!(
                // Lateral, so that each range is one probe of the index: a plain join was planned as a walk through the whole log.
                "select event.* from unnest($1::int8[], $2::int8[]) part (low, high) cross join lateral (
                    select {} from andon.events where id between low and high and tenant = $3 order by id limit $4
                ) event order by id limit $4",
                event_row::COLUMNS
            ))
            .await?;
        let found = match client.query(&statement, &[&lows, &highs, &self.tenant.0, &(ROWS as i64)]).await {
            Ok(rows) => Portion { is_cut: rows.len() == ROWS, found: rows.iter().map(set_aside::decode).collect() },
            Err(error) if set_aside::is_of_a_row(&error) => one_by_one(&mut client, &probes, &self.tenant).await?,
            Err(error) => return Err(error.into()),
        };
        if let (true, Some(last)) = (found.is_cut, found.found.last()) {
            probes.remove(set_aside::id(last) + 1, i64::MAX);
            self.width = NARROW;
        } else {
            self.width = (self.width * 2).min(WIDE);
        }
        let (mut events, mut odd) = (Vec::with_capacity(found.found.len()), Vec::new());
        for row in found.found {
            match row {
                Ok(event) => events.push(event),
                Err(set_aside) => odd.push(set_aside),
            }
        }
        set_aside::record(&client, &odd).await?;
        Ok(Page { events, covered: probes })
    }
}

/// Reads the rows of a page that the server refuses to send, up to the one that is at fault.
async fn one_by_one(client: &mut Client, probes: &Ranges, tenant: &TenantId) -> Result<Portion, Error> {
    let transaction = client.transaction().await?;
    let mut page = Portion::default();
    for range in probes.iter() {
        let portion =
            set_aside::read_each(&transaction, range, Some(&tenant.0), SINGLE_ROWS - page.found.len()).await?;
        page.found.extend(portion.found);
        page.is_cut = portion.is_cut;
        if page.is_cut {
            break;
        }
    }
    Ok(page)
}

/// Returns the lowest `count` ids of a set, in at most [`PROBES`] ranges.
fn first_ids(wanted: &Ranges, count: u64) -> Ranges {
    let mut left = count;
    let mut first = Ranges::default();
    for (low, high) in wanted.iter().take(PROBES) {
        let width = (low.abs_diff(high) + 1).min(left);
        first.insert(low, low + width as i64 - 1);
        left -= width;
        if left == 0 {
            break;
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_takes_the_lowest_ids_and_cuts_the_last_range() {
        let wanted = Ranges::parse("{[5,8),[10,100)}").unwrap();

        assert_eq!(first_ids(&wanted, 5).to_string(), "{[5,8),[10,12)}");
        assert_eq!(first_ids(&wanted, 500), wanted);
    }
}
