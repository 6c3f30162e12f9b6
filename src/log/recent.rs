//! The recent events, in the order in which the tail read them. In: the tail's batches. Out: events by their sequence number in that order.
//! It never holds more than its bound in bytes, and drops the oldest first; what it has dropped is still in the log.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use crate::event::Event;

/// One event that the tail has read.
#[derive(Debug, Clone)]
pub struct RecentEvent {
    /// The event.
    pub event: Arc<Event>,
    /// Every id above this one, up to the event's, is decided. It is the tail's position before the batch, or the last hole below the event
    /// where that is higher; a late arrival has an id at or below it.
    pub floor: i64,
    /// When the tail handed it on.
    pub read_at: Instant,
}

/// The newest part of the log, in memory.
#[derive(Debug)]
pub struct RecentEvents {
    events: VecDeque<RecentEvent>,
    /// The sequence number of the oldest event, counted from the start of the process.
    oldest: u64,
    bytes: usize,
    bound: usize,
}

impl RecentEvents {
    /// Holds `bound` bytes at most, except that the newest event is always kept.
    pub fn new(bound: usize) -> RecentEvents {
        RecentEvents { events: VecDeque::new(), oldest: 0, bytes: 0, bound }
    }

    /// Adds an event.
    pub fn push(&mut self, recent: RecentEvent) {
        self.bytes += size(&recent.event);
        self.events.push_back(recent);
        while self.bytes > self.bound
            && self.events.len() > 1
            && let Some(oldest) = self.events.pop_front()
        {
            self.bytes -= size(&oldest.event);
            self.oldest += 1;
        }
    }

    /// Returns the event with this sequence number, unless it was dropped.
    pub fn get(&self, sequence: u64) -> Option<&RecentEvent> {
        self.events.get(usize::try_from(sequence.checked_sub(self.oldest)?).ok()?)
    }

    /// Returns the sequence number of the oldest event that is kept.
    pub fn oldest(&self) -> u64 {
        self.oldest
    }

    /// Returns the sequence number that the next event will get.
    pub fn next(&self) -> u64 {
        self.oldest + self.events.len() as u64
    }
}

/// Includes the slot in the deque, which may have twice the capacity in use.
fn size(event: &Event) -> usize {
    event.size() + 2 * size_of::<RecentEvent>()
}
