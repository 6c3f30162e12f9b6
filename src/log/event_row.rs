//! Reads a row of `andon.events` as an event. It never parses the payload.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_postgres::Row;

use crate::event::Entity;
use crate::event::Event;
use crate::event::Json;
use crate::event::TenantId;

/// The columns that [`event`] reads, in its order.
pub(crate) const COLUMNS: &str = "id, event_id, tenant, type, entity_type, entity_id, occurred_at, context, data";

/// Reads a row selected by [`COLUMNS`].
pub(crate) fn event(row: &Row) -> Result<Arc<Event>, tokio_postgres::Error> {
    Ok(Arc::new(Event::new(
        row.try_get(0)?,
        row.try_get(1)?,
        TenantId(row.try_get(2)?),
        row.try_get(3)?,
        Entity { entity_type: row.try_get(4)?, id: row.try_get(5)? },
        row.try_get::<_, Timestamp>(6)?,
        row.try_get::<_, Json>(7)?,
        row.try_get::<_, Json>(8)?,
    )))
}
