//! Takes in a lane's events. In: the feed while the lane keeps up; the log itself after a start, and while the lane has fallen behind. Out:
//! the lane's events, each of them once, in an order that keeps each entity's, and the cursor for the checkpoint. It never delivers.

mod log_pages;
mod room;

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio::time::sleep_until;

use crate::destination::LaneName;
use crate::event::Event;
use crate::feed::Feed;
use crate::feed::Horizon;
use crate::feed::Pulled;
use crate::feed::Taken;
use crate::lane::catch_up::CatchUpAllowance;
use crate::lane::intake::log_pages::LogPages;
use crate::lane::intake::log_pages::with_pending;
use crate::lane::intake::room::Room;
use crate::lane::store::cursor::Cursor;
use crate::lane::store::shared_holes::Pending;
use crate::log::reader::Reader;
use crate::ranges::Ranges;
use crate::router::EventPattern;
use crate::router::Route;

/// Where a lane's events come from.
#[derive(Debug)]
pub struct Intake {
    feed: Arc<Feed>,
    route: Route<LaneName>,
    phase: Phase,
    log: LogPages,
    /// Events that were read from the log and are not handed out yet.
    read: VecDeque<Taken>,
    allowance: CatchUpAllowance,
    room: Room,
    cursor: Cursor,
    /// Woken by the feed when there is something for the lane.
    wake: Arc<Notify>,
    /// Ids that are done by the stored cursor, although this daemon's tail has not decided them yet: another daemon's tail was further.
    /// Their events are not taken again when the feed brings them.
    already_done: Ranges,
    /// Only in a replay: the types of the events that are delivered again.
    replayed: Option<Vec<EventPattern>>,
}

/// The phases of a lane, from its start to the live events. A lane that falls behind goes back to `CatchingUp`; a replay never leaves
/// it.
#[derive(Debug)]
enum Phase {
    /// The lane waits until the tail is where the stored cursor is: the tail that it was stored by may have been further.
    AwaitingTail {
        /// The stored cursor: all ids at or below `position` are done, except those in `pending`.
        position: i64,
        pending: Ranges,
    },
    /// The lane reads the log.
    CatchingUp {
        /// How far the lane reads: up to here nothing comes from the feed.
        horizon: Horizon,
        /// The decided ids up to there that it has not read yet.
        unread: Ranges,
    },
    /// The lane gets its events from the feed.
    Live,
}

impl Intake {
    /// Creates an intake that goes on from a stored cursor.
    pub fn new(feed: Arc<Feed>, route: Route<LaneName>, reader: Reader, position: i64, pending: Ranges) -> Intake {
        let allowance = CatchUpAllowance::new(Arc::clone(&feed));
        let room = Room::new(Arc::clone(feed.memory()));
        Intake {
            feed,
            route,
            phase: Phase::AwaitingTail { position, pending },
            log: LogPages::new(reader),
            read: VecDeque::new(),
            allowance,
            room,
            cursor: Cursor::default(),
            wake: Arc::default(),
            already_done: Ranges::default(),
            replayed: None,
        }
    }

    /// Makes it the intake of a replay: what is pending is read, as far as it is of these types, and nothing else.
    pub fn for_replay(mut self, events: Vec<EventPattern>) -> Intake {
        if let Phase::AwaitingTail { position, pending } = &mut self.phase {
            let mut horizon = Horizon::default();
            horizon.position = *position;
            self.phase = Phase::CatchingUp { horizon, unread: std::mem::take(pending) };
        }
        self.replayed = Some(events);
        self
    }

    /// Returns whether this is a replay, and the lane is done with all of it.
    pub fn is_over(&self) -> bool {
        let is_read = matches!(&self.phase, Phase::CatchingUp { unread, .. } if unread.is_empty());
        self.replayed.is_some() && is_read && self.cursor.is_empty()
    }

