//! Proofs that a leaf is in a tree and that one tree is the beginning of another: made from tiles, checked without.
//!
//! Made after RFC 6962 section 2.1, checked after RFC 9162 sections 2.1.3.2 and 2.1.4.2. Knows no signatures.

use std::collections::BTreeMap;

use crate::tlog::{Hash, TILE_HEIGHT, TILE_WIDTH, Tile, TileId, TlogError, empty_root, node_hash, subtree_root};

/// Reads any part of a tree of `size` leaves from its tiles.
pub struct TreeReader<F> {
    size: u64,
    read: F,
    /// Tiles read before; a proof needs a few dozen at the most.
    tiles: BTreeMap<TileId, Tile>,
}

impl<E: From<TlogError>, F: FnMut(TileId) -> Result<Tile, E>> TreeReader<F> {
    /// `read` is asked for tiles of the width that they have in a tree of `size` leaves.
    pub fn new(size: u64, read: F) -> Self {
        Self { size, read, tiles: BTreeMap::new() }
    }

    /// The hash of a leaf.
    ///
    /// # Errors
    /// [`TlogError::Outside`]; what `read` returns.
    pub fn leaf(&mut self, index: u64) -> Result<Hash, E> {
        self.node(0, index)
    }

    /// The root of the first `size` leaves.
    ///
    /// # Errors
    /// As [`leaf`](Self::leaf).
    pub fn root(&mut self, size: u64) -> Result<Hash, E> {
        if size == 0 { Ok(empty_root()) } else { self.range(0, size) }
    }

    /// The path from leaf `index` to the root: its sibling first.
    ///
    /// # Errors
    /// As [`leaf`](Self::leaf).
    pub fn inclusion(&mut self, index: u64) -> Result<Vec<Hash>, E> {
        if index >= self.size {
            return Err(TlogError::Outside { index, size: self.size }.into());
        }
        let (mut low, mut high, mut path) = (0, self.size, Vec::new());
        while high - low > 1 {
            let middle = low + largest_power_below(high - low);
            if index < middle {
                path.push(self.range(middle, high)?);
                high = middle;
            } else {
                path.push(self.range(low, middle)?);
                low = middle;
            }
        }
        path.reverse();
        Ok(path)
    }

    /// What shows that the tree of the first `size` leaves is the beginning of this one.
    ///
    /// # Errors
    /// As [`leaf`](Self::leaf).
    pub fn consistency(&mut self, size: u64) -> Result<Vec<Hash>, E> {
        if size > self.size {
            return Err(TlogError::Outside { index: size, size: self.size }.into());
        }
        let (mut low, mut high, mut path) = (0, self.size, Vec::new());
        if size == 0 || size == high {
            return Ok(path);
        }
        // SUBPROOF of RFC 6962: the old tree is walked down to where it ends at a perfect subtree.
        while size != high {
            let middle = low + largest_power_below(high - low);
            if size <= middle {
                path.push(self.range(middle, high)?);
                high = middle;
            } else {
                path.push(self.range(low, middle)?);
                low = middle;
            }
        }
        if low > 0 {
            path.push(self.range(low, high)?);
        }
        path.reverse();
        Ok(path)
    }

    /// The root over leaves `low` to `high`; `low` begins a subtree of that size.
    fn range(&mut self, low: u64, high: u64) -> Result<Hash, E> {
        let (mut at, mut subtrees) = (low, Vec::new());
        while at < high {
            let height = (high - at).ilog2().min(if at == 0 { u64::BITS } else { at.trailing_zeros() });
            subtrees.push(self.node(height, at >> height)?);
            at += 1 << height;
        }
        let mut subtrees = subtrees.into_iter().rev();
        let last = subtrees.next().unwrap_or_else(empty_root);
        Ok(subtrees.fold(last, |right, left| node_hash(&left, &right)))
    }

    /// The root of the `index`-th perfect subtree of a height.
    fn node(&mut self, height: u32, index: u64) -> Result<Hash, E> {
        let outside = TlogError::Outside { index: index.checked_shl(height).unwrap_or(u64::MAX), size: self.size };
        let (level, height_in_tile) = (height / TILE_HEIGHT, height % TILE_HEIGHT);
        let first = index << height_in_tile;
        let last = first + (1 << height_in_tile) - 1;
        let Some(id) = TileId::holding(level, last, self.size) else { return Err(outside.into()) };
        if !self.tiles.contains_key(&id) {
            let tile = (self.read)(id)?;
            self.tiles.insert(id, tile);
        }
        let at = |entry: u64| usize::try_from(entry % u64::from(TILE_WIDTH)).unwrap_or(usize::MAX);
        let hashes = self.tiles.get(&id).and_then(|tile| tile.hashes().get(at(first)..=at(last)));
        hashes.map(subtree_root).ok_or_else(|| outside.into())
    }
}

/// The root that `path` leads to from leaf `index` of `size`; `None` when its length is not that of such a path.
#[must_use]
pub fn root_of_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut at, mut last, mut root) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if at % 2 == 1 || at == last {
            root = node_hash(sibling, &root);
            if at % 2 == 0 {
                let rise = at.trailing_zeros().min(last.trailing_zeros());
                at >>= rise;
                last >>= rise;
            }
        } else {
            root = node_hash(&root, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(root)
}

/// Whether `path` shows that the tree of `old.0` leaves with root `old.1` is the beginning of that of `new`.
#[must_use]
pub fn is_consistent(old: (u64, &Hash), new: (u64, &Hash), path: &[Hash]) -> bool {
    let ((old_size, old_root), (new_size, new_root)) = (old, new);
    if old_size > new_size {
        return false;
    }
    if old_size == new_size {
        return path.is_empty() && old_root == new_root;
    }
    if old_size == 0 {
        return path.is_empty() && *old_root == empty_root();
    }
    let mut path = path.iter();
    // A perfect old tree is its own first step.
    let Some(seed) = (if old_size.is_power_of_two() { Some(old_root) } else { path.next() }) else { return false };
    let (mut at, mut last) = (old_size - 1, new_size - 1);
    let rise = at.trailing_ones();
    at = at.checked_shr(rise).unwrap_or(0);
    last = last.checked_shr(rise).unwrap_or(0);
    let (mut from_old, mut from_new) = (*seed, *seed);
    for step in path {
        if last == 0 {
            return false;
        }
        if at % 2 == 1 || at == last {
            from_old = node_hash(step, &from_old);
            from_new = node_hash(step, &from_new);
            if at % 2 == 0 {
                let rise = at.trailing_zeros().min(last.trailing_zeros());
                at >>= rise;
                last >>= rise;
            }
        } else {
            from_new = node_hash(&from_new, step);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && from_old == *old_root && from_new == *new_root
}

/// The largest power of two less than `n`, for `n` of 2 and more.
fn largest_power_below(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}
