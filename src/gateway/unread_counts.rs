//! Counts the events that lanes have not read of a part of the log, by type. In: lanes that have fallen behind. Out: how many events of the
//! types that a lane wants each of them loses. Counting takes long and is done before the lanes' rows are locked; what a lane reads
//! meanwhile is subtracted. Lanes of one tenant that stand at the same place are counted once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use tokio_postgres::GenericClient;

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
    counts: HashMap<(TenantId, String), Counts>,
}

impl UnreadCounts {
    /// Counts what these lanes have not read.
    pub(super) async fn count(client: &impl GenericClient, lanes: Vec<FallenBehind>) -> anyhow::Result<UnreadCounts> {
        let mut all = UnreadCounts::default();
        for FallenBehind { lane, tenant, unread, .. } in lanes {
            if let Entry::Vacant(entry) = all.counts.entry((tenant.clone(), unread.to_string())) {
                entry.insert(partitions::count(client, &tenant, &unread).await?);
            }
            all.unread.insert(lane, (tenant, unread));
        }
        Ok(all)
    }

    /// Returns how many events of the wanted types this lane has not read. Its row is locked, so only what has changed is counted now.
    pub(super) async fn of(
        &self,
        client: &impl GenericClient,
        lane: &FallenBehind,
        is_wanted: impl Fn(&str) -> bool,
    ) -> anyhow::Result<i64> {
        let sum = |counts: &Counts| {
            counts.iter().filter(|(event_type, _)| is_wanted(event_type)).map(|(_, count)| count).sum::<i64>()
        };
        let before = self.unread.get(&lane.lane).filter(|(tenant, _)| *tenant == lane.tenant).map(|(_, unread)| unread);
        let nothing = Ranges::default();
        let unread = before.unwrap_or(&nothing);
        let (read, new) = (unread.clone().without(&lane.unread), lane.unread.clone().without(unread));
        let known = self.counts.get(&(lane.tenant.clone(), unread.to_string()));
        let mut lost = known.map(&sum).unwrap_or_default();
        if !read.is_empty() {
            lost -= sum(&partitions::count(client, &lane.tenant, &read).await?);
        }
        if !new.is_empty() {
            lost += sum(&partitions::count(client, &lane.tenant, &new).await?);
        }
        Ok(lost)
    }
}
