//! Follows the log: reads, hands on, waits. In: a database that may go away and come back. Out: every batch, to the feed. How it waits is
//! decided by `wakeup`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use backon::BackoffBuilder as _;
use backon::ExponentialBuilder;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::database::Database;
use crate::log::tail::Batch;
use crate::log::tail::Tail;
use crate::log::tail::checkpoint::Reached;
use crate::log::tail::checkpoint::WentBack;
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
    listening: JoinHandle<()>,
}

/// The outcome of opening the tail.
#[derive(Debug)]
pub enum Opened {
    /// The tail is ready to read.
    Ready(Box<Session>),
    /// The log is not the one that was read. What is in memory has to be forgotten, and what is stored may have to be set back through this
    /// connection.
    WentBack(Client, WentBack),
}

/// A database that does not answer for this long, although its connection stands, is given up like one that hung up.
const SILENCE: Duration = Duration::from_secs(30);

impl Follower {
    /// Opens the tail as soon as the database lets it, and anchors the pools to its session. `reached` is how far it was before a connection
    /// was lost.
    pub async fn open(&self, reached: Option<Reached>) -> Opened {
        let pauses = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(10))
            .without_max_times()
            .build();
        let mut last_error = String::new();
        for pause in pauses {
            self.pulse.fetch_add(1, Ordering::Relaxed);
            match self.try_open(reached.clone()).await {
                Ok(opened) => {
                    if !last_error.is_empty() {
                        tracing::info!("the database is back");
                    }
                    return opened;
                }
                Err(error) => {
                    // An error is logged when it is a new one, not at each try.
                    let error = format!("{error:#}");
                    if error != last_error {
                        tracing::warn!(error, "cannot read the log yet; trying again, nothing is lost");
                        last_error = error;
                    }
                }
            }
            tokio::time::sleep(pause).await;
        }
        unreachable!("the pauses have no end")
    }

    /// Reads until the connection fails, and hands on what it reads. Returns why it ended, and how far it was.
    pub async fn follow(&self, mut session: Box<Session>, accept: impl Fn(Batch)) -> (anyhow::Error, Reached) {
        let ended = self.read(&mut session, accept).await;
        // Until the log is proved to be the same, nothing that was learned from it may be written: there may be another server by now.
        self.database.lose_anchor();
        session.listening.abort();
        let error = match ended {
            Err(error) => error.context("reading the log"),
            Ok(()) => anyhow::anyhow!("the listening connection ended"),
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
        let tail = match opened {
            Ok(tail) => tail,
            Err((client, went_back)) => return Ok(Opened::WentBack(client, went_back)),
        };
        let (signals, has_company) = (Arc::clone(&self.signals), Arc::clone(&self.has_company));
        let wakeup =
            Wakeup::prepare(Arc::clone(tail.client()), signals, has_company).await.context("opening the log")?;
        self.database.anchor_at(tail.client()).await.context("opening the log")?;
        if is_again {
            // The supervisor looks whether the lanes' rows are still what the lanes know of, and whether it has missed a notification.
            self.signals.destinations.notify_one();
        }
        Ok(Opened::Ready(Box::new(Session { tail, wakeup, listening })))
    }

    async fn read(&self, session: &mut Session, accept: impl Fn(Batch)) -> anyhow::Result<()> {
        let Session { tail, wakeup, listening } = session;
        // The first poll may have been made by whoever opened the session.
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
                if wakeup.is_leading() {
                    tail.checkpoint().await?;
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
