//! How many writers are between their event and the end of their commit, on average of late. In: the age of each event when it was read,
//! by the server's clock. Out: whether so many commit at once that NOTIFY, which lets them do so one after the other, would cost them
//! something. It counts in writers, so that it is right for a fast disk and for a slow one.

use std::time::Duration;

use tokio::time::Instant;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Crowd {
    writers: f64,
    at: Instant,
}

/// Over how long is averaged: one slow write to the disk, which holds up everybody for some milliseconds, makes no crowd.
const MEMORY: Duration = Duration::from_millis(120);
/// So many are a crowd, and so few are none. Two who write without a pause are one: together they would commit with half the writes to disk.
const MANY: f64 = 1.5;
const FEW: f64 = 0.75;
/// A commit of a thousand events is forgotten as soon as a crowd of so many writers: until then live events wait for the tail's next look.
const MOST: f64 = 2.0;

impl Crowd {
    pub(crate) fn new(now: Instant) -> Crowd {
        Crowd { writers: 0.0, at: now }
    }

    /// Events were read, at these ages in seconds. By Little's law the ages of all events of a time add up to its writers: who takes a
    /// millisecond, a thousand times in a second, is always there.
    pub(crate) fn saw(&mut self, now: Instant, ages: impl Iterator<Item = f64>) {
        let memory = MEMORY.as_secs_f64();
        let ages: f64 = ages.map(|age| age.clamp(0.0, memory)).sum();
        self.writers = (self.now(now) + ages / memory).min(MOST);
        self.at = now;
    }

    /// Whether writers had better be silent.
    pub(crate) fn is_many(&self, now: Instant) -> bool {
        self.now(now) > MANY
    }

    /// Whether they may as well ring.
    pub(crate) fn is_few(&self, now: Instant) -> bool {
        self.now(now) < FEW
    }

    fn now(&self, now: Instant) -> f64 {
        self.writers * (-now.saturating_duration_since(self.at).div_duration_f64(MEMORY)).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One second of commits at this rate, each of which takes so long.
    fn crowd(rate: u32, took: f64) -> (Crowd, Instant) {
        let mut now = Instant::now();
        let mut crowd = Crowd::new(now);
        for _ in 0..rate {
            now += Duration::from_secs(1) / rate;
            crowd.saw(now, [took].into_iter());
        }
        (crowd, now)
    }

    #[test]
    fn it_is_counted_in_writers_whatever_the_disk() {
        let fast = crowd(1000, 0.0004);
        let slow = crowd(100, 0.004);
        let busy = crowd(5000, 0.0006);
        let slow_and_busy = crowd(250, 0.016);

        assert!(fast.0.is_few(fast.1) && slow.0.is_few(slow.1));
        assert!(busy.0.is_many(busy.1) && slow_and_busy.0.is_many(slow_and_busy.1));
    }

    #[test]
    fn one_slow_write_to_the_disk_makes_no_crowd_of_those_whom_it_holds_up() {
        let (mut crowd, now) = crowd(1000, 0.0004);

        crowd.saw(now, std::iter::repeat_n(0.008, 8));

        assert!(!crowd.is_many(now));
    }

    #[test]
    fn a_large_commit_is_soon_forgotten() {
        let now = Instant::now();
        let mut crowd = Crowd::new(now);

        crowd.saw(now, std::iter::repeat_n(3600.0, 10_000));

        assert!(crowd.is_many(now));
        assert!(crowd.is_few(now + MEMORY));
    }
}
