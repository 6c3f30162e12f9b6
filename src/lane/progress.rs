//! A lane's progress: what it takes, what it is done with, what it parks, and the checkpoint of all of it. In: events from the intake, and
//! what became of them. Out: `andon.lanes` and the ledger, a few times a second. It never talks to a destination.

mod clock;
mod unsaved;
pub mod writing;

use std::collections::HashSet;
use std::mem;
use std::sync::Arc;

use tokio::time::Instant;

use crate::event::Entity;
use crate::event::Event;
use crate::lane::intake::Intake;
use crate::lane::progress::clock::Clock;
use crate::lane::progress::unsaved::Unsaved;
use crate::lane::progress::writing::Ended as EndedWrite;
use crate::lane::progress::writing::Stored;
use crate::lane::progress::writing::Writing;
use crate::lane::stop::Ended;
use crate::lane::stop::Stop;
use crate::lane::store::error::Lost;
use crate::lane::store::error::RIGHTS;
use crate::lane::store::error::StoreError;
use crate::lane::store::row::LaneRow;
use crate::lane::store::state::State;
use crate::ledger::Entries;
use crate::ledger::Fate;
use crate::ledger::Undelivered;
use crate::ranges::Ranges;

/// How far a lane is, and what it has to write about it.
#[derive(Debug)]
pub struct Progress {
    /// Where the lane's events come from.
    pub intake: Intake,
    /// The entries that the next checkpoint writes into the ledger.
    pub entries: Entries,
    /// The write that is under way.
    pub writing: Writing,
    /// What earlier writes have changed in the ledger, until the lane asks for it.
    stored: Stored,
    row: LaneRow,
    unsaved: Unsaved,
    /// The holes of the log that the row has as pending.
    written_holes: Arc<Ranges>,
}

/// How many parked deliveries may wait for the database. A lane with more than that takes nothing new.
const UNWRITTEN: usize = 1000;
/// For how long a destination may fail before its lane is disabled, as PostgreSQL reads it.
const LONGEST_FAILURE: &str = "7 days";

/// Returns the reason that is given for disabling a lane whose destination failed for too long.
pub fn too_long(reason: &str) -> String {
    format!("it took nothing for {LONGEST_FAILURE}; the last: {reason}")
}

impl Progress {
    /// Creates the progress of a lane that goes on from its stored cursor; `open` and `is_failing` are what its row says of the destination.
    pub fn new(row: LaneRow, intake: Intake, open: Option<String>, is_failing: bool) -> Progress {
        let state = open.map_or(State::Running, State::Open);
        let unsaved = Unsaved::new(intake.position(), state, is_failing, Instant::now());
        // Whatever is pending in the row that was taken over may be a hole.
        let written_holes = Arc::new(intake.checkpoint().1.ids());
        Progress {
            intake,
            entries: Entries::default(),
            writing: Writing::default(),
            stored: Stored::default(),
            row,
            unsaved,
            written_holes,
        }
    }

    /// Returns the epoch under which the lane was taken over, which no other life of it has had.
    pub fn epoch(&self) -> i64 {
        self.row.claim().epoch
    }

    /// Starts the clock of a lane.
    pub fn clock() -> Clock {
        Clock::new()
    }

    /// Returns whether there is anything that a tick would write, so that the clock ticks often.
    pub fn is_busy(&self) -> bool {
        // What a write has changed is heard of at the next tick, if the write ended while the lane reported something.
        !self.is_written()
            || !self.stored.is_empty()
            || self.unsaved.has_recovered()
            || self.unsaved.is_end_unsaved(self.intake.is_over())
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
        let unwritten = self.entries.parked.len() + self.writing.parks();
        !self.unsaved.database_is_away() && !self.writing.is_slow() && unwritten < UNWRITTEN
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
        if !self.unsaved.set_state(state) {
            return Ok(());
        }
        self.end_writing().await?;
        self.write_state().await
    }

