//! The database's clock. In: what the database said the time was, and when it was asked. Out: what it would say now. A daemon whose own
//! clock is off by an hour signs, retries and reports as if it were not. It never asks by itself.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use jiff::Timestamp;

/// Clones share what was heard.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<Mutex<Option<Heard>>>);

#[derive(Debug, Clone, Copy)]
struct Heard {
    time: Timestamp,
    at: Instant,
}

impl Clock {
    /// The database has told its time, at this moment.
    pub fn heard(&self, time: Timestamp, at: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Heard { time, at });
    }

    /// The time; that of this machine before the first word of the database.
    pub fn now(&self) -> Timestamp {
        let heard = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.map_or_else(Timestamp::now, |heard| later(heard.time, heard.at.elapsed()))
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_from_what_the_database_said() {
        let clock = Clock::default();
        let said: Timestamp = "2020-02-29T12:00:00Z".parse().unwrap();

        clock.clone().heard(said, Instant::now());

        let since = clock.now().duration_since(said);
        assert!((0..60).contains(&since.as_secs()), "{since:?}");
    }
}
