//! The feed: what waits for each lane. In: the tail's batches, and the lanes' routes. Out: to each lane its own events, in the tail's
//! order, as long as it keeps up; to one that does not, the place in the log from which to read for itself. It never waits for a
//! lane, and what it holds is bounded: the ring in bytes, an inbox in places.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::destination::LaneName;
use crate::event::Event;
use crate::log::recent::Entry;
use crate::log::recent::Ring;
use crate::log::tail::Batch;
use crate::ranges::Ranges;
use crate::router::Route;
use crate::router::Router;

/// How far the tail is: every id at or below `position` is decided, except `undecided`.
#[derive(Debug, Clone, Default)]
pub struct Horizon {
    /// The largest id read.
    pub position: i64,
    /// The open holes.
    pub undecided: Arc<Ranges>,
    /// The place in the ring that the next event will get.
    end: u64,
}

/// An event for a lane. Until it is done, the lane's cursor keeps `from..=event.id` pending: ids between the lane's events cost a
/// little reading after a crash, and spare a range for each.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The event.
    pub event: Arc<Event>,
    /// The lowest id that the cursor keeps pending for it.
    pub from: i64,
}

/// What a lane finds.
#[derive(Debug)]
pub enum Pulled {
    /// Its next events; none, when there is nothing new.
    Events(Vec<Taken>),
    /// The same, where they have waited long enough that the lane has to catch up.
    Late(Vec<Taken>),
    /// The lane fell behind. It is to read these ids, up to the horizon, from the log, and then to join again.
    Behind(Horizon, Ranges),
}

/// See the module's description.
#[derive(Debug)]
pub struct Feed {
    state: Mutex<State>,
    horizon: watch::Sender<Horizon>,
    catching_up: AtomicUsize,
    born: Instant,
    /// When an event last met a lane that had nothing else to do, in milliseconds from `born`; 0 is never.
    flowed: AtomicU64,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    horizon: Horizon,
    router: Router<LaneName>,
    inboxes: HashMap<LaneName, Inbox>,
}

#[derive(Debug)]
struct Inbox {
    route: Route<LaneName>,
    wake: Arc<Notify>,
    runs: VecDeque<Run>,
    behind: Option<(Horizon, Ranges)>,
}

/// Events of one batch that stand side by side in the ring and are all for this lane: of a burst, as few as a lane that takes everything
/// needs.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// The first one's place in the ring.
    place: u64,
    count: u64,
    /// The lowest id that is pending with them: `from..=last` is.
    from: i64,
    /// The last one's id.
    last: i64,
}

/// Runs that may wait for one lane in memory. Beyond that the lane reads the log.
const INBOX: usize = if cfg!(test) { 4 } else { 2048 };
/// Events of the ring that a lane may have missed when it joins the stream. They are looked through while all others wait.
const MISSED: u64 = if cfg!(test) { 6 } else { 16_384 };
/// An event that waited longer than this is late, and its lane catches up.
const LATE: Duration = Duration::from_secs(1);
/// How long after a live event the next one is reckoned with.
const LULL: Duration = Duration::from_secs(10);

impl Feed {
    /// A feed whose ring holds `memory` bytes. It starts where the tail starts.
    pub fn new(memory: usize, position: i64, undecided: Arc<Ranges>) -> Feed {
        let horizon = Horizon { position, undecided, end: 0 };
        let state = State {
            ring: Ring::new(memory),
            horizon: horizon.clone(),
            router: Router::default(),
            inboxes: HashMap::new(),
        };
        Feed {
            state: Mutex::new(state),
            horizon: watch::Sender::new(horizon),
            catching_up: AtomicUsize::new(0),
            born: Instant::now(),
            flowed: AtomicU64::new(0),
        }
    }

    /// Takes a batch from the tail and puts its events before the lanes that get them.
    pub fn accept(&self, batch: Batch) {
        let mut state = self.state();
        let State { ring, horizon, router, inboxes } = &mut *state;
        let (mut floor, mut last) = (horizon.position, horizon.position);
        let (at, mut flows) = (Instant::now(), false);
        for event in batch.events {
            if event.id > last {
                // A jump is a hole, which is pending by itself, and may be filled and done before this event is.
                floor = if event.id == last + 1 { floor } else { event.id - 1 };
                last = event.id;
            }
            let entry = Entry { event, floor, at };
            for lane in router.lanes(&entry.event) {
                if let Some(inbox) = inboxes.get_mut(lane) {
                    flows |= inbox.runs.is_empty();
                    inbox.push(ring.end(), &entry, horizon);
                }
            }
            ring.push(entry);
        }
        *horizon = Horizon { position: batch.position, undecided: batch.undecided, end: ring.end() };
        let now = horizon.clone();
        drop(state);
        if flows {
            let millis = u64::try_from((at - self.born).as_millis()).unwrap_or(u64::MAX);
            self.flowed.store(millis.max(1), Ordering::Relaxed);
        }
        self.horizon.send_replace(now);
    }

    /// How far the tail is, and how to learn of its progress.
    pub fn horizon(&self) -> watch::Receiver<Horizon> {
        self.horizon.subscribe()
    }

