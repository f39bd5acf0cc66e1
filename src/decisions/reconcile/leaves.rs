//! Leaves of the tree by their number, one tile in memory. Knows tiles; must not know records.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;

use crate::decisions::tree_files::{latest_size, read_tile_of};
use crate::tlog::{TILE_WIDTH, Tile, TileId};

/// Leaves that are asked for in their order.
pub(super) struct Leaves {
    dir: PathBuf,
    /// The last tile that was looked for, by its index.
    tile: Option<(u64, Option<Tile>)>,
}

impl Leaves {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf(), tile: None }
    }

    /// The leaf, 64 hex digits; `None` when no tile has it: it was deleted, or is not signed yet.
    pub(super) fn leaf(&mut self, seq: u64) -> Option<String> {
        let width = u64::from(TILE_WIDTH);
        let index = seq / width;
        if self.tile.as_ref().is_none_or(|(known, _)| *known != index) {
            self.tile = Some((index, self.load(seq)));
        }
        let (_, tile) = self.tile.as_ref()?;
        let hash = tile.as_ref()?.hashes().get(usize::try_from(seq % width).ok()?)?;
        Some(HEXLOWER.encode(hash.as_bytes()))
    }

    /// The tile that holds it, full or partial; a server may put a wider one in its place meanwhile.
    fn load(&self, seq: u64) -> Option<Tile> {
        let size = latest_size(&self.dir)?;
        let id = TileId::holding(0, seq, size)?;
        read_tile_of(&self.dir, id, latest_size(&self.dir).unwrap_or(size)).ok()
    }
}
