//! Decides what a webhook's lane does next. In: events from the log, results of attempts, and entities of which nothing is parked any more.
//! Out: which delivery to attempt next, and what is to be written down. It is a value: it never does I/O and never looks at a clock, and
//! the lane carries out what it answers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::destination::webhook::Webhook;
use crate::event::Entity;
use crate::event::Event;
use crate::lane::delivery::Delivery;
use crate::lane::retries::in_hand::AHEAD;
use crate::lane::retries::in_hand::AWAY;
use crate::lane::webhook::action::Action;
use crate::lane::webhook::attempt::AttemptResult;
use crate::lane::webhook::attempt::Outcome;
use crate::lane::webhook::breaker::Breaker;
use crate::lane::webhook::breaker::OPENS_AFTER;
use crate::lane::webhook::dead_letter::FailedAttempt;
use crate::lane::webhook::dead_letter::RetryRule;
use crate::lane::webhook::order::LaneOrder;
use crate::ledger::Fate;
use crate::ledger::Parked;
use crate::settings::Order;

/// The deliveries of one webhook and the health of its endpoint.
#[derive(Debug)]
pub(super) struct WebhookState {
    rule: RetryRule,
    concurrency: usize,
    /// Events from the log.
    pub(super) queue: LaneOrder<Entity, Arc<Event>>,
    /// Deliveries from the ledger whose next attempt is due.
    pub(super) due: VecDeque<Parked>,
    in_flight: usize,
    last_started: Source,
    breaker: Breaker,
    /// The entities of the events that were moved to the ledger since the breaker opened and are still parked there. A failed probe takes
    /// the oldest off the list.
    moved_while_open: VecDeque<Entity>,
    disabled: Option<String>,
}

/// Where a delivery comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Log,
    Ledger,
}

/// The events that can happen to the lane.
#[derive(Debug)]
pub(super) enum Input {
    /// Events came from the log.
    Taken(Vec<Arc<Event>>),
    /// An attempt ended; `random` is a number from 0 to 1 that spreads the retries of deliveries that failed together.
    Attempted { delivery: Delivery, result: AttemptResult, random: f64 },
    /// Nothing of these entities is parked any more.
    Released(Vec<Entity>),
    /// The destination has failed for so long that its lane is given up.
    FailedTooLong(String),
}

/// The lane takes this many events per request that may be open, so that it finds other entities' work to do when one is slow.
const QUEUED_PER_REQUEST: usize = 16;
/// A failed probe lets this many more events be moved to the ledger while the breaker is open.
const MOVED_PER_PROBE: usize = 16;

impl WebhookState {
    /// Starts with some entities held, because an earlier run left something of theirs in the ledger. An endpoint that failed when it was last
    /// tried is `suspected` from now on, and is probed first.
    pub(super) fn new(webhook: &Webhook, held: Vec<Entity>, suspected: Option<Instant>) -> WebhookState {
        let is_strict = webhook.order == Order::Strict;
        let mut queue = LaneOrder::new(webhook.order);
        for entity in held {
            queue.hold(entity);
        }
        WebhookState {
            rule: RetryRule { order: webhook.order, schedule: webhook.retry.clone() },
            concurrency: if is_strict { 1 } else { webhook.concurrency },
            queue,
            due: VecDeque::new(),
            in_flight: 0,
            last_started: Source::Log,
            // In strict order nothing else can be delivered meanwhile, so the first failure already makes the lane probe.
            breaker: Breaker::new(if is_strict { 1 } else { OPENS_AFTER }, suspected),
            moved_while_open: VecDeque::new(),
            disabled: None,
        }
    }

    /// Returns how many parked deliveries the lane may have in hand. Those of an endpoint that is away are to take no memory from others, and
    /// in strict order only the first may be tried.
    pub(super) fn ahead(&self) -> usize {
        match self.rule.order {
            Order::Strict => 1,
            Order::Entity | Order::None if !self.breaker.is_closed() => AWAY,
            Order::Entity | Order::None => AHEAD.max(self.concurrency),
        }
    }

