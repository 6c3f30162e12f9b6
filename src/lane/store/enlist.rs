//! Taking lanes over, at the start of a daemon or when their destinations have changed. In: destinations, and how far the tail is. Out: the
//! right to write each lane's row, and the cursor that the lane goes on from. One statement takes all lanes; one that another daemon serves,
//! or whose row somebody has locked, is left out and holds up no other.

use std::collections::HashMap;
use std::collections::HashSet;
use std::ops::Range;

use jiff::Timestamp;
use tokio_postgres::GenericClient;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::destination::DestinationRow;
use crate::destination::LaneName;
use crate::feed::Horizon;
use crate::lane::store::Stores;
use crate::lane::store::error::DatabaseError;
use crate::lane::store::error::StoreError;
use crate::lane::store::row::LaneRow;
use crate::lane::store::state::State;
use crate::log::time_range;
use crate::ranges::NotRanges;
use crate::ranges::Ranges;

/// A lane that this daemon may serve now.
#[derive(Debug)]
pub struct Enlisted {
    /// The right to write the lane's row.
    pub row: LaneRow,
    /// Every id at or below this one is done, except those in `pending`.
    pub position: i64,
    /// The ids at or below `position` that are not done.
    pub pending: Ranges,
    /// Why the lane is disabled. There is no reason if it is not disabled, or if its destination has been changed since.
    pub disabled: Option<String>,
    /// Why a webhook was only probed when the lane was last served, as the row still says.
    pub open: Option<String>,
    /// Whether anything of it is parked and not dead.
    pub has_parked: bool,
    /// Whether its row says that the destination fails.
    pub is_failing: bool,
    /// Only if its destination was gone or not active: the ids that it passes over, because nothing was wanted meanwhile.
    pub passed_over: Option<Ranges>,
}

/// The epoch of a lane that is taken over now. It is a time, so that it is none that was given out before, not even by a server whose last
/// writes are lost: nothing of what a lane knew then can be written under it.
const NEW_EPOCH: &str = "(extract(epoch from clock_timestamp()) * 1000000)::int8";

/// How many lanes one statement takes, so that their rows are not locked for long.
const AT_ONCE: usize = 2000;

/// Takes lanes over under a new epoch, unless another living daemon has them.
///
/// A lane that has no row yet starts at the tail, or, if its destination names a time, at this time of the log. A lane whose destination
/// was removed and comes back starts in the same way, but never before its old position: what it delivered then is not delivered again. The
/// lane of a replay has the ids of the replay as pending, and nothing else.
///
/// A destination whose name or problems PostgreSQL refuses to store becomes unusable in `listed`.
pub async fn enlist(
    client: &impl GenericClient,
    stores: &Stores,
    listed: &mut [DestinationRow],
    tail: &Horizon,
    daemon: Uuid,
) -> Result<HashMap<LaneName, Enlisted>, StoreError> {
    let mut enlisted = HashMap::new();
    let mut parts: Vec<Range<usize>> = Vec::new();
    parts.extend((0..listed.len()).step_by(AT_ONCE).map(|first| first..listed.len().min(first + AT_ONCE)));
    while let Some(part) = parts.pop() {
        let error = match enlist_part(client, stores, &listed[part.clone()], tail, daemon).await {
            Ok(taken) => {
                enlisted.extend(taken);
                continue;
            }
            Err(error) => refusal(&error).ok_or(error)?,
        };
        // One value that cannot be stored, such as a letter that the database's encoding does not have, is looked for by halving.
        let middle = part.start + part.len() / 2;
        if part.len() > 1 {
            parts.extend([part.start..middle, middle..part.end]);
        } else if listed[middle].refuse(&error) {
            parts.push(part);
        } else {
            tracing::error!(lane = %listed[middle].lane, error, "the lane cannot be started");
        }
    }
    Ok(enlisted)
}

/// Returns what PostgreSQL has against a value, if that is what the error is about.
fn refusal(error: &StoreError) -> Option<String> {
    let StoreError::Database(error) = error else { return None };
    let DatabaseError::Statement(error) = &**error else { return None };
    let error = error.as_db_error()?;
    let is_of_a_value = ["22", "54"].iter().any(|class| error.code().code().starts_with(class));
    is_of_a_value.then(|| error.message().chars().filter(char::is_ascii).collect())
}

