//! The record of a reading: who was shown what of the log, by the server, or what was sent away. Knows its fields; must
//! not know who may read.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::decisions::entry::rfc3339;
use crate::decisions::record::CallerRecord;
use crate::decisions::{Entry, RecordType, clip};

/// Bytes that a text of the record may have: what was asked is somebody else's text.
const MAX_TEXT: usize = 2048;

/// What a record of type `read` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadRecord {
    /// When (RFC 3339, nanoseconds, UTC).
    pub timestamp: String,
    /// What was done.
    pub action: ReadAction,
    /// Who reads: the name of a reader's token, of a user of this machine, or of a sink.
    pub reader: String,
    /// Where the reader called from, if over the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<CallerRecord>,
    /// What was asked for, as it was asked.
    pub what: String,
    /// The first record that was handed out, if there was any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seq: Option<u64>,
    /// The last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seq: Option<u64>,
    /// How many records were handed out.
    pub count: u64,
    /// Whether bodies went with them.
    #[serde(default)]
    pub bodies: bool,
    /// Why, in the reader's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How records left the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadAction {
    /// Somebody was shown them.
    Read,
    /// They were sent to a sink.
    Export,
    /// A masked value was confirmed or its key handed out.
    Reveal,
}

impl Entry {
    /// A reading: a record without a body. Texts are clipped, the timestamp is set here.
    #[must_use]
    pub fn read(record: ReadRecord, timestamp: Timestamp) -> Self {
        let record = ReadRecord {
            timestamp: rfc3339(timestamp),
            reader: clip::text(&record.reader, MAX_TEXT),
            what: clip::text(&record.what, MAX_TEXT),
            reason: record.reason.map(|reason| clip::text(&reason, MAX_TEXT)),
            ..record
        };
        Self {
            record_type: RecordType::Read,
            decision_id: Uuid::nil(),
            timestamp,
            members: serde_json::to_vec(&record).unwrap_or_default(),
            body: Vec::new(),
        }
    }
}
