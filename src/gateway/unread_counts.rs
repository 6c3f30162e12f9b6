//! Counts the events that lanes have not read of a part of the log, by type. In: lanes that have fallen behind. Out: how many events of the
//! types that a lane wants each of them loses. Counting takes long and is done before the lanes' rows are locked; what a lane reads
//! meanwhile is subtracted. Lanes of one tenant that stand at the same place are counted once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use tokio_postgres::Client;
use tokio_postgres::Transaction;

use crate::destination::LaneName;
use crate::event::TenantId;
use crate::lane::store::fallen_behind::FallenBehind;
use crate::log::partitions;
use crate::ranges::Ranges;

/// How many events there are of each type.
type Counts = Vec<(String, i64)>;

/// What was counted, for each lane.
#[derive(Debug, Default)]
pub(super) struct UnreadCounts {
    unread: HashMap<LaneName, (TenantId, Ranges)>,
    /// Nothing stands here for what cannot be counted, because a page is damaged.
    counts: HashMap<(TenantId, String), Option<Counts>>,
}

impl UnreadCounts {
    /// Counts what these lanes have not read.
    pub(super) async fn count(client: &mut Client, lanes: Vec<FallenBehind>) -> anyhow::Result<UnreadCounts> {
        let mut all = UnreadCounts::default();
        let transaction = client.transaction().await?;
        for FallenBehind { lane, tenant, unread, .. } in lanes {
            if let Entry::Vacant(entry) = all.counts.entry((tenant.clone(), unread.to_string())) {
                entry.insert(partitions::try_count(&transaction, &tenant, &unread).await?);
            }
            all.unread.insert(lane, (tenant, unread));
        }
        transaction.rollback().await?;
        Ok(all)
    }

    /// Returns how many events of the wanted types this lane has not read, or nothing if they cannot be counted. Its row is locked, so only
    /// what has changed is counted now.
    pub(super) async fn of(
        &self,
        transaction: &Transaction<'_>,
        lane: &FallenBehind,
        is_wanted: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Option<i64>> {
        let sum = |counts: &Counts| {
            counts.iter().filter(|(event_type, _)| is_wanted(event_type)).map(|(_, count)| count).sum::<i64>()
        };
        let before = self.unread.get(&lane.lane).filter(|(tenant, _)| *tenant == lane.tenant).map(|(_, unread)| unread);
        let nothing = Ranges::default();
        let unread = before.unwrap_or(&nothing);
        let (read, new) = (unread.clone().without(&lane.unread), lane.unread.clone().without(unread));
        let mut lost = match self.counts.get(&(lane.tenant.clone(), unread.to_string())) {
            Some(None) => return Ok(None),
            Some(Some(counts)) => sum(counts),
            None => 0,
        };
        for (ids, sign) in [(&read, -1), (&new, 1)] {
            if ids.is_empty() {
                continue;
            }
            match partitions::try_count(transaction, &lane.tenant, ids).await? {
                Some(counts) => lost += sign * sum(&counts),
                None => return Ok(None),
            }
        }
        Ok(Some(lost))
    }
}