    /// Records that the destination fails, and has taken nothing since it began to. Returns whether it has failed for so long that the lane
    /// is to be disabled.
    pub async fn failed(&mut self) -> Result<bool, Lost> {
        self.end_writing().await?;
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
    pub async fn disable(&mut self, reason: &str, stop: &mut Stop) -> Result<Ended, Lost> {
        let lane = self.row.lane();
        tracing::warn!(%lane, reason, "disabled until its row is changed");
        self.report(State::Disabled(reason.to_owned())).await?;
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

    /// Starts to write how far the lane is, if there is anything new and no other write is under way: then what is new goes with the next one.
    /// Returns what the writes before have changed in the ledger. While the database is away nothing is lost: all of it is written later.
    pub async fn checkpoint(&mut self) -> Result<Stored, Lost> {
        self.intake.tick();
        if self.writing.is_under_way() {
            return Ok(Stored::default());
        }
        self.end_writing().await?;
        self.write_recovery().await?;
        let mut stored = self.take_stored();
        let was_away = self.unsaved.database_is_away();
        if !was_away {
            self.write_state().await?;
        }
        if self.is_due() {
            self.start_writing();
        }
        if was_away {
            // What the lane says of itself comes last, because it says whether the progress can be written.
            stored.add(self.stored().await?);
            self.write_state().await?;
        }
        Ok(stored)
    }

    /// Returns whether entries may be written at once, without waiting for the clock's next tick.
    pub fn may_write(&self) -> bool {
        !self.writing.is_under_way() && !self.unsaved.database_is_away()
    }

    /// Returns what has changed in the ledger, once the write that is under way has ended.
    pub async fn stored(&mut self) -> Result<Stored, Lost> {
        self.end_writing().await?;
        Ok(self.take_stored())
    }

    /// Writes all that there is, and returns what that has changed in the ledger.
    pub async fn write_all(&mut self) -> Result<Stored, Lost> {
        self.end_writing().await?;
        let mut stored = self.checkpoint().await?;
        stored.add(self.stored().await?);
        self.write_state().await?;
        Ok(stored)
    }

    /// Writes the last checkpoint of a lane that stops, to the event, even if it has delivered nothing lately: its destination may have
    /// been changed to want event types that have gone by, and those are not to be delivered now.
    pub async fn finish(&mut self) -> Result<(), Lost> {
        self.end_writing().await?;
        let (position, _) = self.intake.checkpoint();
        self.unsaved.stops_at(position);
        self.write_all().await.map(drop)
    }

    /// Returns whether the database knows all that there is to know of the lane.
    pub fn is_written(&self) -> bool {
        self.unsaved.is_nothing() && self.has_no_entries()
    }

    /// Returns whether the database knows all that there is to know of the lane's parked deliveries.
    pub fn has_no_entries(&self) -> bool {
        self.entries.is_empty() && self.writing.is_none()
    }

    /// The lane ends if it is lost. If the database failed, it goes on, and says so once.
    pub fn database_failed(&mut self, error: StoreError) -> Result<(), Lost> {
        let is_of_a_right = error.is_of_a_right();
        match error {
            StoreError::Lost(lost) => Err(lost),
            StoreError::Database(error) => {
                let text = format!("{:#}", anyhow::Error::new(error));
                let text = if is_of_a_right { format!("{text}; {RIGHTS}") } else { text };
                let lane = self.row.lane();
                match self.unsaved.failed(&text) {
                    true if is_of_a_right => tracing::error!(%lane, error = text, "cannot write the lane's progress"),
                    true => tracing::warn!(%lane, error = text, "cannot write the lane's progress; trying again"),
                    false => {}
                }
                Ok(())
            }
        }
    }

    /// Returns whether there is anything to write. It is asked before the checkpoint is put together, because that is the slower the more
    /// holes the log has.
    fn is_due(&mut self) -> bool {
        let (position, is_over) = (self.intake.position(), self.intake.is_over());
        if !self.written_holes.is_empty() && !Arc::ptr_eq(&self.written_holes, &self.intake.holes()) {
            self.unsaved.holes_closed();
        }
        let patience = || self.row.patience(&self.intake.holes());
        !self.entries.is_empty() || self.unsaved.is_due(Instant::now(), position, is_over, patience)
    }

    fn start_writing(&mut self) {
        let (position, pending) = self.intake.checkpoint();
        self.written_holes = Arc::clone(&pending.undecided);
        let pending = self.row.express(&pending);
        let checkpoint = self.unsaved.begin(position, pending, self.intake.is_over());
        let joins = !checkpoint.is_over && !self.unsaved.database_is_away();
        let entries = (mem::take(&mut self.entries), self.intake.weight_of_parked());
        self.writing.start(self.row.clone(), checkpoint, entries, joins);
    }

    /// Waits for the write that is under way, if there is one.
    async fn end_writing(&mut self) -> Result<(), Lost> {
        let Some(EndedWrite { checkpoint, entries, weight, stored }) = self.writing.take().await else { return Ok(()) };
        self.entries.put_before(entries);
        match stored {
            Ok(stored) => {
                self.intake.parked_are_written(weight);
                self.unsaved.saved(&checkpoint, Instant::now());
                self.stored.add(stored);
                Ok(())
            }
            Err(error) => self.database_failed(error),
        }
    }

    /// Takes what was changed in the ledger. An entity of which a later event waits to be parked is not free.
    fn take_stored(&mut self) -> Stored {
        let mut stored = mem::take(&mut self.stored);
        if !stored.released.is_empty() && !self.entries.parked.is_empty() {
            let parks = self.entries.parked.iter().filter(|it| it.fate != Fate::Dead).map(|it| &it.event.entity);
            let parks: HashSet<&Entity> = parks.collect();
            stored.released.retain(|entity| !parks.contains(entity));
        }
        stored
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
