//! Decides which events are dead letters: events that their broker will never take. In: what the broker took and refused. Out: dead
//! letters, to be parked dead so that the other events go on. It never makes one dead letter after the other of the events for a broker
//! that takes none: then the broker is the trouble, and not the events.

use std::mem;

use crate::lane::delivery::Delivery;

/// Counts dead letters in a row, and withholds those that are too many.
#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    /// How many events became dead letters since the broker took one.
    in_a_row: u32,
    /// The events that were refused after those, oldest first. They become dead letters when the broker takes another event, and are sent
    /// again if it takes none.
    withheld: Vec<DeadLetter>,
}

/// An event that its broker does not take.
#[derive(Debug)]
pub(super) struct DeadLetter {
    pub(super) delivery: Delivery,
    pub(super) reason: String,
}

/// How many events may become dead letters in a row while the broker takes none.
const IN_A_ROW: u32 = 3;

impl DeadLetters {
    /// Notes that the broker took an event. Returns those that were withheld: they, and not the broker, were the trouble.
    pub(super) fn accepted(&mut self) -> Vec<DeadLetter> {
        self.in_a_row = 0;
        mem::take(&mut self.withheld)
    }

    /// Notes that the broker will never take an event. Returns it if it is a dead letter, and withholds it otherwise.
    pub(super) fn refused(&mut self, letter: DeadLetter) -> Option<DeadLetter> {
        if self.allow_one() {
            return Some(letter);
        }
        self.withheld.push(letter);
        None
    }

    /// Returns whether one more event may become a dead letter. It counts as one then.
    fn allow_one(&mut self) -> bool {
        self.in_a_row = (self.in_a_row + 1).min(IN_A_ROW + 1);
        self.in_a_row <= IN_A_ROW
    }

    /// Returns how many events are withheld.
    pub(super) fn withheld(&self) -> usize {
        self.withheld.len()
    }

    /// Takes the withheld events out, to be sent again, and says why the broker is held to be the trouble if there are any.
    pub(super) fn take_withheld(&mut self) -> (Vec<Delivery>, Option<String>) {
        let reason = self.withheld.last().map(|letter| no_event_taken(&letter.reason));
        (mem::take(&mut self.withheld).into_iter().map(|letter| letter.delivery).collect(), reason)
    }
}

/// Returns the reason to report when the broker and not an event is the trouble.
fn no_event_taken(reason: &str) -> String {
    format!("it takes no event: {reason}; after {IN_A_ROW} that are parked dead, the others wait until it takes one")
}
