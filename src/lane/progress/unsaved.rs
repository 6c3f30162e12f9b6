//! Knows what of a lane is not in the database yet. In: what the lane delivers and reports, and how each write ends. Out: whether a
//! checkpoint is due, and what it writes. It is a value: it never does I/O, and never looks at a clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::lane::store::row::Checkpoint;
use crate::lane::store::shared_holes::StoredPending;
use crate::lane::store::state::State;

/// The changes of the lane's row that are not written yet. The ledger's entries are kept elsewhere.
#[derive(Debug)]
pub(super) struct Unsaved {
    /// What the lane says of itself.
    state: State,
    /// Why its progress cannot be written, if that is so. People read it instead of the lane's own state.
    trouble: Option<State>,
    /// The trouble that was told last, until all is well again: a write that succeeds between two that fail ends nothing.
    told: Option<String>,
    saved_state: State,
    failure: StoredFailure,
    cursor: StoredCursor,
    /// The position of the last checkpoint that succeeded.
    saved_position: i64,
    /// When it succeeded.
    saved_at: Instant,
    /// How long the lane waits before it writes its cursor again.
    pause: Duration,
    /// The row has ids as pending that were open holes of the log, and are none any more.
    has_closed_holes: bool,
    /// The lane stops, and waits no longer.
    stops: bool,
    /// How many events were delivered that no checkpoint has counted yet.
    delivered: i64,
    /// Whether the database knows that this replay is over.
    end_is_saved: bool,
}

/// How the stored cursor compares with the lane's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StoredCursor {
    /// Nothing was delivered since the last checkpoint began.
    UpToDate,
    /// Something was.
    Outdated,
    /// The last write failed. The lane waits for the database, and writes all it has once it is back.
    DatabaseAway,
}

/// The failure of the destination, as the lane's row has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StoredFailure {
    /// It may say that the destination fails.
    Possible,
    /// The row shows a failure, but the destination has taken an event since, and the row must be updated.
    Outdated,
    /// It does not say so.
    None,
}

/// How often a lane writes its cursor while no event is for it, so that the partitions that it has passed can be dropped. It does so too
/// after a rollback, for which nobody rings.
const IDLE_CHECKPOINT: Duration = Duration::from_secs(30);
/// The pause that a lane makes for each range of ids that is pending in the cursor that it wrote. A hole of the log is pending for every
/// lane, so that thousands of holes would otherwise cost the plant's database more than the events do. With 2,000 ranges, it is as long as
/// the time between two checkpoints.
const PAUSE_PER_RANGE: Duration = Duration::from_micros(250);
/// A lane for which there are no events waits for as many pauses.
const IDLE_PAUSES: u32 = 60;

impl Unsaved {
    /// Creates a lane that goes on from this position and in this state, which are stored; `is_failing` is what its row says of the destination.
    pub(super) fn new(position: i64, state: State, is_failing: bool, now: Instant) -> Unsaved {
        Unsaved {
            state: state.clone(),
            trouble: None,
            told: None,
            saved_state: state,
            failure: if is_failing { StoredFailure::Possible } else { StoredFailure::None },
            cursor: StoredCursor::UpToDate,
            saved_position: position,
            saved_at: now,
            pause: Duration::ZERO,
            has_closed_holes: false,
            stops: false,
            delivered: 0,
            end_is_saved: false,
        }
    }

    /// Records that an event of the log was delivered.
    pub(super) fn delivered(&mut self) {
        self.delivered += 1;
        self.outdate();
    }

    /// Records that the lane stops at this position, which must be stored even if nothing was delivered since.
    pub(super) fn stops_at(&mut self, position: i64) {
        self.stops = true;
        if position != self.saved_position {
            self.outdate();
        }
    }

    /// Records that holes of the log are closed which the row has as pending. A transaction that is rolled back brings no event, after which
    /// the row would be written; until it is, the partition of the hole looks as if the lane needed it.
    pub(super) fn holes_closed(&mut self) {
        self.has_closed_holes = true;
    }

    fn outdate(&mut self) {
        if self.cursor == StoredCursor::UpToDate {
            self.cursor = StoredCursor::Outdated;
        }
    }

    /// Returns whether there is anything to write besides the ledger's entries. `position` is where the lane is, `is_over` whether it is a
    /// replay that has delivered everything. `patience` says how long the lane waits besides.
    pub(super) fn is_due(&self, now: Instant, position: i64, is_over: bool, patience: impl Fn() -> Duration) -> bool {
        let since = now - self.saved_at;
        let is_patient = |pause: Duration| !self.stops && (since < pause || since < patience());
        let is_outdated = match self.cursor {
            StoredCursor::UpToDate => false,
            StoredCursor::Outdated => !is_patient(self.pause),
            StoredCursor::DatabaseAway => true,
        };
        let has_passed = (position != self.saved_position || self.has_closed_holes) && since > IDLE_CHECKPOINT;
        is_outdated || self.is_end_unsaved(is_over) || has_passed && !is_patient(self.pause * IDLE_PAUSES)
    }

