//! The gateway's life: start, supervise, stop. The one place where the stages meet. In: settings, and a future that ends when the
//! process is to stop. Out: an error if any part of it died; a supervisor is to start it again.

mod assignment;
mod channels;
pub mod destinations;
mod lease;
pub mod retention;
mod supervisor;
mod systemd;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::Context as _;
use deadpool_postgres::Pool;
use tokio_postgres::Client;
use tokio_util::task::AbortOnDropHandle;

use crate::clock::Clock;
use crate::database::Database;
use crate::destination::Defaults;
use crate::feed::Feed;
use crate::gateway::lease::LeaseKeeper;
use crate::gateway::supervisor::Supervisor;
use crate::lane::LaneContext;
use crate::lane::store::cursor_writer::CursorWriter;
use crate::lane::store::lanes;
use crate::log::follower::Follower;
use crate::log::follower::Opened;
use crate::log::follower::Session;
use crate::log::tail;
use crate::log::tail::Batch;
use crate::log::tail::Reached;
use crate::log::tail::Tail;
use crate::log::tail::WentBack;
use crate::log::wakeup::listener::Signals;
use crate::settings::Retention;
use crate::topic::Equipment;

/// What a gateway needs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The source.
    pub database: Database,
    /// The name of this gateway, on its status topics.
    pub name: String,
    /// What lanes may take to finish what they have in hand, at a stop.
    pub grace: Duration,
    /// The bound of the ring of recent events, in bytes.
    pub memory: usize,
    /// What destinations get that say nothing else.
    pub defaults: Defaults,
    /// Levels by cell.
    pub equipment: Arc<Equipment>,
    /// How much of the past is kept.
    pub retention: Retention,
}

/// Connections for cursors, parked deliveries and lanes that are behind; shared by all lanes.
const POOL: usize = 8;

/// Why a gateway does not serve any more.
enum Over {
    /// It was asked to stop.
    Stopped,
    /// The log went back in time: all lanes start again from what exists.
    WentBack(Client, WentBack),
}

/// Serves until `stop` ends. Others may serve the same database: they share the lanes.
pub async fn run(settings: Settings, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let has_company = Arc::new(AtomicBool::new(false));
    let clock = Clock::default();
    let leases = LeaseKeeper::new(settings.name.clone(), clock.clone(), Arc::clone(&has_company));
    // Whoever finds that our lease is over knows our sessions by it.
    let database = settings.database.clone().marked(&lease::session_mark(leases.id));
    let pool = database.pool(POOL)?;
    let follower = Arc::new(Follower {
        database: database.clone(),
        signals: Arc::new(Signals::default()),
        pulse: Arc::new(AtomicU64::new(0)),
        has_company,
    });
    let gateway = Gateway { settings, database, pool, follower, leases, clock };
    tokio::pin!(stop);
    let serving = async {
        while let Over::WentBack(client, went_back) = gateway.serve(stop.as_mut()).await? {
            rewind(&gateway.pool, &client, &went_back).await?;
        }
        // Not to leave would only mean that the others wait for the lease to run out.
        drop(gateway.leases.leave(&gateway.pool).await);
        Ok(())
    };
    tokio::select! {
        ended = serving => ended,
        () = gateway.leases.keep(&gateway.database) => unreachable!("the lease is renewed for ever"),
        () = systemd::feed_watchdog(&gateway.follower.pulse) => unreachable!("the watchdog is fed for ever"),
    }
}

/// What lasts as long as the process.
struct Gateway {
    settings: Settings,
    database: Database,
    pool: Pool,
    follower: Arc<Follower>,
    leases: LeaseKeeper,
    clock: Clock,
}

