//! Where the tree goes on after a start: from its last checkpoint and tiles, else from the lines. Knows files and
//! leaves; must not know how records are written.
//!
//! A log that does not lead to its own last checkpoint is not signed any further: it is set aside as evidence, and a
//! new one under a new name is begun in its place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use crate::decisions::lines::Lines;
use crate::decisions::segments::{self, Recovered, envelope_path};
use crate::decisions::tree_files::{checkpoint_path, read_keys, read_note, read_tile, tile_path};
use crate::decisions::{LogError, RecordType, SigningSeed, Storage};
use crate::tlog::{Checkpoint, Note, Tile, Tree, VerifierKey, leaf_hash};

/// What is known of a log before its lines are looked at.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The keys in the directory.
    pub keys: Vec<VerifierKey>,
    /// The list has one more, which signed nothing.
    pub unused: bool,
    /// The largest checkpoint that one of the keys signed, from the directory or the copy outside it.
    pub latest: Option<(Note, Checkpoint)>,
}

impl Known {
    /// Reads what directory and copy say of the log `origin`, or of any if it has no records. What cannot be read, or nobody known signed, is no checkpoint.
    pub(super) fn read(dir: &Path, copy: Option<&Path>, seed: &SigningSeed, origin: Option<&str>) -> Self {
        let mut keys = read_keys(dir).unwrap_or_else(|error| warn("the log's list of keys", &error));
        let mut latest: Option<(Note, Checkpoint)> = None;
        for path in [Some(checkpoint_path(dir)), copy.map(Path::to_path_buf)].into_iter().flatten() {
            let found = read_note(&path).unwrap_or_else(|error| warn("a checkpoint", &error));
            let Some((note, checkpoint)) = found else { continue };
            // Of another log that was written with the same state directory.
            if origin.is_some_and(|origin| origin != checkpoint.origin) {
                continue;
            }
            let own = seed.under(&checkpoint.origin).ok().map(|key| key.verifier().clone());
            let trusted: Vec<VerifierKey> = keys.iter().cloned().chain(own).collect();
            match note.verify(&trusted) {
                Ok(_) if latest.as_ref().is_none_or(|(_, c)| c.size < checkpoint.size) => {
                    latest = Some((note, checkpoint));
                }
                Ok(_) => {}
                Err(error) => {
                    let () = warn("a checkpoint", &LogError::Foreign { path, message: error.to_string() });
                }
            }
        }
        // A key that signed nothing, because the server was killed before, is as if it had not been.
        let signed =
            |key: &VerifierKey| latest.as_ref().is_some_and(|(n, _)| n.verify(std::slice::from_ref(key)).is_ok());
        let unused = keys.pop_if(|last| !signed(last)).is_some();
        Self { keys, unused, latest }
    }
}

fn warn<T: Default>(what: &str, error: &LogError) -> T {
    tracing::warn!(%error, "{what} is not used");
    T::default()
}

/// The tree as far as there are lines.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    pub tree: Tree,
    /// Records that no checkpoint covered.
    pub unsigned: u64,
}

/// Why a log is not gone on with.
pub(super) enum Refused {
    /// It is not what was signed.
    Damaged(String),
    /// It could not be read.
    Error(LogError),
}

impl From<LogError> for Refused {
    fn from(error: LogError) -> Self {
        Self::Error(error)
    }
}

