//! The supervisor: which lanes there should be, and which there are. In: the destinations' tables, and our lease. Out: lanes of our share
//! started, stopped and replaced; a lane whose row has not changed is not touched. It never skips a row: one that cannot be used becomes a lane that says
//! why.

use std::collections::HashMap;
use std::collections::HashSet;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinError;
use tokio::task::JoinSet;

use crate::destination::Defaults;
use crate::destination::DestinationRow;
use crate::destination::LaneName;
use crate::gateway::assignment;
use crate::gateway::destinations;
use crate::gateway::lease::Lease;
use crate::gateway::lease::LeaseKeeper;
use crate::gateway::systemd;
use crate::lane::Ended;
use crate::lane::Lane;
use crate::lane::LaneContext;
use crate::lane::stop;
use crate::lane::stop::Stopper;
use crate::lane::store::row;
use crate::lane::store::row::Lost;
use crate::ledger::deliveries;
use crate::ledger::replays;
use crate::log::wakeup::listener::Signals;
use crate::log::wakeup::lock;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Supervisor {
    context: LaneContext,
    defaults: Defaults,
    running: HashMap<LaneName, Running>,
    tasks: JoinSet<(LaneName, Result<Ended, Lost>)>,
    /// What went wrong last, so that it is said once.
    trouble: String,
    is_ready: bool,
}

#[derive(Debug)]
struct Running {
    fingerprint: String,
    stopper: Stopper,
}

/// A change of a destination is notified; this is for the one that was not.
const FALLBACK: Duration = Duration::from_secs(30);
/// How soon it is tried again, when the database or another daemon did not let it.
const RETRY: Duration = Duration::from_secs(1);
/// What a lane may take to finish what it has in hand, when its row has changed: the change is to be felt within a second.
const CHANGE_GRACE: Duration = Duration::from_millis(300);
/// What all lanes may take to write down how far they are when the lease is lost.
const LOSS_GRACE: Duration = Duration::from_secs(1);

impl Supervisor {
    /// A supervisor without lanes.
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

    /// Keeps the lanes as the tables and the lease want them. Returns only with what the gateway cannot go on with. Dropping the future
    /// leaves lanes that run, and some that are about to stop.
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
                ended = self.watch() => if let Err(error) = ended { return error },
            }
        }
    }

    /// Makes the lanes that are ours what the tables say. False: another daemon still has one of them.
    async fn reconcile(&mut self, lease: &Lease) -> anyhow::Result<bool> {
        loop {
            let ours = self.ours(lease).await?;
            let wanted: HashSet<(&LaneName, &str)> =
                ours.iter().map(|listed| (&listed.lane, listed.fingerprint.as_str())).collect();
            let is_wanted = |(lane, running): (&LaneName, &Running)| wanted.contains(&(lane, &running.fingerprint));
            let leaving: Vec<LaneName> =
                self.running.iter().filter(|it| !is_wanted(*it)).map(|(lane, _)| lane.clone()).collect();
            if leaving.is_empty() {
                return self.start(ours).await;
            }
            for lane in &leaving {
                self.running[lane].stopper.stop(CHANGE_GRACE);
            }
            while leaving.iter().any(|lane| self.running.contains_key(lane)) {
                let ended = self.tasks.join_next().await.expect("every lane on the supervisor has a task");
                self.note(ended)?;
            }
        }
    }

    /// Waits for a lane that ends by itself. An error is one that the gateway cannot go on with.
    async fn watch(&mut self) -> anyhow::Result<()> {
        match self.tasks.join_next().await {
            Some(ended) => self.note(ended),
            None => std::future::pending().await,
        }
    }

    /// Stops all lanes, and waits until each has written down how far it is. They are free once we have left.
    pub(super) async fn stop(&mut self, grace: Duration) -> anyhow::Result<()> {
        for running in self.running.values() {
            running.stopper.stop(grace);
        }
        while let Some(ended) = self.tasks.join_next().await {
            self.note(ended)?;
        }
        Ok(())
    }

    /// The lease is lost: others may serve the lanes by now, so that nothing more is sent. What can still be written down is.
    pub(super) async fn abandon(&mut self) -> anyhow::Result<()> {
        for running in self.running.values() {
            running.stopper.stop(Duration::ZERO);
        }
        let deadline = tokio::time::Instant::now() + LOSS_GRACE;
        while let Ok(Some(ended)) = tokio::time::timeout_at(deadline, self.tasks.join_next()).await {
            self.note(ended)?;
        }
        self.tasks.abort_all();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(died) = &ended
                && died.is_cancelled()
            {
                continue;
            }
            self.note(ended)?;
        }
        self.running.clear();
        // A connection on which the database is silent would be handed to the next who asks.
        self.context.pool.retain(|_, _| false);
        Ok(())
    }

    /// Our share of the destinations. One daemon at a time lists them, so that none forgets a lane that another has just found.
    async fn ours(&self, lease: &Lease) -> anyhow::Result<Vec<DestinationRow>> {
        let mut client = self.context.pool.get().await?;
        let transaction = client.transaction().await?;
        lock::lock_roster(&transaction).await?;
        replays::end(&transaction).await?;
        let listed = destinations::lanes(&*transaction, &self.defaults).await?;
        let names: Vec<&LaneName> = listed.iter().map(|listed| &listed.lane).collect();
        let kept: Vec<&LaneName> = names.iter().copied().chain(self.running.keys()).collect();
        row::keep_only(&*transaction, &kept, self.context.daemon).await?;
        for (lane, destination) in replays::leaving(&transaction).await? {
            deliveries::hand_over(&transaction, &lane, &destination).await?;
            row::forget(&transaction, &lane).await?;
        }
        let served = row::served(&*transaction, &names).await?;
        let shares = assignment::assign(&served, &lease.living);
        let ourselves = Some(&self.context.daemon);
        let leaves = |lane: &LaneName| shares.get(lane) != ourselves && !self.running.contains_key(lane);
        let left: Vec<&LaneName> =
            served.iter().filter(|(lane, by)| by.as_ref() == ourselves && leaves(lane)).map(|(lane, _)| lane).collect();
        if !left.is_empty() {
            row::release(&*transaction, &left, self.context.daemon).await?;
        }
        transaction.commit().await?;
        Ok(listed.into_iter().filter(|listed| shares.get(&listed.lane) == ourselves).collect())
    }

    async fn start(&mut self, ours: Vec<DestinationRow>) -> anyhow::Result<bool> {
        let mut has_all = true;
        for listed in ours {
            if self.running.contains_key(&listed.lane) {
                continue;
            }
            let (lane, fingerprint) = (listed.lane.clone(), listed.fingerprint.clone());
            let opened = Lane::open(listed, &self.context).await;
            let Some(opened) = opened.with_context(|| format!("cannot start lane `{lane}`"))? else {
                has_all = false;
                continue;
            };
            let (stopper, stop) = stop::channel();
            let name = lane.clone();
            self.tasks.spawn(async move { (name, opened.run(stop).await) });
            self.running.insert(lane, Running { fingerprint, stopper });
        }
        Ok(has_all)
    }

    /// A lane that another daemon has taken over has ended like any other, as far as we are concerned.
    fn note(&mut self, ended: Result<(LaneName, Result<Ended, Lost>), JoinError>) -> anyhow::Result<()> {
        let (lane, ended) = ended.context("a lane's task died")?;
        if let Err(lost) = ended {
            tracing::warn!(%lost, "stopped");
        }
        self.running.remove(&lane);
        Ok(())
    }
}
