//! Reads the parked deliveries of a lane out of the ledger when they are due. In: the time of the next one, and the news that somebody
//! else has changed the ledger. Out: deliveries to try, each once, and the entities of which nothing is parked any more. It never
//! decides what becomes of a delivery.

use std::collections::HashMap;
use std::collections::HashSet;
use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::sleep_until;

use crate::event::Entity;
use crate::lane::progress::Progress;
use crate::lane::store::error::Lost;
use crate::lane::store::error::StoreError;
use crate::ledger::Fate;
use crate::ledger::Parked;
use crate::ledger::deliveries;
use crate::settings::Order;

/// The parked deliveries of one lane, as far as it has to do with them now. The lane itself keeps the queue of those that are due.
#[derive(Debug)]
pub(super) struct Retries {
    /// The deliveries that are queued, being tried or not yet written down as settled, each with its entity. They are not loaded again.
    in_hand: HashMap<i64, Entity>,
    /// When to look into the ledger again; none while nothing in it has a time.
    next_load: Option<Instant>,
    /// Counts how often somebody other than a lane has changed the ledger.
    changes: watch::Receiver<u64>,
    /// The ledger was changed and has not been loaded since.
    is_changed: bool,
    /// When to look for a delivery to probe with again, after none was found.
    next_probe_load: Instant,
    /// The deliveries that were tried as probes before their time, so that each gets its turn.
    probed: Vec<i64>,
    order: Order,
}

/// The pause after the database did not answer.
const LOAD_AGAIN: Duration = Duration::from_secs(1);
/// The pause after the ledger had nothing to probe with. Whoever parks a delivery or changes the ledger makes the lane look anyway.
const PROBE_AGAIN: Duration = Duration::from_secs(60);
/// As many deliveries take turns as probes.
const PROBES: usize = 32;

impl Retries {
    /// The first load is due at once if an earlier run has left something, as `has_parked` says. Thousands of lanes that start together ask
    /// nothing if there is nothing.
    pub(super) fn new(changes: watch::Receiver<u64>, order: Order, has_parked: bool) -> Retries {
        let now = Instant::now();
        Retries {
            in_hand: HashMap::new(),
            next_load: has_parked.then_some(now),
            changes,
            is_changed: false,
            next_probe_load: now,
            probed: Vec::new(),
            order,
        }
    }

    /// Returns whether everything that the last load found was tried and only has to be written down.
    pub(super) fn all_tried(&self, progress: &Progress) -> bool {
        !self.in_hand.is_empty() && self.in_hand.len() == progress.entries.settled.len()
    }

    /// Waits until [`Retries::load`] has something to do. Deliveries that are due by the clock are only loaded when the lane has tried
    /// the ones before. Dropping the future loses nothing.
    pub(super) async fn until_next_load(&mut self, nothing_is_due: bool) {
        let next_load = self.next_load.filter(|_| nothing_is_due);
        tokio::select! {
            Ok(()) = self.changes.changed() => self.is_changed = true,
            () = sleep_until(next_load.unwrap_or_else(Instant::now)), if next_load.is_some() => {}
            else => std::future::pending().await,
        }
    }

    /// Loads at most `most` deliveries whose time has come into `due`. `held` gives the entities that the lane holds back; the ones of
    /// them of which nothing is parked any more are returned.
    pub(super) async fn load(
        &mut self,
        progress: &mut Progress,
        due: &mut VecDeque<Parked>,
        held: impl Fn() -> Vec<Entity>,
        most: usize,
    ) -> Result<Vec<Entity>, Lost> {
        let (mut held_back, mut released) = (Vec::new(), Vec::new());
        let was_changed = self.is_changed;
        if was_changed {
            held_back = held();
            // The deliveries that were loaded before may have been discarded since.
            for parked in due.drain(..) {
                self.in_hand.remove(&parked.id);
            }
            // The ledger can only say which entities it holds back once everything is written into it.
            released = self.checkpoint(progress).await?;
            if !progress.entries.is_empty() {
                self.next_load = Some(Instant::now() + LOAD_AGAIN);
                return Ok(released);
            }
        }
        if let Err(error) = self.read(progress, due, &held_back, most, &mut released).await {
            progress.database_failed(error)?;
            self.next_load = Some(Instant::now() + LOAD_AGAIN);
        }
        let has_nothing = self.next_load.is_none() && self.in_hand.is_empty() && progress.entries.parked.is_empty();
        if has_nothing && !was_changed && !held().is_empty() {
            // Entities are held, and nothing will ever be due: somebody has deleted what they wait for, and told nobody.
            (self.is_changed, self.next_load) = (true, Some(Instant::now()));
        }
        Ok(released)
    }

