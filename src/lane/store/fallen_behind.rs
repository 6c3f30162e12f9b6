//! A lane that has not passed a part of the log. In: its row. Out: what of that part it has not taken. It locks rows and changes none.

use tokio_postgres::Row;
use tokio_postgres::Transaction;

use crate::destination::LaneName;
use crate::event::TenantId;
use crate::ranges::Ranges;

/// See the module's description.
#[derive(Debug)]
pub struct FallenBehind {
    /// The lane.
    pub lane: LaneName,
    /// Whose events it takes.
    pub tenant: TenantId,
    /// What people call its destination.
    pub name: String,
    /// Whether it gets on.
    pub is_running: bool,
    /// What it has not taken, of that part.
    pub unread: Ranges,
}

impl FallenBehind {
    /// Reads a row of lane, tenant, name, whether it runs, position and pending, for the part from `low` to `past`, which is not in it.
    fn of(row: &Row, low: i64, past: i64) -> anyhow::Result<FallenBehind> {
        let mut unread = Ranges::parse(row.get(5))?;
        unread.insert(row.get::<_, i64>(4) + 1, past - 1);
        unread.remove(i64::MIN, low - 1);
        unread.remove(past, i64::MAX);
        let (lane, tenant) = (LaneName(row.get(0)), TenantId(row.get(1)));
        Ok(FallenBehind { lane, tenant, name: row.get(2), is_running: row.get(3), unread })
    }
}

/// The lanes that have not passed these ids, `past` not included. They write nothing until the transaction ends.
pub async fn lanes(transaction: &Transaction<'_>, low: i64, past: i64) -> anyhow::Result<Vec<FallenBehind>> {
    let rows = transaction
        .query(
            "select lane, tenant, name, state = 'running', case when replay is null then position else $2::int8 - 1 end, pending::text
            from andon.lanes where (state <> 'removed' or replay is not null)
                and ((position < $2::int8 - 1 and replay is null) or pending && int8range($1, $2))
            order by lane for update",
            &[&low, &past],
        )
        .await?;
    rows.iter().map(|row| FallenBehind::of(row, low, past)).collect()
}
