//! The pace of a publisher whose row limits its rate. In: the times of its publishes. Out: when the next one may leave. Without a limit it
//! never looks at the time. A lane that has less to do than its rate allows is not held up by it.

use std::time::Duration;

use tokio::time::Instant;

/// Spaces publishes out.
#[derive(Debug)]
pub(super) struct Pace {
    /// The time between two publishes, if there is a limit.
    gap: Option<Duration>,
    /// When the next publish is due at an even pace.
    due: Instant,
}

/// How far publishes may run ahead of an even pace, so that a fast lane does not wake for each of them.
const AHEAD: Duration = Duration::from_millis(50);

impl Pace {
    /// Makes the pace for a number of events per second.
    pub(super) fn new(rate: Option<u32>, now: Instant) -> Pace {
        Pace { gap: rate.map(|rate| Duration::from_secs(1) / rate.max(1)), due: now }
    }

    /// Returns when the next publish may leave, if that is later than `now`, which is looked at only if there is a limit.
    pub(super) fn waits_until(&self, now: impl FnOnce() -> Instant) -> Option<Instant> {
        self.gap?;
        let next = self.due.checked_sub(AHEAD)?;
        (next > now()).then_some(next)
    }

    /// Notes that an event leaves.
    pub(super) fn leaves(&mut self, now: impl FnOnce() -> Instant) {
        if let Some(gap) = self.gap {
            self.due = self.due.max(now()) + gap;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_leave_at_the_rate_and_at_most_a_little_ahead_of_it() {
        for (rate, at_once) in [(1, 1), (10, 1), (1_000, 51)] {
            let start = Instant::now();
            let (mut pace, mut now) = (Pace::new(Some(rate), start), start);
            let mut left = Vec::new();
            while left.len() < 2_000 {
                now = pace.waits_until(|| now).unwrap_or(now);
                pace.leaves(|| now);
                left.push(now - start);
            }
            assert_eq!(left.iter().filter(|at| at.is_zero()).count(), at_once, "{rate}");
            let even = Duration::from_secs(1_999) / rate;
            let took = *left.last().unwrap();
            assert!(took <= even && took + AHEAD >= even, "{rate}: {took:?}");
        }
    }

    #[test]
    fn what_was_not_used_is_not_saved_up() {
        let start = Instant::now();
        let (mut pace, later) = (Pace::new(Some(10), start), start + Duration::from_secs(3_600));

        let mut at_once = 0;
        while pace.waits_until(|| later).is_none() {
            pace.leaves(|| later);
            at_once += 1;
        }

        assert_eq!(at_once, 1);
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let now = Instant::now();
        let mut pace = Pace::new(None, now);
        for _ in 0..1_000 {
            pace.leaves(|| now);
            assert_eq!(pace.waits_until(|| now), None);
        }
    }
}
