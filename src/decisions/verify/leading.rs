//! The part of the pass that looks at tiles: those of records that are not there any more, and those above the leaves.
//! Knows tiles and their parents; lines are `walk`'s.

use crate::decisions::LogError;
use crate::decisions::verify::walk::Walk;
use crate::decisions::verify::{Finding, FindingCode};
use crate::tlog::{Tile, TileId};

impl Walk<'_> {
    /// What can be said of the records that are not there any more.
    pub(super) fn begin(&mut self) {
        let first = self.next;
        for level in 0..8 {
            let end = first.checked_shr(8 * (level + 1)).unwrap_or(0);
            let mut next = 0;
            for index in self.stored.full(level).into_iter().take_while(|index| *index < end) {
                self.tiles_are_gone(level, next, index);
                next = index + 1;
                let id = TileId { level, index, width: 256 };
                match self.stored.read(id) {
                    Ok(tile) => self.compare_with_parent(&tile),
                    Err(error) => self.tile_is_gone(id, &error),
                }
            }
            self.tiles_are_gone(level, next, end);
        }
        let root = self.tree.root();
        let later = self.anchors.split_off(&(first + 1));
        for anchor in std::mem::replace(&mut self.anchors, later).into_values().flatten() {
            let agrees = if anchor.checkpoint.size == first && self.whole {
                Some(anchor.checkpoint.root == root)
            } else {
                self.stored.agrees(&anchor.checkpoint, first, &root).filter(|_| self.whole)
            };
            match agrees {
                Some(true) => {}
                Some(false) => self.disagrees(&anchor),
                None => self.report.anchors_unchecked += 1,
            }
        }
    }

    /// Tiles of deleted records are not there; leaf hashes may be deleted as well.
    fn tiles_are_gone(&mut self, level: u32, next: u64, end: u64) {
        if level > 0 && next < end {
            let id = |index| TileId { level, index, width: 256 };
            let more = if end - next > 1 { format!(" to `{}`", id(end - 1)) } else { String::new() };
            let message = format!("tile `{}`{more} is not there", id(next));
            let seq = next << (8 * (level + 1));
            self.report.find(Finding::at(FindingCode::Tile, seq, id(next).to_string(), message));
        }
    }

    fn compare_with_parent(&mut self, tile: &Tile) {
        if self.stored.root_above(tile.id()).is_some_and(|root| root != tile.root()) {
            let message = format!("tile `{}` is not the one that the tile above it was made of", tile.id());
            let seq = tile.id().index << (8 * (tile.id().level + 1));
            self.report.find(Finding::at(FindingCode::Tile, seq, tile.id().to_string(), message));
        }
    }

    /// Holds a tile above the leaves against the stored one.
    pub(super) fn compare(&mut self, tile: &Tile) {
        match self.stored.read(tile.id()) {
            Ok(stored) if stored == *tile => {}
            Ok(_) => {
                let message = format!("tile `{}` is not the one that its records lead to", tile.id());
                let seq = tile.id().index << (8 * (tile.id().level + 1));
                self.report.find(Finding::at(FindingCode::Tile, seq, tile.id().to_string(), message));
            }
            Err(error) => self.tile_is_gone(tile.id(), &error),
        }
    }

    pub(super) fn tile_is_gone(&mut self, id: TileId, error: &LogError) {
        // A log that is being written deletes partial tiles in the end.
        self.report.unexplained |= matches!(error, LogError::Io { kind: std::io::ErrorKind::NotFound, .. });
        let seq = id.index << (8 * (id.level + 1));
        let message = format!("tile `{id}` cannot be read: {error}");
        self.report.find(Finding::at(FindingCode::Tile, seq, id.to_string(), message));
    }
}
