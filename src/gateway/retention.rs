//! Housekeeping: the log and the ledger keep their bounds. In: the limits, once a minute. Out: partitions made ahead, and those that are
//! beyond a limit emptied and dropped. A lane that has not passed what goes is set forward, and told how many events it has lost. It
//! never makes a writer of the plant wait; several daemons may do it at once.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use deadpool_postgres::Pool;
use tokio_postgres::Client;
use tokio_postgres::Transaction;

use crate::destination::Defaults;
use crate::destination::DestinationRow;
use crate::destination::LaneName;
use crate::gateway::destinations;
use crate::lane::store::fallen_behind;
use crate::lane::store::fallen_behind::FallenBehind;
use crate::lane::store::row;
use crate::ledger::attempts;
use crate::log::partitions;
use crate::log::partitions::Limit;
use crate::log::partitions::Partition;
use crate::router::EventPattern;
use crate::settings::Retention;

const EACH: Duration = Duration::from_secs(60);

/// Which events each lane takes, as far as its destination can be read.
type Patterns = HashMap<LaneName, Wanted>;

/// What a lane takes; in a replay, only what fits both.
#[derive(Debug)]
struct Wanted {
    live: Vec<EventPattern>,
    again: Option<Vec<EventPattern>>,
}

impl Wanted {
    fn takes(&self, kind: &str) -> bool {
        let any = |patterns: &Vec<EventPattern>| patterns.iter().any(|pattern| pattern.matches(kind));
        any(&self.live) && self.again.as_ref().is_none_or(any)
    }
}

/// Tidies for ever.
pub(super) async fn keep(pool: &Pool, retention: &Retention, defaults: &Defaults) {
    loop {
        if let Err(error) = tidy_with(pool, retention, defaults).await {
            tracing::warn!(
                error = format!("{error:#}"),
                "cannot tidy the log and the ledger; trying again in a minute"
            );
        }
        tokio::time::sleep(EACH).await;
    }
}

async fn tidy_with(pool: &Pool, retention: &Retention, defaults: &Defaults) -> anyhow::Result<()> {
    let mut client = pool.get().await?;
    tidy(&mut client, retention, defaults).await
}

/// Tidies once.
pub async fn tidy(client: &mut Client, retention: &Retention, defaults: &Defaults) -> anyhow::Result<()> {
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
    tracing::debug!(dropped, "tidied");
    Ok(())
}

/// Empties the oldest partition. False: it has to stay for now, and so has what comes after it.
async fn shorten(
    client: &mut Client,
    partition: &Partition,
    limit: Limit,
    patterns: &Patterns,
) -> anyhow::Result<bool> {
    let transaction = client.transaction().await?;
    let behind = fallen_behind::lanes(&transaction, partition.low, partition.past).await?;
    // One that gets on is not thrown off for being slow, or for a daemon that was away: only for want of room.
    if limit == Limit::Age && behind.iter().any(|lane| lane.is_running) {
        return Ok(false);
    }
    let mut told = Vec::new();
    for lane in behind {
        let lost = lost(&transaction, &lane, patterns).await?;
        row::set_forward(&transaction, &lane.lane, (partition.low, partition.past), lost).await?;
        told.push((lane, lost));
    }
    if !partitions::empty(&transaction, partition).await? {
        return Ok(false);
    }
    transaction.commit().await?;
    for (FallenBehind { lane, name, .. }, lost) in told.into_iter().filter(|(_, lost)| *lost > 0) {
        let limit = match limit {
            Limit::Age => "retention.log_age",
            Limit::Size => "retention.log_size",
        };
        // Where nobody knows what a destination wants, it may have wanted everything.
        let is_exact = patterns.contains_key(&lane);
        tracing::error!(%lane, name, lost, is_exact, limit, "fell off the log: events that it had not taken are gone");
    }
    Ok(true)
}

/// How many events the lane would still have been sent.
async fn lost(transaction: &Transaction<'_>, lane: &FallenBehind, patterns: &Patterns) -> anyhow::Result<i64> {
    let wanted = patterns.get(&lane.lane);
    let is_wanted = |kind: &str| wanted.is_none_or(|wanted| wanted.takes(kind));
    let counts = partitions::count(transaction, &lane.tenant, &lane.unread).await?;
    Ok(counts.iter().filter(|(kind, _)| is_wanted(kind)).map(|(_, count)| count).sum())
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
        Some((route.lane, Wanted { live: route.events, again: listed.replay.map(|replay| replay.events) }))
    };
    listed.into_iter().filter_map(wanted).collect()
}
