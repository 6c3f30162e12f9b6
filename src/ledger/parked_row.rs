//! Reads a row of `andon.deliveries` as a lane tries it. In: a row. Out: the parked delivery. Times that nothing can reckon with are brought
//! within reach, so that one row that somebody has written by hand does not keep a lane from the others.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Error;
use tokio_postgres::Row;

use crate::event::Entity;
use crate::event::Event;
use crate::event::Json;
use crate::event::TenantId;
use crate::ledger::Parked;
use crate::ledger::within_reach;

/// How many columns [`read`] reads. Others may follow.
pub(super) const COUNT: usize = 14;

/// Returns the columns that [`read`] reads.
pub(super) fn columns() -> String {
    format!(
        "id, attempts, event, event_id, tenant, type, entity_type, entity_id, {}, context, data, replayed,
        extract(epoch from now() - {})::float8,
        extract(epoch from greatest(now(), least(next_attempt_at, now() + interval '30 days')) - now())::float8",
        within_reach("occurred_at"),
        within_reach("parked_at")
    )
}

/// Reads a row of these columns.
pub(super) fn read(row: &Row) -> Result<Parked, Error> {
    let event = Event::new(
        row.try_get(2)?,
        row.try_get(3)?,
        TenantId(row.try_get(4)?),
        row.try_get(5)?,
        Entity { entity_type: row.try_get(6)?, id: row.try_get(7)? },
        row.try_get(8)?,
        row.try_get::<_, Json>(9)?,
        row.try_get::<_, Json>(10)?,
    );
    Ok(Parked {
        id: row.try_get(0)?,
        event: Arc::new(event),
        attempts: row.try_get(1)?,
        replayed: row.try_get(11)?,
        age: Duration::from_secs_f64(row.try_get::<_, f64>(12)?.max(0.0)),
        due_in: Duration::from_secs_f64(row.try_get::<_, f64>(13)?.max(0.0)),
    })
}
