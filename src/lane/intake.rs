//! The intake: where a lane's events come from. In: the feed while the lane keeps up, the log itself while it does not, or after a
//! start. Out: the lane's events, each once, in an order that keeps each entity's, and the cursor to write down. It never delivers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio::time::sleep_until;

use crate::destination::LaneName;
use crate::event::Event;
use crate::feed::Feed;
use crate::feed::Horizon;
use crate::feed::Pulled;
use crate::feed::Taken;
use crate::lane::catch_up::CatchUpAllowance;
use crate::lane::store::cursor::Cursor;
use crate::log::reader::Page;
use crate::log::reader::Reader;
use crate::ranges::Ranges;
use crate::router::EventPattern;
use crate::router::Route;

/// See the module's description.
#[derive(Debug)]
pub struct Intake {
    feed: Arc<Feed>,
    route: Route<LaneName>,
    /// Away while it reads.
    reader: Option<Reader>,
    /// Goes on while the lane does other things, so that the next page is there when this one is sent.
    reading: Option<JoinHandle<(Reader, Option<Page>)>>,
    wake: Arc<Notify>,
    cursor: Cursor,
    place: Place,
    /// Read from the log and not handed out yet.
    read: VecDeque<Taken>,
    allowance: CatchUpAllowance,
    /// Done, by the stored cursor, and yet undecided for this daemon's tail: another daemon's had seen further. What of it turns up is not
    /// taken again.
    settled: Ranges,
    /// In a replay, which is over when it has read what was pending: of these types only.
    again: Option<Vec<EventPattern>>,
}

#[derive(Debug)]
enum Place {
    /// The lane was further than the tail is after its start.
    Ahead { position: i64, pending: Ranges },
    /// Reading the log: these ids are left, up to this horizon.
    Behind { horizon: Horizon, unread: Ranges },
    /// In the stream.
    Live,
}

/// Between reads of the log while the database is away.
const TRY_AGAIN: Duration = Duration::from_secs(1);

impl Intake {
    /// Goes on from a stored cursor.
    pub fn new(feed: Arc<Feed>, route: Route<LaneName>, reader: Reader, position: i64, pending: Ranges) -> Intake {
        let allowance = CatchUpAllowance::new(Arc::clone(&feed));
        Intake {
            feed,
            route,
            reader: Some(reader),
            reading: None,
            wake: Arc::default(),
            cursor: Cursor::default(),
            place: Place::Ahead { position, pending },
            read: VecDeque::new(),
            allowance,
            settled: Ranges::default(),
            again: None,
        }
    }

    /// Reads what is pending, as far as it is of these types, and nothing else.
    pub fn for_replay(mut self, events: Vec<EventPattern>) -> Intake {
        if let Place::Ahead { position, pending } = &mut self.place {
            let mut horizon = Horizon::default();
            horizon.position = *position;
            self.place = Place::Behind { horizon, unread: std::mem::take(pending) };
        }
        self.again = Some(events);
        self
    }

    /// Whether this is a replay, and the lane is done with all of it.
    pub fn is_over(&self) -> bool {
        let is_read = matches!(&self.place, Place::Behind { unread, .. } if unread.is_empty());
        self.again.is_some() && is_read && self.cursor.is_empty()
    }

