//! Segment files: their names, what a directory holds, where writing goes on after a crash. Knows lines and files;
//! must not know queues or what a record says beyond its head.

use std::fs::{self, File};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::decisions::lines::read_line;
use crate::decisions::record::{Head, MAX_ENVELOPE, RecordType, StartRecord};
use crate::decisions::{LogError, Storage};
use crate::tlog::Checkpoint;

const SUFFIX: &str = ".jsonl";
/// Bytes of a line that are looked at: more than any record has.
const MOST: usize = 2 * MAX_ENVELOPE;
const DIGITS: usize = 20;

/// One segment of the log on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// Number of its first record.
    pub first_seq: u64,
    /// Bytes of envelopes.
    pub envelopes: u64,
    /// Bytes of bodies; `None` when they were deleted.
    pub bodies: Option<u64>,
}

/// `<dir>/<20 digits>.jsonl`.
pub(super) fn envelope_path(dir: &Path, first_seq: u64) -> PathBuf {
    dir.join(format!("{first_seq:0DIGITS$}{SUFFIX}"))
}

/// `<dir>/bodies/<20 digits>.jsonl`.
pub(super) fn body_path(dir: &Path, first_seq: u64) -> PathBuf {
    dir.join("bodies").join(format!("{first_seq:0DIGITS$}{SUFFIX}"))
}

/// All segments in `dir`, oldest first.
pub(super) fn segments(dir: &Path) -> Result<Vec<Segment>, LogError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| LogError::io("read", dir, &e))? {
        let entry = entry.map_err(|e| LogError::io("read", dir, &e))?;
        let Some(first_seq) = entry.file_name().to_str().and_then(first_seq) else { continue };
        let path = entry.path();
        let envelopes = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            // A pipe or a device would be read for ever, a directory not at all.
            Ok(_) => return Err(LogError::Foreign { path, message: "it is no file".to_owned() }),
            // Pruned since.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(LogError::io("read", &path, &e)),
        };
        let path = body_path(dir, first_seq);
        let bodies = match fs::metadata(&path) {
            Ok(metadata) if !metadata.is_file() => {
                return Err(LogError::Foreign { path, message: "it is no file".to_owned() });
            }
            other => other.ok().map(|m| m.len()),
        };
        found.push(Segment { first_seq, envelopes, bodies });
    }
    found.sort_unstable_by_key(|s| s.first_seq);
    Ok(found)
}

fn first_seq(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let number = (digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?;
    // No log gets as far as the last numbers there are.
    number.filter(|number| *number < u64::MAX - u64::from(u32::MAX))
}

/// Where writing goes on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Recovered {
    /// What there is, oldest first; the last is the one to go on with.
    pub segments: Vec<Segment>,
    /// The number of the next record.
    pub next_seq: u64,
    /// The name the log has, if it has a record.
    pub origin: Option<String>,
    /// Whether the last record is there and not a `stop`.
    pub after_crash: bool,
    /// Bytes of unfinished lines that were cut off.
    pub cut: u64,
}

/// Finds the end of the log and cuts off what was not finished there; the cut bytes are kept in `<dir>/cut/`.
pub(super) fn recover(storage: &dyn Storage, dir: &Path) -> Result<Recovered, LogError> {
    let mut recovered = Recovered { segments: segments(dir)?, ..Recovered::default() };
    let Some(last) = recovered.segments.last().cloned() else { return Ok(recovered) };
    let path = envelope_path(dir, last.first_seq);
    let end = last_record(&path)?;
    let cut = cut(storage, dir, &path, end.length, last.envelopes)?;
    recovered.cut += cut;
    if cut > 0 || end.head.is_none() {
        recovered.after_crash = recovered.segments.len() > 1 || end.head.is_some() || last.envelopes > 0;
    }
    recovered.next_seq = last.first_seq;
    if let Some(head) = &end.head {
        recovered.next_seq = head.seq + 1;
        recovered.origin = Some(head.origin.clone());
        recovered.after_crash |= head.r#type != RecordType::Stop;
    } else if let Some(before) = recovered.segments.iter().rev().nth(1) {
        // The last segment was only just begun.
        recovered.origin = last_record(&envelope_path(dir, before.first_seq))?.head.map(|h| h.origin);
    }
    let bodies = body_path(dir, last.first_seq);
    let mut body_length = None;
    if let Some(length) = last.bodies {
        let end = last_line_end(&bodies, length)?;
        recovered.cut += self::cut(storage, dir, &bodies, end, length)?;
        body_length = Some(end);
    }
    if let Some(segment) = recovered.segments.last_mut() {
        segment.envelopes = end.length;
        segment.bodies = body_length;
    }
    Ok(recovered)
}

