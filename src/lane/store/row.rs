//! A lane's row in `andon.lanes`. In: the lane's cursor and state, and what it parks. Out: a checkpoint, all in one transaction, under the
//! lane's epoch: a daemon that has lost the lane writes nothing. It never decides where the cursor stands.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use deadpool_postgres::GenericClient;
use deadpool_postgres::Pool;
use deadpool_postgres::Transaction;

use crate::destination::LaneName;
use crate::event::Entity;
use crate::lane::store::Stores;
use crate::lane::store::cursor_update;
use crate::lane::store::cursor_update::CursorUpdate;
use crate::lane::store::cursor_update::Written;
use crate::lane::store::error::DatabaseError;
use crate::lane::store::error::Lost;
use crate::lane::store::error::RIGHTS;
use crate::lane::store::error::StoreError;
use crate::lane::store::error::is_denied;
use crate::lane::store::shared_holes::Pending;
use crate::lane::store::shared_holes::StoredPending;
use crate::lane::store::state::State;
use crate::ledger::Entries;
use crate::ledger::attempts;
use crate::ledger::culprits;
use crate::ledger::deliveries;
use crate::ledger::deliveries::Kept;
use crate::ranges::Ranges;
use crate::router::Route;

/// The right to write a lane's row, for as long as nobody takes the lane over.
#[derive(Debug, Clone)]
pub struct LaneRow {
    stores: Stores,
    lane: LaneName,
    epoch: i64,
    /// How many writes of the row are known to have been made. Clones share it.
    writes: Arc<AtomicI64>,
}

/// What a lane knows of its row. A row that has another epoch, or fewer writes, is not what the lane knows of any more.
#[derive(Debug)]
pub struct Claim {
    /// The lane's name.
    pub lane: LaneName,
    /// The epoch under which the lane writes.
    pub epoch: i64,
    /// How many writes the row has at least.
    pub writes: i64,
}

/// How often and how soon a write is tried again whose row is locked, before the lane says that it cannot write its progress. Most locks are
/// those of another write of Andon's and last a millisecond.
const LOCKED_TRIES: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Selects the lane's own row and locks it, unless somebody else has locked it: then nothing is written, and nobody waits. A row that has fewer
/// writes than the lane knows of has lost some, and one more write would hide that.
const OWN: &str = "lane = (select lane from andon.lanes where lane = $1 and epoch = $2 and writes >= $3 for no key update skip locked)";

/// How far a lane is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Every id at or below this one is done, except those in `pending`.
    pub position: i64,
    /// The ids at or below `position` that are not done.
    pub pending: StoredPending,
    /// How many events of the log were delivered since the last checkpoint.
    pub delivered: i64,
    /// Whether this is a replay of which every event is delivered or parked.
    pub is_over: bool,
}

/// The way to write the entries of a checkpoint into the ledger.
#[derive(Debug, Clone, Copy)]
enum Parking {
    /// All of them, or none.
    Together,
    /// Each alone, after the database has refused them together, because one of them must not keep the others from being written.
    OneByOne,
}

fn is_refusal(error: &StoreError) -> bool {
    let StoreError::Database(error) = error else { return false };
    matches!(&**error, DatabaseError::Statement(error) if culprits::is_refusal(error))
}

