//! Erasure of the bodies that belong to one subject: found and rewritten beside the writer, which only writes the record
//! and puts the new files in place, so no answer waits for it. Envelopes are never touched.
//!
//! In place of a body stands `{"decision_id":"<uuid>","erased":true}`: it tells readers at once that the body was erased
//! and not lost. What proves it is the `prune` record.

mod orphans;

use std::collections::{HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::decisions::body::{BodyParts, erased_id, erased_line};
use crate::decisions::entry::rfc3339;
use crate::decisions::hold::Hold;
use crate::decisions::keeping::taken;
use crate::decisions::lines::Lines;
use crate::decisions::orders::{Rewritten, What};
use crate::decisions::ranges::Ranges;
use crate::decisions::record::{PruneRecord, RecordType};
use crate::decisions::retention::erasures;
use crate::decisions::segments::{self, Segment};
use crate::decisions::selection::{Unrecorded, named};
use crate::decisions::writer::{Lines as Written, Writer, length};
use crate::decisions::{Author, DecisionLog, LogError, Record, Selection, Storage};

/// What a rewritten file is called until it is in place.
const DRAFT: &str = "erasing";
/// Times that an erasure is begun again when other holds are in force, or other bodies were erased meanwhile.
const TRIES: usize = 5;

/// Whose bodies are erased: those of the selection, if it names anybody, and besides all that mention one of these texts.
/// Times and policies of the selection bound both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// Which decisions.
    pub selection: Selection,
    /// Texts of a body, as they stand.
    #[serde(default)]
    pub mentions: Vec<String>,
    /// Only count.
    #[serde(default)]
    pub dry_run: bool,
}

/// What an erasure came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Erased {
    /// Decisions that it is about.
    pub decisions: u64,
    /// Bodies that it is about and that no record has.
    #[serde(default)]
    pub unrecorded: u64,
    /// Bodies erased now.
    pub bodies: u64,
    /// Bytes that they took.
    pub bytes: u64,
    /// Files that were rewritten.
    pub files: u64,
}

impl Erasure {
    fn check(&self) -> Result<(), LogError> {
        if self.names_somebody() || names(&self.mentions) {
            return Ok(());
        }
        let message = "an erasure names whose bodies go: a user, ids, a namespace, or a text that they mention";
        Err(LogError::Erasure { message: message.to_owned() })
    }

    fn names_somebody(&self) -> bool {
        let s = &self.selection;
        [&s.users, &s.namespaces, &s.ids].into_iter().any(|all| names(all))
    }

    /// What bounds the bodies that mention a text.
    fn bounds(&self) -> Selection {
        let Selection { since, until, policies, .. } = self.selection.clone();
        Selection { since, until, policies, ..Selection::default() }
    }

    fn takes(&self, record: &Record, mentioned: bool) -> bool {
        (self.names_somebody() && self.selection.takes(record)) || (mentioned && self.bounds().takes(record))
    }

    fn takes_unrecorded(&self, body: &Unrecorded<'_>, mentioned: bool) -> bool {
        (self.names_somebody() && self.selection.takes_unrecorded(body))
            || (mentioned && self.bounds().takes_unrecorded(body))
    }
}

fn names(all: &[String]) -> bool {
    !all.is_empty() && all.iter().all(|name| !name.trim_matches('*').is_empty())
}

/// What is to be erased of a segment.
struct Found {
    segment: Segment,
    /// Numbers of the decisions, by id.
    seqs: HashMap<String, u64>,
    /// Ids of bodies that no record has.
    orphans: HashSet<String>,
}

impl DecisionLog {
    /// Erases bodies, with a record of each file that is rewritten. Waits until it is done; may take as long as reading
    /// the log does.
    ///
    /// # Errors
    /// [`LogError::Held`] when one of the decisions is under legal hold: nothing is erased then. [`LogError::Erasure`]
    /// when nobody is named. What keeps a record from being written or a file from being rewritten.
    pub fn erase(&self, erasure: &Erasure, author: &Author) -> Result<Erased, LogError> {
        erasure.check()?;
        let author = author.clipped();
        let _alone = self.erasing();
        let mut total = Erased::default();
        for _ in 0..TRIES {
            if !erasure.dry_run {
                // What is being written to cannot be rewritten.
                self.order(What::Seal)?;
            }
            match self.erase_once(erasure, &author, &mut total) {
                Err(LogError::Changed) => {}
                other => return other.map(|()| total),
            }
        }
        Err(LogError::Changed)
    }

