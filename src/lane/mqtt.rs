//! The lane of an MQTT publisher. In: the lane's events. Out: QoS 1 publishes in order, a window of them unacknowledged; an event is
//! delivered when its PUBACK is in. It never counts a publish as delivered because a connection ended, and sends what had no PUBACK
//! again on the next connection, oldest first.

mod dead_letter;
mod deliveries;
pub mod dial;
mod driver;
mod frames;
mod last_words;
pub mod link;
pub mod message;
mod pace;
mod poison;
pub mod protocol;
mod reason_code;
mod receive_max;
mod reconnect;
mod session;
mod socket;
mod turns;
mod v4;
mod v5;
mod wire;

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::FutureExt as _;
use futures_util::stream::FuturesOrdered;
use futures_util::stream::StreamExt as _;
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio::time::timeout;

use crate::lane::delivery::Delivery;
use crate::lane::mqtt::dead_letter::DeadLetter;
use crate::lane::mqtt::deliveries::Deliveries;
use crate::lane::mqtt::dial::Dialer;
use crate::lane::mqtt::link::Link;
use crate::lane::mqtt::message::MessageBuilder;
use crate::lane::mqtt::pace::Pace;
use crate::lane::mqtt::poison::Choice;
use crate::lane::mqtt::protocol::Ack;
use crate::lane::mqtt::reason_code::Meaning;
use crate::lane::mqtt::reconnect::LONGEST_PAUSE;
use crate::lane::mqtt::session::Acknowledged;
use crate::lane::mqtt::session::Exit;
use crate::lane::mqtt::session::Input;
use crate::lane::mqtt::session::Memory;
use crate::lane::mqtt::session::Session;
use crate::lane::progress::Progress;
use crate::lane::retries::Retries;
use crate::lane::stop::Ended;
use crate::lane::stop::Stop;
use crate::lane::store::error::Lost;
use crate::lane::store::state::State;

/// The lane of one MQTT publisher.
#[derive(Debug)]
pub struct MqttLane {
    messages: MessageBuilder,
    deliveries: Deliveries,
    dialer: Dialer,
    memory: Memory,
    pace: Pace,
}

/// How a connection ended.
enum Over {
    Stopped,
    /// The lane is to be disabled, for this reason.
    Disabled(String),
    Broken {
        reason: String,
        was_useful: bool,
        /// Whether the broker may keep retained messages. If not, it ended the connection because of one.
        retains: bool,
    },
}

impl MqttLane {
    /// Creates a lane that goes on from its stored cursor.
    pub(super) fn new(name: String, messages: MessageBuilder, progress: Progress, retries: Retries) -> MqttLane {
        MqttLane {
            deliveries: Deliveries::new(name, messages.order(), progress, retries),
            pace: Pace::new(messages.rate(), Instant::now()),
            messages,
            dialer: Dialer::default(),
            memory: Memory::default(),
        }
    }

    /// Publishes until it is asked to stop. All but publishing is in boxes, because thousands of lanes do nothing but wait.
    pub async fn run(mut self, mut stop: Stop) -> Result<Ended, Lost> {
        let mut pauses = reconnect::pauses();
        loop {
            let (reason, was_useful) = match Box::pin(self.connect(&mut stop)).await? {
                None => break,
                Some(Err(reason)) => (reason, false),
                Some(Ok(link)) => {
                    // A broker that took nothing before has to take something first.
                    if !self.deliveries.has_trouble() {
                        Box::pin(self.deliveries.progress.report(State::Running)).await?;
                    }
                    match self.publish(link, &mut stop).await? {
                        Over::Stopped => break,
                        Over::Disabled(reason) => {
                            return Box::pin(self.deliveries.progress.disable(&reason, &mut stop)).await;
                        }
                        Over::Broken { reason, was_useful, retains } => {
                            if !retains {
                                self.dialer.keeps_no_retained_messages();
                            }
                            (reason, was_useful)
                        }
                    }
                }
            };
            if was_useful {
                // A broker may take the replay and its publisher for one client: then each throws the other off, and the replay must become
                // rare.
                if !self.messages.connect_options().is_replay {
                    pauses = reconnect::pauses();
                }
                Box::pin(self.deliveries.report_trouble(&reason)).await?;
            } else if let Some(reason) = Box::pin(self.deliveries.in_trouble(&reason)).await? {
                return Box::pin(self.deliveries.progress.disable(&reason, &mut stop)).await;
            }
            if Box::pin(self.wait(pauses.next().unwrap_or(LONGEST_PAUSE), &mut stop)).await? {
                break;
            }
        }
        Box::pin(self.deliveries.progress.finish()).await?;
        Ok(Ended::Stopped)
    }

