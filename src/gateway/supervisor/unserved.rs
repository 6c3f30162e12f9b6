//! Lanes that nobody serves although another daemon should. In: which ones these are at each look. Out: when to look again. It never looks at a
//! clock: the time is passed in.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::destination::LaneName;

/// The lanes that nobody served at the last look. Daemons look at different moments, so that each may have left one to another, and no
/// notification tells either of it.
#[derive(Debug, Default)]
pub(super) struct Unserved {
    lanes: BTreeSet<LaneName>,
    /// When the last one was added.
    since: Option<Instant>,
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Unserved {
    /// Takes in which lanes nobody serves. Returns how long to wait before the next look, if there are any. They wait as long again as they
    /// have waited, because one whose daemon cannot take it may stay so for long, and a look at ten thousand destinations is not cheap.
    pub(super) fn next_look(&mut self, lanes: BTreeSet<LaneName>, now: Instant) -> Option<Duration> {
        let are_known = lanes.is_subset(&self.lanes);
        let since = self.since.filter(|_| are_known).unwrap_or(now);
        (self.lanes, self.since) = (lanes, Some(since));
        (!self.lanes.is_empty()).then(|| now.saturating_duration_since(since).clamp(FIRST_PAUSE, LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(names: &[&str]) -> BTreeSet<LaneName> {
        names.iter().map(|name| LaneName((*name).to_owned())).collect()
    }

    #[test]
    fn a_lane_that_nobody_serves_is_looked_after_ever_more_rarely_until_another_one_is_there() {
        let (mut unserved, mut now) = (Unserved::default(), Instant::now());
        assert_eq!(unserved.next_look(lanes(&[]), now), None);
        now += 10 * LONGEST_PAUSE;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let pause = unserved.next_look(lanes(&["stuck"]), now).unwrap();
            pauses.push(pause.as_secs());
            now += pause;
        }

        assert_eq!(pauses, [1, 1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(unserved.next_look(lanes(&["new", "stuck"]), now), Some(FIRST_PAUSE));
        assert_eq!(unserved.next_look(lanes(&["stuck"]), now + FIRST_PAUSE), Some(FIRST_PAUSE));
        assert_eq!(unserved.next_look(lanes(&[]), now), None);
        assert_eq!(unserved.next_look(lanes(&["stuck"]), now + LONGEST_PAUSE), Some(FIRST_PAUSE));
    }
}
