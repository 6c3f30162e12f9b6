//! Lanes that have not read a part of the log which retention is about to drop. In: the part. Out: the lanes, with what each has not read
//! of it; and a lane made to skip the part.

use tokio_postgres::GenericClient;
use tokio_postgres::Row;
use tokio_postgres::Transaction;

use crate::destination::LaneName;
use crate::event::TenantId;
use crate::lane::store::error::StoreError;
use crate::ranges::Ranges;

/// A lane that has not read all of a part of the log.
#[derive(Debug)]
pub struct FallenBehind {
    /// The lane's name.
    pub lane: LaneName,
    /// The tenant whose events it takes.
    pub tenant: TenantId,
    /// The name that people use for its destination.
    pub name: String,
    /// Whether it is delivering.
    pub is_running: bool,
    /// The ids of the part that it has not read.
    pub unread: Ranges,
}

impl FallenBehind {
    /// Reads a row of lane, tenant, name, whether it runs, position and pending, for the part from `low` up to `past`, which is not in it.
    fn of(row: &Row, low: i64, past: i64) -> Result<FallenBehind, StoreError> {
        let mut unread = Ranges::parse(row.get(5))?;
        unread.insert(row.get::<_, i64>(4) + 1, past - 1);
        unread.remove(i64::MIN, low - 1);
        unread.remove(past, i64::MAX);
        let (lane, tenant) = (LaneName(row.get(0)), TenantId(row.get(1)));
        Ok(FallenBehind { lane, tenant, name: row.get(2), is_running: row.get(3), unread })
    }
}

/// What there is to find in `andon.lanes`.
const LANES: &str = "select lane, tenant, name, state = 'running', case when replay is null then position else $2::int8 - 1 end, andon.pending_ids(lanes)::text
    from andon.lanes where (state <> 'removed' or replay is not null)
        and ((position < $2::int8 - 1 and replay is null) or andon.pending_ids(lanes) && int8range($1, $2))
    order by lane";

/// Finds the lanes that have not read all ids from `low` up to `past`, which is not among them.
pub async fn lanes(client: &impl GenericClient, low: i64, past: i64) -> Result<Vec<FallenBehind>, StoreError> {
    let rows = client.query(LANES, &[&low, &past]).await?;
    rows.iter().map(|row| FallenBehind::of(row, low, past)).collect()
}

/// Finds the same lanes, and locks their rows, so that they write nothing until the transaction ends. It fails if somebody else has locked
/// one of them for long: the others would have to wait as well.
pub async fn lock(transaction: &Transaction<'_>, low: i64, past: i64) -> Result<Vec<FallenBehind>, StoreError> {
    transaction.batch_execute("set local lock_timeout = '1s'").await?;
    let rows = transaction.query(&format!("{LANES} for update"), &[&low, &past]).await?;
    rows.iter().map(|row| FallenBehind::of(row, low, past)).collect()
}

/// Makes a lane skip the ids from `low` up to `past`, which is not among them; `lost` of the events that it had not read were for it. The
/// new epoch makes the daemon that serves it take it up again from there.
pub async fn skip(
    transaction: &Transaction<'_>,
    lane: &LaneName,
    (low, past): (i64, i64),
    lost: i64,
) -> Result<(), StoreError> {
    transaction
        .execute(
            "update andon.lanes set epoch = epoch + 1, position = greatest(position, $3::int8 - 1),
                pending = andon.pending_ids(lanes) + case when replay is null then int8multirange(int8range(least(position + 1, $2), $2)) else '{}' end
                    - int8multirange(int8range($2, $3)),
                shared_holes = null, filled = '{}', lost = lost + $4, lost_at = case when $4 > 0 then now() else lost_at end
            where lane = $1",
            &[&lane.0, &low, &past, &lost],
        )
        .await?;
    Ok(())
}
