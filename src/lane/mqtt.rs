//! The lane of an MQTT publisher. In: the lane's events. Out: QoS 1 publishes in order, a window of them unacknowledged; an event is
//! done when its PUBACK is in. It never counts a publish as done because a connection ended, and sends what had no PUBACK again,
//! oldest first, on the next one.

mod dead_letter;
mod dial;
pub mod link;
pub mod message;
mod poison;
mod v4;
mod v5;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use backon::BackoffBuilder as _;
use backon::ExponentialBackoff;
use backon::ExponentialBuilder;
use futures_util::future::FutureExt as _;
use futures_util::stream::FuturesOrdered;
use futures_util::stream::StreamExt as _;
use tokio::time::Instant;
use tokio::time::sleep_until;

use crate::event::Event;
use crate::lane::mqtt::dead_letter::Verdicts;
use crate::lane::mqtt::dial::Dial;
use crate::lane::mqtt::link::Ack;
use crate::lane::mqtt::link::Link;
use crate::lane::mqtt::link::Notice;
use crate::lane::mqtt::message::Prepared;
use crate::lane::mqtt::message::Publishing;
use crate::lane::mqtt::poison::STRIKES;
use crate::lane::mqtt::poison::Suspects;
use crate::lane::progress::Progress;
use crate::lane::progress::too_long;
use crate::lane::retries::Job;
use crate::lane::retries::Retries;
use crate::lane::stop::Ended;
use crate::lane::stop::Stop;
use crate::lane::store::error::Lost;
use crate::lane::store::state::State;

/// See the module's description.
#[derive(Debug)]
pub struct MqttLane {
    name: String,
    publishing: Publishing,
    progress: Progress,
    dial: Dial,
    /// Taken and not published on this connection, oldest first.
    unsent: VecDeque<Arc<Event>>,
    /// Dead ones that somebody wants to be tried again.
    due: Retries,
    suspects: Suspects,
    verdicts: Verdicts,
    /// The trouble that was last reported.
    said: String,
}

/// How a connection ended.
enum Over {
    Stopped,
    Broken {
        reason: String,
        /// An event was taken or put away, or the connection lasted.
        proven: bool,
    },
}

/// In what is said of a disabled lane.
const KIND: &str = "mqtt";
/// The longest pause between connections. One that lasted longer owes nothing to those before it.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A window of fewer publishes is filled as soon as there is room.
const SMALL_WINDOW: usize = 64;
/// A larger one, when no acknowledgement came for so long.
const LULL: Duration = Duration::from_millis(1);

impl MqttLane {
    /// A lane that goes on from its stored cursor.
    pub(super) fn new(name: String, publishing: Publishing, progress: Progress, due: Retries) -> MqttLane {
        MqttLane {
            verdicts: Verdicts::new(name.clone()),
            name,
            publishing,
            progress,
            dial: Dial::default(),
            unsent: VecDeque::new(),
            due,
            suspects: Suspects::default(),
            said: String::new(),
        }
    }

