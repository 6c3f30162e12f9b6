//! A lane's cursor in memory. In: the events that the lane took, and those that it is done with. Out: the ids that are taken and not done,
//! for the checkpoint.

use std::collections::BTreeMap;

use crate::feed::Taken;
use crate::ranges::Ranges;

/// The events that a lane has taken and is not done with.
#[derive(Debug, Default)]
pub struct Cursor {
    /// The id of each event, with the lowest id that stays pending as long as the event does.
    outstanding: BTreeMap<i64, i64>,
}

impl Cursor {
    /// Records that the lane takes an event.
    pub fn take(&mut self, taken: &Taken) {
        self.outstanding.insert(taken.event.id, taken.from);
    }

    /// Records that the lane is done with an event, because it is acknowledged or the next checkpoint parks it.
    pub fn done(&mut self, id: i64) {
        self.outstanding.remove(&id);
    }

    /// Returns how many events are taken and not done.
    pub fn len(&self) -> usize {
        self.outstanding.len()
    }

    /// Returns whether the lane is done with all that it took.
    pub fn is_empty(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// Returns what would have to be delivered after a crash: the ids that the lane has not taken yet, which are given, and those that it
    /// is not done with.
    pub fn pending(&self, untaken: Ranges) -> Ranges {
        let mut pending = untaken;
        for (&id, &from) in &self.outstanding {
            pending.insert(from, id);
        }
        pending
    }
}
