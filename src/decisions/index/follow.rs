//! How an index follows a log: segment by segment, from the byte where it stopped. Knows segments and bytes.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use super::Updated;
use super::tables::{FORGET, Filling, signed};
use crate::decisions::segments::{self, Segment};
use crate::decisions::{LogError, Record};

/// Where an index stands in a segment.
struct Known {
    first_seq: i64,
    origin: String,
    bytes: u64,
}

pub(super) fn update(db: &mut Connection, dirs: &[PathBuf], each: &mut dyn FnMut()) -> Result<Updated, LogError> {
    let mut updated = Updated::default();
    for dir in dirs {
        let name = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.clone());
        let name = name.display().to_string();
        let segments = segments::segments(dir)?;
        forget_gone(db, dir, &name, &segments)?;
        for segment in &segments {
            // One transaction a segment: what was read is kept when the next one fails.
            let transaction = db.transaction()?;
            let known = known(&transaction, &name, Some(segment))?.pop();
            let path = segments::envelope_path(dir, segment.first_seq);
            let from = known.as_ref().map_or(0, |k| k.bytes);
            if from > segment.envelopes {
                let message =
                    "it is shorter than when it was indexed; see what `decisions verify` says, then delete the index";
                return Err(LogError::Foreign { path, message: message.to_owned() });
            }
            if from < segment.envelopes {
                let read = read(&path, from, segment, &mut Filling::new(&transaction)?, &mut || {
                    updated.records += 1;
                    each();
                })?;
                updated.unreadable += read.unreadable;
                let origin = read.origin.or(known.map(|k| k.origin)).unwrap_or_default();
                transaction.execute(
                    "INSERT OR REPLACE INTO segment VALUES (?1, ?2, ?3, ?4)",
                    params![name, signed(segment.first_seq), origin, signed(read.bytes)],
                )?;
            }
            transaction.commit()?;
        }
    }
    Ok(updated)
}

fn known(db: &Connection, dir: &str, segment: Option<&Segment>) -> Result<Vec<Known>, LogError> {
    let mut statement =
        db.prepare("SELECT first_seq, origin, bytes FROM segment WHERE dir = ?1 AND (?2 IS NULL OR first_seq = ?2)")?;
    let rows = statement.query_map(params![dir, segment.map(|s| signed(s.first_seq))], |row| {
        let bytes: i64 = row.get(2)?;
        Ok(Known { first_seq: row.get(0)?, origin: row.get(1)?, bytes: bytes.unsigned_abs() })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets segments that were pruned, and those that are another log's: one that was begun anew in the same directory.
fn forget_gone(db: &mut Connection, place: &Path, dir: &str, there: &[Segment]) -> Result<(), LogError> {
    for segment in known(db, dir, None)? {
        let same = there.iter().find(|s| signed(s.first_seq) == segment.first_seq);
        if let Some(same) = same
            && origin(&segments::envelope_path(place, same.first_seq)).is_none_or(|o| o == segment.origin)
        {
            continue;
        }
        let transaction = db.transaction()?;
        for statement in FORGET {
            transaction.execute(statement, params![segment.origin, segment.first_seq])?;
        }
        transaction
            .execute("DELETE FROM segment WHERE dir = ?1 AND first_seq = ?2", params![dir, segment.first_seq])?;
        transaction.commit()?;
    }
    Ok(())
}

/// The origin of a segment's first record, if it is one.
fn origin(path: &Path) -> Option<String> {
    let mut line = Vec::new();
    BufReader::new(File::open(path).ok()?).read_until(b'\n', &mut line).ok()?;
    Record::parse(std::str::from_utf8(&line).ok()?.trim_end()).map(|record| record.head.origin)
}

/// What was read of a segment.
struct ReadUntil {
    bytes: u64,
    origin: Option<String>,
    /// Lines that are no records.
    unreadable: u64,
}

fn read(
    path: &Path,
    from: u64,
    segment: &Segment,
    filling: &mut Filling<'_>,
    each: &mut dyn FnMut(),
) -> Result<ReadUntil, LogError> {
    let fault = |e: std::io::Error| LogError::io("read", path, &e);
    let mut reader = BufReader::with_capacity(256 * 1024, File::open(path).map_err(fault)?);
    reader.seek(SeekFrom::Start(from)).map_err(fault)?;
    let mut until = ReadUntil { bytes: from, origin: None, unreadable: 0 };
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line).map_err(fault)?;
        // A line that is not finished is being written.
        let Some((b'\n', text)) = line.split_last() else { return Ok(until) };
        until.bytes += u64::try_from(length).unwrap_or_default();
        match std::str::from_utf8(text).ok().and_then(Record::parse) {
            Some(record) => {
                filling.put(&record, signed(segment.first_seq))?;
                each();
                until.origin.get_or_insert(record.head.origin);
            }
            None => until.unreadable += 1,
        }
    }
}
