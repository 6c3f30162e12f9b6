//! The circuit breaker of a lane. In: how attempts end. Out: whether the lane may go on or has to probe, and when. It never looks at a
//! clock: the time is passed in.

use std::time::Duration;

use tokio::time::Instant;

/// After this many failures in a row, the fault is taken to be the destination's and not that of the events.
pub const OPENS_AFTER: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Lets everything through while the destination takes what it gets. After failures in a row it opens: then one attempt at a time probes
/// the destination, after pauses that grow, until one succeeds.
#[derive(Debug)]
pub struct Breaker {
    opens_after: u32,
    state: BreakerState,
}

#[derive(Debug)]
enum BreakerState {
    /// Whatever opens it, it does not probe before `not_before`, which one of the failures asked for.
    Closed { failures_in_a_row: u32, not_before: Option<Instant> },
    /// There was no pause yet if nobody has tried the destination since it was suspected.
    Open { next_probe: Instant, pause: Duration },
}

impl BreakerState {
    const HEALTHY: BreakerState = BreakerState::Closed { failures_in_a_row: 0, not_before: None };
}

impl Breaker {
    /// Opens after this many failures in a row. It starts closed, unless the destination is `suspected` because it failed in an earlier life
    /// of the lane: then it starts with a probe at this time, so that no restart costs events their attempts.
    pub fn new(opens_after: u32, suspected: Option<Instant>) -> Breaker {
        let open = |next_probe| BreakerState::Open { next_probe, pause: Duration::ZERO };
        Breaker { opens_after, state: suspected.map_or(BreakerState::HEALTHY, open) }
    }

    /// Returns whether attempts are made as usual.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, BreakerState::Closed { .. })
    }

    /// Returns when the next probe is due, if the breaker is open.
    pub fn next_probe(&self) -> Option<Instant> {
        match self.state {
            BreakerState::Closed { .. } => None,
            BreakerState::Open { next_probe, .. } => Some(next_probe),
        }
    }

    /// Records a success. Returns whether it closed the breaker.
    pub fn succeeded(&mut self) -> bool {
        let closes = !self.is_closed();
        self.state = BreakerState::HEALTHY;
        closes
    }

    /// Records a failure; `retry_after` is the pause that the destination asked for. Returns whether it opened the breaker,
    /// or confirmed what was suspected.
    pub fn failed(&mut self, now: Instant, retry_after: Duration) -> bool {
        let is_news = match self.state {
            BreakerState::Closed { .. } => true,
            BreakerState::Open { pause, .. } => pause.is_zero(),
        };
        match &mut self.state {
            BreakerState::Closed { failures_in_a_row, not_before } => {
                *failures_in_a_row += 1;
                *not_before = (*not_before).max(Some(now + retry_after));
                if *failures_in_a_row >= self.opens_after {
                    let next_probe = not_before.unwrap_or(now).max(now + FIRST_PAUSE);
                    self.state = BreakerState::Open { next_probe, pause: FIRST_PAUSE };
                }
            }
            // This attempt was already in flight when the breaker opened, so it says nothing new.
            BreakerState::Open { next_probe, .. } if now < *next_probe => {}
            BreakerState::Open { next_probe, pause } => {
                *pause = (*pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                *next_probe = now + *pause;
            }
        }
        if let BreakerState::Open { next_probe, .. } = &mut self.state {
            *next_probe = (*next_probe).max(now + retry_after);
        }
        is_news && !self.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Duration = Duration::ZERO;

    #[test]
    fn it_opens_after_failures_in_a_row_probes_ever_more_rarely_and_closes_on_success() {
        let now = Instant::now();
        let mut breaker = Breaker::new(OPENS_AFTER, None);

        assert!((1..OPENS_AFTER).all(|_| !breaker.failed(now, NONE)));
        assert!(!breaker.succeeded(), "it was closed");
        assert!((1..OPENS_AFTER).all(|_| !breaker.failed(now, NONE)), "a success starts the count again");
        assert!(breaker.failed(now, NONE) && !breaker.is_closed());
        assert_eq!(breaker.next_probe(), Some(now + FIRST_PAUSE));
        assert!(!breaker.failed(now, NONE));
        assert_eq!(breaker.next_probe(), Some(now + FIRST_PAUSE), "this one was in flight when it opened");
        let probed = now + FIRST_PAUSE;
        assert!(!breaker.failed(probed, NONE), "a failed probe does not open it again");
        assert_eq!(breaker.next_probe(), Some(probed + FIRST_PAUSE * 2));
        let last = (0..20).fold(probed, |_, _| {
            let probed = breaker.next_probe().unwrap();
            assert!(!breaker.failed(probed, NONE));
            probed
        });
        assert_eq!(breaker.next_probe(), Some(last + LONGEST_PAUSE));
        assert!(breaker.succeeded() && breaker.is_closed());
    }

    #[test]
    fn a_destination_that_is_suspected_is_probed_at_once_and_then_as_any_other() {
        let now = Instant::now();
        let mut breaker = Breaker::new(OPENS_AFTER, Some(now));

        assert_eq!(breaker.next_probe(), Some(now));
        assert!(breaker.failed(now, NONE), "it is news that it still fails");
        assert_eq!(breaker.next_probe(), Some(now + FIRST_PAUSE));
        assert!(!breaker.failed(now + FIRST_PAUSE, NONE));
        assert_eq!(breaker.next_probe(), Some(now + FIRST_PAUSE * 3));
        assert!(breaker.succeeded() && breaker.is_closed());
        assert!(Breaker::new(OPENS_AFTER, Some(now)).succeeded(), "a success closes it");
    }

    #[test]
    fn it_does_not_probe_before_the_time_that_the_destination_asked_for() {
        let (now, retry_after) = (Instant::now(), Duration::from_secs(90));
        let mut breaker = Breaker::new(OPENS_AFTER, None);

        // Only the first failure asks for it, and the others say no more of it.
        breaker.failed(now, retry_after);
        for _ in 1..OPENS_AFTER {
            breaker.failed(now, NONE);
        }

        assert_eq!(breaker.next_probe(), Some(now + retry_after));
        breaker.failed(now + retry_after, NONE);
        assert_eq!(breaker.next_probe(), Some(now + retry_after + FIRST_PAUSE * 2), "a Retry-After holds once");
    }
}
