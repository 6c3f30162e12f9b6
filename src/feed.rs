//! The feed: an inbox for each lane. In: the tail's batches, and the lanes' routes. Out: to a lane that keeps up, its own events in the
//! tail's order; to one that does not, the ids that it has to read from the log for itself. It never waits for a lane, and what it holds is
//! bounded: the recent events in bytes, an inbox in runs.

pub mod account;
mod horizon;
mod inbox;
pub mod memory;

use std::collections::HashMap;
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

pub use horizon::Horizon;

use crate::destination::LaneName;
use crate::event::Event;
use crate::feed::inbox::Inbox;
use crate::feed::memory::LaneMemory;
use crate::log::recent::RecentEvent;
use crate::log::recent::RecentEvents;
use crate::log::tail::Batch;
use crate::ranges::Ranges;
use crate::router::Route;
use crate::router::Router;

/// An event that a lane takes. Until it is delivered or parked, the lane's cursor keeps `from..=event.id` pending, which includes ids
/// between this event and the lane's last one: to read them again after a crash costs little, and it spares a range for each event.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The event.
    pub event: Arc<Event>,
    /// The lowest id that the cursor keeps pending for it.
    pub from: i64,
}

/// The answer that a lane gets when it pulls.
#[derive(Debug)]
pub enum Pulled {
    /// Its next events, or none when there is nothing new.
    Events(Vec<Taken>),
    /// Its next events, which have waited so long that the lane has to catch up.
    Late(Vec<Taken>),
    /// Nothing, because the next event has this weight, and there is no room for it.
    TooLarge(usize),
    /// The lane fell behind. It has to read these ids, up to the horizon, from the log, and then to join again.
    Behind(Horizon, Ranges),
}

/// Shared by the tail, which puts batches in, and all lanes, which take their events out.
#[derive(Debug)]
pub struct Feed {
    /// A mutex of the standard library, since nobody holds it across an await.
    state: Mutex<State>,
    horizon: watch::Sender<Horizon>,
    /// The memory for what the lanes have taken.
    memory: Arc<LaneMemory>,
    /// How many lanes catch up.
    catching_up: AtomicUsize,
    started: Instant,
    /// When an event last arrived for a lane that was waiting for one, in milliseconds since `started`; 0 means never.
    last_live: AtomicU64,
}

#[derive(Debug)]
struct State {
    recent: RecentEvents,
    horizon: Horizon,
    router: Router<LaneName>,
    /// The place of each lane among the inboxes.
    places: HashMap<LaneName, usize>,
    /// An event finds the inboxes of its lanes by their places, which costs less than by their names.
    inboxes: Vec<Option<Inbox>>,
    /// The places that are empty.
    free: Vec<usize>,
    /// How many runs wait in all inboxes.
    runs: usize,
}

/// What all lanes together may hold of what they took, beyond the little that each has. It is as much as the recent events take, but no more
/// than this.
const MOST_OF_LANES: usize = 32 << 20;
/// How many recent events a lane may have missed when it joins the stream. They are searched while all other lanes wait.
const MOST_MISSED: u64 = if cfg!(test) { 6 } else { 16_384 };
/// An event that has waited longer than this is late, and its lane catches up.
const LATE_AFTER: Duration = Duration::from_secs(1);
/// For how long after a live event another one is expected.
const LIVE_FOR: Duration = Duration::from_secs(10);

impl Feed {
    /// Creates a feed that keeps `memory` bytes of recent events. It starts where the tail starts.
    pub fn new(memory: usize, position: i64, undecided: Arc<Ranges>) -> Feed {
        let horizon = Horizon { position, undecided, next: 0 };
        let state = State {
            recent: RecentEvents::new(memory),
            horizon: horizon.clone(),
            router: Router::default(),
            places: HashMap::new(),
            inboxes: Vec::new(),
            free: Vec::new(),
            runs: 0,
        };
        Feed {
            state: Mutex::new(state),
            horizon: watch::Sender::new(horizon),
            memory: Arc::new(LaneMemory::new(memory.min(MOST_OF_LANES))),
            catching_up: AtomicUsize::new(0),
            started: Instant::now(),
            last_live: AtomicU64::new(0),
        }
    }

    /// Takes a batch from the tail and puts its events into the inboxes of the lanes that get them.
    pub fn accept(&self, batch: Batch) {
        let mut state = self.state();
        let State { recent, horizon, router, inboxes, runs, .. } = &mut *state;
        let (mut floor, mut last) = (horizon.position, horizon.position);
        let (read_at, mut is_live) = (Instant::now(), false);
        for event in batch.events {
            if event.id > last {
                // A jump is a hole. Its ids are pending as undecided ones, and may be filled and delivered before this event is.
                floor = if event.id == last + 1 { floor } else { event.id - 1 };
                last = event.id;
            }
            let event = RecentEvent { event, floor, read_at };
            for place in router.places(&event.event) {
                if let Some(inbox) = &mut inboxes[*place] {
                    is_live |= inbox.runs.is_empty();
                    let before = inbox.runs.len();
                    inbox.push(recent.next(), &event, horizon, *runs);
                    *runs = *runs + inbox.runs.len() - before;
                }
            }
            recent.push(event);
        }
        *horizon = Horizon { position: batch.position, undecided: batch.undecided, next: recent.next() };
        let now = horizon.clone();
        drop(state);
        if is_live {
            let millis = u64::try_from((read_at - self.started).as_millis()).unwrap_or(u64::MAX);
            self.last_live.store(millis.max(1), Ordering::Relaxed);
        }
        self.horizon.send_replace(now);
    }

    /// Returns how far the tail is, and how to learn of its progress.
    pub fn horizon(&self) -> watch::Receiver<Horizon> {
        self.horizon.subscribe()
    }

