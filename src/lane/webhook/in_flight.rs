//! The attempts of a webhook that are in flight. In: deliveries. Out: each with the result of its attempt, in the order in which the
//! attempts end. Each attempt has a number of the lane's sequence. It keeps connections open between attempts, and never more of them than there were attempts in flight at once.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use tokio::task::JoinError;
use tokio::task::JoinSet;

use crate::lane::delivery::Delivery;
use crate::lane::webhook::attempt::AttemptResult;
use crate::lane::webhook::attempt::Outcome;
use crate::lane::webhook::attempt::WebhookClient;
use crate::lane::webhook::connection::Connection;
use crate::lane::webhook::sequence::Place;
use crate::lane::webhook::sequence::Sequence;

/// The attempts in flight, and the connections that wait for the next ones.
#[derive(Debug)]
pub(super) struct InFlight {
    client: Arc<WebhookClient>,
    /// Each attempt is a task of its own, so that it goes on while the lane waits for the database.
    tasks: JoinSet<Ended>,
    /// The connection that was used last is at the end, and is used first.
    idle: Vec<Connection>,
    /// A replay has none: what it sends again had its number the first time.
    sequence: Option<Sequence>,
    /// Set when the lane stops: then no attempt waits for the rest of an answer any more.
    is_stopping: Arc<AtomicBool>,
}

struct Ended {
    delivery: Delivery,
    result: AttemptResult,
    place: Option<Place>,
    /// The connection, if it can be used once more.
    kept: Option<Connection>,
}

impl InFlight {
    /// Makes the attempts of one life of a lane.
    pub(super) fn new(client: WebhookClient, life: i64) -> InFlight {
        let sequence = (!client.is_replay()).then(|| Sequence::new(life));
        let client = Arc::new(client);
        InFlight { client, tasks: JoinSet::new(), idle: Vec::new(), sequence, is_stopping: Arc::default() }
    }

    /// Starts an attempt at a delivery.
    pub(super) fn start(&mut self, delivery: Delivery) {
        let (client, is_stopping) = (Arc::clone(&self.client), Arc::clone(&self.is_stopping));
        let (kept, place) = (self.idle.pop(), self.sequence.as_mut().map(Sequence::begin));
        self.tasks.spawn(async move {
            let (event, is_replayed) = (delivery.event(), delivery.is_replayed());
            let (result, kept) = client.attempt(event, is_replayed, place, kept, &is_stopping).await;
            Ended { delivery, result, place, kept }
        });
    }

    /// Waits for the next attempt to end; returns none when no attempt is in flight. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<(Delivery, AttemptResult)> {
        let ended = self.tasks.join_next().await?;
        Some(self.take(ended))
    }

    /// Returns an attempt that has ended already, if there is one.
    pub(super) fn try_next(&mut self) -> Option<(Delivery, AttemptResult)> {
        let ended = self.tasks.try_join_next()?;
        Some(self.take(ended))
    }

    /// Makes attempts end as soon as their answers have begun.
    pub(super) fn stop_reading(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Closes the connections that have been idle for too long.
    pub(super) fn close_stale_connections(&mut self) {
        self.idle.retain(Connection::is_usable);
    }

    fn take(&mut self, ended: Result<Ended, JoinError>) -> (Delivery, AttemptResult) {
        let Ended { delivery, result, place, kept } =
            ended.expect("an attempt neither panics nor is aborted while the lane runs");
        self.idle.extend(kept);
        if let (Some(sequence), Some(place)) = (&mut self.sequence, place) {
            sequence.end(place.number, result.outcome == Outcome::Delivered);
        }
        (delivery, result)
    }
}
