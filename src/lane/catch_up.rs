//! The allowance of lanes that catch up. In: how many events the lane has taken and not delivered yet. Out: how many more it may take now.
//! It slows nobody down while there are no live events, and never a lane that keeps up. It never looks at a clock: the time is passed in.
//!
//! Lanes that return after an outage would each fill their window or their connections at once. A live event of another lane would then
//! queue behind all of that, in this process and wherever the destinations are. So all lanes that catch up share one allowance. A delivery
//! counts against it until it is done, but only for a moment: a lane that waits long for an answer keeps nobody busy.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::feed::Feed;

/// One lane's share of what all lanes that catch up may have under way.
#[derive(Debug)]
pub(super) struct CatchUpAllowance {
    feed: Arc<Feed>,
    /// When each of the latest events was taken.
    taken: VecDeque<Instant>,
    is_late: bool,
}

/// All lanes that catch up may together have this many deliveries under way while there are live ones.
const ALLOWANCE: usize = 32;
/// The longest time for which a delivery counts.
const COUNTED_FOR: Duration = Duration::from_millis(10);

impl CatchUpAllowance {
    pub(super) fn new(feed: Arc<Feed>) -> CatchUpAllowance {
        CatchUpAllowance { feed, taken: VecDeque::new(), is_late: false }
    }

    /// Returns how many late events the lane may take now, or the time before which it may take none. `in_hand` is the number of events
    /// that it has taken and not delivered yet.
    pub(super) fn room(&mut self, now: Instant, in_hand: usize) -> Result<usize, Instant> {
        if !self.feed.has_live_events(now) {
            return Ok(usize::MAX);
        }
        while self.taken.front().is_some_and(|taken| *taken + COUNTED_FOR <= now) {
            self.taken.pop_front();
        }
        let share = (ALLOWANCE / self.feed.catching_up().max(1)).max(1);
        match share.saturating_sub(self.taken.len().min(in_hand)) {
            0 => Err(self.taken.front().map_or(now, |first| *first) + COUNTED_FOR),
            room => Ok(room),
        }
    }

    /// Records that the lane took events, either all late or all live.
    pub(super) fn record_taken(&mut self, now: Instant, count: usize, are_late: bool) {
        if are_late != self.is_late {
            self.is_late = are_late;
            if are_late { self.feed.begin_catching_up() } else { self.feed.end_catching_up() }
        }
        if are_late && self.feed.has_live_events(now) {
            self.taken.extend(std::iter::repeat_n(now, count));
        }
    }
}

impl Drop for CatchUpAllowance {
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
        let entity = Entity { entity_type: "job".to_owned(), id: "1".to_owned() };
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
        let (mut one, mut other) = (CatchUpAllowance::new(Arc::clone(&feed)), CatchUpAllowance::new(Arc::clone(&feed)));
        one.record_taken(Instant::now(), 1000, true);
        assert_eq!(one.room(Instant::now(), 1000), Ok(usize::MAX), "it holds nobody up");

        feed.accept(batch(1));

        let now = Instant::now();
        assert_eq!(one.room(now, 1000), Ok(ALLOWANCE));
        one.record_taken(now, ALLOWANCE, true);
        assert_eq!(one.room(now, ALLOWANCE), Err(now + COUNTED_FOR));
        assert_eq!(one.room(now, ALLOWANCE - 3), Ok(3), "three are done");
        other.record_taken(now, 1, true);
        assert_eq!(one.room(now, ALLOWANCE / 2), Err(now + COUNTED_FOR), "its share is a half now");
        assert_eq!(one.room(now + COUNTED_FOR, ALLOWANCE), Ok(ALLOWANCE / 2), "they take long, and no longer count");
        drop(other);
        assert_eq!(one.room(now + COUNTED_FOR, ALLOWANCE), Ok(ALLOWANCE));
        assert_eq!(one.room(now + Duration::from_secs(11), 1000), Ok(usize::MAX), "no live event for a while");
    }
}