impl Gateway {
    async fn serve(&self, mut stop: Pin<&mut impl Future<Output = ()>>) -> anyhow::Result<Over> {
        let opened = tokio::select! {
            biased;
            () = &mut stop => return Ok(Over::Stopped),
            opened = open(&self.follower) => opened,
        };
        let (session, first) = match opened {
            Ok(opened) => opened,
            Err((client, went_back)) => return Ok(Over::WentBack(client, went_back)),
        };
        let feed = Arc::new(Feed::new(self.settings.memory, first.position, Arc::clone(&first.undecided)));
        let context = LaneContext {
            daemon_id: self.leases.id,
            gateway_name: self.settings.name.clone(),
            pool: self.pool.clone(),
            cursor_writer: CursorWriter::start(self.pool.clone()),
            feed: Arc::clone(&feed),
            ledger_changes: self.follower.signals.deliveries.subscribe(),
            database_clock: self.clock.clone(),
            equipment: Arc::clone(&self.settings.equipment),
        };
        let mut supervisor = Supervisor::new(context, self.settings.defaults.clone());
        let signals = &self.follower.signals;
        // A task of its own: what it finds is then handled where it was received, and no other branch is looked at for it.
        let following = tokio::spawn(follow(Arc::clone(&self.follower), session, Arc::clone(&feed)));
        let following = AbortOnDropHandle::new(following);
        let over = tokio::select! {
            biased;
            () = stop => Over::Stopped,
            ended = following => {
                let (client, went_back) = ended.context("following the log")?;
                Over::WentBack(client, went_back)
            }
            error = keep_lanes(&mut supervisor, &self.leases, signals) => return Err(error),
            () = retention::keep(&self.pool, &self.settings.retention, &self.settings.defaults) => {
                unreachable!("housekeeping has no end")
            }
            () = Box::pin(channels::carry(&self.database, &self.pool, signals)) => {
                unreachable!("listening has no end")
            }
        };
        if matches!(over, Over::WentBack(..)) {
            // The lanes were, or are about to be, set back by epoch: what they have in hand is of a log that is no more.
            supervisor.abandon().await?;
            return Ok(over);
        }
        systemd::stopping();
        supervisor.stop(self.settings.grace).await?;
        let horizon = feed.horizon().borrow().clone();
        // Lanes that are further than the tail wait for it after the next start, which costs time and nothing else.
        if let Ok(client) = self.pool.get().await {
            drop(tail::store(&client, horizon.position, &horizon.undecided).await);
        }
        Ok(over)
    }
}

/// Opens the tail and takes the first look, which decides the holes that an earlier run left open, before any lane asks what is decided.
async fn open(follower: &Follower) -> Result<(Box<Session>, Batch), (Client, WentBack)> {
    loop {
        let mut session = match follower.open(None).await {
            Opened::Ready(session) => session,
            Opened::WentBack(client, went_back) => return Err((client, went_back)),
        };
        match session.tail.poll().await {
            Ok(first) => return Ok((session, first)),
            Err(error) => tracing::warn!(%error, "lost the database"),
        }
    }
}

/// Follows the log through lost connections, until it goes back in time.
async fn follow(follower: Arc<Follower>, mut session: Box<Session>, feed: Arc<Feed>) -> (Client, WentBack) {
    loop {
        let server = session.tail.server();
        let error = follower.follow(session, |batch| feed.accept(batch)).await;
        tracing::warn!(error = format!("{error:#}"), "lost the database");
        let horizon = feed.horizon().borrow().clone();
        let reached = Reached { position: horizon.position, undecided: horizon.undecided, server };
        match follower.open(Some(reached)).await {
            Opened::Ready(opened) => session = opened,
            Opened::WentBack(client, went_back) => return (client, went_back),
        }
    }
}

/// Keeps the lanes as the tables want them, for as long as we hold a lease, and again when we hold the next. Returns only with what the
/// gateway cannot go on with.
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

/// Sets everyone back to where the log can be trusted. The lanes first: if this is cut short, it is found and done again.
async fn rewind(pool: &Pool, client: &Client, went_back: &WentBack) -> anyhow::Result<()> {
    let reason = &went_back.reason;
    let Some(position) = went_back.to else {
        tracing::warn!(reason, "the log went back in time; reading it anew");
        return Ok(());
    };
    let further = lanes::rewind(pool, position).await.context("cannot rewind the lanes")?;
    Tail::rewind(client, position).await.context("cannot rewind the tail")?;
    tracing::warn!(
        reason,
        position,
        lanes = further,
        "the log went back in time; what exists after this position is delivered again"
    );
    Ok(())
}