/// Writes again while somebody else has locked the row, for a while. Between the attempts it keeps no connection from others.
async fn patiently<T, Work>(write: impl Fn() -> Work) -> Result<T, StoreError>
where
    Work: Future<Output = Result<T, StoreError>>,
{
    let mut pause = FIRST_PAUSE;
    for _ in 1..LOCKED_TRIES {
        match write().await {
            Err(error) if error.is_of_a_lock() => tokio::time::sleep(pause).await,
            written => return written,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    write().await
}

impl LaneRow {
    pub(super) fn new(stores: Stores, lane: LaneName, epoch: i64, writes: i64) -> LaneRow {
        LaneRow { stores, lane, epoch, writes: Arc::new(AtomicI64::new(writes)) }
    }

    /// Returns what the row has to say of what is pending.
    pub fn express(&self, pending: &Pending) -> StoredPending {
        self.stores.holes.express(pending)
    }

    /// Returns how long the row waits since it was written last, because of these holes of the log.
    pub fn patience(&self, undecided: &Arc<Ranges>) -> Duration {
        self.stores.holes.patience(undecided)
    }

    /// Writes only the cursor, in one statement with those of other lanes that come at the same time.
    pub async fn write_cursor(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let update = self.cursor_update(checkpoint, checkpoint.delivered);
        patiently(|| self.write_update(update.clone())).await.inspect_err(|error| self.look_at(error))
    }

    async fn write_update(&self, update: CursorUpdate) -> Result<(), StoreError> {
        self.has_written(self.outcome(self.stores.cursors.write(update).await?)?);
        Ok(())
    }

    /// Writes the cursor and the entries in one transaction. Returns the entities of which nothing is parked any more. Written entries are
    /// taken out of `entries`; after an error all of it is still there.
    pub async fn write_checkpoint(
        &self,
        checkpoint: &Checkpoint,
        entries: &mut Entries,
    ) -> Result<Vec<Entity>, StoreError> {
        let retried = entries.settled.iter().filter(|settlement| settlement.fate.is_none()).count();
        let delivered = checkpoint.delivered + i64::try_from(retried).unwrap_or(i64::MAX);
        let update = self.cursor_update(checkpoint, delivered);
        let free = match patiently(|| self.write_all(checkpoint, &update, entries, Parking::Together)).await {
            Err(error) if is_refusal(&error) => {
                culprits::make_plain(entries);
                patiently(|| self.write_all(checkpoint, &update, entries, Parking::OneByOne)).await
            }
            written => written,
        }
        .inspect_err(|error| self.look_at(error))?;
        drop(mem::take(entries));
        Ok(free)
    }

    async fn write_all(
        &self,
        checkpoint: &Checkpoint,
        update: &CursorUpdate,
        entries: &Entries,
        parking: Parking,
    ) -> Result<Vec<Entity>, StoreError> {
        let mut client = self.stores.ledger.get().await?;
        let mut transaction = client.transaction().await?;
        let written = cursor_update::write(&transaction, &[update]).await?;
        let writes = self.outcome(written.first().copied().unwrap_or(Written::Lost))?;
        let unparked = match parking {
            Parking::Together => deliveries::park(&transaction, &self.lane, &entries.parked, Kept::Whole).await?,
            Parking::OneByOne => culprits::park_each(&mut transaction, &self.lane, &entries.parked).await?,
        };
        let mut free = deliveries::make_next_due(&transaction, &self.lane, &Vec::from_iter(&unparked)).await?;
        free.extend(deliveries::settle(&transaction, &self.lane, &entries.settled).await?);
        match parking {
            Parking::Together => attempts::record(&transaction, &self.lane, &entries.attempts).await?,
            Parking::OneByOne => culprits::record(&mut transaction, &self.lane, &entries.attempts).await?,
        }
        if checkpoint.is_over {
            // The supervisors look at the destinations and replays, and find that this one is over.
            transaction.execute("select andon.notify_destinations()", &[]).await?;
        }
        transaction.commit().await?;
        self.has_written(writes);
        Ok(free)
    }

    /// Returns the entities of which something is parked that later events wait for, and makes the first delivery of each due if none is. What is
    /// not for the destination any more, as its row is now, becomes dead, and nothing waits for it.
    pub async fn resume_held(&self, route: &Route<LaneName>) -> Result<Vec<Entity>, StoreError> {
        patiently(|| self.take_up_held(route)).await
    }

    async fn take_up_held(&self, route: &Route<LaneName>) -> Result<Vec<Entity>, StoreError> {
        let mut client = self.stores.ledger.get().await?;
        let transaction = client.transaction().await?;
        let sql = "select from andon.lanes where lane = $1 and epoch = $2 and writes >= $3 for share skip locked";
        if transaction.query_opt(sql, &[&self.lane.0, &self.epoch, &self.known_writes()]).await?.is_none() {
            return Err(self.locked_or_lost(&transaction).await);
        }
        let turned_away = deliveries::turn_away(&transaction, route).await?;
        let held = deliveries::resume_held(&transaction, &self.lane).await?;
        transaction.commit().await?;
        if turned_away > 0 {
            let (lane, tenant) = (&self.lane, &route.tenant.0);
            tracing::warn!(%lane, tenant, count = turned_away, "parked deliveries are dead: the destination is of this tenant now, and its events do not name them");
        }
        Ok(held)
    }

    /// Writes what the lane is doing.
    pub async fn report(&self, state: &State) -> Result<(), StoreError> {
        match patiently(|| self.write_state(state)).await {
            Err(error) if is_refusal(&error) => self.write_state(&state.in_ascii()).await,
            written => written,
        }
    }

    async fn write_state(&self, state: &State) -> Result<(), StoreError> {
        if let State::Disabled(reason) = state {
            return self.disable(reason).await;
        }
        let (name, reason) = state.columns();
        let sql = format!(
            "update andon.lanes set state = $4, reason = $5, writes = writes + 1,
                state_since = case when state = $4 then state_since else now() end
            where {OWN} returning writes"
        );
        let client = self.stores.ledger.get().await?;
        match client.query_opt(&sql, &[&self.lane.0, &self.epoch, &self.known_writes(), &name, &reason]).await? {
            Some(row) => self.has_written(row.get(0)),
            None => return Err(self.locked_or_lost(&client).await),
        }
        Ok(())
    }

    /// Writes that the destination fails; `since_now` says that it did not fail until now. Returns whether it has failed for longer than
    /// `longest`, by the database's clock. A day without any attempt also ends a failure, because nobody is to blame for a plant's holidays.
    pub async fn failed(&self, since_now: bool, longest: &str) -> Result<bool, StoreError> {
        patiently(|| self.write_failure(since_now, longest)).await
    }

    async fn write_failure(&self, since_now: bool, longest: &str) -> Result<bool, StoreError> {
        let sql = format!(
            "update andon.lanes set failed_at = now(),
                failing_since = case when $4 or failing_since is null or failed_at < now() - interval '1 day' then now()
                    else failing_since end
            where {OWN} returning failing_since < now() - $5::text::interval"
        );
        let client = self.stores.ledger.get().await?;
        match client.query_opt(&sql, &[&self.lane.0, &self.epoch, &self.known_writes(), &since_now, &longest]).await? {
            Some(row) => Ok(row.get(0)),
            None => Err(self.locked_or_lost(&client).await),
        }
    }

    /// Writes that the destination does not fail any more.
    pub async fn succeeded(&self) -> Result<(), StoreError> {
        patiently(|| self.write_success()).await
    }

    async fn write_success(&self) -> Result<(), StoreError> {
        let sql = format!("update andon.lanes set failing_since = null where {OWN}");
        let client = self.stores.ledger.get().await?;
        let written = client.execute(&sql, &[&self.lane.0, &self.epoch, &self.known_writes()]).await?;
        if written == 0 { Err(self.locked_or_lost(&client).await) } else { Ok(()) }
    }

    /// Writes that the destination is disabled, and emits an event that tells the tenant's other destinations, in one transaction.
    async fn disable(&self, reason: &str) -> Result<(), StoreError> {
        let mut client = self.stores.ledger.get().await?;
        let mut transaction = client.transaction().await?;
        let sql = "select state from andon.lanes
            where lane = $1 and epoch = $2 and writes >= $3 for update skip locked";
        let Some(row) = transaction.query_opt(sql, &[&self.lane.0, &self.epoch, &self.known_writes()]).await? else {
            return Err(self.locked_or_lost(&transaction).await);
        };
        let written = transaction
            .query_one(
                "update andon.lanes set state = 'disabled', reason = $2, writes = writes + 1,
                    state_since = case when state = 'disabled' then state_since else now() end
                where lane = $1 returning writes",
                &[&self.lane.0, &reason],
            )
            .await?;
        if row.get::<_, &str>(0) != "disabled" {
            self.tell_disabled(&mut transaction).await?;
        }
        transaction.commit().await?;
        self.has_written(written.get(0));
        Ok(())
    }

    /// Tells the tenant's other destinations. Where the role may not do so, the lane is disabled all the same.
    async fn tell_disabled(&self, transaction: &mut Transaction<'_>) -> Result<(), StoreError> {
        let inner = transaction.transaction().await?;
        match inner.execute("select andon.emit_disabled($1)", &[&self.lane.0]).await {
            Err(error) if is_denied(&error) => {
                inner.rollback().await?;
                let (lane, error) = (&self.lane, format!("{:#}", anyhow::Error::new(error)));
                tracing::error!(%lane, error, "cannot tell the tenant's other destinations that this one is disabled; {RIGHTS}");
            }
            told => {
                told?;
                inner.commit().await?;
            }
        }
        Ok(())
    }

    /// Returns what the lane knows of its row.
    pub fn claim(&self) -> Claim {
        Claim { lane: self.lane.clone(), epoch: self.epoch, writes: self.known_writes() }
    }

    /// Returns the pool, for reading what is parked.
    pub fn pool(&self) -> &Pool {
        &self.stores.ledger
    }

    /// Returns the lane's name.
    pub fn lane(&self) -> &LaneName {
        &self.lane
    }

    /// After a crash that did not flush what was written last, the shared holes may be gone. The next write does without them.
    fn look_at(&self, error: &StoreError) {
        if error.is_of_a_reference() {
            self.stores.holes.forget();
        }
    }

    fn cursor_update(&self, checkpoint: &Checkpoint, delivered: i64) -> CursorUpdate {
        CursorUpdate {
            lane: self.lane.clone(),
            epoch: self.epoch,
            writes: self.known_writes(),
            position: checkpoint.position,
            pending: checkpoint.pending.pending.to_string(),
            shared: checkpoint.pending.shared,
            filled: checkpoint.pending.filled.to_string(),
            delivered,
        }
    }

    /// Returns how many writes of the row were made, if it is written.
    fn outcome(&self, written: Written) -> Result<i64, StoreError> {
        match written {
            Written::Yes(writes) => Ok(writes),
            Written::Locked => Err(DatabaseError::Locked.into()),
            Written::Lost => Err(self.lost()),
        }
    }

    /// Says why the row could not be written.
    async fn locked_or_lost(&self, client: &impl GenericClient) -> StoreError {
        match cursor_update::owned(client, &[&self.lane.0], &[self.epoch], &[self.known_writes()]).await {
            Ok(owned) if owned.is_empty() => self.lost(),
            Ok(_) => DatabaseError::Locked.into(),
            Err(error) => error.into(),
        }
    }

    /// Returns how many writes of the row are known to have been made.
    fn known_writes(&self) -> i64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Remembers that a write was committed, after which the row had so many.
    fn has_written(&self, writes: i64) {
        self.writes.fetch_max(writes, Ordering::Relaxed);
    }

    fn lost(&self) -> StoreError {
        Lost(self.lane.clone()).into()
    }
}
