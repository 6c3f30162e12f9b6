//! The memory that all lanes of a daemon share for the events they hold. In: what each lane holds, and what it would like to hold. Out: how
//! much it may take. It never waits for anybody but in [`LaneMemory::turn`], and there the first to come is the first to be served.
//!
//! Each lane may hold [`OWN`] bytes without asking, so that lanes with small events never wait for each other. What a lane holds beyond
//! that comes out of the shared bound, and is at most a part of what is free: one lane may hold much, and many lanes hold little each. A
//! part is only for single events that are too large otherwise, so that lanes which are stuck with what they hold do not hold up the others.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use tokio::sync::Mutex;
use tokio::sync::Notify;

/// What a lane may hold without asking.
pub const OWN: usize = 16 << 10;
/// One in this many parts of the bound is kept for those who wait for their turn. Of what else is free, a lane may take as much as one in
/// this many parts.
const PARTS: usize = 4;

/// The bound that the lanes of a daemon share.
#[derive(Debug)]
pub struct LaneMemory {
    bound: usize,
    granted: AtomicUsize,
    waiting: AtomicUsize,
    /// Whoever has this lock is the next to be served. It is a fair one.
    turn: Mutex<()>,
    freed: Notify,
}

/// A part of the shared memory, until it is dropped.
#[derive(Debug)]
pub struct Grant {
    memory: Arc<LaneMemory>,
    bytes: usize,
}

/// Counts a lane that waits, for as long as it does.
struct Waiting<'a>(&'a LaneMemory);

impl LaneMemory {
    /// Creates a memory of `bound` bytes, of which nothing is taken.
    pub fn new(bound: usize) -> LaneMemory {
        LaneMemory {
            bound,
            granted: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            turn: Mutex::new(()),
            freed: Notify::new(),
        }
    }

    /// Waits for `bytes` bytes. A part that is larger than what a lane may hold is granted when that much is free, because what it is for
    /// cannot be made smaller.
    pub async fn turn(self: Arc<LaneMemory>, bytes: usize) -> Grant {
        let waiting = Waiting::new(&self);
        let turn = self.turn.lock().await;
        let enough = bytes.min(self.bound / PARTS);
        loop {
            let take = |granted: usize| (granted + enough <= self.bound).then_some(granted + bytes);
            if self.granted.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok() {
                break;
            }
            self.freed.notified().await;
        }
        drop(turn);
        drop(waiting);
        Grant { memory: self, bytes }
    }

    /// Returns whether a lane waits for its turn. Then nobody else gets more.
    pub fn is_scarce(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// Returns how much of it is taken.
    pub fn granted(&self) -> usize {
        self.granted.load(Ordering::Relaxed)
    }

    /// Takes up to `most` bytes for a lane that has `has` bytes already, and returns how much that is.
    fn take(&self, most: usize, has: usize) -> usize {
        if most == 0 || self.is_scarce() {
            return 0;
        }
        let part = |granted: usize| {
            ((self.bound - self.bound / PARTS).saturating_sub(granted) / PARTS).saturating_sub(has).min(most)
        };
        let take = |granted: usize| Some(granted + part(granted));
        let before = self.granted.fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
        part(before.unwrap_or_else(|same| same))
    }

    fn give_back(&self, bytes: usize) {
        self.granted.fetch_sub(bytes, Ordering::AcqRel);
        if self.is_scarce() {
            self.freed.notify_one();
        }
    }
}

impl<'a> Waiting<'a> {
    fn new(memory: &'a LaneMemory) -> Waiting<'a> {
        memory.waiting.fetch_add(1, Ordering::AcqRel);
        Waiting(memory)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Grant {
    /// Takes nothing yet.
    pub fn none(memory: Arc<LaneMemory>) -> Grant {
        Grant { memory, bytes: 0 }
    }

    /// Returns the memory that it belongs to.
    pub fn memory(&self) -> &Arc<LaneMemory> {
        &self.memory
    }

    /// Returns its size.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Grows to `bytes`, or as far as it may.
    pub fn grow(&mut self, bytes: usize) {
        self.bytes += self.memory.take(bytes.saturating_sub(self.bytes), self.bytes);
    }

    /// Sets its size. It may grow beyond the bound, for what is there already.
    pub fn resize(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.memory.granted.fetch_add(bytes - self.bytes, Ordering::AcqRel);
        } else if bytes < self.bytes {
            self.memory.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
    }

    /// Becomes one with another grant of the same memory.
    pub fn absorb(&mut self, mut other: Grant) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::Context;
    use std::task::Poll;
    use std::task::Waker;

    use super::*;

    const BOUND: usize = 1 << 20;

    #[test]
    fn lanes_that_are_stuck_with_what_they_hold_leave_something_to_the_others() {
        let memory = Arc::new(LaneMemory::new(BOUND));
        let mut stuck: Vec<Grant> = (0..100).map(|_| Grant::none(Arc::clone(&memory))).collect();

        stuck[0].grow(usize::MAX);
        let alone = stuck[0].bytes();
        assert!(alone >= BOUND / 8, "a lane alone may hold much, and not {alone}");
        for _ in 0..10 {
            stuck.iter_mut().for_each(|grant| grant.grow(usize::MAX));
        }

        let mut context = Context::from_waker(Waker::noop());
        let turn = pin!(Arc::clone(&memory).turn(BOUND / PARTS)).as_mut().poll(&mut context);
        assert!(turn.is_ready(), "{} bytes are taken", memory.granted());
        drop(turn);
        drop(stuck);
        assert_eq!(memory.granted(), 0);
    }

    #[test]
    fn those_who_wait_are_served_in_their_order_and_before_all_others() {
        let memory = Arc::new(LaneMemory::new(BOUND));
        let mut taken = Grant::none(Arc::clone(&memory));
        taken.resize(BOUND);
        let mut context = Context::from_waker(Waker::noop());
        let mut first = pin!(Arc::clone(&memory).turn(2 * BOUND));
        let mut second = pin!(Arc::clone(&memory).turn(1));
        assert!(first.as_mut().poll(&mut context).is_pending() && second.as_mut().poll(&mut context).is_pending());
        assert_eq!(memory.take(1, 0), 0);

        drop(taken);

        assert_eq!(memory.take(1, 0), 0, "others were first");
        assert!(second.as_mut().poll(&mut context).is_pending());
        let Poll::Ready(large) = first.as_mut().poll(&mut context) else { panic!("it is its turn") };
        assert_eq!(large.bytes(), 2 * BOUND, "a single event may be larger than all of it");
        assert!(second.as_mut().poll(&mut context).is_pending());
        drop(large);
        assert!(second.as_mut().poll(&mut context).is_ready());
        assert!(!memory.is_scarce());
        assert_eq!(memory.granted(), 0);
    }

    #[test]
    fn a_lane_that_gives_up_waiting_holds_nobody_up() {
        let memory = Arc::new(LaneMemory::new(BOUND));
        let mut taken = Grant::none(Arc::clone(&memory));
        taken.resize(BOUND);
        let mut context = Context::from_waker(Waker::noop());
        let mut given_up = Box::pin(Arc::clone(&memory).turn(1));
        let mut next = pin!(Arc::clone(&memory).turn(1));
        assert!(given_up.as_mut().poll(&mut context).is_pending() && next.as_mut().poll(&mut context).is_pending());

        drop(given_up);
        drop(taken);

        assert!(next.as_mut().poll(&mut context).is_ready());
    }
}
