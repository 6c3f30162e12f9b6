//! Estimates how many writers are between their event and the end of their commit at the same time. In: the age of each event when it was
//! read, by the server's clock. Out: whether too many commit at once, so that NOTIFY, which makes them commit one after the other, would
//! cost them something. The estimate is a number of writers and not a rate, so that it holds for fast disks and slow ones.

use std::time::Duration;

use tokio::time::Instant;

/// A moving average of the number of writers that commit at the same time.
#[derive(Debug)]
pub(super) struct ConcurrentWriters {
    average: f64,
    /// When `average` was right; it decays from there.
    updated: Instant,
}

/// How long the average remembers. One slow write to the disk, which holds up everybody for some milliseconds, must not look like many
/// writers.
const MEMORY: Duration = Duration::from_millis(120);
/// The thresholds, in writers. Two that write without a pause are already many: left alone, they commit together and share a write to disk.
const MANY: f64 = 1.5;
const FEW: f64 = 0.75;
/// The average never exceeds this, so that a single commit of a thousand events is forgotten soon: live events have to wait for the next
/// poll until it is.
const MOST: f64 = 2.0;

impl ConcurrentWriters {
    pub(super) fn new(now: Instant) -> ConcurrentWriters {
        ConcurrentWriters { average: 0.0, updated: now }
    }

    /// Takes in events that were read at these ages, in seconds. By Little's law the ages of all events of a period, divided by the period,
    /// are its average number of writers: one that takes a millisecond, a thousand times in a second, is always there.
    pub(super) fn record(&mut self, now: Instant, ages: impl IntoIterator<Item = f64>) {
        let memory = MEMORY.as_secs_f64();
        let ages: f64 = ages.into_iter().map(|age| age.clamp(0.0, memory)).sum();
        self.average = (self.average_at(now) + ages / memory).min(MOST);
        self.updated = now;
    }

    /// Returns whether writers had better commit without a NOTIFY.
    pub(super) fn are_many(&self, now: Instant) -> bool {
        self.average_at(now) > MANY
    }

    /// Returns whether a NOTIFY in each commit costs the writers nothing.
    pub(super) fn are_few(&self, now: Instant) -> bool {
        self.average_at(now) < FEW
    }

    fn average_at(&self, now: Instant) -> f64 {
        self.average * (-now.saturating_duration_since(self.updated).div_duration_f64(MEMORY)).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One second of commits at this rate, each of which takes this many seconds.
    fn writers(rate: u32, duration: f64) -> (ConcurrentWriters, Instant) {
        let mut now = Instant::now();
        let mut writers = ConcurrentWriters::new(now);
        for _ in 0..rate {
            now += Duration::from_secs(1) / rate;
            writers.record(now, [duration]);
        }
        (writers, now)
    }

    #[test]
    fn writers_are_counted_alike_on_fast_and_slow_disks() {
        let fast = writers(1000, 0.0004);
        let slow = writers(100, 0.004);
        let busy = writers(5000, 0.0006);
        let slow_and_busy = writers(250, 0.016);

        assert!(fast.0.are_few(fast.1) && slow.0.are_few(slow.1));
        assert!(busy.0.are_many(busy.1) && slow_and_busy.0.are_many(slow_and_busy.1));
    }

    #[test]
    fn one_slow_write_to_the_disk_does_not_make_many_of_those_that_it_holds_up() {
        let (mut writers, now) = writers(1000, 0.0004);

        writers.record(now, std::iter::repeat_n(0.008, 8));

        assert!(!writers.are_many(now));
    }

    #[test]
    fn a_large_commit_is_soon_forgotten() {
        let now = Instant::now();
        let mut writers = ConcurrentWriters::new(now);

        writers.record(now, std::iter::repeat_n(3600.0, 10_000));

        assert!(writers.are_many(now));
        assert!(writers.are_few(now + MEMORY));
    }
}
