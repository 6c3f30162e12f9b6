//! The open holes of the log, written once for all lanes of a daemon. In: how far the tail is, and what is pending for a lane. Out: what the
//! lane's row has to say: how the lane differs from the shared holes. What is shared never changes, so that a row means the same for as
//! long as it stands, whatever the tail and the other lanes do; where the holes have changed much, another list is written.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::sleep_until;
use uuid::Uuid;

use crate::feed::Horizon;
use crate::lane::store::error::DatabaseError;
use crate::ranges::Ranges;

/// What is pending for a lane: its own ids, and the undecided ones of the log without those that the lane has had already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The ids that were decided and that the lane is not done with.
    pub own: Ranges,
    /// The open holes of the log.
    pub undecided: Arc<Ranges>,
    /// The ids among them that the lane is done with, because another daemon's tail was further.
    pub already_done: Ranges,
}

/// What a lane's row says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredPending {
    /// The ids that are pending, besides those of the shared holes.
    pub pending: Ranges,
    /// The shared holes.
    pub shared: Option<Uuid>,
    /// The ids among them that are not pending.
    pub filled: Ranges,
}

/// The shared holes of one daemon.
#[derive(Debug, Clone)]
pub struct SharedHoles {
    daemon: Uuid,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    stored: Option<Stored>,
    /// How the holes that were looked at last differ from the stored ones. The lanes mostly ask for the same ones.
    last: Option<Arc<Difference>>,
}

/// Holes that stand in the database.
#[derive(Debug, Clone)]
struct Stored {
    id: Uuid,
    holes: Arc<Ranges>,
}

#[derive(Debug)]
struct Difference {
    shared: Uuid,
    undecided: Arc<Ranges>,
    opened: Ranges,
    filled: Ranges,
}

/// So many ranges are worth a list of their own. Below that, each row has all of them.
const MANY: usize = if cfg!(test) { 3 } else { 512 };
/// When the holes differ in so many ranges from the shared ones, they are written again.
const CHANGED: usize = 2 * MANY;
/// The pause after holes were written, for each range: to write them again and again would cost the plant's database more than it spares.
const PAUSE_PER_RANGE: Duration = Duration::from_micros(250);
/// The shortest pause, after which they are written again if they differ by half: as when the tail had read a part of an import.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// The pause after they could not be written.
const AGAIN: Duration = Duration::from_secs(30);

impl Difference {
    fn ranges(&self) -> usize {
        self.opened.len() + self.filled.len()
    }
}

/// Returns the pause after these holes were written.
fn pause(holes: &Ranges) -> Duration {
    PAUSE_PER_RANGE * u32::try_from(holes.len()).unwrap_or(u32::MAX)
}

impl Pending {
    /// Returns all ids.
    pub fn ids(&self) -> Ranges {
        Ranges::clone(&self.undecided).without(&self.already_done).union(&self.own)
    }
}

impl StoredPending {
    /// Returns how many ranges are to be written.
    pub fn ranges(&self) -> usize {
        self.pending.len() + self.filled.len()
    }
}

impl SharedHoles {
    /// Returns the shared holes and the work of writing them, which has no end.
    pub fn new(
        pool: Pool,
        daemon: Uuid,
        horizon: watch::Receiver<Horizon>,
    ) -> (SharedHoles, impl Future<Output = ()> + Send + 'static) {
        let shared = SharedHoles { daemon, state: Arc::default() };
        (shared.clone(), async move { shared.follow(pool, horizon).await })
    }

    /// Returns what a lane's row has to say: how it differs from the shared holes, or all of its own where that is less. When an import has
    /// ended, hardly any of those that were shared may be left.
    pub fn express(&self, pending: &Pending) -> StoredPending {
        let undecided = &pending.undecided;
        let difference = (undecided.len() >= MANY).then(|| self.difference(undecided)).flatten();
        match difference.filter(|it| it.ranges() < undecided.len()) {
            None => StoredPending { pending: pending.ids(), ..StoredPending::default() },
            Some(it) => StoredPending {
                pending: it.opened.clone().without(&pending.already_done).union(&pending.own),
                shared: Some(it.shared),
                filled: it.filled.clone().union(&pending.already_done).without(&pending.own),
            },
        }
    }

