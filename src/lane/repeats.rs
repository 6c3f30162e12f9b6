//! Decides when the log tells of what happens again and again: the first time, the tenth, the hundredth and so on. In: each time that it happens.
//! Out: the number, if it is to be told. What has not happened for a while is told from the first time again.

use std::time::Duration;

use tokio::time::Instant;

/// After so long without it, the next time is the first.
const CALM: Duration = Duration::from_secs(600);

/// How often something has happened.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    times: u64,
    last: Option<Instant>,
}

impl Repeats {
    /// Notes that it happens. Returns how often it has happened, if that is to be told.
    pub(super) fn again(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) >= CALM) {
            self.times = 0;
        }
        (self.times, self.last) = (self.times + 1, Some(now));
        is_told(self.times).then_some(self.times)
    }
}

/// Returns whether so many times are told.
pub(super) fn is_told(times: u64) -> bool {
    times.checked_ilog10().is_some_and(|digits| times == 10u64.pow(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_a_million_times_is_told_seven_times_and_after_a_calm_anew() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());

        let told: Vec<u64> = (0..1_000_000).filter_map(|_| repeats.again(now)).collect();

        assert_eq!(told, [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000]);
        assert_eq!(repeats.again(now + CALM - Duration::from_secs(1)), None);
        assert_eq!(repeats.again(now + CALM + CALM), Some(1));
    }
}
