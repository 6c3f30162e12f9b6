//! One connection of an MQTT lane, as a value. In: what happens, one input at a time, and the time. Out: what the lane is to do about it,
//! how much it may publish, and, when the connection has ended, what is to be sent again. It does no I/O and has no clock, so each of its
//! rules can be tested with nothing around it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::event::Event;
use crate::lane::delivery::Delivery;
use crate::lane::mqtt::dead_letter;
use crate::lane::mqtt::dead_letter::DeadLetter;
use crate::lane::mqtt::dead_letter::DeadLetters;
use crate::lane::mqtt::poison;
use crate::lane::mqtt::poison::PoisonIsolation;
use crate::lane::mqtt::protocol::Ack;
use crate::lane::mqtt::reconnect::LONGEST_PAUSE;

#[cfg(test)]
mod tests;

/// The events that can happen while a lane is connected.
#[derive(Debug)]
pub(super) enum Input {
    /// The lane is asked to stop, and has this time to finish.
    Stop(Duration),
    /// A checkpoint may be due.
    Tick,
    /// The oldest publish in flight was acknowledged, or never will be.
    Acknowledged(Acknowledged),
    /// A retry may be due, or somebody else has changed the ledger.
    RetriesDue,
    /// The broker has answered the status message, or never will. A refusal is an answer too.
    Status(Ack),
    /// The connection has ended for this reason.
    Ended(String),
    /// No acknowledgement came for as long as a busy window waits to be filled.
    Lull,
    /// No acknowledgement came for as long as a connection may take to answer.
    Stalled,
    /// The log has events for the lane.
    Fresh(Vec<Arc<Event>>),
    /// The lane has published what it may. `is_idle` says that nothing is in flight and nothing waits.
    Published { is_idle: bool },
}

/// A task that the lane carries out because of an input. The connection goes on.
#[derive(Debug)]
pub(super) enum Action {
    Nothing,
    /// Queue these events.
    Queue(Vec<Arc<Event>>),
    /// The broker has the event of `delivery`. The dead letters were withheld until it took one.
    Delivered {
        delivery: Delivery,
        dead_letters: Vec<DeadLetter>,
    },
    /// Park this event dead.
    DeadLetter(DeadLetter),
    /// Look into the ledger for at most this many retries.
    LookForRetries {
        most: usize,
    },
    /// Write a checkpoint. `is_well` says that the destination counts as working, because the connection has lasted.
    Checkpoint {
        is_well: bool,
    },
}

/// How a connection comes to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// The lane is asked to stop, and has this time to finish.
    Stop(Duration),
    /// The connection has ended or is to be ended, for this reason.
    Ended(String),
    /// The connection has ended, and the link knows the reason.
    Lost,
}

/// A delivery and the broker's answer to it.
pub(super) type Acknowledged = (Delivery, Ack);

/// The knowledge that a connection leaves to the next one.
#[derive(Debug)]
pub(super) struct Conclusion {
    /// Why the connection ended, or why the broker is held to be the trouble.
    pub(super) reason: String,
    /// Whether the broker took an event, one was found to be poison, or the connection lasted.
    pub(super) was_useful: bool,
    /// Whether the broker answered the status message.
    pub(super) was_greeted: bool,
    /// The event that was found to be poison.
    pub(super) dead_letter: Option<DeadLetter>,
    /// The deliveries that had no acknowledgement, oldest first.
    pub(super) send_again: Vec<Delivery>,
}

/// The state of one connection, from its status message to its end.
#[derive(Debug)]
pub(super) struct Session<'a> {
    poison: &'a mut PoisonIsolation,
    dead_letters: &'a mut DeadLetters,
    /// How many publishes the broker lets be in flight.
    window: usize,
    /// How long an acknowledgement may take.
    stall: Duration,
    /// When the connection was made.
    since: Instant,
    /// Since when the lane waits for an acknowledgement.
    waiting_since: Instant,
    status: Status,
    phase: Phase,
    /// Whether the broker took an event, or refused one, if only for now. A broker that answers ends no connection because of an event.
    has_answered: bool,
    has_accepted: bool,
    /// The deliveries that were in flight when the connection ended, oldest first.
    unacknowledged: Vec<Delivery>,
}

/// The progress of the status message.
#[derive(Debug, PartialEq, Eq)]
enum Status {
    Sent,
    Answered,
    Lost,
}

/// Whether the connection goes on, and how it ended otherwise.
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The lane ended the connection, because the broker did not take an event and may take it later.
    RefusedForNow,
    Over,
}

/// A window of fewer publishes is filled as soon as there is room.
const SMALL_WINDOW: usize = 64;
/// A larger one is filled whatever the room when no acknowledgement has come for this long.
const LULL: Duration = Duration::from_millis(1);