    /// Returns how long a lane waits with its row since it was written last: as long as it takes until these holes are shared, if the row
    /// would have to name many of them. With a hundred lanes that would be a hundred times what it costs to share them.
    pub fn patience(&self, undecided: &Arc<Ranges>) -> Duration {
        let is_shared = undecided.len() < CHANGED || self.difference(undecided).is_some_and(|it| it.ranges() < CHANGED);
        if is_shared { Duration::ZERO } else { pause(undecided) * 2 }
    }

    /// Forgets the shared holes, because they do not stand in the database any more.
    pub fn forget(&self) {
        *self.state() = State::default();
    }

    /// Returns how these holes differ from the shared ones, if any are shared.
    fn difference(&self, undecided: &Arc<Ranges>) -> Option<Arc<Difference>> {
        let stored = {
            let state = self.state();
            let stored = state.stored.clone()?;
            let is_known =
                |last: &&Arc<Difference>| last.shared == stored.id && Arc::ptr_eq(&last.undecided, undecided);
            if let Some(known) = state.last.as_ref().filter(is_known) {
                return Some(Arc::clone(known));
            }
            stored
        };
        let difference = Arc::new(Difference {
            shared: stored.id,
            undecided: Arc::clone(undecided),
            opened: Ranges::clone(undecided).without(&stored.holes),
            filled: Ranges::clone(&stored.holes).without(undecided),
        });
        self.state().last = Some(Arc::clone(&difference));
        Some(difference)
    }

    /// Writes the holes whenever they are many and differ much from what is written.
    async fn follow(&self, pool: Pool, mut horizon: watch::Receiver<Horizon>) {
        let (mut seen, mut has_failed) = (Arc::default(), false);
        loop {
            let changed = horizon.wait_for(|now| !Arc::ptr_eq(&now.undecided, &seen)).await;
            let Ok(holes) = changed.map(|now| Arc::clone(&now.undecided)) else { return std::future::pending().await };
            seen = Arc::clone(&holes);
            if holes.len() < MANY {
                self.forget();
                continue;
            }
            if self.difference(&holes).is_some_and(|it| it.ranges() < CHANGED) {
                continue;
            }
            match self.write(&pool, &holes).await {
                Ok(()) => {
                    has_failed = false;
                    self.rest(pause(&holes), &horizon).await;
                }
                Err(error) => {
                    if !has_failed {
                        let error = format!("{:#}", anyhow::Error::new(error));
                        tracing::warn!(error, "cannot write the log's holes once for all lanes; each lane writes them");
                    }
                    has_failed = true;
                    sleep(AGAIN).await;
                }
            }
        }
    }

    /// Waits for so long, or until the holes differ by half from those that are written. To write them then costs no more than to have
    /// written them twice, however they grow.
    async fn rest(&self, pause: Duration, horizon: &watch::Receiver<Horizon>) {
        let end = Instant::now() + pause;
        while Instant::now() < end {
            sleep_until(end.min(Instant::now() + SHORTEST_PAUSE)).await;
            let undecided = Arc::clone(&horizon.borrow().undecided);
            if self.difference(&undecided).is_none_or(|it| it.ranges() > undecided.len() / 2) {
                return;
            }
        }
    }

