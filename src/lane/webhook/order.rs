//! Keeps the work of a lane in order. In: work as it comes from the log. Out: the work that may be tried now. In order `entity`, later
//! events of an entity wait until the earlier one is done; in `strict`, every event waits for the one before it; in `none`, nothing
//! waits. It never does I/O.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use crate::settings::Order;

/// The work of a lane, by the entity that it belongs to.
#[derive(Debug)]
pub struct LaneOrder<E, T> {
    order: Order,
    ready: VecDeque<(E, T)>,
    entities: HashMap<E, EntityWork<T>>,
    queued: usize,
    /// Some work is being tried. Only `strict` looks at this.
    is_busy: bool,
}

#[derive(Debug)]
enum EntityWork<T> {
    /// In `entity`, one piece of work is ready or being tried, and these wait until it is done.
    Busy(VecDeque<T>),
    /// An earlier piece of work is parked. In `entity`, what comes is to be parked as well; in `strict`, everything waits where it is.
    Held,
}

impl<E: Clone + Eq + Hash, T> LaneOrder<E, T> {
    /// Starts without any work.
    pub fn new(order: Order) -> LaneOrder<E, T> {
        LaneOrder { order, ready: VecDeque::new(), entities: HashMap::new(), queued: 0, is_busy: false }
    }

    /// Takes new work. If its entity is held, the work is returned, and the caller has to park it.
    pub fn push(&mut self, entity: E, work: T) -> Option<T> {
        if self.order != Order::Entity {
            self.ready.push_back((entity, work));
        } else {
            match self.entities.get_mut(&entity) {
                Some(EntityWork::Held) => return Some(work),
                Some(EntityWork::Busy(waiting)) => waiting.push_back(work),
                None => {
                    self.entities.insert(entity.clone(), EntityWork::Busy(VecDeque::new()));
                    self.ready.push_back((entity, work));
                }
            }
        }
        self.queued += 1;
        None
    }

    /// Returns the work that is to be tried next.
    pub fn pop(&mut self) -> Option<(E, T)> {
        if !self.is_ready() {
            return None;
        }
        let next = self.ready.pop_front()?;
        self.queued -= 1;
        self.is_busy = true;
        Some(next)
    }

    /// Returns whether there is work that may be tried now.
    pub fn is_ready(&self) -> bool {
        let may_go = self.order != Order::Strict || !self.is_busy && self.entities.is_empty();
        may_go && !self.ready.is_empty()
    }

    /// Takes back work whose attempt does not count. Unless the order is `strict`, other entities' work is tried first; the later work
    /// of its own entity still waits for it.
    pub fn put_back(&mut self, entity: E, work: T) {
        self.queued += 1;
        self.is_busy = false;
        match self.order {
            Order::Strict => self.ready.push_front((entity, work)),
            Order::Entity | Order::None => self.ready.push_back((entity, work)),
        }
    }

    /// Records that the entity's work that was tried is done, so that the next may be tried.
    pub fn done(&mut self, entity: &E) {
        self.is_busy = false;
        let Some(EntityWork::Busy(waiting)) = self.entities.get_mut(entity) else { return };
        match waiting.pop_front() {
            Some(work) => self.ready.push_back((entity.clone(), work)),
            None => drop(self.entities.remove(entity)),
        }
    }

    /// Records that the entity's work that was tried is going to be parked. Returns the work that waited for it, which has to be parked as well. In
    /// `entity`, all later work is returned by [`LaneOrder::push`] from now on.
    pub fn hold(&mut self, entity: E) -> Vec<T> {
        self.is_busy = false;
        match self.entities.insert(entity, EntityWork::Held) {
            Some(EntityWork::Busy(waiting)) => {
                self.queued -= waiting.len();
                waiting.into()
            }
            _ => Vec::new(),
        }
    }

    /// Records that nothing of the entity is parked any more.
    pub fn release(&mut self, entity: &E) {
        if matches!(self.entities.get(entity), Some(EntityWork::Held)) {
            self.entities.remove(entity);
        }
    }

    /// Gives up all work that is not being tried. It comes in no order.
    pub fn give_up(&mut self) -> Vec<T> {
        let mut work = Vec::with_capacity(self.queued);
        for (entity, ready) in self.ready.drain(..) {
            work.push(ready);
            if let Entry::Occupied(entry) = self.entities.entry(entity)
                && let EntityWork::Busy(_) = entry.get()
                && let EntityWork::Busy(waiting) = entry.remove()
            {
                work.extend(waiting);
            }
        }
        // These wait for work that is being tried.
        for entity in self.entities.values_mut() {
            if let EntityWork::Busy(waiting) = entity {
                work.extend(waiting.drain(..));
            }
        }
        self.queued = 0;
        work
    }

    /// Returns the entities that are held back because some of their work is parked.
    pub fn held(&self) -> impl Iterator<Item = &E> {
        self.entities.iter().filter(|(_, work)| matches!(work, EntityWork::Held)).map(|(entity, _)| entity)
    }

    /// Returns how many pieces of work are ready or wait.
    pub fn queued(&self) -> usize {
        self.queued
    }
}

#[cfg(test)]
mod tests;
