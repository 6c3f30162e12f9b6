//! A lane's progress: what it takes, what it is done with, what it parks, and the checkpoint of all of it. In: events from the intake,
//! and what became of them. Out: `andon.lanes` and the ledger, a few times a second. It never talks to a destination.

use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio::time::Interval;
use tokio::time::MissedTickBehavior;

use crate::event::Entity;
use crate::event::Event;
use crate::lane::intake::Intake;
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

/// How often a busy lane writes its cursor: what was acknowledged since may come twice after a crash.
const CHECKPOINT: Duration = Duration::from_millis(500);
/// How often one that only watches others' events go by does, so that old partitions can be dropped.
const IDLE_CHECKPOINT: Duration = Duration::from_secs(30);
/// The lanes' clocks tick at so many moments of that time, whatever the number of lanes.
const SLOTS: u8 = 8;
/// Parked deliveries that may wait for the database. Beyond that the lane takes nothing more.
const UNWRITTEN: usize = 1000;

/// See the module's description.
#[derive(Debug)]
pub struct Progress {
    /// Where events come from.
    pub intake: Intake,
    /// What the next checkpoint writes beside the cursor.
    pub entries: Entries,
    row: LaneRow,
    state: State,
    state_is_written: bool,
    moved: bool,
    written: (i64, Instant),
    /// A cursor on its way into the database. The lane goes on meanwhile: the pool is shared, and whoever has much to write in it must not
    /// hold up the others' deliveries.
    writing: Option<Writing>,
    database_is_away: bool,
    /// The stored row may say that the destination fails.
    may_fail: bool,
    /// Something was delivered since, and that is to be written.
    is_well: bool,
    /// Since the last checkpoint.
    delivered: i64,
    /// That this replay is over stands in the database.
    end_is_written: bool,
}

/// For how long a destination may fail before its lane is disabled; as it stands in `LaneRow::failed`.
const LONGEST_FAILURE: &str = "7 days";

/// Why a lane is disabled whose destination failed for too long.
pub fn too_long(reason: &str) -> String {
    format!("it took nothing for {LONGEST_FAILURE}; the last: {reason}")
}

#[derive(Debug)]
struct Writing {
    /// Ends with what is written.
    task: JoinHandle<Result<Checkpoint, StoreError>>,
    since: Instant,
}

impl Writing {
    fn is_slow(&self) -> bool {
        self.since.elapsed() > CHECKPOINT && !self.task.is_finished()
    }
}

impl Progress {
    /// The progress of a lane that goes on from its stored cursor.
    pub fn new(row: LaneRow, intake: Intake) -> Progress {
        let written = (intake.checkpoint().0, Instant::now());
        Progress {
            intake,
            entries: Entries::default(),
            row,
            state: State::Running,
            state_is_written: true,
            moved: false,
            written,
            writing: None,
            database_is_away: false,
            may_fail: true,
            is_well: false,
            delivered: 0,
            end_is_written: false,
        }
    }

    /// Ticks when a checkpoint may be due: for many lanes at once, so that they do not keep an idle machine awake, and not for all of them,
    /// so that live events need not wait behind all their writes.
    pub fn clock() -> Interval {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let (period, slot) = (CHECKPOINT.as_micros(), u128::from(rand::random::<u8>() % SLOTS));
        let wait = (period + slot * (period / u128::from(SLOTS)) - since_epoch % period) % period;
        let wait = Duration::from_micros(u64::try_from(wait).unwrap_or_default());
        let mut clock = tokio::time::interval_at(Instant::now() + wait, CHECKPOINT);
        clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
        clock
    }

    /// The lane's row in the database.
    pub fn row(&self) -> &LaneRow {
        &self.row
    }

    /// Whether the lane may take more events. Not while the database is away or slow: whatever is delivered then and cannot be written
    /// down would come again.
    pub fn has_room(&self) -> bool {
        let is_slow = self.writing.as_ref().is_some_and(Writing::is_slow);
        !self.database_is_away && !is_slow && self.entries.parked.len() < UNWRITTEN
    }

    /// The event is delivered.
    pub fn done(&mut self, event: &Event) {
        self.intake.done(event.id);
        self.delivered += 1;
        self.moved = true;
    }

    /// The lane passes the event undelivered.
    pub fn park(&mut self, event: Arc<Event>, fate: Fate, attempts: i32, reason: &str) {
        self.intake.done(event.id);
        self.entries.parked.push(Undelivered { event, fate, attempts, reason: reason.to_owned() });
    }

    /// Changes the lane's state; it is written at once, or as soon as the database is back. One that is disabled stays so.
    pub async fn report(&mut self, state: State) -> Result<(), Lost> {
        if state != self.state && !matches!(self.state, State::Disabled { .. }) {
            self.state = state;
            self.state_is_written = false;
            self.write_state().await?;
        }
        Ok(())
    }

    /// The destination fails, and nothing was delivered since it began to. True: for so long that its lane is to be disabled.
    pub async fn failed(&mut self) -> Result<bool, Lost> {
        match self.row.failed(self.is_well, LONGEST_FAILURE).await {
            Ok(too_long) => {
                (self.may_fail, self.is_well) = (true, false);
                Ok(too_long)
            }
            Err(error) => self.database_failed(error).map(|()| false),
        }
    }

