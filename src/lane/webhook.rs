//! The lane of a webhook. In: the lane's events, and parked deliveries that are due. Out: signed POSTs, several at a time, in order per
//! entity; a delivery that fails is parked. It never tries an event while an earlier one of its entity is being tried or is parked, and
//! while the breaker is open it makes one attempt at a time.

mod action;
mod answer_body;
mod answer_stream;
pub mod attempt;
pub mod breaker;
mod connection;
mod connector;
mod dead_letter;
mod first_bytes;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod in_flight;
pub mod order;
mod request;
mod send_error;
mod sequence;
mod state;
mod status_reader;
mod token;
mod transport;

use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep_until;

use crate::event::Entity;
use crate::lane::delivery::Delivery;
use crate::lane::progress::Progress;
use crate::lane::progress::too_long;
use crate::lane::retries::Retries;
use crate::lane::stop::Ended;
use crate::lane::stop::Stop;
use crate::lane::store::error::Lost;
use crate::lane::store::state::State;
use crate::lane::trouble::Over;
use crate::lane::trouble::Trouble;
use crate::lane::webhook::action::Action;
use crate::lane::webhook::answer_body::LOOK;
use crate::lane::webhook::attempt::AttemptResult;
use crate::lane::webhook::attempt::WebhookClient;
use crate::lane::webhook::in_flight::InFlight;
use crate::lane::webhook::state::Input;
use crate::lane::webhook::state::WebhookState;
use crate::ledger::Fate;

/// Waits for what happens to a webhook's lane, and carries out what its state decides. What it does rarely and through the database is in
/// boxes, because thousands of lanes do nothing but wait.
#[derive(Debug)]
pub struct WebhookLane {
    name: String,
    timeout: Duration,
    progress: Progress,
    retries: Retries,
    in_flight: InFlight,
    state: WebhookState,
    trouble: Trouble,
}

impl WebhookLane {
    /// Creates a lane that goes on from its stored cursor; of the entities in `held` something is parked.
    pub(super) fn new(
        name: String,
        client: WebhookClient,
        progress: Progress,
        retries: Retries,
        held: Vec<Entity>,
    ) -> WebhookLane {
        let webhook = client.webhook();
        let suspected = progress.may_have_failed().then(Instant::now);
        let (timeout, state) = (webhook.timeout, WebhookState::new(webhook, held, suspected));
        let in_flight = InFlight::new(client, progress.epoch());
        WebhookLane { name, timeout, progress, retries, in_flight, state, trouble: Trouble::default() }
    }

    /// Delivers until it is asked to stop.
    pub async fn run(mut self, mut stop: Stop) -> Result<Ended, Lost> {
        let mut clock = Progress::clock();
        loop {
            while let Some(delivery) = self.state.next_attempt(Instant::now()) {
                self.in_flight.start(delivery);
            }
            if self.retries.are_due(self.state.due.len(), self.state.ahead()) {
                self.load_retries().await?;
                continue;
            }
            let room = if self.progress.has_room() { self.state.room() } else { 0 };
            let (probe, is_busy) = (self.state.next_probe(), self.progress.is_busy() || self.trouble.may_be_over());
            let probe_load = self.retries.probe_load(self.state.next_probe_in_want());
            tokio::select! {
                biased;
                grace = stop.asked() => return Box::pin(self.drain(grace)).await,
                () = clock.tick(is_busy) => {
                    self.in_flight.close_stale_connections();
                    self.checkpoint().await?;
                }
                () = self.progress.writing.ended() => self.write_settled().await?,
                Some(ended) = self.in_flight.next() => {
                    self.attempted(ended).await?;
                    while let Some(ended) = self.in_flight.try_next() {
                        self.attempted(ended).await?;
                    }
                    if !self.progress.entries.settled.is_empty() {
                        self.write_settled().await?;
                    }
                }
                () = self.retries.until_due(self.state.due.len(), self.state.ahead()) => self.load_retries().await?,
                () = sleep_until(probe.unwrap_or_else(Instant::now)), if probe.is_some() => {}
                () = sleep_until(probe_load.unwrap_or_else(Instant::now)), if probe_load.is_some() => {
                    Box::pin(self.retries.load_probe(&mut self.progress, &mut self.state.due)).await?;
                }
                events = self.progress.intake.next(room), if room > 0 => self.handle(Input::Taken(events)).await?,
            }
            if let Some(reason) = self.state.disabled() {
                let reason = reason.to_owned();
                return Box::pin(self.disable(&reason, &mut stop)).await;
            }
        }
    }

