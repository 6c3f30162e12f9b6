//! The lane of a webhook. In: the lane's events, and parked deliveries that are due. Out: signed POSTs, several at a time, in order per
//! entity; what fails is parked. It never tries an event while an earlier one of its entity is in hand or parked, and while the breaker
//! is open it makes one attempt at a time.

mod attempts;
mod connection;
pub mod request;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep_until;

use crate::event::Entity;
use crate::event::Event;
use crate::lane::breaker::Breaker;
use crate::lane::breaker::OPENS_AFTER;
use crate::lane::order::LaneOrder;
use crate::lane::progress::Progress;
use crate::lane::progress::too_long;
use crate::lane::retries;
use crate::lane::retries::Job;
use crate::lane::retries::Retries;
use crate::lane::stop::Ended;
use crate::lane::stop::Stop;
use crate::lane::store::error::Lost;
use crate::lane::store::state::State;
use crate::lane::webhook::attempts::Attempts;
use crate::lane::webhook::request::Answer;
use crate::lane::webhook::request::Endpoint;
use crate::lane::webhook::request::Outcome;
use crate::ledger::Attempt;
use crate::ledger::Fate;
use crate::ledger::Parked;
use crate::settings::Order;

/// See the module's description.
#[derive(Debug)]
pub struct WebhookLane {
    name: String,
    progress: Progress,
    order: LaneOrder<Entity, Arc<Event>>,
    attempts: Attempts,
    breaker: Breaker,
    due: Retries,
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

/// In what is said of a disabled lane.
const KIND: &str = "webhook";
/// Events in hand per request that may be open: enough to find other entities' work behind that of a slow one.
const AHEAD: usize = 16;

impl WebhookLane {
    /// A lane that goes on from its stored cursor; `held` entities have something parked.
    pub(super) fn new(
        name: String,
        endpoint: Endpoint,
        progress: Progress,
        due: Retries,
        held: Vec<Entity>,
    ) -> WebhookLane {
        let webhook = endpoint.webhook();
        let mut order = LaneOrder::new(webhook.order);
        // In strict order nothing else goes on meanwhile, so the first failure already makes the lane probe.
        let breaker = Breaker::new(if webhook.order == Order::Strict { 1 } else { OPENS_AFTER });
        for entity in held {
            order.hold(entity);
        }
        WebhookLane {
            name,
            progress,
            order,
            attempts: Attempts::new(endpoint),
            breaker,
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
                _ = clock.tick() => {
                    self.attempts.tidy();
                    self.checkpoint().await?;
                }
                Some(ended) = self.attempts.next() => {
                    self.settle(ended).await?;
                    while let Some(ended) = self.attempts.try_next() {
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

    fn is_strict(&self) -> bool {
        self.attempts.endpoint().webhook().order == Order::Strict
    }

    fn concurrency(&self) -> usize {
        if self.is_strict() { 1 } else { self.attempts.endpoint().webhook().concurrency }
    }

    /// While the breaker is open, enough for a probe to choose from, and no more: what follows a held event only moves to the ledger.
    fn room(&self) -> usize {
        let most = self.concurrency() * AHEAD;
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
            && self.attempts.len() < self.concurrency()
            && let Some(job) = self.next()
        {
            self.attempts.start(job);
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
        self.attempts.is_empty() && (!self.due.is_empty() || self.order.is_ready())
    }

    fn probe(&mut self) {
        if let Some(job) = self.next() {
            self.attempts.start(job);
        }
    }

    async fn settle(&mut self, (job, answer): (Job, Answer)) -> Result<(), Lost> {
        match answer.outcome {
            Outcome::Delivered => {
                self.delivered(job, &answer);
                self.progress.succeeded();
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
            Outcome::Retry(asked) => {
                let (is_probe, reason) = (!self.breaker.is_closed(), answer.reason());
                let opens = self.breaker.failed(Instant::now(), asked.unwrap_or_default());
                if is_probe && !self.is_strict() {
                    // It says something about the endpoint, and nothing about the event.
                    self.postpone(job, &answer);
                } else {
                    self.failed(job, &answer, asked);
                }
                if is_probe {
                    self.taken_while_open = self.taken_while_open.saturating_sub(AHEAD);
                    tracing::debug!(webhook = self.name, reason, "a probe failed");
                }
                if opens {
                    let message = "keeps failing; its events wait until a probe succeeds";
                    tracing::warn!(webhook = self.name, reason, message);
                }
                if !self.breaker.is_closed() {
                    if self.progress.failed().await? {
                        self.gone = Some(too_long(&reason));
                    }
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
                self.record(&parked.event, parked.attempts + 1, None, answer);
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
                self.settled(&parked, Some(Fate::Retry(self.until_probe())), parked.attempts, answer);
            }
        }
    }

    fn failed(&mut self, job: Job, answer: &Answer, asked: Option<Duration>) {
        let number = job.number();
        let wait = self.wait(&job, asked);
        let fate = wait.map_or(Fate::Dead, Fate::Retry);
        match job {
            Job::Parked(ref parked) if self.is_strict() && wait.is_some() => {
                // It is what the lane probes with, until its time is over.
                self.order.hold(parked.event.entity.clone());
                self.postpone(job, answer);
            }
            Job::Parked(parked) => {
                self.record(&parked.event, number, Some(fate), answer);
                self.settled(&parked, Some(fate), number, answer);
            }
            Job::Fresh(event) => {
                self.record(&event, number, Some(fate), answer);
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

    /// How long to wait before the next attempt. None: it was the last.
    fn wait(&self, job: &Job, asked: Option<Duration>) -> Option<Duration> {
        let schedule = &self.attempts.endpoint().webhook().retry;
        if !self.is_strict() {
            return schedule.delay_at_least(job.number().unsigned_abs(), rand::random(), asked);
        }
        let age = match job {
            Job::Fresh(_) => Duration::ZERO,
            Job::Parked(parked) => parked.age,
        };
        // Nothing else can be tried meanwhile: it is tried by the breaker's pauses, for as long as the schedule lasts.
        (age < schedule.total()).then(|| self.until_probe())
    }

    fn until_probe(&self) -> Duration {
        let now = Instant::now();
        self.breaker.next_probe().unwrap_or(now).saturating_duration_since(now)
    }

    fn park_behind(&mut self, event: Arc<Event>) {
        self.progress.park(event, Fate::Waiting, 0, "waits behind an earlier event of the same entity");
    }

    fn settled(&mut self, parked: &Parked, fate: Option<Fate>, attempts: i32, answer: &Answer) {
        self.progress.entries.settled.push(retries::settlement(parked, fate, attempts, answer.reason()));
    }

    fn record(&mut self, event: &Arc<Event>, number: i32, fate: Option<Fate>, answer: &Answer) {
        let outcome = match fate {
            None => "delivered",
            Some(Fate::Dead) => "dead",
            Some(_) => "retry",
        };
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
        let most = self.concurrency();
        for entity in self.due.look(&mut self.progress, held, most).await? {
            self.order.release(&entity);
        }
        Ok(())
    }

    /// The endpoint gets nothing more.
    async fn disable(mut self, reason: String, stop: &mut Stop) -> Result<Ended, Lost> {
        self.progress.report(State::Disabled { destination_kind: KIND, reason: reason.clone() }).await?;
        let timeout = self.attempts.endpoint().webhook().timeout;
        tokio::select! {
            biased;
            // Whoever changes the row is not kept waiting by requests to an endpoint that wants nothing more.
            _ = stop.asked() => {}
            ended = self.end_attempts(timeout) => ended?,
        }
        self.progress.disable(KIND, &reason, stop).await
    }

    /// Finishes what is being tried, within `grace`, and writes down how far the lane is.
    async fn drain(&mut self, grace: Duration) -> Result<Ended, Lost> {
        self.end_attempts(grace).await?;
        self.progress.finish().await?;
        Ok(Ended::Stopped)
    }

    async fn end_attempts(&mut self, grace: Duration) -> Result<(), Lost> {
        let finishing = async {
            while let Some(ended) = self.attempts.next().await {
                self.settle(ended).await?;
            }
            Ok(())
        };
        tokio::time::timeout(grace, finishing).await.unwrap_or(Ok(()))
    }
}
