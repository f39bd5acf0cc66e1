//! Legal holds: what must not be deleted whatever the period or the bound. Knows holds, their records and the file that
//! keeps them at hand; must not know how segments are deleted.
//!
//! The records are what counts. The file `<dir>/holds` says what they came to up to some record, so that a start needs
//! to read only those after it. It is a signed note: nobody makes the server forget a hold by changing it. Without it, or
//! when one of the log's keys did not sign it, all records are read.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::decisions::doubt::Starts;
use crate::decisions::lines::Lines;
use crate::decisions::ranges::Ranges;
use crate::decisions::segments::{self, Segment};
use crate::decisions::tree_files::{latest_size, read_keys, read_text};
use crate::decisions::{LogError, PruneRecord, Record, RecordType, Selection, StartRecord, Storage};
use crate::tlog::{Note, VerifierKey};

/// Longest name, in bytes: it stands in messages and records.
const MAX_NAME: usize = 100;
/// Holds at once: each segment is looked through for each of them.
const MAX_HOLDS: usize = 200;

/// A legal hold in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its name.
    pub name: String,
    /// What it keeps.
    #[serde(default)]
    pub selection: Selection,
    /// Why.
    pub reason: String,
    /// Where it was asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ticket: String,
    /// Who placed it.
    pub by: String,
    /// When (RFC 3339, nanoseconds, UTC).
    pub placed: String,
    /// The record that states it.
    #[serde(default)]
    pub seq: u64,
}

/// What became of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldAction {
    /// It is in force from here on.
    Place,
    /// It is in force no longer.
    Release,
    /// It is still in force; the record that stated it before is about to be deleted, or is in another log.
    Restate,
}

/// What a record of type `hold` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRecord {
    /// When.
    pub timestamp: String,
    /// What became of it.
    pub action: HoldAction,
    /// The hold.
    pub name: String,
    /// What it keeps. Of a later version, which cannot be read: everything.
    #[serde(default, deserialize_with = "or_all")]
    pub selection: Selection,
    /// Why.
    pub reason: String,
    /// Where it was asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ticket: String,
    /// Who did it; of a hold that is stated again, who placed it.
    pub by: String,
    /// When it was placed.
    pub placed: String,
}

fn or_all<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Selection, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// Whether a hold can have this name.
fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(fits)
}

impl Hold {
    pub(super) fn record(&self, action: HoldAction, timestamp: String) -> HoldRecord {
        HoldRecord {
            timestamp,
            action,
            name: self.name.clone(),
            selection: self.selection.clone(),
            reason: self.reason.clone(),
            ticket: self.ticket.clone(),
            by: self.by.clone(),
            placed: self.placed.clone(),
        }
    }

    /// Whether it can be placed.
    pub(super) fn check(&self, others: &[Self]) -> Result<(), LogError> {
        let fault = |message: String| Err(LogError::Hold { message });
        if !is_name(&self.name) {
            let name = &self.name;
            return fault(format!("`{name}` is no name of a hold: write 1 to {MAX_NAME} of `A-Z a-z 0-9 . _ -`"));
        }
        if self.reason.trim().is_empty() {
            return fault(format!("hold `{}` needs a reason", self.name));
        }
        if others.iter().any(|h| h.name == self.name) {
            return fault(format!("there is a hold `{}` already; release it first, or choose another name", self.name));
        }
        if others.len() >= MAX_HOLDS {
            return fault(format!("there are {MAX_HOLDS} holds already"));
        }
        // It has to fit into a record, with as much again for its other texts.
        if serde_json::to_vec(self).map_or(usize::MAX, |json| json.len()) > super::MAX_ENVELOPE / 2 {
            return fault(format!("hold `{}` is too long: at most some hundred ids or names", self.name));
        }
        Ok(())
    }
}