    /// Returns whether the lane is a replay that is over, and the database does not know it.
    pub(super) fn is_end_unsaved(&self, is_over: bool) -> bool {
        is_over && !self.end_is_saved
    }

    /// Returns the checkpoint that begins now.
    pub(super) fn begin(&mut self, position: i64, pending: StoredPending, is_over: bool) -> Checkpoint {
        if self.cursor == StoredCursor::Outdated {
            self.cursor = StoredCursor::UpToDate;
        }
        self.has_closed_holes = false;
        Checkpoint { position, pending, delivered: self.delivered, is_over }
    }

    /// Records that a checkpoint succeeded. Events may have been delivered since it began.
    pub(super) fn saved(&mut self, checkpoint: &Checkpoint, now: Instant) {
        self.delivered -= checkpoint.delivered;
        self.cursor = if self.delivered > 0 { StoredCursor::Outdated } else { StoredCursor::UpToDate };
        self.end_is_saved = checkpoint.is_over;
        self.trouble = None;
        (self.saved_position, self.saved_at) = (checkpoint.position, now);
        let ranges = u32::try_from(checkpoint.pending.ranges()).unwrap_or(u32::MAX);
        (self.pause, self.stops) = (PAUSE_PER_RANGE.saturating_mul(ranges), false);
        self.forget_told();
    }

    /// Records that a write failed, of whatever kind, for this reason. Returns whether that is to be told: it is the first since the last
    /// checkpoint that succeeded, and not what was told last.
    pub(super) fn failed(&mut self, reason: &str) -> bool {
        let is_first = !self.database_is_away();
        self.cursor = StoredCursor::DatabaseAway;
        if is_first {
            self.trouble = Some(State::Retrying(format!("cannot write its progress: {reason}")));
        }
        let is_news = is_first && self.told.as_deref() != Some(reason);
        if is_news {
            self.told = Some(reason.to_owned());
        }
        is_news
    }

    fn forget_told(&mut self) {
        if !self.database_is_away() && self.unsaved_state().is_none() && !self.has_recovered() {
            self.told = None;
        }
    }

    /// Returns whether the last write failed.
    pub(super) fn database_is_away(&self) -> bool {
        self.cursor == StoredCursor::DatabaseAway
    }

    /// Returns whether there is nothing left to write, apart from the ledger's entries.
    pub(super) fn is_nothing(&self) -> bool {
        self.unsaved_state().is_none() && self.cursor == StoredCursor::UpToDate
    }

    /// Changes the state of the lane, unless it is disabled: then it stays so. Returns whether the state has changed.
    pub(super) fn set_state(&mut self, state: State) -> bool {
        let changes = state != self.state && !matches!(self.state, State::Disabled(_));
        if changes {
            self.state = state;
        }
        changes
    }

    /// Returns the state that people are to read, unless the database has it.
    pub(super) fn unsaved_state(&self) -> Option<&State> {
        let shown = match &self.trouble {
            Some(trouble) if !matches!(self.state, State::Disabled(_)) => trouble,
            _ => &self.state,
        };
        (*shown != self.saved_state).then_some(shown)
    }

    /// Records that this state was written.
    pub(super) fn state_saved(&mut self, state: State) {
        self.saved_state = state;
        self.forget_told();
    }

    /// Records that the destination took an event.
    pub(super) fn destination_works(&mut self) {
        if self.failure == StoredFailure::Possible {
            self.failure = StoredFailure::Outdated;
        }
    }

    /// Returns whether the row still shows a failure although the destination no longer fails.
    pub(super) fn has_recovered(&self) -> bool {
        self.failure == StoredFailure::Outdated
    }

    /// Returns whether the row may show a failure.
    pub(super) fn may_have_failed(&self) -> bool {
        self.failure == StoredFailure::Possible
    }

    /// Records that the recovery was written.
    pub(super) fn recovery_saved(&mut self) {
        self.failure = StoredFailure::None;
    }

    /// Records that the failure of the destination was written.
    pub(super) fn failure_saved(&mut self) {
        self.failure = StoredFailure::Possible;
    }

    /// Records that nobody knows whether it was written.
    pub(super) fn failure_may_be_saved(&mut self) {
        if self.failure == StoredFailure::None {
            self.failure = StoredFailure::Possible;
        }
    }
}

#[cfg(test)]
mod tests;