    /// Connects, or returns the reason why that failed. There is neither if the lane is asked to stop first.
    async fn connect(&mut self, stop: &mut Stop) -> Result<Option<Result<Link, String>>, Lost> {
        let connecting = self.dialer.connect(self.messages.connect_options());
        tokio::pin!(connecting);
        let mut clock = Progress::clock();
        loop {
            tokio::select! {
                biased;
                _ = stop.asked() => return Ok(None),
                connected = &mut connecting => {
                    return Ok(Some(connected.map(|(link, _)| link).map_err(|reason| self.messages.explain(reason))));
                }
                () = clock.tick(true) => self.deliveries.checkpoint().await?,
            }
        }
    }

    /// Waits before the next connection, and returns whether the lane is asked to stop.
    async fn wait(&mut self, pause: Duration, stop: &mut Stop) -> Result<bool, Lost> {
        let until = Instant::now() + pause;
        let mut clock = Progress::clock();
        loop {
            tokio::select! {
                biased;
                _ = stop.asked() => return Ok(true),
                () = sleep_until(until) => return Ok(false),
                () = clock.tick(true) => self.deliveries.checkpoint().await?,
            }
        }
    }

    /// Publishes on one connection until it ends. A [`Session`] decides everything; this only waits for what happens, and carries out what
    /// the session answers.
    async fn publish(&mut self, mut link: Link, stop: &mut Stop) -> Result<Over, Lost> {
        let MqttLane { messages, deliveries, memory, pace, .. } = self;
        let (window, status_topic) = (link.limits().window, &messages.connect_options().status_topic);
        let mut session = Session::new(memory, window, messages.stall(), Instant::now());
        let status = link.announce(status_topic, messages.online());
        let status = async { if let Some(ack) = status { ack.await } else { Ack::Lost } };
        tokio::pin!(status);
        let mut in_flight = FuturesOrdered::new();
        let mut clock = Progress::clock();
        let end = stop.clone();
        let asked = stop.asked();
        tokio::pin!(asked);
        let exit = 'connected: loop {
            let may_publish = session.may_publish(in_flight.len(), Instant::now());
            while may_publish && in_flight.len() < session.window() && pace.waits_until(Instant::now).is_none() {
                let Some(acknowledged) = publish_next(&mut session, deliveries, messages, &link) else { break };
                if in_flight.is_empty() {
                    session.starts_waiting(Instant::now());
                }
                pace.leaves(Instant::now);
                in_flight.push_back(acknowledged);
            }
            // What the log has for the lane may be on its way from there.
            let expected =
                Some(session.expects_until()).filter(|until| deliveries.expects_more() && *until > Instant::now());
            let has_next = deliveries.has_next() || expected.is_some();
            match session.handle(Input::Published { in_flight: in_flight.len(), has_next }, Instant::now()) {
                ControlFlow::Continue(action) => {
                    if let Some(reason) = deliveries.carry_out(action).await? {
                        break Exit::TooLong(reason);
                    }
                }
                ControlFlow::Break(exit) => break exit,
            }
            let room = deliveries.room(session.appetite().saturating_sub(in_flight.len()));
            let (stalls_at, resumes_at) = (session.stalls_at(in_flight.len()), session.resumes_at());
            // A connection that lasts shows that the broker works, which is seen at a tick.
            let is_busy = deliveries.is_busy();
            let paced_at = pace.waits_until(Instant::now).filter(|_| deliveries.has_next());
            let retries_are_due = deliveries.are_retries_due();
            let (queued, ahead) = (deliveries.due.len(), deliveries.ahead());
            let input = tokio::select! {
                biased;
                grace = &mut asked => Input::Stop(grace),
                () = clock.tick(is_busy) => Input::Tick,
                () = std::future::ready(()), if retries_are_due => Input::RetriesDue,
                () = deliveries.progress.writing.ended() => Input::Written,
                Some(first) = in_flight.next(), if !in_flight.is_empty() => Input::Acknowledged(first),
                () = deliveries.retries.until_due(queued, ahead) => Input::RetriesDue,
                ack = &mut status, if session.awaits_status() => Input::Status(ack),
                ending = link.ended() => Input::Ended(ending),
                () = sleep_until(resumes_at.unwrap_or_else(Instant::now)), if resumes_at.is_some() => Input::Resumed,
                () = sleep_until(paced_at.unwrap_or_else(Instant::now)), if paced_at.is_some() => Input::Paced,
                () = sleep_until(session.lull_at()), if !may_publish && deliveries.has_next() => Input::Lull,
                () = sleep_until(expected.unwrap_or_else(Instant::now)), if expected.is_some() => Input::Lull,
                () = sleep_until(stalls_at.unwrap_or_else(Instant::now)), if stalls_at.is_some() => Input::Stalled,
                events = deliveries.progress.intake.next(room), if room > 0 => Input::Fresh(events),
            };
            let now = Instant::now();
            let is_acknowledgement = matches!(input, Input::Acknowledged(_));
            let mut next = Some(input);
            while let Some(input) = next {
                match session.handle(input, now) {
                    ControlFlow::Continue(action) => drop(deliveries.carry_out(action).await?),
                    ControlFlow::Break(exit) => break 'connected exit,
                }
                // All acknowledgements that are in are handled at once, so that the next publishes leave together too.
                let more = if is_acknowledgement { in_flight.next().now_or_never().flatten() } else { None };
                next = more.map(Input::Acknowledged);
            }
            if is_acknowledgement && !deliveries.progress.entries.settled.is_empty() {
                deliveries.write_settled().await?;
            }
        };
        let parting = if end.is_for_good() { Bytes::new() } else { messages.offline() };
        Box::pin(finish(exit, link, session, in_flight, status, (deliveries, messages, parting))).await
    }
}

