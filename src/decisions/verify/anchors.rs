//! Checkpoints that were kept elsewhere: signed notes, single lines, the API server's audit log. Knows their forms;
//! must not know the log they are of.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use serde::Deserialize;

use crate::decisions::LogError;
use crate::decisions::lines::Lines;
use crate::tlog::{Checkpoint, Hash, Note};

/// A checkpoint, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// With signatures, if it has any.
    pub note: Option<Note>,
    /// For messages: `<file>:<line>`.
    pub place: String,
}

/// The end of an annotation's key; before it stands the webhook's name and a slash.
const KEY: &str = "checkpoint";
/// A signed note is small; what is larger is something else.
const MAX_NOTE: u64 = 64 * 1024;

/// Reads the checkpoints of the log `origin` (or of the only log) from a file, and how many of other logs there are.
/// The file is a signed checkpoint, lines of `<origin> <size> <root>`, or an audit log of the API server (JSON lines)
/// with our annotations.
///
/// # Errors
/// [`LogError::Io`]; [`LogError::Foreign`] when there is no checkpoint of that log in it.
pub fn read_anchors(path: &Path, origin: Option<&str>) -> Result<(Vec<Anchor>, u64), LogError> {
    let fault = |e: io::Error| LogError::io("read", path, &e);
    let place = path.display().to_string();
    let mut found = Found { origin, place: &place, seen: BTreeSet::new(), anchors: Vec::new(), others: 0 };
    let metadata = std::fs::metadata(path).map_err(fault)?;
    // What comes through a pipe can be read once, and may be long.
    let small = metadata.is_file() && metadata.len() <= MAX_NOTE;
    let text = if small { std::fs::read_to_string(path).ok() } else { None };
    if let Some(note) = text.as_deref().and_then(|text| Note::parse(text).ok()) {
        let checkpoint = Checkpoint::parse(&note.text);
        let checkpoint =
            checkpoint.map_err(|e| LogError::Foreign { path: path.to_path_buf(), message: e.to_string() })?;
        found.take(checkpoint, Some(note), 1);
    } else {
        let mut lines = Lines::open(path).map_err(fault)?;
        let mut number = 0;
        while let Some(line) = lines.next().map_err(fault)? {
            number += 1;
            found.line(line.bytes, number);
        }
    }
    let Found { anchors, others, .. } = found;
    if anchors.is_empty() {
        let whose = origin.map(|o| format!(" of `{o}`")).unwrap_or_default();
        let message = match others {
            0 => format!(
                "no checkpoint{whose} is in it; it takes signed checkpoints, lines of `<origin> <size> <root>`, and audit logs of the API server"
            ),
            n => format!("no checkpoint{whose} is in it, but {n} of other logs"),
        };
        return Err(LogError::Foreign { path: path.to_path_buf(), message });
    }
    Ok((anchors, others))
}

struct Found<'f> {
    origin: Option<&'f str>,
    place: &'f str,
    /// An audit log has the same checkpoint many times.
    seen: BTreeSet<(u64, Hash)>,
    anchors: Vec<Anchor>,
    others: u64,
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Found<'_> {
    fn line(&mut self, line: &[u8], number: u64) {
        let Ok(text) = std::str::from_utf8(line) else { return };
        if let Some(checkpoint) = Checkpoint::parse_anchor(text.trim()) {
            return self.take(checkpoint, None, number);
        }
        // Most events have none: look before parsing.
        if !text.contains(KEY) {
            return;
        }
        let Ok(event) = serde_json::from_str::<Event>(text) else { return };
        for (key, value) in event.annotations {
            if key.rsplit('/').next() == Some(KEY)
                && let Some(checkpoint) = Checkpoint::parse_anchor(&value)
            {
                self.take(checkpoint, None, number);
            }
        }
    }

    fn take(&mut self, checkpoint: Checkpoint, note: Option<Note>, number: u64) {
        if self.origin.is_some_and(|origin| origin != checkpoint.origin) {
            self.others += 1;
        } else if self.seen.insert((checkpoint.size, checkpoint.root)) {
            self.anchors.push(Anchor { checkpoint, note, place: format!("`{}:{number}`", self.place) });
        }
    }
}
