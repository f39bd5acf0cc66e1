//! Anchors that are files: one that grows by lines, or a directory that grows by files. Knows the disk; nothing that
//! was put is ever written over.

use std::fs::{File, OpenOptions, create_dir_all};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use jiff::Timestamp;

use crate::decisions::SignedCheckpoint;
use crate::decisions::anchor::history::HistoryLine;
use crate::decisions::anchor::{AnchorError, name_of, note_name};

/// Adds a line to a file, which is made if it is not there.
pub(super) fn append(path: &Path, signed: &SignedCheckpoint, now: Timestamp) -> Result<(), AnchorError> {
    let write = || {
        if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            create_dir_all(dir)?;
        }
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut line = HistoryLine::encode(signed, now);
        // A crash may have left half a line: it stays as it is, and this one stands by itself.
        if !ends_whole(&mut file)? {
            line.insert(0, '\n');
        }
        file.write_all(line.as_bytes())?;
        file.sync_data()
    };
    write().map_err(|e: io::Error| AnchorError(format!("cannot write `{}`: {e}", path.display())))
}

fn ends_whole(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Adds a file to a directory: `<dir>/<log>/<size>.checkpoint`.
pub(super) fn add(dir: &Path, signed: &SignedCheckpoint) -> Result<(), AnchorError> {
    let dir = dir.join(name_of(&signed.checkpoint.origin));
    let path = dir.join(note_name(signed.checkpoint.size));
    let fault = |e: io::Error| AnchorError(format!("cannot write `{}`: {e}", path.display()));
    create_dir_all(&dir).map_err(fault)?;
    match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(mut file) => {
            file.write_all(signed.note.to_string().as_bytes()).and_then(|()| file.sync_all()).map_err(fault)
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let (there, note) = (std::fs::read(&path).map_err(fault)?, signed.note.to_string());
            // What was cut off while it was written is finished.
            if let Some(rest) = note.as_bytes().strip_prefix(there.as_slice()) {
                let mut file = OpenOptions::new().append(true).open(&path).map_err(fault)?;
                return file.write_all(rest).and_then(|()| file.sync_all()).map_err(fault);
            }
            same(&String::from_utf8_lossy(&there), signed, &path.display().to_string())
        }
        Err(e) => Err(fault(e)),
    }
}

/// That a note which is there already says what is to be put.
pub(super) fn same(there: &str, signed: &SignedCheckpoint, place: &str) -> Result<(), AnchorError> {
    if there.starts_with(&signed.note.text) {
        return Ok(());
    }
    let size = signed.checkpoint.size;
    Err(AnchorError(format!(
        "`{place}` holds another checkpoint of {size} records: the log was changed or cut back; see `portcullis decisions \
         verify --checkpoint`"
    )))
}
