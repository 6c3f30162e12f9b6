//! Decides what becomes of a delivery that its webhook did not take: it is tried again, or it is dead. In: the delivery, the webhook's
//! schedule of retries, and what the endpoint asked for. Out: the delivery's fate. It never looks at a clock.

use std::time::Duration;

use crate::lane::delivery::Delivery;
use crate::ledger::Fate;
use crate::retry::Schedule;
use crate::settings::Order;

/// The rule by which the deliveries of one webhook are given up.
#[derive(Debug)]
pub(super) struct RetryRule {
    pub(super) order: Order,
    pub(super) schedule: Schedule,
}

/// An attempt that has just failed.
#[derive(Debug)]
pub(super) struct FailedAttempt<'a> {
    pub(super) delivery: &'a Delivery,
    /// The wait that the endpoint asked for.
    pub(super) retry_after: Option<Duration>,
    /// The time until the breaker lets the next probe through; zero while it is closed.
    pub(super) until_probe: Duration,
    /// A random number from 0 to 1, so that deliveries that failed together are not tried again together.
    pub(super) random: f64,
}

impl RetryRule {
    /// Says when the delivery is tried again, or that it is dead.
    ///
    /// A delivery is dead when it has used up the attempts of the schedule. In strict order it is dead when it has been parked for as
    /// long as the whole schedule lasts: nothing else can be tried meanwhile, so the breaker's pauses decide how often it is tried.
    pub(super) fn fate(&self, attempt: &FailedAttempt<'_>) -> Fate {
        let wait = match self.order {
            Order::Strict => {
                let age = match attempt.delivery {
                    Delivery::FromLog(_) => Duration::ZERO,
                    Delivery::Parked(parked) => parked.age,
                };
                (age < self.schedule.total()).then_some(attempt.until_probe)
            }
            Order::Entity | Order::None => {
                let number = attempt.delivery.attempt_number().unsigned_abs();
                self.schedule.delay_at_least(number, attempt.random, attempt.retry_after)
            }
        };
        wait.map_or(Fate::Dead, Fate::Retry)
    }
}
