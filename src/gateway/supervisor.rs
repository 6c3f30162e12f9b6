//! The supervisor starts, stops and replaces lanes, so that those that run are those that should. In: the destinations' tables, and our
//! lease. Out: the lanes that are assigned to this daemon. It never touches a lane whose row has not changed, it never skips a row (a row
//! that cannot be used becomes a lane whose state says why), and one lane's trouble never keeps it from the others.

mod failures;
mod news;
mod lane_list;
mod unserved;

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinError;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio::time::timeout_at;

use crate::destination::Defaults;
use crate::destination::DestinationRow;
use crate::destination::LaneName;
use crate::gateway::lease::Lease;
use crate::gateway::lease::LeaseKeeper;
use crate::gateway::pools::Pools;
use crate::gateway::supervisor::failures::Failures;
use crate::gateway::supervisor::lane_list::LaneList;
use crate::gateway::supervisor::news::News;
use crate::gateway::supervisor::news::Returned;
use crate::gateway::supervisor::unserved::Unserved;
use crate::gateway::systemd;
use crate::lane;
use crate::lane::LaneContext;
use crate::lane::stop;
use crate::lane::stop::Ended;
use crate::lane::stop::Stopper;
use crate::lane::store::enlist;
use crate::lane::store::enlist::Enlisted;
use crate::lane::store::error::Lost;
use crate::lane::store::lanes;
use crate::lane::store::row::Claim;
use crate::lane::store::row::LaneRow;
use crate::lane::store::state::State;
use crate::log::wakeup::listener::Signals;

/// The lanes that this daemon runs.
#[derive(Debug)]
pub(super) struct Supervisor {
    context: Arc<LaneContext>,
    pools: Pools,
    defaults: Defaults,
    running: HashMap<LaneName, Running>,
    tasks: JoinSet<(LaneName, Outcome)>,
    failures: Failures,
    /// The states of lanes that have failed, to be written.
    reports: Vec<(LaneRow, State)>,
    news: News,
    unserved: Unserved,
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

/// How a lane's task ended: as a lane ends, or by a fault of Andon's own, which says this.
type Outcome = Result<Result<Ended, Lost>, String>;

/// How often the destinations are read without a notification, in case one was missed.
const FALLBACK: Duration = Duration::from_secs(30);
/// If a look takes long, the time is a multiple of that, so that ten thousand destinations do not keep an idle machine busy.
const FALLBACK_SHARE: u32 = 200;
const LONGEST_FALLBACK: Duration = Duration::from_secs(300);
/// How soon to try again after the database failed, or while another daemon still serves one of our lanes.
const RETRY: Duration = Duration::from_secs(1);
/// How soon to try again to read a table that cannot be read, because nobody notifies us of that.
const UNREAD_RETRY: Duration = Duration::from_secs(5);
/// The least time between two looks at the destinations, because a plant may write into its own table all the time. If a look takes
/// long, the time is a multiple of that.
const BETWEEN_LOOKS: Duration = Duration::from_millis(150);
const LOOKS_SHARE: u32 = 2;
const LONGEST_BETWEEN: Duration = Duration::from_millis(400);
/// How long a lane whose row has changed may take to finish what is under way. It is short, because the change should take effect
/// within a second.
const CHANGE_GRACE: Duration = Duration::from_millis(300);
/// How long the others wait for such lanes. One that takes longer is taken up again when it has ended.
const CHANGE_PATIENCE: Duration = Duration::from_millis(500);
/// How many lanes are started before all other tasks have their turn. Ten thousand that start at once would keep them waiting for seconds, and
/// the lease would be lost that is renewed by one of them.
const STARTED_AT_ONCE: usize = 64;
/// How long all lanes together may take to store their cursors after the lease is lost.
const LOSS_GRACE: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Creates a supervisor that runs no lanes yet.
    pub(super) fn new(context: LaneContext, pools: Pools, defaults: Defaults) -> Supervisor {
        Supervisor {
            context: Arc::new(context),
            pools,
            defaults,
            running: HashMap::new(),
            tasks: JoinSet::new(),
            failures: Failures::default(),
            reports: Vec::new(),
            news: News::default(),
            unserved: Unserved::default(),
            trouble: String::new(),
            is_ready: false,
        }
    }

