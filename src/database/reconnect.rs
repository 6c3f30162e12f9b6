//! What to do when a session could not be opened, or was lost. In: each such moment and its cause. Out: how long to wait before the next
//! attempt, and whether the cause is news. A session that lived only a moment does not make the next attempt come sooner, or a server that
//! lets everybody in and then refuses the first statement would be asked without a pause.

use std::time::Duration;

use backon::BackoffBuilder as _;
use backon::ExponentialBackoff;
use backon::ExponentialBuilder;
use tokio::time::Instant;

const SHORTEST: Duration = Duration::from_millis(100);
/// A session that lasted for this long was a good one, however it ended.
const MOMENT: Duration = Duration::from_secs(2);

/// The history of one session that is opened again and again.
#[derive(Debug)]
pub struct Reconnect {
    longest: Duration,
    pauses: ExponentialBackoff,
    /// The cause that was told last, until the session stands again.
    told: Option<String>,
    opened: Option<Instant>,
}

/// What to do after a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How long to wait before the next attempt.
    pub pause: Duration,
    /// Whether nobody was told of this cause since the session last stood.
    pub is_news: bool,
}

impl Reconnect {
    /// Starts without a history. No pause will be longer than this.
    pub fn new(longest: Duration) -> Reconnect {
        Reconnect { longest, pauses: pauses(longest), told: None, opened: None }
    }

    /// Records that the session stands, or still stands. Returns whether it is back after a trouble that was told.
    pub fn opened(&mut self, now: Instant) -> bool {
        self.opened.get_or_insert(now);
        self.told.take().is_some()
    }

    /// Records that the session could not be opened, or was lost.
    pub fn failed(&mut self, now: Instant, cause: &str) -> Failure {
        if self.opened.take().is_some_and(|opened| now - opened >= MOMENT) {
            self.pauses = pauses(self.longest);
        }
        let is_news = self.told.as_deref() != Some(cause);
        self.told = Some(cause.to_owned());
        Failure { pause: self.pauses.next().unwrap_or(self.longest), is_news }
    }
}

/// The pauses get longer, and are different for each daemon, so that they do not all come back at the same moment: up to as much again is
/// added to each at random.
fn pauses(longest: Duration) -> ExponentialBackoff {
    let pauses = ExponentialBuilder::default().with_jitter().with_min_delay(SHORTEST).with_max_delay(longest / 2);
    pauses.without_max_times().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(10);

    #[test]
    fn each_loss_is_told_and_a_cause_that_goes_on_is_told_once() {
        let (mut reconnect, now) = (Reconnect::new(LONGEST), Instant::now());
        assert!(!reconnect.opened(now));

        let lost = reconnect.failed(now, "the connection was closed").is_news;
        let away = [0; 3].map(|_| reconnect.failed(now, "connection refused").is_news);
        let back = reconnect.opened(now);
        let lost_again = reconnect.failed(now, "connection refused").is_news;

        assert_eq!((lost, away, back, lost_again), (true, [true, false, false], true, true));
    }

    #[test]
    fn a_session_that_lives_a_moment_does_not_end_the_pauses_and_a_healthy_one_does() {
        let (mut reconnect, mut now) = (Reconnect::new(LONGEST), Instant::now());
        let mut pause = Duration::ZERO;
        for _ in 0..20 {
            reconnect.opened(now);
            now += MOMENT / 2;
            pause = reconnect.failed(now, "permission denied").pause;
        }
        assert!((LONGEST / 2..=LONGEST).contains(&pause), "{pause:?}");

        reconnect.opened(now);
        let healthy = reconnect.failed(now + MOMENT, "the connection was closed");

        assert!(healthy.pause <= SHORTEST * 2, "{healthy:?}");
    }
}
