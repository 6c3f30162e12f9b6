//! The roster: which lanes there should be, and which there are. In: the destinations' tables. Out: lanes started, stopped and
//! replaced; a lane whose row has not changed is not touched. It never skips a row: one that cannot be used becomes a lane that says
//! why.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinError;
use tokio::task::JoinSet;

use crate::destination::Defaults;
use crate::destination::LaneName;
use crate::destination::Listed;
use crate::gateway::listing;
use crate::lane::Ended;
use crate::lane::Lane;
use crate::lane::Surroundings;
use crate::lane::checkpoint;
use crate::lane::checkpoint::Lost;
use crate::lane::stop;
use crate::lane::stop::Stopper;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Roster {
    around: Surroundings,
    defaults: Defaults,
    running: HashMap<LaneName, Running>,
    tasks: JoinSet<(LaneName, Result<Ended, Lost>)>,
}

#[derive(Debug)]
struct Running {
    fingerprint: String,
    stopper: Stopper,
}

/// What a lane may take to finish what it has in hand, when its row has changed: the change is to be felt within a second.
const CHANGE_GRACE: Duration = Duration::from_millis(300);

impl Roster {
    /// A roster without lanes.
    pub(super) fn new(around: Surroundings, defaults: Defaults) -> Roster {
        Roster { around, defaults, running: HashMap::new(), tasks: JoinSet::new() }
    }

    /// Makes the lanes what the tables say.
    pub(super) async fn reconcile(&mut self) -> anyhow::Result<()> {
        let listed = self.list().await?;
        let wanted: HashMap<&LaneName, &str> =
            listed.iter().map(|listed| (&listed.lane, listed.fingerprint.as_str())).collect();
        let changed: Vec<LaneName> = self
            .running
            .iter()
            .filter(|(lane, running)| wanted.get(lane) != Some(&running.fingerprint.as_str()))
            .map(|(lane, _)| lane.clone())
            .collect();
        for lane in &changed {
            self.running[lane].stopper.stop(CHANGE_GRACE);
        }
        while changed.iter().any(|lane| self.running.contains_key(lane)) {
            let ended = self.tasks.join_next().await.expect("every lane on the roster has a task");
            self.note(ended)?;
        }
        let kept: Vec<LaneName> = listed.iter().map(|listed| listed.lane.clone()).collect();
        checkpoint::keep_only(&self.around.pool, &kept).await?;
        for listed in listed {
            if !self.running.contains_key(&listed.lane) {
                self.start(listed).await?;
            }
        }
        Ok(())
    }

    /// Waits for a lane that ends by itself. An error is one that the gateway cannot go on with.
    pub(super) async fn watch(&mut self) -> anyhow::Result<()> {
        match self.tasks.join_next().await {
            Some(ended) => self.note(ended),
            None => std::future::pending().await,
        }
    }

    /// Stops all lanes, and waits until each has written down how far it is.
    pub(super) async fn stop(&mut self, grace: Duration) -> anyhow::Result<()> {
        for running in self.running.values() {
            running.stopper.stop(grace);
        }
        while let Some(ended) = self.tasks.join_next().await {
            self.note(ended)?;
        }
        Ok(())
    }

    async fn start(&mut self, listed: Listed) -> anyhow::Result<()> {
        let (lane, fingerprint) = (listed.lane.clone(), listed.fingerprint.clone());
        let opened = Lane::open(listed, &self.around).await.with_context(|| format!("cannot start lane `{lane}`"))?;
        let (stopper, stop) = stop::channel();
        let name = lane.clone();
        self.tasks.spawn(async move { (name, opened.run(stop).await) });
        self.running.insert(lane, Running { fingerprint, stopper });
        Ok(())
    }

    fn note(&mut self, ended: Result<(LaneName, Result<Ended, Lost>), JoinError>) -> anyhow::Result<()> {
        let (lane, ended) = ended.context("a lane's task died")?;
        ended?;
        self.running.remove(&lane);
        Ok(())
    }

    async fn list(&self) -> anyhow::Result<Vec<Listed>> {
        let client = self.around.pool.get().await?;
        listing::list(&client, &self.defaults).await
    }
}
