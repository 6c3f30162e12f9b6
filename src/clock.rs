//! The database's clock. In: the time that the database reported, and when it was asked. Out: the time that it would report now. A daemon
//! whose own clock is off by an hour signs, retries and reports as if it were right. It never asks the database itself.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use jiff::Timestamp;

/// A clock that runs on from the database's last reading. Clones share that reading.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<Mutex<Option<Reading>>>);

#[derive(Debug, Clone, Copy)]
struct Reading {
    time: Timestamp,
    read_at: Instant,
}

impl Clock {
    /// Sets the clock to the time that the database reported at this moment.
    pub fn set(&self, time: Timestamp, read_at: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Reading { time, read_at });
    }

    /// Returns the time of the database, or that of this machine until the database has reported its own.
    pub fn now(&self) -> Timestamp {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.map_or_else(Timestamp::now, |last| later(last.time, last.read_at.elapsed()))
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_from_the_time_that_the_database_reported() {
        let clock = Clock::default();
        let told: Timestamp = "2020-02-29T12:00:00Z".parse().unwrap();

        clock.clone().set(told, Instant::now());

        let since = clock.now().duration_since(told);
        assert!((0..60).contains(&since.as_secs()), "{since:?}");
    }
}
