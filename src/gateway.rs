//! The gateway starts, supervises and stops everything that delivers; it is the one place where the stages meet. In: settings, and a
//! future that ends when the process is to stop. Out: an error if any part died, so that the process ends and whatever supervises it
//! (systemd, Kubernetes) starts it again.

mod assignment;
mod broker_names;
mod capture_news;
mod channel_failures;
mod channels;
pub mod destinations;
mod lease;
mod pools;
pub mod retention;
mod source_watch;
mod supervisor;
mod systemd;
mod table_error;
mod table_shape;
mod unread_counts;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_util::task::AbortOnDropHandle;

use crate::clock::Clock;
use crate::database::Database;
use crate::database::reconnect::Reconnect;
use crate::destination::Defaults;
use crate::feed::Feed;
use crate::gateway::lease::LeaseKeeper;
use crate::gateway::pools::Pools;
use crate::gateway::supervisor::Supervisor;
use crate::lane::LaneContext;
use crate::lane::file_reads::FileReads;
use crate::lane::store::Stores;
use crate::lane::store::cursor_writer::CursorWriter;
use crate::lane::store::lanes;
use crate::lane::store::shared_holes::SharedHoles;
use crate::log::follower::Follower;
use crate::log::follower::Opened;
use crate::log::follower::Session;
use crate::log::tail::checkpoint;
use crate::log::tail::checkpoint::WentBack;
use crate::log::wakeup::listener::Signals;
use crate::secret::Secret;
use crate::settings::Retention;
use crate::topic::Equipment;

/// Everything a gateway is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The source: the database that Andon is attached to.
    pub database: Database,
    /// The name of this gateway, as it appears on its status topics.
    pub name: String,
    /// How long lanes may take at a stop to finish the deliveries that are under way.
    pub grace: Duration,
    /// How many bytes of recent events are kept in memory, at most.
    pub memory: usize,
    /// The defaults for settings that a destination's row leaves out.
    pub defaults: Defaults,
    /// The ISA-95 levels of each cell, from the equipment map.
    pub equipment: Arc<Equipment>,
    /// How much of the log and of the attempts is kept.
    pub retention: Retention,
    /// With what the notifications of signed channels are signed.
    pub channel_key: Option<Secret>,
}

/// How many connections a daemon holds, at most: its pools, and one each to read the log, to hear the bell, to renew the lease and to hear the
/// channels of the sources. README says so, and a test counts them.
pub const MOST_CONNECTIONS: i32 = pools::MOST_CONNECTIONS + 4;

/// How long the pauses get, at most, between attempts to open a session that is needed to deliver.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why `serve` returned.
enum ServeOutcome {
    /// The gateway was asked to stop.
    Stopped,
    /// The log is not the one that was read, so all lanes start again from what is stored.
    WentBack(Client, WentBack),
}

/// Serves until `stop` completes. Other daemons may serve the same database; they share the lanes.
pub async fn run(settings: Settings, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let has_company = Arc::new(AtomicBool::new(false));
    let clock = Clock::default();
    let keys = settings.defaults.keys.ids().map(str::to_owned).collect();
    let leases = LeaseKeeper::new(settings.name.clone(), keys, clock.clone(), Arc::clone(&has_company));
    // A daemon that finds our lease expired recognises our sessions by this mark, and ends them.
    let database = settings.database.clone().marked(&lease::session_mark(leases.id)).anchored();
    let pools = Pools::new(&database)?;
    let follower = Arc::new(Follower {
        database: database.clone(),
        pool: pools.house.clone(),
        signals: Arc::new(Signals::default()),
        pulse: Arc::new(AtomicU64::new(0)),
        has_company,
    });
    let gateway = Gateway { settings, database, pools, follower, leases, clock };
    tokio::pin!(stop);
    let serving = async {
        while let ServeOutcome::WentBack(client, went_back) = gateway.serve(stop.as_mut()).await? {
            rewind(client, &went_back).await.context("the log went back in time")?;
        }
        // If this fails, the other daemons only have to wait until the lease runs out.
        drop(gateway.leases.leave(&gateway.pools.house).await);
        Ok(())
    };
    tokio::select! {
        ended = serving => ended,
        () = gateway.leases.keep(&gateway.database) => unreachable!("the lease is renewed forever"),
        () = systemd::feed_watchdog(&gateway.follower.pulse) => unreachable!("the watchdog is fed forever"),
    }
}

/// Everything that lasts as long as the process.
struct Gateway {
    settings: Settings,
    database: Database,
    pools: Pools,
    follower: Arc<Follower>,
    leases: LeaseKeeper,
    clock: Clock,
}