/// What the records say of holds and deletions, up to one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The first record that is not counted in.
    pub upto: u64,
    /// Holds in force, in the order in which they were placed.
    #[serde(default)]
    pub holds: Vec<Hold>,
    /// Records that were deleted.
    #[serde(default)]
    pub gone: Ranges,
    /// Records that are there and whose bodies were erased.
    #[serde(default)]
    pub erased: Ranges,
    /// Deletions on a full disk of which no signed record tells yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owed: Vec<PruneRecord>,
}

/// `<dir>/holds`.
fn path(dir: &Path) -> PathBuf {
    dir.join("holds")
}

impl Kept {
    /// What the log in `dir` holds and has deleted: the file, if one of `keys` signed it, and the records after it, which
    /// end before `end`. A checkpoint covers those before `signed`. Others keep what they hold, and release and delete
    /// nothing: anybody may have written them.
    pub(super) fn read(
        dir: &Path,
        segments: &[Segment],
        keys: &[VerifierKey],
        (signed, end): (u64, u64),
    ) -> Result<Self, LogError> {
        let mut kept = match Self::stored(dir, keys) {
            // Records that it counts in were lost with the power, and others may have their numbers.
            Ok(stored) => stored.filter(|kept| kept.upto <= end).unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "the list of legal holds is read from the records");
                Self::default()
            }
        };
        let (mut records, mut starts) = (Vec::new(), Starts::default());
        for (i, segment) in segments.iter().enumerate() {
            if segments.get(i + 1).is_none_or(|next| next.first_seq > kept.upto) {
                kept.look(&segments::envelope_path(dir, segment.first_seq), &mut records, &mut starts)?;
            }
        }
        let (doubtful, _) = starts.doubtful(signed);
        for record in records {
            let seq = record.head.seq;
            if doubtful.contains(seq) && kept.loses_by(&record) {
                tracing::warn!(
                    seq,
                    "a record that changes a hold or tells of a deletion was not signed, and is not believed"
                );
            } else {
                kept.take(dir, &record);
            }
            kept.upto = kept.upto.max(seq.saturating_add(1));
        }
        Ok(kept)
    }

    /// Takes over the holds that the list of the log before says, whose keys are `keys`, but for those that a record of this
    /// one speaks of: a start that was killed has not stated them yet.
    pub(super) fn inherit(&mut self, dir: &Path, segments: &[Segment], keys: &[VerifierKey]) -> Result<(), LogError> {
        let Ok(Some(before)) = Self::stored(dir, keys) else { return Ok(()) };
        let (mut records, mut starts) = (Vec::new(), Starts::default());
        for segment in segments {
            let path = segments::envelope_path(dir, segment.first_seq);
            Self::default().look(&path, &mut records, &mut starts)?;
        }
        let spoken: Vec<String> = records.iter().filter_map(Record::hold).map(|hold| hold.name).collect();
        let known = |name: &String| spoken.contains(name);
        self.holds.extend(before.holds.into_iter().filter(|hold| !known(&hold.name)));
        Ok(())
    }

    /// What the file says; `None` when there is none.
    pub(super) fn stored(dir: &Path, keys: &[VerifierKey]) -> Result<Option<Self>, LogError> {
        let path = path(dir);
        let foreign = |message: String| LogError::Foreign { path: path.clone(), message };
        let text = match read_text(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(foreign(e.to_string())),
            Err(e) => return Err(LogError::io("read", &path, &e)),
        };
        let note = Note::parse(&text).map_err(|e| foreign(e.to_string()))?;
        note.verify(keys).map_err(|e| foreign(format!("it is {e}")))?;
        if note.signatures.len() != 1 || note.to_string() != text {
            return Err(foreign("it is not as a server writes it".to_owned()));
        }
        serde_json::from_str(&note.text).map(Some).map_err(|e| foreign(e.to_string()))
    }

    /// The text of the file, to be signed.
    pub(super) fn text(&self) -> String {
        format!("{}\n", serde_json::to_string(self).unwrap_or_default())
    }

    /// Writes the file.
    pub(super) fn save(note: &Note, storage: &dyn Storage, dir: &Path) -> Result<(), LogError> {
        let path = path(dir);
        storage.replace(&path, note.to_string().as_bytes()).map_err(|e| LogError::io("write", &path, &e))
    }

    /// Collects the records of a segment that say something of holds and deletions, and which records a start took over
    /// although no checkpoint covered them.
    fn look(&self, path: &Path, records: &mut Vec<Record>, starts: &mut Starts) -> Result<(), LogError> {
        let fault = |e: io::Error| LogError::io("read", path, &e);
        let mut lines = match Lines::open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(fault)?,
        };
        while let Some(line) = lines.next_finished().map_err(fault)? {
            let Ok(text) = std::str::from_utf8(line.bytes) else { continue };
            let wanted =
                [r#""type":"hold""#, r#""type":"prune""#, r#""type":"start""#].iter().any(|t| text.contains(t));
            let Some(record) = wanted.then(|| Record::parse(text)).flatten() else { continue };
            let seq = record.head.seq;
            match record.head.r#type {
                RecordType::Start => {
                    let start: Option<StartRecord> = serde_json::from_str(&record.line).ok();
                    starts.add(seq, start.map_or(0, |start| start.unsigned));
                }
                RecordType::Hold | RecordType::Prune if seq >= self.upto => records.push(record),
                _ => {}
            }
        }
        Ok(())
    }

    fn take(&mut self, dir: &Path, record: &Record) {
        match record.head.r#type {
            RecordType::Hold => {
                let Some(hold) = record.hold() else { return };
                self.holds.retain(|h| h.name != hold.name);
                if hold.action != HoldAction::Release {
                    let HoldRecord { name, selection, reason, ticket, by, placed, .. } = hold;
                    self.holds.push(Hold { name, selection, reason, ticket, by, placed, seq: record.head.seq });
                }
            }
            RecordType::Prune => {
                if let Some(prune) = record.prune() {
                    let erased = self.erased.clone();
                    self.deleted(&prune);
                    // Killed before they were deleted: what was erased of them has to be told of as before.
                    if prune.what == "bodies" && segments::body_path(dir, prune.first_seq).exists() {
                        self.erased = erased;
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether something is no longer held by it, or not as it was, or is to have been deleted; or it is no hold that a
    /// server places.
    fn loses_by(&self, record: &Record) -> bool {
        match record.hold() {
            Some(hold) => {
                let known = self.holds.iter().any(|h| h.name == hold.name);
                hold.action == HoldAction::Release || known || self.holds.len() >= MAX_HOLDS || !is_name(&hold.name)
            }
            None => record.head.r#type == RecordType::Prune,
        }
    }

    /// What a prune record says.
    pub(super) fn deleted(&mut self, prune: &PruneRecord) {
        prune.erased.iter().for_each(|(first, last)| self.erased.insert(first, last));
        if matches!(prune.what.as_str(), "bodies" | "segment") {
            self.erased.remove(prune.first_seq, prune.last_seq);
        }
        if prune.what == "segment" {
            self.gone.insert(prune.first_seq, prune.last_seq);
            prune.gone.iter().for_each(|(first, last)| self.gone.insert(first, last));
        }
    }

    /// Erased bodies of records before this one.
    pub(super) fn erased_before(&self, seq: u64) -> Ranges {
        let mut before = self.erased.clone();
        before.remove(seq, u64::MAX);
        before
    }
}

/// The holds in force on the log in `dir`, as its file says; from the records when there is none.
///
/// # Errors
/// [`LogError::Io`].
pub fn holds(dir: &Path) -> Result<Vec<Hold>, LogError> {
    let signed = latest_size(dir).unwrap_or(0);
    Ok(Kept::read(dir, &segments::segments(dir)?, &read_keys(dir)?, (signed, u64::MAX))?.holds)
}