    /// The destination takes what it gets.
    pub fn succeeded(&mut self) {
        self.is_well = self.may_fail;
    }

    /// The destination gets nothing more: the lane stands still, with its cursor where it is, until its row is changed. Returns when all
    /// of that is written, or when it is asked to stop.
    pub async fn disable(&mut self, kind: &'static str, reason: &str, stop: &mut Stop) -> Result<Ended, Lost> {
        let lane = self.row.lane();
        tracing::warn!(%lane, reason, "disabled until its row is changed");
        self.report(State::Disabled { destination_kind: kind, reason: reason.to_owned() }).await?;
        self.finish().await?;
        let mut clock = Progress::clock();
        while !self.is_written() {
            tokio::select! {
                biased;
                _ = stop.asked() => break,
                _ = clock.tick() => self.finish().await?,
            }
        }
        Ok(Ended::Disabled)
    }

    /// Writes down how far the lane is, if there is anything new. Returns the entities that are free again. A cursor that comes alone is
    /// written beside the lane's work; with anything else, the lane waits for it. While the database is away nothing is lost: all of it
    /// is written later.
    pub async fn checkpoint(&mut self) -> Result<Vec<Entity>, Lost> {
        self.write_state().await?;
        self.write_success().await?;
        if self.entries.is_empty() && self.writing.as_ref().is_some_and(|writing| !writing.task.is_finished()) {
            return Ok(Vec::new());
        }
        self.end_writing().await?;
        let (position, pending) = self.intake.checkpoint();
        let is_due = self.moved
            || self.database_is_away
            || !self.entries.is_empty()
            || (self.intake.is_over() && !self.end_is_written)
            || (position != self.written.0 && self.written.1.elapsed() > IDLE_CHECKPOINT);
        if !is_due {
            return Ok(Vec::new());
        }
        let is_over = self.intake.is_over();
        let checkpoint = Checkpoint { position, pending, delivered: self.delivered, is_over };
        if self.entries.is_empty() && !is_over && !self.database_is_away {
            let row = self.row.clone();
            self.moved = false;
            let task = tokio::spawn(async move {
                row.write_cursor(&checkpoint).await?;
                Ok(checkpoint)
            });
            self.writing = Some(Writing { task, since: Instant::now() });
            return Ok(Vec::new());
        }
        match self.row.write_checkpoint(&checkpoint, &mut self.entries).await {
            Ok(free) => {
                self.is_down(&checkpoint);
                self.moved = false;
                Ok(free)
            }
            Err(error) => {
                self.database_failed(error)?;
                Ok(Vec::new())
            }
        }
    }

    /// The last checkpoint of a lane that stops: to the event, though nothing of its own came by lately. Its row may have been changed
    /// to want what has gone by, and that is not to come now.
    pub async fn finish(&mut self) -> Result<(), Lost> {
        self.end_writing().await?;
        self.moved |= self.intake.checkpoint().0 != self.written.0;
        self.checkpoint().await?;
        self.end_writing().await
    }

    /// Whether the database knows all that is to be known of the lane.
    pub fn is_written(&self) -> bool {
        self.state_is_written && self.entries.is_empty() && !self.moved && self.writing.is_none()
    }

    /// Tells a lost lane from a lost database, and says the latter once.
    pub fn database_failed(&mut self, error: StoreError) -> Result<(), Lost> {
        let error = match error {
            StoreError::Lost(lost) => return Err(lost),
            StoreError::Database(error) => anyhow::Error::new(error),
        };
        if !self.database_is_away {
            tracing::warn!(lane = %self.row.lane(), error = format!("{error:#}"), "cannot write the lane's progress; trying again");
        }
        self.database_is_away = true;
        Ok(())
    }

    /// Waits for the cursor that is on its way: a later one must not be overtaken by it.
    async fn end_writing(&mut self) -> Result<(), Lost> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        let written = (&mut writing.task).await.expect("writing a cursor neither panics nor is aborted");
        self.writing = None;
        match written {
            Ok(checkpoint) => {
                self.is_down(&checkpoint);
                Ok(())
            }
            Err(error) => {
                self.moved = true;
                self.database_failed(error)
            }
        }
    }

    fn is_down(&mut self, checkpoint: &Checkpoint) {
        self.database_is_away = false;
        self.delivered -= checkpoint.delivered;
        self.end_is_written = checkpoint.is_over;
        self.written = (checkpoint.position, Instant::now());
    }

    async fn write_success(&mut self) -> Result<(), Lost> {
        if self.is_well {
            match self.row.succeeded().await {
                Ok(()) => (self.may_fail, self.is_well) = (false, false),
                Err(error) => self.database_failed(error)?,
            }
        }
        Ok(())
    }

    async fn write_state(&mut self) -> Result<(), Lost> {
        if !self.state_is_written {
            match self.row.report(&self.state).await {
                Ok(()) => self.state_is_written = true,
                Err(error) => self.database_failed(error)?,
            }
        }
        Ok(())
    }
}