/// The timestamps of a segment's first and last whole record, as they stand.
pub(super) fn ends(path: &Path) -> Result<Option<(String, String)>, LogError> {
    let fault = |e: io::Error| LogError::io("read", path, &e);
    let mut line = Vec::new();
    read_line(&mut BufReader::new(File::open(path).map_err(fault)?), &mut line, MOST).map_err(fault)?;
    let first: Option<Head> = serde_json::from_slice(&line).ok();
    Ok(first.map(|h| h.timestamp).zip(last_record(path)?.head.map(|h| h.timestamp)))
}

/// The head of record `seq`, if it stands where it should.
pub(super) fn head(dir: &Path, segments: &[Segment], seq: u64) -> Result<Option<Head>, LogError> {
    let Some(segment) = segments.iter().rfind(|s| s.first_seq <= seq) else { return Ok(None) };
    let path = envelope_path(dir, segment.first_seq);
    let fault = |e: io::Error| LogError::io("read", &path, &e);
    let (mut reader, mut line) = (BufReader::new(File::open(&path).map_err(fault)?), Vec::new());
    for _ in segment.first_seq..=seq {
        if read_line(&mut reader, &mut line, MOST).map_err(fault)?.is_none() {
            return Ok(None);
        }
    }
    Ok(serde_json::from_slice(&line).ok().filter(|head: &Head| head.seq == seq))
}

/// The name of the log in whose place this one was begun, as its first record says if it is there.
pub(super) fn previous_origin(dir: &Path, segments: &[Segment]) -> Result<Option<String>, LogError> {
    let Some(first) = segments.first().filter(|s| s.first_seq == 0) else { return Ok(None) };
    let path = envelope_path(dir, first.first_seq);
    let fault = |e: io::Error| LogError::io("read", &path, &e);
    let mut line = Vec::new();
    read_line(&mut BufReader::new(File::open(&path).map_err(fault)?), &mut line, MOST).map_err(fault)?;
    let start: Option<StartRecord> = serde_json::from_slice(&line).ok();
    let previous = start.and_then(|start| start.previous);
    Ok(previous.and_then(|previous| Checkpoint::parse_anchor(&previous)).map(|checkpoint| checkpoint.origin))
}

/// The number of the last whole record of a file.
pub(super) fn last_seq(path: &Path) -> Option<u64> {
    last_record(path).ok()?.head.map(|head| head.seq)
}

/// The last whole record of a file.
struct End {
    /// Bytes up to and with its line feed.
    length: u64,
    head: Option<Head>,
}

/// Looks into the end of the file, which holds a whole line of any size, first; then into all of it.
fn last_record(path: &Path) -> Result<End, LogError> {
    const TAIL: u64 = 2 * MAX_ENVELOPE as u64;
    let fault = |e: io::Error| LogError::io("read", path, &e);
    let mut file = File::open(path).map_err(fault)?;
    let length = file.metadata().map_err(fault)?.len();
    let end = scan(&mut file, length.saturating_sub(TAIL)).map_err(fault)?;
    if end.head.is_none() && length > TAIL { scan(&mut file, 0).map_err(fault) } else { Ok(end) }
}

/// The last whole record from `start` on. A line that is no record ends the log only if no record follows it.
fn scan(file: &mut File, start: u64) -> io::Result<End> {
    file.seek(SeekFrom::Start(start))?;
    let mut reader = BufReader::new(file);
    let (mut at, mut end) = (start, End { length: 0, head: None });
    let mut line = Vec::new();
    loop {
        let Some(read) = read_line(&mut reader, &mut line, MOST)?.filter(|read| read.finished) else { return Ok(end) };
        at += read.length;
        // No log gets as far as the last number there is.
        if let Ok(head) = serde_json::from_slice::<Head>(&line)
            && head.seq < u64::MAX
        {
            end = End { length: at, head: Some(head) };
        }
    }
}

