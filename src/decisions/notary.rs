//! The log's tree while it is written: hashes lines, writes tiles, signs checkpoints. Knows leaves as lines; must not
//! know what they say, nor segments.
//!
//! Nothing is signed before it is on the disk: a checkpoint that is out in the world must hold after any crash.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::decisions::resume::Known;
use crate::decisions::tree_files::{archived_path, checkpoint_path, keys_path, partials_path, read_note, tile_path};
use crate::decisions::{HandOver, LogError, Storage};
use crate::tlog::{Checkpoint, Note, SigningKey, Tile, TileId, Tree, VerifierKey, leaf_hash};

/// At most one checkpoint in this time; it follows the records by this and the time of a sync at the most.
pub(super) const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// A checkpoint as it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// What it says.
    pub checkpoint: Arc<Checkpoint>,
    /// The whole note.
    pub note: Arc<Note>,
}

pub(super) struct Notary {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    /// Where the latest checkpoint is kept a second time, outside the log.
    copy: Option<PathBuf>,
    key: SigningKey,
    tree: Tree,
    signed: Option<Arc<Checkpoint>>,
    /// The note of `signed`, if it was signed here.
    note: Option<Arc<Note>>,
    signed_at: Option<Instant>,
    /// A tree that is to be signed as soon as its records are on the disk.
    due: Option<Tree>,
    /// Partial tiles of the latest checkpoint, and of the one before, which a reader may still be at.
    partial: [Vec<TileId>; 2],
}