    async fn attempted(&mut self, (delivery, result): (Delivery, AttemptResult)) -> Result<(), Lost> {
        self.handle(Input::Attempted { delivery, result, random: rand::random() }).await
    }

    async fn handle(&mut self, input: Input) -> Result<(), Lost> {
        for action in self.state.handle(input, Instant::now()) {
            self.carry_out(action).await?;
        }
        Ok(())
    }

    async fn carry_out(&mut self, action: Action) -> Result<(), Lost> {
        match action {
            Action::MarkDelivered(event) => self.progress.done(&event),
            Action::Park { event, fate, attempts, reason } => self.progress.park(event, fate, attempts, &reason),
            Action::ParkWaiting(event) => {
                self.progress.park(event, Fate::Waiting, 0, "waits behind an earlier event of the same entity");
            }
            Action::Settle(settlement) => self.progress.entries.settled.push(settlement),
            Action::Record(attempt) => self.progress.entries.attempts.push(attempt),
            Action::ReportSuccess { closed } => {
                self.progress.succeeded();
                if closed {
                    self.trouble.passes(Instant::now());
                    Box::pin(self.progress.report(State::Running)).await?;
                }
            }
            Action::ReportFailure { reason, opened } => Box::pin(self.report_failure(reason, opened)).await?,
        }
        Ok(())
    }

    async fn report_failure(&mut self, reason: String, opened: bool) -> Result<(), Lost> {
        if let Some(times) = Some(&reason).filter(|_| opened).and_then(|reason| self.trouble.is(reason)) {
            let message = "keeps failing; its events wait until a probe succeeds";
            tracing::warn!(webhook = self.name, reason, times, message);
        } else {
            tracing::debug!(webhook = self.name, reason, "failed");
        }
        self.give_way();
        if self.progress.failed().await? {
            self.state.handle(Input::FailedTooLong(too_long(&reason)), Instant::now());
        }
        self.progress.report(State::Open(reason)).await
    }

    /// Holds little until the next probe, so that endpoints that are away take no memory from the others.
    fn give_way(&mut self) {
        let Some(probe) = self.state.probes_at() else { return };
        self.retries.give_up(&mut self.state.due);
        let intake = &mut self.progress.intake;
        intake.be_modest(probe);
        if intake.is_large() {
            intake.go_back(self.state.give_up_waiting());
        }
    }

    async fn checkpoint(&mut self) -> Result<(), Lost> {
        if let Some(Over { was, times }) = self.trouble.over(Instant::now()) {
            tracing::info!(webhook = self.name, was, times, "answers again");
        }
        let released = Box::pin(self.retries.checkpoint(&mut self.progress)).await?;
        self.handle(Input::Released(released)).await
    }

    async fn write_settled(&mut self) -> Result<(), Lost> {
        let released = self.retries.write_settled(&mut self.progress).await?;
        self.handle(Input::Released(released)).await
    }

    async fn load_retries(&mut self) -> Result<(), Lost> {
        let most = self.state.ahead();
        let held = || self.state.queue.held().cloned().collect();
        let released = Box::pin(self.retries.load(&mut self.progress, &mut self.state.due, held, most)).await?;
        self.handle(Input::Released(released)).await
    }

    /// Ends the lane of an endpoint that gets nothing more.
    async fn disable(mut self, reason: &str, stop: &mut Stop) -> Result<Ended, Lost> {
        self.progress.report(State::Disabled(reason.to_owned())).await?;
        tokio::select! {
            biased;
            // Somebody who changes the row is not kept waiting by requests to an endpoint that wants nothing more.
            _ = stop.asked() => {}
            ended = self.finish_attempts(self.timeout) => ended?,
        }
        self.finish_attempts(Duration::ZERO).await?;
        self.progress.disable(reason, stop).await
    }

    /// Finishes the attempts in flight within `grace`, and writes down how far the lane is.
    async fn drain(&mut self, grace: Duration) -> Result<Ended, Lost> {
        self.finish_attempts(grace).await?;
        self.progress.finish().await?;
        Ok(Ended::Stopped)
    }

    /// Waits for the attempts in flight. What the endpoints answer within `grace` counts, even if their answers are not over then.
    async fn finish_attempts(&mut self, grace: Duration) -> Result<(), Lost> {
        self.in_flight.stop_reading();
        let finishing = async {
            while let Some(ended) = self.in_flight.next().await {
                self.attempted(ended).await?;
            }
            Ok(())
        };
        tokio::time::timeout(grace + 2 * LOOK, finishing).await.unwrap_or(Ok(()))
    }
}