    /// Returns the next events: at least one, and `most` at most. Dropping the future loses nothing.
    pub async fn next(&mut self, most: usize) -> Vec<Arc<Event>> {
        loop {
            if !self.read.is_empty() {
                return self.hand_out(most).await;
            }
            self.room.wait().await;
            match &self.phase {
                Phase::AwaitingTail { .. } => self.await_tail().await,
                Phase::CatchingUp { unread, .. } if !unread.is_empty() => self.read_page().await,
                Phase::CatchingUp { .. } if self.replayed.is_some() => std::future::pending().await,
                Phase::CatchingUp { .. } => self.join_feed(),
                Phase::Live => {
                    let events = self.pull(most).await;
                    if !events.is_empty() {
                        return events;
                    }
                }
            }
        }
    }

    /// Waits for the tail, and finds out what to read from the log.
    async fn await_tail(&mut self) {
        let Phase::AwaitingTail { position, pending } = &self.phase else { return };
        let mut tail = self.feed.horizon();
        let reached = tail.wait_for(|horizon| horizon.position >= *position).await;
        let horizon = reached.expect("the feed outlives its lanes").clone();
        let since = Ranges::span(*position + 1, horizon.position);
        let unread = since.union(pending).without(&horizon.undecided);
        self.already_done = Ranges::clone(&horizon.undecided).without(pending);
        self.already_done.remove(*position + 1, i64::MAX);
        self.phase = Phase::CatchingUp { horizon, unread };
    }

    /// Reads a page of the log, and keeps the events that the lane wants. Does nothing if the database does not answer.
    async fn read_page(&mut self) {
        let Phase::CatchingUp { unread, .. } = &mut self.phase else { return };
        let Some(page) = self.log.next(unread, &mut self.room).await else { return };
        if let Some(weight) = page.too_large {
            self.room.lacks(weight);
            return;
        }
        let before = self.cursor.weight();
        for taken in with_pending(page) {
            if self.wants(&taken.event) {
                self.cursor.take(&taken);
                self.read.push_back(taken);
            }
        }
        self.room.take_page(self.cursor.weight() - before);
        if let Phase::CatchingUp { unread, .. } = &self.phase
            && !unread.is_empty()
        {
            self.log.read_ahead(unread, &mut self.room);
        }
    }

    fn wants(&self, event: &Event) -> bool {
        let is_replayed = |events: &Vec<EventPattern>| events.iter().any(|pattern| pattern.matches(&event.event_type));
        self.route.takes(event)
            && self.replayed.as_ref().is_none_or(is_replayed)
            && !self.already_done.contains(event.id)
    }

    /// Goes live, now that all up to the horizon is read. If the feed does not hold all that came since, there is more to read.
    fn join_feed(&mut self) {
        let Phase::CatchingUp { horizon, unread } = &mut self.phase else { return };
        if self.feed.join(&self.route, &self.wake, horizon) {
            self.phase = Phase::Live;
            return;
        }
        let newer = self.feed.horizon().borrow().clone();
        let since = Ranges::span(horizon.position + 1, newer.position);
        *unread = since.union(&horizon.undecided).without(&newer.undecided);
        *horizon = newer;
    }

    /// Hands out what was read from the log, as fast as the allowance of those that catch up allows.
    async fn hand_out(&mut self, most: usize) -> Vec<Arc<Event>> {
        loop {
            match self.allowance.room(Instant::now(), self.in_hand()) {
                Err(later) => sleep_until(later).await,
                Ok(room) => {
                    let count = most.min(room).min(self.read.len());
                    self.allowance.record_taken(Instant::now(), count, true);
                    self.room.gets_on();
                    return self.read.drain(..count).map(|taken| taken.event).collect();
                }
            }
        }
    }

