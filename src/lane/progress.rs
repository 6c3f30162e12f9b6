//! A lane's progress: what it takes, what it is done with, what it parks, and the checkpoint of all of it. In: events from the intake, and
//! what became of them. Out: `andon.lanes` and the ledger, a few times a second. It never talks to a destination.

mod clock;
mod unsaved;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::event::Entity;
use crate::event::Event;
use crate::lane::intake::Intake;
use crate::lane::progress::clock::Clock;
use crate::lane::progress::unsaved::Unsaved;
use crate::lane::stop::Ended;
use crate::lane::stop::Stop;
use crate::lane::store::error::Lost;
use crate::lane::store::error::StoreError;
use crate::lane::store::row::Checkpoint;
use crate::lane::store::row::LaneRow;
use crate::lane::store::state::State;
use crate::ledger::Entries;
use crate::ledger::Fate;
use crate::ledger::Undelivered;

/// How far a lane is, and what it has to write about it.
#[derive(Debug)]
pub struct Progress {
    /// Where the lane's events come from.
    pub intake: Intake,
    /// The entries that the next checkpoint writes into the ledger.
    pub entries: Entries,
    row: LaneRow,
    unsaved: Unsaved,
    /// A cursor that is being written. The lane goes on meanwhile: all lanes share the pool of connections, and one that has much to write
    /// must not delay the others' deliveries.
    writing: Option<CursorWrite>,
}

#[derive(Debug)]
struct CursorWrite {
    /// Returns what it has written.
    task: JoinHandle<Result<Checkpoint, StoreError>>,
    since: Instant,
}

/// How long writing a cursor may take before the lane takes nothing new. It is longer than the pauses that the writer of cursors makes.
const SLOW_WRITE: Duration = Duration::from_secs(3);
/// How many parked deliveries may wait for the database. A lane with more than that takes nothing new.
const UNWRITTEN: usize = 1000;
/// For how long a destination may fail before its lane is disabled, as PostgreSQL reads it.
const LONGEST_FAILURE: &str = "7 days";

/// Returns the reason that is given for disabling a lane whose destination failed for too long.
pub fn too_long(reason: &str) -> String {
    format!("it took nothing for {LONGEST_FAILURE}; the last: {reason}")
}

impl CursorWrite {
    fn is_under_way(&self) -> bool {
        !self.task.is_finished()
    }

    fn is_slow(&self) -> bool {
        self.since.elapsed() > SLOW_WRITE && self.is_under_way()
    }
}

impl Progress {
    /// Creates the progress of a lane that goes on from its stored cursor; `is_failing` is what its row says of the destination.
    pub fn new(row: LaneRow, intake: Intake, is_failing: bool) -> Progress {
        let unsaved = Unsaved::new(intake.position(), is_failing, Instant::now());
        Progress { intake, entries: Entries::default(), row, unsaved, writing: None }
    }

    /// Starts the clock of a lane.
    pub fn clock() -> Clock {
        Clock::new()
    }

    /// Returns whether there is anything that a tick would write, so that the clock ticks often.
    pub fn is_busy(&self) -> bool {
        !self.is_written() || self.unsaved.has_recovered() || self.unsaved.is_end_unsaved(self.intake.is_over())
    }

    /// Returns whether the lane's row may say that the destination fails, and nothing was heard of it since.
    pub fn may_have_failed(&self) -> bool {
        self.unsaved.may_have_failed()
    }

    /// Returns the lane's row in the database.
    pub fn row(&self) -> &LaneRow {
        &self.row
    }

    /// Returns whether the lane may take more events. It may not while the database is away or slow, because what it delivers and cannot
    /// write down would be delivered again.
    pub fn has_room(&self) -> bool {
        let is_slow = self.writing.as_ref().is_some_and(CursorWrite::is_slow);
        !self.unsaved.database_is_away() && !is_slow && self.entries.parked.len() < UNWRITTEN
    }

    /// Records that the event is delivered.
    pub fn done(&mut self, event: &Event) {
        self.intake.done(event.id);
        self.unsaved.delivered();
    }

    /// Records that the lane passes the event without delivering it.
    pub fn park(&mut self, event: Arc<Event>, fate: Fate, attempts: i32, reason: &str) {
        self.intake.parked(event.id);
        self.entries.parked.push(Undelivered { event, fate, attempts, reason: reason.to_owned() });
    }

    /// Changes the lane's state, and writes it now or as soon as the database is back. A lane that is disabled stays so.
    pub async fn report(&mut self, state: State) -> Result<(), Lost> {
        if self.unsaved.set_state(state) { self.write_state().await } else { Ok(()) }
    }

    /// Records that the destination fails, and has taken nothing since it began to. Returns whether it has failed for so long that the lane
    /// is to be disabled.
    pub async fn failed(&mut self) -> Result<bool, Lost> {
        match self.row.failed(self.unsaved.has_recovered(), LONGEST_FAILURE).await {
            Ok(is_too_long) => {
                self.unsaved.failure_saved();
                Ok(is_too_long)
            }
            Err(error) => {
                self.unsaved.failure_may_be_saved();
                self.database_failed(error).map(|()| false)
            }
        }
    }

