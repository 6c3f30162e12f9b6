//! The breaker of a lane. In: how attempts end. Out: whether to go on, or to probe, and when. It never looks at a clock: times are
//! given to it.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row after which the destination, and not the event, is held to be the trouble.
pub const OPENS_AFTER: u32 = 5;
const FIRST_PROBE: Duration = Duration::from_secs(1);
const LAST_PROBE: Duration = Duration::from_secs(60);

/// Closed: all goes on. Open: one attempt at a time, at growing intervals, until one succeeds.
#[derive(Debug)]
pub struct Breaker {
    opens_after: u32,
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    next_probe: Instant,
    pause: Duration,
}

impl Breaker {
    /// A closed one, that opens after so many failures in a row.
    pub fn new(opens_after: u32) -> Breaker {
        Breaker { opens_after, failures: 0, open: None }
    }

    /// Whether attempts go on as usual.
    pub fn is_closed(&self) -> bool {
        self.open.is_none()
    }

    /// When the next probe is due, while the breaker is open.
    pub fn next_probe(&self) -> Option<Instant> {
        self.open.map(|open| open.next_probe)
    }

    /// An attempt succeeded. True when that closed the breaker.
    pub fn succeeded(&mut self) -> bool {
        self.failures = 0;
        self.open.take().is_some()
    }

    /// An attempt failed, and the destination asked for so much patience. True when that opened the breaker.
    pub fn failed(&mut self, now: Instant, asked: Duration) -> bool {
        self.failures = self.failures.saturating_add(1);
        let opens = match &mut self.open {
            // What was under way when the breaker opened says nothing new.
            Some(open) if now < open.next_probe => false,
            Some(open) => {
                open.pause = (open.pause * 2).min(LAST_PROBE);
                open.next_probe = now + open.pause;
                false
            }
            None if self.failures >= self.opens_after => {
                self.open = Some(Open { next_probe: now + FIRST_PROBE, pause: FIRST_PROBE });
                true
            }
            None => false,
        };
        if let Some(open) = &mut self.open {
            open.next_probe = open.next_probe.max(now + asked);
        }
        opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Duration = Duration::ZERO;

    #[test]
    fn it_opens_after_failures_in_a_row_probes_ever_more_rarely_and_closes_on_success() {
        let now = Instant::now();
        let mut breaker = Breaker::new(OPENS_AFTER);

        assert!((1..OPENS_AFTER).all(|_| !breaker.failed(now, NONE)));
        assert!(!breaker.succeeded(), "it was closed");
        assert!((1..OPENS_AFTER).all(|_| !breaker.failed(now, NONE)), "a success starts the count anew");
        assert!(breaker.failed(now, NONE) && !breaker.is_closed());
        assert_eq!(breaker.next_probe(), Some(now + FIRST_PROBE));
        assert!(!breaker.failed(now, NONE));
        assert_eq!(breaker.next_probe(), Some(now + FIRST_PROBE), "this one was under way when it opened");
        let probed = now + FIRST_PROBE;
        assert!(!breaker.failed(probed, NONE), "a failed probe does not open it again");
        assert_eq!(breaker.next_probe(), Some(probed + FIRST_PROBE * 2));
        let last = (0..20).fold(probed, |_, _| {
            let probed = breaker.next_probe().unwrap();
            assert!(!breaker.failed(probed, NONE));
            probed
        });
        assert_eq!(breaker.next_probe(), Some(last + LAST_PROBE));
        assert!(breaker.succeeded() && breaker.is_closed());
    }

    #[test]
    fn it_does_not_probe_before_the_time_that_the_destination_asked_for() {
        let (now, asked) = (Instant::now(), Duration::from_secs(90));
        let mut breaker = Breaker::new(OPENS_AFTER);

        for _ in 0..OPENS_AFTER {
            breaker.failed(now, asked);
        }

        assert_eq!(breaker.next_probe(), Some(now + asked));
        breaker.failed(now + asked, NONE);
        assert_eq!(breaker.next_probe(), Some(now + asked + FIRST_PROBE * 2), "what was asked for once holds once");
    }
}
