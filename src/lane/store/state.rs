//! Says what a lane is doing, in the words that people read in `andon.lanes`.

use crate::ledger::culprits;
use crate::legible;

/// The state of a lane, as far as the lane itself reports it. The supervisor marks lanes as removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is delivering.
    Running,
    /// It cannot reach its destination, and keeps trying.
    Retrying(String),
    /// Its breaker is open: it only probes.
    Open(String),
    /// It has stopped until the destination's row is changed.
    Disabled(String),
    /// The destination's row cannot be used.
    Misconfigured(String),
}

/// How many letters of a reason are stored.
const REASON_LETTERS: usize = 4000;

impl State {
    /// Returns the same state with a reason that a database of any encoding can hold.
    pub(super) fn in_ascii(&self) -> State {
        let mut state = self.clone();
        match &mut state {
            State::Running => {}
            State::Retrying(reason) | State::Open(reason) | State::Disabled(reason) | State::Misconfigured(reason) => {
                *reason = culprits::in_ascii(reason);
            }
        }
        state
    }

    pub(super) fn columns(&self) -> (&'static str, Option<String>) {
        let (name, reason) = self.texts();
        // Reasons may quote what a destination answered.
        (name, reason.map(|reason| legible::text(reason.to_owned()).chars().take(REASON_LETTERS).collect()))
    }

    fn texts(&self) -> (&'static str, Option<&str>) {
        match self {
            State::Running => ("running", None),
            State::Retrying(reason) => ("retrying", Some(reason)),
            State::Open(reason) => ("open", Some(reason)),
            State::Disabled(reason) => ("disabled", Some(reason)),
            State::Misconfigured(reason) => ("misconfigured", Some(reason)),
        }
    }
}
