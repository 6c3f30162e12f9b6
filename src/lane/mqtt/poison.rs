//! Finds the event that a broker cannot take: one that answers it by ending the connection would otherwise be sent it for ever. In: how
//! connections end. Out: how many publishes may be in flight, and which event is guilty. It never blames an event for a broker that is
//! down: only a connection on which the broker has just answered the status message, and that then ended on this one event, alone in
//! flight, counts against the event; and it takes several in a row, apart by the growing pauses between connections.

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// Events to publish alone.
    left: usize,
    /// The one that was alone when a connection ended, and how often that was.
    strikes: (i64, u32),
}

/// Connections that must end on one event before the event and not the broker is held to be the trouble. With the pauses between
/// them these are a few seconds at least; a broker that takes no event at all makes the pauses grow to half a minute.
pub(super) const STRIKES: u32 = 5;

impl Suspects {
    /// How many publishes may be in flight, of `most`; `is_welcome`: the broker has answered the status message on this connection.
    pub(super) fn window(&self, most: usize, is_welcome: bool) -> usize {
        match (self.left, is_welcome) {
            (0, _) => most,
            (_, true) => 1,
            (_, false) => 0,
        }
    }

    /// Whether events are published one by one.
    pub(super) fn are_any(&self) -> bool {
        self.left > 0
    }

    /// The broker answered to an event, or the event was found guilty and put away.
    pub(super) fn answered(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// The broker refused one of so many for now: until it has answered to all of them it gets one at a time, so that it cannot take an
    /// event before an earlier one again.
    pub(super) fn refused_for_now(&mut self, in_flight: usize) {
        self.left = self.left.max(in_flight);
    }

    /// A connection ended without an answer to any of the events in flight. True: the first of them is guilty.
    pub(super) fn connection_ended(&mut self, in_flight: impl ExactSizeIterator<Item = i64>, is_welcome: bool) -> bool {
        let count = in_flight.len();
        let Some(first) = in_flight.into_iter().next() else { return false };
        if self.left == 0 {
            // Sent in one go with the status message, they may have kept its answer from us: being slow for a while costs nothing.
            self.left = count;
            return false;
        }
        if !is_welcome {
            return false;
        }
        let (suspect, strikes) = self.strikes;
        self.strikes = if suspect == first { (suspect, strikes + 1) } else { (first, 1) };
        self.strikes.1 >= STRIKES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_guilty_after_five_connections_that_ended_on_it_alone() {
        let mut suspects = Suspects::default();
        let verdicts: Vec<bool> = std::iter::once(3)
            .chain([1; 5])
            .map(|in_flight| suspects.connection_ended(vec![7; in_flight].into_iter(), true))
            .collect();

        assert_eq!(verdicts, [false, false, false, false, false, true]);
        suspects.answered();
        assert_eq!(suspects.window(256, true), 1, "the two others are still to be tried alone");
        suspects.answered();
        suspects.answered();
        assert_eq!(suspects.window(256, true), 256);
    }

    #[test]
    fn strikes_of_different_events_do_not_add_up() {
        let mut suspects = Suspects::default();
        suspects.connection_ended([1, 2].into_iter(), true);

        let verdicts: Vec<bool> =
            (0..20).map(|event| suspects.connection_ended([event % 2].into_iter(), true)).collect();

        assert!(!verdicts.contains(&true));
    }

    #[test]
    fn a_broker_that_is_down_is_no_strike() {
        let mut suspects = Suspects::default();

        let verdicts: Vec<bool> = (0..20).map(|_| suspects.connection_ended([1].into_iter(), false)).collect();

        assert!(!verdicts.contains(&true));
    }

    #[test]
    fn a_suspect_waits_until_the_broker_has_answered_something_else() {
        let mut suspects = Suspects::default();
        assert_eq!(suspects.window(256, false), 256);

        suspects.connection_ended([1, 2].into_iter(), true);

        assert_eq!((suspects.window(256, false), suspects.window(256, true)), (0, 1));
    }
}
