//! Retention keeps the log and the ledger within their limits. In: the limits, once a minute. Out: partitions that are made ahead, and
//! partitions beyond a limit that are emptied and dropped. A lane that has not read a dropped partition skips it; the events that it lost
//! are counted and logged. It never makes a writer of the plant wait, and several daemons may do it at once.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use deadpool_postgres::Pool;
use tokio_postgres::Client;
use tokio_postgres::Transaction;

use crate::database::locks;
use crate::destination::Defaults;
use crate::destination::DestinationRow;
use crate::destination::LaneName;
use crate::gateway::destinations;
use crate::lane::store::fallen_behind;
use crate::lane::store::fallen_behind::FallenBehind;
use crate::ledger::attempts;
use crate::log::partitions;
use crate::log::partitions::Limit;
use crate::log::partitions::Partition;
use crate::router::EventPattern;
use crate::settings::Retention;

const INTERVAL: Duration = Duration::from_secs(60);

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

/// Applies the limits once a minute, forever.
pub(super) async fn run(pool: &Pool, retention: &Retention, defaults: &Defaults) {
    let mut told = Vec::new();
    loop {
        tell_strangers(pool, &mut told).await;
        if let Err(error) = apply_once(pool, retention, defaults).await {
            tracing::warn!(error = format!("{error:#}"), "cannot apply the retention limits; trying again in a minute");
        }
        tokio::time::sleep(INTERVAL).await;
    }
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
    let partitions = partitions::list(client).await.context("looking at the partitions of the log")?;
    let over = partitions::over(&partitions, retention.log_age, retention.log_size);
    if !over.is_empty() {
        let patterns = patterns(client, defaults).await;
        for (partition, limit) in over {
            if !shorten(client, partition, limit, &patterns).await.context("shortening the log")? {
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
    let transaction = client.transaction().await?;
    let behind = fallen_behind::lanes(&transaction, partition.low, partition.past).await?;
    // A lane that is making progress, however slowly, or that waited for a daemon to come back, loses events only to the size limit.
    if limit == Limit::Age && behind.iter().any(|lane| lane.is_running) {
        return Ok(false);
    }
    let mut losses = Vec::new();
    for lane in behind {
        let lost = lost(&transaction, &lane, patterns).await?;
        fallen_behind::skip(&transaction, &lane.lane, (partition.low, partition.past), lost).await?;
        losses.push((lane, lost));
    }
    if !partitions::empty(&transaction, partition).await? {
        return Ok(false);
    }
    transaction.commit().await?;
    for (FallenBehind { lane, name, .. }, lost) in losses.into_iter().filter(|(_, lost)| *lost > 0) {
        let limit = match limit {
            Limit::Age => "retention.log_age",
            Limit::Size => "retention.log_size",
        };
        // If the destination's row cannot be read, the count is that of all events: it may have wanted every one of them.
        let is_exact = patterns.contains_key(&lane);
        tracing::error!(%lane, name, lost, is_exact, limit, "fell off the log: events that it had not taken are gone");
    }
    Ok(true)
}

/// Counts the events of a partition that the lane had not taken and would have delivered.
async fn lost(transaction: &Transaction<'_>, lane: &FallenBehind, patterns: &Patterns) -> anyhow::Result<i64> {
    let wanted = patterns.get(&lane.lane);
    let is_wanted = |event_type: &str| wanted.is_none_or(|wanted| wanted.includes(event_type));
    let counts = partitions::count(transaction, &lane.tenant, &lane.unread).await?;
    Ok(counts.iter().filter(|(event_type, _)| is_wanted(event_type)).map(|(_, count)| count).sum())
}

async fn patterns(client: &Client, defaults: &Defaults) -> Patterns {
    let listed = match destinations::lanes(client, defaults).await {
        Ok(listed) => listed,
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
