//! A set of log ids, kept as ranges. It reads and writes PostgreSQL's text of an `int8multirange`, and never does I/O.

use std::fmt;

/// A set of ids, stored as disjoint, non-adjacent, inclusive ranges. They stand in a vector, because the log of a plant may have a hundred
/// thousand holes for an hour: a copy costs little then, and so do a union and a difference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(i64, i64)>);

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
        let first = self.0.partition_point(|(_, end)| *end < low.saturating_sub(1));
        let past = self.0.partition_point(|(start, _)| *start <= high.saturating_add(1));
        if first == past {
            self.0.insert(first, (low, high));
            return;
        }
        (low, high) = (low.min(self.0[first].0), high.max(self.0[past - 1].1));
        self.0[first] = (low, high);
        self.0.drain(first + 1..past);
    }

    /// Removes `low..=high`.
    pub fn remove(&mut self, low: i64, high: i64) {
        let first = self.0.partition_point(|(_, end)| *end < low);
        let past = self.0.partition_point(|(start, _)| *start <= high);
        if high < low || first >= past {
            return;
        }
        let (start, end) = (self.0[first].0, self.0[past - 1].1);
        let left = (start < low).then(|| (start, low - 1));
        let right = (end > high).then(|| (high + 1, end));
        self.0.splice(first..past, left.into_iter().chain(right));
    }

    /// Returns the ids that are in this set or in `other`.
    pub fn union(self, other: &Ranges) -> Ranges {
        let mut all = Vec::with_capacity(self.0.len() + other.0.len());
        let (mut one, mut two) = (self.iter().peekable(), other.iter().peekable());
        while let Some(next) = one.next_if(|mine| two.peek().is_none_or(|theirs| mine <= theirs)).or_else(|| two.next())
        {
            match all.last_mut() {
                Some((_, end)) if next.0 <= i64::saturating_add(*end, 1) => *end = next.1.max(*end),
                _ => all.push(next),
            }
        }
        Ranges(all)
    }

    /// Returns the ids of this set that are not in `other`.
    pub fn without(self, other: &Ranges) -> Ranges {
        let mut left = Vec::with_capacity(self.0.len() + other.0.len());
        let mut removed = other.iter().peekable();
        for (mut low, high) in self.iter() {
            let mut is_gone = false;
            while let Some(&(start, end)) = removed.peek()
                && start <= high
            {
                if low < start {
                    left.push((low, start - 1));
                }
                if end >= high {
                    // It may remove something of the next range too.
                    is_gone = true;
                    break;
                }
                low = low.max(end + 1);
                removed.next();
            }
            if !is_gone {
                left.push((low, high));
            }
        }
        Ranges(left)
    }

    /// Returns whether `id` is in the set.
    pub fn contains(&self, id: i64) -> bool {
        let first = self.0.partition_point(|(_, end)| *end < id);
        self.0.get(first).is_some_and(|(start, _)| *start <= id)
    }

    /// Returns the ranges, inclusive at both ends, from the lowest.
    pub fn iter(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.0.iter().copied()
    }

    /// Returns how many ranges there are.
    pub fn len(&self) -> usize {
        self.0.len()
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

    proptest! {
        #[test]
        fn a_union_and_a_difference_are_those_of_sets(
            one in prop::collection::vec((0i64..60, 0i64..8), 0..12), two in prop::collection::vec((0i64..60, 0i64..8), 0..12)
        ) {
            let of = |ranges: &[(i64, i64)]| {
                let mut set = Ranges::default();
                ranges.iter().for_each(|(low, width)| set.insert(*low, low + width));
                set
            };
            let ids = |set: &Ranges| set.iter().flat_map(|(low, high)| low..=high).collect::<BTreeSet<_>>();
            let (one, two) = (of(&one), of(&two));
            let (union, difference) = (one.clone().union(&two), one.clone().without(&two));

            prop_assert_eq!(ids(&union), ids(&one).union(&ids(&two)).copied().collect());
            prop_assert_eq!(ids(&difference), ids(&one).difference(&ids(&two)).copied().collect());
            // They are in the one form that a set has.
            prop_assert_eq!(&of(&union.iter().map(|(low, high)| (low, high - low)).collect::<Vec<_>>()), &union);
            prop_assert_eq!(&of(&difference.iter().map(|(low, high)| (low, high - low)).collect::<Vec<_>>()), &difference);
        }
    }

    #[test]
    fn the_ends_of_all_ids_are_ids_like_others() {
        let mut all = Ranges::span(i64::MIN, i64::MAX);

        assert_eq!(all.clone().without(&all), Ranges::default());
        assert_eq!(all.clone().union(&Ranges::span(i64::MAX, i64::MAX)), all);
        all.remove(i64::MIN, 0);
        all.remove(10, i64::MAX);
        assert_eq!(all, Ranges::span(1, 9));
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
