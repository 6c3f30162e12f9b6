//! The deliveries of an MQTT lane. In: events from the log, due retries from the ledger, and what became of each. Out: the next event to
//! publish, and what the lane's next checkpoint writes. It never talks to a broker.

use std::collections::HashSet;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::event::Event;
use crate::lane::delivery;
use crate::lane::delivery::Delivery;
use crate::lane::mqtt::dead_letter::DeadLetter;
use crate::lane::mqtt::session::Action;
use crate::lane::mqtt::turns::Turns;
use crate::lane::progress::Progress;
use crate::lane::progress::too_long;
use crate::lane::repeats::Repeats;
use crate::lane::retries::Retries;
use crate::lane::retries::in_hand::AHEAD;
use crate::lane::retries::in_hand::AWAY;
use crate::lane::store::error::Lost;
use crate::lane::store::state::State;
use crate::lane::trouble::Over;
use crate::lane::trouble::Trouble;
use crate::ledger::Attempt;
use crate::ledger::Fate;
use crate::ledger::Parked;
use crate::settings::Order;

/// How many bytes of events wait with a lane whose broker is away, at most, unless a single event is larger.
const KEPT_BYTES: usize = 16 << 10;

/// The deliveries that wait, and the lane's progress with the others.
#[derive(Debug)]
pub(super) struct Deliveries {
    publisher: String,
    order: Order,
    pub(super) progress: Progress,
    pub(super) retries: Retries,
    /// Parked deliveries that are due.
    pub(super) due: VecDeque<Parked>,
    /// Events that the lane has taken from the log and not published on this connection, oldest first.
    fresh: VecDeque<Arc<Event>>,
    turns: Turns,
    trouble: Trouble,
    dead: Repeats,
}

impl Deliveries {
    pub(super) fn new(publisher: String, order: Order, progress: Progress, retries: Retries) -> Deliveries {
        Deliveries {
            publisher,
            order,
            progress,
            retries,
            due: VecDeque::new(),
            fresh: VecDeque::new(),
            turns: Turns::default(),
            trouble: Trouble::default(),
            dead: Repeats::default(),
        }
    }

    /// Takes the next one to publish.
    pub(super) fn next(&mut self) -> Option<Delivery> {
        match self.turns.is_ledgers(!self.fresh.is_empty(), !self.due.is_empty()) {
            true => self.due.pop_front().map(Delivery::Parked),
            false => self.fresh.pop_front().map(Delivery::FromLog),
        }
    }

    /// Returns how many parked deliveries the lane may have in hand. A broker that takes nothing is to take no memory from others, and in
    /// strict order only the first may be published.
    pub(super) fn ahead(&self) -> usize {
        match self.order {
            Order::Strict => 1,
            Order::Entity | Order::None => {
                if self.has_trouble() {
                    AWAY
                } else {
                    AHEAD
                }
            }
        }
    }

    /// Returns whether [`Action::LookForRetries`] has something to do now.
    pub(super) fn are_retries_due(&self) -> bool {
        self.retries.are_due(self.due.len(), self.ahead())
    }

    /// Takes the delivery of this event, wherever it waits.
    pub(super) fn take(&mut self, event: i64) -> Option<Delivery> {
        if let Some(place) = self.due.iter().position(|parked| parked.event.id == event) {
            return self.due.remove(place).map(Delivery::Parked);
        }
        let place = self.fresh.iter().position(|fresh| fresh.id == event)?;
        self.fresh.remove(place).map(Delivery::FromLog)
    }

    /// Takes one that may overtake the delivery of `suspect`: of those that may, another one each `turn`.
    pub(super) fn take_other(&mut self, suspect: i64, turn: usize) -> Option<Delivery> {
        let waiting = || self.due.iter().map(|parked| &parked.event).chain(&self.fresh);
        let suspected = waiting().find(|event| event.id == suspect)?;
        let may_overtake = overtakers(suspected, waiting(), self.order);
        let event = *may_overtake.get(turn.checked_rem(may_overtake.len())?)?;
        self.take(event)
    }

    /// Returns whether one waits to be published.
    pub(super) fn has_next(&self) -> bool {
        !self.due.is_empty() || !self.fresh.is_empty()
    }

    /// Returns whether the log has more for the lane, and the lane has room for it.
    pub(super) fn expects_more(&self) -> bool {
        self.progress.has_room() && self.progress.intake.has_more()
    }