    async fn write(&self, pool: &Pool, holes: &Arc<Ranges>) -> Result<(), DatabaseError> {
        let (id, before) = (Uuid::new_v4(), self.state().stored.as_ref().map(|stored| stored.id));
        let mut client = pool.get().await.map_err(DatabaseError::Connection)?;
        let transaction = client.transaction().await.map_err(DatabaseError::Statement)?;
        // Whoever has locked the table holds up nobody who needs the connection.
        transaction.batch_execute("set local lock_timeout = '1s'").await.map_err(DatabaseError::Statement)?;
        transaction
            .execute(
                "insert into andon.shared_holes (id, daemon, holes) values ($1, $2, $3::text::int8multirange)",
                &[&id, &self.daemon, &holes.to_string()],
            )
            .await
            .map_err(DatabaseError::Statement)?;
        // Those before the last ones can stand in no row that is being written now.
        transaction
            .execute(
                "delete from andon.shared_holes old where id <> $1 and id is distinct from $2
                    and (daemon = $3 or not andon.is_served(daemon))
                    and not exists (select from andon.lanes where shared_holes = old.id)",
                &[&id, &before, &self.daemon],
            )
            .await
            .map_err(DatabaseError::Statement)?;
        transaction.commit().await.map_err(DatabaseError::Statement)?;
        self.state().stored = Some(Stored { id, holes: Arc::clone(holes) });
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the shared holes")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges(of: &[(i64, i64)]) -> Ranges {
        let mut set = Ranges::default();
        of.iter().for_each(|(low, width)| set.insert(*low, low + width));
        set
    }

    /// What `andon.pending_ids` returns for this row.
    fn read(stored: &StoredPending, shared: &Ranges, position: i64) -> Ranges {
        let mut holes = if stored.shared.is_some() { shared.clone() } else { Ranges::default() };
        holes.remove(position + 1, i64::MAX);
        holes.without(&stored.filled).union(&stored.pending)
    }

    fn set(most: usize) -> impl Strategy<Value = Vec<(i64, i64)>> {
        prop::collection::vec((0i64..60, 0i64..4), 0..most)
    }

    #[test]
    fn a_lane_waits_only_while_its_row_would_name_many_holes() {
        let every_second = |count: i64| Arc::new(ranges(&(0..count).map(|n| (2 * n, 0)).collect::<Vec<_>>()));
        let holes = SharedHoles { daemon: Uuid::nil(), state: Arc::default() };
        let (few, many) = (every_second(5), every_second(8));
        assert_eq!((holes.patience(&few), holes.patience(&many)), (Duration::ZERO, PAUSE_PER_RANGE * 16));
        holes.state().stored = Some(Stored { id: Uuid::nil(), holes: few });
        assert_eq!((holes.patience(&many), holes.patience(&every_second(20))), (Duration::ZERO, PAUSE_PER_RANGE * 40));
    }

    proptest! {
        #[test]
        fn a_row_says_the_same_with_shared_holes_and_without(
            shared in set(12), undecided in set(12), own in set(6), done in set(3), position in 40i64..80
        ) {
            // Both holes and what the lane has are below its position; what is shared may be of a later time.
            let below = |mut set: Ranges| { set.remove(position + 1, i64::MAX); set };
            let (shared, undecided) = (ranges(&shared), Arc::new(below(ranges(&undecided))));
            let pending = Pending { own: below(ranges(&own)), already_done: ranges(&done), undecided };
            let stored = Stored { id: Uuid::nil(), holes: Arc::new(shared.clone()) };
            let state = State { stored: Some(stored), last: None };
            let holes = SharedHoles { daemon: Uuid::nil(), state: Arc::new(Mutex::new(state)) };

            for _ in 0..2 {
                let stored = holes.express(&pending);
                let undecided = &*pending.undecided;
                let differs = undecided.clone().without(&shared).len() + shared.clone().without(undecided).len();
                prop_assert_eq!(stored.shared.is_some(), undecided.len() >= MANY && differs < undecided.len());
                prop_assert_eq!(read(&stored, &shared, position), pending.ids());
            }
            holes.forget();
            prop_assert_eq!(read(&holes.express(&pending), &shared, position), pending.ids());
        }
    }
}
