//! The memory of one lane. In: what the lane takes and what it is done with. Out: how much more it may take. It is the lane's side of the
//! memory that all lanes share.

use std::sync::Arc;

use crate::feed::memory::Grant;
use crate::feed::memory::LaneMemory;
use crate::feed::memory::OWN;

/// What one lane holds.
#[derive(Debug)]
pub struct Account {
    grant: Grant,
    /// The weight of the events that the lane has.
    held: usize,
    /// The weight of the events that it is about to take.
    reserved: usize,
}

impl Account {
    /// Opens the account of a lane that holds nothing.
    pub fn new(memory: Arc<LaneMemory>) -> Account {
        Account { grant: Grant::none(memory), held: 0, reserved: 0 }
    }

    /// Returns the memory that all lanes share.
    pub fn memory(&self) -> &Arc<LaneMemory> {
        self.grant.memory()
    }

    /// Returns whether the lane holds nothing.
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Returns whether the lane holds more than it may without asking.
    pub fn is_large(&self) -> bool {
        self.held > OWN
    }

    /// Returns how much of what the lane may hold without asking is left.
    pub fn left_of_own(&self) -> usize {
        OWN.saturating_sub(self.held)
    }

    /// Reserves up to `most` bytes in place of what was reserved before, and returns how much it is.
    pub fn reserve(&mut self, most: usize) -> usize {
        self.grant.grow(self.held.saturating_add(most).saturating_sub(OWN));
        self.reserved = (OWN + self.grant.bytes()).saturating_sub(self.held).min(most);
        self.reserved
    }

    /// Reserves this grant.
    pub fn reserve_grant(&mut self, grant: Grant) {
        self.reserved += grant.bytes();
        self.grant.absorb(grant);
    }

    /// Returns how much is reserved.
    pub fn reserved(&self) -> usize {
        self.reserved
    }

    /// Records that the lane holds this much more, and reserves nothing any more.
    pub fn take(&mut self, bytes: usize) {
        (self.held, self.reserved) = (self.held + bytes, 0);
        self.settle();
    }

    /// Records that the lane no longer holds this much, and gives it back.
    pub fn give_back(&mut self, bytes: usize) {
        self.held -= bytes;
        self.settle();
    }

    fn settle(&mut self) {
        self.grant.resize((self.held + self.reserved).saturating_sub(OWN));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_holds_a_little_without_asking_and_gives_back_what_it_did_not_take() {
        let memory = Arc::new(LaneMemory::new(64 * OWN));
        let granted = || memory.granted();
        let mut account = Account::new(Arc::clone(&memory));

        account.take(OWN);
        assert_eq!((granted(), account.is_large()), (0, false));
        assert_eq!(account.reserve(usize::MAX), 12 * OWN);
        assert!(granted() > 0);
        account.take(OWN);
        assert_eq!((granted(), account.is_large()), (OWN, true));
        assert_eq!(account.reserve(3 * OWN), 3 * OWN);
        account.take(0);
        assert_eq!(granted(), OWN);
        account.give_back(2 * OWN);
        assert!(account.is_empty() && granted() == 0);
    }
}
