//! What becomes of an event once its broker has spoken, or cannot be asked. In: events, and the broker's word. Out: events that are done,
//! and events that it will never take, parked dead. It never parks one after the other at a broker that takes none: then the broker is
//! the trouble, and not the events.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use crate::event::Event;
use crate::lane::delivery;
use crate::lane::delivery::Delivery;
use crate::lane::progress::Progress;
use crate::ledger::Attempt;
use crate::ledger::Fate;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Verdicts {
    publisher: String,
    /// Events that were parked since the broker took one.
    in_a_row: u32,
    /// Refused beyond that, oldest first: they are parked when the broker takes another one, and sent again if it does not.
    doubted: Vec<(Delivery, String)>,
}

/// Events that may be parked in a row without the broker taking one.
const IN_A_ROW: u32 = 3;

impl Verdicts {
    pub(super) fn new(publisher: String) -> Verdicts {
        Verdicts { publisher, in_a_row: 0, doubted: Vec::new() }
    }

    /// The broker has the event.
    pub(super) fn accepted(&mut self, progress: &mut Progress, job: Delivery) {
        self.in_a_row = 0;
        for (job, reason) in mem::take(&mut self.doubted) {
            self.bury(progress, job, &reason);
        }
        progress.succeeded();
        match job {
            Delivery::FromLog(event) => progress.done(&event),
            Delivery::Parked(parked) => {
                let (number, reason) = (parked.attempts + 1, String::new());
                record(progress, &parked.event, number, "delivered", &reason);
                progress.entries.settled.push(delivery::settlement(&parked, None, number, reason));
            }
        }
    }

    /// The broker will never take the event.
    pub(super) fn refused(&mut self, progress: &mut Progress, job: Delivery, reason: String) {
        match self.may_condemn() {
            true => self.bury(progress, job, &reason),
            false => self.doubted.push((job, reason)),
        }
    }

    /// Whether one more may be parked. It counts as parked then.
    pub(super) fn may_condemn(&mut self) -> bool {
        self.in_a_row = (self.in_a_row + 1).min(IN_A_ROW + 1);
        self.in_a_row <= IN_A_ROW
    }

    /// How many events the broker refused, and took none.
    pub(super) fn doubted(&self) -> usize {
        self.doubted.len()
    }

    /// Gives those back, to be sent again, with the reason of the last.
    pub(super) fn give_back(&mut self) -> (Vec<Delivery>, Option<String>) {
        let reason = self.doubted.last().map(|(_, reason)| of_all(reason));
        (mem::take(&mut self.doubted).into_iter().map(|(job, _)| job).collect(), reason)
    }

    /// Parks an event that this broker cannot take, so that the others go on.
    pub(super) fn bury(&self, progress: &mut Progress, job: Delivery, reason: &str) {
        let (number, event) = (job.attempt_number(), job.event().event_id);
        tracing::warn!(publisher = self.publisher, %event, reason, "cannot be published; parked dead");
        record(progress, job.event(), number, "dead", reason);
        match job {
            Delivery::FromLog(event) => progress.park(event, Fate::Dead, number, reason),
            Delivery::Parked(parked) => {
                let settlement = delivery::settlement(&parked, Some(Fate::Dead), number, reason.to_owned());
                progress.entries.settled.push(settlement);
            }
        }
    }
}

/// What is said when the broker is held to be the trouble.
pub(super) fn of_all(reason: &str) -> String {
    format!("it takes no event: {reason}; after {IN_A_ROW} that are parked dead, the others wait until it takes one")
}

fn record(progress: &mut Progress, event: &Arc<Event>, number: i32, outcome: &'static str, excerpt: &str) {
    progress.entries.attempts.push(Attempt {
        event: Arc::clone(event),
        number,
        outcome,
        code: None,
        latency: Duration::ZERO,
        excerpt: excerpt.to_owned(),
    });
}
