//! The numbers that the requests of a lane carry, by which a receiver finds out that somebody answered in its name. In: attempts that begin and
//! end. Out: for each a number, and up to which number every one was answered with a 2xx. It needs no write: a life of the lane is told from
//! another by the lane's epoch, which is stored when the lane is taken over, and each life counts from 1.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::collections::BinaryHeap;

/// The numbers of one life of a lane. A number is that of a request until this is answered with a 2xx; a request that failed gives it back, so
/// that no number is left out for good.
#[derive(Debug)]
pub(super) struct Sequence {
    life: i64,
    /// The number after the largest that was given out.
    next: u64,
    given_back: BinaryHeap<Reverse<u64>>,
    /// Every number up to this one was answered with a 2xx.
    acknowledged: u64,
    /// Those beyond it that were.
    beyond: BTreeSet<u64>,
}

/// What a request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    life: i64,
    pub(super) number: u64,
    acknowledged: u64,
}

impl Sequence {
    pub(super) fn new(life: i64) -> Sequence {
        Sequence { life, next: 1, given_back: BinaryHeap::new(), acknowledged: 0, beyond: BTreeSet::new() }
    }

    /// Gives a number to an attempt that begins.
    pub(super) fn begin(&mut self) -> Place {
        let number = self.given_back.pop().map_or_else(
            || {
                self.next += 1;
                self.next - 1
            },
            |Reverse(number)| number,
        );
        Place { life: self.life, number, acknowledged: self.acknowledged }
    }

    /// Takes note of how the attempt with a number has ended.
    pub(super) fn end(&mut self, number: u64, is_acknowledged: bool) {
        if !is_acknowledged {
            self.given_back.push(Reverse(number));
            return;
        }
        self.beyond.insert(number);
        while self.beyond.remove(&(self.acknowledged + 1)) {
            self.acknowledged += 1;
        }
    }
}

impl Place {
    /// Returns the value of `webhook-sequence`.
    pub(super) fn text(self) -> String {
        format!("{}.{}.{}", self.life, self.number, self.acknowledged)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_given_again_until_it_is_acknowledged() {
        let mut sequence = Sequence::new(7);

        let (one, two) = (sequence.begin(), sequence.begin());
        sequence.end(one.number, false);
        sequence.end(two.number, true);
        let again = sequence.begin();
        sequence.end(again.number, true);

        assert_eq!([one, two, again].map(Place::text), ["7.1.0", "7.2.0", "7.1.0"]);
        assert_eq!(sequence.begin().text(), "7.3.2");
    }

    proptest! {
        #[test]
        fn what_is_said_to_be_acknowledged_was(steps in prop::collection::vec((any::<bool>(), any::<bool>(), any::<prop::sample::Index>()), 1..200)) {
            let (mut sequence, mut open, mut answered) = (Sequence::new(1), Vec::new(), BTreeSet::new());
            for (begins, is_acknowledged, which) in steps {
                if begins || open.is_empty() {
                    let place = sequence.begin();
                    // All of them were answered, and no two attempts that are open have the same number.
                    prop_assert!((1..=place.acknowledged).all(|number| answered.contains(&number)));
                    prop_assert!(!open.contains(&place.number) && !answered.contains(&place.number));
                    open.push(place.number);
                } else {
                    let number = open.swap_remove(which.index(open.len()));
                    sequence.end(number, is_acknowledged);
                    if is_acknowledged {
                        answered.insert(number);
                    }
                }
            }
        }
    }
}
