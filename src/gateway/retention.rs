//! Retention keeps the log and the ledger within their limits. In: the limits, once a minute. Out: partitions that are made ahead, and
//! partitions beyond a limit that are emptied and dropped. A lane that has not read a dropped partition skips it; the events that it lost
//! are counted and logged. It never makes a writer of the plant wait, and several daemons may do it at once.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use anyhow::Context as _;
use deadpool_postgres::Pool;
use tokio::sync::watch;
use tokio_postgres::Client;

use crate::capture::failures;
use crate::database::locks;
use crate::destination::Defaults;
use crate::destination::DestinationRow;
use crate::destination::LaneName;
use crate::feed::Horizon;
use crate::gateway::destinations;
use crate::gateway::unread_counts::UnreadCounts;
use crate::lane::store::fallen_behind;
use crate::lane::store::fallen_behind::FallenBehind;
use crate::ledger::attempts;
use crate::log::partitions;
use crate::log::partitions::Limit;
use crate::log::partitions::Partition;
use crate::router::EventPattern;
use crate::settings::Retention;

const INTERVAL: Duration = Duration::from_secs(60);
/// How soon partitions that could not be made are tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How often it is compared how far the log is with the end of its partitions. A second of the fastest burst is less than half of them.
const LOOK: Duration = Duration::from_millis(250);

/// The events that each lane wants, for the lanes whose destinations can be read.
type Patterns = HashMap<LaneName, WantedTypes>;

/// The types of events that a lane wants. A replay wants those that match both lists.
#[derive(Debug)]
struct WantedTypes {
    live: Vec<EventPattern>,
    replayed: Option<Vec<EventPattern>>,
}

impl WantedTypes {
    fn includes(&self, event_type: &str) -> bool {
        let any = |patterns: &Vec<EventPattern>| patterns.iter().any(|pattern| pattern.matches(event_type));
        any(&self.live) && self.replayed.as_ref().is_none_or(any)
    }
}

