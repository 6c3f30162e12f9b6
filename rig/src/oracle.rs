//! The judge of every delivery test. In: for each entity the highest counter that was committed (counters run from 1), and what a
//! witness received, in order. Out: what is missing, out of order, came twice, or came from nowhere, after each receipt if that is wanted.
//! It never looks at a clock, and judges order on first receipts: a repeat is a duplicate, not a disorder.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;

use serde::Serialize;

/// The fate of the expected events, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Events that were committed.
    pub expected: u64,
    /// Distinct ones of them that arrived.
    pub delivered: u64,
    /// Distinct ones of them that did not arrive.
    pub missing: u64,
    /// Receipts beyond the first of an event.
    pub duplicates: u64,
    /// First receipts that came after a later event of the same entity.
    pub out_of_order: u64,
    /// Receipts of what was never committed.
    pub phantom: u64,
}

impl Verdict {
    /// Returns whether everything arrived in order, and nothing else arrived. Duplicates are allowed, because delivery is at least once.
    pub fn is_clean(&self) -> bool {
        self.missing == 0 && self.out_of_order == 0 && self.phantom == 0
    }
}

/// Judges receipts one by one, as they come: a receipt costs the same however many came before it.
pub struct Oracle {
    entities: HashMap<String, Entity>,
    verdict: Verdict,
}

struct Entity {
    committed: u64,
    latest: u64,
    seen: HashSet<u64>,
}

impl Oracle {
    /// Creates an oracle that has seen nothing yet. `expected` holds the highest counter that was committed of each entity.
    pub fn new(expected: &BTreeMap<String, u64>) -> Oracle {
        let entity = |committed: u64| Entity { committed, latest: 0, seen: HashSet::new() };
        let entities = expected.iter().map(|(name, committed)| (name.clone(), entity(*committed))).collect();
        let count = expected.values().sum();
        Oracle { entities, verdict: Verdict { expected: count, missing: count, ..Verdict::default() } }
    }

    /// Judges the next receipt.
    pub fn push(&mut self, entity: &str, counter: u64) {
        let known = self.entities.get_mut(entity).filter(|entity| (1..=entity.committed).contains(&counter));
        let Some(entity) = known else {
            self.verdict.phantom += 1;
            return;
        };
        if !entity.seen.insert(counter) {
            self.verdict.duplicates += 1;
            return;
        }
        self.verdict.delivered += 1;
        self.verdict.missing -= 1;
        if counter < entity.latest {
            self.verdict.out_of_order += 1;
        }
        entity.latest = counter.max(entity.latest);
    }

    /// Returns the verdict on the receipts so far.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }
}