    /// Returns when [`Retries::load_probe`] has something to do for a lane that will have nothing to probe with at this time.
    pub(super) fn probe_load(&self, probe: Option<Instant>) -> Option<Instant> {
        probe.map(|probe| probe.max(self.next_probe_load))
    }

    /// Loads a delivery into `due` although its time has not come, for a lane that only probes and has nothing else to probe with. If nothing
    /// of the lane is parked any more, somebody has deleted it, and [`Retries::load`] has to look at the ledger again.
    pub(super) async fn load_probe(&mut self, progress: &mut Progress, due: &mut VecDeque<Parked>) -> Result<(), Lost> {
        let now = Instant::now();
        match self.read_probe(progress).await {
            Ok(Some(parked)) => {
                self.in_hand.insert(parked.id, parked.event.entity.clone());
                due.push_back(parked);
            }
            Ok(None) => {
                (self.is_changed, self.next_load) = (true, Some(now));
                self.next_probe_load = now + PROBE_AGAIN;
            }
            Err(error) => {
                progress.database_failed(error)?;
                self.next_probe_load = now + LOAD_AGAIN;
            }
        }
        Ok(())
    }

    async fn read_probe(&mut self, progress: &Progress) -> Result<Option<Parked>, StoreError> {
        let row = progress.row();
        let client = row.pool().get().await?;
        if self.probed.len() >= PROBES {
            self.probed.clear();
        }
        loop {
            let but: Vec<i64> = self.in_hand.keys().chain(&self.probed).copied().collect();
            let found = deliveries::next_but(&**client, row.lane(), &but).await?;
            match &found {
                Some(parked) => self.probed.push(parked.id),
                // All had their turn.
                None if !self.probed.is_empty() => {
                    self.probed.clear();
                    continue;
                }
                None => {}
            }
            return Ok(found);
        }
    }

    async fn read(
        &mut self,
        progress: &Progress,
        due: &mut VecDeque<Parked>,
        held: &[Entity],
        most: usize,
        released: &mut Vec<Entity>,
    ) -> Result<(), StoreError> {
        let row = progress.row();
        if self.is_changed && !held.is_empty() {
            let parked: HashSet<Entity> = row.resume_held().await?.into_iter().collect();
            let is_tried = |entity: &&Entity| self.in_hand.values().any(|other| other == *entity);
            released.extend(held.iter().filter(|entity| !parked.contains(*entity) && !is_tried(entity)).cloned());
        }
        self.is_changed = false;
        let in_hand: Vec<i64> = self.in_hand.keys().copied().collect();
        let client = row.pool().get().await?;
        let (found, next) = deliveries::due(&**client, row.lane(), &in_hand, most).await?;
        for parked in found {
            // Where two of one entity are due, the second is found again when the first is settled.
            if self.order == Order::None || !self.in_hand.values().any(|entity| *entity == parked.event.entity) {
                self.in_hand.insert(parked.id, parked.event.entity.clone());
                due.push_back(parked);
            }
        }
        self.next_load = next.map(|wait| Instant::now() + wait);
        Ok(())
    }

    /// Writes the lane's progress down. Returns the entities of which nothing is parked any more.
    pub(super) async fn checkpoint(&mut self, progress: &mut Progress) -> Result<Vec<Entity>, Lost> {
        let settled: Vec<i64> = progress.entries.settled.iter().map(|it| it.id).collect();
        let parks = progress.entries.parked.iter().any(|it| it.fate != Fate::Dead);
        let released = progress.checkpoint().await?;
        if progress.entries.is_empty() {
            if parks || !settled.is_empty() {
                self.next_load = Some(Instant::now());
            }
            for id in settled {
                self.in_hand.remove(&id);
            }
        }
        Ok(released)
    }
}