impl<'a> Session<'a> {
    /// Creates the session of a connection that was made at `now`, to a broker that lets `window` publishes be in flight.
    pub(super) fn new(
        poison: &'a mut PoisonIsolation,
        dead_letters: &'a mut DeadLetters,
        window: usize,
        stall: Duration,
        now: Instant,
    ) -> Session<'a> {
        Session {
            poison,
            dead_letters,
            window,
            stall,
            since: now,
            waiting_since: now,
            status: Status::Sent,
            phase: Phase::Open,
            has_answered: false,
            has_accepted: false,
            unacknowledged: Vec::new(),
        }
    }

    /// Returns how many publishes may be in flight.
    pub(super) fn window(&self) -> usize {
        self.poison.window(self.window, self.status == Status::Answered)
    }

    /// Returns whether the lane is to publish, with `in_flight` publishes unacknowledged. A busy window is filled in portions, because each
    /// flush costs about the same, but only while acknowledgements come: a broker without TCP_NODELAY keeps them back until its last packet
    /// is confirmed, by our next publish or by the kernel after 40 ms.
    pub(super) fn may_publish(&self, in_flight: usize, now: Instant) -> bool {
        let most = self.window();
        let portion = if most < SMALL_WINDOW { 1 } else { most / 4 };
        in_flight + portion <= most || now >= self.lull_at()
    }

    /// Returns when [`Input::Lull`] is due.
    pub(super) fn lull_at(&self) -> Instant {
        self.waiting_since + LULL
    }

    /// Returns when [`Input::Stalled`] is due, if the lane waits for an acknowledgement.
    pub(super) fn stalls_at(&self, in_flight: usize) -> Option<Instant> {
        let needs_status = self.status == Status::Sent && self.poison.is_active();
        (in_flight > 0 || needs_status).then(|| self.waiting_since + self.stall)
    }

    /// Notes that a publish leaves while none is in flight: the lane waits for an acknowledgement from now on.
    pub(super) fn starts_waiting(&mut self, now: Instant) {
        self.waiting_since = now;
    }

    /// Returns whether the status message has no answer yet.
    pub(super) fn awaits_status(&self) -> bool {
        self.status == Status::Sent
    }

    /// Takes note of what has happened, and decides what to do about it.
    pub(super) fn handle(&mut self, input: Input, now: Instant) -> ControlFlow<Exit, Action> {
        match input {
            Input::Stop(grace) => ControlFlow::Break(Exit::Stop(grace)),
            Input::Tick => ControlFlow::Continue(Action::Checkpoint { is_well: self.has_lasted(now) }),
            Input::Acknowledged((delivery, ack)) => {
                self.waiting_since = now;
                self.acknowledged(delivery, ack)
            }
            // The ledger gets a share of the window, so that live events keep most of it.
            Input::RetriesDue => ControlFlow::Continue(Action::LookForRetries { most: self.window.div_ceil(8) }),
            Input::Status(ack) => {
                self.status = if ack == Ack::Lost { Status::Lost } else { Status::Answered };
                ControlFlow::Continue(Action::Nothing)
            }
            Input::Ended(reason) => self.end(Phase::Over, Exit::Ended(reason)),
            Input::Lull => ControlFlow::Continue(Action::Nothing),
            Input::Stalled => self.end(Phase::Over, Exit::Ended(format!("no acknowledgement for {:?}", self.stall))),
            Input::Fresh(events) => ControlFlow::Continue(Action::Queue(events)),
            Input::Published { is_idle } => {
                if self.dead_letters.withheld() >= if is_idle { 1 } else { self.window } {
                    return self.end(Phase::Over, Exit::Ended("the broker takes nothing".to_owned()));
                }
                ControlFlow::Continue(Action::Nothing)
            }
        }
    }

    fn acknowledged(&mut self, delivery: Delivery, ack: Ack) -> ControlFlow<Exit, Action> {
        if ack.is_final() {
            self.poison.settled();
        }
        self.has_answered |= ack.is_final() || matches!(ack, Ack::NotNow(_));
        match ack {
            Ack::Accepted => {
                self.has_accepted = true;
                ControlFlow::Continue(Action::Delivered { delivery, dead_letters: self.dead_letters.accepted() })
            }
            Ack::Refused(reason) => {
                let letter = self.dead_letters.refused(DeadLetter { delivery, reason });
                ControlFlow::Continue(letter.map_or(Action::Nothing, Action::DeadLetter))
            }
            Ack::NotNow(reason) | Ack::Failed(reason) => {
                self.unacknowledged.push(delivery);
                self.end(Phase::RefusedForNow, Exit::Ended(reason))
            }
            Ack::Lost => {
                self.unacknowledged.push(delivery);
                self.end(Phase::Over, Exit::Lost)
            }
        }
    }

    /// Ends the connection. Only the first end counts: an answer that is found afterwards does not change how the connection ended.
    fn end(&mut self, phase: Phase, exit: Exit) -> ControlFlow<Exit, Action> {
        if self.phase == Phase::Open {
            self.phase = phase;
        }
        ControlFlow::Break(exit)
    }

    /// Returns whether the connection owes nothing to those before it.
    fn has_lasted(&self, now: Instant) -> bool {
        now.duration_since(self.since) > LONGEST_PAUSE
    }

    /// Decides what becomes of the events that have no acknowledgement. It is called when the connection has ended for this reason and
    /// all its acknowledgements are handled.
    pub(super) fn conclude(self, mut reason: String, now: Instant) -> Conclusion {
        let mut was_useful = self.has_accepted || self.has_lasted(now);
        let was_greeted = self.status == Status::Answered;
        let mut unacknowledged = self.unacknowledged;
        if self.phase == Phase::RefusedForNow {
            self.poison.refused_for_now(unacknowledged.len());
        }
        let in_flight = unacknowledged.iter().map(|delivery| delivery.event().id);
        let mut dead_letter = None;
        if !self.has_answered && self.poison.connection_ended(in_flight, was_greeted) {
            if self.dead_letters.allow_one() {
                let connections = poison::FAILURES;
                let reason = format!("{connections} connections ended on it, alone in flight; the last: {reason}");
                dead_letter = Some(DeadLetter { delivery: unacknowledged.remove(0), reason });
                self.poison.settled();
                was_useful = true;
            } else {
                reason = dead_letter::no_event_taken(&reason);
            }
        }
        let (mut send_again, no_event_taken) = self.dead_letters.take_withheld();
        send_again.append(&mut unacknowledged);
        Conclusion { reason: no_event_taken.unwrap_or(reason), was_useful, was_greeted, dead_letter, send_again }
    }
}
