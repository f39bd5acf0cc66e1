//! The tree while it grows: what has to be remembered to add leaves, give the root and write tiles. Knows its right
//! edge only; memory is bounded by 256 hashes a tile level.

use crate::tlog::{Hash, TILE_HEIGHT, TILE_WIDTH, Tile, TileId, empty_root, node_hash, subtree_root};

/// The right edge of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    size: u64,
    /// Roots of the perfect subtrees that the size is the sum of, largest first: one for each bit that is set.
    frontier: Vec<Hash>,
    /// The unfinished tile of each level, 0 to 255 hashes.
    rows: Vec<Vec<Hash>>,
}

impl Tree {
    /// A tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on with a tree of `size` leaves, of which `read` gives the tiles of the right edge.
    ///
    /// # Errors
    /// What `read` returns.
    pub fn resume<E>(size: u64, mut read: impl FnMut(TileId) -> Result<Tile, E>) -> Result<Self, E> {
        let mut rows = Vec::new();
        let mut level = 0;
        while let Some(entries) = size.checked_shr(TILE_HEIGHT * level).filter(|n| *n > 0) {
            let width = entries % u64::from(TILE_WIDTH);
            let last = (width > 0).then(|| TileId::holding(level, entries - 1, size)).flatten();
            rows.push(last.map(&mut read).transpose()?.map(|tile| tile.hashes().to_vec()).unwrap_or_default());
            level += 1;
        }
        let frontier = (0..u64::BITS).rev().filter(|height| size >> height & 1 == 1).map(|height| {
            let (level, height_in_tile) = (height / TILE_HEIGHT, height % TILE_HEIGHT);
            let entries = size >> (TILE_HEIGHT * level);
            let first = (entries >> (height_in_tile + 1) << (height_in_tile + 1)) % u64::from(TILE_WIDTH);
            let row: &[Hash] = rows.get(index(level)).map_or(&[], Vec::as_slice);
            let first = usize::try_from(first).unwrap_or(usize::MAX);
            subtree_root(row.get(first..first.saturating_add(1 << height_in_tile)).unwrap_or_default())
        });
        Ok(Self { size, frontier: frontier.collect(), rows })
    }

    /// Leaves in it.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf by its [hash](crate::tlog::leaf_hash). Tiles that it fills are added to `full`, lowest level first.
    pub fn push(&mut self, leaf: Hash, full: &mut Vec<Tile>) {
        let (mut node, mut height) = (leaf, 0);
        self.enter(0, node, full);
        while self.size >> height & 1 == 1 {
            let Some(left) = self.frontier.pop() else { break };
            node = node_hash(&left, &node);
            height += 1;
            if height % TILE_HEIGHT == 0 {
                self.enter(height / TILE_HEIGHT, node, full);
            }
        }
        self.frontier.push(node);
        self.size += 1;
    }

    /// The root hash over all leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut subtrees = self.frontier.iter().rev();
        let Some(last) = subtrees.next() else { return empty_root() };
        subtrees.fold(*last, |right, left| node_hash(left, &right))
    }

    /// The unfinished tiles that a checkpoint of this size needs, lowest level first.
    #[must_use]
    pub fn partial_tiles(&self) -> Vec<Tile> {
        let rows = (0..).zip(&self.rows).filter(|(_, row)| !row.is_empty());
        let tile = |(level, row): (u32, &Vec<Hash>)| {
            let index = self.size.checked_shr(TILE_HEIGHT * (level + 1)).unwrap_or(0);
            let width = u16::try_from(row.len()).unwrap_or(TILE_WIDTH);
            Tile::new(TileId { level, index, width }, row.clone())
        };
        rows.map(tile).collect()
    }

    /// One more hash in the unfinished tile of a level.
    fn enter(&mut self, level: u32, hash: Hash, full: &mut Vec<Tile>) {
        while self.rows.len() <= index(level) {
            self.rows.push(Vec::with_capacity(usize::from(TILE_WIDTH)));
        }
        let Some(row) = self.rows.get_mut(index(level)) else { return };
        row.push(hash);
        if row.len() == usize::from(TILE_WIDTH) {
            let index = self.size.checked_shr(TILE_HEIGHT * (level + 1)).unwrap_or(0);
            let id = TileId { level, index, width: TILE_WIDTH };
            full.push(Tile::new(id, std::mem::replace(row, Vec::with_capacity(usize::from(TILE_WIDTH)))));
        }
    }
}

fn index(level: u32) -> usize {
    usize::try_from(level).unwrap_or(usize::MAX)
}
