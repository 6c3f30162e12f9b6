//! Decides how the tail will be woken. In: what each poll found, and the time. Out: what to ask of the bell's lock, what to hand on, and
//! how to wait. It never reads a clock and does no I/O.

use std::time::Duration;

use tokio::time::Instant;

use crate::log::wakeup::bell::LockRequest;
use crate::log::wakeup::writers::ConcurrentWriters;

/// The result of a poll, as far as the wake-up needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// It read events.
    pub(crate) events: bool,
    /// It left holes open.
    pub(crate) holes: bool,
    /// It did not read everything that there was.
    pub(crate) is_cut: bool,
}

/// The consequences of a poll for the tail and for other daemons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Polled {
    /// There is something to hand on: events, or holes that are open or were until now.
    pub(crate) is_news: bool,
    /// The other daemons do not know of it. While the tail slept as the poll began, the writers have rung for all daemons.
    pub(crate) is_unheard: bool,
}

/// How the tail waits for its next poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// There is more to read.
    No,
    /// Until the bell rings, or for this long.
    ForBell(Duration),
    /// For this long, since writers may be silent.
    Pause(Duration),
}

/// Everything that these decisions depend on.
#[derive(Debug)]
pub(super) struct State {
    writers: ConcurrentWriters,
    /// We hold the bell's lock: every writer rings.
    is_asleep: bool,
    /// Of the tails of all daemons, ours is the one that takes the bell's lock, looks after silent writers and rings for the others.
    is_leading: bool,
    /// The queue of notifications fills up, so that nobody is to ring.
    is_quiet: bool,
    /// When the upkeep was done last.
    last_upkeep: Option<Instant>,
    /// There were holes after the last poll; before the first poll nobody knows.
    has_holes: bool,
    /// How long a hole is left alone before it is looked at again.
    hole_pause: Duration,
    pauses: PollPauses,
}

/// The pauses of a tail that polls and finds nothing. They grow by half each time: a commit that took a while is found after half as long
/// again, and a transaction that is left open for an hour does not cost an hour of polling.
#[derive(Debug)]
struct PollPauses(Duration);

/// The longest sleep. The bell is exact, but a connection that is half open does not ring.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// A transaction that rolls back does not ring, so an open hole is looked at after this long, and then after twice as long each time.
const FIRST_HOLE_PAUSE: Duration = Duration::from_millis(10);
/// How often the leading tail writes down how far it is, and how often another one tries to become the leading one.
const UPKEEP: Duration = Duration::from_secs(1);
/// The first and the longest of the pauses.
const FIRST_PAUSE: Duration = Duration::from_micros(250);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

impl State {
    pub(super) fn new(now: Instant) -> State {
        State {
            writers: ConcurrentWriters::new(now),
            is_asleep: false,
            is_leading: false,
            is_quiet: false,
            last_upkeep: None,
            has_holes: true,
            hole_pause: LONGEST_SLEEP,
            pauses: PollPauses(FIRST_PAUSE),
        }
    }

    pub(super) fn record_ages(&mut self, now: Instant, ages: &[f64]) {
        self.writers.record(now, ages.iter().copied());
    }

    /// Returns what to ask of the lock: many writers are spared the bell, and few are asked to ring, as long as there is room for that.
    pub(super) fn lock_request(&self, now: Instant) -> LockRequest {
        if self.is_asleep && (self.is_quiet || self.writers.are_many(now)) {
            LockRequest::Release
        } else if !self.is_asleep && self.is_leading && !self.is_quiet && self.writers.are_few(now) {
            LockRequest::Take
        } else {
            LockRequest::Nothing
        }
    }

    /// Takes in the outcome of a poll and of the request that went ahead of it.
    pub(super) fn polled(&mut self, found: Found, request: LockRequest, holds_lock: bool) -> Polled {
        let was_asleep = self.is_asleep;
        if request != LockRequest::Nothing {
            self.is_asleep = holds_lock;
        }
        let is_news = found.events || self.has_holes;
        if is_news {
            self.has_holes = found.holes;
        }
        if found.events {
            self.pauses.restart();
        }
        Polled { is_news, is_unheard: found.events && self.is_leading && !was_asleep }
    }

