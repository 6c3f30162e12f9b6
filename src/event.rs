//! An event: one thing that happened, as it stands in the log. From the tail to the destinations, all share this one value. It never does
//! I/O, and its JSON stays the bytes that PostgreSQL sent.

pub mod json;

use jiff::Timestamp;
use uuid::Uuid;

pub use json::Field;
pub use json::Json;

/// The type of the event that Andon itself emits when it disables a destination. Its entity is a [`DESTINATION`], with the lane's name as
/// id.
pub const DISABLED: &str = "andon.destination.disabled";
/// The type of the entity of a [`DISABLED`] event.
pub const DESTINATION: &str = "destination";

/// The tenant that an event belongs to. An event reaches only destinations of its own tenant. In systems without tenants this is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(pub String);

impl TenantId {
    /// Returns whether a destination of this tenant wants the events of all tenants.
    pub fn is_all(&self) -> bool {
        self.0 == ALL_TENANTS
    }

    /// Returns whether a destination of this tenant may get the events of another.
    pub fn includes(&self, other: &TenantId) -> bool {
        self == other || self.is_all()
    }
}

/// The `tenant_id` of a destination for the whole plant.
pub const ALL_TENANTS: &str = "*";

/// A thing with a history of its own, such as one job or one machine. Events of one entity are delivered in the order in which they
/// happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entity {
    /// Its type, for example `job`.
    pub entity_type: String,
    /// The key of the source's row, as text.
    pub id: String,
}

/// One event of the log.
#[derive(Debug)]
pub struct Event {
    /// Its place in the log (`andon.events.id`). Larger is later for the events of one entity; a smaller id of another transaction may
    /// become visible after it.
    pub id: i64,
    /// Its identity for receivers. It is the same in every delivery of the event.
    pub event_id: Uuid,
    /// The tenant that it belongs to.
    pub tenant: TenantId,
    /// Its type: a dotted name, such as `operation.completed`.
    pub event_type: String,
    /// The entity that it happened to.
    pub entity: Entity,
    /// When it happened: as the source mapping says, otherwise when the trigger ran, which is before the commit, within the transaction.
    pub occurred_at: Timestamp,
    /// The levels that topics need (site, area, cell, …).
    pub context: Json,
    /// The payload.
    pub data: Json,
}

impl Event {
    /// Makes an event; `context` and `data` are the JSON texts of the log.
    #[expect(clippy::too_many_arguments, reason = "it mirrors the columns of the log, and has two callers")]
    pub fn new(
        id: i64,
        event_id: Uuid,
        tenant: TenantId,
        event_type: String,
        entity: Entity,
        occurred_at: Timestamp,
        context: impl Into<Json>,
        data: impl Into<Json>,
    ) -> Event {
        Event { id, event_id, tenant, event_type, entity, occurred_at, context: context.into(), data: data.into() }
    }

    /// Returns roughly what the event costs while a lane has it: the event itself, and the payload that is made of it.
    pub fn weight(&self) -> usize {
        2 * self.size()
    }

    /// Returns roughly how many bytes of memory the event takes, for buffers that are bounded in bytes.
    pub fn size(&self) -> usize {
        // The event itself and each of its texts are allocations of their own, and the allocator adds something to each.
        const ALLOCATIONS: usize = 7;
        const OVERHEAD: usize = 16;
        size_of::<Event>()
            + ALLOCATIONS * OVERHEAD
            + self.tenant.0.len()
            + self.event_type.len()
            + self.entity.entity_type.len()
            + self.entity.id.len()
            + self.context.get().len()
            + self.data.get().len()
    }
}
