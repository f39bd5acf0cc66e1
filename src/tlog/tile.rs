//! Tiles: 256 neighbouring hashes of one height as a file, and the names of these files (C2SP tlog-tiles).
//! Knows bytes and paths as text; must not know where they are.

use std::fmt;

use crate::tlog::{Hash, TlogError, subtree_root};

/// Levels of the tree that a tile spans.
pub const TILE_HEIGHT: u32 = 8;
/// Hashes in a full tile.
pub const TILE_WIDTH: u16 = 256;

/// Which tile: the `index`-th at its level, `width` hashes wide (1 to 256). At level 0 it holds hashes of leaves, above
/// it each hash is the root of a full tile of the level below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// 0 to 7: 256^8 leaves are more than a `u64` counts.
    pub level: u32,
    /// From 0, left to right.
    pub index: u64,
    /// Hashes in it; less than 256 only at the right edge.
    pub width: u16,
}

impl TileId {
    /// The tile of a tree with `size` leaves that holds entry `entry` of `level`; `None` when the tree does not have it.
    #[must_use]
    pub fn holding(level: u32, entry: u64, size: u64) -> Option<Self> {
        let entries = size.checked_shr(TILE_HEIGHT * level).unwrap_or(0);
        if entry >= entries {
            return None;
        }
        let index = entry >> TILE_HEIGHT;
        let width = (entries - (index << TILE_HEIGHT)).min(u64::from(TILE_WIDTH));
        Some(Self { level, index, width: u16::try_from(width).ok()? })
    }

    /// The same tile when it is full.
    #[must_use]
    pub fn full(self) -> Self {
        Self { width: TILE_WIDTH, ..self }
    }

    /// Whether it is full.
    #[must_use]
    pub fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// Bytes of the tile.
    #[must_use]
    pub fn length(self) -> usize {
        usize::from(self.width) * Hash::LENGTH
    }

    /// Reads a path as [`Display`](fmt::Display) writes it; nothing else is taken.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("tile/")?;
        let (rest, width) = match rest.split_once(".p/") {
            Some((rest, width)) => (rest, width.parse().ok()?),
            None => (rest, TILE_WIDTH),
        };
        let (level, index) = rest.split_once('/')?;
        let mut number = 0_u64;
        for element in index.split('/') {
            let digits = element.strip_prefix('x').unwrap_or(element);
            number = number.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        }
        let id = Self { level: level.parse().ok()?, index: number, width };
        (id.to_string() == path).then_some(id)
    }
}

/// `tile/<level>/<index>[.p/<width>]`, the index in groups of three digits, all but the last with an `x` before them.
impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut rest, mut groups) = (self.index, Vec::new());
        loop {
            groups.push(rest % 1000);
            rest /= 1000;
            if rest == 0 {
                break;
            }
        }
        write!(f, "tile/{}", self.level)?;
        for (left, group) in groups.iter().enumerate().rev() {
            write!(f, "/{}{group:03}", if left > 0 { "x" } else { "" })?;
        }
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

/// A tile with its hashes, as many as its id says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    id: TileId,
    hashes: Vec<Hash>,
}

impl Tile {
    pub(super) fn new(id: TileId, hashes: Vec<Hash>) -> Self {
        Self { id, hashes }
    }

    /// Reads a tile's bytes. Those of a wider tile of the same place will do: their beginning is taken.
    ///
    /// # Errors
    /// [`TlogError::Tile`] when there are too few bytes, or another number than any tile has.
    pub fn parse(id: TileId, bytes: &[u8]) -> Result<Self, TlogError> {
        let wrong = || TlogError::Tile { path: id.to_string(), found: bytes.len(), wanted: id.length() };
        if !bytes.len().is_multiple_of(Hash::LENGTH) || bytes.len() > id.full().length() {
            return Err(wrong());
        }
        let wanted = bytes.get(..id.length()).ok_or_else(wrong)?;
        let (chunks, _) = wanted.as_chunks::<{ Hash::LENGTH }>();
        Ok(Self { id, hashes: chunks.iter().copied().map(Hash::from_bytes).collect() })
    }

    /// Which tile it is.
    #[must_use]
    pub fn id(&self) -> TileId {
        self.id
    }

    /// Its hashes, left to right.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Its bytes: the hashes, one after another.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|h| *h.as_bytes()).collect()
    }

    /// The root over its hashes: of a full tile, the entry that stands for it at the level above.
    #[must_use]
    pub fn root(&self) -> Hash {
        subtree_root(&self.hashes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        for (level, index, width, path) in [
            (0, 1_234_067, 256, "tile/0/x001/x234/067"),
            (0, 0, 256, "tile/0/000"),
            (3, 999, 8, "tile/3/999.p/8"),
            (1, 1000, 255, "tile/1/x001/000.p/255"),
        ] {
            let id = TileId { level, index, width };
            assert_eq!(id.to_string(), path);
            assert_eq!(TileId::parse(path), Some(id));
        }
        for wrong in ["tile/0/0", "tile/0/001/000", "tile/00/000", "tile/0/000.p/256", "tile/0/000.p/08", "tile/x/000"]
        {
            assert_eq!(TileId::parse(wrong), None, "{wrong}");
        }
    }

    /// The example of the specification: a tree of 70,000.
    #[test]
    fn widths_are_those_of_the_specification() {
        let width = |level, entry| TileId::holding(level, entry, 70_000).map(|id| (id.index, id.width));
        assert_eq!(width(0, 69_887), Some((272, 256)));
        assert_eq!(width(0, 69_999), Some((273, 112)));
        assert_eq!(width(0, 70_000), None);
        assert_eq!((width(1, 0), width(1, 272)), (Some((0, 256)), Some((1, 17))));
        assert_eq!((width(2, 0), width(3, 0)), (Some((0, 1)), None));
        assert_eq!(TileId::holding(8, 0, u64::MAX), None);
    }
}
