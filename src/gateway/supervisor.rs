//! The supervisor starts, stops and replaces lanes, so that those that run are those that should. In: the destinations' tables, and our
//! lease. Out: the lanes that are assigned to this daemon. It never touches a lane whose row has not changed, and it never skips a row:
//! a row that cannot be used becomes a lane whose state says why.

use std::collections::HashMap;
use std::collections::HashSet;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinError;
use tokio::task::JoinSet;

use crate::database::locks::Lock;
use crate::destination::Defaults;
use crate::destination::DestinationRow;
use crate::destination::LaneName;
use crate::gateway::assignment;
use crate::gateway::destinations;
use crate::gateway::lease::Lease;
use crate::gateway::lease::LeaseKeeper;
use crate::gateway::systemd;
use crate::lane::Lane;
use crate::lane::LaneContext;
use crate::lane::stop;
use crate::lane::stop::Ended;
use crate::lane::stop::Stopper;
use crate::lane::store::error::Lost;
use crate::lane::store::lanes;
use crate::lane::store::row::Claim;
use crate::lane::store::row::LaneRow;
use crate::ledger::deliveries;
use crate::ledger::replays;
use crate::log::wakeup::listener::Signals;

/// The lanes that this daemon runs.
#[derive(Debug)]
pub(super) struct Supervisor {
    context: LaneContext,
    defaults: Defaults,
    running: HashMap<LaneName, Running>,
    tasks: JoinSet<(LaneName, Result<Ended, Lost>)>,
    /// The trouble that was last logged, so that it is logged once and not at each attempt.
    trouble: String,
    is_ready: bool,
}

#[derive(Debug)]
struct Running {
    fingerprint: String,
    stopper: Stopper,
    row: LaneRow,
}

