//! What is missing from the log and not written down yet. Knows counts and times; must not know queues or files.

use jiff::Timestamp;
use uuid::Uuid;

use crate::decisions::entry::rfc3339;
use crate::decisions::{Entry, GapRecord, LogError, RecordType, clip};

/// Decisions that are not in the log, or are and nobody was told.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Gap {
    pub count: u64,
    /// First and last timestamp.
    pub span: Option<(Timestamp, Timestamp)>,
    pub reason: String,
    pub unconfirmed: u64,
    pub unconfirmed_ids: Vec<Uuid>,
}

/// Ids of unconfirmed decisions that a gap keeps: enough for people, few enough for an envelope.
const MAX_IDS: usize = 64;

impl Gap {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0 && self.unconfirmed == 0
    }

    /// One more decision is missing.
    pub(super) fn miss(&mut self, timestamp: Timestamp, reason: &LogError) {
        self.count += 1;
        self.spread(timestamp, timestamp);
        self.reason = reason.to_string();
    }

    /// One more decision is on record while its caller was told that it is not.
    pub(super) fn unconfirm(&mut self, id: Uuid, timestamp: Timestamp) {
        self.unconfirmed += 1;
        self.spread(timestamp, timestamp);
        if self.reason.is_empty() {
            self.reason = LogError::Deadline.to_string();
        }
        if self.unconfirmed_ids.len() < MAX_IDS {
            self.unconfirmed_ids.push(id);
        }
    }

    /// Takes back a gap that could not be written down.
    pub(super) fn merge(&mut self, earlier: Self) {
        self.count += earlier.count;
        self.unconfirmed += earlier.unconfirmed;
        if let Some((from, to)) = earlier.span {
            self.spread(from, to);
        }
        if self.reason.is_empty() {
            self.reason = earlier.reason;
        }
        let later = std::mem::replace(&mut self.unconfirmed_ids, earlier.unconfirmed_ids);
        self.unconfirmed_ids.extend(later);
        self.unconfirmed_ids.truncate(MAX_IDS);
    }

    /// The record that tells of it.
    pub(super) fn record(&self, now: Timestamp) -> GapRecord {
        let (from, to) = self.span.unwrap_or((now, now));
        GapRecord {
            timestamp: rfc3339(now),
            count: self.count,
            from: rfc3339(from),
            to: rfc3339(to),
            reason: clip::text(&self.reason, 1024),
            unconfirmed: self.unconfirmed,
            unconfirmed_ids: self.unconfirmed_ids.iter().map(ToString::to_string).collect(),
        }
    }

    fn spread(&mut self, from: Timestamp, to: Timestamp) {
        let (first, last) = self.span.unwrap_or((from, to));
        self.span = Some((first.min(from), last.max(to)));
    }
}

/// Changes of the configuration that wait for a log that cannot be written; more are a fault of their own.
const MAX_OWED: usize = 256;

/// Changes of the configuration that could not be written yet. They are records too, so they come first when writing works
/// again; of too many the newest count.
#[derive(Debug, Default)]
pub(super) struct Owed(Vec<Entry>);

impl Owed {
    /// Keeps those of the entries that must not be lost.
    pub(super) fn take(&mut self, entries: impl Iterator<Item = Entry>) {
        self.0.extend(entries.filter(|e| e.record_type == RecordType::Config));
        let over = self.0.len().saturating_sub(MAX_OWED);
        self.0.drain(..over);
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The first `count` are on record now.
    pub(super) fn written(&mut self, count: usize) {
        self.0.drain(..count.min(self.0.len()));
    }
}
