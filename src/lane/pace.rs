//! The pace of a lane that catches up. In: what the lane has in hand. Out: how many more it may take now. It never slows anybody down
//! while no live event is about, nor a lane that keeps up, and never looks at a clock: times are given to it.
//!
//! Lanes that return after an outage would each fill their window or their connections at once: a live event of another lane then queues
//! behind all of that, in this process and wherever the destinations are. So all who catch up share one allowance. A delivery counts
//! against it until it is done, or for a moment: who waits long for an answer keeps nobody busy.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::feed::Feed;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Pace {
    feed: Arc<Feed>,
    /// When the latest events were taken.
    taken: VecDeque<Instant>,
    is_late: bool,
}

/// Deliveries of all lanes that catch up which may be under way beside live ones.
const ALLOWANCE: usize = 32;
/// How long a delivery counts at most.
const MOMENT: Duration = Duration::from_millis(10);

impl Pace {
    pub(super) fn new(feed: Arc<Feed>) -> Pace {
        Pace { feed, taken: VecDeque::new(), is_late: false }
    }

    /// How many late events the lane may take now; none before the time returned. `in_hand` are those it has taken and not done.
    pub(super) fn room(&mut self, now: Instant, in_hand: usize) -> Result<usize, Instant> {
        if !self.feed.has_live_events(now) {
            return Ok(usize::MAX);
        }
        while self.taken.front().is_some_and(|taken| *taken + MOMENT <= now) {
            self.taken.pop_front();
        }
        let share = (ALLOWANCE / self.feed.catching_up().max(1)).max(1);
        match share.saturating_sub(self.taken.len().min(in_hand)) {
            0 => Err(self.taken.front().map_or(now, |first| *first) + MOMENT),
            room => Ok(room),
        }
    }

    /// The lane took events, late ones or live ones.
    pub(super) fn took(&mut self, now: Instant, count: usize, are_late: bool) {
        if are_late != self.is_late {
            self.is_late = are_late;
            if are_late { self.feed.begin_catching_up() } else { self.feed.end_catching_up() }
        }
        if are_late && self.feed.has_live_events(now) {
            self.taken.extend(std::iter::repeat_n(now, count));
        }
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        if self.is_late {
            self.feed.end_catching_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::value::RawValue;
    use uuid::Uuid;

    use super::*;
    use crate::destination::LaneName;
    use crate::event::Entity;
    use crate::event::Event;
    use crate::event::TenantId;
    use crate::log::tail::Batch;
    use crate::router::EventPattern;
    use crate::router::Route;

    fn tenant() -> TenantId {
        TenantId("acme".to_owned())
    }

    fn batch(id: i64) -> Batch {
        let json = || RawValue::from_string("{}".to_owned()).unwrap();
        let entity = Entity { kind: "job".to_owned(), id: "1".to_owned() };
        let event =
            Event::new(id, Uuid::nil(), tenant(), "job.made".to_owned(), entity, Timestamp::UNIX_EPOCH, json(), json());
        Batch { events: vec![Arc::new(event)], position: id, undecided: Arc::default() }
    }

    #[test]
    fn those_that_catch_up_share_an_allowance_while_live_events_are_about() {
        let feed = Arc::new(Feed::new(1 << 20, 0, Arc::default()));
        let route = Route {
            tenant: tenant(),
            events: vec![EventPattern::parse("*").unwrap()],
            lane: LaneName("live".to_owned()),
        };
        assert!(feed.join(&route, &Arc::default(), &feed.horizon().borrow().clone()));
        let (mut one, mut other) = (Pace::new(Arc::clone(&feed)), Pace::new(Arc::clone(&feed)));
        one.took(Instant::now(), 1000, true);
        assert_eq!(one.room(Instant::now(), 1000), Ok(usize::MAX), "nobody is held up by it");

        feed.accept(batch(1));

        let now = Instant::now();
        assert_eq!(one.room(now, 1000), Ok(ALLOWANCE));
        one.took(now, ALLOWANCE, true);
        assert_eq!(one.room(now, ALLOWANCE), Err(now + MOMENT));
        assert_eq!(one.room(now, ALLOWANCE - 3), Ok(3), "three are done");
        other.took(now, 1, true);
        assert_eq!(one.room(now, ALLOWANCE / 2), Err(now + MOMENT), "it has the half now");
        assert_eq!(one.room(now + MOMENT, ALLOWANCE), Ok(ALLOWANCE / 2), "they took long, and count no more");
        drop(other);
        assert_eq!(one.room(now + MOMENT, ALLOWANCE), Ok(ALLOWANCE));
        assert_eq!(one.room(now + Duration::from_secs(11), 1000), Ok(usize::MAX), "no live event for a while");
    }
}
