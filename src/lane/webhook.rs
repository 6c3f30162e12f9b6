//! The lane of a webhook. In: the lane's events, and parked deliveries that are due. Out: signed POSTs, several at a time, in order per
//! entity; what fails is parked. It never tries an event while an earlier one of its entity is in hand or parked, and while the breaker
//! is open it makes one attempt at a time.

pub mod request;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::sleep_until;

use crate::event::Entity;
use crate::event::Event;
use crate::lane::Ended;
use crate::lane::breaker::Breaker;
use crate::lane::checkpoint::Lost;
use crate::lane::checkpoint::State;
use crate::lane::order::EntityOrder;
use crate::lane::parked;
use crate::lane::parked::DueQueue;
use crate::lane::parked::Job;
use crate::lane::progress::Progress;
use crate::lane::stop::Stop;
use crate::lane::webhook::request::Answer;
use crate::lane::webhook::request::Endpoint;
use crate::lane::webhook::request::Outcome;
use crate::ledger::Attempt;
use crate::ledger::Fate;
use crate::ledger::Parked;

/// See the module's description.
#[derive(Debug)]
pub struct WebhookLane {
    name: String,
    endpoint: Arc<Endpoint>,
    progress: Progress,
    order: EntityOrder<Entity, Arc<Event>>,
    attempts: JoinSet<(Job, Answer)>,
    breaker: Breaker,
    due: DueQueue,
    /// Where the last job was taken from.
    taken: Source,
    /// Events taken since the breaker opened.
    taken_while_open: usize,
    gone: Option<String>,
}

/// Where a job is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Log,
    Ledger,
}

/// Events in hand per request that may be open: enough to find other entities' work behind that of a slow one.
const AHEAD: usize = 16;

impl WebhookLane {
    /// A lane that goes on from its stored cursor; `held` entities have something parked.
    pub(super) fn new(
        name: String,
        endpoint: Endpoint,
        progress: Progress,
        due: DueQueue,
        held: Vec<Entity>,
    ) -> WebhookLane {
        let mut order = EntityOrder::default();
        for entity in held {
            order.hold(entity);
        }
        WebhookLane {
            name,
            endpoint: Arc::new(endpoint),
            progress,
            order,
            attempts: JoinSet::new(),
            breaker: Breaker::default(),
            due,
            taken: Source::Log,
            taken_while_open: 0,
            gone: None,
        }
    }

    /// Delivers until it is asked to stop.
    pub async fn run(mut self, mut stop: Stop) -> Result<Ended, Lost> {
        let mut clock = Progress::clock();
        loop {
            self.start();
            let room = self.room();
            let probe = self.breaker.next_probe();
            tokio::select! {
                biased;
                grace = stop.asked() => return self.drain(grace).await,
                _ = clock.tick() => self.checkpoint().await?,
                Some(ended) = self.attempts.join_next() => {
                    self.settle(ended).await?;
                    while let Some(ended) = self.attempts.try_join_next() {
                        self.settle(ended).await?;
                    }
                    // The next event of an entity is due once this one is written down; the clock would be slow to do it.
                    if !self.progress.entries.settled.is_empty() {
                        self.checkpoint().await?;
                    }
                }
                () = self.due.time_to_look() => self.look().await?,
                () = sleep_until(probe.unwrap_or_else(Instant::now)), if probe.is_some() && self.has_probe() => self.probe(),
                events = self.progress.intake.next(room), if room > 0 => self.admit(events),
            }
            if let Some(reason) = self.gone.take() {
                return self.disable(reason, &mut stop).await;
            }
        }
    }

    /// While the breaker is open, enough for a probe to choose from, and no more: what follows a held event only moves to the ledger.
    fn room(&self) -> usize {
        let most = self.endpoint.webhook().concurrency * AHEAD;
        let room = if self.breaker.is_closed() { most } else { most.saturating_sub(self.taken_while_open) };
        let room = room.min(most.saturating_sub(self.order.queued() + self.attempts.len()));
        if self.progress.has_room() { room } else { 0 }
    }

