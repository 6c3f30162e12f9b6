//! The parked deliveries of a lane that are due. In: the ledger, when a time in it has come, or when somebody else has changed it. Out:
//! deliveries to try, each once, and the entities that nothing holds back any more. It never says how an attempt ended.

use std::collections::HashMap;
use std::collections::HashSet;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::sleep_until;

use crate::event::Entity;
use crate::event::Event;
use crate::lane::progress::Progress;
use crate::lane::store::error::Lost;
use crate::lane::store::error::StoreError;
use crate::ledger::Fate;
use crate::ledger::Parked;
use crate::ledger::Settlement;
use crate::ledger::deliveries;
use crate::settings::Order;

/// What a lane tries to deliver.
#[derive(Debug)]
pub(super) enum Job {
    /// An event out of the log.
    Fresh(Arc<Event>),
    /// A delivery out of the ledger.
    Parked(Parked),
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Retries {
    due: VecDeque<Parked>,
    /// Those that are in `due`, being tried, or not yet written as settled, and their entities.
    in_hand: HashMap<i64, Entity>,
    /// When to look for due deliveries. None while nothing is parked.
    look: Option<Instant>,
    /// Counts the times when somebody else changed the ledger.
    changes: watch::Receiver<u64>,
    /// It was changed, and not looked at since.
    is_changed: bool,
    order: Order,
}

/// How soon to look again when the database did not answer.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Job {
    pub(super) fn event(&self) -> &Arc<Event> {
        match self {
            Job::Fresh(event) => event,
            Job::Parked(parked) => &parked.event,
        }
    }

    /// Whether somebody asked for it again.
    pub(super) fn is_replayed(&self) -> bool {
        matches!(self, Job::Parked(parked) if parked.replayed)
    }

    /// Which attempt the next one is, from 1.
    pub(super) fn number(&self) -> i32 {
        match self {
            Job::Fresh(_) => 1,
            Job::Parked(parked) => parked.attempts + 1,
        }
    }
}

impl Retries {
    /// Looks at once: an earlier run may have left something.
    pub(super) fn new(changes: watch::Receiver<u64>, order: Order) -> Retries {
        Retries {
            due: VecDeque::new(),
            in_hand: HashMap::new(),
            look: Some(Instant::now()),
            changes,
            is_changed: false,
            order,
        }
    }

    /// Whether there is nothing to take.
    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// The next delivery to try.
    pub(super) fn pop(&mut self) -> Option<Parked> {
        self.due.pop_front()
    }

    /// Puts one that was not really tried back.
    pub(super) fn put_back(&mut self, parked: Parked) {
        self.due.push_front(parked);
    }

    /// Whether all that was found by the last look was tried, and has to be written down.
    pub(super) fn is_settled(&self, progress: &Progress) -> bool {
        !self.in_hand.is_empty() && self.in_hand.len() == progress.entries.settled.len()
    }

    /// Waits until it is time to look into the ledger. Dropping the future loses nothing.
    pub(super) async fn time_to_look(&mut self) {
        let look = self.look.filter(|_| self.due.is_empty());
        tokio::select! {
            Ok(()) = self.changes.changed() => self.is_changed = true,
            () = sleep_until(look.unwrap_or_else(Instant::now)), if look.is_some() => {}
            else => std::future::pending().await,
        }
    }

    /// Looks into the ledger for at most so many that are due. `held` are the entities that the lane holds back; those of them that
    /// nothing holds back any more come back.
    pub(super) async fn look(
        &mut self,
        progress: &mut Progress,
        held: impl FnOnce() -> Vec<Entity>,
        most: usize,
    ) -> Result<Vec<Entity>, Lost> {
        let (mut held_back, mut free) = (Vec::new(), Vec::new());
        if self.is_changed {
            held_back = held();
            // What was read before may have been discarded since.
            for parked in self.due.drain(..) {
                self.in_hand.remove(&parked.id);
            }
            // What the ledger holds back is only known once it has everything.
            free = self.checkpoint(progress).await?;
            if !progress.entries.is_empty() {
                self.look = Some(Instant::now() + LOOK_AGAIN);
                return Ok(free);
            }
        }
        if let Err(error) = self.read(progress, &held_back, most, &mut free).await {
            progress.database_failed(error)?;
            self.look = Some(Instant::now() + LOOK_AGAIN);
        }
        Ok(free)
    }

    async fn read(
        &mut self,
        progress: &Progress,
        held: &[Entity],
        most: usize,
        free: &mut Vec<Entity>,
    ) -> Result<(), StoreError> {
        let row = progress.row();
        if self.is_changed && !held.is_empty() {
            let parked: HashSet<Entity> = row.resume_held().await?.into_iter().collect();
            let is_tried = |entity: &&Entity| self.in_hand.values().any(|other| other == *entity);
            free.extend(held.iter().filter(|entity| !parked.contains(*entity) && !is_tried(entity)).cloned());
        }
        self.is_changed = false;
        let in_hand: Vec<i64> = self.in_hand.keys().copied().collect();
        let client = row.pool().get().await?;
        let (due, next) = deliveries::due(&**client, row.lane(), &in_hand, most).await?;
        for parked in due {
            // Of two of an entity, the second is found again when the first is settled.
            if self.order == Order::None || !self.in_hand.values().any(|entity| *entity == parked.event.entity) {
                self.in_hand.insert(parked.id, parked.event.entity.clone());
                self.due.push_back(parked);
            }
        }
        self.look = next.map(|wait| Instant::now() + wait);
        Ok(())
    }

    /// Writes the lane's progress down. Returns the entities that are free again.
    pub(super) async fn checkpoint(&mut self, progress: &mut Progress) -> Result<Vec<Entity>, Lost> {
        let settled: Vec<i64> = progress.entries.settled.iter().map(|it| it.id).collect();
        let parks = progress.entries.parked.iter().any(|it| it.fate != Fate::Dead);
        let free = progress.checkpoint().await?;
        if progress.entries.is_empty() {
            if parks || !settled.is_empty() {
                self.look = Some(Instant::now());
            }
            for id in settled {
                self.in_hand.remove(&id);
            }
        }
        Ok(free)
    }
}

/// How an attempt at a parked delivery ended; without a fate it was delivered.
pub(super) fn settlement(parked: &Parked, fate: Option<Fate>, attempts: i32, reason: String) -> Settlement {
    Settlement { id: parked.id, entity: parked.event.entity.clone(), fate, attempts, reason }
}
