//! Decides what the log says of a destination that takes nothing, so that one which comes and goes does not fill it. In: why it takes nothing, and
//! when it takes something again. Out: what is news. The lane's state does not wait for that: it says at each time what is so.

use std::time::Duration;

use tokio::time::Instant;

use crate::lane::repeats::is_told;

/// The trouble with one destination.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// Why the destination takes nothing; empty while it does.
    reason: String,
    /// The reasons that the log was told since the destination was last well.
    told: Vec<String>,
    /// How often it has stopped taking anything since then, or has given another reason.
    times: u64,
    /// Since when it takes something again, until that is told.
    well_since: Option<Instant>,
}

/// A trouble that is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Over {
    /// The first reason.
    pub(super) was: String,
    /// How often there was one.
    pub(super) times: u64,
}

/// A destination that has taken what it gets for so long is well.
const WELL: Duration = Duration::from_secs(30);
/// So many different reasons are told as soon as each is there.
const REASONS: usize = 8;

impl Trouble {
    /// Notes that the destination takes nothing for this reason. Returns how often that was so since it was well, if that is to be told: a reason that goes
    /// on is told once, and one that comes back at growing distances.
    pub(super) fn is(&mut self, reason: &str) -> Option<u64> {
        if self.reason == reason {
            return None;
        }
        reason.clone_into(&mut self.reason);
        self.well_since = None;
        self.times += 1;
        let is_new = self.told.len() < REASONS && !self.told.iter().any(|told| told == reason);
        if is_new {
            self.told.push(reason.to_owned());
        }
        (is_new || is_told(self.times)).then_some(self.times)
    }

    /// Notes that the destination takes something.
    pub(super) fn passes(&mut self, now: Instant) {
        if self.is_there() {
            self.reason.clear();
            self.well_since = Some(now);
        }
    }

    /// Returns what is over, once the destination has been well for a while.
    pub(super) fn over(&mut self, now: Instant) -> Option<Over> {
        self.well_since.filter(|since| now.duration_since(*since) >= WELL)?;
        let Trouble { told, times, .. } = std::mem::take(self);
        Some(Over { was: told.into_iter().next().unwrap_or_default(), times })
    }

    /// Returns whether the destination took nothing when that was last tried.
    pub(super) fn is_there(&self) -> bool {
        !self.reason.is_empty()
    }

    /// Returns whether [`Trouble::over`] will have something to say soon.
    pub(super) fn may_be_over(&self) -> bool {
        self.well_since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_that_comes_and_goes_is_told_at_growing_distances_and_its_end_once() {
        let (mut trouble, mut now) = (Trouble::default(), Instant::now());
        let mut told = Vec::new();
        for _ in 0..170 {
            told.extend(trouble.is("closed"));
            told.extend(trouble.is("closed"));
            assert!(trouble.is_there());
            now += Duration::from_millis(100);
            trouble.passes(now);
            assert!(!trouble.is_there());
            now += WELL / 2;
            assert_eq!(trouble.over(now), None);
        }

        assert_eq!(told, [1, 10, 100]);
        now += WELL / 2;
        assert_eq!(trouble.over(now), Some(Over { was: "closed".to_owned(), times: 170 }));
        assert_eq!((trouble.over(now), trouble.may_be_over()), (None, false));
        assert_eq!(trouble.is("closed"), Some(1), "the next trouble is another one");
    }

    #[test]
    fn another_reason_is_news_but_not_if_it_is_another_one_each_time() {
        let mut trouble = Trouble::default();
        assert_eq!(
            (trouble.is("closed"), trouble.is("wrong password"), trouble.is("closed")),
            (Some(1), Some(2), None)
        );

        let told = (0..997).filter_map(|number| trouble.is(&number.to_string())).count();

        assert_eq!(told, REASONS - 2 + 3, "the tenth, the hundredth and the thousandth");
    }
}
