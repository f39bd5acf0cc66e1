//! The stored side of a check: the tiles that lead to the checkpoint. Knows tiles and their parents; must not know
//! lines.

use std::collections::BTreeMap;
use std::path::Path;

use crate::decisions::LogError;
use crate::decisions::tree_files::{read_bytes, read_tile, tile_path, tiles};
use crate::tlog::{Checkpoint, Hash, TILE_WIDTH, Tile, TileId, Tree, TreeReader, is_consistent};

/// Leaves under one tile of leaf hashes.
pub(super) const WIDTH: u64 = TILE_WIDTH as u64;

/// The tiles of a tree of `size` leaves.
pub(super) struct Stored<'d> {
    dir: &'d Path,
    /// As the checkpoint has it.
    pub size: u64,
    /// The right edge, read at the start: a log that is being written deletes it in the end.
    edge: BTreeMap<TileId, Tile>,
    /// The parent that was last asked for.
    parent: Option<Tile>,
}

impl<'d> Stored<'d> {
    pub(super) fn new(dir: &'d Path, size: u64) -> Self {
        let mut stored = Self { dir, size, edge: BTreeMap::new(), parent: None };
        for level in 0.. {
            let entries = size.checked_shr(8 * level).unwrap_or(0);
            let Some(id) = entries.checked_sub(1).and_then(|last| TileId::holding(level, last, size)) else { break };
            if !id.is_full()
                && let Ok(tile) = read_tile(dir, id)
            {
                stored.edge.insert(id, tile);
            }
        }
        stored
    }

    /// The full tiles of a level that are there, by index, ascending.
    pub(super) fn full(&self, level: u32) -> Vec<u64> {
        let mut found: Vec<u64> =
            tiles(self.dir, level).into_iter().filter(|id| id.is_full()).map(|id| id.index).collect();
        found.sort_unstable();
        found
    }

    /// Partial tiles that do not hold the beginning of what is in their place now; nobody reads them any more but who is
    /// at an older checkpoint. What is beyond the checkpoint is nobody's yet.
    pub(super) fn strange_partials(&self) -> Vec<TileId> {
        let partial = (0..8).flat_map(|level| tiles(self.dir, level)).filter(|id| !id.is_full());
        let mut strange: Vec<TileId> = partial.filter(|id| self.is_strange(*id)).collect();
        strange.sort_unstable();
        strange
    }

    fn is_strange(&self, id: TileId) -> bool {
        let path = tile_path(self.dir, id);
        let last = id.index.saturating_mul(WIDTH).saturating_add(u64::from(id.width) - 1);
        let Some(wide) = TileId::holding(id.level, last, self.size).filter(|_| id.width > 0) else { return false };
        let (Ok(bytes), Ok(wide)) = (read_bytes(&path), self.read(wide)) else { return false };
        !wide.bytes().starts_with(&bytes) || bytes.len() != id.length()
    }

    /// Any tile.
    pub(super) fn read(&self, id: TileId) -> Result<Tile, LogError> {
        self.edge.get(&id).map_or_else(|| read_tile(self.dir, id), |tile| Ok(tile.clone()))
    }

    /// The tile that holds the hash of leaf `seq`.
    pub(super) fn leaves(&self, seq: u64) -> Option<(TileId, Result<Tile, LogError>)> {
        let id = TileId::holding(0, seq, self.size)?;
        Some((id, self.read(id)))
    }

    /// What the level above says that a full tile's root is.
    pub(super) fn root_above(&mut self, id: TileId) -> Option<Hash> {
        let above = TileId::holding(id.level + 1, id.index, self.size).filter(|_| id.is_full())?;
        if self.parent.as_ref().is_none_or(|tile| tile.id() != above) {
            self.parent = Some(self.read(above).ok()?);
        }
        let entry = usize::try_from(id.index % WIDTH).ok()?;
        self.parent.as_ref()?.hashes().get(entry).copied()
    }

    /// The tree before record `first`, as the tiles have it.
    pub(super) fn tree_before(&self, first: u64) -> Result<Tree, LogError> {
        Tree::resume(first, |id| match self.edge.get(&id) {
            Some(tile) => Ok(tile.clone()),
            // What was partial then is full now, or partial and wider.
            None => {
                let wide = TileId::holding(id.level, id.index * WIDTH + u64::from(id.width) - 1, self.size);
                let tile = self.read(wide.unwrap_or(id))?;
                Ok(Tile::parse(id, &tile.bytes())?)
            }
        })
    }

    /// Whether a checkpoint of deleted records is the beginning of the tree of the first `size` records with `root`;
    /// `None` when too much was deleted to say so.
    pub(super) fn agrees(&self, old: &Checkpoint, size: u64, root: &Hash) -> Option<bool> {
        let read = |id: TileId| {
            let wide = TileId::holding(id.level, id.index * WIDTH + u64::from(id.width) - 1, self.size);
            let tile = self.read(wide.unwrap_or(id))?;
            Ok::<Tile, LogError>(Tile::parse(id, &tile.bytes())?)
        };
        let path = TreeReader::new(size, read).consistency(old.size).ok()?;
        Some(is_consistent((old.size, &old.root), (size, root), &path))
    }
}
