//! What is not there although the log once had it: records, and bodies that are said to have been erased. The records
//! that explain it come later in the log, so it is judged at the end. Knows numbers and places; no files.

use crate::decisions::verify::row::Place;
use crate::decisions::verify::{Finding, FindingCode, Report};
use crate::decisions::{PruneRecord, Ranges};

/// Memory is that of the ranges: one for each run of erased bodies, one for each stretch between segments that a legal
/// hold kept, and the records that tell of deletions.
#[derive(Default)]
pub(super) struct Absent {
    /// Stretches of records between segments: first, end, and where it was seen.
    stretches: Vec<(u64, u64, Place)>,
    /// Records before this one are not there.
    pub front: u64,
    /// Records whose bodies are there.
    pub intact: Ranges,
    /// Records whose bodies are said to have been erased.
    pub bodies: Ranges,
    /// Records whose bodies went with their file.
    pub files: Ranges,
    /// What records say of deletions, with their numbers, in the order of the log.
    told: Vec<(u64, PruneRecord)>,
    /// The same of deletions on a full disk, as the list says that the log's key signed: records have no room there.
    owed: Vec<PruneRecord>,
}

impl Absent {
    /// With deletions of which no record tells yet.
    pub(super) fn owing(owed: Vec<PruneRecord>) -> Self {
        Self { owed, ..Self::default() }
    }

    pub(super) fn skip(&mut self, first: u64, end: u64, place: Place) {
        self.stretches.push((first, end, place));
    }

    /// Takes what a prune record says.
    pub(super) fn told(&mut self, seq: u64, prune: PruneRecord) {
        self.told.push((seq, prune));
    }

    /// Forgets what doubtful records say: a server has the record of a deletion signed before it deletes. Gives how many
    /// there were.
    pub(super) fn disbelieve(&mut self, doubtful: &Ranges) -> u64 {
        let before = self.told.len();
        self.told.retain(|(seq, _)| !doubtful.contains(*seq));
        u64::try_from(before - self.told.len()).unwrap_or(u64::MAX)
    }

    /// What nobody has explained is wrong.
    pub(super) fn settle(mut self, report: &mut Report) {
        let before = report.findings.len();
        let (mut gone, mut erased) = (Ranges::default(), Ranges::default());
        for prune in self.told.iter().map(|(_, prune)| prune).chain(&self.owed) {
            prune.erased.iter().for_each(|(first, last)| {
                self.bodies.remove(first, last);
                // What is on record with a segment that went, or was made known again, is of records before it.
                erased.insert(first, last);
            });
            match prune.what.as_str() {
                "bodies" => self.files.remove(prune.first_seq, prune.last_seq),
                "segment" => {
                    gone.insert(prune.first_seq, prune.last_seq);
                    prune.gone.iter().for_each(|(first, last)| gone.insert(first, last));
                }
                _ => {}
            }
        }
        if self.front > 0 {
            let mut left = Ranges::default();
            left.insert(0, self.front - 1);
            gone.iter().for_each(|(first, last)| left.remove(first, last));
            for (first, last) in left.iter() {
                let message = match last - first {
                    0 => format!("record {first} is gone, and no record says that it was deleted"),
                    _ => format!("records {first} to {last} are gone, and no record says that they were deleted"),
                };
                report.find_in_order(Finding { seq: Some(last), ..Finding::whole(FindingCode::Unexplained, message) });
            }
        }
        for (first, end, place) in self.stretches {
            let mut left = Ranges::default();
            left.insert(first, end - 1);
            gone.iter().for_each(|(first, last)| left.remove(first, last));
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
        for (first, last) in self.intact.common(&erased).iter() {
            let message = match last - first {
                0 => format!("the body of record {first} is on record as erased, and it is there"),
                _ => format!("the bodies of records {first} to {last} are on record as erased, and they are there"),
            };
            report.find_in_order(Finding { seq: Some(first), ..Finding::whole(FindingCode::NotErased, message) });
        }
        // Whoever keeps a copy of the records alone did nothing wrong.
        report.bodies.untold = self.files.count();
        report.unexplained |= report.findings.len() > before;
    }
}