/// Compares what was committed with all that was received.
pub fn judge<'a>(expected: &BTreeMap<String, u64>, received: impl IntoIterator<Item = (&'a str, u64)>) -> Verdict {
    let mut oracle = Oracle::new(expected);
    for (entity, counter) in received {
        oracle.push(entity, counter);
    }
    oracle.verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expected(entities: &[(&str, u64)]) -> BTreeMap<String, u64> {
        entities.iter().map(|(entity, highest)| ((*entity).to_owned(), *highest)).collect()
    }

    #[test]
    fn everything_in_order_is_clean() {
        let verdict = judge(&expected(&[("a", 2), ("b", 1)]), [("a", 1), ("b", 1), ("a", 2)]);

        assert_eq!(verdict, Verdict { expected: 3, delivered: 3, ..Verdict::default() });
        assert!(verdict.is_clean());
    }

    #[test]
    fn a_repeat_is_a_duplicate_and_no_disorder() {
        let verdict = judge(&expected(&[("a", 2)]), [("a", 1), ("a", 2), ("a", 1), ("a", 2)]);

        assert_eq!(verdict, Verdict { expected: 2, delivered: 2, duplicates: 2, ..Verdict::default() });
        assert!(verdict.is_clean());
    }

    #[test]
    fn a_late_first_receipt_is_a_disorder() {
        let verdict = judge(&expected(&[("a", 3)]), [("a", 2), ("a", 1), ("a", 3)]);

        assert_eq!(verdict.out_of_order, 1);
        assert!(!verdict.is_clean());
    }

    #[test]
    fn what_was_never_committed_is_a_phantom() {
        let verdict = judge(&expected(&[("a", 1)]), [("a", 1), ("a", 2), ("b", 1), ("a", 0)]);

        assert_eq!((verdict.phantom, verdict.missing), (3, 0));
        assert!(!verdict.is_clean());
    }

    #[test]
    fn what_did_not_come_is_missing() {
        let verdict = judge(&expected(&[("a", 2), ("b", 1)]), [("a", 2)]);

        assert_eq!((verdict.missing, verdict.out_of_order), (2, 0));
        assert!(!verdict.is_clean());
    }

    /// Returns the verdict by its definition: each receipt is compared with all before it.
    fn by_definition(expected: &BTreeMap<String, u64>, received: &[(&str, u64)]) -> Verdict {
        let is_committed = |(entity, counter): &(&str, u64)| {
            *counter > 0 && expected.get(*entity).is_some_and(|committed| counter <= committed)
        };
        let mut verdict = Verdict { expected: expected.values().sum(), ..Verdict::default() };
        for (at, receipt) in received.iter().enumerate() {
            let before = &received[..at];
            if !is_committed(receipt) {
                verdict.phantom += 1;
            } else if before.contains(receipt) {
                verdict.duplicates += 1;
            } else {
                verdict.delivered += 1;
                let is_overtaken =
                    before.iter().any(|other| is_committed(other) && other.0 == receipt.0 && other.1 > receipt.1);
                verdict.out_of_order += u64::from(is_overtaken);
            }
        }
        verdict.missing = verdict.expected - verdict.delivered;
        verdict
    }

    proptest! {
        #[test]
        fn after_each_receipt_the_verdict_is_that_of_its_definition(
            (a, b) in (0_u64..5, 0_u64..5),
            received in proptest::collection::vec((proptest::sample::select(vec!["a", "b", "c"]), 0_u64..7), 0..40),
        ) {
            let expected = expected(&[("a", a), ("b", b)]);
            let mut oracle = Oracle::new(&expected);

            for (at, (entity, counter)) in received.iter().enumerate() {
                oracle.push(entity, *counter);

                prop_assert_eq!(oracle.verdict(), &by_definition(&expected, &received[..=at]));
            }
            prop_assert_eq!(judge(&expected, received.iter().copied()), by_definition(&expected, &received));
        }

        #[test]
        fn the_figures_add_up(highest in 0_u64..6, received in proptest::collection::vec(0_u64..8, 0..40)) {
            let verdict = judge(&expected(&[("a", highest)]), received.iter().map(|counter| ("a", *counter)));

            prop_assert_eq!(verdict.expected, highest);
            prop_assert_eq!(verdict.delivered + verdict.missing, verdict.expected);
            prop_assert_eq!(verdict.delivered + verdict.duplicates + verdict.phantom, received.len() as u64);
            prop_assert!(verdict.out_of_order <= verdict.delivered.saturating_sub(1));
        }

        #[test]
        fn repeating_what_came_before_changes_duplicates_only(
            highest in 1_u64..20, repeats in proptest::collection::vec((0_usize..20, 0_usize..20), 0..10),
        ) {
            let mut received: Vec<u64> = (1..=highest).collect();
            for (from, to) in repeats {
                // A repeat stands anywhere behind the first receipt.
                let from = from % received.len();
                let to = from + 1 + to % (received.len() - from);
                received.insert(to, received[from]);
            }

            let verdict = judge(&expected(&[("a", highest)]), received.iter().map(|counter| ("a", *counter)));

            prop_assert!(verdict.is_clean(), "{:?}", verdict);
            prop_assert_eq!(verdict.duplicates, received.len() as u64 - highest);
        }

        #[test]
        fn swapping_neighbours_is_seen(highest in 2_u64..20, at in 0_usize..18) {
            let mut received: Vec<u64> = (1..=highest).collect();
            let at = at % (received.len() - 1);
            received.swap(at, at + 1);

            let verdict = judge(&expected(&[("a", highest)]), received.iter().map(|counter| ("a", *counter)));

            prop_assert_eq!(verdict.out_of_order, 1);
        }
    }
}
