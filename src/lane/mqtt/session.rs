//! One connection of an MQTT lane, as a value. In: what happens, one input at a time, and the time. Out: what the lane is to do about it,
//! how much it may publish, and, when the connection has ended, what is to be sent again. It does no I/O and has no clock, so each of its
//! rules can be tested with nothing around it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBackoff;
use tokio::time::Instant;

use crate::event::Event;
use crate::lane::delivery::Delivery;
use crate::lane::mqtt::dead_letter::DeadLetter;
use crate::lane::mqtt::dead_letter::DeadLetters;
use crate::lane::mqtt::poison::Choice;
use crate::lane::mqtt::poison::FAILURES;
use crate::lane::mqtt::poison::PoisonIsolation;
use crate::lane::mqtt::protocol::Ack;
use crate::lane::mqtt::protocol::Ending;
use crate::lane::mqtt::reason_code::Meaning;
use crate::lane::mqtt::reconnect;
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
    /// What the lane was writing is written, or could not be.
    Written,
    /// The broker has answered the status message, or never will. A refusal is an answer too.
    Status(Ack),
    /// The connection has ended.
    Ended(Ending),
    /// No acknowledgement came for as long as a busy window waits to be filled.
    Lull,
    /// No acknowledgement came for as long as a connection may take to answer.
    Stalled,
    /// The log has events for the lane.
    Fresh(Vec<Arc<Event>>),
    /// The lane has published what it may. This many publishes are in flight, and others may wait.
    Published { in_flight: usize, has_next: bool },
    /// The pause after a refusal for now is over.
    Resumed,
    /// The rate lets the next event leave.
    Paced,
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
    /// Queue these deliveries again before all others, and report the reason. The broker did not take the first of them for now.
    Pause {
        send_again: Vec<Delivery>,
        reason: String,
    },
    /// The broker takes what it gets.
    Recovered,
    /// Look into the ledger for deliveries that are due.
    LookForRetries,
    /// Write down how parked deliveries ended, and take note of what was written before.
    WriteSettled,
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
    Ended(Ending),
    /// The connection has ended, and the link knows the reason.
    Lost,
    /// The broker has taken nothing for so long that the lane is to be disabled.
    TooLong(String),
}

/// A delivery and the broker's answer to it.
pub(super) type Acknowledged = (Delivery, Ack);

/// The knowledge that a connection leaves to the next one.
#[derive(Debug)]
pub(super) struct Conclusion {
    /// Why the connection ended, or why the broker is held to be the trouble.
    pub(super) reason: String,
    /// Whether the broker took an event, or the connection lasted.
    pub(super) was_useful: bool,
    /// Whether the broker answered the status message.
    pub(super) was_greeted: bool,
    /// The event that was found to be poison.
    pub(super) dead_letter: Option<DeadLetter>,
    /// The deliveries that had no acknowledgement, oldest first.
    pub(super) send_again: Vec<Delivery>,
    /// Whether an event is suspected to be a poison message.
    pub(super) has_suspect: bool,
}

/// The knowledge of a broker that outlives a connection.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) poison: PoisonIsolation,
    pub(super) dead_letters: DeadLetters,
    /// The pauses after refusals for now. They grow until the broker takes an event.
    pauses: ExponentialBackoff,
    /// Whether the broker refused an event for now, and has taken none since.
    is_refusing: bool,
}

impl Default for Memory {
    fn default() -> Memory {
        let (poison, dead_letters) = (PoisonIsolation::default(), DeadLetters::default());
        Memory { poison, dead_letters, pauses: reconnect::pauses(), is_refusing: false }
    }
}

/// The state of one connection, from its status message to its end.
#[derive(Debug)]
pub(super) struct Session<'a> {
    memory: &'a mut Memory,
    /// How many publishes the broker lets be in flight.
    window: usize,
    /// How long an acknowledgement may take.
    stall: Duration,
    /// When the connection was made.
    since: Instant,
    /// Since when the lane waits for an acknowledgement.
    waiting_since: Instant,
    status: Status,
    hold: Hold,
    /// Whether the broker took an event, or refused one, if only for now. A broker that answers ends no connection because of an event.
    has_answered: bool,
    has_accepted: bool,
    /// The deliveries that the broker did not take, or that were in flight when the connection ended, oldest first.
    unacknowledged: Vec<Delivery>,
}

/// The progress of the status message.
#[derive(Debug, PartialEq, Eq)]
enum Status {
    Sent,
    Answered,
    Lost,
}

/// Whether the lane holds back what it has to publish, because the broker did not take an event for now.
#[derive(Debug, PartialEq, Eq)]
enum Hold {
    Off,
    /// It waits for the answers to what is in flight. The reason is the broker's.
    Draining(String),
    Until(Instant),
}