    /// Returns how many more events the lane may take from the log.
    ///
    /// While the breaker is open this is enough for a probe to choose from, and no more: events of held entities would only be moved from
    /// the log to the ledger. The moved events count for as long as they are parked, so that there is room again when they were discarded.
    pub(super) fn room(&self) -> usize {
        let taken = self.queue.queued() + self.in_flight + self.moved_while_open.len();
        (self.concurrency * QUEUED_PER_REQUEST).saturating_sub(taken)
    }

    /// Returns when the next probe is due, if there is something to probe with. The lane then asks for the next attempt although nothing
    /// has happened.
    pub(super) fn next_probe(&self) -> Option<Instant> {
        let has_next = !self.due.is_empty() || self.queue.is_ready();
        self.breaker.next_probe().filter(|_| self.in_flight == 0 && has_next)
    }

    /// Gives up the events of the log that are not being tried, while the breaker is open.
    pub(super) fn give_up_waiting(&mut self) -> Vec<Arc<Event>> {
        self.queue.give_up()
    }

    /// Returns when the endpoint is probed next, whatever there is to probe with; none while it is healthy.
    pub(super) fn probes_at(&self) -> Option<Instant> {
        self.breaker.next_probe()
    }

    /// Returns when the next probe is due, if there is nothing to probe with: all that is parked is due later, and nothing else may be tried.
    /// The lane then loads a parked delivery before its time, because it cannot find out in any other way that the endpoint is back.
    pub(super) fn next_probe_in_want(&self) -> Option<Instant> {
        let has_next = !self.due.is_empty() || self.queue.is_ready();
        self.breaker.next_probe().filter(|_| self.in_flight == 0 && !has_next)
    }

    /// Returns why the endpoint gets nothing more, if that is so.
    pub(super) fn disabled(&self) -> Option<&str> {
        self.disabled.as_deref()
    }

    /// Returns the next delivery to attempt now, if there is one. It counts as in flight until its result comes in.
    pub(super) fn next_attempt(&mut self, now: Instant) -> Option<Delivery> {
        let may_start = match self.breaker.next_probe() {
            None => self.in_flight < self.concurrency,
            Some(probe) => self.in_flight == 0 && probe <= now,
        };
        if !may_start || self.disabled.is_some() {
            return None;
        }
        // Log and ledger take turns, so that neither has to wait until the other is empty, and both get to probe.
        let (first, second) = match self.last_started {
            Source::Log => (Source::Ledger, Source::Log),
            Source::Ledger => (Source::Log, Source::Ledger),
        };
        let delivery = self.next_from(first).or_else(|| self.next_from(second))?;
        self.last_started = match delivery {
            Delivery::FromLog(_) => Source::Log,
            Delivery::Parked(_) => Source::Ledger,
        };
        self.in_flight += 1;
        Some(delivery)
    }

    fn next_from(&mut self, source: Source) -> Option<Delivery> {
        match source {
            Source::Ledger => self.due.pop_front().map(Delivery::Parked),
            Source::Log => self.queue.pop().map(|(_, event)| Delivery::FromLog(event)),
        }
    }

    /// Takes in what has happened, and returns what to do about it, in this order.
    pub(super) fn handle(&mut self, input: Input, now: Instant) -> Vec<Action> {
        match input {
            Input::Taken(events) => events.into_iter().filter_map(|event| self.enqueue(event)).collect(),
            Input::Attempted { delivery, result, random } => {
                self.in_flight -= 1;
                match result.outcome {
                    Outcome::Delivered => self.delivered(delivery, &result),
                    Outcome::Failed { retry_after } => self.failed(delivery, &result, retry_after, random, now),
                    Outcome::Unsendable => self.park(delivery, &result, Fate::Dead),
                    Outcome::Gone => {
                        self.put_back(delivery);
                        self.disabled = Some(result.reason());
                        Vec::new()
                    }
                }
            }
            Input::Released(entities) => {
                for entity in &entities {
                    self.queue.release(entity);
                    self.moved_while_open.retain(|moved| moved != entity);
                }
                Vec::new()
            }
            Input::FailedTooLong(reason) => {
                self.disabled = Some(reason);
                Vec::new()
            }
        }
    }