    /// Puts a lane into the stream. It must have dealt with every id up to the horizon `seen`; what came since is put into its inbox.
    /// False, when that is no longer in memory: the lane is to read on, to a newer horizon, and to ask again.
    pub fn join(&self, route: &Route<LaneName>, wake: &Arc<Notify>, seen: &Horizon) -> bool {
        let mut state = self.state();
        let State { ring, horizon, router, inboxes } = &mut *state;
        if seen.end < ring.base() || horizon.end - seen.end > MISSED {
            return false;
        }
        let mut inbox = Inbox { route: route.clone(), wake: Arc::clone(wake), runs: VecDeque::new(), behind: None };
        for place in seen.end..horizon.end {
            if let Some(entry) = ring.get(place)
                && route.takes(&entry.event)
            {
                inbox.push(place, entry, seen);
            }
        }
        if inbox.behind.is_some() {
            return false;
        }
        match inboxes.entry(route.lane.clone()) {
            Slot::Occupied(mut slot) => drop(slot.insert(inbox)),
            Slot::Vacant(slot) => {
                router.add(route.clone());
                slot.insert(inbox);
            }
        }
        true
    }

    /// Takes a lane out of the stream.
    pub fn leave(&self, lane: &LaneName) {
        let mut state = self.state();
        if let Some(inbox) = state.inboxes.remove(lane) {
            state.router.remove(&inbox.route.lane);
        }
    }

    /// Whether live events are about: some lane that keeps up had one lately.
    pub fn is_flowing(&self, now: Instant) -> bool {
        let flowed = self.flowed.load(Ordering::Relaxed);
        flowed > 0 && now < self.born + Duration::from_millis(flowed) + LULL
    }

    /// How many lanes catch up.
    pub fn catching_up(&self) -> usize {
        self.catching_up.load(Ordering::Relaxed)
    }

    /// A lane begins to catch up, or has.
    pub fn catches_up(&self, begins: bool) {
        if begins {
            self.catching_up.fetch_add(1, Ordering::Relaxed);
        } else {
            self.catching_up.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A lane's next events, `most` of them at most; of late ones, `late` at most.
    pub fn pull(&self, lane: &LaneName, most: usize, late: usize) -> Pulled {
        let mut state = self.state();
        let State { ring, horizon, inboxes, router } = &mut *state;
        let Some(inbox) = inboxes.get_mut(lane) else { return Pulled::Events(Vec::new()) };
        if inbox.runs.front().is_some_and(|run| run.place < ring.base()) && inbox.behind.is_none() {
            inbox.fall_behind(horizon);
        }
        if let Some((horizon, unread)) = inbox.behind.take() {
            inboxes.remove(lane);
            router.remove(lane);
            return Pulled::Behind(horizon, unread);
        }
        let first = inbox.runs.front().and_then(|run| ring.get(run.place));
        let is_late = first.is_some_and(|entry| entry.at.elapsed() > LATE);
        let most = if is_late { most.min(late) } else { most };
        let mut events = Vec::new();
        while events.len() < most
            && let Some(run) = inbox.runs.front_mut()
        {
            events.reserve(most.min(run.count as usize));
            while events.len() < most && run.count > 0 {
                let entry = ring.get(run.place).expect("an inbox in front of the ring was sent behind above");
                events.push(Taken { event: Arc::clone(&entry.event), from: run.from });
                (run.place, run.count, run.from) = (run.place + 1, run.count - 1, entry.event.id + 1);
            }
            if run.count == 0 {
                inbox.runs.pop_front();
            }
        }
        if is_late { Pulled::Late(events) } else { Pulled::Events(events) }
    }

    /// The position of a lane in the stream, and the ids at or below it that it has not pulled. None for a lane that is not in it.
    pub fn waiting(&self, lane: &LaneName) -> Option<(i64, Ranges)> {
        let state = self.state();
        let inbox = state.inboxes.get(lane)?;
        Some(match &inbox.behind {
            Some((horizon, unread)) => (horizon.position, unread.clone().union(&horizon.undecided)),
            None => (state.horizon.position, inbox.unread().union(&state.horizon.undecided)),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the feed")
    }
}

impl Inbox {
    /// `before` is the horizon before the batch that the entry belongs to, or what a lane that joins has seen.
    fn push(&mut self, place: u64, entry: &Entry, before: &Horizon) {
        if self.behind.is_some() {
            return;
        }
        let id = entry.event.id;
        let last = self.runs.back().map(|run| run.last);
        let from = if id <= entry.floor { id } else { last.map_or(entry.floor, |last| entry.floor.max(last)) + 1 };
        if let Some(run) = self.runs.back_mut()
            && run.place >= before.end
            && run.place + run.count == place
            && from == run.last + 1
            && id >= from
        {
            (run.count, run.last) = (run.count + 1, id);
            return;
        }
        if self.runs.len() == INBOX {
            while self.runs.back().is_some_and(|run| run.place >= before.end) {
                self.runs.pop_back();
            }
            self.fall_behind(before);
            self.wake.notify_one();
            return;
        }
        if self.runs.is_empty() {
            self.wake.notify_one();
        }
        self.runs.push_back(Run { place, count: 1, from, last: id });
    }

    fn fall_behind(&mut self, horizon: &Horizon) {
        self.behind = Some((horizon.clone(), self.unread()));
        self.runs.clear();
    }

    fn unread(&self) -> Ranges {
        let mut unread = Ranges::default();
        for run in &self.runs {
            unread.insert(run.from, run.last);
        }
        unread
    }
}

#[cfg(test)]
mod tests;