    /// Takes events from the feed, or waits for them. There may be none: the lane has waited, or it has fallen behind.
    async fn pull(&mut self, most: usize) -> Vec<Arc<Event>> {
        let late = self.allowance.room(Instant::now(), self.in_hand());
        let room = self.room.reserve();
        let (mut events, are_late) = match self.feed.pull(&self.route.lane, most, late.unwrap_or(0), room) {
            Pulled::Events(events) => (events, false),
            Pulled::Late(events) => (events, true),
            Pulled::TooLarge(weight) => {
                self.room.lacks(weight);
                return Vec::new();
            }
            Pulled::Behind(horizon, unread) => {
                self.room.take(0);
                self.phase = Phase::CatchingUp { horizon, unread };
                return Vec::new();
            }
        };
        self.allowance.record_taken(Instant::now(), events.len(), are_late);
        events.retain(|taken| !self.already_done.contains(taken.event.id));
        let before = self.cursor.weight();
        events.iter().for_each(|taken| self.cursor.take(taken));
        self.room.take(self.cursor.weight() - before);
        match late {
            _ if !events.is_empty() => {}
            // The allowance allows no late event now.
            Err(later) if are_late => sleep_until(later).await,
            _ => self.wake.notified().await,
        }
        events.into_iter().map(|taken| taken.event).collect()
    }

    /// Records that the lane is done with an event.
    pub fn done(&mut self, id: i64) {
        self.room.give_back(self.cursor.done(id));
    }

    /// Records that the next checkpoint parks an event. It is in memory until then.
    pub fn parked(&mut self, id: i64) {
        self.room.parked(self.cursor.done(id));
    }

    /// Returns the weight of the events that wait to be written as parked.
    pub fn weight_of_parked(&self) -> usize {
        self.room.weight_of_parked()
    }

    /// Records that events of this weight, which were parked, are written.
    pub fn parked_are_written(&mut self, weight: usize) {
        self.room.parked_are_written(weight);
    }

    /// Gives up what waits in memory if the lane could not get on for a while, so that others may have the memory. It is read again later.
    pub fn tick(&mut self) {
        if self.room.is_stuck() && (!self.read.is_empty() || self.log.has_read_ahead()) {
            self.go_back([]);
        }
    }

    /// Returns whether the lane has so much in memory that it is to give it up while its destination is in trouble.
    pub fn is_large(&self) -> bool {
        self.room.is_large()
    }

    /// Takes little, and nothing large before `until`, because the destination is in trouble.
    pub fn be_modest(&mut self, until: Instant) {
        self.room.be_modest(until);
    }

    /// Takes as much as there is room for again, because the destination takes what it gets.
    pub fn be_normal(&mut self) {
        self.room.be_normal();
    }

    /// Goes back to before these events and to before those that were not handed out, and reads all of them again.
    pub fn go_back(&mut self, waiting: impl IntoIterator<Item = Arc<Event>>) {
        // A page that is being read may be later than what is given back.
        self.log.forget();
        let mut unread = Ranges::default();
        for event in waiting.into_iter().chain(self.read.drain(..).map(|taken| taken.event)) {
            let Some((from, weight)) = self.cursor.give_back(event.id) else { continue };
            self.room.give_back(weight);
            unread.insert(from, event.id);
        }
        self.room.forget();
        if matches!(self.phase, Phase::Live)
            && !unread.is_empty()
            && let Some((horizon, unread)) = self.feed.fall_behind(&self.route.lane)
        {
            self.phase = Phase::CatchingUp { horizon, unread };
        }
        if let Phase::CatchingUp { unread: left, .. } = &mut self.phase {
            *left = std::mem::take(left).union(&unread);
        }
    }

    fn in_hand(&self) -> usize {
        self.cursor.len() - self.read.len()
    }

    /// Returns whether there is more for the lane in the log than it has been given.
    pub fn has_more(&self) -> bool {
        match &self.phase {
            Phase::AwaitingTail { .. } => true,
            Phase::CatchingUp { unread, .. } => !unread.is_empty() || !self.read.is_empty(),
            Phase::Live => false,
        }
    }

