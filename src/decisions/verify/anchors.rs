//! Checkpoints that were kept elsewhere: signed notes, single lines, histories, objects of Kubernetes, the API server's
//! audit log, directories of any of them. Knows their forms; must not know the log they are of.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io::{self, Read as _};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::decisions::LogError;
use crate::decisions::anchor::HistoryLine;
use crate::decisions::join::files;
use crate::decisions::lines::read_line;
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
/// Bytes of a line: lists of events may be long.
const MAX_LINE: usize = 64 << 20;
/// How deep directories and documents are looked into.
const MAX_DEPTH: usize = 16;

/// Checkpoints that were found in one place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Anchors {
    /// Those of the log.
    pub found: Vec<Anchor>,
    /// The largest of each other log.
    pub others: BTreeMap<String, Anchor>,
    /// How many there are of other logs.
    pub of_others: u64,
}

/// Reads the checkpoints of the log `origin` (or of the only log) from a file or a directory of files, and how many of
/// other logs there are. A file holds signed checkpoints, lines of `<origin> <size> <root>` or of an anchor's history, a
/// ConfigMap or Lease (YAML or JSON, also in a list), or is an audit log of the API server (JSON lines, lists of events,
/// the wrappings of log shippers) with our annotations; it may be compressed (gzip).
///
/// # Errors
/// [`LogError::Io`]; [`LogError::Foreign`] when there is no checkpoint in it, or a line is too long.
pub fn read_anchors(path: &Path, origin: Option<&str>) -> Result<Anchors, LogError> {
    let fault = |e: io::Error| LogError::io("read", path, &e);
    let place = path.display().to_string();
    let mut found = Found { origin, place, seen: BTreeSet::new(), anchors: Anchors::default() };
    if std::fs::metadata(path).map_err(fault)?.is_dir() {
        found.directory(path, 0)?;
    } else {
        found.file(path)?;
    }
    let anchors = found.anchors;
    if anchors.found.is_empty() && anchors.of_others == 0 {
        return Err(nothing(path, origin, 0));
    }
    Ok(anchors)
}

/// That none of its checkpoints is of the log.
pub(super) fn nothing(path: &Path, origin: Option<&str>, of_others: u64) -> LogError {
    let whose = origin.map(|o| format!(" of `{o}`")).unwrap_or_default();
    let message = match of_others {
        0 => format!(
            "no checkpoint{whose} is in it; it takes signed checkpoints, lines of `<origin> <size> <root>`, what anchors hold, and audit logs of the API server"
        ),
        n => format!("no checkpoint{whose} is in it, but {n} of other logs"),
    };
    LogError::Foreign { path: path.to_path_buf(), message }
}

/// The notes of a text, if it is nothing but notes, one after another.
fn notes(text: &str) -> Option<Vec<Note>> {
    let (mut notes, mut begin, mut at, mut signed) = (Vec::new(), 0, 0, false);
    for line in text.split_inclusive('\n') {
        let signature = line.starts_with("\u{2014} ");
        if signed && !signature {
            notes.push(Note::parse(text.get(begin..at)?.trim_start_matches('\n')).ok()?);
            begin = at;
        }
        signed = signature;
        at += line.len();
    }
    let last = text.get(begin..)?;
    if !last.trim().is_empty() {
        notes.push(Note::parse(last.trim_start_matches('\n')).ok()?);
    }
    Some(notes).filter(|notes| !notes.is_empty())
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
    anchors: Anchors,
}

