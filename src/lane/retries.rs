//! Reads the parked deliveries of a lane out of the ledger when they are due, a page ahead of those that it tries. In: the time of the next one,
//! and the news that somebody else has changed the ledger. Out: deliveries to try, each once, and the entities of which nothing is parked any
//! more. It never decides what becomes of a delivery.

pub(super) mod in_hand;

use std::collections::HashSet;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio_util::task::AbortOnDropHandle;

use crate::destination::LaneName;
use crate::event::Entity;
use crate::feed::memory::LaneMemory;
use crate::lane::progress::Progress;
use crate::lane::progress::writing::Stored;
use crate::lane::retries::in_hand::AHEAD;
use crate::lane::retries::in_hand::InHand;
use crate::lane::store::error::Lost;
use crate::lane::store::error::StoreError;
use crate::lane::store::row::LaneRow;
use crate::ledger::Parked;
use crate::ledger::due;
use crate::ledger::due::Page;
use crate::ledger::due::Walk;
use crate::router::Route;
use crate::settings::Order;

/// The parked deliveries of one lane, as far as it has to do with them now. The lane itself keeps the queue of those that are due.
#[derive(Debug)]
pub(super) struct Retries {
    /// Which deliveries the lane may make.
    route: Route<LaneName>,
    /// A delivery was found that is not for the destination any more: somebody has made it due by hand.
    has_unwanted: bool,
    /// The deliveries that are queued, being tried or not yet written down as settled. They are not loaded again.
    in_hand: InHand,
    /// Where the next page begins.
    walk: Walk,
    /// The entities of which the walk has passed a delivery, because an earlier one was in hand. What comes of them later in the walk is passed
    /// as well, so that it does not overtake.
    passed: HashSet<Entity>,
    /// The page that is being read. Reading goes on while the lane tries the deliveries of the one before.
    reading: Option<AbortOnDropHandle<Read>>,
    /// The page that has been read.
    page: Option<Read>,
    /// When to look into the ledger again; none while nothing in it has a time.
    next_load: Option<Instant>,
    /// Something was written while a walk was under way, so that what it has passed may be due once more.
    walks_again: bool,
    /// Counts how often somebody other than a lane has changed the ledger.
    changes: watch::Receiver<u64>,
    /// The ledger was changed and has not been loaded since.
    is_changed: bool,
    /// When to look for a delivery to probe with again, after none was found.
    next_probe_load: Instant,
    /// The deliveries that were tried as probes before their time, so that each gets its turn.
    probed: Vec<i64>,
}

type Read = Result<Page, StoreError>;

/// The pause after the database did not answer.
const LOAD_AGAIN: Duration = Duration::from_secs(1);
/// The pause after the ledger had nothing to probe with. Whoever parks a delivery or changes the ledger makes the lane look anyway.
const PROBE_AGAIN: Duration = Duration::from_secs(60);
/// As many deliveries take turns as probes.
const PROBES: usize = 32;

impl Retries {
    /// The first load is due at once if an earlier run has left something, as `has_parked` says. Thousands of lanes that start together ask
    /// nothing if there is nothing.
    pub(super) fn new(
        route: Route<LaneName>,
        changes: watch::Receiver<u64>,
        order: Order,
        memory: Arc<LaneMemory>,
        has_parked: bool,
    ) -> Retries {
        let now = Instant::now();
        Retries {
            route,
            has_unwanted: false,
            in_hand: InHand::new(order, memory),
            walk: Walk::default(),
            passed: HashSet::new(),
            reading: None,
            page: None,
            next_load: has_parked.then_some(now),
            walks_again: false,
            changes,
            is_changed: false,
            next_probe_load: now,
            probed: Vec::new(),
        }
    }

    /// Returns whether [`Retries::load`] has something to do now. `queued` says how many deliveries wait with the lane, and `most` how many
    /// it may have in hand.
    pub(super) fn are_due(&self, queued: usize, most: usize) -> bool {
        let is_read = self.page.is_some() || self.reading.as_ref().is_some_and(AbortOnDropHandle::is_finished);
        is_read
            || self.is_changed && self.next_load.is_none()
            || self.next_read(queued, most).is_some_and(|next| next <= Instant::now())
    }

