//! A lane's row in `andon.lanes`. In: the lane's cursor and state, and what it parks. Out: a checkpoint, all in one transaction, under the
//! lane's epoch: a daemon that has lost the lane writes nothing. It never decides where the cursor stands.

use std::mem;
use std::time::Duration;

use deadpool_postgres::GenericClient;
use deadpool_postgres::Pool;

use crate::destination::LaneName;
use crate::event::DESTINATION;
use crate::event::DISABLED;
use crate::event::Entity;
use crate::lane::store::Stores;
use crate::lane::store::cursor_update;
use crate::lane::store::cursor_update::CursorUpdate;
use crate::lane::store::cursor_update::Written;
use crate::lane::store::error::DatabaseError;
use crate::lane::store::error::Lost;
use crate::lane::store::error::StoreError;
use crate::lane::store::state::State;
use crate::ledger::Entries;
use crate::ledger::attempts;
use crate::ledger::deliveries;
use crate::ranges::Ranges;

/// The right to write a lane's row, for as long as nobody takes the lane over.
#[derive(Debug, Clone)]
pub struct LaneRow {
    stores: Stores,
    lane: LaneName,
    epoch: i64,
}

/// How often and how soon a cursor is tried again whose row is locked, before the lane says that it cannot write its progress.
const LOCKED_TRIES: u32 = 10;
const LOCKED_PAUSE: Duration = Duration::from_millis(200);

/// Selects the lane's own row and locks it, unless somebody else has locked it: then nothing is written, and nobody waits.
const OWN: &str = "lane = (select lane from andon.lanes where lane = $1 and epoch = $2 for no key update skip locked)";

/// How far a lane is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Every id at or below this one is done, except those in `pending`.
    pub position: i64,
    /// The ids at or below `position` that are not done.
    pub pending: Ranges,
    /// How many events of the log were delivered since the last checkpoint.
    pub delivered: i64,
    /// Whether this is a replay of which every event is delivered or parked.
    pub is_over: bool,
}

impl LaneRow {
    pub(super) fn new(stores: Stores, lane: LaneName, epoch: i64) -> LaneRow {
        LaneRow { stores, lane, epoch }
    }

    /// Writes only the cursor, in one statement with those of other lanes that come at the same time.
    pub async fn write_cursor(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let update = self.cursor_update(checkpoint, checkpoint.delivered);
        for _ in 0..LOCKED_TRIES {
            match self.stores.cursors.write(update.clone()).await? {
                Written::Yes => return Ok(()),
                Written::Locked => tokio::time::sleep(LOCKED_PAUSE).await,
                Written::Lost => return Err(self.lost()),
            }
        }
        Err(DatabaseError::Locked.into())
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
        let mut client = self.stores.ledger.get().await?;
        let transaction = client.transaction().await?;
        match cursor_update::write(&transaction, &[&update]).await?.first() {
            Some(Written::Yes) => {}
            Some(Written::Locked) => return Err(DatabaseError::Locked.into()),
            Some(Written::Lost) | None => return Err(self.lost()),
        }
        deliveries::park(&transaction, &self.lane, &entries.parked).await?;
        let free = deliveries::settle(&transaction, &self.lane, &entries.settled).await?;
        attempts::record(&transaction, &self.lane, &entries.attempts).await?;
        if checkpoint.is_over {
            // The supervisors look at the destinations and replays, and find that this one is over.
            transaction.execute("select andon.notify_destinations()", &[]).await?;
        }
        transaction.commit().await?;
        drop(mem::take(entries));
        Ok(free)
    }

    /// Returns the entities of which something is parked that later events wait for, and makes the first delivery of each due if none is.
    pub async fn resume_held(&self) -> Result<Vec<Entity>, StoreError> {
        let mut client = self.stores.ledger.get().await?;
        let transaction = client.transaction().await?;
        let sql = "select from andon.lanes where lane = $1 and epoch = $2 for share skip locked";
        if transaction.query_opt(sql, &[&self.lane.0, &self.epoch]).await?.is_none() {
            return Err(self.locked_or_lost(&transaction).await);
        }
        let held = deliveries::resume_held(&transaction, &self.lane).await?;
        transaction.commit().await?;
        Ok(held)
    }