    /// Puts one back that is to be published before all others.
    pub(super) fn put_back(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::FromLog(event) => self.fresh.push_front(event),
            Delivery::Parked(parked) => self.due.push_front(parked),
        }
    }

    /// Gives up what waits for the next connection, if that is much: a broker that is away is to take no memory from others. It is read again.
    /// The first events stay, because the suspect of a poison message and those that it is compared with are among them.
    pub(super) fn give_up_waiting(&mut self) {
        self.retries.give_up(&mut self.due);
        if self.progress.intake.is_large() {
            let mut bytes = 0;
            let mut fits = |event: &Arc<Event>| {
                bytes += event.weight();
                bytes <= KEPT_BYTES
            };
            let kept = self.fresh.iter().take_while(|event| fits(event)).count().max(1).min(self.fresh.len());
            self.progress.intake.go_back(self.fresh.drain(kept..));
        }
    }

    /// Returns how many events the lane may take from the log while the window has room for `free` more.
    pub(super) fn room(&self, free: usize) -> usize {
        if self.progress.has_room() { free.saturating_sub(self.fresh.len()) } else { 0 }
    }

    /// Does what a session asks for. Returns why the lane is to be disabled, if it is. What is rare is in boxes, because thousands of lanes do
    /// nothing but wait.
    pub(super) async fn carry_out(&mut self, action: Action) -> Result<Option<String>, Lost> {
        match action {
            Action::Nothing => {}
            Action::Queue(events) => self.fresh.extend(events),
            Action::Delivered { delivery, dead_letters } => {
                dead_letters.into_iter().for_each(|letter| self.dead_letter(letter));
                self.delivered(delivery);
                if self.has_trouble() {
                    Box::pin(self.out_of_trouble()).await?;
                }
            }
            Action::DeadLetter(letter) => self.dead_letter(letter),
            Action::Pause { send_again, reason } => {
                send_again.into_iter().rev().for_each(|delivery| self.put_back(delivery));
                return Box::pin(self.in_trouble(&reason)).await;
            }
            Action::Recovered => Box::pin(self.out_of_trouble()).await?,
            Action::LookForRetries => {
                let most = self.ahead();
                Box::pin(self.retries.load(&mut self.progress, &mut self.due, Vec::new, most)).await?;
            }
            Action::WriteSettled => self.write_settled().await?,
            Action::Checkpoint { is_well } => {
                if is_well {
                    self.progress.succeeded();
                }
                self.checkpoint().await?;
            }
        }
        Ok(None)
    }

    /// Reports what keeps the lane from delivering, and logs it if that is news. Returns the reason for which the lane is to
    /// be disabled, if that has lasted too long.
    pub(super) async fn in_trouble(&mut self, reason: &str) -> Result<Option<String>, Lost> {
        self.report_trouble(reason).await?;
        Ok(self.progress.failed().await?.then(|| too_long(reason)))
    }

    /// Does the same for a connection that ended after it was of use.
    pub(super) async fn report_trouble(&mut self, reason: &str) -> Result<(), Lost> {
        if let Some(times) = self.trouble.is(reason) {
            tracing::warn!(
                publisher = self.publisher,
                reason,
                times,
                "the broker takes nothing now; trying again, its events wait in the log"
            );
        }
        self.progress.report(State::Retrying(reason.to_owned())).await
    }

    /// Reports that the broker takes what it gets.
    pub(super) async fn out_of_trouble(&mut self) -> Result<(), Lost> {
        self.trouble.passes(Instant::now());
        self.progress.report(State::Running).await
    }

    /// Returns whether the broker took nothing the last time that was tried.
    pub(super) fn has_trouble(&self) -> bool {
        self.trouble.is_there()
    }

    /// Returns whether the lane is to look often at what it has to write or to tell.
    pub(super) fn is_busy(&self) -> bool {
        self.progress.is_busy() || self.progress.may_have_failed() || self.trouble.may_be_over()
    }

    /// Writes down how far the lane is.
    pub(super) async fn checkpoint(&mut self) -> Result<(), Lost> {
        if let Some(Over { was, times }) = self.trouble.over(Instant::now()) {
            tracing::info!(publisher = self.publisher, was, times, "the broker takes events again");
        }
        Box::pin(self.retries.checkpoint(&mut self.progress)).await.map(drop)
    }

    /// Writes down how parked deliveries ended, if nothing else is being written.
    pub(super) async fn write_settled(&mut self) -> Result<(), Lost> {
        self.retries.write_settled(&mut self.progress).await.map(drop)
    }

    fn delivered(&mut self, delivery: Delivery) {
        self.progress.succeeded();
        match delivery {
            Delivery::FromLog(event) => self.progress.done(&event),
            Delivery::Parked(parked) => {
                let (number, reason) = (parked.attempts.saturating_add(1), String::new());
                self.record(&parked.event, number, "delivered", &reason);
                self.progress.entries.settled.push(delivery::settlement(&parked, None, number, reason));
            }
        }
    }

    /// Parks an event dead that this broker cannot take, so that the others go on. Of many such events the log names some.
    pub(super) fn dead_letter(&mut self, DeadLetter { delivery, reason }: DeadLetter) {
        let (number, event) = (delivery.attempt_number(), delivery.event().event_id);
        if let Some(count) = self.dead.again(Instant::now()) {
            tracing::warn!(publisher = self.publisher, %event, reason, count, "cannot be published; parked dead");
        }
        self.record(delivery.event(), number, "dead", &reason);
        match delivery {
            Delivery::FromLog(event) => self.progress.park(event, Fate::Dead, number, &reason),
            Delivery::Parked(parked) => {
                let settlement = delivery::settlement(&parked, Some(Fate::Dead), number, reason);
                self.progress.entries.settled.push(settlement);
            }
        }
    }

    fn record(&mut self, event: &Arc<Event>, number: i32, outcome: &'static str, excerpt: &str) {
        self.progress.entries.attempts.push(Attempt {
            event: Arc::clone(event),
            number,
            outcome,
            code: None,
            latency: Duration::ZERO,
            excerpt: excerpt.to_owned(),
        });
    }
}

/// Returns the ids of the events that may be delivered before `suspect`: with order per entity, the first of each other entity.
fn overtakers<'a>(suspect: &Event, waiting: impl Iterator<Item = &'a Arc<Event>>, order: Order) -> Vec<i64> {
    let mut seen = HashSet::from([&suspect.entity]);
    waiting
        .filter(|event| match order {
            Order::Strict => false,
            Order::Entity => seen.insert(&event.entity),
            Order::None => event.id != suspect.id,
        })
        .map(|event| event.id)
        .collect()
}
