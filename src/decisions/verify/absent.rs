//! What is not there although the log once had it: records between segments, bodies that are said to have been erased.
//! The records that explain it come later in the log, so it is judged at the end. Knows numbers and places; no files.

use crate::decisions::verify::row::Place;
use crate::decisions::verify::{Finding, FindingCode, Report};
use crate::decisions::{PruneRecord, Ranges};

/// Memory is that of the ranges: one for each run of erased bodies, and one for each stretch between segments that a
/// legal hold kept.
#[derive(Default)]
pub(super) struct Absent {
    /// Stretches of records between segments: first, end, and where it was seen.
    stretches: Vec<(u64, u64, Place)>,
    /// Records whose bodies are said to have been erased, and that no record has explained yet.
    pub bodies: Ranges,
    /// Records whose bodies went with their file, and that no record has told of yet.
    pub files: Ranges,
    /// Records that records say were deleted.
    gone: Ranges,
}

impl Absent {
    pub(super) fn skip(&mut self, first: u64, end: u64, place: Place) {
        self.stretches.push((first, end, place));
    }

    /// Takes what a prune record says.
    pub(super) fn explain(&mut self, prune: &PruneRecord) {
        prune.erased.iter().for_each(|(first, last)| self.bodies.remove(first, last));
        if prune.what == "bodies" {
            self.files.remove(prune.first_seq, prune.last_seq);
        }
        if prune.what == "segment" {
            self.gone.insert(prune.first_seq, prune.last_seq);
            prune.gone.iter().for_each(|(first, last)| self.gone.insert(first, last));
        }
    }

    /// What nobody has explained is wrong.
    pub(super) fn settle(self, report: &mut Report) {
        let before = report.findings.len();
        for (first, end, place) in self.stretches {
            let mut left = Ranges::default();
            left.insert(first, end - 1);
            self.gone.iter().for_each(|(first, last)| left.remove(first, last));
            for (first, last) in left.iter() {
                let message = match last - first {
                    0 => format!("record {first} is missing"),
                    n => format!("{} records are missing, {first} to {last}", n + 1),
                };
                report.find_in_order(Finding::at(FindingCode::Missing, first, place.to_string(), message));
            }
        }
        for (first, last) in self.bodies.iter() {
            report.bodies.erased -= last - first + 1;
            let message = match last - first {
                0 => format!("the body of record {first} is marked as erased, and no record says that it was"),
                _ => format!(
                    "the bodies of records {first} to {last} are marked as erased, and no record says that they were"
                ),
            };
            report.find_in_order(Finding { seq: Some(first), ..Finding::whole(FindingCode::BodyMissing, message) });
        }
        // Whoever keeps a copy of the records alone did nothing wrong.
        report.bodies.untold = self.files.count();
        report.unexplained = report.findings.len() > before;
    }
}