    /// Writes what the lane is doing.
    pub async fn report(&self, state: &State) -> Result<(), StoreError> {
        if let State::Disabled { destination_kind, reason } = state {
            return self.disable(destination_kind, reason).await;
        }
        let (name, reason) = state.columns();
        let sql = format!(
            "update andon.lanes set state = $3, reason = $4,
                state_since = case when state = $3 then state_since else now() end where {OWN}"
        );
        let client = self.stores.ledger.get().await?;
        let written = client.execute(&sql, &[&self.lane.0, &self.epoch, &name, &reason]).await?;
        if written == 0 { Err(self.locked_or_lost(&client).await) } else { Ok(()) }
    }

    /// Writes that the destination fails; `since_now` says that it did not fail until now. Returns whether it has failed for longer than
    /// `longest`, by the database's clock. A day without any attempt also ends a failure, because nobody is to blame for a plant's holidays.
    pub async fn failed(&self, since_now: bool, longest: &str) -> Result<bool, StoreError> {
        let sql = format!(
            "update andon.lanes set failed_at = now(),
                failing_since = case when $3 or failing_since is null or failed_at < now() - interval '1 day' then now()
                    else failing_since end
            where {OWN} returning failing_since < now() - $4::text::interval"
        );
        let client = self.stores.ledger.get().await?;
        match client.query_opt(&sql, &[&self.lane.0, &self.epoch, &since_now, &longest]).await? {
            Some(row) => Ok(row.get(0)),
            None => Err(self.locked_or_lost(&client).await),
        }
    }

    /// Writes that the destination does not fail any more, if the row says that it does.
    pub async fn succeeded(&self) -> Result<(), StoreError> {
        let sql = format!("update andon.lanes set failing_since = null where {OWN} and failing_since is not null");
        self.stores.ledger.get().await?.execute(&sql, &[&self.lane.0, &self.epoch]).await?;
        Ok(())
    }

    /// Writes that the destination is disabled, and emits an event that tells the tenant's other destinations, in one transaction.
    async fn disable(&self, destination_kind: &str, reason: &str) -> Result<(), StoreError> {
        let mut client = self.stores.ledger.get().await?;
        let transaction = client.transaction().await?;
        let sql = "select state, tenant, name, coalesce(failing_since, now())::text from andon.lanes
            where lane = $1 and epoch = $2 for update skip locked";
        let Some(row) = transaction.query_opt(sql, &[&self.lane.0, &self.epoch]).await? else {
            return Err(self.locked_or_lost(&transaction).await);
        };
        transaction
            .execute(
                "update andon.lanes set state = 'disabled', reason = $2,
                    state_since = case when state = 'disabled' then state_since else now() end
                where lane = $1",
                &[&self.lane.0, &reason],
            )
            .await?;
        if row.get::<_, &str>(0) != "disabled" {
            let (tenant, name, since): (&str, &str, &str) = (row.get(1), row.get(2), row.get(3));
            transaction
                .execute(
                    "select andon.emit($1, jsonb_build_object('lane', $2::text, 'name', $3::text, 'kind', $4::text, 'reason', $5::text,
                        'since', $6::text::timestamptz), $7, $8, $2)",
                    &[&DISABLED, &self.lane.0, &name, &destination_kind, &reason, &since, &tenant, &DESTINATION],
                )
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Returns the pool, for reading what is parked.
    pub fn pool(&self) -> &Pool {
        &self.stores.ledger
    }

    /// Returns the lane's name.
    pub fn lane(&self) -> &LaneName {
        &self.lane
    }

    fn cursor_update(&self, checkpoint: &Checkpoint, delivered: i64) -> CursorUpdate {
        CursorUpdate {
            lane: self.lane.clone(),
            epoch: self.epoch,
            position: checkpoint.position,
            pending: checkpoint.pending.to_string(),
            delivered,
        }
    }

    /// Says why the row could not be written.
    async fn locked_or_lost(&self, client: &impl GenericClient) -> StoreError {
        match cursor_update::owned(client, &[&self.lane.0], &[self.epoch]).await {
            Ok(owned) if owned.is_empty() => self.lost(),
            Ok(_) => DatabaseError::Locked.into(),
            Err(error) => error.into(),
        }
    }

    fn lost(&self) -> StoreError {
        Lost(self.lane.clone()).into()
    }
}