/// How often the destinations are read without a notification, in case one was missed.
const FALLBACK: Duration = Duration::from_secs(30);
/// How soon to try again after the database failed, or while another daemon still serves one of our lanes.
const RETRY: Duration = Duration::from_secs(1);
/// How long a lane whose row has changed may take to finish what is under way. It is short, because the change should take effect
/// within a second.
const CHANGE_GRACE: Duration = Duration::from_millis(300);
/// How long all lanes together may take to store their cursors after the lease is lost.
const LOSS_GRACE: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Creates a supervisor that runs no lanes yet.
    pub(super) fn new(context: LaneContext, defaults: Defaults) -> Supervisor {
        Supervisor {
            context,
            defaults,
            running: HashMap::new(),
            tasks: JoinSet::new(),
            trouble: String::new(),
            is_ready: false,
        }
    }

    /// Keeps the lanes as the tables and the lease ask for. Returns only an error that the gateway cannot recover from. If the future is
    /// dropped, some lanes are left running and some are left stopping.
    pub(super) async fn keep(&mut self, leases: &LeaseKeeper, mut lease: Lease, signals: &Signals) -> anyhow::Error {
        loop {
            let pause = match self.reconcile(&lease).await {
                Ok(has_all) => {
                    self.trouble.clear();
                    if !self.is_ready {
                        self.is_ready = true;
                        tracing::info!("ready");
                        systemd::ready();
                    }
                    if has_all { FALLBACK } else { RETRY }
                }
                Err(error) if error.is::<JoinError>() => return error,
                Err(error) => {
                    let now = format!("{error:#}");
                    if now != self.trouble {
                        tracing::error!(error = now, "cannot bring the lanes up to date; trying again");
                        self.trouble = now;
                    }
                    RETRY
                }
            };
            tokio::select! {
                _ = leases.changed(&lease) => lease = leases.held().await,
                () = signals.destinations.notified() => {}
                () = tokio::time::sleep(pause) => {}
                ended = self.lane_ended() => if let Err(error) = ended { return error },
            }
        }
    }

    /// Makes our lanes match the tables. Returns false while another daemon still serves one of them.
    async fn reconcile(&mut self, lease: &Lease) -> anyhow::Result<bool> {
        loop {
            let ours = self.assigned_to_us(lease).await?;
            let wanted: HashSet<(&LaneName, &str)> =
                ours.iter().map(|listed| (&listed.lane, listed.fingerprint.as_str())).collect();
            let lost = self.lost().await?;
            let is_wanted = |(lane, running): (&LaneName, &Running)| {
                wanted.contains(&(lane, &running.fingerprint)) && !lost.contains(lane)
            };
            let leaving: Vec<LaneName> =
                self.running.iter().filter(|it| !is_wanted(*it)).map(|(lane, _)| lane.clone()).collect();
            if leaving.is_empty() {
                return self.start(ours).await;
            }
            for lane in &leaving {
                self.running[lane].stopper.stop(CHANGE_GRACE);
            }
            while leaving.iter().any(|lane| self.running.contains_key(lane)) {
                let ended = self.tasks.join_next().await.expect("every lane that runs has a task");
                self.forget(ended)?;
            }
        }
    }

    /// Waits for a lane to end without having been asked to. Returns an error that the gateway cannot recover from.
    async fn lane_ended(&mut self) -> anyhow::Result<()> {
        match self.tasks.join_next().await {
            Some(ended) => self.forget(ended),
            None => std::future::pending().await,
        }
    }

    /// Stops all lanes and waits until each has stored its cursor. Other daemons may take them once our lease is given up.
    pub(super) async fn stop(&mut self, grace: Duration) -> anyhow::Result<()> {
        for running in self.running.values() {
            running.stopper.stop(grace);
        }
        while let Some(ended) = self.tasks.join_next().await {
            self.forget(ended)?;
        }
        Ok(())
    }

    /// Ends all lanes after the lease was lost. Other daemons may serve them by now, so nothing more is sent; cursors that can still be
    /// stored are.
    pub(super) async fn abandon(&mut self) -> anyhow::Result<()> {
        for running in self.running.values() {
            running.stopper.stop(Duration::ZERO);
        }
        let deadline = tokio::time::Instant::now() + LOSS_GRACE;
        while let Ok(Some(ended)) = tokio::time::timeout_at(deadline, self.tasks.join_next()).await {
            self.forget(ended)?;
        }
        self.tasks.abort_all();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(died) = &ended
                && died.is_cancelled()
            {
                continue;
            }
            self.forget(ended)?;
        }
        self.running.clear();
        // A pooled connection on which the database no longer answers would be handed to the next task that asks for one.
        self.context.pool.retain(|_, _| false);
        Ok(())
    }

    /// Returns the destinations that are assigned to this daemon. One daemon at a time reads them, so that none marks a lane as removed
    /// that another has just found.
    async fn assigned_to_us(&self, lease: &Lease) -> anyhow::Result<Vec<DestinationRow>> {
        let mut client = self.context.pool.get().await?;
        let transaction = client.transaction().await?;
        Lock::Destinations.acquire_in(&transaction).await?;
        replays::mark_done(&transaction).await?;
        let listed = destinations::lanes(&*transaction, &self.defaults).await?;
        let names: Vec<&LaneName> = listed.iter().map(|listed| &listed.lane).collect();
        let kept: Vec<&LaneName> = names.iter().copied().chain(self.running.keys()).collect();
        lanes::mark_removed(&*transaction, &kept, self.context.daemon_id).await?;
        for (lane, destination) in replays::record_results(&transaction).await? {
            deliveries::hand_over(&transaction, &lane, &destination).await?;
            lanes::forget(&transaction, &lane).await?;
        }
        let served = lanes::served_by(&*transaction, &names).await?;
        let assigned = assignment::assign(&served, &lease.living);
        let ourselves = Some(&self.context.daemon_id);
        let leaves = |lane: &LaneName| assigned.get(lane) != ourselves && !self.running.contains_key(lane);
        let left: Vec<&LaneName> =
            served.iter().filter(|(lane, by)| by.as_ref() == ourselves && leaves(lane)).map(|(lane, _)| lane).collect();
        if !left.is_empty() {
            lanes::release(&*transaction, &left, self.context.daemon_id).await?;
        }
        transaction.commit().await?;
        Ok(listed.into_iter().filter(|listed| assigned.get(&listed.lane) == ourselves).collect())
    }

    /// Returns the lanes that run here although their rows are not what they know of any more.
    async fn lost(&self) -> anyhow::Result<HashSet<LaneName>> {
        // What a lane knows comes first: the rows can only have more by the time they are read.
        let claims: Vec<Claim> = self.running.values().map(|running| running.row.claim()).collect();
        let client = self.context.pool.get().await?;
        Ok(lanes::taken_away(&**client, &claims).await?.into_iter().collect())
    }

    async fn start(&mut self, ours: Vec<DestinationRow>) -> anyhow::Result<bool> {
        let mut has_all = true;
        for listed in ours {
            if self.running.contains_key(&listed.lane) {
                continue;
            }
            let (lane, fingerprint) = (listed.lane.clone(), listed.fingerprint.clone());
            let opened = Lane::open(listed, &self.context).await;
            let Some((opened, row)) = opened.with_context(|| format!("cannot start lane `{lane}`"))? else {
                has_all = false;
                continue;
            };
            let (stopper, stop) = stop::channel();
            let name = lane.clone();
            self.tasks.spawn(async move { (name, opened.run(stop).await) });
            self.running.insert(lane, Running { fingerprint, stopper, row });
        }
        Ok(has_all)
    }

    /// Forgets a lane that has ended. One that another daemon has taken over ends like any other.
    fn forget(&mut self, ended: Result<(LaneName, Result<Ended, Lost>), JoinError>) -> anyhow::Result<()> {
        let (lane, ended) = ended.context("a lane's task died")?;
        if let Err(lost) = ended {
            tracing::warn!(%lost, "stopped");
        }
        self.running.remove(&lane);
        Ok(())
    }
}
