//! How an index follows a log: segment by segment, from the byte where it stopped. Knows segments and bytes.
//!
//! A segment is known by the log's origin and its first number, wherever the log lies: a log that was moved is the same
//! log. Where the last line that was read is not there any more, the segment is read anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::Updated;
use super::tables::{FORGET, Filling, signed};
use crate::decisions::lines::Lines;
use crate::decisions::segments;
use crate::decisions::{LogError, Record};
use crate::policy::Digest;

/// A segment of a log: its origin and its first number.
type Name = (String, i64);

/// A segment's file.
struct There {
    dir: String,
    path: PathBuf,
    first_seq: u64,
    bytes: u64,
}

/// How far a segment has been read: to the end of a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Until {
    bytes: u64,
    /// Where the last line that was read begins.
    line: u64,
    /// Of that line with its line feed.
    digest: String,
}

pub(super) fn update(db: &mut Connection, dirs: &[PathBuf], each: &mut dyn FnMut()) -> Result<Updated, LogError> {
    let mut updated = Updated::default();
    let (mut there, mut named) = (BTreeMap::new(), BTreeSet::new());
    for dir in dirs {
        let name = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.clone()).display().to_string();
        if named.insert(name.clone()) {
            look(dir, &name, &mut there, &mut updated)?;
        }
    }
    forget_gone(db, &named, &there)?;
    for (name, place) in &there {
        // One transaction a segment: what was read is kept when the next one fails.
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        read(&transaction, name, place, &mut updated, each)?;
        transaction.commit()?;
    }
    Ok(updated)
}

/// The segments of `dir` that have a record. A segment that another of the logs has too is taken once, where it is longer.
fn look(dir: &Path, name: &str, there: &mut BTreeMap<Name, There>, updated: &mut Updated) -> Result<(), LogError> {
    for segment in segments::segments(dir)? {
        let path = segments::envelope_path(dir, segment.first_seq);
        let Some(origin) = origin(&path, updated)? else { continue };
        let first_seq = segment.first_seq;
        let found = There { dir: name.to_owned(), path, first_seq, bytes: segment.envelopes };
        let key = (origin, signed(first_seq));
        let longer = match there.get(&key) {
            None => true,
            Some(other) if same(other, &found)? => found.bytes > other.bytes,
            Some(other) => {
                let message = format!(
                    "`{}` has the same origin and numbers and other records; name one of the two logs",
                    other.path.display()
                );
                return Err(LogError::Foreign { path: found.path, message });
            }
        };
        if longer {
            there.insert(key, found);
        }
    }
    Ok(())
}

/// The origin of a segment's first record, if it has one. Lines of a segment that has none are no records.
fn origin(path: &Path, updated: &mut Updated) -> Result<Option<String>, LogError> {
    let fault = |e: io::Error| LogError::io("read", path, &e);
    let mut lines = match Lines::open(path) {
        // Pruned meanwhile.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(fault)?,
    };
    let mut unreadable = 0;
    while let Some(line) = lines.next_finished().map_err(fault)? {
        if let Some(record) = std::str::from_utf8(line.bytes).ok().and_then(Record::parse) {
            return Ok(Some(record.head.origin));
        }
        unreadable += 1;
    }
    updated.unreadable += unreadable;
    Ok(None)
}

/// Whether the shorter of two files is the beginning of the longer one, as far as its last finished line says.
fn same(one: &There, other: &There) -> Result<bool, LogError> {
    let (short, long) = if one.bytes <= other.bytes { (one, other) } else { (other, one) };
    let fault = |e: io::Error| LogError::io("read", &short.path, &e);
    let mut lines = Lines::open(&short.path).map_err(fault)?;
    let mut until = Until::default();
    while let Some(line) = lines.next_finished().map_err(fault)? {
        until = Until::after(line.offset, line.bytes);
    }
    until.is_in(&long.path)
}

