//! The reads of one poll. In: the position and the holes. Out: the rows that became visible since the last poll, and the holes as they are
//! now. All reads of one poll share one snapshot; it never waits for a transaction that is open.

use futures_util::future::join;
use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::database::portion;
use crate::database::portion::RowLimit;
use crate::log::tail::holes::Holes;
use crate::log::tail::query;
use crate::log::tail::query::PollQueries;
use crate::log::tail::snapshot::Snapshot;

/// The rows that one poll read.
pub(super) struct Read {
    /// Their ids lay in holes.
    pub(super) late: Vec<Row>,
    /// Their ids are above the position.
    pub(super) fresh: Vec<Row>,
    /// The largest id that was given out.
    pub(super) given_out: i64,
    /// There may be more rows than were read.
    pub(super) is_cut: bool,
}

/// Late rows and new rows per poll, and their bytes: enough that a round trip does not count, few enough that a batch is small next to the
/// recent events that are kept in memory.
pub(super) const ROWS: usize = 1000;
const BYTES: usize = 4 << 20;
/// Holes per query: each is one probe of the index.
const PROBES: usize = 256;

/// Reads late rows first, then new ones. The holes learn of the late rows; the new ones are left to the caller. What is beyond the bytes of
/// a poll is left to the next one.
pub(super) async fn read(
    client: &Client,
    queries: &PollQueries,
    holes: &mut Holes,
    limit: &mut RowLimit,
) -> Result<Read, Error> {
    let rows = limit.rows();
    if !holes.any() {
        let query = queries.over(None);
        let portion = portion::read(client, &query.fresh, &[&holes.position(), &rows], BYTES).await?;
        let given_out = query::given_out(&portion.rows);
        let fresh: Vec<Row> = query::events(portion.rows).map(|(_, row)| row).collect();
        limit.learn(fresh.len(), portion.bytes, BYTES);
        let is_cut = portion.is_cut || fresh.len() as i64 == rows || query.misses(given_out);
        return Ok(Read { late: Vec::new(), fresh, given_out, is_cut });
    }
    let (position, near) = (holes.position(), holes.near());
    let (lows, highs): (Vec<i64>, Vec<i64>) = near.iter().unzip();
    let certifying = async {
        // Drawn after the read that opened the hole, and before the snapshot that may close it.
        if holes.needs_certificate() { Ok(Some(client.query_one(&queries.certificate, &[]).await?)) } else { Ok(None) }
    };
    if limit.is_reduced() {
        // Large rows may lie in the near holes as well, and these are read without a limit.
        if let Some(drawn) = certifying.await? {
            holes.certify(xid(drawn.get(0)));
        }
        return read_in_portions(client, queries, holes, limit).await;
    }
    let query = queries.over(lows.first().copied());
    let parameters: [&(dyn ToSql + Sync); 4] = [&position, &rows, &lows, &highs];
    let (drawn, portion) = join(certifying, portion::read(client, &query.fresh_and_late, &parameters, BYTES)).await;
    if let Some(drawn) = drawn? {
        holes.certify(xid(drawn.get(0)));
    }
    let portion = portion?;
    limit.learn(portion.rows.len(), portion.bytes, BYTES);
    let now = snapshot(portion.rows[0].get(query::SNAPSHOT));
    let (doubtful, _) = holes.doubts(&now);
    if portion.is_cut || !doubtful.without(&near).is_empty() {
        return read_in_portions(client, queries, holes, limit).await;
    }
    let given_out = query::given_out(&portion.rows);
    let (mut late, mut fresh): (Vec<_>, Vec<_>) = query::events(portion.rows).partition(|(id, _)| *id <= position);
    late.sort_unstable_by_key(|(id, _)| *id);
    fresh.sort_unstable_by_key(|(id, _)| *id);
    late.iter().for_each(|(id, _)| holes.arrived(*id));
    let is_cut = fresh.len() as i64 == rows || query.misses(given_out);
    holes.looked(now, is_cut);
    let rows = |events: Vec<(i64, Row)>| events.into_iter().map(|(_, row)| row).collect();
    Ok(Read { late: rows(late), fresh: rows(fresh), given_out, is_cut })
}

/// Reads all doubtful holes before anything new, however many rows lie in them.
async fn read_in_portions(
    client: &Client,
    queries: &PollQueries,
    holes: &mut Holes,
    limit: &mut RowLimit,
) -> Result<Read, Error> {
    let (rows, mut bytes) = (limit.rows(), 0);
    // If a statement of this transaction fails, the session is given up.
    client.batch_execute("begin isolation level repeatable read read only").await?;
    let now = client.query_one("select pg_current_snapshot()::text", &[]).await?;
    let now = snapshot(now.get(0));
    let (doubtful, beyond) = holes.doubts(&now);
    let (mut late, mut late_are_cut) = (Vec::new(), false);
    let ranges: Vec<(i64, i64)> = doubtful.iter().collect();
    for probes in ranges.chunks(PROBES) {
        let (lows, highs): (Vec<i64>, Vec<i64>) = probes.iter().copied().unzip();
        let left = rows - late.len() as i64;
        let portion =
            portion::read(client, &queries.late, &[&lows, &highs, &left], BYTES.saturating_sub(bytes)).await?;
        bytes += portion.bytes;
        late.extend(portion.rows);
        late_are_cut = portion.is_cut || late.len() as i64 == rows;
        if late_are_cut {
            break;
        }
    }
    let (mut fresh, mut given_out, mut fresh_are_cut) = (Vec::new(), holes.position(), false);
    if beyond && !late_are_cut {
        let budget = BYTES.saturating_sub(bytes);
        let portion = portion::read(client, &queries.whole().fresh, &[&holes.position(), &rows], budget).await?;
        bytes += portion.bytes;
        given_out = query::given_out(&portion.rows);
        fresh = query::events(portion.rows).map(|(_, row)| row).collect::<Vec<_>>();
        fresh_are_cut = portion.is_cut || fresh.len() as i64 == rows;
    }
    limit.learn(late.len() + fresh.len(), bytes, BYTES);
    client.batch_execute("commit").await?;
    for row in &late {
        holes.arrived(row.get(0));
    }
    let is_cut = late_are_cut || fresh_are_cut;
    // If the late rows were cut, the next poll doubts what this one doubted, and reads on in it before it reads anything new.
    if !late_are_cut {
        holes.looked(now, is_cut);
    }
    Ok(Read { late, fresh, given_out, is_cut })
}

pub(super) fn snapshot(text: &str) -> Snapshot {
    Snapshot::parse(text).expect("PostgreSQL writes a snapshot as xmin:xmax:xips")
}

/// Reads an xid8, for which the driver has no Rust type. Its text is a decimal number.
pub(super) fn xid(text: &str) -> u64 {
    text.parse().expect("PostgreSQL writes an xid8 as a decimal")
}
