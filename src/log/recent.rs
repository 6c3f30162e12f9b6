//! The ring: the recent events, in the order in which the tail read them. In: the tail's batches. Out: events by their place in that
//! order. It never holds more than its bound in bytes, and forgets the oldest first; what it forgot is in the log.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use crate::event::Event;

/// One event, and the id down to which everything above it is decided: a late arrival has an id at or below it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The event.
    pub event: Arc<Event>,
    /// The tail's position before the batch, or the last hole below the event where that is higher.
    pub floor: i64,
    /// When the tail handed it on.
    pub at: Instant,
}

/// The recent events.
#[derive(Debug)]
pub struct Ring {
    entries: VecDeque<Entry>,
    /// The place of the oldest entry, counted from the start of the process.
    base: u64,
    bytes: usize,
    bound: usize,
}

impl Ring {
    /// A ring that holds `bound` bytes at most, and always the newest event.
    pub fn new(bound: usize) -> Ring {
        Ring { entries: VecDeque::new(), base: 0, bytes: 0, bound }
    }

    /// Adds an event and returns its place.
    pub fn push(&mut self, entry: Entry) -> u64 {
        self.bytes += size(&entry.event);
        self.entries.push_back(entry);
        while self.bytes > self.bound
            && self.entries.len() > 1
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= size(&oldest.event);
            self.base += 1;
        }
        self.end() - 1
    }

    /// The entry at a place, unless it was forgotten.
    pub fn get(&self, place: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(place.checked_sub(self.base)?).ok()?)
    }

    /// The place of the oldest entry kept.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The place that the next event will get.
    pub fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }
}

/// With its place in the ring, of which there may be twice as many as are used.
fn size(event: &Event) -> usize {
    event.size() + 2 * size_of::<Entry>()
}
