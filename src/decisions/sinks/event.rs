//! One record on its way out: its line as it stands, where it is in the tree, and its body where that goes along. Knows
//! lines and hashes; must not know formats.

use serde_json::Value;

use crate::decisions::body::BodyLine;
use crate::decisions::{DecisionRecord, Record, RecordType};
use crate::tlog::leaf_hash;

/// A record that leaves the log.
#[derive(Debug, Clone)]
pub struct Event {
    /// The record.
    pub record: Record,
    /// What it says, if it is a decision.
    pub decision: Option<DecisionRecord>,
    /// Its body, where bodies go along and it is there.
    pub body: Option<BodyLine>,
}

impl Event {
    /// Of a record.
    #[must_use]
    pub fn of(record: Record, body: Option<BodyLine>) -> Self {
        Self { decision: record.decision(), record, body }
    }

    /// The leaf of the log's tree that the line is: `SHA-256(0x00 || line)` (RFC 6962), 64 hex digits.
    #[must_use]
    pub fn leaf(&self) -> String {
        data_encoding::HEXLOWER.encode(leaf_hash(self.record.line.as_bytes()).as_bytes())
    }

    /// The number of the record in its log.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.record.head.seq
    }

    /// Whether it tells of nothing but an export: told on, that would never end.
    #[must_use]
    pub fn is_export(&self) -> bool {
        self.record.head.r#type == RecordType::Read && self.record.line.contains(r#""action":"export""#)
    }

    /// The masked input, the patch and the rest of the body.
    #[must_use]
    pub fn body_value(&self) -> Option<Value> {
        self.body.as_ref().and_then(|b| serde_json::from_str(&b.body).ok())
    }

    /// The line as JSON.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.record.line).unwrap_or(Value::Null)
    }
}
