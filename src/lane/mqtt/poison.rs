//! Finds a poison message: an event that the broker answers by ending the connection, and that would otherwise be sent again and again. In:
//! how connections end. Out: how many publishes may be in flight, and which event is poison. It never blames an event for a broker that is
//! down. A connection counts against an event only if the broker had just answered the status message on it and it then ended on this one
//! event, alone in flight; and it takes several such connections in a row, with growing pauses between them.

/// Isolates the events that may be poison by publishing them one at a time.
#[derive(Debug, Default)]
pub(super) struct PoisonIsolation {
    /// How many events are still to be published alone.
    left: usize,
    /// The id of the event that was alone in flight when a connection ended last.
    suspect: i64,
    /// How many connections in a row ended on that event.
    failures: u32,
}

/// How many connections must end on one event before the event and not the broker is held to be the trouble. With the pauses between
/// them this takes a few seconds at least; a broker that takes no event at all makes the pauses grow to half a minute.
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

    /// Notes that one event is settled: the broker took it or refused it, or it was found to be poison.
    pub(super) fn settled(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// Notes that the broker refused an event for now while `in_flight` were in flight. It gets one at a time until all of these are
    /// settled, so that it cannot take a later event before an earlier one a second time.
    pub(super) fn refused_for_now(&mut self, in_flight: usize) {
        self.left = self.left.max(in_flight);
    }

    /// Notes that a connection ended before the broker answered to any of the events in flight, given as their ids. Returns whether the
    /// first of them is poison.
    pub(super) fn connection_ended(&mut self, in_flight: impl ExactSizeIterator<Item = i64>, is_greeted: bool) -> bool {
        let count = in_flight.len();
        let Some(first) = in_flight.into_iter().next() else { return false };
        if self.left == 0 {
            // They left in one go with the status message, so they may be why it has no answer. To be slow for a while costs nothing.
            self.left = count;
            return false;
        }
        if !is_greeted {
            return false;
        }
        self.failures = if self.suspect == first { self.failures + 1 } else { 1 };
        self.suspect = first;
        self.failures >= FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_poison_after_five_connections_that_ended_on_it_alone() {
        let mut poison = PoisonIsolation::default();
        let found: Vec<bool> = std::iter::once(3)
            .chain([1; 5])
            .map(|in_flight| poison.connection_ended(vec![7; in_flight].into_iter(), true))
            .collect();

        assert_eq!(found, [false, false, false, false, false, true]);
        poison.settled();
        assert_eq!(poison.window(256, true), 1, "the two others are still to be tried alone");
        poison.settled();
        poison.settled();
        assert_eq!(poison.window(256, true), 256);
    }

    #[test]
    fn failures_of_different_events_do_not_add_up() {
        let mut poison = PoisonIsolation::default();
        poison.connection_ended([1, 2].into_iter(), true);

        let found: Vec<bool> = (0..20).map(|event| poison.connection_ended([event % 2].into_iter(), true)).collect();

        assert!(!found.contains(&true));
    }

    #[test]
    fn a_broker_that_is_down_counts_against_no_event() {
        let mut poison = PoisonIsolation::default();

        let found: Vec<bool> = (0..20).map(|_| poison.connection_ended([1].into_iter(), false)).collect();

        assert!(!found.contains(&true));
    }

    #[test]
    fn a_suspect_waits_until_the_broker_has_answered_the_status_message() {
        let mut poison = PoisonIsolation::default();
        assert_eq!(poison.window(256, false), 256);

        poison.connection_ended([1, 2].into_iter(), true);

        assert_eq!((poison.window(256, false), poison.window(256, true)), (0, 1));
    }
}