/// A window of fewer publishes is filled as soon as there is room.
const SMALL_WINDOW: usize = 64;
/// A larger one is filled whatever the room when no acknowledgement has come for this long.
const LULL: Duration = Duration::from_millis(1);
/// So long may reading the log take before a broker that has refused all that it got counts as one that takes nothing.
const READING: Duration = Duration::from_secs(1);

impl<'a> Session<'a> {
    /// Creates the session of a connection that was made at `now`, to a broker that lets `window` publishes be in flight.
    pub(super) fn new(memory: &'a mut Memory, window: usize, stall: Duration, now: Instant) -> Session<'a> {
        Session {
            memory,
            window,
            stall,
            since: now,
            waiting_since: now,
            status: Status::Sent,
            hold: Hold::Off,
            has_answered: false,
            has_accepted: false,
            unacknowledged: Vec::new(),
        }
    }

    /// Returns how many publishes may be in flight.
    pub(super) fn window(&self) -> usize {
        match self.hold {
            Hold::Off => self.memory.poison.window(self.window, self.status == Status::Answered),
            Hold::Draining(_) | Hold::Until(_) => 0,
        }
    }

    /// Returns how many events the lane may have at hand. It may have more than it may publish while it looks for one to compare with a
    /// suspect.
    pub(super) fn appetite(&self) -> usize {
        if self.memory.poison.suspect().is_some() { self.window } else { self.window() }
    }

    /// Returns which event is to be published next.
    pub(super) fn choice(&self) -> Choice {
        self.memory.poison.choice()
    }

    /// Notes that the suspect does not wait any more.
    pub(super) fn suspect_is_gone(&mut self) {
        self.memory.poison.forget();
    }

    /// Notes that the broker will never take an event: it said so, or takes no packet of that size. Returns it if it is a dead letter.
    pub(super) fn refused(&mut self, letter: DeadLetter) -> Option<DeadLetter> {
        self.memory.poison.settled(letter.delivery.event().id, false);
        self.memory.dead_letters.refused(letter)
    }

    /// Returns when [`Input::Resumed`] is due.
    pub(super) fn resumes_at(&self) -> Option<Instant> {
        if let Hold::Until(until) = self.hold { Some(until) } else { None }
    }

    /// Returns whether the lane is to publish, with `in_flight` publishes unacknowledged. A busy window is filled in portions, because each
    /// flush costs about the same, but only while acknowledgements come: a broker without TCP_NODELAY keeps them back until its last packet
    /// is confirmed, by our next publish or by the kernel after 40 ms.
    pub(super) fn may_publish(&self, in_flight: usize, now: Instant) -> bool {
        let most = self.window();
        let portion = if most < SMALL_WINDOW { 1 } else { most / 4 };
        in_flight + portion <= most || now >= self.lull_at()
    }

    /// Returns until when a lane that has nothing to publish expects more from the log.
    pub(super) fn expects_until(&self) -> Instant {
        self.waiting_since + READING
    }

    /// Returns when [`Input::Lull`] is due.
    pub(super) fn lull_at(&self) -> Instant {
        self.waiting_since + LULL
    }

    /// Returns when [`Input::Stalled`] is due, if the lane waits for an acknowledgement.
    pub(super) fn stalls_at(&self, in_flight: usize) -> Option<Instant> {
        let needs_status = self.status == Status::Sent && self.memory.poison.is_active();
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
            Input::RetriesDue => ControlFlow::Continue(Action::LookForRetries),
            Input::Written => ControlFlow::Continue(Action::WriteSettled),
            Input::Status(ack) => {
                self.status = if ack == Ack::Lost { Status::Lost } else { Status::Answered };
                ControlFlow::Continue(Action::Nothing)
            }
            Input::Ended(ending) => ControlFlow::Break(Exit::Ended(ending)),
            Input::Lull | Input::Paced => ControlFlow::Continue(Action::Nothing),
            Input::Stalled => {
                ControlFlow::Break(Exit::Ended(Ending::unclear(format!("no acknowledgement for {:?}", self.stall))))
            }
            Input::Fresh(events) => ControlFlow::Continue(Action::Queue(events)),
            Input::Published { in_flight, has_next } => self.published(in_flight, has_next, now),
            Input::Resumed => {
                self.hold = Hold::Off;
                ControlFlow::Continue(Action::Nothing)
            }
        }
    }

    fn published(&mut self, in_flight: usize, has_next: bool, now: Instant) -> ControlFlow<Exit, Action> {
        if in_flight == 0 && matches!(self.hold, Hold::Draining(_)) {
            return ControlFlow::Continue(self.pause(now));
        }
        let is_idle = in_flight == 0 && !has_next;
        if self.memory.dead_letters.withheld() >= if is_idle { 1 } else { self.window } {
            return ControlFlow::Break(Exit::Ended(Ending::unclear("the broker takes nothing")));
        }
        let is_well = is_idle && self.status == Status::Answered && !self.memory.is_refusing;
        ControlFlow::Continue(if is_well { Action::Recovered } else { Action::Nothing })
    }

