//! What waits for what. In: a lane's work as it comes. Out: what may be tried now: in order `entity` a later event of an entity waits
//! behind an earlier one, in `strict` every event behind the one before it, in `none` nothing. It never does I/O.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::hash::Hash;

use crate::settings::Order;

/// Work of a lane, by entity.
#[derive(Debug)]
pub struct LaneOrder<E, T> {
    order: Order,
    ready: VecDeque<(E, T)>,
    entities: HashMap<E, Entity<T>>,
    queued: usize,
    /// In `strict`: one is being tried.
    is_busy: bool,
}

#[derive(Debug)]
enum Entity<T> {
    /// In `entity`: one is ready or being tried; these wait behind it.
    Busy(VecDeque<T>),
    /// An earlier one is parked. In `entity`, what comes is to be parked behind it; in `strict`, all waits for it where it is.
    Held,
}

impl<E: Clone + Eq + Hash, T> LaneOrder<E, T> {
    /// Nothing yet.
    pub fn new(order: Order) -> LaneOrder<E, T> {
        LaneOrder { order, ready: VecDeque::new(), entities: HashMap::new(), queued: 0, is_busy: false }
    }

    /// Takes new work. Gives it back when its entity is held: the caller parks it behind the others.
    pub fn push(&mut self, entity: E, work: T) -> Option<T> {
        if self.order != Order::Entity {
            self.ready.push_back((entity, work));
        } else {
            match self.entities.get_mut(&entity) {
                Some(Entity::Held) => return Some(work),
                Some(Entity::Busy(waiting)) => waiting.push_back(work),
                None => {
                    self.entities.insert(entity.clone(), Entity::Busy(VecDeque::new()));
                    self.ready.push_back((entity, work));
                }
            }
        }
        self.queued += 1;
        None
    }

    /// What is to be tried next.
    pub fn pop(&mut self) -> Option<(E, T)> {
        if !self.is_ready() {
            return None;
        }
        let next = self.ready.pop_front()?;
        self.queued -= 1;
        self.is_busy = true;
        Some(next)
    }

    /// Whether there is something to try.
    pub fn is_ready(&self) -> bool {
        let may_go = self.order != Order::Strict || !self.is_busy && self.entities.is_empty();
        may_go && !self.ready.is_empty()
    }

    /// Puts work that was not really tried back; where the order lets it, behind other work, but never behind what waits for it.
    pub fn put_back(&mut self, entity: E, work: T) {
        self.queued += 1;
        self.is_busy = false;
        match self.order {
            Order::Strict => self.ready.push_front((entity, work)),
            Order::Entity | Order::None => self.ready.push_back((entity, work)),
        }
    }

    /// The entity's work in hand is done: the next may be tried.
    pub fn done(&mut self, entity: &E) {
        self.is_busy = false;
        let Some(Entity::Busy(waiting)) = self.entities.get_mut(entity) else { return };
        match waiting.pop_front() {
            Some(work) => self.ready.push_back((entity.clone(), work)),
            None => drop(self.entities.remove(entity)),
        }
    }

    /// The entity's work in hand gets parked. Returns what waited behind it and is to be parked as well; in `entity`, all that comes is
    /// given back from now on.
    pub fn hold(&mut self, entity: E) -> Vec<T> {
        self.is_busy = false;
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

    /// The entities of which something is parked that others wait for.
    pub fn held(&self) -> impl Iterator<Item = &E> {
        self.entities.iter().filter(|(_, entity)| matches!(entity, Entity::Held)).map(|(name, _)| name)
    }

    /// How much work is ready or waits.
    pub fn queued(&self) -> usize {
        self.queued
    }
}

#[cfg(test)]
mod tests;
