//! What is deleted to keep the log within its bound: bodies first, then whole segments, and the leaf hashes of what is
//! gone when they become too many. Each deletion is on record. Part of the writer.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::decisions::LogError;
use crate::decisions::entry::rfc3339;
use crate::decisions::record::{PruneRecord, RecordType};
use crate::decisions::segments::{self, Segment};
use crate::decisions::tree_files::tile_path;
use crate::decisions::writer::{Lines, Writer, length};
use crate::tlog::{Hash, TILE_WIDTH, TileId};

/// How long a deletion that failed is left alone: each try writes a record.
const PRUNE_AGAIN: Duration = Duration::from_secs(60);
/// The share of the bound that the leaf hashes of deleted records may take: 20 million records of 10 GiB.
const TILE_SHARE: u64 = 16;
/// Tiles deleted at once; a record tells of them.
const TILES_AT_ONCE: u64 = 256;
const TILE_BYTES: u64 = TILE_WIDTH as u64 * Hash::LENGTH as u64;

/// Kept free below the bound: the last record of a run is followed by no deletion, and may fill a tile.
const HEADROOM: u64 = TILE_BYTES + 4096;

/// What goes next.
enum Oldest {
    Bodies(Segment),
    Segment(Segment),
    /// Tiles of leaf hashes, from the first that is there.
    Tiles(u64),
}

impl Writer {
    /// Deletes until the log is within its bound. Each deletion is on record before it is done.
    pub(super) fn prune(&mut self) {
        while self.bytes() + HEADROOM > self.options.max_bytes && self.prune_after.is_none_or(|t| Instant::now() >= t) {
            let Some((oldest, record)) = self.oldest("max_bytes") else { return };
            if self.write_own(RecordType::Prune, &record).is_err() {
                return;
            }
            if let Err(e) = self.delete(&oldest) {
                self.prune_after = Some(Instant::now() + PRUNE_AGAIN);
                self.shared.status().health.last_error = Some(e.to_string());
                return;
            }
        }
    }

    /// On a full disk: deletes the oldest until there is room for `lines`; false when there is nothing to delete.
    pub(super) fn make_room(&mut self, lines: &Lines) -> bool {
        let wanted = length(&lines.envelopes) + length(&lines.bodies);
        let mut freed = 0;
        while freed < wanted {
            let Some((oldest, record)) = self.oldest("full_disk") else { break };
            if self.delete(&oldest).is_err() {
                break;
            }
            freed += record.bytes;
            self.pruned.push(record);
        }
        freed > 0
    }

    /// Envelopes, bodies and leaf hashes on disk, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        let segments: u64 = self.segments.iter().map(|s| s.envelopes + s.bodies.unwrap_or(0)).sum();
        segments + (self.next_seq / u64::from(TILE_WIDTH)).saturating_sub(self.first_tile) * TILE_BYTES
    }

    /// What goes next, with the record that tells of it; never anything of the active segment.
    fn oldest(&self, reason: &str) -> Option<(Oldest, PruneRecord)> {
        let record = |what: &str, first_seq: u64, end: u64, bytes| PruneRecord {
            timestamp: rfc3339(Timestamp::now()),
            what: what.to_owned(),
            reason: reason.to_owned(),
            first_seq,
            last_seq: end.saturating_sub(1),
            count: end.saturating_sub(first_seq),
            bytes,
        };
        let first = self.segments.first()?.first_seq;
        let tiles = (first / u64::from(TILE_WIDTH)).saturating_sub(self.first_tile);
        if tiles * TILE_BYTES > self.options.max_bytes / TILE_SHARE {
            let tiles = tiles.min(TILES_AT_ONCE);
            let seq = |tile: u64| tile * u64::from(TILE_WIDTH);
            let (begin, end) = (seq(self.first_tile), seq(self.first_tile + tiles));
            return Some((Oldest::Tiles(tiles), record("tiles", begin, end, tiles * TILE_BYTES)));
        }
        let sealed = self.segments.iter().zip(self.segments.iter().skip(1));
        if let Some((segment, next)) = sealed.clone().find(|(s, _)| s.bodies.is_some()) {
            let bytes = segment.bodies.unwrap_or(0);
            return Some((Oldest::Bodies(segment.clone()), record("bodies", segment.first_seq, next.first_seq, bytes)));
        }
        let (segment, next) = sealed.clone().next()?;
        let record = record("segment", segment.first_seq, next.first_seq, segment.envelopes);
        Some((Oldest::Segment(segment.clone()), record))
    }

    fn delete(&mut self, oldest: &Oldest) -> Result<(), LogError> {
        let dir = &self.options.dir;
        let remove = |path: &std::path::Path| self.storage.remove(path).map_err(|e| LogError::io("delete", path, &e));
        match oldest {
            Oldest::Bodies(segment) => {
                remove(&segments::body_path(dir, segment.first_seq))?;
                self.segments.iter_mut().filter(|s| s.first_seq == segment.first_seq).for_each(|s| s.bodies = None);
            }
            Oldest::Segment(segment) => {
                remove(&segments::envelope_path(dir, segment.first_seq))?;
                self.segments.retain(|s| s.first_seq != segment.first_seq);
            }
            Oldest::Tiles(count) => {
                for index in self.first_tile..self.first_tile + count {
                    remove(&tile_path(dir, leaf_tile(index)))?;
                }
                self.first_tile += count;
            }
        }
        let bytes = self.bytes();
        let mut status = self.shared.status();
        status.health.pruned += 1;
        status.health.bytes = bytes;
        Ok(())
    }
}

fn leaf_tile(index: u64) -> TileId {
    TileId { level: 0, index, width: TILE_WIDTH }
}