/// Forgets segments that were pruned, those of a log that was begun anew in the same directory, and those that a log
/// left behind when it was moved.
fn forget_gone(db: &mut Connection, named: &BTreeSet<String>, there: &BTreeMap<Name, There>) -> Result<(), LogError> {
    let origins: BTreeSet<&String> = there.keys().map(|(origin, _)| origin).collect();
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let known: Vec<(Name, String)> = {
        let mut statement = transaction.prepare("SELECT origin, first_seq, dir FROM segment")?;
        let rows = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
        rows.collect::<Result<_, _>>()?
    };
    for (name, dir) in known {
        if !there.contains_key(&name) && (named.contains(&dir) || origins.contains(&name.0)) {
            forget(&transaction, &name)?;
        }
    }
    Ok(transaction.commit()?)
}

fn forget(transaction: &Transaction<'_>, (origin, first_seq): &Name) -> Result<(), LogError> {
    for statement in FORGET {
        transaction.execute(statement, params![origin, first_seq])?;
    }
    Ok(())
}

/// Reads what is new in a segment.
fn read(
    transaction: &Transaction<'_>,
    name: &Name,
    place: &There,
    updated: &mut Updated,
    each: &mut dyn FnMut(),
) -> Result<(), LogError> {
    let mut until = known(transaction, name)?;
    if !until.is_in(&place.path)? {
        forget(transaction, name)?;
        until = Until::default();
        updated.anew += 1;
    }
    let fault = |e: io::Error| LogError::io("read", &place.path, &e);
    let mut lines = match Lines::open_at(&place.path, until.bytes) {
        // Pruned meanwhile: the next time it is forgotten.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(fault)?,
    };
    let mut filling = Filling::new(transaction)?;
    let mut last = None;
    while let Some(line) = lines.next_finished().map_err(fault)? {
        match std::str::from_utf8(line.bytes).ok().and_then(Record::parse) {
            Some(record) => {
                filling.put(&record, signed(place.first_seq))?;
                updated.records += 1;
                each();
            }
            None => updated.unreadable += 1,
        }
        let (begin, bytes): &mut (u64, Vec<u8>) = last.get_or_insert_default();
        *begin = line.offset;
        bytes.clear();
        bytes.extend_from_slice(line.bytes);
    }
    if let Some((begin, bytes)) = last {
        until = Until::after(begin, &bytes);
    }
    transaction.execute(
        "INSERT OR REPLACE INTO segment VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![name.0, name.1, place.dir, signed(until.bytes), signed(until.line), until.digest],
    )?;
    Ok(())
}

fn known(transaction: &Transaction<'_>, (origin, first_seq): &Name) -> Result<Until, LogError> {
    let query = "SELECT bytes, line, digest FROM segment WHERE origin = ?1 AND first_seq = ?2";
    let until = transaction.query_row(query, params![origin, first_seq], |row| {
        let (bytes, line): (i64, i64) = (row.get(0)?, row.get(1)?);
        Ok(Until { bytes: bytes.unsigned_abs(), line: line.unsigned_abs(), digest: row.get(2)? })
    });
    Ok(until.optional()?.unwrap_or_default())
}

impl Until {
    /// The end of the line at `begin`.
    fn after(begin: u64, line: &[u8]) -> Self {
        let line_feed = [line, b"\n"].concat();
        let length = u64::try_from(line_feed.len()).unwrap_or(u64::MAX);
        Self { bytes: begin.saturating_add(length), line: begin, digest: Digest::of(&line_feed).to_string() }
    }

    /// Whether the last line that was read still stands in the file where it stood.
    fn is_in(&self, path: &Path) -> Result<bool, LogError> {
        let length = usize::try_from(self.bytes.saturating_sub(self.line)).unwrap_or_default();
        if length == 0 {
            return Ok(true);
        }
        let mut line = vec![0; length];
        match File::open(path).and_then(|file| file.read_exact_at(&mut line, self.line)) {
            Ok(()) => Ok(Digest::of(&line).to_string() == self.digest),
            Err(e) if matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound) => Ok(false),
            Err(e) => Err(LogError::io("read", path, &e)),
        }
    }
}
