//! Checkpoints that were kept elsewhere: signed notes, single lines, histories, objects of Kubernetes, the API server's
//! audit log, directories of any of them. Knows their forms; must not know the log they are of.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::decisions::LogError;
use crate::decisions::anchor::HistoryLine;
use crate::decisions::lines::Lines;
use crate::policy::{Digest, yaml};
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
/// A ConfigMap has at most 1 MiB, and may be indented; what is larger is read by lines only.
const MAX_DOCUMENT: u64 = 4 << 20;
/// How deep directories and documents are looked into.
const MAX_DEPTH: usize = 16;

/// Reads the checkpoints of the log `origin` (or of the only log) from a file or a directory of files, and how many of
/// other logs there are. A file is a signed checkpoint, lines of `<origin> <size> <root>` or of an anchor's history, a
/// ConfigMap or Lease (YAML or JSON, also in a list), or an audit log of the API server (JSON lines) with our
/// annotations.
///
/// # Errors
/// [`LogError::Io`]; [`LogError::Foreign`] when there is no checkpoint of that log in it.
pub fn read_anchors(path: &Path, origin: Option<&str>) -> Result<(Vec<Anchor>, u64), LogError> {
    let fault = |e: io::Error| LogError::io("read", path, &e);
    let place = path.display().to_string();
    let mut found = Found { origin, place, seen: BTreeSet::new(), anchors: Vec::new(), others: 0 };
    if std::fs::metadata(path).map_err(fault)?.is_dir() {
        found.directory(path, 0)?;
    } else {
        found.file(path)?;
    }
    let Found { anchors, others, .. } = found;
    if anchors.is_empty() {
        let whose = origin.map(|o| format!(" of `{o}`")).unwrap_or_default();
        let message = match others {
            0 => format!(
                "no checkpoint{whose} is in it; it takes signed checkpoints, lines of `<origin> <size> <root>`, what anchors hold, and audit logs of the API server"
            ),
            n => format!("no checkpoint{whose} is in it, but {n} of other logs"),
        };
        return Err(LogError::Foreign { path: path.to_path_buf(), message });
    }
    Ok((anchors, others))
}

fn signed(text: &str) -> Option<(Note, Checkpoint)> {
    let note = Note::parse(text).ok()?;
    let checkpoint = Checkpoint::parse(&note.text).ok()?;
    Some((note, checkpoint))
}

struct Found<'f> {
    origin: Option<&'f str>,
    place: String,
    /// An audit log has the same checkpoint many times. One with other signatures is another: witnesses may be among them.
    seen: BTreeSet<(u64, Hash, Option<Digest>)>,
    anchors: Vec<Anchor>,
    others: u64,
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Found<'_> {
    fn directory(&mut self, dir: &Path, depth: usize) -> Result<(), LogError> {
        let entries = std::fs::read_dir(dir).map_err(|e| LogError::io("read", dir, &e))?;
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            // A link may lead back to where we are.
            let kind = std::fs::symlink_metadata(&path).map_err(|e| LogError::io("read", &path, &e))?;
            if kind.is_dir() && depth < MAX_DEPTH {
                self.directory(&path, depth + 1)?;
            } else if !kind.is_dir() && path.is_file() {
                self.place = path.display().to_string();
                self.file(&path)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), LogError> {
        let fault = |e: io::Error| LogError::io("read", path, &e);
        let metadata = std::fs::metadata(path).map_err(fault)?;
        // What comes through a pipe can be read once, and may be long.
        let small = metadata.is_file() && metadata.len() <= MAX_DOCUMENT;
        let text = if small { std::fs::read_to_string(path).ok() } else { None };
        if let Some(note) = text.as_deref().and_then(|text| Note::parse(text).ok()) {
            let checkpoint = Checkpoint::parse(&note.text);
            let checkpoint =
                checkpoint.map_err(|e| LogError::Foreign { path: path.to_path_buf(), message: e.to_string() })?;
            self.take(checkpoint, Some(note), 1);
            return Ok(());
        }
        let before = self.count();
        let mut lines = Lines::open(path).map_err(fault)?;
        let mut number = 0;
        while let Some(line) = lines.next().map_err(fault)? {
            number += 1;
            self.line(line.bytes, number);
        }
        // An object of Kubernetes is a document, whose texts are notes or histories.
        if self.count() == before
            && let Some(text) = text.filter(|text| text.contains("\u{2014}") || text.contains("u2014"))
        {
            let documents: Vec<Value> = yaml::parse_all(&self.place, &text).unwrap_or_default();
            documents.iter().for_each(|document| self.document(document, 0));
        }
        Ok(())
    }

    fn count(&self) -> u64 {
        self.others + u64::try_from(self.anchors.len()).unwrap_or(u64::MAX)
    }

    fn document(&mut self, value: &Value, depth: usize) {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) if depth < MAX_DEPTH => items.iter().for_each(|v| self.document(v, depth + 1)),
            Value::Object(members) if depth < MAX_DEPTH => members.values().for_each(|v| self.document(v, depth + 1)),
            _ => {}
        }
    }

    /// A text in a document: a note, or a history.
    fn text(&mut self, text: &str) {
        if let Some((note, checkpoint)) = signed(text) {
            return self.take(checkpoint, Some(note), 1);
        }
        for (number, line) in (1..).zip(text.lines()) {
            self.history(line, number);
        }
    }

    /// A line of an anchor's history.
    fn history(&mut self, line: &str, number: u64) {
        if let Some((note, checkpoint)) = HistoryLine::parse(line).and_then(|line| signed(&line.note)) {
            self.take(checkpoint, Some(note), number);
        }
    }

    fn line(&mut self, line: &[u8], number: u64) {
        let Ok(text) = std::str::from_utf8(line) else { return };
        if let Some(checkpoint) = Checkpoint::parse_anchor(text.trim()) {
            return self.take(checkpoint, None, number);
        }
        if text.starts_with("{\"time\":") {
            return self.history(text, number);
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
        let signed = note.as_ref().map(|note| Digest::of(note.to_string().as_bytes()));
        if self.origin.is_some_and(|origin| origin != checkpoint.origin) {
            self.others += 1;
        } else if self.seen.insert((checkpoint.size, checkpoint.root, signed)) {
            self.anchors.push(Anchor { checkpoint, note, place: format!("`{}:{number}`", self.place) });
        }
    }
}
