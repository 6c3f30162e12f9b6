//! What a lane is doing, as people read it in `andon.lanes`. A value: it never changes by itself.

/// What a lane is doing, for people who ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// All is well.
    Running,
    /// Cannot reach its destination, and keeps trying.
    Retrying(String),
    /// The breaker is open: only probes are made.
    Open(String),
    /// Stopped, until the destination's row is changed.
    Disabled {
        /// What the destination is: `mqtt` or `webhook`.
        kind: &'static str,
        /// Why.
        reason: String,
    },
    /// The destination's row cannot be used.
    Misconfigured(String),
    /// The destination is gone or not active.
    Removed,
}

impl State {
    pub(super) fn columns(&self) -> (&'static str, Option<&str>) {
        match self {
            State::Running => ("running", None),
            State::Retrying(reason) => ("retrying", Some(reason)),
            State::Open(reason) => ("open", Some(reason)),
            State::Disabled { reason, .. } => ("disabled", Some(reason)),
            State::Misconfigured(reason) => ("misconfigured", Some(reason)),
            State::Removed => ("removed", None),
        }
    }
}