    /// Publishes until it is asked to stop.
    pub async fn run(mut self, mut stop: Stop) -> Result<Ended, Lost> {
        let mut pauses = pauses();
        loop {
            let (reason, proven) = match self.connect(&mut stop).await? {
                None => break,
                Some(Err(reason)) => (reason, false),
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
                            (reason, proven)
                        }
                    }
                }
            };
            self.say(&reason);
            if !proven && self.progress.failed().await? {
                return self.progress.disable(KIND, &too_long(&reason), &mut stop).await;
            }
            self.progress.report(State::Retrying(reason)).await?;
            let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
            if self.wait(pause, &mut stop).await? {
                break;
            }
        }
        self.progress.finish().await?;
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
    async fn connect(&mut self, stop: &mut Stop) -> Result<Option<Result<Link, String>>, Lost> {
        let connecting = self.dial.connect(self.publishing.plan());
        tokio::pin!(connecting);
        let mut clock = Progress::clock();
        loop {
            tokio::select! {
                biased;
                _ = stop.asked() => return Ok(None),
                connected = &mut connecting => return Ok(Some(connected)),
                _ = clock.tick() => drop(self.due.checkpoint(&mut self.progress).await?),
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
                _ = clock.tick() => self.checkpoint().await?,
            }
        }
    }

    /// One connection, from its birth to its end.
    async fn publish(&mut self, mut link: Link, stop: &mut Stop) -> Result<Over, Lost> {
        let born = Instant::now();
        let birth = link.announce(&self.publishing.plan().status_topic, self.publishing.online());
        let birth = async { if let Some(notice) = birth { notice.ack().await } else { Ack::Lost } };
        tokio::pin!(birth);
        // What the broker said to the status message: that it refuses it is an answer too.
        let (mut birth_is_open, mut is_welcome) = (true, false);
        let stall = self.publishing.stall();
        let mut window = FuturesOrdered::new();
        let mut unacknowledged = Vec::new();
        let mut clock = Progress::clock();
        let asked = stop.asked();
        tokio::pin!(asked);
        let mut heard = Instant::now();
        let (mut answered, mut is_busy, mut is_refused, mut proven) = (false, false, false, false);
        let mut reason = loop {
            let most = self.suspects.window(link.limits().window, is_welcome);
            // A busy window is filled in portions, each flush costs about the same; but only while acknowledgements come. A broker without
            // TCP_NODELAY keeps them back until its last packet is confirmed: by our next publish, or by the kernel after 40 ms.
            let portion = if most < SMALL_WINDOW { 1 } else { most / 4 };
            let is_open = window.len() + portion <= most || heard.elapsed() >= LULL;
            while is_open
                && window.len() < most
                && let Some(job) = self.next()
            {
                let Some((job, prepared)) = self.prepare(job, &link) else { continue };
                if window.is_empty() {
                    heard = Instant::now();
                }
                match link.publish(&prepared.topic, prepared.payload, job.event().event_id, job.is_replayed()) {
                    Some(notice) => window.push_back(acknowledgement(job, notice)),
                    None => {
                        self.put_back(job);
                        break;
                    }
                }
            }
            let is_through = window.is_empty() && !self.has_next();
            if self.verdicts.doubted() >= if is_through { 1 } else { link.limits().window } {
                break "the broker takes nothing".to_owned();
            }
            let room = if self.progress.has_room() { most.saturating_sub(window.len() + self.unsent.len()) } else { 0 };
            tokio::select! {
                biased;
                grace = &mut asked => {
                    self.finish(link, window, grace).await;
                    return Ok(Over::Stopped);
                }
                _ = clock.tick() => {
                    if born.elapsed() > LONGEST_PAUSE {
                        self.progress.succeeded();
                    }
                    self.checkpoint().await?;
                }
                Some(first) = window.next(), if !window.is_empty() => {
                    heard = Instant::now();
                    let mut back = None;
                    let mut next = Some(first);
                    // All acknowledgements that are there at once, so that the next publishes leave together too.
                    while back.is_none() && let Some((job, ack)) = next.take() {
                        answered |= ack.is_final();
                        is_busy |= matches!(ack, Ack::NotNow(_));
                        proven |= ack == Ack::Accepted;
                        back = self.settle(job, ack);
                        next = if back.is_none() { window.next().now_or_never().flatten() } else { None };
                    }
                    if let Some(Back { job, reason }) = back {
                        is_refused = reason.is_some();
                        unacknowledged.push(job);
                        break match reason {
                            Some(reason) => reason,
                            None => link.ended().await,
                        };
                    }
                    // What is due next is looked for once these are written down; the clock would be slow to do it.
                    if self.due.is_settled(&self.progress) {
                        self.checkpoint().await?;
                    }
                }
                () = self.due.time_to_look() => {
                    // The ledger gets a share of the window, so that the live events keep most of it.
                    let most = link.limits().window.div_ceil(8);
                    self.due.look(&mut self.progress, Vec::new, most).await?;
                }
                ack = &mut birth, if birth_is_open => {
                    birth_is_open = false;
                    is_welcome = ack != Ack::Lost;
                }
                reason = link.ended() => break reason,
                () = sleep_until(heard + LULL), if !is_open && self.has_next() => {}
                () = sleep_until(heard + stall), if !window.is_empty() || (birth_is_open && self.suspects.are_any()) => {
                    break format!("no acknowledgement for {stall:?}");
                }
                events = self.progress.intake.next(room), if room > 0 => self.unsent.extend(events),
            }
        };
        drop(link);
        // Every notice left is looked at: what was acknowledged counts, all else is sent again before anything else, oldest first.
        while let Some((job, ack)) = window.next().await {
            answered |= ack.is_final();
            is_busy |= matches!(ack, Ack::NotNow(_));
            proven |= ack == Ack::Accepted;
            unacknowledged.extend(self.settle(job, ack).map(|back| back.job));
        }
        if is_refused {
            self.suspects.refused_for_now(unacknowledged.len());
        }
        is_welcome |= birth_is_open && birth.await != Ack::Lost;
        let in_flight = unacknowledged.iter().map(|job| job.event().id);
        if !answered && !is_busy && self.suspects.connection_ended(in_flight, is_welcome) {
            if self.verdicts.may_condemn() {
                let reason = format!("{STRIKES} connections ended on it, alone in flight; the last: {reason}");
                self.verdicts.bury(&mut self.progress, unacknowledged.remove(0), &reason);
                self.suspects.answered();
                proven = true;
            } else {
                reason = dead_letter::of_all(&reason);
            }
        }
        let (doubted, refusal) = self.verdicts.give_back();
        for job in doubted.into_iter().chain(unacknowledged).rev() {
            self.put_back(job);
        }
        let reason = refusal.unwrap_or(reason);
        proven |= born.elapsed() > LONGEST_PAUSE;
        let reason = match is_welcome {
            true => reason,
            false => format!("{reason} (before it took our status on `{}`)", self.publishing.plan().status_topic),
        };
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
            while let Some((job, ack)) = window.next().await {
                self.settle(job, ack);
            }
        };
        // What is not acknowledged in time stays pending, and is sent by whoever goes on.
        drop(tokio::time::timeout(grace, finishing).await);
        // Goodbye is said behind it, so nobody has to wait for its acknowledgement here.
        drop(link.announce(&self.publishing.plan().status_topic, self.publishing.offline()));
        link.close().await;
    }

    fn next(&mut self) -> Option<Job> {
        self.due.pop().map(Job::Parked).or_else(|| self.unsent.pop_front().map(Job::Fresh))
    }

    fn has_next(&self) -> bool {
        !self.due.is_empty() || !self.unsent.is_empty()
    }

    fn put_back(&mut self, job: Job) {
        match job {
            Job::Fresh(event) => self.unsent.push_front(event),
            Job::Parked(parked) => self.due.put_back(parked),
        }
    }

    async fn checkpoint(&mut self) -> Result<(), Lost> {
        self.due.checkpoint(&mut self.progress).await.map(drop)
    }

    /// Takes note of an acknowledgement. What is to be sent again comes back.
    fn settle(&mut self, job: Job, ack: Ack) -> Option<Back> {
        if ack.is_final() {
            self.suspects.answered();
        }
        match ack {
            Ack::Accepted => {
                self.verdicts.accepted(&mut self.progress, job);
                None
            }
            Ack::Refused(reason) => {
                self.verdicts.refused(&mut self.progress, job, reason);
                None
            }
            Ack::NotNow(reason) | Ack::Failed(reason) => Some(Back { job, reason: Some(reason) }),
            Ack::Lost => Some(Back { job, reason: None }),
        }
    }

    /// None: it can not be published, and is parked dead.
    fn prepare(&mut self, job: Job, link: &Link) -> Option<(Job, Prepared)> {
        match self.publishing.prepare(job.event(), link.limits().max_packet) {
            Ok(prepared) => Some((job, prepared)),
            Err(reason) => {
                self.verdicts.bury(&mut self.progress, job, &reason);
                None
            }
        }
    }
}

type Acknowledged = (Job, Ack);

/// What is to be sent again.
struct Back {
    job: Job,
    /// What the broker said; None when the connection ended.
    reason: Option<String>,
}

async fn acknowledgement(job: Job, notice: Notice) -> Acknowledged {
    let ack = notice.ack().await;
    (job, ack)
}

/// Pauses between connections, with jitter, so that a broker that comes back is not met by all lanes at once.
fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(LONGEST_PAUSE)
        .without_max_times()
        .build()
}
