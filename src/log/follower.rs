//! The tail's day: read, hand on, sleep, wake. In: a database that may go away and come back. Out: every batch, to the feed. It never
//! polls while it can sleep, and never sleeps while a commit could pass unheard.
//!
//! While few write, it keeps the bell's lock: each commit rings, and is answered by one read. While many do, NOTIFY would make them commit
//! one after the other: it gives the lock back, they are silent, and it looks by itself.
//!
//! Every daemon reads the log for itself, but only one at a time holds the bell's lock and looks after writers that do not ring. What it
//! finds it rings for, so that the others look as well; when it is gone, another takes its place.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use backon::BackoffBuilder as _;
use backon::ExponentialBuilder;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::database::Database;
use crate::database::locks::Lock;
use crate::log::tail::Batch;
use crate::log::tail::Reached;
use crate::log::tail::Tail;
use crate::log::tail::WentBack;
use crate::log::wakeup::listener;
use crate::log::wakeup::listener::Signals;
use crate::log::wakeup::lock;
use crate::log::wakeup::lock::Ask;
use crate::log::wakeup::lock::Watch;

/// Opens the tail, again and again if need be.
#[derive(Debug)]
pub struct Follower {
    /// The source.
    pub database: Database,
    /// Rung by the listening connection.
    pub signals: Arc<Signals>,
    /// Counts the turns of the loop, so that a watchdog can tell a sleeping tail from a dead one.
    pub pulse: Arc<AtomicU64>,
    /// Whether other daemons serve this database too.
    pub has_company: Arc<AtomicBool>,
}

/// A tail and the connection that wakes it.
#[derive(Debug)]
pub struct Session {
    /// The reader.
    pub tail: Tail,
    listening: JoinHandle<()>,
}

/// What opening comes to.
#[derive(Debug)]
pub enum Opened {
    /// Ready to read.
    Ready(Box<Session>),
    /// The log went back in time: everyone is to be rewound first, through this connection.
    WentBack(Client, WentBack),
}

/// A belt to the braces: the bell is exact, but a half-open connection does not ring.
const FALLBACK: Duration = Duration::from_secs(5);
/// How soon a hole is looked at that nobody rang for; the next time after twice as long.
const FIRST_GLANCE: Duration = Duration::from_millis(10);
/// How often the tail writes down how far it is, or asks whether the bell has become free.
const CHECKPOINT: Duration = Duration::from_secs(1);
/// A database that is silent for so long, while the connection stands, is given up like one that hung up.
const SILENCE: Duration = Duration::from_secs(30);

impl Follower {
    /// Opens the tail as soon as the database lets it. `reached` is how far it was before a connection was lost.
    pub async fn open(&self, reached: Option<Reached>) -> Opened {
        let pauses = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(10))
            .without_max_times()
            .build();
        let mut said = String::new();
        for pause in pauses {
            self.pulse.fetch_add(1, Ordering::Relaxed);
            match self.try_open(reached.clone()).await {
                Ok(opened) => {
                    if !said.is_empty() {
                        tracing::info!("the database is back");
                    }
                    return opened;
                }
                Err(error) => {
                    // Said once for each thing that can be wrong, not once for each try.
                    let error = format!("{error:#}");
                    if error != said {
                        tracing::warn!(error, "cannot read the log yet; trying again, nothing is lost");
                        said = error;
                    }
                }
            }
            tokio::time::sleep(pause).await;
        }
        unreachable!("the pauses have no end")
    }

    /// Reads until the connection fails; hands on what it reads.
    pub async fn follow(&self, mut session: Box<Session>, accept: impl Fn(Batch)) -> anyhow::Error {
        let Session { tail, listening } = &mut *session;
        let ended = self.read(tail, listening, accept).await;
        listening.abort();
        match ended {
            Err(error) => error.context("reading the log"),
            Ok(()) => anyhow::anyhow!("the listening connection ended"),
        }
    }

    /// LISTEN first, then read, then sleep: what is committed in between is found by the read.
    async fn try_open(&self, reached: Option<Reached>) -> anyhow::Result<Opened> {
        let (client, connection) = self.database.connect_apart().await?;
        let listening =
            listener::listen(client, connection, Arc::clone(&self.signals)).await.context("listening for the bell")?;
        let reader = self.database.connect().await?;
        Ok(match Tail::open(reader, reached).await.context("opening the log; has `andon migrate` been run?")? {
            Ok(tail) => Opened::Ready(Box::new(Session { tail, listening })),
            Err((client, went_back)) => Opened::WentBack(client, went_back),
        })
    }

    async fn read(&self, tail: &mut Tail, listening: &JoinHandle<()>, accept: impl Fn(Batch)) -> anyhow::Result<()> {
        let mut watch = Watch::new();
        let mut looked_after: Option<Instant> = None;
        let (mut has_bell, mut is_asleep) = (false, false);
        let mut holes = true;
        let mut patience = FALLBACK;
        while !listening.is_finished() {
            self.pulse.fetch_add(1, Ordering::Relaxed);
            let now = Instant::now();
            let ask = match is_asleep {
                true if tail.crowd().is_many(now) => Ask::Wake,
                false if has_bell && tail.crowd().is_few(now) => Ask::Sleep,
                _ => Ask::Nothing,
            };
            let heard_all = is_asleep;
            let (answer, batch) = poll(tail, ask).await?;
            if ask != Ask::Nothing {
                is_asleep = answer;
            }
            let found = !batch.events.is_empty();
            if found || holes {
                holes = !batch.undecided.is_empty();
                accept(batch);
            }
            if found {
                watch.restart();
                // Who rang was heard by all.
                if has_bell && !heard_all && self.has_company.load(Ordering::Relaxed) {
                    lock::ring(tail.client()).await?;
                }
            }
            if looked_after.is_none_or(|last| last.elapsed() >= CHECKPOINT) {
                if has_bell {
                    tail.checkpoint().await?;
                } else if Lock::LeadingTail.try_acquire(tail.client()).await? {
                    has_bell = true;
                    // What the last holder found and had not rung for yet.
                    lock::ring(tail.client()).await?;
                }
                looked_after = Some(Instant::now());
            }
            // What rolls back does not ring: while a hole is open, it is looked at now and then.
            patience = if found || !holes { FIRST_GLANCE } else { (patience * 2).min(FALLBACK) };
            if tail.is_cut() {
                continue;
            }
            // Each wait ends with a read, and a time-out is no error: the bell says nothing but "look".
            if is_asleep {
                let patience = if holes { patience } else { FALLBACK };
                drop(tokio::time::timeout(patience, self.signals.bell.notified()).await);
            } else if !found && !has_bell {
                drop(tokio::time::timeout(CHECKPOINT, self.signals.bell.notified()).await);
            } else if !found {
                watch.pause().await;
            }
        }
        Ok(())
    }
}

async fn poll(tail: &mut Tail, ask: Ask) -> anyhow::Result<(bool, Batch)> {
    let polled = tokio::time::timeout(SILENCE, tail.poll_behind(ask)).await;
    Ok(polled.with_context(|| format!("the database did not answer within {SILENCE:?}"))??)
}
