//! Sets of record numbers, as ranges: what was deleted or erased. Knows numbers only.

use serde::{Deserialize, Serialize};

/// Record numbers as ranges, both ends included: `[[3,3],[7,9]]`.
// Sorted, disjoint and not adjacent: every set has one form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds `first` to `last`.
    pub fn insert(&mut self, first: u64, last: u64) {
        let begin = self.0.partition_point(|r| r.1.saturating_add(1) < first);
        let end = self.0.partition_point(|r| r.0 <= last.saturating_add(1));
        let joined = self.0.get(begin..end).unwrap_or_default();
        let least = joined.first().map_or(first, |r| r.0.min(first));
        let most = joined.last().map_or(last, |r| r.1.max(last));
        if first <= last {
            self.0.splice(begin..end.max(begin), [(least, most)]);
        }
    }

    /// Takes `first` to `last` out.
    pub fn remove(&mut self, first: u64, last: u64) {
        let begin = self.0.partition_point(|r| r.1 < first);
        let end = self.0.partition_point(|r| r.0 <= last).max(begin);
        let cut = self.0.get(begin..end).unwrap_or_default();
        let before = cut.first().filter(|r| r.0 < first).map(|r| (r.0, first - 1));
        let after = cut.last().filter(|r| r.1 > last).map(|r| (last + 1, r.1));
        self.0.splice(begin..end, before.into_iter().chain(after));
    }

    /// Whether a number is in it.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        let at = self.0.partition_point(|r| r.1 < number);
        self.0.get(at).is_some_and(|r| r.0 <= number)
    }

    /// What is in both.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        let (mut ours, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut common = Vec::new();
        while let (Some(a), Some(b)) = (ours.peek(), theirs.peek()) {
            let (first, last) = (a.0.max(b.0), a.1.min(b.1));
            if first <= last {
                common.push((first, last));
            }
            if a.1 <= b.1 {
                ours.next()
            } else {
                theirs.next()
            };
        }
        Self(common)
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    /// How many ranges there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers are in them.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// The same in pieces of at most `most` ranges.
    pub(super) fn pieces(&self, most: usize) -> impl Iterator<Item = Self> + '_ {
        self.0.chunks(most).map(|piece| Self(piece.to_vec()))
    }
}

impl From<Vec<(u64, u64)>> for Ranges {
    fn from(pairs: Vec<(u64, u64)>) -> Self {
        let mut ranges = Self::default();
        pairs.into_iter().filter(|(first, last)| first <= last).for_each(|(first, last)| ranges.insert(first, last));
        ranges
    }
}

impl From<Ranges> for Vec<(u64, u64)> {
    fn from(ranges: Ranges) -> Self {
        ranges.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn they_are_the_sets_that_they_stand_for(steps in prop::collection::vec((any::<bool>(), 0_u64..40, 0_u64..6), 0..40)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (add, first, more) in steps {
                let last = first + more;
                if add {
                    ranges.insert(first, last);
                    set.extend(first..=last);
                } else {
                    ranges.remove(first, last);
                    set.retain(|n| *n < first || *n > last);
                }
                let listed: Vec<u64> = ranges.iter().flat_map(|(first, last)| first..=last).collect();
                prop_assert_eq!(&listed, &set.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(ranges.count(), u64::try_from(set.len()).expect("small"));
                for pair in ranges.0.windows(2) {
                    prop_assert!(pair[0].1 + 1 < pair[1].0, "{:?}", ranges);
                }
            }
        }
    }
}