    /// Records that the destination takes the events that it gets.
    pub fn succeeded(&mut self) {
        self.unsaved.destination_works();
        self.intake.be_normal();
    }

    /// Disables the lane: the destination gets nothing more, and the cursor stays where it is, until the destination's row is changed.
    /// Returns when all of that is written, or when the lane is asked to stop.
    pub async fn disable(
        &mut self,
        destination_kind: &'static str,
        reason: &str,
        stop: &mut Stop,
    ) -> Result<Ended, Lost> {
        let lane = self.row.lane();
        tracing::warn!(%lane, reason, "disabled until its row is changed");
        self.report(State::Disabled { destination_kind, reason: reason.to_owned() }).await?;
        self.finish().await?;
        let mut clock = Progress::clock();
        while !self.is_written() {
            tokio::select! {
                biased;
                _ = stop.asked() => break,
                () = clock.tick(true) => self.finish().await?,
            }
        }
        Ok(Ended::Disabled)
    }

    /// Writes how far the lane is, if there is anything new. Returns the entities of which nothing is parked any more. A cursor alone is
    /// written while the lane goes on; if there is anything else, the lane waits until it is written. While the database is away nothing is
    /// lost: all of it is written later.
    pub async fn checkpoint(&mut self) -> Result<Vec<Entity>, Lost> {
        self.intake.tick();
        self.write_recovery().await?;
        let mut released = Vec::new();
        if !self.entries.is_empty() || !self.writing.as_ref().is_some_and(CursorWrite::is_under_way) {
            self.end_writing().await?;
            if self.is_due() {
                released = self.write().await?;
            }
        }
        // The state comes last, because it says whether the progress can be written.
        self.write_state().await?;
        Ok(released)
    }

    /// Writes the last checkpoint of a lane that stops, to the event, even if it has delivered nothing lately: its destination may have
    /// been changed to want event types that have gone by, and those are not to be delivered now.
    pub async fn finish(&mut self) -> Result<(), Lost> {
        self.end_writing().await?;
        let (position, _) = self.intake.checkpoint();
        self.unsaved.stops_at(position);
        self.checkpoint().await?;
        self.end_writing().await
    }

    /// Returns whether the database knows all that there is to know of the lane.
    pub fn is_written(&self) -> bool {
        self.unsaved.is_nothing() && self.entries.is_empty() && self.writing.is_none()
    }

    /// The lane ends if it is lost. If the database failed, it goes on, and says so once.
    pub fn database_failed(&mut self, error: StoreError) -> Result<(), Lost> {
        match error {
            StoreError::Lost(lost) => Err(lost),
            StoreError::Database(error) => {
                let error = format!("{:#}", anyhow::Error::new(error));
                if self.unsaved.failed(&error) {
                    tracing::warn!(lane = %self.row.lane(), error, "cannot write the lane's progress; trying again");
                }
                Ok(())
            }
        }
    }

    /// Returns whether there is anything to write. It is asked before the checkpoint is put together, because that is the slower the more
    /// holes the log has.
    fn is_due(&self) -> bool {
        let (position, is_over) = (self.intake.position(), self.intake.is_over());
        !self.entries.is_empty() || self.unsaved.is_due(Instant::now(), position, is_over)
    }

    async fn write(&mut self) -> Result<Vec<Entity>, Lost> {
        let (position, pending) = self.intake.checkpoint();
        let checkpoint = self.unsaved.begin(position, pending, self.intake.is_over());
        if self.entries.is_empty() && !checkpoint.is_over && !self.unsaved.database_is_away() {
            self.start_writing(checkpoint);
            return Ok(Vec::new());
        }
        match self.row.write_checkpoint(&checkpoint, &mut self.entries).await {
            Ok(free) => {
                self.intake.parked_are_written();
                self.unsaved.saved(&checkpoint, Instant::now());
                Ok(free)
            }
            Err(error) => self.database_failed(error).map(|()| Vec::new()),
        }
    }

    fn start_writing(&mut self, checkpoint: Checkpoint) {
        let row = self.row.clone();
        let task = tokio::spawn(async move { row.write_cursor(&checkpoint).await.map(|()| checkpoint) });
        self.writing = Some(CursorWrite { task, since: Instant::now() });
    }

    /// Waits for the cursor that is being written, because a later one must not be overtaken by it.
    async fn end_writing(&mut self) -> Result<(), Lost> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        let written = (&mut writing.task).await.expect("writing a cursor neither panics nor is aborted");
        self.writing = None;
        match written {
            Ok(checkpoint) => {
                self.unsaved.saved(&checkpoint, Instant::now());
                Ok(())
            }
            Err(error) => self.database_failed(error),
        }
    }

    async fn write_recovery(&mut self) -> Result<(), Lost> {
        if self.unsaved.has_recovered() {
            match self.row.succeeded().await {
                Ok(()) => self.unsaved.recovery_saved(),
                Err(error) => self.database_failed(error)?,
            }
        }
        Ok(())
    }

    async fn write_state(&mut self) -> Result<(), Lost> {
        if let Some(state) = self.unsaved.unsaved_state().cloned() {
            match self.row.report(&state).await {
                Ok(()) => self.unsaved.state_saved(state),
                Err(error) => self.database_failed(error)?,
            }
        }
        Ok(())
    }
}