    fn erase_once(&self, erasure: &Erasure, author: &Author, total: &mut Erased) -> Result<(), LogError> {
        let holds = self.holds();
        let mut all = Vec::new();
        let there = segments::segments(self.dir())?;
        // The newest is the active one: it was begun just now, and what is in it came after the request.
        let sealed = there.len().saturating_sub(usize::from(!erasure.dry_run));
        for segment in there.iter().take(sealed).filter(|s| s.bodies.is_some()) {
            all.extend(find(self.dir(), segment, erasure, &holds)?);
        }
        let sum = |count: fn(&Found) -> usize| all.iter().map(|f| u64::try_from(count(f)).unwrap_or(u64::MAX)).sum();
        (total.decisions, total.unrecorded) = (sum(|f| f.seqs.len()), sum(|f| f.orphans.len()));
        if erasure.dry_run {
            return Ok(());
        }
        for found in all {
            let Some(draft) = rewrite(self.dir(), &found)? else { continue };
            let Draft { path, length, draft_length, erased, unrecorded } = draft;
            let count = erased.count().saturating_add(unrecorded);
            let order = Rewritten {
                segment: found.segment.first_seq,
                length,
                draft: path.clone(),
                draft_length,
                erased,
                unrecorded,
                author: author.clone(),
                holds: Arc::clone(&holds),
            };
            if let Err(error) = self.order(What::Replace(order)) {
                let _ = fs::remove_file(&path);
                return Err(error);
            }
            total.bodies += count;
            total.bytes += length.saturating_sub(draft_length);
            total.files += 1;
        }
        Ok(())
    }
}

/// The decisions of a segment that an erasure is about; none of them may be held.
fn find(dir: &Path, segment: &Segment, erasure: &Erasure, holds: &[Hold]) -> Result<Option<Found>, LogError> {
    let mentioned = mentioned(dir, segment, &erasure.mentions)?;
    let path = segments::envelope_path(dir, segment.first_seq);
    let fault = |e: io::Error| LogError::io("read", &path, &e);
    let mut lines = match Lines::open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(fault)?,
    };
    let mut found = Found { segment: segment.clone(), seqs: HashMap::new(), orphans: HashSet::new() };
    let mut recorded = HashSet::new();
    while let Some(line) = lines.next_finished().map_err(fault)? {
        let text = String::from_utf8_lossy(line.bytes);
        let Some(id) = id_of(&text) else { continue };
        if !recorded.insert(id.to_owned()) || !(mentioned.contains(id) || erasure.selection.may_take(&text)) {
            continue;
        }
        let text: &str = &text;
        let Some(record) = Record::parse(text).filter(|r| r.head.r#type == RecordType::Decision) else { continue };
        let Some(id) = record.decision().map(|d| d.decision_id) else { continue };
        if !erasure.takes(&record, mentioned.contains(&id)) {
            continue;
        }
        let mut name = None;
        if let ControlFlow::Break(()) = taken(text, holds.iter(), |hold| name = Some(hold.name.clone())) {
            return Err(LogError::Held { what: named(&record), name: name.unwrap_or_default() });
        }
        found.seqs.insert(id, record.head.seq);
    }
    found.orphans = orphans::find(dir, segment, erasure, holds, &recorded, &mentioned)?;
    Ok((!found.seqs.is_empty() || !found.orphans.is_empty()).then_some(found))
}

/// The decision's id in a line, as a server writes it.
fn id_of(line: &str) -> Option<&str> {
    Some(line.split_once(r#""decision_id":""#)?.1.split_once('"')?.0)
}

/// Ids of the bodies that hold one of these texts.
fn mentioned(dir: &Path, segment: &Segment, texts: &[String]) -> Result<HashSet<String>, LogError> {
    let mut ids = HashSet::new();
    if texts.is_empty() {
        return Ok(ids);
    }
    // As they stand in JSON, without the quotes.
    let needles: Vec<String> = texts.iter().filter_map(|text| in_json(text)).filter(|n| !n.is_empty()).collect();
    for_each_body(dir, segment, |text| {
        if let Some(parts) = BodyParts::of(text)
            && needles.iter().any(|n| text.contains(n.as_str()))
        {
            ids.insert(parts.decision_id.to_owned());
        }
        Ok(())
    })?;
    Ok(ids)
}

fn in_json(text: &str) -> Option<String> {
    Some(serde_json::to_string(text).ok()?.strip_prefix('"')?.strip_suffix('"')?.to_owned())
}

fn for_each_body(
    dir: &Path,
    segment: &Segment,
    mut each: impl FnMut(&str) -> Result<(), LogError>,
) -> Result<u64, LogError> {
    let path = segments::body_path(dir, segment.first_seq);
    let fault = |e: io::Error| LogError::io("read", &path, &e);
    let mut lines = match Lines::open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other.map_err(fault)?,
    };
    let mut length = 0;
    while let Some(line) = lines.next_finished().map_err(fault)? {
        length = line.offset + u64::try_from(line.bytes.len()).unwrap_or_default() + 1;
        each(&String::from_utf8_lossy(line.bytes))?;
    }
    Ok(length)
}

/// A file of bodies, rewritten beside.
struct Draft {
    path: PathBuf,
    length: u64,
    draft_length: u64,
    erased: Ranges,
    unrecorded: u64,
}

/// Writes the bodies of a segment once more, without those that were found. `None` when none of them is there. What could
/// not be finished does not stay: it holds bodies.
fn rewrite(dir: &Path, found: &Found) -> Result<Option<Draft>, LogError> {
    let path = segments::body_path(dir, found.segment.first_seq).with_extension(DRAFT);
    let draft = rewrite_to(path.clone(), dir, found);
    if !matches!(draft, Ok(Some(_)))
        && let Err(error) = fs::remove_file(&path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "an unfinished erasure could not be cleaned up");
    }
    draft
}

