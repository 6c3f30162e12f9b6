//! How long the feed takes to put events into the inboxes of very many lanes. In: nothing. Out: the nanoseconds per event and lane. All other
//! lanes wait while the feed does this.

use std::sync::Arc;
use std::time::Instant;

use andon::destination::LaneName;
use andon::event::TenantId;
use andon::feed::Feed;
use andon::log::tail::Batch;
use andon::router::EventPattern;
use andon::router::Route;

use crate::paths;

pub(crate) const LANES: usize = 10_000;
pub(crate) const EVENTS: i64 = 1000;
const ROUNDS: i64 = 9;

/// Puts [`EVENTS`] events at once into [`LANES`] inboxes. Returns the median of the rounds, in nanoseconds per event and lane.
pub(crate) fn measure() -> f64 {
    let feed = Feed::new(64 << 20, 0, Arc::default());
    let lanes: Vec<LaneName> = (0..LANES).map(|number| LaneName(format!("andon.webhooks/{number}"))).collect();
    let seen = feed.horizon().borrow().clone();
    for lane in &lanes {
        let events = vec![EventPattern::parse("*").expect("it is a pattern")];
        let route = Route { tenant: TenantId("acme".to_owned()), events, lane: lane.clone() };
        assert!(feed.join(&route, &Arc::default(), &seen), "nothing came since");
    }
    let mut taken: Vec<f64> = (0..ROUNDS).map(|round| round_of(&feed, &lanes, round * EVENTS)).collect();
    taken.sort_by(f64::total_cmp);
    taken[taken.len() / 2]
}

fn round_of(feed: &Feed, lanes: &[LaneName], position: i64) -> f64 {
    let events = (1..=EVENTS).map(|number| Arc::new(paths::event(position + number))).collect();
    let batch = Batch { events, position: position + EVENTS, undecided: Arc::default() };
    let started = Instant::now();
    feed.accept(batch);
    let taken = started.elapsed();
    for lane in lanes {
        drop(feed.pull(lane, usize::MAX, usize::MAX, usize::MAX));
    }
    taken.as_secs_f64() * 1e9 / (EVENTS as f64 * LANES as f64)
}