/// Bytes of `path` up to its last line feed.
fn last_line_end(path: &Path, length: u64) -> Result<u64, LogError> {
    const STEP: u64 = 64 * 1024;
    let fault = |e: io::Error| LogError::io("read", path, &e);
    let mut file = File::open(path).map_err(fault)?;
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(STEP);
        file.seek(SeekFrom::Start(start)).map_err(fault)?;
        let mut bytes = Vec::new();
        (&file).take(end - start).read_to_end(&mut bytes).map_err(fault)?;
        if let Some(i) = bytes.iter().rposition(|b| *b == b'\n') {
            return Ok(start + u64::try_from(i).unwrap_or(0) + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Cuts `path` to `end` and keeps what is cut as `<dir>/cut/<name>.<end>`.
fn cut(storage: &dyn Storage, dir: &Path, path: &Path, end: u64, length: u64) -> Result<u64, LogError> {
    if end >= length {
        return Ok(0);
    }
    let kind = if path.parent() == Some(dir) { "envelope" } else { "body" };
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let keep = dir.join("cut");
    let kept = keep.join(format!("{name}.{kind}.{end}"));
    // Keeping it is a courtesy: nothing that is cut was ever acknowledged, and a full disk must not stop the start.
    let copy = || -> io::Result<()> {
        storage.make_dir(&keep)?;
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(end))?;
        let mut bytes = Vec::new();
        file.take(MAX_CUT).read_to_end(&mut bytes)?;
        let target = storage.open(&kept)?;
        target.truncate(0)?;
        target.append(&bytes)
    };
    if let Err(e) = copy() {
        tracing::warn!(path = %path.display(), error = %e, "an unfinished line could not be kept");
    }
    let file = storage.open(path).map_err(|e| LogError::io("open", path, &e))?;
    file.truncate(end).map_err(|e| LogError::io("truncate", path, &e))?;
    file.sync().map_err(|e| LogError::io("sync", path, &e))?;
    Ok(length - end)
}

/// Bytes of a cut that are kept.
const MAX_CUT: u64 = 16 * 1024 * 1024;

/// How often the lock is tried.
const TRIES: u32 = 3;

/// Holds the directory's `lock` file as long as it lives.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the lock (`flock`, so it goes with the process).
    pub(super) fn take(dir: &Path) -> Result<Self, LogError> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = dir.join("lock");
        let file = File::options().create(true).append(true).mode(0o600).open(&path);
        let mut file = file.map_err(|e| LogError::io("open", &path, &e))?;
        let mut tries = 1;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                // A reader may be looking whether it is held.
                Err(fs::TryLockError::WouldBlock) if tries < TRIES => std::thread::sleep(Duration::from_millis(20)),
                Err(fs::TryLockError::WouldBlock) => return Err(LogError::Locked { dir: dir.to_path_buf() }),
                Err(fs::TryLockError::Error(e)) => return Err(LogError::io("lock", &path, &e)),
            }
            tries += 1;
        }
        // For people; nothing reads it. On a full disk it stays empty.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }

    /// Whether a process writes the log. On a copy nobody does.
    pub(super) fn is_held(dir: &Path) -> bool {
        let file = File::open(dir.join("lock"));
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decisions::Disk;

    const RECORD: &str = concat!(
        r#"{"v":1,"type":"decision","seq":7,"origin":"o","labels":{},"timestamp":"2026-01-01T00:00:00.000000000Z"}"#,
        "\n"
    );

    #[test]
    fn names_are_strict() {
        assert_eq!(first_seq("00000000000000000042.jsonl"), Some(42));
        for name in ["42.jsonl", "00000000000000000042.json", "+0000000000000000042.jsonl", "lock"] {
            assert_eq!(first_seq(name), None, "{name}");
        }
    }

    #[test]
    fn unfinished_ends_are_cut_and_kept() {
        for torn in ["", "{\"v\":1,\"seq\"", "\0\0\0\0", "no record\n", "no record\n\0\0"] {
            let dir = tempfile::tempdir().expect("temporary directory");
            fs::create_dir(dir.path().join("bodies")).expect("made");
            let path = envelope_path(dir.path(), 7);
            fs::write(&path, format!("{RECORD}{torn}")).expect("written");
            fs::write(body_path(dir.path(), 7), "{}\n{\"half").expect("written");
            let recovered = recover(&Disk, dir.path()).expect("recovers");
            assert_eq!((recovered.next_seq, recovered.origin.as_deref()), (8, Some("o")), "{torn:?}");
            assert!(recovered.after_crash);
            assert_eq!(recovered.cut, u64::try_from(torn.len() + 6).expect("small"));
            assert_eq!(fs::read_to_string(&path).expect("read"), RECORD);
            assert_eq!(fs::read_to_string(body_path(dir.path(), 7)).expect("read"), "{}\n");
            let kept = dir.path().join(format!("cut/00000000000000000007.jsonl.envelope.{}", RECORD.len()));
            assert_eq!(fs::read_to_string(kept).unwrap_or_default(), torn);
        }
    }

    #[test]
    fn a_segment_that_was_only_begun_is_gone_on_with() {
        let dir = tempfile::tempdir().expect("temporary directory");
        fs::write(envelope_path(dir.path(), 7), RECORD).expect("written");
        fs::write(envelope_path(dir.path(), 8), "").expect("written");
        let recovered = recover(&Disk, dir.path()).expect("recovers");
        assert_eq!((recovered.next_seq, recovered.origin.as_deref()), (8, Some("o")));
        assert_eq!(recovered.segments.len(), 2);
    }
}
