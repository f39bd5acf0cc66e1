//! Decisions made again: under the policies that made them, or under others. Knows records, bodies and kept policy sets,
//! and judges by the one door, [`engine::decide`](crate::engine::decide()); must not know terminals.
//!
//! What a record does not show (masked values, a deleted body, answers of `http.send`) is never guessed. Such values are
//! veiled in the input, and a policy that looked at one is *uncertain*: nothing is said of what it found. The verdict is
//! certain where the other policies alone decide it.

mod audit;
mod bodies;
mod changes;
mod compare;
mod impact;
mod judge;
mod text;
mod tried;
mod unveil;

pub use audit::{Asked, AuditAnswer, AuditRequests, AuditedRequest, MOST_KNOWN};
pub use bodies::BodyCursor;
pub use changes::{Change, ChangeKind};
pub use impact::Pairs;
pub use judge::{Candidate, Judge, MOST_SNAPSHOTS};

use std::collections::BTreeMap;

use serde::Serialize;

use crate::engine::Verdict;

/// What making a decision again came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// All that was compared is as it was recorded.
    Identical,
    /// Something is another.
    Different,
    /// What the record does not show could have mattered; the rest is as it was recorded.
    Indeterminate,
    /// No policy decided it: time, load or the log did.
    NotJudged,
}

impl Status {
    /// The name in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identical => "identical",
            Self::Different => "different",
            Self::Indeterminate => "indeterminate",
            Self::NotJudged => "not_judged",
        }
    }
}

/// One decision, made again under the policies that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Its id.
    pub decision_id: String,
    /// What it came to.
    pub status: Status,
    /// The verdict on record.
    pub recorded: Verdict,
    /// The verdict now, where it is certain.
    pub replayed: Option<Verdict>,
    /// What is another, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<String>,
    /// What could have mattered and is not on record, by the policy that looked at it; `*` is any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unseen: BTreeMap<String, Vec<String>>,
}