    /// The next events, `most` at most and at least one. Dropping the future loses nothing.
    pub async fn next(&mut self, most: usize) -> Vec<Arc<Event>> {
        loop {
            if !self.read.is_empty() {
                match self.allowance.room(Instant::now(), self.in_hand()) {
                    Err(later) => sleep_until(later).await,
                    Ok(room) => {
                        let count = most.min(room).min(self.read.len());
                        self.allowance.record_taken(Instant::now(), count, true);
                        return self.read.drain(..count).map(|taken| taken.event).collect();
                    }
                }
                continue;
            }
            match &mut self.place {
                Place::Live => {
                    let room = self.allowance.room(Instant::now(), self.in_hand());
                    let (mut events, are_late) = match self.feed.pull(&self.route.lane, most, room.unwrap_or(0)) {
                        Pulled::Events(events) => (events, false),
                        Pulled::Late(events) => (events, true),
                        Pulled::Behind(horizon, unread) => {
                            self.place = Place::Behind { horizon, unread };
                            continue;
                        }
                    };
                    self.allowance.record_taken(Instant::now(), events.len(), are_late);
                    match room {
                        Err(later) if are_late => sleep_until(later).await,
                        _ if events.is_empty() => self.wake.notified().await,
                        _ => {
                            events.retain(|taken| !self.settled.contains(taken.event.id));
                            events.iter().for_each(|taken| self.cursor.take(taken));
                            if !events.is_empty() {
                                return events.into_iter().map(|taken| taken.event).collect();
                            }
                        }
                    }
                }
                Place::Ahead { position, pending } => {
                    let mut tail = self.feed.horizon();
                    let reached = tail.wait_for(|horizon| horizon.position >= *position).await;
                    let horizon = reached.expect("the feed outlives its lanes").clone();
                    let since = Ranges::span(*position + 1, horizon.position);
                    let unread = since.union(pending).without(&horizon.undecided);
                    self.settled = Ranges::clone(&horizon.undecided).without(pending);
                    self.settled.remove(*position + 1, i64::MAX);
                    self.place = Place::Behind { horizon, unread };
                }
                Place::Behind { unread, .. } if unread.is_empty() && self.again.is_some() => {
                    std::future::pending::<()>().await;
                }
                Place::Behind { horizon, unread } if unread.is_empty() => {
                    if self.feed.join(&self.route, &self.wake, horizon) {
                        self.place = Place::Live;
                        continue;
                    }
                    let newer = self.feed.horizon().borrow().clone();
                    let since = Ranges::span(horizon.position + 1, newer.position);
                    *unread = since.union(&horizon.undecided).without(&newer.undecided);
                    *horizon = newer;
                }
                Place::Behind { unread, .. } => {
                    let reading = self.reading.get_or_insert_with(|| {
                        let reader = self.reader.take().expect("a reader that is not reading is here");
                        tokio::spawn(read(reader, unread.clone()))
                    });
                    let (reader, page) = reading.await.expect("reading the log does not panic");
                    self.reader = Some(reader);
                    self.reading = None;
                    let Some(page) = page else { continue };
                    *unread = std::mem::take(unread).without(&page.covered);
                    if !unread.is_empty()
                        && let Some(reader) = self.reader.take()
                    {
                        self.reading = Some(tokio::spawn(read(reader, unread.clone())));
                    }
                    for taken in pending_with(page.events, &page.covered) {
                        let is_asked =
                            |events: &Vec<EventPattern>| events.iter().any(|it| it.matches(&taken.event.kind));
                        if self.route.takes(&taken.event)
                            && self.again.as_ref().is_none_or(is_asked)
                            && !self.settled.contains(taken.event.id)
                        {
                            self.cursor.take(&taken);
                            self.read.push_back(taken);
                        }
                    }
                }
            }
        }
    }

    /// The lane is done with an event.
    pub fn done(&mut self, id: i64) {
        self.cursor.done(id);
    }

    /// How many events the lane has taken and is not done with.
    pub fn in_hand(&self) -> usize {
        self.cursor.len() - self.read.len()
    }

    /// The cursor as it stands: everything at or below the position is done, except the pending ids.
    pub fn checkpoint(&self) -> (i64, Ranges) {
        let (position, untaken) = match &self.place {
            Place::Ahead { position, pending } => (*position, pending.clone()),
            Place::Behind { horizon, unread } => (horizon.position, unread.clone().union(&horizon.undecided)),
            Place::Live => {
                self.feed.waiting(&self.route.lane).expect("a live lane is in the stream until it leaves it itself")
            }
        };
        (position, self.cursor.pending(untaken.without(&self.settled)))
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.feed.leave(&self.route.lane);
    }
}

/// Reads a page; none when the database does not answer.
async fn read(mut reader: Reader, unread: Ranges) -> (Reader, Option<Page>) {
    match reader.page(&unread).await {
        Ok(page) => (reader, Some(page)),
        Err(error) => {
            // The tail says that the database is away; here it is enough to try again.
            tracing::debug!(error = format!("{error:#}"), "cannot read the log");
            tokio::time::sleep(TRY_AGAIN).await;
            (reader, None)
        }
    }
}

/// Widens what stays pending for each event of a page down to the event before it, as far as the page covered the ids between.
fn pending_with(events: Vec<Arc<Event>>, covered: &Ranges) -> Vec<Taken> {
    let mut ranges = covered.iter().peekable();
    let mut last = i64::MIN;
    let mut taken = Vec::with_capacity(events.len());
    for event in events {
        while ranges.peek().is_some_and(|(_, high)| *high < event.id) {
            ranges.next();
        }
        let low = ranges.peek().map_or(event.id, |(low, _)| *low);
        let from = low.max(last.saturating_add(1));
        last = event.id;
        taken.push(Taken { event, from });
    }
    taken
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
        let entity = Entity { kind: "job".to_owned(), id: "1".to_owned() };
        let tenant = TenantId("acme".to_owned());
        let kind = "job.created".to_owned();
        Arc::new(Event::new(id, Uuid::nil(), tenant, kind, entity, Timestamp::UNIX_EPOCH, json(), json()))
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
        // The daemon that had the lane before delivered 3 and 4; for it only 5 was open.
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
        assert_eq!((position, pending.to_string().as_str()), (11, "{[5,6),[11,12)}"));
    }
}
