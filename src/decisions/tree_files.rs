//! The tree's files in a log directory: where checkpoint, tiles and keys lie, and reading them. Knows names and bytes;
//! must not know records.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::decisions::LogError;
use crate::tlog::{Checkpoint, Note, TILE_WIDTH, Tile, TileId, TlogError, VerifierKey};

/// `<dir>/checkpoint`: the latest.
pub(super) fn checkpoint_path(dir: &Path) -> PathBuf {
    dir.join("checkpoint")
}

/// `<dir>/checkpoints/<size>`: the last of each key that was replaced.
pub(super) fn archived_path(dir: &Path, size: u64) -> PathBuf {
    dir.join("checkpoints").join(format!("{size:020}"))
}

/// `<dir>/cosigned/<key id>`: the last checkpoint that a witness signed.
pub(super) fn cosigned_path(dir: &Path, id: u32) -> PathBuf {
    dir.join("cosigned").join(format!("{id:08x}"))
}

/// `<dir>/keys`: the verifier keys, one a line, the oldest first.
pub(super) fn keys_path(dir: &Path) -> PathBuf {
    dir.join("keys")
}

/// `<dir>/tile/...`, as C2SP tlog-tiles has it.
pub(super) fn tile_path(dir: &Path, id: TileId) -> PathBuf {
    dir.join(id.to_string())
}

/// The directory of a place's partial tiles, `<dir>/tile/<level>/<index>.p`.
pub(super) fn partials_path(dir: &Path, id: TileId) -> PathBuf {
    dir.join(format!("{}.p", id.full()))
}

/// The tiles of a level that are there, in no order; what is not named like a tile is passed over.
pub(super) fn tiles(dir: &Path, level: u32) -> Vec<TileId> {
    fn look(dir: &Path, path: &str, depth: usize, found: &mut Vec<TileId>) {
        let Ok(entries) = fs::read_dir(dir.join(path)) else { return };
        for entry in entries.flatten() {
            let Some(name) = entry.file_name().to_str().map(|name| format!("{path}/{name}")) else { continue };
            if let Some(id) = TileId::parse(&name) {
                found.push(id);
            }
            // A `u64` has seven groups of three digits, and below the last lie partial tiles.
            if depth < 8 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                look(dir, &name, depth + 1, found);
            }
        }
    }
    let mut found = Vec::new();
    look(dir, &format!("tile/{level}"), 0, &mut found);
    found
}

/// Longest file of these, in bytes: a list of holds.
const MOST: u64 = 64 << 20;

/// What a file holds. What is no file could be read for ever, and none of the tree's is long.
pub(super) fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let found = fs::metadata(path)?;
    if !found.is_file() || found.len() > MOST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file, or too long"));
    }
    fs::read(path)
}

/// The same as text.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    let wrong = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8");
    String::from_utf8(read_bytes(path)?).map_err(wrong)
}

/// Reads a tile; where a partial tile is gone, from the full one of the same place.
pub(super) fn read_tile(dir: &Path, id: TileId) -> Result<Tile, LogError> {
    let path = tile_path(dir, id);
    match read_bytes(&path) {
        Ok(bytes) if bytes.len() != id.length() => {
            Err(TlogError::Tile { path: id.to_string(), found: bytes.len(), wanted: id.length() }.into())
        }
        Ok(bytes) => Ok(Tile::parse(id, &bytes)?),
        Err(e) if e.kind() == io::ErrorKind::NotFound && !id.is_full() => {
            let bytes = read_bytes(&tile_path(dir, id.full())).map_err(|_| LogError::io("read", &path, &e))?;
            Ok(Tile::parse(id, &bytes)?)
        }
        Err(e) => Err(LogError::io("read", &path, &e)),
    }
}

/// The same of an earlier size, of a log that has `grown` since: what was partial then may be full or wider now.
pub(super) fn read_tile_of(dir: &Path, id: TileId, grown: u64) -> Result<Tile, LogError> {
    read_tile(dir, id).or_else(|error| {
        let last = id.index * u64::from(TILE_WIDTH) + u64::from(id.width) - 1;
        let wide = TileId::holding(id.level, last, grown).filter(|wide| *wide != id).ok_or(error)?;
        Ok(Tile::parse(id, &read_tile(dir, wide)?.bytes())?)
    })
}

/// How many records the latest checkpoint covers.
pub(super) fn latest_size(dir: &Path) -> Option<u64> {
    read_note(&checkpoint_path(dir)).ok().flatten().map(|(_, checkpoint)| checkpoint.size)
}

/// The checkpoints that witnesses signed, and where each lies.
pub(super) fn cosigned(dir: &Path) -> Result<Vec<(PathBuf, Note, Checkpoint)>, LogError> {
    let mut found = Vec::new();
    for path in listed(&dir.join("cosigned"))? {
        if let Some((note, checkpoint)) = read_note(&path)? {
            found.push((path, note, checkpoint));
        }
    }
    Ok(found)
}

/// Reads a signed checkpoint; `None` when there is no such file.
pub(super) fn read_note(path: &Path) -> Result<Option<(Note, Checkpoint)>, LogError> {
    let text = match read_text(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(foreign(path, &e.to_string())),
        Err(e) => return Err(LogError::io("read", path, &e)),
    };
    let read = Note::parse(&text).and_then(|note| Checkpoint::parse(&note.text).map(|checkpoint| (note, checkpoint)));
    read.map(Some).map_err(|e| foreign(path, &e.to_string()))
}

/// The checkpoints of replaced keys, oldest first.
pub(super) fn archived(dir: &Path) -> Result<Vec<PathBuf>, LogError> {
    listed(&dir.join("checkpoints"))
}

/// The files of a directory, in the order of their names; none when it is not there.
fn listed(dir: &Path) -> Result<Vec<PathBuf>, LogError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(LogError::io("read", dir, &e)),
    };
    let mut found: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    found.retain(|path| path.extension().is_none());
    found.sort();
    Ok(found)
}

/// The verifier keys that the log says it was signed with, oldest first. Whoever can change the log can change them.
pub(super) fn read_keys(dir: &Path) -> Result<Vec<VerifierKey>, LogError> {
    let path = keys_path(dir);
    let text = match read_text(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(LogError::io("read", &path, &e)),
    };
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| VerifierKey::parse(line.trim()).map_err(|e| foreign(&path, &e.to_string()))).collect()
}

fn foreign(path: &Path, message: &str) -> LogError {
    LogError::Foreign { path: path.to_path_buf(), message: message.to_owned() }
}
