//! The ledger: what did not go straight through, and what is wanted again. In: deliveries that a lane parks or settles, and attempts. Out: what is due, what is
//! held back, and a record of what was tried. It writes in the transaction that moves the lane's cursor, so that a delivery is always
//! in exactly one of the two places.

pub mod attempts;
pub mod deliveries;
pub mod overview;
pub mod replays;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::destination::LaneName;
use crate::event::Entity;
use crate::event::Event;

/// An event that its lane passes without having delivered it.
#[derive(Debug, Clone)]
pub struct Parking {
    /// Copied into the ledger, so that it outlives the log.
    pub event: Arc<Event>,
    /// What is to become of it.
    pub fate: Fate,
    /// How often it was tried.
    pub attempts: i32,
    /// Why it is here.
    pub reason: String,
}

/// What is to become of a parked delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Try again after this time.
    Retry(Duration),
    /// An earlier event of the same entity is parked.
    Waiting,
    /// Parked until someone replays it.
    Dead,
}

/// A parked delivery that is due.
#[derive(Debug, Clone)]
pub struct Parked {
    /// Its row.
    pub id: i64,
    /// Its event.
    pub event: Arc<Event>,
    /// How often it was tried before.
    pub attempts: i32,
    /// How long it has been parked, by the database's clock.
    pub age: Duration,
    /// Whether somebody asked for it again.
    pub replayed: bool,
}

/// How an attempt at a parked delivery ended.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The delivery's row.
    pub id: i64,
    /// Its entity: the next event of it may be due now.
    pub entity: Entity,
    /// None for delivered.
    pub fate: Option<Fate>,
    /// How often it was tried, this attempt included.
    pub attempts: i32,
    /// Why it was not delivered.
    pub reason: String,
}

/// One attempt, for the record.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The event's id in the log, and its identity.
    pub event: Arc<Event>,
    /// Which try it was, from 1.
    pub number: i32,
    /// `delivered`, `retry` or `dead`.
    pub outcome: &'static str,
    /// HTTP status or MQTT reason code, where there was an answer.
    pub code: Option<i32>,
    /// From the start of the attempt to its end.
    pub latency: Duration,
    /// The beginning of the answer, or what went wrong.
    pub excerpt: String,
}

/// The parked deliveries that somebody means.
#[derive(Debug, Clone)]
pub enum Choice {
    /// These rows.
    Rows(Vec<i64>),
    /// All of a lane that are in this state.
    All(LaneName, &'static str),
}

/// What became of deliveries that somebody retried or discarded: those of one lane, one type of event and one state before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled {
    /// Whose they are.
    pub lane: LaneName,
    /// The type of their events.
    pub kind: String,
    /// Their state before.
    pub was: String,
    /// Their state now; none for those that are gone.
    pub now: Option<String>,
    /// How many.
    pub count: i64,
    /// When the first of their events happened.
    pub oldest: Timestamp,
    /// When the last of their events happened.
    pub newest: Timestamp,
}

/// What a lane has to write at its next checkpoint, beside the cursor.
#[derive(Debug, Default)]
pub struct Entries {
    /// Events that it passes undelivered.
    pub parked: Vec<Parking>,
    /// Parked deliveries that were tried.
    pub settled: Vec<Settlement>,
    /// What was tried.
    pub attempts: Vec<Attempt>,
}

impl Entries {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.parked.is_empty() && self.settled.is_empty() && self.attempts.is_empty()
    }
}
