//! A set of log ids, kept as ranges. It reads and writes PostgreSQL's text of an `int8multirange`, and never does I/O.

use std::collections::BTreeMap;
use std::fmt;

/// A set of ids, stored as disjoint, non-adjacent, inclusive ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges(BTreeMap<i64, i64>);

/// The text is not an `int8multirange` of bounded ranges.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a multirange of log ids, such as {{[1,4),[7,8)}}")]
pub struct NotRanges(String);

impl Ranges {
    /// Returns the set of `low..=high`; empty where `high < low`.
    pub fn span(low: i64, high: i64) -> Ranges {
        let mut ranges = Ranges::default();
        ranges.insert(low, high);
        ranges
    }

    /// Adds `low..=high`.
    pub fn insert(&mut self, mut low: i64, mut high: i64) {
        if high < low {
            return;
        }
        if let Some((&start, &end)) = self.0.range(..=low).next_back()
            && end >= low - 1
        {
            low = start;
            high = high.max(end);
        }
        while let Some((&start, &end)) = self.0.range(low..=high.saturating_add(1)).next() {
            self.0.remove(&start);
            high = high.max(end);
        }
        self.0.insert(low, high);
    }

    /// Removes `low..=high`.
    pub fn remove(&mut self, low: i64, high: i64) {
        if high < low {
            return;
        }
        if let Some((&start, &end)) = self.0.range(..low).next_back()
            && end >= low
        {
            self.0.insert(start, low - 1);
            if end > high {
                self.0.insert(high + 1, end);
            }
        }
        while let Some((&start, &end)) = self.0.range(low..=high).next() {
            self.0.remove(&start);
            if end > high {
                self.0.insert(high + 1, end);
            }
        }
    }

    /// Returns the ids that are in this set or in `other`.
    pub fn union(mut self, other: &Ranges) -> Ranges {
        for (low, high) in other.iter() {
            self.insert(low, high);
        }
        self
    }

    /// Returns the ids of this set that are not in `other`.
    pub fn without(mut self, other: &Ranges) -> Ranges {
        for (low, high) in other.iter() {
            self.remove(low, high);
        }
        self
    }

    /// Returns whether `id` is in the set.
    pub fn contains(&self, id: i64) -> bool {
        self.0.range(..=id).next_back().is_some_and(|(_, &end)| end >= id)
    }

    /// Returns the ranges, inclusive at both ends, from the lowest.
    pub fn iter(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.0.iter().map(|(&low, &high)| (low, high))
    }

    /// Returns whether there is no id in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads PostgreSQL's text of an `int8multirange`, which it writes with an open upper end: `{[1,4),[7,8)}`.
    pub fn parse(text: &str) -> Result<Ranges, NotRanges> {
        let wrong = || NotRanges(text.to_owned());
        let inner = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or_else(wrong)?;
        let mut ranges = Ranges::default();
        let mut rest = inner;
        while let Some(opened) = rest.strip_prefix('[') {
            let (range, after) = opened.split_once(')').ok_or_else(wrong)?;
            let (low, end) = range.split_once(',').ok_or_else(wrong)?;
            let low: i64 = low.parse().map_err(|_| wrong())?;
            let end: i64 = end.parse().map_err(|_| wrong())?;
            ranges.insert(low, end - 1);
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        if rest.is_empty() { Ok(ranges) } else { Err(wrong()) }
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (low, high)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}[{low},{})", high + 1)?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_behave_as_a_set_of_ids(steps in prop::collection::vec((any::<bool>(), 0i64..60, 0i64..12), 0..80)) {
            let mut ranges = Ranges::default();
            let mut model = BTreeSet::new();
            for (adds, low, width) in steps {
                for id in low..=low + width {
                    if adds { model.insert(id); } else { model.remove(&id); }
                }
                if adds { ranges.insert(low, low + width) } else { ranges.remove(low, low + width) }

                prop_assert_eq!(ranges.iter().flat_map(|(low, high)| low..=high).collect::<BTreeSet<_>>(), model.clone());
                prop_assert!((0..80).all(|id| ranges.contains(id) == model.contains(&id)));
                prop_assert_eq!(Ranges::parse(&ranges.to_string()).unwrap(), ranges.clone());
            }
        }
    }

    #[test]
    fn adjacent_ranges_become_one_and_nonsense_is_refused() {
        let mut ranges = Ranges::span(1, 3);
        ranges.insert(4, 5);

        assert_eq!(ranges.to_string(), "{[1,6)}");
        assert_eq!(Ranges::default().to_string(), "{}");
        assert!(
            Ranges::parse("{[1,)}").is_err() && Ranges::parse("[1,2)").is_err() && Ranges::parse("{[1,2)x}").is_err()
        );
    }
}
