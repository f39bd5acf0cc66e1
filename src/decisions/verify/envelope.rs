//! What of a line is checked beside its hash. Knows one line; must not know the tree.

use std::path::Path;

use serde::Deserialize;

use crate::decisions::LogError;
use crate::decisions::lines::Lines;
use crate::decisions::record::RecordType;
use crate::decisions::segments::{Segment, envelope_path};
use crate::policy::Digest;

/// What of a line is checked beside its hash.
#[derive(Deserialize)]
pub(super) struct Envelope<'l> {
    pub r#type: RecordType,
    pub seq: u64,
    #[serde(borrow)]
    pub origin: std::borrow::Cow<'l, str>,
    #[serde(default, borrow)]
    pub decision_id: Option<std::borrow::Cow<'l, str>>,
    #[serde(default)]
    pub input: Option<Input>,
}

#[derive(Deserialize)]
pub(super) struct Input {
    pub digest: Digest,
}

/// Who wrote a segment.
pub(super) fn origin(dir: &Path, segment: &Segment) -> Result<Option<String>, LogError> {
    let path = envelope_path(dir, segment.first_seq);
    let fault = |e| LogError::io("read", &path, &e);
    let mut lines = Lines::open(&path).map_err(fault)?;
    let line = lines.next_finished().map_err(fault)?;
    Ok(line.and_then(|l| Some(serde_json::from_slice::<Envelope<'_>>(l.bytes).ok()?.origin.into_owned())))
}