    /// Begins the pause after a refusal for now. All that was not taken is sent again then, one at a time.
    fn pause(&mut self, now: Instant) -> Action {
        let pause = self.memory.pauses.next().unwrap_or(LONGEST_PAUSE);
        let Hold::Draining(reason) = std::mem::replace(&mut self.hold, Hold::Until(now + pause)) else {
            return Action::Nothing;
        };
        self.memory.poison.isolate(self.unacknowledged.len());
        Action::Pause { send_again: std::mem::take(&mut self.unacknowledged), reason }
    }

    fn acknowledged(&mut self, delivery: Delivery, ack: Ack) -> ControlFlow<Exit, Action> {
        let event = delivery.event().id;
        self.has_answered |= ack != Ack::Lost;
        match ack {
            Ack::Accepted => {
                self.memory.poison.settled(event, true);
                self.has_accepted = true;
                if self.memory.is_refusing && self.hold == Hold::Off {
                    (self.memory.is_refusing, self.memory.pauses) = (false, reconnect::pauses());
                }
                let dead_letters = self.memory.dead_letters.accepted();
                ControlFlow::Continue(Action::Delivered { delivery, dead_letters })
            }
            Ack::Refused(reason) => {
                let letter = self.refused(DeadLetter { delivery, reason });
                ControlFlow::Continue(letter.map_or(Action::Nothing, Action::DeadLetter))
            }
            Ack::NotNow(reason) => self.hold_back(delivery, reason, Meaning::Broker),
            Ack::Failed(reason) => self.hold_back(delivery, reason, Meaning::Unclear),
            Ack::Lost => {
                self.unacknowledged.push(delivery);
                ControlFlow::Break(Exit::Lost)
            }
        }
    }

    /// Publishes nothing more until all that is in flight is answered, and a pause is over. An event that fails alone may be poison.
    fn hold_back(&mut self, delivery: Delivery, reason: String, meaning: Meaning) -> ControlFlow<Exit, Action> {
        self.memory.is_refusing = true;
        let (event, is_alone) = (delivery.event().id, self.memory.poison.is_active());
        if is_alone && self.memory.poison.failed(event, meaning) {
            self.memory.poison.settled(event, false);
            let reason = PoisonIsolation::reason(&reason);
            return ControlFlow::Continue(Action::DeadLetter(DeadLetter { delivery, reason }));
        }
        self.unacknowledged.push(delivery);
        if self.hold == Hold::Off {
            self.hold = Hold::Draining(reason);
        }
        ControlFlow::Continue(Action::Nothing)
    }

    /// Returns whether the connection owes nothing to those before it, and the broker takes what it gets.
    fn has_lasted(&self, now: Instant) -> bool {
        now.duration_since(self.since) > LONGEST_PAUSE && !self.memory.is_refusing
    }

    /// Decides what becomes of the events that have no acknowledgement. It is called when the connection has ended and all its
    /// acknowledgements are handled.
    pub(super) fn conclude(self, ending: Ending, now: Instant) -> Conclusion {
        let Ending { mut reason, meaning } = ending;
        let was_useful = self.has_accepted || self.has_lasted(now);
        let was_greeted = self.status == Status::Answered;
        let poison_isolation = &mut self.memory.poison;
        let mut unacknowledged = self.unacknowledged;
        let mut dead_letter = None;
        if matches!(self.hold, Hold::Draining(_)) {
            poison_isolation.isolate(unacknowledged.len());
        }
        let in_flight = unacknowledged.iter().map(|delivery| delivery.event().id);
        // A broker that has answered ends no connection because of an event, unless it answered to another one alone.
        if (!self.has_answered || poison_isolation.suspect().is_some())
            && poison_isolation.connection_ended(in_flight, was_greeted, meaning)
        {
            let delivery = unacknowledged.remove(0);
            poison_isolation.settled(delivery.event().id, false);
            dead_letter = Some(DeadLetter { delivery, reason: PoisonIsolation::reason(&reason) });
        } else if meaning == Meaning::Unclear && poison_isolation.suspect().is_some() && !unacknowledged.is_empty() {
            reason = format!("{reason} ({FAILURES} times in a row, with one event alone in flight)");
        }
        let has_suspect = poison_isolation.suspect().is_some();
        let (mut send_again, no_event_taken) = self.memory.dead_letters.take_withheld();
        send_again.append(&mut unacknowledged);
        let reason = no_event_taken.unwrap_or(reason);
        Conclusion { reason, was_useful, was_greeted, dead_letter, send_again, has_suspect }
    }
}