fn rewrite_to(path: PathBuf, dir: &Path, found: &Found) -> Result<Option<Draft>, LogError> {
    let fault = |e: io::Error| LogError::io("write", &path, &e);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).map_err(fault)?;
    let mut out = BufWriter::with_capacity(256 * 1024, file);
    let (mut erased, mut unrecorded, mut draft_length) = (Ranges::default(), 0_u64, 0);
    let length = for_each_body(dir, &found.segment, |text| {
        let id = BodyParts::of(text).map_or("", |parts| parts.decision_id);
        let line = if let Some(seq) = found.seqs.get(id) {
            erased.insert(*seq, *seq);
            erased_line(id)
        } else if found.orphans.contains(id) {
            unrecorded += 1;
            erased_line(id)
        } else {
            text.to_owned()
        };
        draft_length += length(line.as_bytes()) + 1;
        out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")).map_err(fault)
    })?;
    let file = out.into_inner().map_err(|e| fault(e.into_error()))?;
    file.sync_all().map_err(fault)?;
    let any = !erased.is_empty() || unrecorded > 0;
    Ok(any.then_some(Draft { path, length, draft_length, erased, unrecorded }))
}

impl Writer {
    /// Writes the record of an erasure, and then puts the file in place: should the second fail, the record says more
    /// than was done, and the erasure can be asked for again.
    pub(super) fn put_in_place(&mut self, rewritten: &Rewritten) -> Result<(), LogError> {
        let sealed = self.segments.len().saturating_sub(1);
        let segment = self.segments.iter().take(sealed).find(|s| s.first_seq == rewritten.segment);
        if self.kept.holds != *rewritten.holds || segment.and_then(|s| s.bodies) != Some(rewritten.length) {
            return Err(LogError::Changed);
        }
        // What was written is what is put in place, whatever happened to the draft since.
        let draft = fs::metadata(&rewritten.draft).map_err(|e| LogError::io("find", &rewritten.draft, &e))?;
        if draft.len() != rewritten.draft_length {
            return Err(LogError::Changed);
        }
        let bytes = rewritten.length.saturating_sub(rewritten.draft_length);
        let mut lines = Written::default();
        let told = self.add_pruned(&mut lines);
        let mut records = erasures(&rewritten.erased, bytes, &rewritten.author);
        if rewritten.unrecorded > 0 {
            let end = self.segments.iter().map(|s| s.first_seq).find(|first| *first > rewritten.segment);
            let bytes = if records.is_empty() { bytes } else { 0 };
            records.push(of_unrecorded(rewritten, end.unwrap_or(rewritten.segment), bytes));
        }
        for record in records {
            self.add_own(&mut lines, RecordType::Prune, &record);
        }
        self.write(&lines)?;
        self.prunes_written(told);
        self.sign_all()?;
        let path = segments::body_path(&self.options.dir, rewritten.segment);
        self.storage.rename(&rewritten.draft, &path).map_err(|e| LogError::io("replace", &path, &e))?;
        if let Some(segment) = self.segments.iter_mut().find(|s| s.first_seq == rewritten.segment) {
            segment.bodies = Some(rewritten.draft_length);
        }
        rewritten.erased.iter().for_each(|(first, last)| self.kept.erased.insert(first, last));
        self.save_kept();
        Ok(())
    }
}

/// The record of bodies that no record has: it says between which records they stood, and how many they were.
fn of_unrecorded(rewritten: &Rewritten, end: u64, bytes: u64) -> PruneRecord {
    let Author { by, ticket, note } = rewritten.author.clone();
    let unrecorded = format!("{} without a record", rewritten.unrecorded);
    PruneRecord {
        timestamp: rfc3339(Timestamp::now()),
        what: "body".to_owned(),
        reason: "erasure".to_owned(),
        first_seq: rewritten.segment,
        last_seq: end.saturating_sub(1).max(rewritten.segment),
        count: rewritten.unrecorded,
        bytes,
        erased: Ranges::default(),
        gone: Ranges::default(),
        by: Some(by),
        ticket,
        note: Some(note.map_or_else(|| unrecorded.clone(), |note| format!("{unrecorded}; {note}"))),
    }
}

