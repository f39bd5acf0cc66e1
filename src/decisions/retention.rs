//! What is deleted, and when: what is older than it is to be kept, and, to keep the log within its bound, the oldest:
//! bodies first, then whole segments, and the leaf hashes of what is gone when they become too many. Each deletion is on
//! record; what is under legal hold stays. Part of the writer.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::decisions::entry::rfc3339;
use crate::decisions::hold::Kept;
use crate::decisions::keeping::Hand;
use crate::decisions::record::{PruneRecord, RecordType};
use crate::decisions::segments::{self, Segment};
use crate::decisions::tree_files::tile_path;
use crate::decisions::writer::{Lines, Writer, length};
use crate::decisions::{Author, LogError, Pruned, Ranges, Storage};
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

/// How often it is looked for what is too old.
const LOOK: Duration = Duration::from_secs(1);
/// Files deleted for their age between two writes: each has a record, and answers wait meanwhile.
const FILES_AT_ONCE: u64 = 4;
/// A segment ends at this share of the shortest period, so that what is kept too long is not kept much too long.
const SEGMENTS_A_PERIOD: u32 = 10;
/// And at the latest after this.
const LONGEST_SEGMENT: Duration = Duration::from_secs(24 * 3600);
/// Ranges of deleted records, and of erased bodies, that a record of a deletion has room for. Holds that keep more islands
/// than this keep what is between them too.
const MAX_GONE: usize = 400;

/// How long things are kept; without a period until the log is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Bodies.
    pub bodies: Option<Duration>,
    /// Whole records.
    pub records: Option<Duration>,
}

impl Retention {
    fn shortest(&self) -> Option<Duration> {
        self.bodies.into_iter().chain(self.records).min()
    }
}

/// How old the segments are.
#[derive(Debug, Default)]
pub(super) struct Ages {
    /// When the active segment was begun.
    begun: Option<Timestamp>,
    /// It ends with the next write.
    end: bool,
    /// The times of the last records of sealed segments, as far as they were asked for.
    last: BTreeMap<u64, Timestamp>,
    looked: Option<Instant>,
}

impl Ages {
    /// A segment was begun.
    pub(super) fn begin(&mut self, now: Timestamp) {
        (self.begun, self.end) = (Some(now), false);
    }

    /// The active segment is to end.
    pub(super) fn end_here(&mut self) {
        self.end = true;
    }

    /// Whether the next write begins a new segment.
    pub(super) fn ends_here(&self, retention: &Retention) -> bool {
        self.end || retention.shortest().is_some_and(|p| self.is_older((p / SEGMENTS_A_PERIOD).min(LONGEST_SEGMENT)))
    }

    fn is_older(&self, than: Duration) -> bool {
        self.begun.zip(ago(than)).is_some_and(|(begun, then)| begun <= then)
    }
}