    /// Waits until [`Retries::load`] has something to do. Dropping the future loses nothing.
    pub(super) async fn until_due(&mut self, queued: usize, most: usize) {
        let next = self.next_read(queued, most);
        let Retries { changes, is_changed, reading, page, .. } = self;
        tokio::select! {
            Ok(()) = changes.changed() => *is_changed = true,
            read = ended(reading), if reading.is_some() => (*page, *reading) = (Some(read), None),
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            else => std::future::pending().await,
        }
    }

    /// Returns when the next page is to be read, if there is room for one.
    fn next_read(&self, queued: usize, most: usize) -> Option<Instant> {
        let has_room = self.is_changed || self.in_hand.wants(queued, most);
        self.next_load.filter(|_| self.reading.is_none() && has_room)
    }

    /// Takes what was read into `due`, and starts to read the next page if there is room for it: the lane may have `most` deliveries in hand.
    /// `held` gives the entities that the lane holds back; the ones of them of which nothing is parked any more are returned.
    pub(super) async fn load(
        &mut self,
        progress: &mut Progress,
        due: &mut VecDeque<Parked>,
        held: impl Fn() -> Vec<Entity>,
        most: usize,
    ) -> Result<Vec<Entity>, Lost> {
        if self.is_changed {
            return self.start_over(progress, due, held()).await;
        }
        if self.reading.as_ref().is_some_and(AbortOnDropHandle::is_finished)
            && let Some(reading) = self.reading.take()
        {
            self.page = Some(joined(reading.await));
        }
        if let Some(read) = self.page.take() {
            self.in_hand.has_read();
            match read {
                Ok(page) => self.take_in(page, due),
                Err(error) => {
                    progress.database_failed(error)?;
                    self.next_load = Some(Instant::now() + LOAD_AGAIN);
                }
            }
            if self.next_load.is_none() && self.in_hand.is_empty() && progress.has_no_entries() && !held().is_empty() {
                // Entities are held, and nothing will ever be due: somebody has deleted what they wait for, and told nobody.
                (self.is_changed, self.next_load) = (true, Some(Instant::now()));
            }
        }
        if self.next_read(due.len(), most).is_some_and(|next| next <= Instant::now()) {
            self.start_reading(progress.row(), most);
        }
        Ok(Vec::new())
    }

    /// Forgets what was loaded, because somebody has changed the ledger: it may have been discarded. Returns the entities of `held` of which
    /// nothing is parked any more.
    async fn start_over(
        &mut self,
        progress: &mut Progress,
        due: &mut VecDeque<Parked>,
        held: Vec<Entity>,
    ) -> Result<Vec<Entity>, Lost> {
        self.forget(due, 0);
        // The ledger can only say which entities it holds back once everything is written into it.
        let stored = progress.write_all().await?;
        let mut released = self.written(stored);
        if !progress.has_no_entries() {
            self.next_load = Some(Instant::now() + LOAD_AGAIN);
            return Ok(released);
        }
        let has_nothing = held.is_empty() && !self.has_unwanted;
        let parked = if has_nothing { Ok(Vec::new()) } else { progress.row().resume_held(&self.route).await };
        match parked {
            Ok(parked) => {
                let (parked, tried): (HashSet<Entity>, HashSet<Entity>) =
                    (parked.into_iter().collect(), self.in_hand.entities());
                released.extend(held.into_iter().filter(|entity| !parked.contains(entity) && !tried.contains(entity)));
                (self.is_changed, self.has_unwanted, self.next_load) = (false, false, Some(Instant::now()));
            }
            Err(error) => {
                progress.database_failed(error)?;
                self.next_load = Some(Instant::now() + LOAD_AGAIN);
            }
        }
        Ok(released)
    }

    /// Gives up deliveries that wait in `due`, because the destination is away and is to take no memory from others. They are read again.
    pub(super) fn give_up(&mut self, due: &mut VecDeque<Parked>) {
        let kept = self.in_hand.kept_while_away(due.iter());
        if due.len() > kept || self.reading.is_some() || self.page.is_some() {
            self.forget(due, kept);
        }
    }

    /// Forgets what waits in `due`, but for the first `kept`, and what is being read.
    fn forget(&mut self, due: &mut VecDeque<Parked>, kept: usize) {
        for parked in due.drain(kept.min(due.len())..) {
            self.in_hand.remove(parked.id);
        }
        self.in_hand.has_read();
        (self.reading, self.page) = (None, None);
        (self.next_load, self.walks_again) = (Some(Instant::now()), false);
        self.walk_anew();
    }

