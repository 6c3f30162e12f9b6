//! The tail's day: read, hand on, sleep, wake. In: a database that may go away and come back. Out: every batch, to the feed. It never
//! polls while it can sleep, and never sleeps while a commit could pass unheard.

use std::sync::Arc;
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
use crate::log::bell;
use crate::log::bell::Watch;
use crate::log::listener;
use crate::log::listener::Signals;
use crate::log::tail::Batch;
use crate::log::tail::Tail;
use crate::log::tail::WentBack;
use crate::ranges::Ranges;

/// Opens the tail, again and again if need be.
#[derive(Debug)]
pub struct Follower {
    /// The source.
    pub database: Database,
    /// Rung by the listening connection.
    pub signals: Arc<Signals>,
    /// Counts the turns of the loop, so that a watchdog can tell a sleeping tail from a dead one.
    pub pulse: Arc<AtomicU64>,
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
    Ready(Session),
    /// The log went back in time: everyone is to be rewound first, through this connection.
    WentBack(Client, WentBack),
}

/// A belt to the braces: the bell is exact, but a half-open connection does not ring.
const FALLBACK: Duration = Duration::from_secs(5);
/// How often the tail writes down how far it is.
const CHECKPOINT: Duration = Duration::from_secs(1);

impl Follower {
    /// Opens the tail as soon as the database lets it. `reached` is what was handed on before a connection was lost.
    pub async fn open(&self, reached: impl Fn() -> Option<(i64, Arc<Ranges>)>) -> Opened {
        let pauses = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(10))
            .without_max_times()
            .build();
        let mut said = String::new();
        for pause in pauses {
            self.pulse.fetch_add(1, Ordering::Relaxed);
            match self.try_open(reached()).await {
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
    pub async fn follow(&self, mut session: Session, accept: impl Fn(Batch)) -> anyhow::Error {
        let Session { tail, listening } = &mut session;
        let ended = self.read(tail, listening, accept).await;
        listening.abort();
        match ended {
            Err(error) => anyhow::Error::new(error).context("reading the log"),
            Ok(()) => anyhow::anyhow!("the listening connection ended"),
        }
    }

    /// LISTEN first, then read, then sleep: what is committed in between is found by the read.
    async fn try_open(&self, reached: Option<(i64, Arc<Ranges>)>) -> anyhow::Result<Opened> {
        let (client, connection) = self.database.connect_apart().await?;
        let listening =
            listener::listen(client, connection, Arc::clone(&self.signals)).await.context("listening for the bell")?;
        let reader = self.database.connect().await?;
        if !bell::claim_tail(&reader).await? {
            tracing::info!("another andon serves this database; standing by");
            self.stand_by(&reader).await.context("standing by")?;
        }
        Ok(match Tail::open(reader, reached).await.context("opening the log; has `andon migrate` been run?")? {
            Ok(tail) => Opened::Ready(Session { tail, listening }),
            Err((client, went_back)) => Opened::WentBack(client, went_back),
        })
    }

    /// Waits in the server's queue. Standing by is no reason for a watchdog to bite.
    async fn stand_by(&self, reader: &Client) -> Result<(), tokio_postgres::Error> {
        let waiting = bell::await_tail(reader);
        tokio::pin!(waiting);
        loop {
            tokio::select! {
                taken = &mut waiting => return taken,
                () = tokio::time::sleep(CHECKPOINT) => self.pulse.fetch_add(1, Ordering::Relaxed),
            };
        }
    }

    async fn read(
        &self,
        tail: &mut Tail,
        listening: &JoinHandle<()>,
        accept: impl Fn(Batch),
    ) -> Result<(), tokio_postgres::Error> {
        let mut watch = Watch::new();
        let mut written = Instant::now();
        let mut holes = true;
        while !listening.is_finished() {
            self.pulse.fetch_add(1, Ordering::Relaxed);
            let batch = tail.poll().await?;
            let found = !batch.events.is_empty();
            if found || holes {
                holes = !batch.undecided.is_empty();
                accept(batch);
            }
            if written.elapsed() >= CHECKPOINT {
                tail.checkpoint().await?;
                written = Instant::now();
            }
            if found {
                watch.restart();
            } else if bell::try_sleep(tail.client()).await? {
                let last = tail.poll().await?;
                if last.events.is_empty() {
                    // Either way the loop reads: a time-out is no error, and the bell says nothing but "look".
                    drop(tokio::time::timeout(FALLBACK, self.signals.bell.notified()).await);
                } else {
                    holes = true;
                    accept(last);
                }
                bell::wake(tail.client()).await?;
            } else {
                tokio::time::sleep(watch.next()).await;
            }
        }
        Ok(())
    }
}
