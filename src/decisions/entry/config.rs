//! A change of the policies in force as an entry of the log: a record without a body. Knows digests and what keeping the
//! set came to; must not know where policies come from.

use jiff::Timestamp;
use uuid::Uuid;

use super::{Entry, rfc3339};
use crate::decisions::LogError;
use crate::decisions::record::{ConfigRecord, RecordType};
use crate::decisions::sets::Keeping;
use crate::policy::Digest;

/// What is in force from now on.
#[derive(Debug, Clone, Copy)]
pub struct ConfigChange {
    /// Policy set and data documents.
    pub now: (Digest, Digest),
    /// The same before; none at the start.
    pub before: Option<(Digest, Digest)>,
    /// How many policies there are.
    pub policies: usize,
}

impl Entry {
    /// A change of the policies in force: a record without a body.
    #[must_use]
    pub fn config(change: ConfigChange, timestamp: Timestamp) -> Self {
        Self::config_kept(change, None, timestamp)
    }

    /// The same, with what keeping the content of the set came to, if that was tried.
    #[must_use]
    pub fn config_kept(change: ConfigChange, kept: Option<&Result<Keeping, LogError>>, timestamp: Timestamp) -> Self {
        /// So many are named; a set is dropped when another comes.
        const MOST_NAMED: usize = 64;
        let dropped = kept.and_then(|k| k.as_ref().ok()).map(|k| &k.dropped);
        let record = ConfigRecord {
            timestamp: rfc3339(timestamp),
            reason: if change.before.is_some() { "reload" } else { "start" }.to_owned(),
            policy_set: change.now.0,
            data_digest: change.now.1,
            previous_policy_set: change.before.map(|(set, _)| set),
            previous_data_digest: change.before.map(|(_, data)| data),
            policies: u64::try_from(change.policies).unwrap_or(u64::MAX),
            kept: kept.map(Result::is_ok),
            dropped: dropped.into_iter().flatten().take(MOST_NAMED).cloned().collect(),
        };
        Self {
            record_type: RecordType::Config,
            decision_id: Uuid::nil(),
            timestamp,
            members: serde_json::to_vec(&record).unwrap_or_default(),
            body: Vec::new(),
        }
    }
}