    fn start_reading(&mut self, row: &LaneRow, most: usize) {
        let Some(room) = self.in_hand.reserve(most) else { return };
        self.next_load = None;
        let reading = tokio::spawn(read(row.clone(), self.walk, self.in_hand.ids(), room));
        self.reading = Some(AbortOnDropHandle::new(reading));
    }

    fn take_in(&mut self, Page { found, walk, next }: Page, due: &mut VecDeque<Parked>) {
        for parked in found {
            if self.is_unwanted(&parked) {
                continue;
            }
            // Where two of one entity are due, the second is found again when the first is settled.
            if !self.passed.contains(&parked.event.entity) && self.in_hand.insert(&parked) {
                due.push_back(parked);
            } else if self.in_hand.keeps_order() {
                self.passed.insert(parked.event.entity.clone());
            }
        }
        self.walk = walk;
        let mut wait = next;
        if self.passed.len() > AHEAD {
            // They are found again after the next write. Something is in hand, or was written since.
            (self.walk, wait) = (walk.anew(), None);
        }
        if !self.walk.has_begun() {
            self.walk_anew();
            if std::mem::take(&mut self.walks_again) {
                wait = Some(Duration::ZERO);
            }
        }
        // Something may have been written while the page was read.
        let next = wait.map(|wait| Instant::now() + wait);
        self.next_load = [self.next_load, next].into_iter().flatten().min();
    }

    /// Returns whether a delivery is not for the destination any more. Then it is not made, and the ledger is told.
    fn is_unwanted(&mut self, parked: &Parked) -> bool {
        let is_unwanted = !self.route.still_takes(&parked.event);
        (self.has_unwanted, self.is_changed) = (self.has_unwanted || is_unwanted, self.is_changed || is_unwanted);
        is_unwanted
    }

    fn walk_anew(&mut self) {
        self.walk = self.walk.anew();
        self.passed.clear();
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
                if self.is_unwanted(&parked) {
                    self.next_load = Some(now);
                } else if self.in_hand.insert(&parked) {
                    due.push_back(parked);
                }
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
            let but: Vec<i64> = self.in_hand.ids().into_iter().chain(self.probed.iter().copied()).collect();
            let found = due::next_but(&**client, row.lane(), &but).await?;
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

    /// Starts to write the lane's progress down. Returns the entities of which nothing is parked any more.
    pub(super) async fn checkpoint(&mut self, progress: &mut Progress) -> Result<Vec<Entity>, Lost> {
        let stored = progress.checkpoint().await?;
        Ok(self.written(stored))
    }

    /// Writes down at once how attempts ended, because the next delivery of an entity is only due after that, and the clock's next tick would
    /// be late. What ends while something is written goes with the next write. Returns the entities of which nothing is parked any more.
    pub(super) async fn write_settled(&mut self, progress: &mut Progress) -> Result<Vec<Entity>, Lost> {
        if progress.writing.is_under_way() {
            return Ok(Vec::new());
        }
        let stored = progress.stored().await?;
        let mut released = self.written(stored);
        if !progress.entries.settled.is_empty() && progress.may_write() {
            released.extend(Box::pin(self.checkpoint(progress)).await?);
        }
        Ok(released)
    }

    /// Takes note of what was written, and returns the entities of which nothing is parked any more.
    fn written(&mut self, stored: Stored) -> Vec<Entity> {
        if stored.has_parked || !stored.settled.is_empty() {
            self.next_load = Some(Instant::now());
            self.walks_again = self.walk.has_begun() || self.reading.is_some() || self.page.is_some();
        }
        for id in stored.settled {
            self.in_hand.remove(id);
        }
        stored.released
    }
}

async fn ended(reading: &mut Option<AbortOnDropHandle<Read>>) -> Read {
    match reading {
        Some(reading) => joined(reading.await),
        None => std::future::pending().await,
    }
}

fn joined(read: Result<Read, tokio::task::JoinError>) -> Read {
    read.expect("reading the ledger neither panics nor is aborted")
}

async fn read(row: LaneRow, walk: Walk, in_hand: Vec<i64>, room: (usize, usize)) -> Read {
    let client = row.pool().get().await?;
    Ok(walk.page(&client, row.lane(), &in_hand, room).await?)
}
