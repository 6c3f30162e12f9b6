//! The write of a lane's progress that is under way. In: a checkpoint, with what the lane parks and settles. Out: how it ended. The lane goes
//! on meanwhile: all lanes share the pool of connections, and a commit waits for the disk. There is never more than one, because a later
//! cursor must not be overtaken by an earlier one.

use std::future::pending;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::event::Entity;
use crate::lane::store::error::StoreError;
use crate::lane::store::row::Checkpoint;
use crate::lane::store::row::LaneRow;
use crate::ledger::Entries;
use crate::ledger::Fate;

/// A write that is under way, or has ended and was not looked at, or none.
#[derive(Debug, Default)]
pub struct Writing(Option<Write>);

#[derive(Debug)]
struct Write {
    task: Task,
    since: Instant,
    /// How many deliveries it parks.
    parks: usize,
}

#[derive(Debug)]
enum Task {
    UnderWay(JoinHandle<Ended>),
    Ended(Box<Ended>),
}

/// A write that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) checkpoint: Checkpoint,
    /// What was not written: nothing, or after an error all of it.
    pub(super) entries: Entries,
    /// The weight of what was to be parked.
    pub(super) weight: usize,
    /// What has changed in the ledger.
    pub(super) stored: Result<Stored, StoreError>,
}

/// What the writes that have ended have changed in the ledger.
#[derive(Debug, Default)]
pub struct Stored {
    /// The entities of which nothing is parked any more.
    pub released: Vec<Entity>,
    /// The deliveries whose attempts are written down.
    pub settled: Vec<i64>,
    /// Whether something was parked that is not dead.
    pub has_parked: bool,
}

/// How long a write may take before the lane takes nothing new. It is longer than the pauses that the writer of cursors makes.
const SLOW: Duration = Duration::from_secs(3);

impl Writing {
    /// Starts a write; there must be no other. A cursor that is written alone goes with those of other lanes if it `joins` them.
    pub(super) fn start(
        &mut self,
        row: LaneRow,
        checkpoint: Checkpoint,
        (mut entries, weight): (Entries, usize),
        joins: bool,
    ) {
        let parks = entries.parked.len();
        let task = tokio::spawn(async move {
            let stored = write(&row, &checkpoint, &mut entries, joins).await;
            Ended { checkpoint, entries, weight, stored }
        });
        self.0 = Some(Write { task: Task::UnderWay(task), since: Instant::now(), parks });
    }

    /// Waits until the write has ended; there may be none, and then it waits for ever. Dropping the future loses nothing.
    pub async fn ended(&mut self) {
        match &mut self.0 {
            Some(write) => write.end().await,
            None => pending().await,
        }
    }

    /// Waits until the write has ended, if there is one, and takes it out.
    pub(super) async fn take(&mut self) -> Option<Ended> {
        self.0.as_mut()?.end().await;
        match self.0.take()?.task {
            Task::Ended(ended) => Some(*ended),
            Task::UnderWay(_) => None,
        }
    }

    /// Returns whether there is one that has not ended.
    pub fn is_under_way(&self) -> bool {
        let is_under_way = |task: &Task| matches!(task, Task::UnderWay(task) if !task.is_finished());
        self.0.as_ref().is_some_and(|write| is_under_way(&write.task))
    }

    /// Returns whether there is none.
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Returns whether it takes long.
    pub(super) fn is_slow(&self) -> bool {
        self.0.as_ref().is_some_and(|write| write.since.elapsed() > SLOW) && self.is_under_way()
    }

    /// Returns how many deliveries it parks.
    pub(super) fn parks(&self) -> usize {
        self.0.as_ref().map_or(0, |write| write.parks)
    }
}

impl Write {
    async fn end(&mut self) {
        if let Task::UnderWay(task) = &mut self.task {
            let ended = task.await.expect("writing a lane's progress neither panics nor is aborted");
            self.task = Task::Ended(Box::new(ended));
        }
    }
}

impl Stored {
    /// Returns whether nothing has changed.
    pub(super) fn is_empty(&self) -> bool {
        self.released.is_empty() && self.settled.is_empty() && !self.has_parked
    }

    /// Adds what a later write has changed.
    pub(super) fn add(&mut self, later: Stored) {
        self.released.extend(later.released);
        self.settled.extend(later.settled);
        self.has_parked |= later.has_parked;
    }
}

async fn write(
    row: &LaneRow,
    checkpoint: &Checkpoint,
    entries: &mut Entries,
    joins: bool,
) -> Result<Stored, StoreError> {
    if entries.is_empty() && joins {
        return row.write_cursor(checkpoint).await.map(|()| Stored::default());
    }
    let settled = entries.settled.iter().map(|it| it.id).collect();
    let has_parked = entries.parked.iter().any(|it| it.fate != Fate::Dead);
    let released = row.write_checkpoint(checkpoint, entries).await?;
    Ok(Stored { released, settled, has_parked })
}
