//! The lane of an MQTT publisher. In: the lane's events. Out: QoS 1 publishes in order, a window of them unacknowledged; an event is
//! done when its PUBACK is in. It never counts a publish as done because a connection ended, and sends what had no PUBACK again,
//! oldest first, on the next one.

pub mod link;
pub mod prepare;
mod v4;
mod v5;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use backon::BackoffBuilder as _;
use backon::ExponentialBackoff;
use backon::ExponentialBuilder;
use futures_util::stream::FuturesOrdered;
use futures_util::stream::StreamExt as _;
use tokio::time::Instant;
use tokio::time::sleep_until;

use crate::event::Event;
use crate::lane::Ended;
use crate::lane::checkpoint::Lost;
use crate::lane::checkpoint::State;
use crate::lane::mqtt::link::Ack;
use crate::lane::mqtt::link::Link;
use crate::lane::mqtt::link::Notice;
use crate::lane::mqtt::link::Refusal;
use crate::lane::mqtt::link::Version;
use crate::lane::mqtt::prepare::Prepared;
use crate::lane::mqtt::prepare::Publishing;
use crate::lane::progress::Progress;
use crate::lane::stop::Stop;
use crate::ledger::Attempt;
use crate::ledger::Fate;

/// See the module's description.
#[derive(Debug)]
pub struct MqttLane {
    name: String,
    publishing: Publishing,
    progress: Progress,
    version: Version,
    /// Taken and not published on this connection, oldest first.
    unsent: VecDeque<Arc<Event>>,
    suspects: Suspects,
    /// The trouble that was last reported.
    said: String,
}

/// Finds the event that a broker cannot take: one that answers it by ending the connection would otherwise be sent it for ever.
#[derive(Debug, Default)]
struct Suspects {
    /// Events to publish alone, after connections that ended without any acknowledgement.
    left: usize,
    /// The one that was alone when a connection ended, and how often that was.
    strikes: (i64, u32),
}

/// How a connection ended.
enum Over {
    Stopped,
    Broken {
        reason: String,
        /// Something was acknowledged.
        proven: bool,
    },
}

/// An unacknowledged publish and a connection that says nothing: it is dead, whatever TCP thinks.
const STALL: Duration = Duration::from_secs(30);
/// Connections that must end on one event, alone in flight, before the event and not the broker is held to be the trouble.
const STRIKES: u32 = 5;

impl MqttLane {
    /// A lane that goes on from its stored cursor.
    pub fn new(name: String, publishing: Publishing, progress: Progress) -> MqttLane {
        MqttLane {
            name,
            publishing,
            progress,
            version: Version::V5,
            unsent: VecDeque::new(),
            suspects: Suspects::default(),
            said: String::new(),
        }
    }

    /// Publishes until it is asked to stop.
    pub async fn run(mut self, mut stop: Stop) -> Result<Ended, Lost> {
        let mut pauses = pauses();
        loop {
            let reason = match self.connect(&mut stop).await? {
                None => break,
                Some(Err(refusal)) => {
                    if refusal.other_version && self.version == Version::V5 {
                        tracing::info!(publisher = self.name, reason = refusal.reason, "no MQTT 5 here; trying 3.1.1");
                        self.version = Version::V4;
                        continue;
                    }
                    // The next broker at this address may speak 5.
                    self.version = Version::V5;
                    refusal.reason
                }
                Some(Ok(link)) => {
                    if !self.said.is_empty() {
                        tracing::info!(publisher = self.name, "connected again");
                        self.said.clear();
                    }
                    self.progress.report(State::Running).await?;
                    match self.publish(link, &mut stop).await? {
                        Over::Stopped => break,
                        Over::Broken { reason, proven } => {
                            if proven {
                                pauses = self::pauses();
                            }
                            reason
                        }
                    }
                }
            };
            self.say(&reason);
            self.progress.report(State::Retrying(reason)).await?;
            let pause = pauses.next().unwrap_or(Duration::from_secs(30));
            if self.wait(pause, &mut stop).await? {
                break;
            }
        }
        self.progress.checkpoint().await?;
        Ok(Ended::Stopped)
    }

    /// Says once what keeps the lane from its broker, and not at each try.
    fn say(&mut self, reason: &str) {
        if self.said != reason {
            tracing::warn!(
                publisher = self.name,
                reason,
                "no connection to the broker; trying again, its events wait in the log"
            );
            reason.clone_into(&mut self.said);
        }
    }

    /// None: asked to stop.
    async fn connect(&mut self, stop: &mut Stop) -> Result<Option<Result<Link, Refusal>>, Lost> {
        let connecting = Link::connect(self.publishing.plan(), self.version);
        tokio::pin!(connecting);
        let mut clock = Progress::clock();
        loop {
            tokio::select! {
                biased;
                _ = stop.asked() => return Ok(None),
                connected = &mut connecting => return Ok(Some(connected)),
                _ = clock.tick() => drop(self.progress.checkpoint().await?),
            }
        }
    }

    /// True: asked to stop.
    async fn wait(&mut self, pause: Duration, stop: &mut Stop) -> Result<bool, Lost> {
        let until = Instant::now() + pause;
        let mut clock = Progress::clock();
        loop {
            tokio::select! {
                biased;
                _ = stop.asked() => return Ok(true),
                () = sleep_until(until) => return Ok(false),
                _ = clock.tick() => drop(self.progress.checkpoint().await?),
            }
        }
    }

