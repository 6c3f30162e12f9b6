//! The list of lanes: which lanes there should be, and which of them are ours. In: the destinations' tables, the replays, and our lease. Out: the
//! destinations that are assigned to this daemon, and what has changed for the others. One daemon at a time makes it, so that none marks a
//! lane as removed that another has just found.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;

use deadpool_postgres::Pool;
use uuid::Uuid;

use crate::database::turns;
use crate::destination::Defaults;
use crate::destination::DestinationRow;
use crate::destination::LaneName;
use crate::gateway::assignment;
use crate::gateway::broker_names::holders;
use crate::gateway::destinations;
use crate::gateway::destinations::Listing;
use crate::gateway::lease::Lease;
use crate::lane::store::lanes;
use crate::lane::store::lanes::Removed;
use crate::ledger::deliveries;
use crate::ledger::replays;

/// What the tables and the lease ask for.
#[derive(Debug)]
pub(super) struct LaneList {
    /// The destinations that are assigned to this daemon.
    pub(super) ours: Vec<DestinationRow>,
    /// The lanes that another daemon should serve, and that no living one serves.
    pub(super) unserved: BTreeSet<LaneName>,
    /// The names of all destinations that there are, and of their replays.
    pub(super) names: HashSet<LaneName>,
    /// What else the tables say; the active rows are taken out of it.
    pub(super) listing: Listing,
    /// The lanes whose destinations are gone or not active any more, as far as this daemon noticed it first.
    pub(super) removed: Vec<Removed>,
}

impl LaneList {
    /// Makes the list, while this daemon runs the lanes in `running`.
    pub(super) async fn make(
        pool: &Pool,
        defaults: &Defaults,
        daemon: Uuid,
        lease: &Lease,
        running: &[LaneName],
    ) -> anyhow::Result<LaneList> {
        let mut client = pool.get().await?;
        let mut transaction = client.transaction().await?;
        turns::list_destinations(&transaction).await?;
        replays::mark_done(&transaction).await?;
        let mut listing = destinations::lanes(&mut *transaction, defaults).await?;
        holders::write(&*transaction, &listing.names.0, &listing.names.1).await?;
        let names: Vec<&LaneName> = listing.active.iter().map(|listed| &listed.lane).collect();
        let kept: Vec<&LaneName> = names.iter().copied().chain(running).collect();
        let unread: Vec<(&str, &str)> =
            listing.unread.iter().map(|it| (it.table.as_str(), it.reason.as_str())).collect();
        let tables: Vec<&str> = unread.iter().map(|(table, _)| *table).collect();
        let inactive: Vec<&LaneName> = listing.inactive.iter().collect();
        let removed = lanes::mark_removed(&*transaction, &kept, &tables, &inactive, daemon).await?;
        if !unread.is_empty() {
            lanes::mark_unread(&*transaction, &unread, &kept, daemon).await?;
        }
        for (lane, destination) in replays::record_results(&transaction).await? {
            deliveries::hand_over(&transaction, &lane, &destination).await?;
            lanes::forget(&transaction, &lane).await?;
        }
        let served = lanes::served_by(&*transaction, &names).await?;
        let sealed = listing.active.iter().filter(|listed| !listed.keys.is_empty());
        let needed: HashMap<&LaneName, &BTreeSet<String>> = sealed.map(|listed| (&listed.lane, &listed.keys)).collect();
        let assigned = assignment::assign(&served, &needed, &lease.living);
        let ourselves = Some(&daemon);
        let leaves = |lane: &LaneName| assigned.get(lane) != ourselves && !running.contains(lane);
        let left: Vec<&LaneName> =
            served.iter().filter(|(lane, by)| by.as_ref() == ourselves && leaves(lane)).map(|(lane, _)| lane).collect();
        if !left.is_empty() {
            lanes::release(&*transaction, &left, daemon).await?;
        }
        transaction.commit().await?;
        let lives = |by: &Uuid| lease.living.iter().any(|it| it.id == *by);
        let is_unserved =
            |lane: &LaneName, by: Option<&Uuid>| assigned.get(lane) != ourselves && !by.is_some_and(lives);
        let unserved = served.iter().filter(|(lane, by)| is_unserved(lane, by.as_ref()));
        let unserved = unserved.map(|(lane, _)| lane.clone()).collect();
        let names = names.into_iter().cloned().collect();
        let mut ours = std::mem::take(&mut listing.active);
        ours.retain(|listed| assigned.get(&listed.lane) == ourselves);
        Ok(LaneList { ours, unserved, names, listing, removed })
    }
}