    pub(super) fn is_leading(&self) -> bool {
        self.is_leading
    }

    pub(super) fn leads(&mut self) {
        self.is_leading = true;
    }

    /// Takes in whether the queue of notifications fills up, and returns whether that is news.
    pub(super) fn queue_fills(&mut self, is_quiet: bool) -> bool {
        std::mem::replace(&mut self.is_quiet, is_quiet) != is_quiet
    }

    pub(super) fn is_upkeep_due(&self, now: Instant) -> bool {
        self.last_upkeep.is_none_or(|last| now.saturating_duration_since(last) >= UPKEEP)
    }

    pub(super) fn upkeep_done(&mut self, now: Instant) {
        self.last_upkeep = Some(now);
    }

    /// Returns how to wait after a poll that found this.
    pub(super) fn wait(&mut self, found: Found) -> Wait {
        self.hole_pause =
            if found.events || !self.has_holes { FIRST_HOLE_PAUSE } else { (self.hole_pause * 2).min(LONGEST_SLEEP) };
        if found.is_cut {
            Wait::No
        } else if self.is_asleep {
            Wait::ForBell(if self.has_holes { self.hole_pause } else { LONGEST_SLEEP })
        } else if found.events {
            Wait::No
        } else if self.is_leading {
            Wait::Pause(self.pauses.next())
        } else {
            Wait::ForBell(UPKEEP)
        }
    }
}

