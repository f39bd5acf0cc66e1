//! What a check found: counts, and what is wrong with the first records that are wrong. Knows how findings are named;
//! must not know how they are found.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::decisions::lines::Lines;
use crate::decisions::record::{RecordType, StartRecord};
use crate::decisions::segments::{self, envelope_path};
use crate::decisions::verify::Cosignature;
use crate::decisions::{HandOver, LogError, Record};
use crate::tlog::{Checkpoint, VerifierKey};

/// Findings that are kept; the rest is counted.
const MAX_FINDINGS: usize = 100;
/// Findings whose neighbours are looked up.
const MAX_LOOK_UPS: usize = 10;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingCode {
    /// No checkpoint, or none that can be read.
    Checkpoint,
    /// A checkpoint is not signed by a key that counts.
    Signature,
    /// A record is not the one that was signed.
    Altered,
    /// A record is not there.
    Missing,
    /// A record stands where it does not belong.
    OutOfOrder,
    /// A line is no record.
    NoRecord,
    /// A record of another log.
    Origin,
    /// Records at the end are not there.
    Truncated,
    /// Records at the end that nobody signed.
    UnsignedTail,
    /// A tile is not there or is another.
    Tile,
    /// The records lead to another root than a checkpoint has.
    Root,
    /// A checkpoint that was kept elsewhere is not of this log.
    Anchor,
    /// A body is not the one on record.
    BodyAltered,
    /// A body is not in its file.
    BodyMissing,
    /// A line of a body file is no body, or another one of the same decision.
    NoBody,
    /// A body that is on record as erased is there.
    NotErased,
    /// Records were deleted, and no record says so.
    Unexplained,
    /// Too few witnesses signed.
    Witness,
}

impl FindingCode {
    /// The name in output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Signature => "signature",
            Self::Altered => "altered",
            Self::Missing => "missing",
            Self::OutOfOrder => "out_of_order",
            Self::NoRecord => "no_record",
            Self::Origin => "origin",
            Self::Truncated => "truncated",
            Self::UnsignedTail => "unsigned_tail",
            Self::Tile => "tile",
            Self::Root => "root",
            Self::Anchor => "anchor",
            Self::BodyAltered => "body_altered",
            Self::BodyMissing => "body_missing",
            Self::NoBody => "no_body",
            Self::NotErased => "not_erased",
            Self::Unexplained => "unexplained",
            Self::Witness => "witness",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub code: FindingCode,
    /// The record concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Where: `<file>:<line>`, below the log's directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// For a person.
    pub message: String,
    /// The record before it, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Neighbour>,
    /// The record after it, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Neighbour>,
}

impl Finding {
    /// About the log as a whole.
    pub(super) fn whole(code: FindingCode, message: String) -> Self {
        Self { code, seq: None, place: None, message, before: None, after: None }
    }

    /// About a record.
    pub(super) fn at(code: FindingCode, seq: u64, place: String, message: String) -> Self {
        Self { seq: Some(seq), place: Some(place), ..Self::whole(code, message) }
    }
}

/// A record beside one that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Neighbour {
    /// Its number.
    pub seq: u64,
    /// Its type.
    pub r#type: &'static str,
    /// When.
    pub timestamp: String,
    /// The decision, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<String>,
}

/// What became of the bodies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct BodyCount {
    /// What the envelope was written with.
    pub intact: u64,
    /// Deleted with their file.
    pub deleted: u64,
    /// Of those, the ones that no record which is still there tells of.
    pub untold: u64,
    /// Erased one by one, by record.
    pub erased: u64,
    /// Without an envelope: what a crash leaves behind.
    pub orphaned: u64,
}

/// A log that was lost, or was not what was signed, so that another was begun in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Succeeded {
    /// Its last checkpoint, if there was one.
    pub checkpoint: Option<Checkpoint>,
    /// What was wrong with it.
    pub damage: String,
    /// Where it was put, below the log's directory.
    pub set_aside: Option<String>,
}

impl Succeeded {
    /// What a start record says of it.
    pub(super) fn of(start: StartRecord) -> Option<Self> {
        let checkpoint = start.previous.as_deref().and_then(Checkpoint::parse_anchor);
        let damage = match (start.damage, &checkpoint) {
            (Some(damage), _) => damage,
            (None, Some(_)) => "it was removed".to_owned(),
            (None, None) => return None,
        };
        Some(Self { checkpoint, damage, set_aside: start.set_aside })
    }

    /// Its name, and what is known of it, for a person.
    #[must_use]
    pub fn told(&self) -> String {
        let log = self.checkpoint.as_ref().map(|c| format!("`{}`, of which {} records were signed", c.origin, c.size));
        let log = log.unwrap_or_else(|| "a log of which nothing was signed".to_owned());
        let place = self.set_aside.as_ref().map(|place| format!("; what was left of it is in `{place}`"));
        format!("{log}: {}{}", self.damage, place.unwrap_or_default())
    }
}