    fn admit(&mut self, events: Vec<Arc<Event>>) {
        self.taken_while_open += if self.breaker.is_closed() { 0 } else { events.len() };
        for event in events {
            if let Some(held) = self.order.push(event.entity.clone(), event) {
                self.park_behind(held);
            }
        }
    }

    fn start(&mut self) {
        while self.breaker.is_closed()
            && self.attempts.len() < self.endpoint.webhook().concurrency
            && let Some(job) = self.next()
        {
            self.attempt(job);
        }
    }

    /// Takes turns between log and ledger. A probe sends what failed to the back of its line: an event that the endpoint will never
    /// take must not be the one that asks whether the endpoint takes any.
    fn next(&mut self) -> Option<Job> {
        let (first, second) = match self.taken {
            Source::Log => (Source::Ledger, Source::Log),
            Source::Ledger => (Source::Log, Source::Ledger),
        };
        let job = self.next_from(first).or_else(|| self.next_from(second))?;
        self.taken = match job {
            Job::Fresh(_) => Source::Log,
            Job::Parked(_) => Source::Ledger,
        };
        Some(job)
    }

    fn next_from(&mut self, source: Source) -> Option<Job> {
        match source {
            Source::Ledger => self.due.pop().map(Job::Parked),
            Source::Log => self.order.pop().map(|(_, event)| Job::Fresh(event)),
        }
    }

    fn has_probe(&self) -> bool {
        self.attempts.is_empty() && (!self.due.is_empty() || self.order.queued() > 0)
    }

    fn probe(&mut self) {
        if let Some(job) = self.next() {
            self.attempt(job);
        }
    }

    fn attempt(&mut self, job: Job) {
        let endpoint = Arc::clone(&self.endpoint);
        self.attempts.spawn(async move {
            let answer = endpoint.attempt(job.event(), matches!(&job, Job::Parked(it) if it.replayed)).await;
            (job, answer)
        });
    }

    async fn settle(&mut self, ended: Result<(Job, Answer), tokio::task::JoinError>) -> Result<(), Lost> {
        let (job, answer) = ended.expect("an attempt neither panics nor is aborted while the lane runs");
        match answer.outcome {
            Outcome::Delivered => {
                self.delivered(job, &answer);
                if self.breaker.succeeded() {
                    self.taken_while_open = 0;
                    tracing::info!(webhook = self.name, "answers again");
                    self.progress.report(State::Running).await?;
                }
            }
            Outcome::Gone => {
                self.put_back(job);
                self.gone = Some(answer.reason());
            }
            Outcome::Retry(asked) if !self.breaker.is_closed() => {
                // A probe: it says something about the endpoint, and nothing about the event.
                self.breaker.failed(Instant::now(), asked.unwrap_or_default());
                self.postpone(job, &answer);
                self.taken_while_open = self.taken_while_open.saturating_sub(AHEAD);
                tracing::debug!(webhook = self.name, reason = answer.reason(), "a probe failed");
                self.progress.report(State::Open(answer.reason())).await?;
            }
            Outcome::Retry(asked) => {
                self.failed(job, &answer, asked);
                if self.breaker.failed(Instant::now(), asked.unwrap_or_default()) {
                    let reason = answer.reason();
                    tracing::warn!(
                        webhook = self.name,
                        reason,
                        "keeps failing; its events wait until a probe succeeds"
                    );
                    self.progress.report(State::Open(reason)).await?;
                }
            }
        }
        Ok(())
    }

    fn delivered(&mut self, job: Job, answer: &Answer) {
        match job {
            Job::Fresh(event) => {
                self.order.done(&event.entity);
                self.progress.done(&event);
            }
            Job::Parked(parked) => {
                self.record(&parked.event, parked.attempts + 1, "delivered", answer);
                self.settled(&parked, None, parked.attempts + 1, answer);
            }
        }
    }

    fn put_back(&mut self, job: Job) {
        match job {
            Job::Fresh(event) => self.order.put_back(event.entity.clone(), event),
            Job::Parked(parked) => self.due.put_back(parked),
        }
    }