    /// Returns roughly where the lane is, without the cost of a checkpoint. A lane that has just fallen behind the feed may not be as far.
    pub fn position(&self) -> i64 {
        match &self.phase {
            Phase::AwaitingTail { position, .. } => *position,
            Phase::CatchingUp { horizon, .. } => horizon.position,
            Phase::Live => self.feed.horizon().borrow().position,
        }
    }

    /// Returns roughly the open holes of the log that the cursor would have pending.
    pub fn holes(&self) -> Arc<Ranges> {
        Arc::clone(&self.feed.horizon().borrow().undecided)
    }

    /// Returns the cursor as it stands: all ids at or below the position are done, except the pending ones. What the log's holes add to them
    /// is left apart, because it is the same for all lanes.
    pub fn checkpoint(&self) -> (i64, Pending) {
        let (position, untaken, undecided) = match &self.phase {
            Phase::AwaitingTail { position, pending } => (*position, pending.clone(), Arc::default()),
            Phase::CatchingUp { horizon, unread } => (horizon.position, unread.clone(), Arc::clone(&horizon.undecided)),
            Phase::Live => {
                let waiting = self.feed.waiting(&self.route.lane);
                let (horizon, unread) = waiting.expect("only the lane itself takes a live lane out of the feed");
                (horizon.position, unread, horizon.undecided)
            }
        };
        let own = self.cursor.pending(untaken.without(&self.already_done));
        (position, Pending { own, undecided, already_done: self.already_done.clone() })
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.feed.leave(&self.route.lane);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::value::RawValue;
    use uuid::Uuid;

    use super::*;
    use crate::database::Database;
    use crate::database::Settings;
    use crate::event::Entity;
    use crate::event::TenantId;
    use crate::log::tail::Batch;
    use crate::router::EventPattern;
    use crate::secret::Secret;

    fn event(id: i64) -> Arc<Event> {
        let json = || RawValue::from_string("{}".to_owned()).unwrap();
        let entity = Entity { entity_type: "job".to_owned(), id: "1".to_owned() };
        let tenant = TenantId("acme".to_owned());
        let event_type = "job.created".to_owned();
        Arc::new(Event::new(id, Uuid::nil(), tenant, event_type, entity, Timestamp::UNIX_EPOCH, json(), json()))
    }

    #[tokio::test]
    async fn what_another_daemon_saw_decided_is_not_taken_again() {
        let url = Secret::new("postgres://nobody@127.0.0.1:1/nothing".to_owned());
        let pool = Database::new(&Settings { url, ca_file: None }).unwrap().pool(1).unwrap();
        let undecided = Arc::new(Ranges::parse("{[3,6)}").unwrap());
        let feed = Arc::new(Feed::new(1 << 20, 10, undecided));
        let tenant = TenantId("acme".to_owned());
        let events = vec![EventPattern::parse("*").unwrap()];
        let route = Route { tenant: tenant.clone(), events, lane: LaneName("lane".to_owned()) };
        // The daemon that had the lane before delivered 3 and 4; by what it saw, only 5 was undecided.
        let pending = Ranges::parse("{[5,6)}").unwrap();
        let mut intake = Intake::new(Arc::clone(&feed), route, Reader::new(pool, tenant), 10, pending);
        let taking = tokio::spawn(async move {
            let mut taken = Vec::new();
            while taken.len() < 2 {
                taken.extend(intake.next(10).await.iter().map(|event| event.id));
            }
            (taken, intake.checkpoint())
        });
        tokio::task::yield_now().await;

        let undecided = Arc::new(Ranges::parse("{[4,5)}").unwrap());
        feed.accept(Batch { events: vec![event(3), event(5), event(11)], position: 11, undecided });

        let (taken, (position, pending)) = taking.await.unwrap();
        assert_eq!(taken, [5, 11]);
        assert_eq!((position, pending.ids().to_string().as_str()), (11, "{[5,6),[11,12)}"));
    }
}
