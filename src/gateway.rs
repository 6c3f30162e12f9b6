//! The gateway's life: start, supervise, stop. The one place where the stages meet. In: settings, and a future that ends when the
//! process is to stop. Out: an error if any part of it died; a supervisor is to start it again.

mod channels;
pub mod listing;
mod roster;
mod systemd;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::Context as _;
use deadpool_postgres::Pool;
use tokio::task::JoinError;
use tokio_postgres::Client;

use crate::database::Database;
use crate::destination::Defaults;
use crate::feed::Feed;
use crate::gateway::roster::Roster;
use crate::lane::Surroundings;
use crate::lane::checkpoint;
use crate::lane::checkpoint::Lost;
use crate::log::follow::Follower;
use crate::log::follow::Opened;
use crate::log::follow::Session;
use crate::log::listener::Signals;
use crate::log::tail;
use crate::log::tail::Batch;
use crate::log::tail::Tail;
use crate::log::tail::WentBack;
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
}

/// Connections for cursors, parked deliveries and lanes that are behind; shared by all lanes.
const POOL: usize = 8;
/// A change of a destination is notified; this is for the one that was not.
const ROSTER_FALLBACK: Duration = Duration::from_secs(30);
/// How soon the roster is tried again, when the database did not let it.
const ROSTER_RETRY: Duration = Duration::from_secs(1);
/// How often the log's next partition is seen to.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// Why a gateway does not serve any more.
enum Over {
    /// It was asked to stop.
    Stopped,
    /// The log went back in time: all lanes start again from what exists.
    WentBack(Client, WentBack),
}

/// Serves until `stop` ends.
pub async fn run(settings: Settings, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let pool = settings.database.pool(POOL)?;
    let follower = Follower {
        database: settings.database.clone(),
        signals: Arc::new(Signals::default()),
        pulse: Arc::new(AtomicU64::new(0)),
    };
    tokio::pin!(stop);
    let serving = async {
        while let Over::WentBack(client, went_back) = serve(&settings, &pool, &follower, stop.as_mut()).await? {
            rewind(&pool, &client, &went_back).await?;
        }
        Ok(())
    };
    tokio::select! {
        ended = serving => ended,
        () = systemd::feed_watchdog(&follower.pulse) => unreachable!("the watchdog is fed for ever"),
    }
}

async fn serve(
    settings: &Settings,
    pool: &Pool,
    follower: &Follower,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> anyhow::Result<Over> {
    let opened = tokio::select! {
        biased;
        () = &mut stop => return Ok(Over::Stopped),
        opened = open(follower) => opened,
    };
    let (session, first) = match opened {
        Ok(opened) => opened,
        Err((client, went_back)) => return Ok(Over::WentBack(client, went_back)),
    };
    let feed = Arc::new(Feed::new(settings.memory, first.position, Arc::clone(&first.undecided)));
    let around = Surroundings {
        pool: pool.clone(),
        feed: Arc::clone(&feed),
        equipment: Arc::clone(&settings.equipment),
        gateway: settings.name.clone(),
        changes: follower.signals.deliveries.subscribe(),
    };
    let mut roster = Roster::new(around, settings.defaults.clone());
    let over = tokio::select! {
        biased;
        () = stop => Over::Stopped,
        (client, went_back) = follow(follower, session, &feed) => Over::WentBack(client, went_back),
        error = keep_roster(&mut roster, &follower.signals) => return Err(error),
        () = keep_house(pool) => unreachable!("housekeeping has no end"),
        () = Box::pin(channels::carry(&settings.database, pool, &follower.signals)) => {
            unreachable!("listening has no end")
        }
    };
    if matches!(over, Over::Stopped) {
        systemd::stopping();
    }
    roster.stop(settings.grace).await?;
    if matches!(over, Over::Stopped) {
        let horizon = feed.horizon().borrow().clone();
        // Lanes that are further than the tail wait for it after the next start, which costs time and nothing else.
        if let Ok(client) = pool.get().await {
            drop(tail::store(&client, horizon.position, &horizon.undecided).await);
        }
    }
    Ok(over)
}

/// Opens the tail and takes the first look, which decides the holes that an earlier run left open, before any lane asks what is decided.
async fn open(follower: &Follower) -> Result<(Session, Batch), (Client, WentBack)> {
    loop {
        let mut session = match follower.open(|| None).await {
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
async fn follow(follower: &Follower, mut session: Session, feed: &Feed) -> (Client, WentBack) {
    loop {
        let error = follower.follow(session, |batch| feed.accept(batch)).await;
        tracing::warn!(error = format!("{error:#}"), "lost the database");
        let reached = || {
            let horizon = feed.horizon().borrow().clone();
            Some((horizon.position, horizon.undecided))
        };
        match follower.open(reached).await {
            Opened::Ready(opened) => session = opened,
            Opened::WentBack(client, went_back) => return (client, went_back),
        }
    }
}

/// Keeps the lanes as the tables want them. Returns only with what the gateway cannot go on with.
async fn keep_roster(roster: &mut Roster, signals: &Signals) -> anyhow::Error {
    let mut trouble = String::new();
    let mut is_ready = false;
    loop {
        let pause = match roster.reconcile().await {
            Ok(()) => {
                trouble.clear();
                if !is_ready {
                    is_ready = true;
                    tracing::info!("ready");
                    systemd::ready();
                }
                ROSTER_FALLBACK
            }
            Err(error) if is_fatal(&error) => return error,
            Err(error) => {
                let now = format!("{error:#}");
                if now != trouble {
                    tracing::error!(error = now, "cannot bring the lanes up to date; trying again");
                    trouble = now;
                }
                ROSTER_RETRY
            }
        };
        tokio::select! {
            () = signals.destinations.notified() => {}
            () = tokio::time::sleep(pause) => {}
            ended = roster.watch() => if let Err(error) = ended { return error },
        }
    }
}

/// A lane that died, or that another daemon has taken over.
fn is_fatal(error: &anyhow::Error) -> bool {
    error.is::<Lost>() || error.is::<JoinError>()
}

async fn keep_house(pool: &Pool) {
    loop {
        let extended = async {
            pool.get().await?.execute("select andon.extend_log()", &[]).await?;
            anyhow::Ok(())
        };
        if let Err(error) = extended.await {
            tracing::warn!(
                error = format!("{error:#}"),
                "cannot make the log's next partition; events go to the default one"
            );
        }
        tokio::time::sleep(HOUSEKEEPING).await;
    }
}

/// Sets everyone back to where the log can be trusted. The lanes first: if this is cut short, it is found and done again.
async fn rewind(pool: &Pool, client: &Client, went_back: &WentBack) -> anyhow::Result<()> {
    let lanes = checkpoint::rewind(pool, went_back.to).await.context("cannot rewind the lanes")?;
    Tail::rewind(client, went_back).await.context("cannot rewind the tail")?;
    tracing::warn!(
        reason = went_back.reason,
        position = went_back.to,
        lanes,
        "the log went back in time; what exists after this position is delivered again"
    );
    Ok(())
}
