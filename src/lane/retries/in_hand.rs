//! The parked deliveries that a lane has loaded and not settled. In: deliveries that are loaded, and the ids of those that are settled. Out: what
//! is not to be loaded again, and how much more may be. It is a value: it never does I/O.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use crate::event::Entity;
use crate::event::Event;
use crate::feed::account::Account;
use crate::feed::memory::LaneMemory;
use crate::ledger::Parked;
use crate::settings::Order;

/// The deliveries in hand.
#[derive(Debug)]
pub(super) struct InHand {
    events: HashMap<i64, Arc<Event>>,
    /// Unless the order is `none`: of each of these entities there is one in hand.
    entities: HashSet<Entity>,
    order: Order,
    account: Account,
    /// The weight of all of them.
    weight: usize,
    /// There was no room for more. This is so until one of them is settled.
    is_full: bool,
}

/// The weight of the deliveries in hand, at most, unless a single one is heavier.
const WEIGHT: usize = 1 << 20;
/// Where there is less room than this, the lane first tries what it has.
const LEAST: usize = 8 << 10;

impl InHand {
    pub(super) fn new(order: Order, memory: Arc<LaneMemory>) -> InHand {
        let account = Account::new(memory);
        InHand { events: HashMap::new(), entities: HashSet::new(), order, account, weight: 0, is_full: false }
    }

    /// Returns whether more are to be loaded, now that `queued` of them wait to be tried, and the lane may have `most`.
    pub(super) fn wants(&self, queued: usize, most: usize) -> bool {
        let room = most.saturating_sub(self.events.len());
        room > 0 && (queued == 0 || room * 2 >= most) && !self.is_full
    }

    /// Reserves room for a page of a lane that may have `most`. Returns how many deliveries and how much weight there is room for, if it is worth
    /// while.
    pub(super) fn reserve(&mut self, most: usize) -> Option<(usize, usize)> {
        let room = self.account.reserve(WEIGHT.saturating_sub(self.weight));
        self.is_full = room < LEAST && !self.events.is_empty();
        if self.is_full {
            self.has_read();
            return None;
        }
        Some((most.saturating_sub(self.events.len()), room))
    }

    /// Gives back what was reserved and is not needed.
    pub(super) fn has_read(&mut self) {
        self.account.take(0);
    }

    /// Adds a delivery. Returns whether it may be tried now: it was not in hand, and no other one of its entity is.
    pub(super) fn insert(&mut self, parked: &Parked) -> bool {
        let entity = &parked.event.entity;
        if self.events.contains_key(&parked.id) || self.order != Order::None && !self.entities.insert(entity.clone()) {
            return false;
        }
        let weight = parked.event.weight();
        self.weight += weight;
        self.account.take(weight);
        self.events.insert(parked.id, Arc::clone(&parked.event));
        true
    }

    /// Takes a delivery out.
    pub(super) fn remove(&mut self, id: i64) {
        let Some(event) = self.events.remove(&id) else { return };
        if self.order != Order::None {
            self.entities.remove(&event.entity);
        }
        let weight = event.weight();
        self.weight -= weight;
        self.account.give_back(weight);
        self.is_full = false;
    }

    pub(super) fn ids(&self) -> Vec<i64> {
        self.events.keys().copied().collect()
    }

    pub(super) fn entities(&self) -> HashSet<Entity> {
        self.events.values().map(|event| event.entity.clone()).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}