impl Notary {
    /// Goes on with `tree`, of which `signed` was signed before.
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        dir: PathBuf,
        copy: Option<PathBuf>,
        key: SigningKey,
        tree: Tree,
        signed: Option<Checkpoint>,
    ) -> Self {
        let signed = signed.map(Arc::new);
        Self {
            storage,
            dir,
            copy,
            key,
            tree,
            signed,
            note: None,
            signed_at: None,
            due: None,
            partial: Default::default(),
        }
    }

    pub(super) fn verifier(&self) -> &VerifierKey {
        self.key.verifier()
    }

    /// Signs a text that is no checkpoint: it ends with a line feed and has no empty line.
    pub(super) fn sign_text(&self, text: String) -> Note {
        let signatures = vec![self.key.sign(&text)];
        Note { text, signatures }
    }

    /// The latest checkpoint.
    pub(super) fn signed(&self) -> Option<&Arc<Checkpoint>> {
        self.signed.as_ref()
    }

    /// The same as it was signed, if it was signed since the log was opened.
    pub(super) fn signed_note(&self) -> Option<SignedCheckpoint> {
        Some(SignedCheckpoint { checkpoint: self.signed.clone()?, note: self.note.clone()? })
    }

    /// Adds the leaves of finished lines, or none when a tile cannot be written. Tiles that were written then are
    /// written again later: there is but one content for each. Gives their paths.
    pub(super) fn extend(&mut self, lines: &[u8]) -> Result<Vec<PathBuf>, LogError> {
        let (mut tree, mut full) = (self.tree.clone(), Vec::new());
        for line in lines.split_inclusive(|b| *b == b'\n') {
            tree.push(leaf_hash(line.strip_suffix(b"\n").unwrap_or(line)), &mut full);
        }
        let paths = full.iter().map(|tile| self.write_tile(tile)).collect::<Result<_, _>>()?;
        self.tree = tree;
        Ok(paths)
    }

    /// Whether there are records that no checkpoint covers.
    pub(super) fn is_behind(&self) -> bool {
        self.signed.as_ref().is_none_or(|s| s.size < self.tree.size())
    }

    /// Signs what is due, given that the first `on_disk` records are on the disk. True when there is a new checkpoint.
    pub(super) fn attend(&mut self, on_disk: u64) -> Result<bool, LogError> {
        let rested = self.signed_at.is_none_or(|t| t.elapsed() >= CHECKPOINT_INTERVAL);
        if self.due.is_none() && rested && self.is_behind() {
            self.due = Some(self.tree.clone());
        }
        match self.due.take_if(|tree| tree.size() <= on_disk) {
            Some(tree) => self.sign(&tree).map(|()| true),
            None => Ok(false),
        }
    }

    /// Signs all there is, which must be on the disk.
    pub(super) fn sign_now(&mut self) -> Result<(), LogError> {
        self.due = None;
        if self.is_behind() { self.sign(&self.tree.clone()) } else { Ok(()) }
    }

    fn sign(&mut self, tree: &Tree) -> Result<(), LogError> {
        // A failure is tried again after the interval, not in a loop.
        self.signed_at = Some(Instant::now());
        let partial = tree.partial_tiles();
        partial.iter().try_for_each(|tile| self.write_tile(tile).map(drop))?;
        let origin = self.key.verifier().name().to_owned();
        let checkpoint = Checkpoint { origin, size: tree.size(), root: tree.root() };
        let signed = checkpoint.sign(&self.key);
        let note = signed.to_string();
        let places = [Some(checkpoint_path(&self.dir)), self.copy.clone()];
        for path in places.into_iter().flatten() {
            self.storage.replace(&path, note.as_bytes()).map_err(|e| LogError::io("write", &path, &e))?;
        }
        (self.signed, self.note) = (Some(Arc::new(checkpoint)), Some(Arc::new(signed)));
        let [latest, before] = &mut self.partial;
        let old = std::mem::replace(before, std::mem::replace(latest, partial.iter().map(Tile::id).collect()));
        self.remove_partial(&old, tree.size());
        Ok(())
    }

    /// Brings to the disk what the tree goes on from: once lines are deleted, their hashes are nowhere else. Full tiles are
    /// there before anything is signed.
    pub(super) fn settle(&self) -> Result<(), LogError> {
        let [latest, _] = &self.partial;
        let tiles = latest.iter().flat_map(|id| [tile_path(&self.dir, *id), partials_path(&self.dir, *id)]);
        // The directory last: the checkpoint's name leads to the new file from then on.
        for path in tiles.chain([checkpoint_path(&self.dir), self.dir.clone()]) {
            self.storage.sync(&path).map_err(|e| LogError::io("sync", &path, &e))?;
        }
        Ok(())
    }

    /// Deletes partial tiles that nobody needs any more. What cannot be deleted does no harm.
    fn remove_partial(&self, old: &[TileId], size: u64) {
        let kept = |id: &&TileId| !self.partial.iter().flatten().any(|k| k == *id);
        for id in old.iter().filter(kept) {
            let full = TileId::holding(id.level, id.index << 8, size).is_some_and(TileId::is_full);
            let path = if full { partials_path(&self.dir, *id) } else { tile_path(&self.dir, *id) };
            if let Err(error) = self.storage.remove(&path) {
                tracing::debug!(path = %path.display(), %error, "a partial tile could not be deleted");
            }
        }
    }

    fn write_tile(&self, tile: &Tile) -> Result<PathBuf, LogError> {
        let path = tile_path(&self.dir, tile.id());
        self.storage.replace(&path, &tile.bytes()).map_err(|e| LogError::io("write", &path, &e))?;
        Ok(path)
    }

    /// Has the key that signed before vouch for the one that signs now, over all that is signed: who has only the old
    /// key can follow. Nothing when the log was signed by another key.
    pub(super) fn hand_over(&self, previous: &SigningKey) -> Result<(), LogError> {
        let Some(checkpoint) = &self.signed else { return Ok(()) };
        let text = HandOver::text(checkpoint, self.verifier());
        let note = Note { signatures: vec![previous.sign(&text), self.key.sign(&text)], text };
        let path = archived_path(&self.dir, checkpoint.size);
        self.storage.replace(&path, note.to_string().as_bytes()).map_err(|e| LogError::io("write", &path, &e))
    }

    /// Says in the directory which key signs from now on. A checkpoint by another key is kept, so that who has only
    /// that key can still check the log up to there.
    pub(super) fn introduce(&self, known: &Known) -> Result<(), LogError> {
        let write = |path: PathBuf, text: &str| {
            self.storage.replace(&path, text.as_bytes()).map_err(|e| LogError::io("write", &path, &e))
        };
        let listed =
            |keys: &mut dyn Iterator<Item = &VerifierKey>| keys.map(|key| format!("{key}\n")).collect::<String>();
        let keys = &known.keys;
        let Some(last) = keys.last() else {
            return write(keys_path(&self.dir), &listed(&mut [self.verifier()].into_iter()));
        };
        if last == self.verifier() {
            // What a start under another key left that was killed before it signed.
            return if known.unused { write(keys_path(&self.dir), &listed(&mut keys.iter())) } else { Ok(()) };
        }
        if let (Some((note, _)), Some(signed)) = (&known.latest, &self.signed) {
            let path = archived_path(&self.dir, signed.size);
            // How it was handed over to is signed by it as well, and says more.
            let by_it = |note: &Note| note.verify(std::slice::from_ref(last)).is_ok();
            if !read_note(&path).is_ok_and(|found| found.is_some_and(|(note, _)| by_it(&note))) {
                write(path, &note.to_string())?;
            }
        }
        write(keys_path(&self.dir), &listed(&mut keys.iter().chain([self.verifier()])))
    }
}
