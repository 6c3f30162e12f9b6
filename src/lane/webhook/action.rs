//! Lists the tasks that a webhook's lane may have after something has happened. The state chooses them, and the lane carries them out.

use std::sync::Arc;

use crate::event::Event;
use crate::lane::delivery;
use crate::lane::webhook::attempt::AttemptResult;
use crate::ledger::Attempt;
use crate::ledger::Fate;
use crate::ledger::Parked;
use crate::ledger::Settlement;

/// One thing to do. Reports come last, because a lane that is asked to stop may be interrupted while it makes them.
#[derive(Debug)]
pub(super) enum Action {
    /// Let the cursor pass the event, which is delivered.
    MarkDelivered(Arc<Event>),
    /// Let the cursor pass the event, which was tried in vain, and park it.
    Park { event: Arc<Event>, fate: Fate, attempts: i32, reason: String },
    /// Let the cursor pass the event, and park it until the earlier ones of its entity are done.
    ParkWaiting(Arc<Event>),
    /// Write down what became of a parked delivery.
    Settle(Settlement),
    /// Write down an attempt.
    Record(Attempt),
    /// Report that the endpoint takes what it gets; `closed` says whether that closed the breaker.
    ReportSuccess { closed: bool },
    /// Report that the endpoint fails and the breaker is open; `opened` says whether this failure opened it.
    ReportFailure { reason: String, opened: bool },
}

impl Action {
    pub(super) fn settle(parked: &Parked, fate: Option<Fate>, attempts: i32, result: &AttemptResult) -> Action {
        Action::Settle(delivery::settlement(parked, fate, attempts, result.reason()))
    }

    /// Records an attempt after which the delivery has this fate; a delivery without a fate was made.
    pub(super) fn record(event: &Arc<Event>, number: i32, fate: Option<Fate>, result: &AttemptResult) -> Action {
        let outcome = match fate {
            None => "delivered",
            Some(Fate::Dead) => "dead",
            Some(_) => "retry",
        };
        Action::Record(Attempt {
            event: Arc::clone(event),
            number,
            outcome,
            code: result.status.map(i32::from),
            latency: result.latency,
            excerpt: result.excerpt.clone(),
        })
    }
}
