//! Lanes whose tasks have failed by a fault of Andon's own. In: which lane failed, and when. Out: when it may be started again. It never
//! looks at a clock: the time is passed in.

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::future::FutureExt as _;
use tokio::time::Instant;

use crate::destination::LaneName;

/// The lanes that have failed, until they have run for a while.
#[derive(Debug, Default)]
pub(super) struct Failures(HashMap<LaneName, Failure>);

#[derive(Debug)]
struct Failure {
    in_a_row: u32,
    again_at: Instant,
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A lane that fails this long after it was started again has not failed for the same reason.
const HEALTHY_AFTER: Duration = Duration::from_secs(300);

impl Failures {
    /// Records that a lane has failed. Returns how long it is left alone.
    pub(super) fn record(&mut self, lane: LaneName, now: Instant) -> Duration {
        let failure = self.0.entry(lane).or_insert(Failure { in_a_row: 0, again_at: now });
        if now.saturating_duration_since(failure.again_at) > HEALTHY_AFTER {
            failure.in_a_row = 0;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << failure.in_a_row.min(6)).min(LONGEST_PAUSE);
        failure.in_a_row += 1;
        failure.again_at = now + pause;
        pause
    }

    /// Returns whether the lane is not to be started yet.
    pub(super) fn holds_back(&self, lane: &LaneName, now: Instant) -> bool {
        self.0.get(lane).is_some_and(|failure| now < failure.again_at)
    }

    /// Returns when the next lane may be started again, and forgets those that have been well for long.
    pub(super) fn next(&mut self, now: Instant) -> Option<Instant> {
        self.0.retain(|_, failure| now < failure.again_at + HEALTHY_AFTER);
        self.0.values().map(|failure| failure.again_at).filter(|again| *again > now).min()
    }
}

/// Runs a lane's task. Returns its outcome, or what it said when it failed: a failure of one lane must not end the others.
pub(super) async fn caught<T>(task: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(task).catch_unwind().await.map_err(|panic| message(&*panic).to_owned())
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_says_so_and_ends_nobody_else() {
        let failing = async {
            tokio::task::yield_now().await;
            panic!("index {} out of range", 7)
        };

        let (failed, done) = tokio::join!(caught::<()>(failing), caught(async { 1 }));

        assert_eq!((failed, done), (Err("index 7 out of range".to_owned()), Ok(1)));
    }

    #[test]
    fn a_lane_that_fails_again_and_again_is_started_ever_more_rarely() {
        let (lane, mut now) = (LaneName("lane".to_owned()), Instant::now());
        let mut failures = Failures::default();

        let pauses: Vec<u64> = (0..9)
            .map(|_| {
                let pause = failures.record(lane.clone(), now);
                assert!(failures.holds_back(&lane, now) && failures.next(now) == Some(now + pause));
                now += pause;
                assert!(!failures.holds_back(&lane, now));
                pause.as_secs()
            })
            .collect();

        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        now += HEALTHY_AFTER * 2;
        assert_eq!(failures.record(lane, now), FIRST_PAUSE);
    }
}
