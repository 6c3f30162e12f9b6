//! The ledger: deliveries that did not succeed at once, the attempts that were made, and the replays that somebody asked for. In: what a
//! lane parks, and how later attempts end. Out: what is due, which entities are held back, and a record of what was tried. A lane writes it
//! in the transaction that moves its cursor, so that a delivery is always in exactly one of the two places.

pub mod attempts;
pub mod culprits;
pub mod deliveries;
pub mod due;
pub mod overview;
mod parked_row;
pub mod replays;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::destination::LaneName;
use crate::event::Entity;
use crate::event::Event;

/// Returns SQL for a time of the ledger that can be shown and reckoned with. PostgreSQL also stores `infinity` and years that Andon's times
/// cannot hold, and somebody may have written one of those by hand.
fn within_reach(time: &str) -> String {
    format!("greatest(least({time}, timestamptz '9999-01-01'), timestamptz '0001-01-01')")
}

/// What a lane has to write at its next checkpoint, besides the cursor.
#[derive(Debug, Default)]
pub struct Entries {
    /// Events of the log that the lane passes undelivered.
    pub parked: Vec<Undelivered>,
    /// How attempts at parked deliveries ended.
    pub settled: Vec<Settlement>,
    /// The attempts that were made.
    pub attempts: Vec<Attempt>,
}

impl Entries {
    /// Returns whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.parked.is_empty() && self.settled.is_empty() && self.attempts.is_empty()
    }

    /// Puts earlier entries before these, because they could not be written.
    pub fn put_before(&mut self, earlier: Entries) {
        self.parked.splice(..0, earlier.parked);
        self.settled.splice(..0, earlier.settled);
        self.attempts.splice(..0, earlier.attempts);
    }
}

/// An event of the log that its lane passes without having delivered it. It becomes a parked delivery.
#[derive(Debug, Clone)]
pub struct Undelivered {
    /// The event. The ledger copies it, so that the delivery outlives the log.
    pub event: Arc<Event>,
    /// What is to become of the delivery.
    pub fate: Fate,
    /// How often it was tried.
    pub attempts: i32,
    /// Why it is parked.
    pub reason: String,
}

/// What is to become of a parked delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is tried again after this time.
    Retry(Duration),
    /// It waits, because an earlier event of the same entity is parked.
    Waiting,
    /// It stays parked until somebody retries it.
    Dead,
}

/// A parked delivery that is due.
#[derive(Debug, Clone)]
pub struct Parked {
    /// The delivery's row.
    pub id: i64,
    /// The event to deliver.
    pub event: Arc<Event>,
    /// How often it was tried before.
    pub attempts: i32,
    /// How long it has been parked, by the database's clock.
    pub age: Duration,
    /// Whether somebody asked for it again.
    pub replayed: bool,
    /// The time until it is due; only a probe is tried before.
    pub due_in: Duration,
}

/// How an attempt at a parked delivery ended.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The delivery's row.
    pub id: i64,
    /// The event's entity, whose next delivery may be due now.
    pub entity: Entity,
    /// The future of the delivery, unless it was delivered.
    pub fate: Option<Fate>,
    /// How often it was tried, this attempt included.
    pub attempts: i32,
    /// Why it was not delivered.
    pub reason: String,
}

/// One attempt, for the record.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The event that was tried.
    pub event: Arc<Event>,
    /// Which attempt it was, from 1.
    pub number: i32,
    /// `delivered`, `retry` or `dead`.
    pub outcome: &'static str,
    /// The HTTP status or MQTT reason code, if there was an answer.
    pub code: Option<i32>,
    /// From the start of the attempt to its end.
    pub latency: Duration,
    /// The beginning of the answer, or what went wrong.
    pub excerpt: String,
}

/// Parked deliveries that somebody wants to retry or to discard.
#[derive(Debug, Clone)]
pub enum Selection {
    /// The deliveries with these ids.
    Ids(Vec<i64>),
    /// All deliveries of a lane that are in one of these states.
    InStates(LaneName, Vec<&'static str>),
}

/// Deliveries that somebody retried or discarded, of one lane, one event type and one change of state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// The lane of the deliveries.
    pub lane: LaneName,
    /// The type of their events.
    pub event_type: String,
    /// The state before.
    pub from: String,
    /// The state now, unless they were discarded.
    pub to: Option<String>,
    /// How many deliveries these are.
    pub count: i64,
    /// When the first of their events happened.
    pub oldest: Timestamp,
    /// When the last of their events happened.
    pub newest: Timestamp,
}