impl Gateway {
    async fn serve(&self, mut stop: Pin<&mut impl Future<Output = ()>>) -> anyhow::Result<ServeOutcome> {
        let mut reconnect = Reconnect::new(LONGEST_PAUSE);
        let opened = tokio::select! {
            biased;
            () = &mut stop => return Ok(ServeOutcome::Stopped),
            opened = self.follower.open(None, &mut reconnect) => opened,
        };
        let (session, first) = match opened {
            Opened::Ready(session, first) => (session, first),
            Opened::WentBack(client, went_back) => return Ok(ServeOutcome::WentBack(client, went_back)),
        };
        let feed = Arc::new(Feed::new(self.settings.memory, first.position, Arc::clone(&first.undecided)));
        let (cursors, writing) = CursorWriter::new(self.pools.cursors.clone());
        // It goes on until the lanes have stopped, because they store their cursors then.
        let mut writing = AbortOnDropHandle::new(tokio::spawn(writing));
        let (holes, sharing) = SharedHoles::new(self.pools.house.clone(), self.leases.id, feed.horizon());
        let mut sharing = AbortOnDropHandle::new(tokio::spawn(sharing));
        let context = LaneContext {
            daemon_id: self.leases.id,
            gateway_name: self.settings.name.clone(),
            stores: Stores { cursors, holes, ledger: self.pools.ledger.clone() },
            log: self.pools.log.clone(),
            feed: Arc::clone(&feed),
            ledger_changes: self.follower.signals.deliveries.subscribe(),
            database_clock: self.clock.clone(),
            files: FileReads::default(),
            equipment: Arc::clone(&self.settings.equipment),
        };
        let mut supervisor = Supervisor::new(context, self.pools.clone(), self.settings.defaults.clone());
        let signals = &self.follower.signals;
        // Following the log is a task of its own, so that a batch is handled on the thread that received it, and polling it does not
        // poll the other branches as well.
        let following = tokio::spawn(follow(Arc::clone(&self.follower), session, Arc::clone(&feed), reconnect));
        // It goes on until the lanes have stopped: without the tail's session, they get no connection to store their cursors.
        let mut following = AbortOnDropHandle::new(following);
        let horizon = feed.horizon();
        let ended = tokio::select! {
            biased;
            () = stop => ServeOutcome::Stopped,
            ended = &mut following => {
                let (client, went_back) = ended.context("following the log")?;
                ServeOutcome::WentBack(client, went_back)
            }
            error = keep_lanes(&mut supervisor, &self.leases, signals) => return Err(error),
            // It ends with the last lane, and the supervisor outlives all lanes.
            ended = &mut writing => return Err(unexpected_end("the writer of cursors", ended)),
            ended = &mut sharing => return Err(unexpected_end("the writer of shared holes", ended)),
            () = retention::run(&self.pools.house, &self.settings.retention, &self.settings.defaults, &horizon) => {
                unreachable!("retention has no end")
            }
            () = Box::pin(capture_news::run(&self.pools.house)) => unreachable!("telling of captures has no end"),
            () = Box::pin(source_watch::run(&self.pools.house, signals)) => unreachable!("watching the sources has no end"),
            () = Box::pin(channels::run(&self.database, &self.pools.house, self.settings.channel_key.as_ref(), signals, self.leases.id)) => {
                unreachable!("listening has no end")
            }
        };
        if matches!(ended, ServeOutcome::WentBack(..)) {
            // What the lanes have in hand belongs to a log that no longer exists. None of it can be written, since the pool has no anchor.
            supervisor.abandon().await?;
            return Ok(ended);
        }
        systemd::stopping();
        supervisor.stop(self.settings.grace).await?;
        let horizon = feed.horizon().borrow().clone();
        // If this write fails, lanes that are ahead of the stored tail wait for it after the next start. That costs time, nothing else.
        if let Ok(mut client) = self.pools.house.get().await {
            drop(checkpoint::store(&mut client, horizon.position, &horizon.undecided).await);
        }
        Ok(ended)
    }
}

/// Says that a task has ended without which nothing goes on. The process ends then, and whatever supervises it starts it again.
fn unexpected_end(task: &str, ended: Result<(), JoinError>) -> anyhow::Error {
    match ended {
        Ok(()) => anyhow::anyhow!("{task} has ended"),
        Err(error) => anyhow::Error::new(error).context(format!("{task} has failed")),
    }
}

/// Follows the log through lost connections, until it is not the same log any more.
async fn follow(
    follower: Arc<Follower>,
    mut session: Box<Session>,
    feed: Arc<Feed>,
    mut reconnect: Reconnect,
) -> (Client, WentBack) {
    loop {
        let (error, reached) = follower.follow(session, |batch| feed.accept(batch)).await;
        let error = format!("{error:#}");
        let failure = reconnect.failed(Instant::now(), &error);
        tracing::warn!(error, "lost the database");
        tokio::time::sleep(failure.pause).await;
        match follower.open(Some(reached), &mut reconnect).await {
            Opened::Ready(opened, first) => {
                feed.accept(first);
                session = opened;
            }
            Opened::WentBack(client, went_back) => return (client, went_back),
        }
    }
}

/// Runs the lanes that the tables ask for while we hold a lease, and again whenever we hold the next one. Returns only an error that the
/// gateway cannot recover from.
async fn keep_lanes(supervisor: &mut Supervisor, leases: &LeaseKeeper, signals: &Signals) -> anyhow::Error {
    loop {
        let lease = leases.held().await;
        tokio::select! {
            biased;
            () = leases.lost(&lease) => {}
            error = supervisor.keep(leases, lease.clone(), signals) => return error,
        }
        tracing::warn!("the lease was not renewed in time; the lanes stop until there is a new one");
        if let Err(error) = supervisor.abandon().await {
            return error;
        }
    }
}

/// Sets what is stored back, if it is ahead of the log. What was in memory is gone already.
async fn rewind(mut client: Client, went_back: &WentBack) -> anyhow::Result<()> {
    let reason = &went_back.reason;
    let Some(position) = went_back.to else {
        tracing::warn!(reason, "the log is not the one that was read; starting again from what is stored");
        return Ok(());
    };
    let transaction = client.transaction().await?;
    let further = lanes::rewind(&transaction, position).await.context("cannot rewind the lanes")?;
    checkpoint::rewind(&transaction, position).await.context("cannot rewind the tail")?;
    transaction.commit().await?;
    tracing::warn!(
        reason,
        position,
        lanes = further,
        "the log went back in time; what exists after this position is delivered again"
    );
    Ok(())
}
