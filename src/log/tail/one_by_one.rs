//! The poll that is made when the server refuses to send a portion of the log. In: the position and the holes. Out: what the other poll
//! would have read, up to a row that cannot be read, which is set aside. As there, late rows come first, and all reads share one snapshot.

use tokio_postgres::Client;
use tokio_postgres::Error;

use crate::log::set_aside;
use crate::log::set_aside::Found;
use crate::log::set_aside::Portion;
use crate::log::tail::holes::Holes;
use crate::log::tail::query::PollQueries;
use crate::log::tail::read::snapshot;
use crate::log::tail::read::xid;

/// The rows that one poll read.
pub(super) struct OneByOne {
    /// Their ids lay in holes.
    pub(super) late: Vec<Found>,
    /// Their ids are above the position.
    pub(super) fresh: Vec<Found>,
    /// The largest id that was given out.
    pub(super) given_out: i64,
    /// There may be more rows than were read.
    pub(super) is_cut: bool,
}

/// Each row is a round trip.
const ROWS: usize = 64;

/// Reads late rows first, then new ones. The holes learn of the late rows; the new ones are left to the caller.
pub(super) async fn read(client: &Client, queries: &PollQueries, holes: &mut Holes) -> Result<OneByOne, Error> {
    // The statement that was refused may have been one of a transaction.
    client.batch_execute("rollback").await?;
    if holes.needs_certificate() {
        holes.certify(xid(client.query_one(&queries.certificate, &[]).await?.get(0)));
    }
    client.batch_execute("begin isolation level repeatable read read only").await?;
    let now = client.query_one("select pg_current_snapshot()::text", &[]).await?;
    let now = snapshot(now.get(0));
    let (doubtful, beyond) = holes.doubts(&now);
    let mut late = Portion::default();
    for range in doubtful.iter() {
        let portion = set_aside::read_each(client, range, None, ROWS - late.found.len()).await?;
        late.found.extend(portion.found);
        late.is_cut = portion.is_cut;
        if late.is_cut {
            break;
        }
    }
    let given_out = client.query_one("select coalesce(pg_sequence_last_value('andon.events_id_seq'), 0)", &[]).await?;
    let (given_out, mut fresh) = (given_out.get(0), Portion::default());
    if beyond && !late.is_cut {
        fresh = set_aside::read_each(client, (holes.position() + 1, given_out), None, ROWS).await?;
    }
    client.batch_execute("commit").await?;
    late.found.iter().for_each(|found| holes.arrived(set_aside::id(found)));
    let is_cut = late.is_cut || fresh.is_cut;
    if !late.is_cut {
        holes.looked(now, is_cut);
    }
    Ok(OneByOne { late: late.found, fresh: fresh.found, given_out, is_cut })
}