/// Applies the limits once a minute, and makes partitions whenever the log nears the end of those that are there, forever.
pub(super) async fn run(pool: &Pool, retention: &Retention, defaults: &Defaults, horizon: &watch::Receiver<Horizon>) {
    let mut told = Vec::new();
    loop {
        // Partitions are made for this position below, however far a burst gets meanwhile.
        let position = horizon.borrow().position;
        tell_strangers(pool, &mut told).await;
        if let Err(error) = apply_once(pool, retention, defaults).await {
            tracing::warn!(error = format!("{error:#}"), "cannot apply the retention limits; trying again in a minute");
        }
        if tokio::time::timeout(INTERVAL, keep_ahead(pool, retention, horizon, position))
            .await
            .is_ok_and(|made| made.is_err())
        {
            // The database is away, or it refuses: the next minute tells which.
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

/// Makes partitions as often as half of what was made ahead is used up, so that a burst does not overtake them. The last were made when the
/// tail was at `position`.
async fn keep_ahead(
    pool: &Pool,
    retention: &Retention,
    horizon: &watch::Receiver<Horizon>,
    position: i64,
) -> anyhow::Result<Infallible> {
    let mut end = partitions::end(&*pool.get().await?).await?;
    let mut wake_at = half_way(position, end);
    let mut clock = tokio::time::interval(LOOK);
    loop {
        clock.tick().await;
        let position = horizon.borrow().position;
        if position < wake_at {
            continue;
        }
        let client = pool.get().await?;
        partitions::extend(&client, retention.log_age, retention.log_size).await?;
        let before = std::mem::replace(&mut end, partitions::end(&client).await?);
        drop(client);
        if end == before {
            // Somebody holds a lock, or what lies there already has to be removed first.
            tokio::time::sleep(RETRY).await;
        } else {
            wake_at = half_way(position, end);
        }
    }
}

/// Returns the id between these two at which it is time to look again.
fn half_way(position: i64, end: i64) -> i64 {
    position + ((end - position) / 2).max(1)
}

/// Tells of the sessions that hold a lock of Andon's without a right to it, as long as there are any: what the lock is for waits for them.
async fn tell_strangers(pool: &Pool, told: &mut Vec<String>) {
    let Ok(client) = pool.get().await else { return };
    let strangers = locks::strangers(&client).await.unwrap_or_default();
    for stranger in strangers.iter().filter(|stranger| !told.contains(stranger)) {
        tracing::error!(stranger, "somebody without the rights of a daemon holds a lock of Andon's; end that session");
    }
    *told = strangers;
}

async fn apply_once(pool: &Pool, retention: &Retention, defaults: &Defaults) -> anyhow::Result<()> {
    let mut client = pool.get().await?;
    apply(&mut client, retention, defaults).await
}

/// Applies the limits once.
pub async fn apply(client: &mut Client, retention: &Retention, defaults: &Defaults) -> anyhow::Result<()> {
    partitions::extend(client, retention.log_age, retention.log_size).await.context("making partitions of the log")?;
    attempts::keep(client, retention.attempts_age).await.context("making and dropping partitions of the attempts")?;
    let unseen = failures::keep(client, retention.attempts_age).await.context("removing old failures of captures")?;
    if unseen > 0 {
        tracing::error!(unseen, "changes that were not captured are forgotten, because there are too many of them");
    }
    let partitions = partitions::list(client).await.context("looking at the partitions of the log")?;
    let over = partitions::over(&partitions, retention.log_age, retention.log_size);
    if !over.is_empty() {
        let patterns = patterns(client, defaults).await;
        for (partition, limit) in over {
            if !shorten(client, &partition, limit, &patterns).await.context("shortening the log")? {
                break;
            }
        }
    }
    let dropped = partitions::drop_empty(client).await.context("dropping partitions of the log")?;
    tracing::debug!(dropped, "applied the retention limits");
    Ok(())
}

/// Empties one partition. Returns false if it has to stay for now; then the partitions after it stay as well.
async fn shorten(
    client: &mut Client,
    partition: &Partition,
    limit: Limit,
    patterns: &Patterns,
) -> anyhow::Result<bool> {
    // A lane that is making progress, however slowly, or that waited for a daemon to come back, loses events only to the size limit.
    let must_stay = |behind: &[FallenBehind]| limit == Limit::Age && behind.iter().any(|lane| lane.is_running);
    let behind = fallen_behind::lanes(client, partition.low, partition.past).await?;
    if must_stay(&behind) {
        return Ok(false);
    }
    let counts = UnreadCounts::count(client, behind).await?;
    let transaction = client.transaction().await?;
    let behind = fallen_behind::lock(&transaction, partition.low, partition.past).await?;
    if must_stay(&behind) {
        return Ok(false);
    }
    let mut losses = Vec::new();
    for lane in behind {
        // Where the destination's row cannot be read, all events count, because it may have wanted every one of them; where the events cannot
        // be counted, the ids do.
        let wanted = patterns.get(&lane.lane);
        let is_wanted = |event_type: &str| wanted.is_none_or(|wanted| wanted.includes(event_type));
        let counted = counts.of(&transaction, &lane, is_wanted).await?;
        let is_exact = counted.is_some() && wanted.is_some();
        let lost = counted.unwrap_or_else(|| lane.unread.iter().map(|(low, high)| high - low + 1).sum());
        fallen_behind::skip(&transaction, &lane.lane, (partition.low, partition.past), lost).await?;
        losses.push((lane, lost, is_exact));
    }
    if !partitions::empty(&transaction, partition).await? {
        return Ok(false);
    }
    transaction.commit().await?;
    for (FallenBehind { lane, name, .. }, lost, is_exact) in losses.into_iter().filter(|(_, lost, _)| *lost > 0) {
        let limit = match limit {
            Limit::Age => "retention.log_age",
            Limit::Size => "retention.log_size",
        };
        tracing::error!(%lane, name, lost, is_exact, limit, "fell off the log: events that it had not taken are gone");
    }
    Ok(true)
}

async fn patterns(client: &mut Client, defaults: &Defaults) -> Patterns {
    // The lanes of a table that cannot be read are among those whose losses are counted for all events.
    let listed = match destinations::lanes(client, defaults).await {
        Ok(listing) => listing.active,
        Err(error) => {
            tracing::warn!(
                error = format!("{error:#}"),
                "cannot read the destinations; losses are counted for all events"
            );
            Vec::new()
        }
    };
    let wanted = |listed: DestinationRow| {
        let route = listed.usable.ok()?.route;
        Some((route.lane, WantedTypes { live: route.events, replayed: listed.replay.map(|replay| replay.events) }))
    };
    listed.into_iter().filter_map(wanted).collect()
}
