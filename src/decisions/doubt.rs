//! Which records nobody vouches for: those that no checkpoint covers, and those that a start took over before one did.
//! Anybody who may write the file may have written them. Knows numbers only.

use crate::decisions::Ranges;

/// The starts of a log, in order: each with its number and how many records before it were not signed.
#[derive(Debug, Clone, Default)]
pub(super) struct Starts(Vec<(u64, u64)>);

impl Starts {
    pub(super) fn add(&mut self, seq: u64, unsigned: u64) {
        if unsigned > 0 {
            self.0.push((seq, unsigned));
        }
    }

    /// The records that are doubtful when a checkpoint covers those before `signed`; and how many were taken over. A start
    /// that is doubtful itself says nothing: a later one tells of it.
    pub(super) fn doubtful(&self, signed: u64) -> (Ranges, u64) {
        let mut doubtful = Ranges::default();
        doubtful.insert(signed, u64::MAX);
        let mut taken_over = 0_u64;
        for (seq, unsigned) in self.0.iter().rev() {
            if !doubtful.contains(*seq) {
                doubtful.insert(seq.saturating_sub(*unsigned), seq.saturating_sub(1));
                taken_over = taken_over.saturating_add(*unsigned);
            }
        }
        (doubtful, taken_over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_nobody_signed_casts_no_doubt() {
        let mut starts = Starts::default();
        starts.add(10, 2);
        starts.add(50, u64::MAX);
        starts.add(52, 3);
        starts.add(60, u64::MAX);
        let (doubtful, taken_over) = starts.doubtful(58);
        assert_eq!(doubtful.iter().collect::<Vec<_>>(), [(8, 9), (49, 51), (58, u64::MAX)]);
        assert_eq!(taken_over, 5);
        // As long as nobody signed what follows it, neither.
        assert_eq!(starts.doubtful(49).0.iter().collect::<Vec<_>>(), [(8, 9), (49, u64::MAX)]);
    }
}