/// Builds the tree of the lines in `dir` and holds it against the latest checkpoint.
pub(super) fn resume(
    storage: &Arc<dyn Storage>,
    dir: &Path,
    found: &Recovered,
    signed: Option<&Checkpoint>,
) -> Result<Resumed, Refused> {
    let damaged = |text: String| Err(Refused::Damaged(text));
    let size = signed.map_or(0, |c| c.size);
    if let (Some(signed), Some(origin)) = (signed, &found.origin)
        && signed.origin != *origin
    {
        return damaged(format!("its records are of `{origin}`, its checkpoint is of `{}`", signed.origin));
    }
    if found.next_seq < size {
        return damaged(format!("its checkpoint covers {size} records, and it ends after {}", found.next_seq));
    }
    let mut builder = Builder { storage, dir, tree: Tree::new() };
    if let Some(signed) = signed {
        let matches = |tree: &Tree| tree.root() == signed.root;
        match Tree::resume(size, |id| read_tile(dir, id)) {
            Ok(tree) if matches(&tree) => builder.tree = tree,
            // The tiles were lost, or are others: the lines say which.
            _ => {
                builder.begin(found)?;
                builder.hash(found, size)?;
                if !matches(&builder.tree) {
                    return damaged(format!("its records do not lead to the root of its checkpoint of {size} records"));
                }
                builder.write(&builder.tree.partial_tiles())?;
                tracing::warn!(dir = %dir.display(), "the tiles of the decision log were written again from its records");
            }
        }
    } else {
        builder.begin(found)?;
    }
    builder.hash(found, found.next_seq)?;
    if size > 0 && found.next_seq > size {
        let is = |seq| segments::head(dir, &found.segments, seq).map(|head| head.map(|h| h.r#type));
        let (last, next) = (is(size - 1)?, is(size)?);
        if last == Some(RecordType::Stop) && next != Some(RecordType::Start) {
            return damaged(format!("record {size} comes after the server had stopped, and no start before it"));
        }
    }
    Ok(Resumed { unsigned: found.next_seq - size, tree: builder.tree })
}

struct Builder<'d> {
    storage: &'d Arc<dyn Storage>,
    dir: &'d Path,
    tree: Tree,
}

impl Builder<'_> {
    /// A tree before the first record that is still there.
    fn begin(&mut self, found: &Recovered) -> Result<(), Refused> {
        let first = found.segments.first().map_or(0, |s| s.first_seq);
        let tree = Tree::resume(first, |id| read_tile(self.dir, id));
        self.tree = tree.map_err(|e| Refused::Damaged(format!("the tiles of its pruned records are lost: {e}")))?;
        Ok(())
    }

    /// Adds the records up to `end`, and writes the tiles that they fill.
    fn hash(&mut self, found: &Recovered, end: u64) -> Result<(), Refused> {
        let mut segments = found.segments.iter().peekable();
        while let Some(segment) = segments.next() {
            let next = segments.peek().map_or(found.next_seq, |s| s.first_seq);
            if next <= self.tree.size() || segment.first_seq >= end {
                continue;
            }
            let path = envelope_path(self.dir, segment.first_seq);
            let fault = |e| LogError::io("read", &path, &e);
            let (mut seq, mut full) = (segment.first_seq, Vec::new());
            let mut lines = Lines::open(&path).map_err(fault)?;
            while seq < end.min(next) {
                let Some(line) = lines.next_finished().map_err(fault)? else { break };
                if seq == self.tree.size() {
                    self.tree.push(leaf_hash(line.bytes), &mut full);
                }
                seq += 1;
            }
            self.write(&full)?;
        }
        if self.tree.size() < end {
            let seq = self.tree.size();
            return Err(Refused::Damaged(format!("record {seq} is not where it should be, of {end}")));
        }
        Ok(())
    }

    fn write(&self, tiles: &[Tile]) -> Result<(), LogError> {
        tiles.iter().try_for_each(|tile| {
            let path = tile_path(self.dir, tile.id());
            self.storage.replace(&path, &tile.bytes()).map_err(|e| LogError::io("write", &path, &e))
        })
    }
}

/// Bytes that must be free before a log is set aside: another is begun in its place.
const ROOM: usize = 256 * 1024;

/// Moves all of a log into `<dir>/damaged/<time>` and says where that is; `None` when there is nothing. Of its list of
/// holds a copy: until the new log states them, they are nowhere else.
pub(super) fn set_aside(storage: &Arc<dyn Storage>, dir: &Path, now: Timestamp) -> Result<Option<PathBuf>, LogError> {
    let nothing = |name: &std::ffi::OsStr| ["lock", "damaged", "holds", "room"].iter().any(|other| name == *other);
    let entries = std::fs::read_dir(dir).map_err(|e| LogError::io("read", dir, &e))?;
    let names: Vec<std::ffi::OsString> = entries.flatten().map(|e| e.file_name()).filter(|n| !nothing(n)).collect();
    let bodies = dir.join("bodies");
    let empty = |dir: &Path| std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
    if names.iter().all(|name| name == "bodies") && empty(&bodies) {
        return Ok(None);
    }
    let room = dir.join("room");
    let free = storage.replace(&room, &vec![0; ROOM]);
    storage.remove(&room).map_err(|e| LogError::io("delete", &room, &e))?;
    free.map_err(|e| LogError::io("write", &room, &e))?;
    let aside = dir.join("damaged").join(compact(now));
    storage.make_dir(&aside).map_err(|e| LogError::io("create", &aside, &e))?;
    if let Ok(holds) = std::fs::read(dir.join("holds")) {
        storage.replace(&aside.join("holds"), &holds).map_err(|e| LogError::io("write", &aside, &e))?;
    }
    for name in names {
        let (from, to) = (dir.join(&name), aside.join(&name));
        std::fs::rename(&from, to).map_err(|e| LogError::io("set aside", &from, &e))?;
    }
    storage.make_dir(&bodies).map_err(|e| LogError::io("create", &bodies, &e))?;
    Ok(Some(aside))
}

/// A name for the log that takes the place of one that was lost: no two trees have one name.
pub(super) fn successor(origin: &str, now: Timestamp) -> String {
    format!("{origin}/{}", compact(now))
}

fn compact(now: Timestamp) -> String {
    now.strftime("%Y%m%dT%H%M%S%3fZ").to_string()
}