#[derive(Deserialize)]
struct Event {
    #[serde(default, rename = "auditID")]
    audit_id: Option<String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, Value>>,
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
        let foreign = |message: String| LogError::Foreign { path: path.to_path_buf(), message };
        let mut reader = files::open(path).map_err(fault)?;
        // What comes through a pipe can be read once, and may be long.
        let mut begin = Vec::new();
        (&mut reader).take(MAX_DOCUMENT + 1).read_to_end(&mut begin).map_err(fault)?;
        let small = u64::try_from(begin.len()).is_ok_and(|length| length <= MAX_DOCUMENT);
        let text = if small { std::str::from_utf8(&begin).ok().map(str::to_owned) } else { None };
        if let Some(notes) = text.as_deref().and_then(notes) {
            let mut line = 1;
            for note in notes {
                let checkpoint = Checkpoint::parse(&note.text).map_err(|e| foreign(e.to_string()))?;
                let lines = note.to_string().lines().count();
                self.take(checkpoint, Some(note), line);
                line += u64::try_from(lines).unwrap_or(u64::MAX);
            }
            return Ok(());
        }
        let before = self.count();
        if let Some(text) = &text {
            self.notes_among(text);
        }
        let mut reader = io::Cursor::new(begin).chain(reader);
        let (mut line, mut number) = (Vec::new(), 0);
        while let Some(read) = read_line(&mut reader, &mut line, MAX_LINE).map_err(fault)? {
            number += 1;
            if read.length > u64::try_from(line.len()).unwrap_or(u64::MAX) {
                return Err(foreign(format!("line {number} is longer than {} MiB", MAX_LINE >> 20)));
            }
            self.line(line.trim_ascii(), number);
        }
        // An object of Kubernetes is a document, whose texts are notes or histories.
        if self.count() == before
            && let Some(text) = text.filter(|text| ["\u{2014}", "u2014", KEY].iter().any(|t| text.contains(t)))
        {
            let documents: Vec<Value> = yaml::parse_all(&self.place, &text).unwrap_or_default();
            documents.iter().for_each(|document| self.document(document, 0));
        }
        Ok(())
    }

    /// Notes in a text that holds something else too.
    fn notes_among(&mut self, text: &str) {
        /// Lines of a checkpoint with its extensions, at most.
        const LONGEST: usize = 32;
        let lines: Vec<&str> = text.lines().collect();
        let is_signature = |line: Option<&&str>| line.is_some_and(|line| line.starts_with("\u{2014} "));
        let mut at = 0;
        while at < lines.len() {
            let first = at;
            at += 1;
            if !is_signature(lines.get(first)) {
                continue;
            }
            while is_signature(lines.get(at)) {
                at += 1;
            }
            // The shortest text before it that is a checkpoint: origin, size and root, and then perhaps more.
            let begins = (4..=LONGEST).filter_map(|lines| first.checked_sub(lines));
            let note = |begin: usize| signed(&(lines.get(begin..at)?.join("\n") + "\n")).map(|found| (begin, found));
            if let Some((begin, (note, checkpoint))) = begins.filter_map(note).next() {
                self.take(checkpoint, Some(note), u64::try_from(begin + 1).unwrap_or(u64::MAX));
            }
        }
    }

    fn count(&self) -> u64 {
        self.anchors.of_others + u64::try_from(self.anchors.found.len()).unwrap_or(u64::MAX)
    }

    fn document(&mut self, value: &Value, depth: usize) {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) if depth < MAX_DEPTH => items.iter().for_each(|v| self.document(v, depth + 1)),
            Value::Object(members) if depth < MAX_DEPTH => members.iter().for_each(|(key, value)| {
                self.annotation(key, value.as_str().unwrap_or_default(), 1);
                self.document(value, depth + 1);
            }),
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
        if text.contains("\"note\"") {
            self.history(text, number);
        }
        // Most events have none: look before parsing.
        if !text.contains(KEY) {
            return;
        }
        let mut take = |event: &str| {
            let Ok(event) = serde_json::from_str::<Event>(event) else { return Ok::<bool, Infallible>(false) };
            for (key, value) in event.annotations.iter().flatten() {
                self.annotation(key, value.as_str().unwrap_or_default(), number);
            }
            Ok(event.audit_id.is_some())
        };
        // What holds no event holds no checkpoint.
        let Ok(_) = files::texts(line, 0, &mut take);
    }

    fn annotation(&mut self, key: &str, value: &str, number: u64) {
        if key.rsplit('/').next() == Some(KEY)
            && let Some(checkpoint) = Checkpoint::parse_anchor(value)
        {
            self.take(checkpoint, None, number);
        }
    }

    fn take(&mut self, checkpoint: Checkpoint, note: Option<Note>, number: u64) {
        let signed = note.as_ref().map(|note| Digest::of(note.to_string().as_bytes()));
        let place = format!("`{}:{number}`", self.place);
        if self.origin.is_some_and(|origin| origin != checkpoint.origin) {
            self.anchors.of_others += 1;
            let largest = self.anchors.others.get(&checkpoint.origin).map(|a| a.checkpoint.size);
            if largest.is_none_or(|size| size < checkpoint.size) {
                self.anchors.others.insert(checkpoint.origin.clone(), Anchor { checkpoint, note, place });
            }
        } else if self.seen.insert((checkpoint.size, checkpoint.root, signed)) {
            self.anchors.found.push(Anchor { checkpoint, note, place });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::{SigningKey, empty_root};
    use flate2::{Compression, write::GzEncoder};
    use serde_json::json;
    use std::io::Write as _;

    #[test]
    fn checkpoints_are_found_in_whatever_they_are_kept_in() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("kept");
        let key = SigningKey::from_seed("o", &[3; 32]).expect("a key");
        let checkpoint = |size| Checkpoint { origin: "o".to_owned(), size, root: empty_root() };
        let note = |size| checkpoint(size).sign(&key).to_string();
        let event = |size| json!({"auditID": "a", "annotations": {"validate.portcullis.io/checkpoint": checkpoint(size).to_string()}});
        let list = json!({"kind": "EventList", "items": [event(1), {"auditID": "b"}, event(2)]});
        let pretty = serde_json::to_string_pretty(&list).expect("JSON");
        for text in [
            format!("{}{}", note(1), note(2)),
            format!("{}\n{}\n", note(1), note(2)),
            format!("{}\n{}\n", checkpoint(1), checkpoint(2)),
            format!("{}\n{}\n", event(1), event(2)),
            list.to_string(),
            pretty,
            json!({"message": list.to_string()}).to_string(),
            format!("{}{}\n", note(1), checkpoint(2)),
            format!("# kept by hand\n{}\n{}\n", note(1), checkpoint(2)),
            format!("{}\n{}# and so on\n", checkpoint(1), note(2)),
            format!("{}{}\n", note(1), json!({"note": note(2), "time": "2026-01-01T00:00:00Z"})),
            format!("{}\n{}\n", event(1), event(2).to_string().replace("{\"validate", "{\"x\":null,\"validate")),
        ] {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(text.as_bytes()).expect("compressed");
            for bytes in [text.as_bytes(), &gzip.finish().expect("compressed")] {
                std::fs::write(&path, bytes).expect("written");
                let mut sizes: Vec<u64> =
                    read_anchors(&path, Some("o")).expect("reads").found.iter().map(|a| a.checkpoint.size).collect();
                sizes.sort_unstable();
                assert_eq!(sizes, [1, 2], "{text}");
                let other = read_anchors(&path, Some("p")).expect("reads");
                assert_eq!((other.found.len(), other.of_others), (0, 2), "{text}");
                assert_eq!(other.others.get("o").map(|a| a.checkpoint.size), Some(2));
            }
        }
    }
}
