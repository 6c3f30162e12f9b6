//! Tests the feed and the cursor against a model: a tail that finds events late, in holes, or not at all, and lanes that pull, finish, fall
//! behind, read the log, join again and crash at any point. What a lane stores must always be enough to lose nothing, and must never bring
//! back what had been delivered when it was stored.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::*;
use crate::event::Entity;
use crate::event::TenantId;
use crate::feed::inbox::MOST_RUNS;
use crate::lane::store::cursor::Cursor;
use crate::router::EventPattern;

#[derive(Debug, Clone)]
enum Step {
    /// The tail reads the next ids, of which some are there and some are holes.
    Read(Vec<bool>),
    /// Of the open holes, some arrive and some are dead.
    Decide(Vec<Option<bool>>),
    /// A lane takes events, or a page of the log.
    Pull(usize, usize),
    /// A lane gives back what it has in hand.
    GoBack(usize),
    /// A lane is done with one of the events that it has in hand.
    Finish(usize, usize),
    /// A lane is lost and starts again from its stored cursor.
    Crash(usize),
    /// A lane stores its cursor.
    Store(usize),
}

const LANES: usize = 2;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => prop::collection::vec(any::<bool>(), 1..6).prop_map(Step::Read),
        2 => prop::collection::vec(any::<Option<bool>>(), 1..6).prop_map(Step::Decide),
        4 => (0..LANES, 1..4usize).prop_map(|(lane, most)| Step::Pull(lane, most)),
        4 => (0..LANES, 0..8usize).prop_map(|(lane, which)| Step::Finish(lane, which)),
        1 => (0..LANES).prop_map(Step::GoBack),
        1 => (0..LANES).prop_map(Step::Crash),
        2 => (0..LANES).prop_map(Step::Store),
    ];
    prop::collection::vec(step, 0..120)
}

/// An odd id is of a type that lane 1 does not want.
fn event(id: i64) -> Arc<Event> {
    let json = || RawValue::from_string("{}".to_owned()).unwrap();
    let event_type = if id % 2 == 0 { "job.created" } else { "part.created" };
    let entity = Entity { entity_type: "job".to_owned(), id: "1".to_owned() };
    let tenant = TenantId("acme".to_owned());
    Arc::new(Event::new(id, Uuid::nil(), tenant, event_type.to_owned(), entity, Timestamp::UNIX_EPOCH, json(), json()))
}

fn route(lane: usize) -> Route<LaneName> {
    let pattern = if lane == 0 { "*" } else { "job.*" };
    let events = vec![EventPattern::parse(pattern).unwrap()];
    Route { tenant: TenantId("acme".to_owned()), events, lane: LaneName(lane.to_string()) }
}

struct Lane {
    cursor: Cursor,
    reading: Option<(Horizon, Ranges)>,
    hand: Vec<Arc<Event>>,
    done: BTreeSet<i64>,
    stored: (i64, Ranges),
    done_when_stored: BTreeSet<i64>,
    wake: Arc<Notify>,
}

impl Lane {
    fn start(stored: (i64, Ranges), done: BTreeSet<i64>, feed: &Feed) -> Lane {
        let horizon = feed.horizon().borrow().clone();
        let unread = Ranges::span(stored.0 + 1, horizon.position).union(&stored.1).without(&horizon.undecided);
        Lane {
            cursor: Cursor::default(),
            reading: Some((horizon, unread)),
            hand: Vec::new(),
            done_when_stored: done.clone(),
            done,
            stored,
            wake: Arc::default(),
        }
    }

    fn checkpoint(&self, feed: &Feed, lane: usize) -> (i64, Ranges) {
        let (horizon, unread) = match &self.reading {
            Some((horizon, unread)) => (horizon.clone(), unread.clone()),
            None => feed.waiting(&route(lane).lane).unwrap(),
        };
        (horizon.position, self.cursor.pending(unread.union(&horizon.undecided)))
    }