    fn enqueue(&mut self, event: Arc<Event>) -> Option<Action> {
        let held = self.queue.push(event.entity.clone(), event)?;
        if !self.breaker.is_closed() {
            self.moved_while_open.push_back(held.entity.clone());
        }
        Some(Action::ParkWaiting(held))
    }

    fn delivered(&mut self, delivery: Delivery, result: &AttemptResult) -> Vec<Action> {
        let closed = self.breaker.succeeded();
        self.moved_while_open.clear();
        let mut actions = Vec::with_capacity(3);
        match delivery {
            Delivery::FromLog(event) => {
                self.queue.done(&event.entity);
                actions.push(Action::MarkDelivered(event));
            }
            Delivery::Parked(parked) => {
                let number = parked.attempts.saturating_add(1);
                actions.push(Action::record(&parked.event, number, None, result));
                actions.push(Action::settle(&parked, None, number, result));
            }
        }
        actions.push(Action::ReportSuccess { closed });
        actions
    }

    fn failed(
        &mut self,
        delivery: Delivery,
        result: &AttemptResult,
        retry_after: Option<Duration>,
        random: f64,
        now: Instant,
    ) -> Vec<Action> {
        let is_probe = !self.breaker.is_closed();
        let opened = self.breaker.failed(now, retry_after.unwrap_or_default());
        let until_probe =
            self.breaker.next_probe().map_or(Duration::ZERO, |probe| probe.saturating_duration_since(now));
        let fate = self.rule.fate(&FailedAttempt { delivery: &delivery, retry_after, until_probe, random });
        // A failed probe says something about the endpoint and nothing about the event, which keeps its attempts. In strict order, the
        // event that failed is the only one to probe with until its time is over.
        let is_strict = self.rule.order == Order::Strict;
        let keeps_attempts =
            if is_strict { matches!(delivery, Delivery::Parked(_)) && fate != Fate::Dead } else { is_probe };
        let mut actions = if keeps_attempts {
            self.postpone(delivery, result, until_probe)
        } else {
            self.park(delivery, result, fate)
        };
        if is_probe {
            self.moved_while_open.drain(..MOVED_PER_PROBE.min(self.moved_while_open.len()));
        }
        if !self.breaker.is_closed() {
            actions.push(Action::ReportFailure { reason: result.reason(), opened });
        }
        actions
    }

    /// Sends the delivery to the back of its line, with as many attempts left as before. An event that the endpoint will never take must
    /// not be the only one that asks whether the endpoint takes any.
    fn postpone(&mut self, delivery: Delivery, result: &AttemptResult, until_probe: Duration) -> Vec<Action> {
        match delivery {
            Delivery::FromLog(_) => {
                self.put_back(delivery);
                Vec::new()
            }
            Delivery::Parked(parked) => {
                if self.rule.order == Order::Strict {
                    self.queue.hold(parked.event.entity.clone());
                }
                let wait = until_probe.max(parked.due_in);
                vec![Action::settle(&parked, Some(Fate::Retry(wait)), parked.attempts, result)]
            }
        }
    }

    /// Counts the attempt, and leaves the delivery to the ledger.
    fn park(&mut self, delivery: Delivery, result: &AttemptResult, fate: Fate) -> Vec<Action> {
        let number = delivery.attempt_number();
        let mut actions = vec![Action::record(delivery.event(), number, Some(fate), result)];
        match delivery {
            Delivery::Parked(parked) => actions.push(Action::settle(&parked, Some(fate), number, result)),
            Delivery::FromLog(event) => {
                match fate {
                    Fate::Dead => self.queue.done(&event.entity),
                    _ => actions.extend(self.queue.hold(event.entity.clone()).into_iter().map(Action::ParkWaiting)),
                }
                actions.push(Action::Park { event, fate, attempts: number, reason: result.reason() });
            }
        }
        actions
    }

    fn put_back(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::FromLog(event) => self.queue.put_back(event.entity.clone(), event),
            Delivery::Parked(parked) => self.due.push_front(parked),
        }
    }
}

#[cfg(test)]
mod tests;
