//! Reads the log by key, for a lane that needs events which are no longer kept in memory. In: ranges of ids that the tail has decided. Out:
//! the tenant's events in them, oldest first. It never looks at an id that is undecided, so it needs no snapshot of its own.

use std::sync::Arc;

use deadpool_postgres::Pool;
use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use crate::database::portion;
use crate::database::portion::RowLimit;
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
    /// The weight of the first event, if there was no room for it.
    pub too_large: Option<usize>,
}

/// The rows that the first page asks for, and those that any page asks for at most.
const FIRST_ROWS: usize = 16;
const ROWS: usize = 256;
/// The most rows of a page that is read row by row.
const SINGLE_ROWS: usize = 64;
/// The fewest and the most ids that a page covers. Between them a page grows for as long as few rows of it are the tenant's.
const NARROW: u64 = 256;
const WIDE: u64 = 64_000;
/// The most ranges of a page: each is one probe of the index.
const PROBES: usize = 256;

/// A reader of the log for one tenant.
#[derive(Debug, Clone)]
pub struct Reader {
    pool: Pool,
    tenant: TenantId,
    width: u64,
    limit: RowLimit,
}

impl Reader {
    /// Creates a reader of `tenant`'s events.
    pub fn new(pool: Pool, tenant: TenantId) -> Reader {
        Reader { pool, tenant, width: NARROW, limit: RowLimit::new(FIRST_ROWS, ROWS) }
    }

    /// Reads the first part of `wanted`, as far as its events weigh no more than `room`. The future may be dropped without losing anything.
    pub async fn page(&mut self, wanted: &Ranges, room: usize) -> anyhow::Result<Page> {
        let mut covered = first_ids(wanted, self.width);
        let rows = self.limit.rows();
        let (lows, highs): (Vec<i64>, Vec<i64>) = covered.iter().unzip();
        let mut client = self.pool.get().await?;
        let statement = client
            .prepare_cached(&format!(
                // Lateral, so that each range is one probe of the index: a plain join was planned as a walk through the whole log.
                "select event.* from unnest($1::int8[], $2::int8[]) part (low, high) cross join lateral (
                    select {} from andon.events where id between low and high and ($3 = '*' or tenant = $3) order by id limit $4
                ) event order by id limit $4",
                event_row::COLUMNS
            ))
            .await?;
        let parameters: [&(dyn ToSql + Sync); 4] = [&lows, &highs, &self.tenant.0, &rows];
        let found = match portion::read(&client, &statement, &parameters, room / 2).await {
            Ok(portion) => Portion {
                is_cut: portion.is_cut || portion.rows.len() as i64 == rows,
                found: portion.rows.iter().map(set_aside::decode).collect(),
            },
            Err(error) if set_aside::is_of_a_row(&error) => one_by_one(&mut client, &covered, &self.tenant).await?,
            Err(error) => return Err(error.into()),
        };
        let (mut events, mut odd) = (Vec::with_capacity(found.found.len()), Vec::new());
        let (mut is_cut, mut last, mut weight, mut too_large) = (found.is_cut, None, 0, None);
        for row in found.found {
            let id = set_aside::id(&row);
            match row {
                Ok(event) if weight + event.weight() > room => {
                    is_cut = true;
                    too_large = events.is_empty().then(|| event.weight());
                    break;
                }
                Ok(event) => {
                    weight += event.weight();
                    events.push(event);
                }
                Err(set_aside) => odd.push(set_aside),
            }
            last = Some(id);
        }
        set_aside::record(&client, &odd).await?;
        self.limit.learn(events.len(), weight, room);
        if is_cut {
            covered.remove(last.map_or(i64::MIN, |last| last + 1), i64::MAX);
        }
        self.width = if is_cut { NARROW } else { (self.width * 2).min(WIDE) };
        Ok(Page { events, covered, too_large })
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
