//! One event on its way to one destination, either straight out of the log or out of the ledger, where it was parked.

use std::sync::Arc;

use crate::event::Event;
use crate::ledger::Fate;
use crate::ledger::Parked;
use crate::ledger::Settlement;

/// A delivery that a lane tries to make.
#[derive(Debug)]
pub(super) enum Delivery {
    /// The lane took the event from the log and has not tried it yet.
    FromLog(Arc<Event>),
    /// The delivery was parked, and its next attempt is due.
    Parked(Parked),
}

impl Delivery {
    pub(super) fn event(&self) -> &Arc<Event> {
        match self {
            Delivery::FromLog(event) => event,
            Delivery::Parked(parked) => &parked.event,
        }
    }

    /// Returns whether an operator asked for this delivery to be made again.
    pub(super) fn is_replayed(&self) -> bool {
        matches!(self, Delivery::Parked(parked) if parked.replayed)
    }

    /// Returns the number of the next attempt, from 1.
    pub(super) fn attempt_number(&self) -> i32 {
        match self {
            Delivery::FromLog(_) => 1,
            Delivery::Parked(parked) => parked.attempts.saturating_add(1),
        }
    }
}

/// Returns what the ledger is to write down after an attempt at a parked delivery. A delivery without a fate was made.
pub(super) fn settlement(parked: &Parked, fate: Option<Fate>, attempts: i32, reason: String) -> Settlement {
    Settlement { id: parked.id, entity: parked.event.entity.clone(), fate, attempts, reason }
}