/// What a check came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The log's name.
    pub origin: Option<String>,
    /// The latest checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// Who signed it.
    pub signed_by: Option<VerifierKey>,
    /// The keys were read from the log itself.
    pub keys_from_log: bool,
    /// Keys that signed before, whose last checkpoint was checked.
    pub replaced_keys: u64,
    /// The first record that is there.
    pub first_seq: u64,
    /// One past the last record.
    pub end: u64,
    /// Records read, by type.
    pub records: BTreeMap<&'static str, u64>,
    /// Segments read.
    pub segments: u64,
    /// Bodies.
    pub bodies: BodyCount,
    /// Decisions that gap records tell of.
    pub gaps: u64,
    /// Records beyond the checkpoint.
    pub unsigned: u64,
    /// Records that a start record took over after a crash before they were signed.
    pub taken_over: u64,
    /// Of the records that no checkpoint covered in time, the ones that tell of deletions: they explain nothing.
    pub disbelieved: u64,
    /// The log in whose place this one was begun.
    pub succeeded: Option<Succeeded>,
    /// The log is being written.
    pub live: bool,
    /// Checkpoints kept elsewhere that were compared.
    pub anchors: u64,
    /// Those of them that are older than all that is still there, and of which too much was deleted to compare them.
    pub anchors_unchecked: u64,
    /// Checkpoints of other logs, which were passed over.
    pub anchors_of_others: u64,
    /// Keys that took the place of one that was given, which vouches for them.
    pub hand_overs: Vec<HandOver>,
    /// Records that those witnesses have signed who count; 0 when none did.
    pub cosigned: u64,
    /// Who they are.
    pub cosigned_by: Vec<Cosignature>,
    /// Something is not there that a record in a segment begun meanwhile may explain.
    pub unexplained: bool,
    /// What is wrong, in the order of the log; the first ones.
    pub findings: Vec<Finding>,
    /// How many more things are wrong.
    pub findings_omitted: u64,
}

impl Report {
    /// Puts in a finding that was made late, before those about later records.
    pub(super) fn find_in_order(&mut self, finding: Finding) {
        let later = |f: &Finding| f.seq.is_some() && f.seq > finding.seq;
        let at = self.findings.iter().position(later).unwrap_or(self.findings.len());
        if self.findings.len() < MAX_FINDINGS {
            self.findings.insert(at, finding);
        } else {
            self.findings_omitted += 1;
        }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        self.findings.is_empty()
    }

    /// Records read.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.records.values().sum()
    }

    pub(super) fn find(&mut self, finding: Finding) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        } else {
            self.findings_omitted += 1;
        }
    }

    /// Says of the first findings which records stand beside them.
    pub(super) fn look_up_neighbours(&mut self, dir: &Path) -> Result<(), LogError> {
        for finding in self.findings.iter_mut().filter(|f| f.seq.is_some()).take(MAX_LOOK_UPS) {
            let Some(seq) = finding.seq else { continue };
            (finding.before, finding.after) = neighbours(dir, seq)?;
        }
        Ok(())
    }
}

/// The nearest records before and after `seq`, of its segment and the one before.
fn neighbours(dir: &Path, seq: u64) -> Result<(Option<Neighbour>, Option<Neighbour>), LogError> {
    let segments = segments::segments(dir)?;
    let at = segments.partition_point(|s| s.first_seq <= seq);
    let (mut before, mut after): (Option<Neighbour>, Option<Neighbour>) = (None, None);
    for segment in segments.iter().take(at + 1).skip(at.saturating_sub(2)) {
        let path = envelope_path(dir, segment.first_seq);
        let fault = |e| LogError::io("read", &path, &e);
        let mut lines = Lines::open(&path).map_err(fault)?;
        while let Some(line) = lines.next_finished().map_err(fault)? {
            let Some(record) = std::str::from_utf8(line.bytes).ok().and_then(Record::parse) else { continue };
            let found = record.head.seq;
            if found < seq && before.as_ref().is_none_or(|b| b.seq < found) {
                before = Some(neighbour(&record));
            }
            if found > seq && after.as_ref().is_none_or(|a| a.seq > found) {
                after = Some(neighbour(&record));
            }
        }
    }
    Ok((before, after))
}

fn neighbour(record: &Record) -> Neighbour {
    let decision = record.head.r#type == RecordType::Decision;
    Neighbour {
        seq: record.head.seq,
        r#type: record.head.r#type.as_str(),
        timestamp: record.head.timestamp.clone(),
        decision_id: if decision { record.decision().map(|d| d.decision_id) } else { None },
    }
}