async fn enlist_part(
    client: &impl GenericClient,
    stores: &Stores,
    listed: &[DestinationRow],
    tail: &Horizon,
    daemon: Uuid,
) -> Result<Vec<(LaneName, Enlisted)>, StoreError> {
    let starts = starts(client, listed).await?;
    let cursors: Vec<(i64, Ranges)> = listed.iter().map(|listed| first_cursor(listed, tail, &starts)).collect();
    let rows = take(client, listed, &cursors, daemon).await?;
    let mut enlisted = Vec::with_capacity(rows.len());
    for row in &rows {
        let (lane, own) =
            (LaneName(row.get(0)), LaneRow::new(stores.clone(), LaneName(row.get(0)), row.get(1), row.get(10)));
        let read = match read(row, own.clone()) {
            Ok(read) => read,
            Err(error) => without_cursor(own, &error).await?,
        };
        enlisted.push((lane, read));
    }
    Ok(enlisted)
}

/// Returns a lane that does nothing, because somebody has written a cursor into its row that Andon does not write.
async fn without_cursor(row: LaneRow, error: &NotRanges) -> Result<Enlisted, StoreError> {
    let reason =
        format!("its cursor cannot be read: {error}; mend `pending` in andon.lanes, then change the destination's row");
    row.report(&State::Misconfigured(reason.clone())).await?;
    let (pending, disabled) = (Ranges::default(), Some(reason));
    Ok(Enlisted {
        row,
        position: 0,
        pending,
        disabled,
        open: None,
        has_parked: false,
        is_failing: true,
        passed_over: None,
    })
}

async fn take(
    client: &impl GenericClient,
    listed: &[DestinationRow],
    cursors: &[(i64, Ranges)],
    daemon: Uuid,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let texts = |of: fn(&DestinationRow) -> &str| listed.iter().map(of).collect::<Vec<&str>>();
    let states: Vec<(&str, Option<String>)> = listed.iter().map(state).collect();
    let replays: Vec<Option<i64>> = listed.iter().map(|it| it.replay.as_ref().map(|replay| replay.id)).collect();
    client
        .query(
            &format!("with wanted as materialized (
                select * from unnest($1::text[], $2::text[], $3::text[], $4::int8[], $5::text[], $6::text[], $7::text[], $8::text[], $9::int8[], $11::text[])
                    it (lane, tenant, name, position, pending, state, reason, fingerprint, replay, patterns)
            ), free as (
                select l.lane, l.state, l.position, case when l.state = 'removed' then andon.pending_ids(l) else l.pending end pending,
                    l.fingerprint = wanted.fingerprint
                        and (l.state = 'disabled' or l.state = 'open' and wanted.state = 'running' and l.failing_since is not null) stays
                from andon.lanes l join wanted using (lane)
                where l.daemon = $10 or not andon.is_served(l.daemon) for no key update of l skip locked
            ), taken as (
                update andon.lanes l set
                    tenant = it.tenant, name = it.name, patterns = it.patterns::text[], epoch = greatest(l.epoch + 1, {NEW_EPOCH}), fingerprint = it.fingerprint, daemon = $10,
                    position = case when l.state = 'removed' then greatest(it.position, l.position) else l.position end,
                    pending = case when l.state = 'removed' and it.position > l.position then it.pending::int8multirange else l.pending end,
                    shared_holes = case when l.state = 'removed' and it.position > l.position then null else l.shared_holes end,
                    state = case when free.stays then l.state else it.state end,
                    reason = case when free.stays then l.reason else it.reason end,
                    failing_since = case when l.state = 'removed' or l.fingerprint <> it.fingerprint then null else l.failing_since end,
                    state_since = case when free.stays or l.state = it.state then l.state_since else now() end,
                    updated_at = now()
                from wanted it join free using (lane) where l.lane = it.lane
                returning l.lane, l.epoch, l.writes, l.position, l.pending, l.state, l.reason,
                    free.state = 'removed' was_removed, free.position old_position, free.pending old_pending,
                    l.failing_since is not null is_failing
            ), created as (
                insert into andon.lanes (lane, tenant, name, position, pending, epoch, state, reason, fingerprint, daemon, replay, patterns)
                select lane, tenant, name, position, pending::int8multirange, {NEW_EPOCH}, state, reason, fingerprint, $10, replay, patterns::text[] from wanted
                where not exists (select from andon.lanes known where known.lane = wanted.lane)
                on conflict do nothing
                returning lane, epoch, writes, position, pending, state, reason, false, position, pending, false
            )
            select lane, epoch, position, pending::text, state, reason, was_removed, old_position, old_pending::text,
                exists (select from andon.deliveries parked where parked.lane = it.lane and parked.state <> 'dead'),
                writes, is_failing
            from (select * from taken union all select * from created) it"),
            &[
                &texts(|it| &it.lane.0),
                &texts(|it| &it.tenant.0),
                &texts(|it| &it.name),
                &cursors.iter().map(|(position, _)| *position).collect::<Vec<_>>(),
                &cursors.iter().map(|(_, pending)| pending.to_string()).collect::<Vec<_>>(),
                &states.iter().map(|(state, _)| *state).collect::<Vec<_>>(),
                &states.iter().map(|(_, reason)| reason.as_deref()).collect::<Vec<_>>(),
                &texts(|it| &it.fingerprint),
                &replays,
                &daemon,
                &listed.iter().map(patterns).collect::<Vec<_>>(),
            ],
        )
        .await
}

