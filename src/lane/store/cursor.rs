//! A lane's cursor in memory. In: the events that the lane took, and those that it is done with. Out: the ids that are taken and not done,
//! for the checkpoint.

use std::collections::BTreeMap;

use crate::feed::Taken;
use crate::ranges::Ranges;

/// The events that a lane has taken and is not done with.
#[derive(Debug, Default)]
pub struct Cursor {
    /// By the ids of the events.
    outstanding: BTreeMap<i64, Outstanding>,
    /// The weight of all of them.
    weight: usize,
}

#[derive(Debug)]
struct Outstanding {
    /// The lowest id that stays pending as long as the event does.
    from: i64,
    weight: usize,
}

impl Cursor {
    /// Records that the lane takes an event.
    pub fn take(&mut self, taken: &Taken) {
        let weight = taken.event.weight();
        self.weight += weight;
        self.outstanding.insert(taken.event.id, Outstanding { from: taken.from, weight });
    }

    /// Records that the lane is done with an event, because it is acknowledged or the next checkpoint parks it. Returns its weight.
    pub fn done(&mut self, id: i64) -> usize {
        self.give_back(id).map_or(0, |(_, weight)| weight)
    }

    /// Records that the lane takes an event another time. Returns the lowest id that was pending for it, and its weight.
    pub fn give_back(&mut self, id: i64) -> Option<(i64, usize)> {
        let Outstanding { from, weight } = self.outstanding.remove(&id)?;
        self.weight -= weight;
        Some((from, weight))
    }

    /// Returns the weight of the events that are taken and not done.
    pub fn weight(&self) -> usize {
        self.weight
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
        let mut taken = Ranges::default();
        for (&id, outstanding) in &self.outstanding {
            taken.insert(outstanding.from, id);
        }
        untaken.union(&taken)
    }
}