    /// Puts a lane into the stream. It must have dealt with every id up to the horizon `seen`; what came since is put into its inbox.
    /// Returns whether the lane is in the stream. It is not if what came since is no longer in memory: then it has to read on, up to a
    /// newer horizon, and to join again.
    pub fn join(&self, route: &Route<LaneName>, wake: &Arc<Notify>, seen: &Horizon) -> bool {
        let mut state = self.state();
        let State { recent, horizon, runs, .. } = &mut *state;
        if seen.next < recent.oldest() || horizon.next - seen.next > MOST_MISSED {
            return false;
        }
        let mut inbox = Inbox::new(Arc::clone(wake));
        for sequence in seen.next..horizon.next {
            if let Some(event) = recent.get(sequence)
                && route.takes(&event.event)
            {
                inbox.push(sequence, event, seen, *runs);
            }
        }
        if inbox.behind.is_some() {
            return false;
        }
        state.remove(&route.lane);
        state.insert(route.clone(), inbox);
        true
    }

    /// Takes a lane out of the stream.
    pub fn leave(&self, lane: &LaneName) {
        self.state().remove(lane);
    }

    /// Returns the memory that the lanes share for what they take.
    pub fn memory(&self) -> &Arc<LaneMemory> {
        &self.memory
    }

    /// Takes a lane out of the stream that cannot get on, and returns what it has to read from the log.
    pub fn fall_behind(&self, lane: &LaneName) -> Option<(Horizon, Ranges)> {
        let mut state = self.state();
        let State { horizon, inboxes, places, runs, .. } = &mut *state;
        let inbox = inboxes[*places.get(lane)?].as_mut()?;
        *runs -= inbox.runs.len();
        let behind = inbox.fall_behind(horizon);
        state.remove(lane);
        Some(behind)
    }

    /// Returns whether more live events are to be expected, because a lane that keeps up had one lately.
    pub fn has_live_events(&self, now: Instant) -> bool {
        let last = self.last_live.load(Ordering::Relaxed);
        last > 0 && now < self.started + Duration::from_millis(last) + LIVE_FOR
    }

    /// Returns how many lanes catch up.
    pub fn catching_up(&self) -> usize {
        self.catching_up.load(Ordering::Relaxed)
    }

    /// Counts a lane that begins to catch up.
    pub fn begin_catching_up(&self) {
        self.catching_up.fetch_add(1, Ordering::Relaxed);
    }

    /// Stops counting a lane that has caught up or has ended.
    pub fn end_catching_up(&self) {
        self.catching_up.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes a lane's next events out of its inbox: at most `most`, and where they are late, at most `late`. They weigh
    /// no more than `room`.
    pub fn pull(&self, lane: &LaneName, most: usize, late: usize, room: usize) -> Pulled {
        let mut state = self.state();
        let State { recent, horizon, inboxes, places, runs, .. } = &mut *state;
        let Some(inbox) = places.get(lane).and_then(|place| inboxes[*place].as_mut()) else {
            return Pulled::Events(Vec::new());
        };
        if inbox.behind.is_some() || inbox.runs.front().is_some_and(|run| run.first < recent.oldest()) {
            *runs -= inbox.runs.len();
            let (horizon, unread) = inbox.fall_behind(horizon);
            state.remove(lane);
            return Pulled::Behind(horizon, unread);
        }
        let first = inbox.runs.front().and_then(|run| recent.get(run.first));
        let is_late = first.is_some_and(|first| first.read_at.elapsed() > LATE_AFTER);
        let most = if is_late { most.min(late) } else { most };
        let (mut events, mut weight) = (Vec::new(), 0);
        'taking: while events.len() < most
            && let Some(run) = inbox.runs.front_mut()
        {
            events.reserve(most.min(run.count as usize));
            while events.len() < most && run.count > 0 {
                let next = recent.get(run.first).expect("an inbox whose events were dropped has fallen behind above");
                weight += next.event.weight();
                if weight > room {
                    break 'taking;
                }
                events.push(Taken { event: Arc::clone(&next.event), from: run.from });
                (run.first, run.count, run.from) = (run.first + 1, run.count - 1, next.event.id + 1);
            }
            if run.count == 0 {
                *runs -= 1;
                inbox.runs.pop_front();
            }
        }
        match is_late {
            _ if events.is_empty() && weight > room => Pulled::TooLarge(weight),
            true => Pulled::Late(events),
            false => Pulled::Events(events),
        }
    }

    /// Returns up to where a lane in the stream is, and the ids there that it has not pulled, besides the undecided ones: to put both
    /// together takes long where the log has many holes, and is not done while all others wait. There is none for a lane that is not in
    /// the stream.
    pub fn waiting(&self, lane: &LaneName) -> Option<(Horizon, Ranges)> {
        let state = self.state();
        let inbox = state.inboxes[*state.places.get(lane)?].as_ref()?;
        Some(match &inbox.behind {
            Some(behind) => Clone::clone(behind.as_ref()),
            None => (state.horizon.clone(), inbox.unread()),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the feed")
    }
}

impl State {
    fn insert(&mut self, route: Route<LaneName>, inbox: Inbox) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.inboxes.push(None);
            self.inboxes.len() - 1
        });
        self.runs += inbox.runs.len();
        self.inboxes[place] = Some(inbox);
        self.places.insert(route.lane.clone(), place);
        self.router.add(route, place);
    }

    fn remove(&mut self, lane: &LaneName) {
        if let Some(place) = self.places.remove(lane) {
            self.runs -= self.inboxes[place].take().map_or(0, |inbox| inbox.runs.len());
            self.free.push(place);
            self.router.remove(place);
        }
    }
}

#[cfg(test)]
mod tests;