/// Ends a connection, and settles what was in flight on it. What had no acknowledgement is sent again on the next connection.
async fn finish(
    exit: Exit,
    mut link: Link,
    mut session: Session<'_>,
    mut in_flight: FuturesOrdered<impl Future<Output = Acknowledged>>,
    status: impl Future<Output = Ack>,
    (deliveries, messages, parting): (&mut Deliveries, &MessageBuilder, Bytes),
) -> Result<Over, Lost> {
    let ending = match exit {
        Exit::Stop(grace) => {
            // What is not acknowledged in time stays pending, and whoever continues the lane sends it.
            drop(timeout(grace, settle(&mut session, deliveries, &mut in_flight)).await);
            goodbye(link, messages, parting).await;
            return Ok(Over::Stopped);
        }
        Exit::TooLong(reason) => {
            goodbye(link, messages, parting).await;
            return Ok(Over::Disabled(reason));
        }
        Exit::Ended(ending) => ending,
        Exit::Lost => link.ended().await,
    };
    drop(link);
    // What was acknowledged counts; all else is sent again before anything else, oldest first.
    settle(&mut session, deliveries, &mut in_flight).await?;
    if session.awaits_status() {
        drop(session.handle(Input::Status(status.await), Instant::now()));
    }
    let (retains, is_taken_over) = (ending.meaning != Meaning::NoRetained, ending.meaning == Meaning::TakenOver);
    let conclusion = session.conclude(ending, Instant::now());
    if let Some(letter) = conclusion.dead_letter {
        deliveries.dead_letter(letter);
    }
    conclusion.send_again.into_iter().rev().for_each(|delivery| deliveries.put_back(delivery));
    // A broker that ends connections because of an event is there, and it takes other events to find that out.
    if !conclusion.has_suspect {
        deliveries.give_up_waiting();
    }
    let reason = match conclusion.was_greeted {
        true => conclusion.reason,
        false => {
            let status_topic = &messages.connect_options().status_topic;
            format!("{} (before it took our status on `{status_topic}`)", conclusion.reason)
        }
    };
    if is_taken_over && messages.connect_options().is_replay {
        return Ok(Over::Disabled(format!(
            "{reason}; the broker takes the replay and the publisher for one client, so the replay has to give way: cancel it"
        )));
    }
    Ok(Over::Broken { reason, was_useful: conclusion.was_useful, retains })
}

