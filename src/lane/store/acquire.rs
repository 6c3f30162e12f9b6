//! Taking a lane over, at the start of a daemon or when its destination has changed. In: a destination, and how far the tail is. Out: the
//! right to write the lane's row, and the cursor that the lane goes on from.

use deadpool_postgres::Client;
use deadpool_postgres::Pool;
use uuid::Uuid;

use crate::destination::DestinationRow;
use crate::feed::Horizon;
use crate::lane::store::cursor_writer::CursorWriter;
use crate::lane::store::error::StoreError;
use crate::lane::store::row::LaneRow;
use crate::ranges::Ranges;

/// A lane that this daemon may serve now.
#[derive(Debug)]
pub struct Acquired {
    /// The right to write the lane's row.
    pub row: LaneRow,
    /// Every id at or below this one is done, except those in `pending`.
    pub position: i64,
    /// The ids at or below `position` that are not done.
    pub pending: Ranges,
    /// Why the lane is disabled. There is no reason if it is not disabled, or if its destination has been changed since.
    pub disabled: Option<String>,
}

/// The epoch of a lane that is taken over now. It is a time, so that it is none that was given out before, not even by a server whose last
/// writes are lost: nothing of what a lane knew then can be written under it.
const NEW_EPOCH: &str = "(extract(epoch from clock_timestamp()) * 1000000)::int8";

/// Takes a lane over under a new epoch, unless another living daemon has it.
///
/// A lane that has no row yet starts at the tail, or, if its destination names a time, at this time of the log. A lane whose destination
/// was removed and comes back starts in the same way, but never before its old position: what it delivered then is not delivered again. The
/// lane of a replay has the ids of the replay as pending, and nothing else.
pub async fn acquire(
    pool: &Pool,
    cursor_writer: &CursorWriter,
    listed: &DestinationRow,
    tail: &Horizon,
    daemon: Uuid,
) -> Result<Option<Acquired>, StoreError> {
    let client = pool.get().await?;
    let (position, pending) = first_cursor(&client, listed, tail).await?;
    let replay = listed.replay.as_ref().map(|replay| replay.id);
    let problems = listed.usable.as_ref().err().map(|problems| problems.join("\n"));
    let state = if problems.is_some() { "misconfigured" } else { "running" };
    let row = client
        .query_opt(
            &format!("insert into andon.lanes as l (lane, tenant, name, position, pending, epoch, state, reason, fingerprint, daemon, replay)
            values ($1, $2, $3, $4, $5::text::int8multirange, {NEW_EPOCH}, $6, $7, $8, $9, $10)
            on conflict (lane) do update set
                tenant = excluded.tenant, name = excluded.name, epoch = greatest(l.epoch + 1, excluded.epoch), fingerprint = excluded.fingerprint,
                daemon = excluded.daemon,
                position = case when l.state = 'removed' then greatest(excluded.position, l.position) else l.position end,
                pending = case when l.state = 'removed' and excluded.position > l.position then excluded.pending else l.pending end,
                state = case when l.state = 'disabled' and l.fingerprint = excluded.fingerprint then l.state else excluded.state end,
                reason = case when l.state = 'disabled' and l.fingerprint = excluded.fingerprint then l.reason else excluded.reason end,
                failing_since = case when l.state = 'removed' or l.fingerprint <> excluded.fingerprint then null else l.failing_since end,
                state_since = case when l.state = excluded.state then l.state_since else now() end,
                updated_at = now()
            where l.daemon = excluded.daemon or not andon.is_served(l.daemon)
            returning epoch, position, pending::text, state, reason, writes"),
            &[
                &listed.lane.0,
                &listed.tenant.0,
                &listed.name,
                &position,
                &pending.to_string(),
                &state,
                &problems,
                &listed.fingerprint,
                &daemon,
                &replay,
            ],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let is_disabled = row.get::<_, &str>(3) == "disabled";
    Ok(Some(Acquired {
        row: LaneRow::new(pool.clone(), cursor_writer.clone(), listed.lane.clone(), row.get(0), row.get(5)),
        position: row.get(1),
        pending: Ranges::parse(row.get(2))?,
        disabled: row.get::<_, Option<String>>(4).filter(|_| is_disabled),
    }))
}

/// Returns the cursor of a lane that has no row yet.
async fn first_cursor(client: &Client, listed: &DestinationRow, tail: &Horizon) -> Result<(i64, Ranges), StoreError> {
    if let Some(replay) = &listed.replay {
        return Ok((replay.last, Ranges::span(replay.first, replay.last)));
    }
    let mut undecided = Ranges::clone(&tail.undecided);
    if let Some(time) = listed.start_at {
        let sql = "select min(id) - 1 from andon.events where captured_at >= $1";
        let start: Option<i64> = client.query_one(sql, &[&time]).await?.get(0);
        if let Some(start) = start.filter(|start| *start < tail.position) {
            // A transaction that was open at this time may still commit events with ids below the first that was captured after it.
            undecided.remove(start + 1, i64::MAX);
            return Ok((start, undecided));
        }
    }
    Ok((tail.position, undecided))
}