    /// Keeps the lanes as the tables and the lease ask for. Returns only an error that the gateway cannot recover from. If the future is
    /// dropped, some lanes are left running and some are left stopping.
    pub(super) async fn keep(&mut self, leases: &LeaseKeeper, mut lease: Lease, signals: &Signals) -> anyhow::Error {
        loop {
            let began = Instant::now();
            let pause = match self.reconcile(&lease).await {
                Ok(pause) => {
                    self.trouble.clear();
                    if !self.is_ready {
                        self.is_ready = true;
                        tracing::info!("ready");
                        systemd::ready();
                    }
                    pause
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
            let now = Instant::now();
            let between = ((now - began) * LOOKS_SHARE).clamp(BETWEEN_LOOKS, LONGEST_BETWEEN);
            let pause = if pause < FALLBACK {
                pause
            } else {
                ((now - began) * FALLBACK_SHARE).clamp(FALLBACK, LONGEST_FALLBACK)
            };
            let next = (now + pause).min(self.failures.next(now).unwrap_or(now + pause));
            tokio::select! {
                _ = leases.changed(&lease) => lease = leases.held().await,
                () = signals.destinations.notified() => {}
                () = sleep_until(next) => {}
                ended = self.lane_ended() => if let Err(error) = ended { return error },
            }
            sleep_until(now + between).await;
        }
    }

    /// Makes our lanes match the tables. Returns when to look again if nothing happens.
    async fn reconcile(&mut self, lease: &Lease) -> anyhow::Result<Duration> {
        for (row, state) in std::mem::take(&mut self.reports) {
            if let Err(error) = row.report(&state).await {
                let error = format!("{:#}", anyhow::Error::new(error));
                tracing::warn!(lane = %row.lane(), error, "cannot write the lane's state");
            }
        }
        let mut list = self.lane_list(lease).await?;
        if self.stop_changed(&list).await? {
            // Their rows may have changed again meanwhile, and those that are gone can be marked so.
            list = self.lane_list(lease).await?;
        }
        self.news.unread(&list.listing.unread);
        let next_look = self.unserved.next_look(list.unserved, Instant::now()).unwrap_or(FALLBACK);
        let is_known = list.listing.unread.is_empty();
        let pause = match self.start(list.ours).await? {
            false => RETRY,
            true if is_known => FALLBACK,
            true => UNREAD_RETRY,
        };
        Ok(pause.min(next_look))
    }

    async fn lane_list(&self, lease: &Lease) -> anyhow::Result<LaneList> {
        let running: Vec<LaneName> = self.running.keys().cloned().collect();
        let daemon = self.context.daemon_id;
        let list = LaneList::make(&self.pools.house, &self.defaults, daemon, lease, &running).await?;
        self.news.removed(&list.removed, &list.listing);
        Ok(list)
    }

    /// Stops the lanes that are not wanted as they are, and waits for a short time until they have ended. Returns whether there were any.
    async fn stop_changed(&mut self, list: &LaneList) -> anyhow::Result<bool> {
        let wanted: HashSet<(&LaneName, &str)> =
            list.ours.iter().map(|listed| (&listed.lane, listed.fingerprint.as_str())).collect();
        let lost = self.lost().await?;
        let is_leaving = |(lane, running): &(&LaneName, &Running)| {
            let is_wanted = wanted.contains(&(*lane, &running.fingerprint)) || list.listing.is_unread(lane);
            !is_wanted || lost.contains(*lane)
        };
        let mut leaving: HashSet<LaneName> =
            self.running.iter().filter(is_leaving).map(|(lane, _)| lane.clone()).collect();
        if leaving.is_empty() {
            return Ok(false);
        }
        for lane in &leaving {
            let stopper = &self.running[lane].stopper;
            let may_exist = list.names.contains(lane) || list.listing.is_unread(lane);
            if may_exist { stopper.stop(CHANGE_GRACE) } else { stopper.stop_for_good(CHANGE_GRACE) }
        }
        let deadline = Instant::now() + CHANGE_PATIENCE;
        while !leaving.is_empty()
            && let Ok(Some(ended)) = timeout_at(deadline, self.tasks.join_next()).await
        {
            leaving.remove(&self.forget(ended)?);
        }
        Ok(true)
    }

    /// Returns the lanes that run here although their rows are not what they know of any more.
    async fn lost(&self) -> anyhow::Result<HashSet<LaneName>> {
        // What a lane knows comes first: the rows can only have more by the time they are read.
        let claims: Vec<Claim> = self.running.values().map(|running| running.row.claim()).collect();
        let client = self.pools.house.get().await?;
        Ok(lanes::taken_away(&**client, &claims).await?.into_iter().collect())
    }

    /// Waits for a lane to end without having been asked to. Returns an error that the gateway cannot recover from.
    async fn lane_ended(&mut self) -> anyhow::Result<()> {
        match self.tasks.join_next().await {
            Some(ended) => self.forget(ended).map(drop),
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
        let deadline = Instant::now() + LOSS_GRACE;
        while let Ok(Some(ended)) = timeout_at(deadline, self.tasks.join_next()).await {
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
        self.pools.close_idle();
        Ok(())
    }

    /// Starts those of these lanes that do not run. Returns whether all of them run.
    async fn start(&mut self, mut ours: Vec<DestinationRow>) -> anyhow::Result<bool> {
        let now = Instant::now();
        // One that takes long to stop is taken up again when it has ended, and one that has failed when its time has come.
        ours.retain(|it| !self.running.contains_key(&it.lane) && !self.failures.holds_back(&it.lane, now));
        if ours.is_empty() {
            return Ok(true);
        }
        let tail = self.context.feed.horizon().borrow().clone();
        let client = self.pools.house.get().await?;
        let (stores, daemon) = (&self.context.stores, self.context.daemon_id);
        let mut enlisted =
            enlist::enlist(&**client, stores, &mut ours, &tail, daemon).await.context("cannot start the lanes")?;
        drop(client);
        let (mut returned, mut has_all) = (Vec::new(), true);
        for (place, listed) in ours.into_iter().enumerate() {
            if place % STARTED_AT_ONCE == STARTED_AT_ONCE - 1 {
                give_way().await;
            }
            match enlisted.remove(&listed.lane) {
                Some(enlisted) => {
                    returned.extend(returns(&listed, &enlisted));
                    self.spawn(listed, enlisted);
                }
                // Another daemon still serves it, or somebody has locked its row.
                None => has_all = false,
            }
        }
        self.news.returned(returned, &self.pools.house);
        Ok(has_all)
    }

    fn spawn(&mut self, listed: DestinationRow, enlisted: Enlisted) {
        let (stopper, stop) = stop::channel();
        let (lane, fingerprint, row) = (listed.lane.clone(), listed.fingerprint.clone(), enlisted.row.clone());
        let name = lane.clone();
        let serving = failures::caught(lane::serve(listed, enlisted, Arc::clone(&self.context), stop));
        self.tasks.spawn(async move { (name, serving.await) });
        self.running.insert(lane, Running { fingerprint, stopper, row });
    }

    /// Forgets a lane that has ended, and returns its name. One that another daemon has taken over ends like any other. One that has failed
    /// is started again after a while.
    fn forget(&mut self, ended: Result<(LaneName, Outcome), JoinError>) -> anyhow::Result<LaneName> {
        let (lane, outcome) = ended.context("a lane's task died")?;
        let running = self.running.remove(&lane);
        match outcome {
            Ok(Ok(_)) => {}
            Ok(Err(lost)) => tracing::warn!(%lost, "stopped"),
            Err(panic) => {
                let pause = self.failures.record(lane.clone(), Instant::now());
                tracing::error!(%lane, panic, ?pause, "the lane failed by a fault of Andon's own; it is started again");
                let reason = format!("it failed by a fault of Andon's own, and is started again: {panic}");
                self.reports.extend(running.map(|running| (running.row, State::Retrying(reason))));
            }
        }
        Ok(lane)
    }
}

/// Waits until the tasks that are ready to run have run.
async fn give_way() {
    // A task that does nothing comes after them.
    tokio::spawn(std::future::ready(())).await.ok();
}

/// Returns what a destination passes over that was not active and is active again.
fn returns(listed: &DestinationRow, enlisted: &Enlisted) -> Option<Returned> {
    let route = &listed.usable.as_ref().ok()?.route;
    let passed_over = enlisted.passed_over.clone()?;
    let (lane, name) = (listed.lane.clone(), listed.name.clone());
    Some(Returned { lane, name, tenant: route.tenant.clone(), events: route.events.clone(), passed_over })
}
