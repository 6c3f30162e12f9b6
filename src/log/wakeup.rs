//! Tells the tail that there is something to read. In: what its polls find, and the bell. Out: how long it waits before the next one. It
//! never polls while it can sleep, and never sleeps while a commit could pass unheard.
//!
//! While few write, the tail keeps the bell's lock: each commit rings, and is answered by one read. While many do, NOTIFY would make them
//! commit one after the other: the tail gives the lock back, they are silent, and it polls.
//!
//! Every daemon reads the log for itself, but only one at a time leads: it takes the bell's lock and looks after the writers that do not
//! ring. It rings for what it finds, so that the others look as well; when it is gone, another takes its place.

mod bell;
pub mod listener;
mod queue;
mod state;
mod writers;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::Error;

use crate::log::wakeup::bell::BellLock;
pub(crate) use crate::log::wakeup::bell::LockRequest;
use crate::log::wakeup::listener::Signals;
pub(crate) use crate::log::wakeup::state::Found;
pub(crate) use crate::log::wakeup::state::Polled;
use crate::log::wakeup::state::State;
use crate::log::wakeup::state::Wait;

/// Wakes one tail, for as long as its session lasts.
#[derive(Debug)]
pub(crate) struct Wakeup {
    lock: BellLock,
    signals: Arc<Signals>,
    /// Whether other daemons serve this database too.
    has_company: Arc<AtomicBool>,
    state: State,
}

/// Below this, the runtime's timer would wait several times as long as it is asked to.
const TIMER_TICK: Duration = Duration::from_millis(2);

impl Wakeup {
    /// Prepares the next poll. The client must be the one that reads the log: the bell's lock belongs to its session, and is asked for
    /// ahead of a read.
    pub(crate) async fn prepare(
        client: Arc<Client>,
        signals: Arc<Signals>,
        has_company: Arc<AtomicBool>,
    ) -> Result<Wakeup, Error> {
        Ok(Wakeup { lock: BellLock::prepare(client).await?, signals, has_company, state: State::new(Instant::now()) })
    }

    /// Takes in how old events were, in seconds, when a poll read them.
    pub(crate) fn record_ages(&mut self, ages: &[f64]) {
        self.state.record_ages(Instant::now(), ages);
    }

    /// Decides what the next poll asks of the bell's lock.
    pub(crate) fn before_poll(&self) -> LockRequest {
        self.state.lock_request(Instant::now())
    }

    /// Asks it; to be sent ahead of the read. The answer is for [`Wakeup::polled`].
    pub(crate) async fn ask(&self, request: LockRequest) -> Result<bool, Error> {
        self.lock.ask(request).await
    }

    /// Takes in what a poll found, and what the lock's answer was.
    pub(crate) fn polled(&mut self, found: Found, request: LockRequest, holds_lock: bool) -> Polled {
        self.state.polled(found, request, holds_lock)
    }

    /// Rings for the other daemons, if there are any.
    pub(crate) async fn ring_for_others(&self) -> Result<(), Error> {
        if self.has_company.load(Ordering::Relaxed) { self.lock.ring().await } else { Ok(()) }
    }

    /// Returns whether it is time, once a second, to write down how far the tail is, or to try to lead.
    pub(crate) fn is_upkeep_due(&self) -> bool {
        self.state.is_upkeep_due(Instant::now())
    }

    /// Looks at the server's queue of notifications. While it fills up, nobody rings: this tail polls, and every daemon looks at everything
    /// by itself once a second.
    pub(crate) async fn look_at_queue(&mut self) -> Result<(), Error> {
        let is_filling = queue::is_filling(self.lock.client()).await?;
        if self.state.queue_fills(is_filling) {
            if is_filling {
                let oldest = queue::culprit(self.lock.client()).await?;
                tracing::warn!(
                    oldest,
                    "the queue of notifications fills up, because a session that listens stays in a transaction; Andon polls and \
                     notifies nobody until that session is ended"
                );
            } else {
                tracing::info!("the queue of notifications has room again");
            }
        }
        if is_filling {
            self.signals.everything_may_have_changed();
        }
        Ok(())
    }

    /// Records that the upkeep was done.
    pub(crate) fn upkeep_done(&mut self) {
        self.state.upkeep_done(Instant::now());
    }

    /// Returns whether this is the tail that takes the bell's lock and writes down how far it is.
    pub(crate) fn is_leading(&self) -> bool {
        self.state.is_leading()
    }

    /// Becomes the leading tail, unless another daemon's tail leads.
    pub(crate) async fn try_to_lead(&mut self) -> Result<(), Error> {
        if self.lock.try_lead().await? {
            self.state.leads();
            // The tail that led before may have found something that it had not rung for yet.
            self.lock.ring().await?;
        }
        Ok(())
    }

    /// Waits until the next poll is due. A wait that runs out is as good as a bell: both only say that it is time to look.
    pub(crate) async fn wait(&mut self, found: Found) {
        match self.state.wait(found) {
            Wait::No => {}
            Wait::ForBell(longest) => drop(tokio::time::timeout(longest, self.signals.bell.notified()).await),
            Wait::Pause(pause) if pause < TIMER_TICK => {
                drop(tokio::task::spawn_blocking(move || std::thread::sleep(pause)).await);
            }
            Wait::Pause(pause) => tokio::time::sleep(pause).await,
        }
    }
}