/// Ends erasures that were cut off: what records tell of is put in place, `erased` says of which bodies they do; anything
/// else is deleted, it holds bodies.
pub(super) fn finish(storage: &dyn Storage, dir: &Path, segments: &mut [Segment], erased: &Ranges) {
    let Ok(entries) = fs::read_dir(dir.join("bodies")) else { return };
    let drafts = entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == DRAFT));
    for draft in drafts.collect::<Vec<_>>() {
        let path = draft.with_extension("jsonl");
        let segment = segments.iter_mut().find(|s| segments::body_path(dir, s.first_seq) == path);
        let done = match segment {
            Some(segment) if told(dir, segment.first_seq, &draft, erased).unwrap_or(false) => {
                let length = fs::metadata(&draft).map(|m| m.len());
                storage.rename(&draft, &path).and(length).map(|length| segment.bodies = Some(length))
            }
            _ => fs::remove_file(&draft),
        };
        if let Err(error) = done {
            tracing::warn!(path = %draft.display(), %error, "an unfinished erasure could not be ended");
        }
    }
}

/// Whether records tell of all that a draft erases. Bodies without a record have none to be looked up: their erasure was
/// written together with that of the others, and where there are no others it is asked for again.
fn told(dir: &Path, first_seq: u64, draft: &Path, erased: &Ranges) -> io::Result<bool> {
    let before = erased_in(&segments::body_path(dir, first_seq))?;
    let mut ids = erased_in(draft)?;
    ids.retain(|id| !before.contains(id));
    let mut any = false;
    let mut lines = Lines::open(&segments::envelope_path(dir, first_seq))?;
    while let Some(line) = lines.next_finished()? {
        let Some(record) = std::str::from_utf8(line.bytes).ok().and_then(Record::parse) else { continue };
        let Some(id) = record.decision().map(|d| d.decision_id) else { continue };
        let seq = record.head.seq;
        if ids.contains(&id) {
            any = true;
            if !erased.iter().any(|(first, last)| (first..=last).contains(&seq)) {
                return Ok(false);
            }
        }
    }
    Ok(any)
}

/// Ids of the bodies that a file says were erased.
fn erased_in(path: &Path) -> io::Result<HashSet<String>> {
    let mut ids = HashSet::new();
    let mut lines = Lines::open(path)?;
    while let Some(line) = lines.next_finished()? {
        ids.extend(std::str::from_utf8(line.bytes).ok().and_then(erased_id).map(str::to_owned));
    }
    Ok(ids)
}

/// Whether a line of a body file says that the body of `id` was erased.
pub(super) fn is_erased(line: &str, id: &str) -> bool {
    erased_id(line).is_some_and(|erased| erased == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decisions::record::Labels;
    use crate::decisions::{Durability, LogOptions, MaskKey, Retention, SigningSeed};

    #[test]
    fn a_draft_that_is_not_what_was_written_is_not_put_in_place() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let log = DecisionLog::open(LogOptions {
            dir: dir.path().to_path_buf(),
            durability: Durability::Flush,
            max_bytes: 1 << 30,
            segment_bytes: 1 << 20,
            retention: Retention::default(),
            labels: Labels::default(),
            origin: "test".to_owned(),
            mask_key: MaskKey::from_bytes([7; 32]),
            signing_seed: SigningSeed::from_bytes([5; 32]),
            checkpoint_copy: None,
        });
        let log = log.expect("opens");
        log.order(What::Seal).map(drop).expect("a new segment");
        let draft = dir.path().join("bodies/draft");
        let put = |draft_length| {
            log.order(What::Replace(Rewritten {
                segment: 0,
                length: 0,
                draft: draft.clone(),
                draft_length,
                erased: Ranges::default(),
                unrecorded: 0,
                author: Author::default(),
                holds: log.holds(),
            }))
            .map(drop)
        };
        assert!(matches!(put(0), Err(LogError::Io { .. })), "it is gone");
        fs::write(&draft, "of another").expect("written");
        assert_eq!(put(0), Err(LogError::Changed));
        let path = segments::body_path(dir.path(), 0);
        assert_eq!(fs::read(&path).expect("read"), b"", "the bodies are as they were");
        assert_eq!(put(10), Ok(()));
        assert_eq!(fs::read(&path).expect("read"), b"of another");
    }
}
