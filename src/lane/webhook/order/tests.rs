//! Tests the order of a lane's work with a model of a lane and its ledger in which everything happens in random order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// An entity, and the number of the work among that of its entity.
type Work = (u8, u32);

/// A lane without a destination. Work is tried and done, put back, parked or dead; parked work is tried again, and its entity released.
struct Lane {
    order: Order,
    waiting: LaneOrder<u8, Work>,
    log: Vec<Work>,
    trying: Vec<Work>,
    /// The parked work of each entity. Only the first is tried again, and the others wait; in order `none` no work waits for other work.
    parked: BTreeMap<u8, VecDeque<Work>>,
    delivered: Vec<Work>,
    dead: Vec<Work>,
}

impl Lane {
    fn new(order: Order) -> Lane {
        Lane {
            order,
            waiting: LaneOrder::new(order),
            log: Vec::new(),
            trying: Vec::new(),
            parked: BTreeMap::new(),
            delivered: Vec::new(),
            dead: Vec::new(),
        }
    }

    fn step(&mut self, what: u8, which: u8) -> Result<(), TestCaseError> {
        match what {
            0 | 1 => {
                let counter = self.log.iter().filter(|(entity, _)| *entity == which).count() as u32 + 1;
                self.log.push((which, counter));
                if let Some(work) = self.waiting.push(which, (which, counter)) {
                    self.parked.get_mut(&which).expect("only what is parked gives back").push_back(work);
                }
            }
            2 => {
                while let Some((entity, work)) = self.waiting.pop() {
                    let is_alone = match self.order {
                        Order::Entity => self.trying.iter().all(|(other, _)| *other != entity),
                        Order::Strict => self.trying.is_empty(),
                        Order::None => true,
                    };
                    prop_assert!(is_alone, "{work:?} is tried together with {:?}", self.trying);
                    self.trying.push(work);
                }
                if self.order == Order::None {
                    prop_assert_eq!(self.waiting.queued(), 0, "something waits");
                }
            }
            3 => self.parked_is_tried_again(which),
            8 => {
                // What was given up comes again from the log, in the order of the log.
                let given_up = self.waiting.give_up();
                prop_assert_eq!(self.waiting.queued(), 0);
                for work in self.log.iter().filter(|work| given_up.contains(work)) {
                    if let Some(work) = self.waiting.push(work.0, *work) {
                        self.parked.get_mut(&work.0).expect("only what is parked gives back").push_back(work);
                    }
                }
            }
            _ if self.trying.is_empty() => {}
            _ => {
                let work = self.trying.remove(usize::from(which) % self.trying.len());
                match what {
                    4 => self.waiting.put_back(work.0, work),
                    5 => {
                        self.dead.push(work);
                        self.waiting.done(&work.0);
                    }
                    6 => {
                        let queue = self.parked.entry(work.0).or_default();
                        queue.push_back(work);
                        queue.extend(self.waiting.hold(work.0));
                    }
                    _ => {
                        self.delivered.push(work);
                        self.waiting.done(&work.0);
                    }
                }
            }
        }
        Ok(())
    }

    /// Parked work is delivered or is dead. When it was the last of its entity, the entity is released.
    fn parked_is_tried_again(&mut self, which: u8) {
        let Some(mut first) = self.parked.first_entry() else { return };
        let work = first.get_mut().pop_front().expect("no queue is empty");
        if which == 0 {
            self.dead.push(work);
        } else {
            self.delivered.push(work);
        }
        if first.get().is_empty() {
            first.remove();
            self.waiting.release(&work.0);
        }
    }

    fn is_complete(&self) -> Result<(), TestCaseError> {
        let parked: usize = self.parked.values().map(VecDeque::len).sum();
        let all = self.waiting.queued() + self.trying.len() + parked + self.delivered.len() + self.dead.len();
        prop_assert_eq!(all, self.log.len(), "something is lost or duplicated");
        if self.order == Order::Strict {
            prop_assert!(parked + self.trying.len() <= 1, "what follows stays where it is");
        }
        Ok(())
    }

    /// Delivers everything that is left.
    fn finish(&mut self) -> Result<(), TestCaseError> {
        while self.delivered.len() + self.dead.len() < self.log.len() {
            let before = (self.delivered.len(), self.trying.len());
            for what in [2, 7, 3] {
                self.step(what, 1)?;
            }
            prop_assert_ne!(before, (self.delivered.len(), self.trying.len()), "it is stuck");
        }
        Ok(())
    }
}

fn steps() -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::vec((0..9u8, 0..5u8), 0..300)
}

fn run(order: Order, steps: Vec<(u8, u8)>) -> Result<Lane, TestCaseError> {
    let mut lane = Lane::new(order);
    for (what, which) in steps {
        lane.step(what, which)?;
        lane.is_complete()?;
    }
    lane.finish()?;
    Ok(lane)
}

proptest! {
    #[test]
    fn no_event_of_an_entity_overtakes_an_earlier_one(steps in steps()) {
        let lane = run(Order::Entity, steps)?;

        for entity in 0..5 {
            let of = |work: &[Work]| work.iter().filter(|(other, _)| *other == entity).copied().collect::<Vec<_>>();
            let delivered = of(&lane.delivered);
            prop_assert!(delivered.is_sorted(), "{:?}", delivered);
        }
    }

    #[test]
    fn in_strict_order_no_event_overtakes_any_other(steps in steps()) {
        let lane = run(Order::Strict, steps)?;

        let mut alive = lane.log.clone();
        alive.retain(|work| !lane.dead.contains(work));
        prop_assert_eq!(lane.delivered, alive);
    }

    #[test]
    fn without_order_nothing_waits(steps in steps()) {
        let lane = run(Order::None, steps)?;

        prop_assert_eq!(lane.waiting.held().count(), 0);
    }
}
