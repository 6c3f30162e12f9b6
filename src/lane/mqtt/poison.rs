//! Finds a poison message: an event that the broker answers by ending the connection or by an error that names no cause, and that would
//! otherwise be sent again and again. In: how connections end, and what the broker answers. Out: how many publishes may be in flight, and
//! which event comes next. It never blames an event for a broker that is in trouble: an event is poison only if it failed several times,
//! alone in flight, and the broker then took another event and failed on this one once more.

use crate::lane::mqtt::reason_code::Meaning;

/// Isolates the events that may be poison by publishing them one at a time.
#[derive(Debug, Default)]
pub(super) struct PoisonIsolation {
    /// How many events are still to be published alone.
    left: usize,
    /// The id of the event that failed last while it was alone in flight.
    suspect: i64,
    /// How many times in a row it failed.
    failures: u32,
    /// How many times in a row it failed without a word that clears it.
    unclear: u32,
    /// The broker took another event since.
    is_compared: bool,
    /// How many events were tried since the suspect was to be compared with others.
    turn: usize,
}

/// The event that is to be published next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// The first that waits.
    First,
    /// The suspect.
    Suspect(i64),
    /// One that may overtake the suspect, a different one each turn, or the suspect if there is none.
    Other {
        /// The suspect.
        suspect: i64,
        /// Which of them.
        turn: usize,
    },
}

/// How many times an event must fail before it is compared with others. With the pauses between them this takes a few seconds at least.
pub(super) const FAILURES: u32 = 5;

impl PoisonIsolation {
    /// Returns how many publishes may be in flight, of at most `window`. `is_greeted` says that the broker has answered the status message
    /// on this connection: no suspect is sent before that.
    pub(super) fn window(&self, window: usize, is_greeted: bool) -> usize {
        match (self.left, is_greeted) {
            (0, _) => window,
            (_, true) => 1,
            (_, false) => 0,
        }
    }

    /// Returns whether events are published one at a time.
    pub(super) fn is_active(&self) -> bool {
        self.left > 0
    }

    /// Returns the suspect, if it has failed so often that it is compared with others.
    pub(super) fn suspect(&self) -> Option<i64> {
        (self.is_active() && self.failures >= FAILURES).then_some(self.suspect)
    }

    /// Returns which event is to be published next.
    pub(super) fn choice(&self) -> Choice {
        match self.suspect() {
            None => Choice::First,
            Some(suspect) if self.is_compared || self.turn % 2 == 1 => Choice::Suspect(suspect),
            Some(suspect) => Choice::Other { suspect, turn: self.turn / 2 },
        }
    }

    /// Notes that an event is settled: the broker took it or refused it, or it was found to be poison.
    pub(super) fn settled(&mut self, event: i64, is_taken: bool) {
        match self.suspect() {
            Some(suspect) if suspect != event => {
                self.is_compared |= is_taken;
                self.turn += 1;
            }
            _ => {
                self.left = self.left.saturating_sub(1);
                if self.suspect == event {
                    self.forget();
                }
            }
        }
    }

    /// Notes that the suspect does not wait any more.
    pub(super) fn forget(&mut self) {
        (self.suspect, self.failures, self.unclear, self.is_compared) = (0, 0, 0, false);
    }

    /// Notes that `in_flight` events have no acknowledgement. They get one at a time until all of them are settled, so that the broker
    /// cannot take a later event before an earlier one a second time.
    pub(super) fn isolate(&mut self, in_flight: usize) {
        self.left = self.left.max(in_flight);
    }

    /// Notes that an event failed while it was alone in flight. Returns whether it is poison.
    pub(super) fn failed(&mut self, event: i64, meaning: Meaning) -> bool {
        if self.suspect().is_some_and(|suspect| suspect != event) {
            // The event with which the suspect was to be compared failed too, so nothing is known.
            self.turn += 1;
            return false;
        }
        if self.suspect != event {
            self.forget();
            self.suspect = event;
        }
        self.turn += 1;
        self.failures += 1;
        self.unclear += u32::from(meaning == Meaning::Unclear);
        let was_compared = std::mem::take(&mut self.is_compared);
        was_compared && meaning == Meaning::Unclear && self.unclear > FAILURES
    }

    /// Returns the reason that is given for a poison message, whose last failure had this one.
    pub(super) fn reason(last: &str) -> String {
        format!("the broker took others, and failed on it alone more than {FAILURES} times; the last: {last}")
    }

