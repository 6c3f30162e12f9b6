//! Order per entity. In: a lane's work as it comes. Out: what may be tried now, so that a later event of an entity waits behind an
//! earlier one. It never does I/O.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::hash::Hash;

/// Work of a lane, by entity.
#[derive(Debug)]
pub struct EntityOrder<E, T> {
    ready: VecDeque<(E, T)>,
    entities: HashMap<E, Entity<T>>,
    queued: usize,
}

#[derive(Debug)]
enum Entity<T> {
    /// One is ready or being tried; these wait behind it.
    Busy(VecDeque<T>),
    /// An earlier one is parked: what comes is to be parked behind it.
    Held,
}

impl<E, T> Default for EntityOrder<E, T> {
    fn default() -> EntityOrder<E, T> {
        EntityOrder { ready: VecDeque::new(), entities: HashMap::new(), queued: 0 }
    }
}

impl<E: Clone + Eq + Hash, T> EntityOrder<E, T> {
    /// Takes new work. Gives it back when its entity is held: the caller parks it behind the others.
    pub fn push(&mut self, entity: E, work: T) -> Option<T> {
        match self.entities.get_mut(&entity) {
            Some(Entity::Held) => return Some(work),
            Some(Entity::Busy(waiting)) => waiting.push_back(work),
            None => {
                self.entities.insert(entity.clone(), Entity::Busy(VecDeque::new()));
                self.ready.push_back((entity, work));
            }
        }
        self.queued += 1;
        None
    }

    /// What is to be tried next.
    pub fn pop(&mut self) -> Option<(E, T)> {
        let next = self.ready.pop_front()?;
        self.queued -= 1;
        Some(next)
    }

    /// Puts work that was not really tried back, behind that of other entities. Its own entity's later work still waits for it.
    pub fn put_back(&mut self, entity: E, work: T) {
        self.queued += 1;
        self.ready.push_back((entity, work));
    }

    /// The entity's work in hand is done: the next of it may be tried.
    pub fn done(&mut self, entity: &E) {
        let Some(Entity::Busy(waiting)) = self.entities.get_mut(entity) else { return };
        match waiting.pop_front() {
            Some(work) => self.ready.push_back((entity.clone(), work)),
            None => drop(self.entities.remove(entity)),
        }
    }

    /// The entity's work in hand gets parked. Returns what waited behind it, to be parked as well; all that comes is given back.
    pub fn hold(&mut self, entity: E) -> Vec<T> {
        match self.entities.insert(entity, Entity::Held) {
            Some(Entity::Busy(waiting)) => {
                self.queued -= waiting.len();
                waiting.into()
            }
            _ => Vec::new(),
        }
    }

    /// Nothing of the entity is parked any more.
    pub fn release(&mut self, entity: &E) {
        if matches!(self.entities.get(entity), Some(Entity::Held)) {
            self.entities.remove(entity);
        }
    }

    /// The entities of which something is parked.
    pub fn held(&self) -> impl Iterator<Item = &E> {
        self.entities.iter().filter(|(_, entity)| matches!(entity, Entity::Held)).map(|(name, _)| name)
    }

    /// How much work is ready or waits.
    pub fn queued(&self) -> usize {
        self.queued
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Work is (entity, counter). Each step either hands in the next of an entity, starts a try, or ends one: not at all, well or badly.
        #[test]
        fn no_event_of_an_entity_overtakes_an_earlier_one(steps in prop::collection::vec((0..5u8, 0..5u8), 0..300)) {
            let mut order = EntityOrder::default();
            let mut handed_in: BTreeMap<u8, u32> = BTreeMap::new();
            let mut trying: Vec<(u8, u32)> = Vec::new();
            let mut parked: BTreeMap<u8, VecDeque<u32>> = BTreeMap::new();
            let mut delivered: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
            for (what, entity) in steps {
                match what {
                    0 => {
                        let counter = handed_in.entry(entity).or_default();
                        *counter += 1;
                        if let Some(work) = order.push(entity, *counter) {
                            parked.get_mut(&entity).expect("only held entities are given back").push_back(work);
                        }
                    }
                    1 => if let Some((entity, work)) = order.pop() {
                        prop_assert!(trying.iter().all(|(other, _)| *other != entity), "two of one entity at a time");
                        trying.push((entity, work));
                    },
                    2 => if let Some((entity, work)) = trying.pop() {
                        order.put_back(entity, work);
                    },
                    3 => if let Some((entity, work)) = trying.pop() {
                        delivered.entry(entity).or_default().push(work);
                        order.done(&entity);
                    },
                    _ => if let Some((entity, work)) = trying.pop() {
                        let mut queue = VecDeque::from([work]);
                        queue.extend(order.hold(entity));
                        parked.insert(entity, queue);
                    } else if let Some((entity, queue)) = parked.pop_first() {
                        delivered.entry(entity).or_default().extend(queue);
                        order.release(&entity);
                    },
                }
                let waiting: usize = order.queued() + trying.len() + parked.values().map(VecDeque::len).sum::<usize>();
                let total: u32 = handed_in.values().sum();
                prop_assert_eq!(waiting + delivered.values().map(Vec::len).sum::<usize>(), total as usize);
            }
            for (entity, work) in delivered {
                prop_assert_eq!(&work, &(1..=work.len() as u32).collect::<Vec<_>>(), "entity {}", entity);
            }
        }
    }
}