/// Publishes the last status, and disconnects. An empty one removes the status from the broker. The goodbye is sent after it, so there is no
/// need to wait for its acknowledgement.
async fn goodbye(link: Link, messages: &MessageBuilder, parting: Bytes) {
    drop(link.announce(&messages.connect_options().status_topic, parting));
    link.close().await;
}

/// Publishes the next delivery, if one waits and the connection takes it. Events that cannot be published are parked
/// dead; where the broker takes no packet of their size, that is so for as many as it may refuse.
fn publish_next(
    session: &mut Session<'_>,
    deliveries: &mut Deliveries,
    messages: &MessageBuilder,
    link: &Link,
) -> Option<impl Future<Output = Acknowledged> + use<>> {
    while let Some(delivery) = choose(session, deliveries) {
        let message = match messages.build(delivery.event()) {
            Ok(message) => message,
            Err(reason) => {
                deliveries.dead_letter(DeadLetter { delivery, reason });
                continue;
            }
        };
        if let Some(reason) = message.too_large_for(link.limits().max_packet) {
            session
                .refused(DeadLetter { delivery, reason })
                .into_iter()
                .for_each(|letter| deliveries.dead_letter(letter));
            continue;
        }
        let Some(ack) =
            link.publish(&message.topic, message.payload, delivery.event().event_id, delivery.is_replayed())
        else {
            deliveries.put_back(delivery);
            break;
        };
        return Some(async move { (delivery, ack.await) });
    }
    None
}

/// Takes the delivery that is to be published next, if one waits.
fn choose(session: &mut Session<'_>, deliveries: &mut Deliveries) -> Option<Delivery> {
    let (suspect, other) = match session.choice() {
        Choice::First => return deliveries.next(),
        Choice::Suspect(suspect) => (suspect, None),
        Choice::Other { suspect, turn } => (suspect, deliveries.take_other(suspect, turn)),
    };
    other.or_else(|| deliveries.take(suspect)).or_else(|| {
        session.suspect_is_gone();
        deliveries.next()
    })
}

/// Waits for the acknowledgements of what is in flight when a connection ends, and carries out what they ask for. An input that would end
/// the connection does not matter any more.
async fn settle(
    session: &mut Session<'_>,
    deliveries: &mut Deliveries,
    in_flight: &mut FuturesOrdered<impl Future<Output = Acknowledged>>,
) -> Result<(), Lost> {
    while let Some(acknowledged) = in_flight.next().await {
        if let ControlFlow::Continue(action) = session.handle(Input::Acknowledged(acknowledged), Instant::now()) {
            drop(deliveries.carry_out(action).await?);
        }
    }
    Ok(())
}