    fn take(&mut self, taken: Taken) {
        self.cursor.take(&taken);
        self.hand.push(taken.event);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn a_stored_cursor_loses_nothing_and_repeats_nothing_that_was_stored_as_done(steps in steps()) {
        // There is room for four events, so that lanes fall behind because events are dropped as well as because their inboxes are full.
        let feed = Feed::new((event(0).size() + 2 * size_of::<RecentEvent>()) * 4, 0, Arc::default());
        let mut lanes: Vec<Lane> = (0..LANES).map(|_| Lane::start((0, Ranges::default()), BTreeSet::new(), &feed)).collect();
        let mut committed: BTreeMap<i64, Arc<Event>> = BTreeMap::new();
        let (mut position, mut holes) = (0i64, Ranges::default());
        for step in steps {
            match step {
                Step::Read(visible) => {
                    let mut events = Vec::new();
                    let top = position + visible.iter().rposition(|there| *there).map_or(0, |last| last as i64 + 1);
                    for (id, there) in (position + 1..=top).zip(visible) {
                        if there { events.push(event(id)) } else { holes.insert(id, id) }
                    }
                    position = top;
                    committed.extend(events.iter().map(|event| (event.id, Arc::clone(event))));
                    feed.accept(Batch { events, position, undecided: Arc::new(holes.clone()) });
                }
                Step::Decide(fates) => {
                    let open: Vec<i64> = holes.iter().flat_map(|(low, high)| low..=high).collect();
                    let mut events = Vec::new();
                    for (id, fate) in open.into_iter().zip(fates) {
                        if let Some(arrives) = fate {
                            holes.remove(id, id);
                            if arrives { events.push(event(id)) }
                        }
                    }
                    committed.extend(events.iter().map(|event| (event.id, Arc::clone(event))));
                    feed.accept(Batch { events, position, undecided: Arc::new(holes.clone()) });
                }
                Step::Pull(lane, most) => pull(&feed, &mut lanes[lane], lane, most, &committed),
                Step::GoBack(index) => {
                    let lane = &mut lanes[index];
                    let mut unread = Ranges::default();
                    for event in lane.hand.drain(..) {
                        let (from, _) = lane.cursor.give_back(event.id).unwrap();
                        unread.insert(from, event.id);
                    }
                    prop_assert_eq!(lane.cursor.weight(), 0);
                    if lane.reading.is_none() && !unread.is_empty() {
                        lane.reading = feed.fall_behind(&route(index).lane);
                    }
                    if let Some((_, left)) = &mut lane.reading {
                        *left = left.clone().union(&unread);
                    }
                }
                Step::Finish(lane, which) => {
                    let lane = &mut lanes[lane];
                    if which < lane.hand.len() {
                        let event = lane.hand.remove(which);
                        prop_assert!(lane.done.insert(event.id), "{} was delivered twice", event.id);
                        lane.cursor.done(event.id);
                    }
                }
                Step::Store(lane) => {
                    let stored = lanes[lane].checkpoint(&feed, lane);
                    lanes[lane].stored = stored;
                    lanes[lane].done_when_stored = lanes[lane].done.clone();
                }
                Step::Crash(lane) => {
                    feed.leave(&route(lane).lane);
                    lanes[lane] = Lane::start(lanes[lane].stored.clone(), lanes[lane].done_when_stored.clone(), &feed);
                }
            }
            let runs = feed.state().inboxes.iter().flatten().map(|inbox| inbox.runs.len()).sum::<usize>();
            prop_assert_eq!(feed.state().runs, runs);
            prop_assert!(feed.state().inboxes.iter().flatten().all(|inbox| inbox.runs.len() <= MOST_RUNS), "an inbox has grown beyond its bound");
            for (index, lane) in lanes.iter().enumerate() {
                let (position, pending) = lane.checkpoint(&feed, index);
                for (id, event) in &committed {
                    let owed = route(index).takes(event) && !lane.done.contains(id);
                    prop_assert!(!owed || *id > position || pending.contains(*id), "lane {}: {} would be lost", index, id);
                }
                prop_assert!(lane.done.iter().all(|id| *id <= position && !pending.contains(*id)), "lane {} would repeat", index);
                prop_assert!(holes.iter().all(|(low, high)| high > position || (low..=high).all(|id| pending.contains(id))));
            }
        }
        for (index, lane) in lanes.iter_mut().enumerate() {
            for _ in 0..1000 {
                pull(&feed, lane, index, 100, &committed);
                lane.done.extend(lane.hand.drain(..).map(|event| event.id));
            }
            let wanted: BTreeSet<i64> = committed.iter().filter(|(_, event)| route(index).takes(event)).map(|(id, _)| *id).collect();
            prop_assert_eq!(&lane.done, &wanted, "lane {}", index);
        }
    }
}

/// Does what the intake does, with the model's log in place of the real one.
fn pull(feed: &Feed, lane: &mut Lane, index: usize, most: usize, committed: &BTreeMap<i64, Arc<Event>>) {
    match &mut lane.reading {
        None => match feed.pull(&route(index).lane, most, most, usize::MAX) {
            Pulled::Events(events) | Pulled::Late(events) => events.into_iter().for_each(|taken| lane.take(taken)),
            Pulled::TooLarge(_) => unreachable!("there is room for all"),
            Pulled::Behind(horizon, unread) => lane.reading = Some((horizon, unread)),
        },
        Some((horizon, unread)) if unread.is_empty() => {
            if feed.join(&route(index), &lane.wake, horizon) {
                lane.reading = None;
                return;
            }
            let newer = feed.horizon().borrow().clone();
            *unread =
                Ranges::span(horizon.position + 1, newer.position).union(&horizon.undecided).without(&newer.undecided);
            *horizon = newer;
        }
        Some((_, unread)) => {
            let page: Vec<i64> = unread.iter().flat_map(|(low, high)| low..=high).take(most).collect();
            let mut taken = Vec::new();
            for id in page {
                unread.remove(id, id);
                taken.extend(committed.get(&id).filter(|event| route(index).takes(event)).cloned());
            }
            for event in taken {
                let from = event.id;
                lane.take(Taken { event, from });
            }
        }
    }
}

#[test]
fn a_lane_takes_no_more_than_it_has_room_for() {
    let feed = Feed::new(1 << 20, 0, Arc::default());
    assert!(feed.join(&route(0), &Arc::default(), &feed.horizon().borrow().clone()));
    feed.accept(Batch { events: (1..=5).map(event).collect(), position: 5, undecided: Arc::default() });
    let weight = event(1).weight();
    let pull = |room| match feed.pull(&route(0).lane, 100, 100, room) {
        Pulled::Events(events) => Ok(events.len()),
        Pulled::TooLarge(weight) => Err(weight),
        other => panic!("{other:?}"),
    };

    assert_eq!(pull(weight - 1), Err(weight));
    assert_eq!(pull(3 * weight), Ok(3));
    assert_eq!(pull(3 * weight), Ok(2));
    assert_eq!(pull(0), Ok(0), "there is nothing for which it lacks room");
}
