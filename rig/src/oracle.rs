//! The judge of every delivery test. In: for each entity the highest counter that was committed (counters run from 1), and what a
//! witness received, in order. Out: what is missing, out of order, came twice, or came from nowhere. It never looks at a clock, and
//! judges order on first receipts: a repeat is a duplicate, not a disorder.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;

use serde::Serialize;

/// What became of the expected events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Events that were committed.
    pub expected: u64,
    /// Distinct ones of them that arrived.
    pub delivered: u64,
    /// Those that did not.
    pub missing: u64,
    /// Receipts beyond the first of an event.
    pub duplicates: u64,
    /// First receipts that came after a later event of the same entity.
    pub out_of_order: u64,
    /// Receipts of what was never committed.
    pub phantom: u64,
}

impl Verdict {
    /// Everything arrived, in order, and nothing else did. Duplicates are allowed: delivery is at least once.
    pub fn is_clean(&self) -> bool {
        self.missing == 0 && self.out_of_order == 0 && self.phantom == 0
    }
}

/// Compares what was committed with what was received.
pub fn judge<'a>(expected: &BTreeMap<String, u64>, received: impl IntoIterator<Item = (&'a str, u64)>) -> Verdict {
    let mut verdict = Verdict { expected: expected.values().sum(), ..Verdict::default() };
    let mut seen: HashMap<&str, (u64, HashSet<u64>)> = HashMap::new();
    for (entity, counter) in received {
        let committed = expected.get(entity).copied().unwrap_or(0);
        if counter == 0 || counter > committed {
            verdict.phantom += 1;
            continue;
        }
        let (latest, counters) = seen.entry(entity).or_default();
        if !counters.insert(counter) {
            verdict.duplicates += 1;
            continue;
        }
        verdict.delivered += 1;
        if counter < *latest {
            verdict.out_of_order += 1;
        }
        *latest = counter.max(*latest);
    }
    verdict.missing = verdict.expected - verdict.delivered;
    verdict
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

    proptest! {
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
