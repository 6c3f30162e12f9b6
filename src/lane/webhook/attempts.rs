//! The attempts of a webhook that are under way. In: jobs. Out: each with its answer, in the order in which they end. It keeps the
//! connections between attempts, and never has more of them than attempts were under way at once.

use std::sync::Arc;

use tokio::task::JoinError;
use tokio::task::JoinSet;

use crate::lane::delivery::Delivery;
use crate::lane::webhook::connection::Connection;
use crate::lane::webhook::request::Answer;
use crate::lane::webhook::request::Endpoint;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Attempts {
    endpoint: Arc<Endpoint>,
    /// Tasks of their own, so that they go on while the lane waits for the database.
    under_way: JoinSet<Attempted>,
    /// Connections that wait for the next attempt, those used last at the end.
    idle: Vec<Connection>,
}

struct Attempted {
    job: Delivery,
    answer: Answer,
    /// A connection that can be used once more.
    kept: Option<Connection>,
}

impl Attempts {
    /// None yet.
    pub(super) fn new(endpoint: Endpoint) -> Attempts {
        Attempts { endpoint: Arc::new(endpoint), under_way: JoinSet::new(), idle: Vec::new() }
    }

    /// Where they go.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Starts one.
    pub(super) fn start(&mut self, job: Delivery) {
        let (endpoint, kept) = (Arc::clone(&self.endpoint), self.idle.pop());
        self.under_way.spawn(async move {
            let (answer, kept) = endpoint.attempt(job.event(), job.is_replayed(), kept).await;
            Attempted { job, answer, kept }
        });
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Whether none is.
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// The next one to end. None: there is none. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<(Delivery, Answer)> {
        let ended = self.under_way.join_next().await?;
        Some(self.ended(ended))
    }

    /// One that has ended, if there is one.
    pub(super) fn try_next(&mut self) -> Option<(Delivery, Answer)> {
        let ended = self.under_way.try_join_next()?;
        Some(self.ended(ended))
    }

    /// Lets go of connections that rested for too long.
    pub(super) fn tidy(&mut self) {
        self.idle.retain(Connection::is_fit);
    }

    fn ended(&mut self, ended: Result<Attempted, JoinError>) -> (Delivery, Answer) {
        let Attempted { job, answer, kept } =
            ended.expect("an attempt neither panics nor is aborted while the lane runs");
        self.idle.extend(kept);
        (job, answer)
    }
}