    /// One connection, from its birth to its end.
    async fn publish(&mut self, mut link: Link, stop: &mut Stop) -> Result<Over, Lost> {
        link.announce(&self.publishing.plan().status_topic, self.publishing.online());
        let mut window = FuturesOrdered::new();
        let mut unacknowledged = Vec::new();
        let mut clock = Progress::clock();
        let mut heard = Instant::now();
        let mut proven = false;
        let reason = loop {
            let most = if self.suspects.left > 0 { 1 } else { link.limits().window };
            while window.len() < most
                && let Some(event) = self.unsent.pop_front()
            {
                let Some(prepared) = self.prepare(&event, &link) else { continue };
                if window.is_empty() {
                    heard = Instant::now();
                }
                match link.publish(&prepared.topic, prepared.payload, event.event_id) {
                    Some(notice) => window.push_back(acknowledgement(event, notice)),
                    None => {
                        self.unsent.push_front(event);
                        break;
                    }
                }
            }
            let room = if self.progress.has_room() { most.saturating_sub(window.len() + self.unsent.len()) } else { 0 };
            tokio::select! {
                biased;
                grace = stop.asked() => {
                    self.finish(link, window, grace).await;
                    return Ok(Over::Stopped);
                }
                _ = clock.tick() => drop(self.progress.checkpoint().await?),
                Some((event, ack)) = window.next(), if !window.is_empty() => {
                    heard = Instant::now();
                    proven |= ack == Ack::Accepted;
                    if let Some(back) = self.settle(event, ack) {
                        let reason = back.reason;
                        unacknowledged.push(back.event);
                        break match reason {
                            Some(reason) => reason,
                            None => link.ended().await,
                        };
                    }
                }
                reason = link.ended() => break reason,
                () = sleep_until(heard + STALL), if !window.is_empty() => {
                    break format!("no acknowledgement for {STALL:?}");
                }
                events = self.progress.intake.next(room), if room > 0 => self.unsent.extend(events),
            }
        };
        drop(link);
        // Every notice left is looked at: what was acknowledged counts, all else is sent again before anything else, oldest first.
        while let Some((event, ack)) = window.next().await {
            proven |= ack == Ack::Accepted;
            unacknowledged.extend(self.settle(event, ack).map(|back| back.event));
        }
        if !proven {
            self.suspect(&mut unacknowledged, &reason);
        }
        for event in unacknowledged.into_iter().rev() {
            self.unsent.push_front(event);
        }
        Ok(Over::Broken { reason, proven })
    }

    /// Stops offering, waits for the acknowledgements that are due, and says goodbye.
    async fn finish(
        &mut self,
        link: Link,
        mut window: FuturesOrdered<impl Future<Output = Acknowledged>>,
        grace: Duration,
    ) {
        let finishing = async {
            while let Some((event, ack)) = window.next().await {
                self.settle(event, ack);
            }
        };
        // What is not acknowledged in time stays pending, and is sent by whoever goes on.
        drop(tokio::time::timeout(grace, finishing).await);
        link.announce(&self.publishing.plan().status_topic, self.publishing.offline());
        link.close().await;
    }

    /// Takes note of an acknowledgement. What is to be sent again comes back.
    fn settle(&mut self, event: Arc<Event>, ack: Ack) -> Option<Back> {
        match ack {
            Ack::Accepted => {
                self.suspects.left = self.suspects.left.saturating_sub(1);
                self.progress.done(&event);
                None
            }
            Ack::Refused(reason) => {
                self.bury(event, &reason);
                None
            }
            Ack::NotNow(reason) => Some(Back { event, reason: Some(reason) }),
            Ack::Lost => Some(Back { event, reason: None }),
        }
    }

    fn prepare(&mut self, event: &Arc<Event>, link: &Link) -> Option<Prepared> {
        match self.publishing.prepare(event, link.limits().max_packet) {
            Ok(prepared) => Some(prepared),
            Err(reason) => {
                self.bury(Arc::clone(event), &reason);
                None
            }
        }
    }

    /// Parks an event that this broker cannot take, so that the others go on.
    fn bury(&mut self, event: Arc<Event>, reason: &str) {
        tracing::warn!(publisher = self.name, event = %event.event_id, reason, "cannot be published; parked dead");
        self.progress.entries.attempts.push(Attempt {
            event: Arc::clone(&event),
            number: 1,
            outcome: "dead",
            code: None,
            latency: Duration::ZERO,
            excerpt: reason.to_owned(),
        });
        self.progress.park(event, Fate::Dead, 1, reason);
    }

    /// A connection ended without any acknowledgement: from now on what was in flight is sent one by one, until the one that ends
    /// connections is found, or all of them are through.
    fn suspect(&mut self, unacknowledged: &mut Vec<Arc<Event>>, reason: &str) {
        let Some(first) = unacknowledged.first() else { return };
        if self.suspects.left == 0 {
            self.suspects.left = unacknowledged.len();
            return;
        }
        let (suspect, strikes) = self.suspects.strikes;
        self.suspects.strikes = if suspect == first.id { (suspect, strikes + 1) } else { (first.id, 1) };
        if self.suspects.strikes.1 >= STRIKES {
            let event = unacknowledged.remove(0);
            self.suspects.left = self.suspects.left.saturating_sub(1);
            self.bury(event, &format!("{STRIKES} connections ended on it, alone in flight; the last: {reason}"));
        }
    }
}

type Acknowledged = (Arc<Event>, Ack);

/// An event that is to be sent again.
struct Back {
    event: Arc<Event>,
    /// What the broker said; None when the connection ended.
    reason: Option<String>,
}

async fn acknowledgement(event: Arc<Event>, notice: Notice) -> Acknowledged {
    let ack = notice.ack().await;
    (event, ack)
}

/// Pauses between connections, with jitter, so that a broker that comes back is not met by all lanes at once.
fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(30))
        .without_max_times()
        .build()
}