    /// Notes that a connection ended before the broker answered to any of the events in flight, given as their ids. Returns whether the
    /// first of them is poison.
    pub(super) fn connection_ended(
        &mut self,
        in_flight: impl ExactSizeIterator<Item = i64>,
        is_greeted: bool,
        meaning: Meaning,
    ) -> bool {
        let count = in_flight.len();
        let is_poison = match in_flight.into_iter().next() {
            // They left in one go with the status message, so they may be why it has no answer. To be slow for a while costs nothing.
            Some(_) if self.left == 0 => {
                self.left = count;
                false
            }
            Some(first) if is_greeted => self.failed(first, meaning),
            _ => false,
        };
        self.is_compared = false;
        is_poison
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes an isolation in which this event, of as many, has failed as often as it takes to compare it.
    fn suspecting(event: i64, in_flight: usize, meaning: Meaning) -> PoisonIsolation {
        let mut poison = PoisonIsolation::default();
        poison.isolate(in_flight);
        for _ in 0..FAILURES {
            assert!(!poison.failed(event, meaning));
        }
        assert_eq!(poison.suspect(), Some(event));
        poison
    }

    #[test]
    fn an_event_is_poison_once_the_broker_has_taken_another_and_fails_on_it_again() {
        let mut poison = suspecting(7, 3, Meaning::Unclear);

        poison.settled(8, true);
        assert_eq!(poison.choice(), Choice::Suspect(7));
        assert!(poison.failed(7, Meaning::Unclear));

        poison.settled(7, false);
        assert_eq!(poison.window(256, true), 1, "the two others are still to be tried alone");
        poison.settled(8, true);
        poison.settled(9, true);
        assert_eq!(poison.window(256, true), 256);
    }

    #[test]
    fn no_event_is_poison_as_long_as_the_broker_takes_no_other() {
        let mut poison = suspecting(7, 1, Meaning::Unclear);

        for _ in 0..100 {
            let event = if let Choice::Suspect(event) = poison.choice() { event } else { 8 };
            assert!(!poison.connection_ended([event].into_iter(), true, Meaning::Unclear));
        }
    }

    #[test]
    fn a_reason_that_is_the_brokers_never_makes_an_event_poison() {
        let mut poison = suspecting(7, 1, Meaning::Broker);

        for _ in 0..100 {
            poison.settled(8, true);
            assert!(!poison.failed(7, Meaning::Broker));
        }
        poison.settled(8, true);
        assert!(!poison.failed(7, Meaning::Unclear), "one unclear failure among them is not enough");
    }

    #[test]
    fn a_comparison_does_not_outlast_its_connection() {
        let mut poison = suspecting(7, 1, Meaning::Unclear);

        poison.settled(8, true);
        assert!(!poison.connection_ended([].into_iter(), true, Meaning::Unclear));

        assert!(!poison.connection_ended([7].into_iter(), true, Meaning::Unclear));
    }

    #[test]
    fn suspect_and_others_take_turns_and_each_other_has_its_turn() {
        let mut poison = suspecting(7, 1, Meaning::Unclear);
        let mut choices = Vec::new();
        for _ in 0..6 {
            choices.push(poison.choice());
            let event = if let Choice::Suspect(event) = poison.choice() { event } else { 8 };
            poison.failed(event, Meaning::Unclear);
        }

        let others: Vec<usize> = choices
            .iter()
            .filter_map(|it| if let Choice::Other { turn, .. } = it { Some(*turn) } else { None })
            .collect();
        assert_eq!(choices.iter().filter(|it| **it == Choice::Suspect(7)).count(), 3);
        assert_eq!(others.iter().map(|turn| turn - others[0]).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn an_event_that_is_taken_after_all_clears_the_suspicion() {
        let mut poison = suspecting(7, 1, Meaning::Unclear);

        poison.settled(7, true);

        assert_eq!((poison.choice(), poison.window(256, true)), (Choice::First, 256));
    }

    #[test]
    fn failures_of_different_events_do_not_add_up() {
        let mut poison = PoisonIsolation::default();
        poison.connection_ended([1, 2].into_iter(), true, Meaning::Unclear);

        for turn in 0..20 {
            poison.connection_ended([turn % 2 + 1].into_iter(), true, Meaning::Unclear);
            assert_eq!(poison.suspect(), None);
        }
    }

    #[test]
    fn a_broker_that_is_down_counts_against_no_event() {
        let mut poison = PoisonIsolation::default();

        for _ in 0..20 {
            poison.connection_ended([1].into_iter(), false, Meaning::Unclear);
        }

        assert_eq!(poison.suspect(), None);
    }

    #[test]
    fn a_suspect_waits_until_the_broker_has_answered_the_status_message() {
        let mut poison = PoisonIsolation::default();
        assert_eq!(poison.window(256, false), 256);

        poison.connection_ended([1, 2].into_iter(), true, Meaning::Unclear);

        assert_eq!((poison.window(256, false), poison.window(256, true)), (0, 1));
    }
}