impl PollPauses {
    /// Starts again from the shortest.
    fn restart(&mut self) {
        self.0 = FIRST_PAUSE;
    }

    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 3 / 2).min(LONGEST_PAUSE);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Found = Found { events: false, holes: false, is_cut: false };
    const EVENTS: Found = Found { events: true, holes: false, is_cut: false };
    const HOLES: Found = Found { events: false, holes: true, is_cut: false };

    fn leading(now: Instant) -> State {
        let mut state = State::new(now);
        state.leads();
        state
    }

    fn asleep(now: Instant) -> State {
        let mut state = leading(now);
        state.polled(NOTHING, LockRequest::Take, true);
        state
    }

    #[test]
    fn the_leading_tail_sleeps_while_few_write_and_wakes_for_many() {
        let now = Instant::now();
        let mut state = leading(now);

        assert_eq!(State::new(now).lock_request(now), LockRequest::Nothing, "another daemon's tail may lead");
        assert_eq!(state.lock_request(now), LockRequest::Take);
        state.polled(NOTHING, LockRequest::Take, false);
        assert_eq!(state.lock_request(now), LockRequest::Take, "a silent writer was about; the next poll asks again");
        state.polled(NOTHING, LockRequest::Take, true);
        assert_eq!(state.lock_request(now), LockRequest::Nothing);
        state.record_ages(now, &[1.0; 10]);
        assert_eq!(state.lock_request(now), LockRequest::Release);
        state.polled(EVENTS, LockRequest::Release, false);
        assert_eq!(state.lock_request(now), LockRequest::Nothing);
        assert_eq!(state.lock_request(now + UPKEEP), LockRequest::Take);
    }

    #[test]
    fn while_the_queue_of_notifications_fills_up_nobody_is_asked_to_ring() {
        let now = Instant::now();
        let mut state = asleep(now);

        assert!(state.queue_fills(true) && !state.queue_fills(true));
        assert_eq!(state.lock_request(now), LockRequest::Release);
        state.polled(NOTHING, LockRequest::Release, false);
        assert_eq!(state.lock_request(now), LockRequest::Nothing);
        assert!(matches!(state.wait(NOTHING), Wait::Pause(_)));

        assert!(state.queue_fills(false));
        assert_eq!(state.lock_request(now), LockRequest::Take);
    }

    #[test]
    fn a_tail_that_sleeps_waits_for_the_bell_and_looks_at_its_holes_less_and_less() {
        let mut state = asleep(Instant::now());
        assert_eq!(state.wait(NOTHING), Wait::ForBell(LONGEST_SLEEP));
        assert_eq!(state.wait(EVENTS), Wait::ForBell(LONGEST_SLEEP));

        let with_holes = Found { holes: true, ..EVENTS };
        state.polled(with_holes, LockRequest::Nothing, false);

        assert_eq!(state.wait(with_holes), Wait::ForBell(FIRST_HOLE_PAUSE));
        assert_eq!(state.wait(HOLES), Wait::ForBell(FIRST_HOLE_PAUSE * 2));
        assert_eq!(state.wait(HOLES), Wait::ForBell(FIRST_HOLE_PAUSE * 4));
        assert_eq!(state.wait(Found { is_cut: true, ..HOLES }), Wait::No);
        for _ in 0..10 {
            state.wait(HOLES);
        }
        assert_eq!(state.wait(HOLES), Wait::ForBell(LONGEST_SLEEP));
    }

    #[test]
    fn the_leading_tail_polls_less_and_less_while_it_cannot_sleep() {
        let mut state = leading(Instant::now());

        assert_eq!(state.wait(EVENTS), Wait::No);
        assert_eq!(state.wait(NOTHING), Wait::Pause(FIRST_PAUSE));
        assert_eq!(state.wait(NOTHING), Wait::Pause(FIRST_PAUSE * 3 / 2));
        for _ in 0..20 {
            state.wait(NOTHING);
        }
        assert_eq!(state.wait(NOTHING), Wait::Pause(LONGEST_PAUSE));
        state.polled(EVENTS, LockRequest::Nothing, false);
        assert_eq!(state.wait(NOTHING), Wait::Pause(FIRST_PAUSE));
    }

    #[test]
    fn a_tail_that_does_not_lead_waits_for_the_one_that_does() {
        let mut state = State::new(Instant::now());

        assert_eq!(state.wait(NOTHING), Wait::ForBell(UPKEEP));
        assert_eq!(state.wait(EVENTS), Wait::No);
    }

    #[test]
    fn others_are_told_only_of_what_they_have_not_heard() {
        let now = Instant::now();
        let is_unheard = |mut state: State, request, found| state.polled(found, request, false).is_unheard;

        assert!(is_unheard(leading(now), LockRequest::Nothing, EVENTS));
        assert!(is_unheard(leading(now), LockRequest::Take, EVENTS));
        assert!(!is_unheard(asleep(now), LockRequest::Nothing, EVENTS), "the writers have rung");
        assert!(!is_unheard(asleep(now), LockRequest::Release, EVENTS), "they had until then");
        assert!(!is_unheard(leading(now), LockRequest::Nothing, HOLES));
        assert!(!is_unheard(State::new(now), LockRequest::Nothing, EVENTS), "the leading tail tells them");
    }

    #[test]
    fn a_poll_is_handed_on_when_it_found_events_or_closed_holes() {
        let mut state = State::new(Instant::now());
        let mut is_news = |found| state.polled(found, LockRequest::Nothing, false).is_news;

        assert!(is_news(NOTHING), "what the holes were before the first poll is not known");
        assert!(!is_news(NOTHING));
        assert!(is_news(Found { holes: true, ..EVENTS }));
        assert!(is_news(HOLES));
        assert!(is_news(NOTHING), "the last hole is closed");
        assert!(!is_news(NOTHING));
    }

    #[test]
    fn the_upkeep_is_due_at_once_and_then_each_second() {
        let now = Instant::now();
        let mut state = State::new(now);

        assert!(state.is_upkeep_due(now));
        state.upkeep_done(now);
        assert!(!state.is_upkeep_due(now + UPKEEP / 2));
        assert!(state.is_upkeep_due(now + UPKEEP));
    }
}