/// Returns the patterns of the events that a lane wants, as an array of PostgreSQL. None of them can contain what would have to be quoted.
fn patterns(listed: &DestinationRow) -> Option<String> {
    let wanted = &listed.usable.as_ref().ok()?.route.events;
    let texts: Vec<String> = wanted.iter().map(|pattern| format!("\"{pattern}\"")).collect();
    Some(format!("{{{}}}", texts.join(",")))
}

/// Returns the state that a lane starts in, with the reason.
fn state(listed: &DestinationRow) -> (&'static str, Option<String>) {
    match &listed.usable {
        Err(problems) => ("misconfigured", Some(problems.join("\n"))),
        Ok(_) if listed.is_paused => ("paused", Some("settings.paused is true".to_owned())),
        Ok(_) => ("running", None),
    }
}

fn read(row: &Row, own: LaneRow) -> Result<Enlisted, NotRanges> {
    let (position, pending, old_position): (i64, _, i64) = (row.get(2), Ranges::parse(row.get(3))?, row.get(7));
    let mut passed_over = None;
    if row.get(6) {
        let wanted_once = Ranges::parse(row.get(8))?.union(&Ranges::span(old_position.saturating_add(1), position));
        passed_over = Some(if position > old_position { wanted_once.without(&pending) } else { Ranges::default() });
    }
    let reason_of = |state: &str| row.get::<_, Option<String>>(5).filter(|_| row.get::<_, &str>(4) == state);
    Ok(Enlisted {
        row: own,
        position,
        pending,
        disabled: reason_of("disabled"),
        open: reason_of("open"),
        has_parked: row.get(9),
        is_failing: row.get(11),
        passed_over,
    })
}

/// Returns the id before the first that was captured at each of the times at which these destinations start. Only those are looked up whose
/// lanes begin now, because the others go on from their cursors.
async fn starts(client: &impl GenericClient, listed: &[DestinationRow]) -> Result<HashMap<Timestamp, i64>, StoreError> {
    let timed: Vec<&str> = listed.iter().filter(|it| it.start_at.is_some()).map(|it| it.lane.0.as_str()).collect();
    let mut starts = HashMap::new();
    if timed.is_empty() {
        return Ok(starts);
    }
    let sql = "select lane from unnest($1::text[]) wanted (lane) left join andon.lanes known using (lane)
        where known.state is null or known.state = 'removed'";
    let rows = client.query(sql, &[&timed]).await?;
    let begin: HashSet<&str> = rows.iter().map(|row| row.get(0)).collect();
    for time in listed.iter().filter(|it| begin.contains(it.lane.0.as_str())).filter_map(|it| it.start_at) {
        if !starts.contains_key(&time)
            && let Some(first) = time_range::first(client, time).await?
        {
            starts.insert(time, first - 1);
        }
    }
    Ok(starts)
}

/// Returns the cursor of a lane that begins.
fn first_cursor(listed: &DestinationRow, tail: &Horizon, starts: &HashMap<Timestamp, i64>) -> (i64, Ranges) {
    if let Some(replay) = &listed.replay {
        return (replay.last, Ranges::span(replay.first, replay.last));
    }
    let mut undecided = Ranges::clone(&tail.undecided);
    let start = listed.start_at.and_then(|time| starts.get(&time).copied());
    if let Some(start) = start.filter(|start| *start < tail.position) {
        // A transaction that was open at this time may still commit events with ids below the first that was captured after it.
        undecided.remove(start + 1, i64::MAX);
        return (start, undecided);
    }
    (tail.position, undecided)
}
