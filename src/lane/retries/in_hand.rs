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

    /// Returns whether deliveries of an entity are tried one after the other.
    pub(super) fn keeps_order(&self) -> bool {
        self.order != Order::None
    }

    /// Adds a delivery. Returns whether it may be tried now: it was not in hand, and no other one of its entity is.
    pub(super) fn insert(&mut self, parked: &Parked) -> bool {
        let entity = &parked.event.entity;
        if self.events.contains_key(&parked.id) || self.keeps_order() && !self.entities.insert(entity.clone()) {
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
        if self.keeps_order() {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::value::RawValue;
    use uuid::Uuid;

    use super::*;
    use crate::event::TenantId;
    use crate::feed::memory::OWN;

    const MEMORY: usize = 64 << 20;

    fn parked(id: i64, entity: u8, bytes: usize) -> Parked {
        let json = |text: String| RawValue::from_string(text).unwrap();
        let entity = Entity { entity_type: "job".to_owned(), id: entity.to_string() };
        let (tenant, event_type) = (TenantId("acme".to_owned()), "job.created".to_owned());
        let data = json(format!("\"{}\"", "x".repeat(bytes)));
        let event =
            Event::new(id, Uuid::nil(), tenant, event_type, entity, Timestamp::UNIX_EPOCH, json("{}".into()), data);
        let (age, due_in) = (Duration::ZERO, Duration::ZERO);
        Parked { id, event: Arc::new(event), attempts: 1, age, replayed: false, due_in }
    }

    #[test]
    fn a_lane_waits_with_what_it_has_where_there_is_no_room_for_more() {
        let memory = Arc::new(LaneMemory::new(MEMORY));
        let mut in_hand = InHand::new(Order::Entity, Arc::clone(&memory));
        assert_eq!(in_hand.reserve(1024), Some((1024, WEIGHT)));

        // However large it is, a single one is taken.
        assert!(in_hand.insert(&parked(1, 1, WEIGHT)));
        assert!(in_hand.wants(0, 1024) && in_hand.reserve(1024).is_none());
        assert!(!in_hand.wants(0, 1024), "nothing is read in vain until something is settled");
        assert!(memory.granted() >= WEIGHT - OWN);

        in_hand.remove(1);
        assert!(in_hand.wants(0, 1024) && in_hand.reserve(1024).is_some());
        in_hand.has_read();
        assert_eq!(memory.granted(), 0);
    }

    #[test]
    fn the_next_page_is_read_when_half_of_the_last_one_is_settled_or_all_of_it_is_tried() {
        let mut in_hand = InHand::new(Order::None, Arc::new(LaneMemory::new(MEMORY)));
        for id in 1..=8 {
            in_hand.insert(&parked(id, 1, 10));
        }

        assert!(!in_hand.wants(0, 8), "it has as many as it may have");
        in_hand.remove(1);
        assert!(in_hand.wants(0, 8) && !in_hand.wants(5, 8));
        (2..=4).for_each(|id| in_hand.remove(id));
        assert!(in_hand.wants(4, 8));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Read(Vec<(i64, u8, usize)>),
        Settle(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let read = prop::collection::vec((0..60_i64, 0..12_u8, 0..2_000_usize), 0..20);
        prop_oneof![read.prop_map(Step::Read), (0..100_usize).prop_map(Step::Settle)]
    }

    proptest! {
        /// The model is a list of what is in hand.
        #[test]
        fn of_each_entity_one_is_in_hand_and_memory_is_given_back(steps in prop::collection::vec(step(), 1..40)) {
            for order in [Order::Entity, Order::Strict, Order::None] {
                let memory = Arc::new(LaneMemory::new(MEMORY));
                let mut in_hand = InHand::new(order, Arc::clone(&memory));
                let mut model: Vec<(i64, u8)> = Vec::new();
                for step in steps.clone() {
                    match step {
                        Step::Read(page) => {
                            prop_assert!(in_hand.is_full || in_hand.reserve(1024).is_some());
                            for (id, entity, bytes) in page {
                                let is_new = model.iter().all(|(known, of)| *known != id && (order == Order::None || *of != entity));
                                prop_assert_eq!(in_hand.insert(&parked(id, entity, bytes)), is_new);
                                if is_new {
                                    model.push((id, entity));
                                }
                            }
                            in_hand.has_read();
                        }
                        Step::Settle(place) if !model.is_empty() => in_hand.remove(model.swap_remove(place % model.len()).0),
                        Step::Settle(_) => in_hand.remove(1_000),
                    }
                    let mut ids = in_hand.ids();
                    ids.sort_unstable();
                    let mut expected: Vec<i64> = model.iter().map(|(id, _)| *id).collect();
                    expected.sort_unstable();
                    prop_assert_eq!(ids, expected);
                    prop_assert_eq!(in_hand.is_empty(), model.is_empty());
                }
                for (id, _) in model {
                    in_hand.remove(id);
                }
                prop_assert_eq!((memory.granted(), in_hand.weight), (0, 0));
            }
        }
    }
}
