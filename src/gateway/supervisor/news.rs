//! What the supervisor tells people, once: tables that cannot be read, destinations that are switched off, and what those passed over that
//! are switched on again. In: what the tables say now. Out: log lines.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use deadpool_postgres::Pool;
use tokio::task::JoinSet;

use crate::destination::LaneName;
use crate::event::TenantId;
use crate::gateway::destinations::Listing;
use crate::gateway::destinations::UnreadTable;
use crate::lane::store::lanes::Removed;
use crate::log::partitions;
use crate::ranges::Ranges;
use crate::router::EventPattern;

/// What was told already.
#[derive(Debug, Default)]
pub(super) struct News {
    unread: BTreeMap<String, String>,
    counting: JoinSet<()>,
}

/// A destination that is active again, and the ids that it passes over.
#[derive(Debug)]
pub(super) struct Returned {
    pub(super) lane: LaneName,
    pub(super) name: String,
    pub(super) tenant: TenantId,
    pub(super) events: Vec<EventPattern>,
    pub(super) passed_over: Ranges,
}

/// How long counting what was passed over may take, for all lanes that return together.
const COUNTING: Duration = Duration::from_secs(30);

impl News {
    /// Tells which tables cannot be read, each once as long as the reason is the same, and which can be read again.
    pub(super) fn unread(&mut self, unread: &[UnreadTable]) {
        for UnreadTable { table, reason, .. } in unread {
            if self.unread.get(table) != Some(reason) {
                tracing::error!(
                    table,
                    reason,
                    "its destinations that were not read stay as they were; those that do not run cannot start"
                );
                self.unread.insert(table.clone(), reason.clone());
            }
        }
        self.unread.retain(|table, _| {
            let is_unread = unread.iter().any(|it| it.table == *table);
            if !is_unread {
                tracing::info!(table, "its destinations can be read again");
            }
            is_unread
        });
    }

    /// Tells which destinations are not served any more.
    pub(super) fn removed(&self, removed: &[Removed], listing: &Listing) {
        for Removed { lane, name } in removed {
            match listing.inactive.contains(lane) {
                true => tracing::info!(%lane, name, "not active any more: events from now on are not for it"),
                false => tracing::info!(%lane, name, "its row is gone: it gets nothing more"),
            }
        }
    }

    /// Tells which destinations are active again, and how many events each of them passes over. Counting takes time, and nobody waits.
    pub(super) fn returned(&mut self, returned: Vec<Returned>, pool: &Pool) {
        while let Some(ended) = self.counting.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "counting what a destination passed over has failed");
            }
        }
        if !returned.is_empty() {
            let pool = pool.clone();
            self.counting.spawn(async move { tell_returned(&pool, returned).await });
        }
    }
}

async fn tell_returned(pool: &Pool, returned: Vec<Returned>) {
    let deadline = tokio::time::Instant::now() + COUNTING;
    for Returned { lane, name, tenant, events, passed_over } in returned {
        let message = "active again; what happened in between was not for it";
        match tokio::time::timeout_at(deadline, count(pool, &tenant, &events, &passed_over)).await {
            Ok(Ok(events)) => tracing::info!(%lane, name, passed_over = events, "{message}"),
            Ok(Err(error)) => {
                let error = format!("{error:#}");
                tracing::info!(%lane, name, error, "{message}, and could not be counted");
            }
            Err(_) => tracing::info!(%lane, name, ids = %passed_over, "{message}, and takes too long to count"),
        }
    }
}

async fn count(pool: &Pool, tenant: &TenantId, events: &[EventPattern], passed_over: &Ranges) -> anyhow::Result<i64> {
    if passed_over.is_empty() {
        return Ok(0);
    }
    let mut client = pool.get().await?;
    let transaction = client.transaction().await?;
    transaction.batch_execute("set local statement_timeout = '20s'").await?;
    let counts = partitions::count(&*transaction, tenant, passed_over).await.context("counting events")?;
    let is_wanted = |event_type: &String| events.iter().any(|pattern| pattern.matches(event_type));
    Ok(counts.iter().filter(|(event_type, _)| is_wanted(event_type)).map(|(_, count)| count).sum())
}
