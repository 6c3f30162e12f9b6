//! A lane's cursor. In: what the lane took, and what it is done with. Out: the ids that are neither, for the checkpoint. It never
//! writes; `checkpoint` does.

use std::collections::BTreeMap;

use crate::feed::Taken;
use crate::ranges::Ranges;

/// What a lane has taken and is not done with.
#[derive(Debug, Default)]
pub struct Cursor {
    /// Id, and the lowest id that stays pending with it.
    outstanding: BTreeMap<i64, i64>,
}

impl Cursor {
    /// The lane has this event in hand.
    pub fn take(&mut self, taken: &Taken) {
        self.outstanding.insert(taken.event.id, taken.from);
    }

    /// The event is acknowledged, or parked in the checkpoint that is being made.
    pub fn done(&mut self, id: i64) {
        self.outstanding.remove(&id);
    }

    /// How many events the lane has in hand.
    pub fn len(&self) -> usize {
        self.outstanding.len()
    }

    /// Whether the lane has nothing in hand.
    pub fn is_empty(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// All that a crash now would have to deliver, given what the lane has not taken yet.
    pub fn pending(&self, untaken: Ranges) -> Ranges {
        let mut pending = untaken;
        for (&id, &from) in &self.outstanding {
            pending.insert(from, id);
        }
        pending
    }
}