    /// Puts what a probe was made with behind everything else, with as many attempts to its name as before.
    fn postpone(&mut self, job: Job, answer: &Answer) {
        match job {
            Job::Fresh(_) => self.put_back(job),
            Job::Parked(parked) => {
                let now = Instant::now();
                let wait = self.breaker.next_probe().unwrap_or(now).saturating_duration_since(now);
                self.settled(&parked, Some(Fate::Retry(wait)), parked.attempts, answer);
            }
        }
    }

    fn failed(&mut self, job: Job, answer: &Answer, asked: Option<Duration>) {
        let number = job.number();
        let schedule = &self.endpoint.webhook().retry;
        let wait = schedule.delay_at_least(number.unsigned_abs(), rand::random(), asked);
        let fate = wait.map_or(Fate::Dead, Fate::Retry);
        self.record(job.event(), number, if wait.is_some() { "retry" } else { "dead" }, answer);
        match job {
            Job::Parked(parked) => self.settled(&parked, Some(fate), number, answer),
            Job::Fresh(event) => {
                match fate {
                    Fate::Dead => self.order.done(&event.entity),
                    _ => {
                        for behind in self.order.hold(event.entity.clone()) {
                            self.park_behind(behind);
                        }
                    }
                }
                self.progress.park(event, fate, number, &answer.reason());
            }
        }
    }

    fn park_behind(&mut self, event: Arc<Event>) {
        self.progress.park(event, Fate::Waiting, 0, "waits behind an earlier event of the same entity");
    }

    fn settled(&mut self, parked: &Parked, fate: Option<Fate>, attempts: i32, answer: &Answer) {
        self.progress.entries.settled.push(parked::settlement(parked, fate, attempts, answer.reason()));
    }

    fn record(&mut self, event: &Arc<Event>, number: i32, outcome: &'static str, answer: &Answer) {
        self.progress.entries.attempts.push(Attempt {
            event: Arc::clone(event),
            number,
            outcome,
            code: answer.code.map(i32::from),
            latency: answer.latency,
            excerpt: answer.excerpt.clone(),
        });
    }

    async fn checkpoint(&mut self) -> Result<(), Lost> {
        for entity in self.due.checkpoint(&mut self.progress).await? {
            self.order.release(&entity);
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<(), Lost> {
        let held = || self.order.held().cloned().collect();
        let most = self.endpoint.webhook().concurrency;
        for entity in self.due.look(&mut self.progress, held, most).await? {
            self.order.release(&entity);
        }
        Ok(())
    }

    /// The endpoint wants nothing more: the lane stands still, with its cursor where it is, until its row is changed.
    async fn disable(mut self, reason: String, stop: &mut Stop) -> Result<Ended, Lost> {
        tracing::warn!(webhook = self.name, reason, "disabled until its row is changed");
        self.progress.report(State::Disabled(reason.clone())).await?;
        let timeout = self.endpoint.webhook().timeout;
        tokio::select! {
            biased;
            // Whoever changes the row is not kept waiting by requests to an endpoint that wants nothing more.
            _ = stop.asked() => {}
            ended = self.end_attempts(timeout) => ended?,
        }
        // How these ended was reported as well.
        self.progress.report(State::Disabled(reason.clone())).await?;
        self.progress.finish().await?;
        let mut clock = Progress::clock();
        while !self.progress.is_written() {
            tokio::select! {
                biased;
                _ = stop.asked() => break,
                _ = clock.tick() => self.progress.finish().await?,
            }
        }
        Ok(Ended::Disabled(reason))
    }

    /// Finishes what is being tried, within `grace`, and writes down how far the lane is.
    async fn drain(&mut self, grace: Duration) -> Result<Ended, Lost> {
        self.end_attempts(grace).await?;
        self.progress.finish().await?;
        Ok(Ended::Stopped)
    }

    async fn end_attempts(&mut self, grace: Duration) -> Result<(), Lost> {
        let finishing = async {
            while let Some(ended) = self.attempts.join_next().await {
                self.settle(ended).await?;
            }
            Ok(())
        };
        tokio::time::timeout(grace, finishing).await.unwrap_or(Ok(()))
    }
}