fn ago(period: Duration) -> Option<Timestamp> {
    Timestamp::now().checked_sub(period).ok()
}

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
        let mut over = 0;
        while self.bytes() + HEADROOM > self.options.max_bytes && self.prune_after.is_none_or(|t| Instant::now() >= t) {
            let Some((oldest, record)) = self.oldest("max_bytes") else {
                over = self.bytes().saturating_sub(self.options.max_bytes);
                break;
            };
            if self.delete_on_record(&oldest, &record).is_err() {
                return;
            }
        }
        self.tell_of_holds(over);
    }

    /// Deletes what is older than it is to be kept.
    pub(super) fn retain(&mut self) {
        let Retention { bodies, records } = self.options.retention;
        let Some(shortest) = self.options.retention.shortest() else { return };
        let rests = self.ages.looked.is_some_and(|t| t.elapsed() < LOOK);
        if rests || self.prune_after.is_some_and(|t| Instant::now() < t) {
            return;
        }
        self.ages.looked = Some(Instant::now());
        // Where nothing is written, nothing else ends the segment.
        if self.ages.is_older(shortest) && self.seal().is_err() {
            return;
        }
        // An error is in the health; the next look tries again.
        let _ = self.drop_older(bodies.and_then(ago), records.and_then(ago), None);
    }

    /// Deletes bodies and segments whose last record is not younger than this; [`FILES_AT_ONCE`], and says whether it
    /// stopped there.
    pub(super) fn drop_older(
        &mut self,
        bodies: Option<Timestamp>,
        records: Option<Timestamp>,
        author: Option<&Author>,
    ) -> Result<Pruned, LogError> {
        let mut pruned = Pruned::default();
        if let (Some(_), Some(active)) = (author, self.segments.last().map(|s| s.first_seq))
            && self.last_of(active).is_some_and(|last| bodies.max(records).is_some_and(|t| last <= t))
        {
            self.seal()?;
        }
        for (before, whole) in [(records, true), (bodies, false)] {
            let Some(before) = before else { continue };
            let sealed = self.segments.len().saturating_sub(1);
            let sealed: Vec<u64> = self.segments.iter().take(sealed).map(|s| s.first_seq).collect();
            for first_seq in sealed {
                if pruned.bodies + pruned.segments >= FILES_AT_ONCE {
                    pruned.more = true;
                    return Ok(pruned);
                }
                if self.last_of(first_seq).is_none_or(|last| last > before) || !self.has(first_seq, whole) {
                    continue;
                }
                match self.hand(first_seq) {
                    Hand::Free => self.drop_segment(first_seq, whole, author, &mut pruned)?,
                    other => self.note_hand(other, &mut pruned),
                }
            }
        }
        Ok(pruned)
    }

    /// Whether there is something of a segment to delete.
    fn has(&self, first_seq: u64, whole: bool) -> bool {
        self.segments.iter().any(|s| s.first_seq == first_seq && (whole || s.bodies.is_some()))
    }

    /// Sees to it that a checkpoint covers all records of a segment and that all it goes on from is on the disk: until then
    /// their lines are what the tree is made of again after a crash.
    fn vouch(&mut self, oldest: &Oldest) -> Result<(), LogError> {
        let Oldest::Segment(segment) = oldest else { return Ok(()) };
        let index = self.segments.iter().position(|s| s.first_seq == segment.first_seq);
        let signed = self.notary.signed().map_or(0, |c| c.size);
        if index.is_some_and(|index| self.end_of(index) > signed) { self.sign_all() } else { self.notary.settle() }
    }

    fn drop_segment(
        &mut self,
        first_seq: u64,
        whole: bool,
        author: Option<&Author>,
        pruned: &mut Pruned,
    ) -> Result<(), LogError> {
        let Some(index) = self.segments.iter().position(|s| s.first_seq == first_seq) else { return Ok(()) };
        let Some(segment) = self.segments.get(index).cloned() else { return Ok(()) };
        if whole && !self.may_go(index) {
            return Ok(());
        }
        if let Some(bytes) = segment.bodies {
            let record = signed_by(self.told("bodies", "retention", index, bytes), author);
            self.delete_on_record(&Oldest::Bodies(segment.clone()), &record)?;
            (pruned.bodies, pruned.bytes) = (pruned.bodies + 1, pruned.bytes + bytes);
        }
        if whole {
            let record = signed_by(self.told("segment", "retention", index, segment.envelopes), author);
            self.delete_on_record(&Oldest::Segment(segment.clone()), &record)?;
            (pruned.segments, pruned.bytes) = (pruned.segments + 1, pruned.bytes + segment.envelopes);
        }
        Ok(())
    }

    /// The time of the last record of a segment.
    fn last_of(&mut self, first_seq: u64) -> Option<Timestamp> {
        let sealed = self.segments.last().is_some_and(|s| s.first_seq != first_seq);
        if sealed && let Some(last) = self.ages.last.get(&first_seq) {
            return Some(*last);
        }
        let path = segments::envelope_path(&self.options.dir, first_seq);
        let (first, last) = segments::ends(&path).ok().flatten()?;
        // A clock that was set back makes the first the younger one.
        let last: Timestamp = first.max(last).parse().ok()?;
        if sealed {
            self.ages.last.insert(first_seq, last);
        }
        Some(last)
    }

    /// On a full disk: deletes the oldest until there is room for `lines`; false when there is nothing to delete.
    pub(super) fn make_room(&mut self, lines: &Lines) -> bool {
        let wanted = length(&lines.envelopes) + length(&lines.bodies);
        let mut freed = 0;
        while freed < wanted {
            let Some((oldest, record)) = self.oldest(FULL_DISK) else { break };
            if self.vouch(&oldest).is_err() {
                break;
            }
            // Killed from here on, the next start writes the record. That has no room only where nothing has.
            let owed = self.owe(&record);
            if self.delete(&oldest).is_err() {
                self.kept.owed.pop();
                break;
            }
            if !owed {
                self.save_kept();
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

    /// What goes next, with the record that tells of it; never anything of the active segment, nor what is held.
    fn oldest(&mut self, reason: &str) -> Option<(Oldest, PruneRecord)> {
        let first = self.segments.first()?.first_seq;
        let tiles = (first / u64::from(TILE_WIDTH)).saturating_sub(self.first_tile);
        if tiles * TILE_BYTES > self.options.max_bytes / TILE_SHARE {
            let tiles = tiles.min(TILES_AT_ONCE);
            let seq = |tile: u64| tile * u64::from(TILE_WIDTH);
            let (begin, end) = (seq(self.first_tile), seq(self.first_tile + tiles));
            return Some((Oldest::Tiles(tiles), record("tiles", reason, begin, end, tiles * TILE_BYTES)));
        }
        for whole in [false, true] {
            for index in 0..self.segments.len().saturating_sub(1) {
                let Some(segment) = self.segments.get(index).cloned() else { continue };
                let late = reason == FULL_DISK && self.states_holds(segment.first_seq, self.end_of(index) - 1);
                if whole == segment.bodies.is_some() || (whole && (late || !self.may_go(index))) {
                    continue;
                }
                match self.hand(segment.first_seq) {
                    Hand::Free if whole => {
                        let record = self.told("segment", reason, index, segment.envelopes);
                        return Some((Oldest::Segment(segment), record));
                    }
                    Hand::Free => {
                        let record = self.told("bodies", reason, index, segment.bodies.unwrap_or(0));
                        return Some((Oldest::Bodies(segment), record));
                    }
                    // It may be the one to go: a moment later it is known.
                    Hand::Unknown if reason != FULL_DISK => return None,
                    Hand::Held(_) | Hand::Unknown => {}
                }
            }
        }
        None
    }

    /// Whether the record of the deletion of a segment has room to say what else is gone.
    fn may_go(&self, index: usize) -> bool {
        let Some(segment) = self.segments.get(index) else { return false };
        let mut gone = self.kept.gone.clone();
        gone.insert(segment.first_seq, self.end_of(index).saturating_sub(1));
        let erased = self.kept.erased_before(segment.first_seq).len();
        gone.len() <= MAX_GONE.max(self.kept.gone.len()) && erased <= MAX_GONE
    }

    /// One past the last record that is in the segment at `index`: what is missing behind it was not deleted with it.
    fn end_in(&self, index: usize) -> u64 {
        let end = self.end_of(index);
        let path = self.segments.get(index).map(|s| segments::envelope_path(&self.options.dir, s.first_seq));
        path.and_then(|path| segments::last_seq(&path)).map_or(end, |last| end.min(last.saturating_add(1)))
    }

    /// The record of a deletion of the segment at `index`, or of its bodies.
    fn told(&self, what: &str, reason: &str, index: usize, bytes: u64) -> PruneRecord {
        let first = self.segments.get(index).map_or(0, |s| s.first_seq);
        let end = self.end_in(index);
        let mut record = record(what, reason, first, end, bytes);
        if what == "segment" {
            let mut gone = self.kept.gone.clone();
            gone.insert(first, end.saturating_sub(1));
            // The newest record of a deletion says all, so that no earlier one has to be kept.
            if !gone.iter().eq([(first, end.saturating_sub(1))]) {
                record.gone = gone;
            }
            record.erased = self.kept.erased_before(first);
        }
        record
    }

    /// Writes the record and then deletes. A failure is left alone for a while.
    fn delete_on_record(&mut self, oldest: &Oldest, record: &PruneRecord) -> Result<(), LogError> {
        // Before the record: it must not tell of a deletion that cannot be done.
        self.vouch(oldest).inspect_err(|error| self.leave_alone(error))?;
        if matches!(oldest, Oldest::Segment(_)) && self.states_holds(record.first_seq, record.last_seq) {
            let (first, last) = (record.first_seq, record.last_seq);
            self.restate(|_, hold| (first..=last).contains(&hold.seq))?;
        }
        self.write_own(RecordType::Prune, record)?;
        // A loss of power must not keep the deletion and lose its record; and a record that nobody signed explains nothing.
        self.sign_all().and_then(|()| self.delete(oldest)).inspect_err(|error| self.leave_alone(error))
    }

    fn leave_alone(&mut self, error: &LogError) {
        self.prune_after = Some(Instant::now() + PRUNE_AGAIN);
        self.shared.status().health.last_error = Some(error.to_string());
    }

    fn delete(&mut self, oldest: &Oldest) -> Result<(), LogError> {
        let dir = &self.options.dir;
        let remove = |path: &Path| self.storage.remove(path).map_err(|e| LogError::io("delete", path, &e));
        // What was deleted must not be back after a loss of power. Of leaf hashes it does not matter.
        let remove_for_good = |path: &Path| {
            remove(path)?;
            if let Some(Err(error)) = path.parent().map(|dir| self.storage.sync(dir)) {
                tracing::warn!(path = %path.display(), %error, "what was deleted may be back after a loss of power");
            }
            Ok::<(), LogError>(())
        };
        match oldest {
            Oldest::Bodies(segment) => {
                remove_for_good(&segments::body_path(dir, segment.first_seq))?;
                self.segments.iter_mut().filter(|s| s.first_seq == segment.first_seq).for_each(|s| s.bodies = None);
                if let Some(index) = self.segments.iter().position(|s| s.first_seq == segment.first_seq) {
                    let end = self.end_of(index);
                    self.kept.erased.remove(segment.first_seq, end.saturating_sub(1));
                }
            }
            Oldest::Segment(segment) => {
                let index = self.segments.iter().position(|s| s.first_seq == segment.first_seq);
                let end = index.map(|index| self.end_in(index));
                remove_for_good(&segments::envelope_path(dir, segment.first_seq))?;
                if let (Some(index), Some(end)) = (index, end) {
                    self.kept.gone.insert(segment.first_seq, end.saturating_sub(1));
                    self.segments.remove(index);
                }
                self.ages.last.remove(&segment.first_seq);
                self.save_kept();
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

    /// That the log is past its bound because nothing may go must be heard before the disk is full.
    fn tell_of_holds(&mut self, over: u64) {
        let sealed = self.segments.len().saturating_sub(1);
        let sealed: Vec<u64> = self.segments.iter().take(sealed).map(|s| s.first_seq).collect();
        let mut kept = Pruned::default();
        if over > 0 {
            sealed.into_iter().map(|first| self.hand(first)).collect::<Vec<_>>().into_iter().for_each(|hand| {
                self.note_hand(hand, &mut kept);
            });
        }
        let over = if kept.holds.is_empty() || kept.unknown { 0 } else { over };
        let before = std::mem::replace(&mut self.shared.status().health.held_over, over);
        if over > 0 && before == 0 {
            tracing::error!(
                over,
                bound = self.options.max_bytes,
                holds = kept.holds.join(", "),
                "the decision log is past its bound, and all that could go is under legal hold; it grows until the disk \
                 is full"
            );
        }
    }
}

/// Ends deletions of segments that were cut off: signed records tell of them. The newest segment is never one.
pub(super) fn finish(storage: &dyn Storage, dir: &Path, segments: &mut Vec<Segment>, kept: &Kept) {
    let Some(newest) = segments.last().map(|s| s.first_seq) else { return };
    segments.retain(|segment| {
        let first = segment.first_seq;
        let last = segments::last_seq(&segments::envelope_path(dir, first)).unwrap_or(first);
        if first == newest || !kept.gone.contains(first) || !kept.gone.contains(last) {
            return true;
        }
        let paths = [segments::body_path(dir, first), segments::envelope_path(dir, first)];
        match paths.iter().try_for_each(|path| storage.remove(path)) {
            Ok(()) => false,
            Err(error) => {
                tracing::warn!(segment = first, %error, "a deletion that is on record could not be ended");
                true
            }
        }
    });
}

/// Why something goes before its record is written.
const FULL_DISK: &str = "full_disk";

fn record(what: &str, reason: &str, first_seq: u64, end: u64, bytes: u64) -> PruneRecord {
    PruneRecord {
        timestamp: rfc3339(Timestamp::now()),
        what: what.to_owned(),
        reason: reason.to_owned(),
        first_seq,
        last_seq: end.saturating_sub(1),
        count: end.saturating_sub(first_seq),
        bytes,
        erased: Ranges::default(),
        gone: Ranges::default(),
        by: None,
        ticket: None,
        note: None,
    }
}

fn signed_by(record: PruneRecord, author: Option<&Author>) -> PruneRecord {
    let Some(author) = author else { return record };
    PruneRecord { by: Some(author.by.clone()), ticket: author.ticket.clone(), note: author.note.clone(), ..record }
}

/// The records of an erasure of bodies; of so many ranges that each fits into an envelope.
pub(super) fn erasures(erased: &Ranges, bytes: u64, author: &Author) -> Vec<PruneRecord> {
    const RANGES: usize = 500;
    let mut bytes = bytes;
    erased
        .pieces(RANGES)
        .map(|piece| {
            let first = piece.iter().next().map_or(0, |r| r.0);
            let last = piece.iter().last().map_or(0, |r| r.1);
            let count = piece.count();
            let record =
                signed_by(record("body", "erasure", first, last + 1, std::mem::take(&mut bytes)), Some(author));
            PruneRecord { count, erased: piece, ..record }
        })
        .collect()
}

fn leaf_tile(index: u64) -> TileId {
    TileId { level: 0, index, width: TILE_WIDTH }
}
