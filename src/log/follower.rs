//! Follows the log: reads, hands on, waits. In: a database that may go away and come back. Out: every batch, to the feed. How it waits is
//! decided by `wakeup`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use deadpool_postgres::Pool;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_util::task::AbortOnDropHandle;

use crate::database::Database;
use crate::database::reconnect::Reconnect;
use crate::log::tail::Batch;
use crate::log::tail::Tail;
use crate::log::tail::checkpoint::Reached;
use crate::log::tail::checkpoint::WentBack;
use crate::log::tail::row::TailRow;
use crate::log::wakeup::Found;
use crate::log::wakeup::LockRequest;
use crate::log::wakeup::Wakeup;
use crate::log::wakeup::listener;
use crate::log::wakeup::listener::Signals;

/// Opens the tail, as often as a connection is lost, and follows the log with it.
#[derive(Debug)]
pub struct Follower {
    /// The source.
    pub database: Database,
    /// For what is written beside the reads.
    pub pool: Pool,
    /// The listening connection sets these.
    pub signals: Arc<Signals>,
    /// Counts the turns of the loop, so that a watchdog can tell a sleeping tail from a dead one.
    pub pulse: Arc<AtomicU64>,
    /// Whether other daemons serve this database too.
    pub has_company: Arc<AtomicBool>,
}

/// A tail with everything that wakes it.
#[derive(Debug)]
pub struct Session {
    /// The reader.
    pub tail: Tail,
    wakeup: Wakeup,
    /// Ends with the session, so that no connection stays that nobody reads.
    listening: AbortOnDropHandle<Option<Error>>,
}

/// The outcome of opening the tail.
#[derive(Debug)]
pub enum Opened {
    /// The tail has read for the first time. That decides the holes that an earlier run left open, which must happen before any lane asks
    /// what is decided; and a log that cannot be read is not open.
    Ready(Box<Session>, Batch),
    /// The log is not the one that was read. What is in memory has to be forgotten, and what is stored may have to be set back through this
    /// connection.
    WentBack(Client, WentBack),
}

/// A database that does not answer for this long, although its connection stands, is given up like one that hung up.
const SILENCE: Duration = Duration::from_secs(30);
/// To open the log takes some statements, which a server that falls silent in between would never answer.
const LONGEST_OPENING: Duration = Duration::from_secs(60);

impl Follower {
    /// Opens the tail as soon as the database lets it, and anchors the pools to its session. `reached` is how far it was before a connection
    /// was lost.
    pub async fn open(&self, reached: Option<Reached>, reconnect: &mut Reconnect) -> Opened {
        loop {
            self.pulse.fetch_add(1, Ordering::Relaxed);
            let opening = timeout(LONGEST_OPENING, self.try_open(reached.clone())).await;
            let opened = opening.with_context(|| format!("the log could not be opened within {LONGEST_OPENING:?}"));
            match opened.flatten() {
                Ok(opened) => {
                    if reconnect.opened(Instant::now()) {
                        tracing::info!("the database is back");
                    }
                    return opened;
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    let failure = reconnect.failed(Instant::now(), &error);
                    if failure.is_news {
                        tracing::warn!(error, "cannot read the log yet; trying again, nothing is lost");
                    }
                    tokio::time::sleep(failure.pause).await;
                }
            }
        }
    }

    /// Reads until the connection fails, and hands on what it reads. Returns why it ended, and how far it was.
    pub async fn follow(&self, mut session: Box<Session>, accept: impl Fn(Batch)) -> (anyhow::Error, Reached) {
        let ended = self.read(&mut session, accept).await;
        // Until the log is proved to be the same, nothing that was learned from it may be written: there may be another server by now.
        self.database.lose_anchor();
        let error = match ended {
            Err(error) => error.context("reading the log"),
            Ok(()) => listener::ended(session.listening.await),
        };
        (error, session.tail.reached())
    }

    /// Opens the session once. It listens before the first read, so that the read finds everything that is committed in between.
    async fn try_open(&self, reached: Option<Reached>) -> anyhow::Result<Opened> {
        let is_again = reached.is_some();
        let (client, connection) = self.database.connect_apart().await?;
        let listening =
            listener::listen(client, connection, Arc::clone(&self.signals)).await.context("listening for the bell")?;
        let reader = self.database.connect().await?;
        let opened = Tail::open(reader, reached).await.context("opening the log; has `andon migrate` been run?")?;
        let mut tail = match opened {
            Ok(tail) => tail,
            Err((client, went_back)) => return Ok(Opened::WentBack(client, went_back)),
        };
        let (signals, has_company) = (Arc::clone(&self.signals), Arc::clone(&self.has_company));
        let wakeup =
            Wakeup::prepare(Arc::clone(tail.client()), signals, has_company).await.context("opening the log")?;
        let first = tail.poll().await.context("reading the log")?;
        self.database.anchor_at(tail.client()).await.context("opening the log")?;
        if is_again {
            // The supervisor looks whether the lanes' rows are still what the lanes know of, and whether it has missed a notification.
            self.signals.destinations.notify_one();
        }
        Ok(Opened::Ready(Box::new(Session { tail, wakeup, listening }), first))
    }

    async fn read(&self, session: &mut Session, accept: impl Fn(Batch)) -> anyhow::Result<()> {
        let Session { tail, wakeup, listening } = session;
        let mut row = TailRow::new(self.pool.clone());
        // The first poll was made when the session was opened.
        wakeup.record_ages(tail.ages());
        while !listening.is_finished() {
            self.pulse.fetch_add(1, Ordering::Relaxed);
            let request = wakeup.before_poll();
            let (holds_lock, batch) = poll(tail, wakeup, request).await?;
            wakeup.record_ages(tail.ages());
            let (events, holes) = (!batch.events.is_empty(), !batch.undecided.is_empty());
            let found = Found { events, holes, is_cut: tail.is_cut() };
            let polled = wakeup.polled(found, request, holds_lock);
            if polled.is_news {
                accept(batch);
            }
            if polled.is_unheard {
                wakeup.ring_for_others().await?;
            }
            if wakeup.is_upkeep_due() {
                wakeup.look_at_queue().await?;
                if wakeup.is_leading() {
                    row.keep(tail.position(), tail.undecided()).await;
                } else {
                    wakeup.try_to_lead().await?;
                }
                wakeup.upkeep_done();
            }
            wakeup.wait(found).await;
        }
        Ok(())
    }
}

/// Polls, with a request to the bell's lock ahead of the read. Returns the answer to the request, too.
async fn poll(tail: &mut Tail, wakeup: &Wakeup, request: LockRequest) -> anyhow::Result<(bool, Batch)> {
    let polled = tokio::time::timeout(SILENCE, tail.poll_after(wakeup.ask(request))).await;
    Ok(polled.with_context(|| format!("the database did not answer within {SILENCE:?}"))??)
}
