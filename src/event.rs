//! An event: one thing that happened, as it stands in the log. In: a row of `andon.events`. Out: the value that every later stage
//! shares. It never does I/O, and its JSON stays the bytes that PostgreSQL sent.

pub mod json;

use jiff::Timestamp;
use uuid::Uuid;

pub use json::Field;
pub use json::Json;

/// What Andon itself says when it disables a destination. Its entity is a [`DESTINATION`], with the lane's name as its id.
pub const DISABLED: &str = "andon.destination.disabled";
/// See [`DISABLED`].
pub const DESTINATION: &str = "destination";

/// Whose event it is. An event reaches only destinations of its own tenant. Empty in systems without tenants.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(pub String);

/// A thing with a history of its own: one job, one machine. Events of one entity are delivered in the order they happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entity {
    /// For example `job`.
    pub kind: String,
    /// The key of the source's row, as text.
    pub id: String,
}

/// One event of the log.
#[derive(Debug)]
pub struct Event {
    /// Its place in the log (`andon.events.id`). Larger is later for the events of one entity; a smaller id of another transaction may
    /// become visible after it.
    pub id: i64,
    /// Its identity for the world outside; the same for every delivery of it.
    pub event_id: Uuid,
    /// Whose it is.
    pub tenant: TenantId,
    /// A dotted name, such as `operation.completed`.
    pub kind: String,
    /// What it happened to.
    pub entity: Entity,
    /// When the trigger ran: before the commit, within the transaction.
    pub occurred_at: Timestamp,
    /// What topics need (site, area, cell, …).
    pub context: Json,
    /// The payload.
    pub data: Json,
}

impl Event {
    /// Puts an event together; `context` and `data` are the JSON texts of the log.
    #[expect(clippy::too_many_arguments, reason = "it mirrors the columns of the log, and has two callers")]
    pub fn new(
        id: i64,
        event_id: Uuid,
        tenant: TenantId,
        kind: String,
        entity: Entity,
        occurred_at: Timestamp,
        context: impl Into<Json>,
        data: impl Into<Json>,
    ) -> Event {
        Event { id, event_id, tenant, kind, entity, occurred_at, context: context.into(), data: data.into() }
    }

    /// About how many bytes it takes of the process's memory, for what is bounded in bytes.
    pub fn size(&self) -> usize {
        // Its own piece of memory and one for each text, and what the allocator adds to a piece.
        const PIECES: usize = 7;
        const ROUNDING: usize = 16;
        size_of::<Event>()
            + PIECES * ROUNDING
            + self.tenant.0.len()
            + self.kind.len()
            + self.entity.kind.len()
            + self.entity.id.len()
            + self.context.get().len()
            + self.data.get().len()
    }
}
