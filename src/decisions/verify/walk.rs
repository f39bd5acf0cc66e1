//! The one pass over a log: segments in order, lines into rows of one tile, rows into the tree, the tree's root held
//! against every checkpoint on the way. Knows when to compare; what is compared comes from its siblings.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;

use crate::decisions::LogError;
use crate::decisions::doubt::Starts;
use crate::decisions::lines::Lines;
use crate::decisions::record::{GapRecord, MAX_ENVELOPE, PruneRecord, RecordType, StartRecord};
use crate::decisions::segments::{Segment, body_path, envelope_path};
use crate::decisions::verify::absent::Absent;
use crate::decisions::verify::bodies::{Bodies, Fate};
use crate::decisions::verify::envelope::{Envelope, Input};
use crate::decisions::verify::row::{Cell, Place, Side, leads_first};
use crate::decisions::verify::tiles::{Stored, WIDTH};
use crate::decisions::verify::{Anchor, Finding, FindingCode, Progress, Report};
use crate::tlog::{Checkpoint, Hash, Tile, Tree, leaf_hash, subtree_root};

/// Bytes after which progress is told.
const STEP: u64 = 4 << 20;
/// Bytes of a line that are looked at: many times what a record has.
const LONGEST: usize = 1 << 20;

pub(super) struct Walk<'d> {
    dir: &'d Path,
    segments: Vec<Segment>,
    pub(super) stored: Stored<'d>,
    checkpoint: Option<Checkpoint>,
    /// Checkpoints to compare with, by size.
    pub(super) anchors: BTreeMap<u64, Vec<Anchor>>,
    pub(super) tree: Tree,
    /// False once a leaf was neither in a line nor in a tile: no root can be made from there on.
    pub(super) whole: bool,
    /// Hashes of lines that belong into one tile, as far as it was read; `None` where there was no line.
    row: Vec<Cell>,
    /// Record that is next.
    pub(super) next: u64,
    /// What is not there, and what explains it.
    absent: Absent,
    starts: Starts,
    done: u64,
    told: u64,
    pub(super) report: Report,
}

impl<'d> Walk<'d> {
    pub(super) fn new(
        dir: &'d Path,
        segments: Vec<Segment>,
        stored: Stored<'d>,
        checkpoint: Option<Checkpoint>,
        anchors: Vec<Anchor>,
        owed: Vec<PruneRecord>,
        mut report: Report,
    ) -> Self {
        let first = segments.first().map_or(stored.size, |s| s.first_seq);
        let mut by_size = BTreeMap::<u64, Vec<Anchor>>::new();
        for anchor in anchors {
            by_size.entry(anchor.checkpoint.size).or_default().push(anchor);
        }
        let (tree, whole) = match stored.tree_before(first) {
            Ok(tree) => (tree, true),
            Err(error) => {
                let message =
                    format!("the hashes of the records before {first} are lost, so no root can be made: {error}");
                report.find(Finding { seq: Some(first), ..Finding::whole(FindingCode::Tile, message) });
                (Tree::new(), false)
            }
        };
        (report.first_seq, report.segments) = (first, u64::try_from(segments.len()).unwrap_or(u64::MAX));
        Self {
            dir,
            segments,
            stored,
            checkpoint,
            anchors: by_size,
            tree,
            whole,
            row: Vec::with_capacity(256),
            next: first,
            absent: Absent::owing(owed),
            starts: Starts::default(),
            done: 0,
            told: 0,
            report,
        }
    }

    pub(super) fn run(mut self, progress: &mut dyn FnMut(Progress)) -> Result<Report, LogError> {
        self.begin();
        let segments = std::mem::take(&mut self.segments);
        let total = segments.iter().map(|s| s.envelopes + s.bodies.unwrap_or(0)).sum();
        let mut tell = |done| progress(Progress { done, total });
        let dir = self.dir;
        std::thread::scope(|scope| {
            // Bodies are most of the bytes: those of the next segment are hashed meanwhile.
            let (sender, read) = mpsc::sync_channel(1);
            let all = &segments;
            scope.spawn(move || all.iter().all(|segment| sender.send(Bodies::read(dir, segment)).is_ok()));
            for (i, segment) in segments.iter().enumerate() {
                let end = segments.get(i + 1).map_or(self.stored.size.max(segment.first_seq), |next| next.first_seq);
                let bodies = read.recv().unwrap_or(Ok(None))?;
                self.segment(segment, end, i + 1 == segments.len(), bodies, &mut tell)?;
            }
            Ok::<(), LogError>(())
        })?;
        self.end();
        progress(Progress { done: total, total });
        Ok(self.report)
    }

    fn segment(
        &mut self,
        segment: &Segment,
        end: u64,
        last: bool,
        mut bodies: Option<Bodies>,
        tell: &mut dyn FnMut(u64),
    ) -> Result<(), LogError> {
        if segment.first_seq > self.next {
            self.skip(segment.first_seq, Place { segment: segment.first_seq, line: 1 });
        }
        self.done += segment.bodies.unwrap_or(0);
        if let Some(bodies) = &bodies {
            let lines = bodies.strange.iter().map(|number| (number, "a line of a body file is no body"));
            let second = "a line of a body file is another body of a decision that has one";
            for (number, what) in lines.chain(bodies.second.iter().map(|number| (number, second))) {
                let path = body_path(self.dir, segment.first_seq);
                let place = format!("{}:{number}", path.strip_prefix(self.dir).unwrap_or(&path).display());
                let finding = Finding::whole(FindingCode::NoBody, what.to_owned());
                self.report.find(Finding { place: Some(place), ..finding });
            }
        }
        let path = envelope_path(self.dir, segment.first_seq);
        let fault = |e| LogError::io("read", &path, &e);
        let mut lines = Lines::open(&path).map_err(fault)?.at_most(LONGEST);
        let mut place = Place { segment: segment.first_seq, line: 0 };
        while let Some(line) = lines.next().map_err(fault)? {
            place.line += 1;
            if !line.finished {
                // Being written, or cut off by a crash; in a segment that others follow it is neither.
                if !last {
                    self.report.find(Finding {
                        place: Some(place.to_string()),
                        ..Finding::whole(FindingCode::NoRecord, "the line does not end".to_owned())
                    });
                }
                break;
            }
            self.line(line.bytes, place, end, last, bodies.as_mut());
            self.done += u64::try_from(line.bytes.len() + 1).unwrap_or(0);
            if self.done - self.told >= STEP {
                self.told = self.done;
                tell(self.done);
            }
        }
        self.report.bodies.orphaned += bodies.map_or(0, |b| b.left());
        if !last && self.next < end {
            self.skip(end, place);
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], place: Place, end: u64, last: bool, bodies: Option<&mut Bodies>) {
        let at = || place.to_string();
        let seq = self.next;
        // What the checkpoint covers is held against its hash below, so it needs not be parsed to be believed.
        let scanned = if seq < self.stored.size { Envelope::scan(line) } else { None };
        let Some(envelope) = scanned.or_else(|| Envelope::parse(line)) else {
            // If the hash of this place knows it, it was signed like this; if not, it counts as the altered record.
            self.report.find(Finding::at(FindingCode::NoRecord, seq, at(), format!("record {seq} cannot be read")));
            return self.place(Cell { hash: Some(leaf_hash(line)), place, body: None });
        };
        if line.len() >= MAX_ENVELOPE {
            let message = format!("record {seq} has {} bytes; no server writes so many", line.len());
            self.report.find(Finding::at(FindingCode::NoRecord, seq, at(), message));
        }
        if envelope.seq < seq {
            let message = format!("record {} stands where record {seq} belongs", envelope.seq);
            return self.report.find(Finding::at(FindingCode::OutOfOrder, envelope.seq, at(), message));
        }
        if envelope.seq > seq {
            // A number that leads out of the segment is an altered one.
            if !last && envelope.seq >= end || last && envelope.seq >= end.max(seq + 1) {
                let message = format!("a record that says it is {} stands where record {seq} belongs", envelope.seq);
                self.report.find(Finding::at(FindingCode::Altered, seq, at(), message));
                return self.place(Cell { hash: Some(leaf_hash(line)), place, body: None });
            }
            self.missing(envelope.seq, place);
        }
        let seq = self.next;
        if self.report.origin.as_ref().is_some_and(|origin| *origin != *envelope.origin) {
            let message = format!("record {seq} is of another log, `{}`", envelope.origin);
            self.report.find(Finding::at(FindingCode::Origin, seq, at(), message));
        }
        *self.report.records.entry(envelope.r#type.as_str()).or_default() += 1;
        let body = match (&envelope.decision_id, &envelope.input) {
            (Some(id), Some(input)) => self.body(id, input, bodies),
            _ => {
                self.own(envelope.r#type, line);
                None
            }
        };
        self.place(Cell { hash: Some(leaf_hash(line)), place, body });
    }

    fn body(&mut self, id: &str, input: &Input, bodies: Option<&mut Bodies>) -> Option<FindingCode> {
        let Some(bodies) = bodies else {
            self.report.bodies.deleted += 1;
            self.absent.files.insert(self.next, self.next);
            return None;
        };
        match bodies.take(id, input.digest.as_bytes()) {
            Fate::Intact => {
                self.report.bodies.intact += 1;
                self.absent.intact.insert(self.next, self.next);
                None
            }
            Fate::Altered => Some(FindingCode::BodyAltered),
            Fate::Missing => Some(FindingCode::BodyMissing),
            Fate::Erased => {
                self.report.bodies.erased += 1;
                self.absent.bodies.insert(self.next, self.next);
                None
            }
        }
    }

    /// The record is the one that was signed; its body may not be.
    fn settle_body(&mut self, seq: u64, cell: &Cell) {
        let Some(code) = cell.body else { return };
        let what = if code == FindingCode::BodyAltered { "is not the one on record" } else { "is not in its file" };
        let message = format!("the body of record {seq} {what}");
        self.report.find(Finding::at(code, seq, cell.place.to_string(), message));
    }

    /// What the log says of itself.
    fn own(&mut self, kind: RecordType, line: &[u8]) {
        match kind {
            RecordType::Gap => {
                let gap: Option<GapRecord> = serde_json::from_slice(line).ok();
                self.report.gaps = self.report.gaps.saturating_add(gap.map_or(0, |g| g.count));
            }
            RecordType::Start => {
                let start: Option<StartRecord> = serde_json::from_slice(line).ok();
                self.starts.add(self.next, start.map_or(0, |start| start.unsigned));
            }
            RecordType::Prune => {
                let prune: Option<PruneRecord> = serde_json::from_slice(line).ok();
                if let Some(prune) = prune {
                    self.absent.told(self.next, prune);
                }
            }
            _ => {}
        }
    }

    /// Records from the next up to `end` are not there.
    fn missing(&mut self, end: u64, place: Place) {
        let first = self.next;
        let message = match end - first {
            1 => format!("record {first} is missing"),
            n => format!("{n} records are missing, {first} to {}", end - 1),
        };
        self.report.find(Finding::at(FindingCode::Missing, first, place.to_string(), message));
        self.leave_out(end, place);
    }

    /// Records between two segments are not there: a later record may say that they were deleted.
    fn skip(&mut self, end: u64, place: Place) {
        self.absent.skip(self.next, end, place);
        self.leave_out(end, place);
    }

    fn leave_out(&mut self, end: u64, place: Place) {
        while self.next < end {
            // Without hashes there is nothing to compare any more, however many are missing.
            let aligned = self.row.is_empty() || self.next >= self.stored.size;
            if aligned && (!self.whole || self.next >= self.stored.size) {
                let beyond = end.saturating_sub(self.next.max(self.stored.size));
                self.report.unsigned = self.report.unsigned.saturating_add(beyond);
                (self.next, self.whole) = (end, false);
                return;
            }
            self.place(Cell { hash: None, place, body: None });
        }
    }

    /// One more record, by the hash of its line.
    fn place(&mut self, cell: Cell) {
        self.next += 1;
        if self.next > self.stored.size {
            // Beyond the checkpoint: there is nothing to compare it with.
            self.report.unsigned += 1;
            // Bodies were read before; that of a record which came in since is not among them.
            if cell.body == Some(FindingCode::BodyAltered) {
                self.settle_body(self.next - 1, &cell);
            }
            return self.grow(cell.hash);
        }
        self.row.push(cell);
        if self.next.is_multiple_of(WIDTH) || self.next == self.stored.size {
            self.settle();
        }
    }

    /// Holds a row of lines against its tile, and puts what is right into the tree.
    fn settle(&mut self) {
        let row = std::mem::replace(&mut self.row, Vec::with_capacity(256));
        let first = self.next - u64::try_from(row.len()).unwrap_or(0);
        let Some((id, tile)) = self.stored.leaves(first) else { return };
        let offset = usize::try_from(first % WIDTH).unwrap_or(0);
        let tile = match tile {
            Ok(tile) => tile,
            Err(error) => {
                self.tile_is_gone(id, &error);
                return row.into_iter().for_each(|cell| self.grow(cell.hash));
            }
        };
        let stored = tile.hashes().get(offset..).unwrap_or_default();
        let computed: Vec<Hash> = row.iter().zip(stored).map(|(cell, stored)| cell.hash.unwrap_or(*stored)).collect();
        let signed =
            if computed == stored { computed.clone() } else { self.judge(&tile, offset, first, &row, &computed) };
        for (seq, (cell, (line, signed))) in (first..).zip(row.iter().zip(computed.iter().zip(&signed))) {
            if line == signed {
                self.settle_body(seq, cell);
            }
        }
        signed.into_iter().for_each(|hash| self.grow(Some(hash)));
    }

    /// Lines and tile differ: says which of them was changed, and gives the hashes to go on with.
    fn judge(&mut self, tile: &Tile, offset: usize, first: u64, row: &[Cell], computed: &[Hash]) -> Vec<Hash> {
        let before = tile.hashes().get(..offset).unwrap_or_default();
        let stored = tile.hashes().get(offset..).unwrap_or_default();
        let leads = |hashes: &[Hash]| match self.stored.root_above(tile.id()) {
            Some(root) => subtree_root(&[before, hashes].concat()) == root,
            None => self.leads_to_checkpoint(hashes),
        };
        if leads_first(leads, stored, computed) == Some(Side::Lines) {
            let message = format!("tile `{}` is not the one that was signed; the records are", tile.id());
            self.report.find(Finding::at(FindingCode::Tile, first, tile.id().to_string(), message));
            return computed.to_vec();
        }
        for (seq, (cell, (line, tile))) in (first..).zip(row.iter().zip(computed.iter().zip(stored))) {
            if line != tile {
                let message = format!("record {seq} is not the one that was signed");
                self.report.find(Finding::at(FindingCode::Altered, seq, cell.place.to_string(), message));
            }
        }
        stored.to_vec()
    }

    /// Whether the tree with these last leaves is the one that the checkpoint signs.
    fn leads_to_checkpoint(&self, last: &[Hash]) -> bool {
        let mut tree = self.tree.clone();
        last.iter().for_each(|hash| tree.push(*hash, &mut Vec::new()));
        self.checkpoint.as_ref().is_some_and(|c| c.size == tree.size() && c.root == tree.root())
    }

    /// One more leaf in the tree; compares what it completes.
    fn grow(&mut self, hash: Option<Hash>) {
        let Some(hash) = hash.filter(|_| self.whole) else {
            self.whole = false;
            return;
        };
        let mut full = Vec::new();
        self.tree.push(hash, &mut full);
        let size = self.tree.size();
        if size <= self.stored.size {
            full.iter().filter(|tile| tile.id().level > 0).for_each(|tile| self.compare(tile));
        }
        if size == self.stored.size {
            let partial = self.tree.partial_tiles();
            partial.iter().filter(|tile| tile.id().level > 0).for_each(|tile| self.compare(tile));
        }
        if let Some(anchors) = self.anchors.remove(&size) {
            let root = self.tree.root();
            anchors.iter().filter(|a| a.checkpoint.root != root).for_each(|anchor| self.disagrees(anchor));
        }
    }

    pub(super) fn disagrees(&mut self, anchor: &Anchor) {
        let size = anchor.checkpoint.size;
        let own = self.checkpoint.as_ref() == Some(&anchor.checkpoint);
        let code = if own { FindingCode::Root } else { FindingCode::Anchor };
        let place = &anchor.place;
        let message = format!("the first {size} records do not lead to the root of the checkpoint in {place}");
        self.report.find(Finding::whole(
            code,
            if own { message.replace("in its checkpoint", "in `checkpoint`") } else { message },
        ));
    }

    /// What is left to say when all lines were read.
    fn end(&mut self) {
        let (size, end) = (self.stored.size, self.next);
        if end < size {
            let message = format!(
                "{} records are missing at the end: its checkpoint covers {size}, it ends after {end}",
                size - end
            );
            self.report.find(Finding { seq: Some(end), ..Finding::whole(FindingCode::Truncated, message) });
            // Their hashes may still show that the rest is right.
            self.leave_out(size, Place { segment: end, line: 0 });
        }
        self.report.end = end;
        for anchor in std::mem::take(&mut self.anchors).into_values().flatten() {
            let covered = anchor.checkpoint.size;
            if covered > end.max(size) {
                let message = format!(
                    "the tail is gone: the checkpoint in {} covers {covered} records, the log ends after {end}",
                    anchor.place
                );
                self.report.find(Finding { seq: Some(end), ..Finding::whole(FindingCode::Truncated, message) });
            } else if self.checkpoint.as_ref() != Some(&anchor.checkpoint) {
                let message = format!("the checkpoint in {} cannot be compared: hashes are missing", anchor.place);
                self.report.find(Finding::whole(FindingCode::Anchor, message));
            }
        }
        for id in self.stored.strange_partials() {
            let message = format!("tile `{id}` is not the beginning of the one that it grew into");
            self.report.find(Finding::at(FindingCode::Tile, id.index << (8 * (id.level + 1)), id.to_string(), message));
        }
        // What came before the first record that is there is missing like what is missing between two.
        let first = self.report.first_seq;
        self.absent.front = first;
        let (doubtful, taken_over) = self.starts.doubtful(size);
        (self.report.taken_over, self.report.disbelieved) = (taken_over, self.absent.disbelieve(&doubtful));
        std::mem::take(&mut self.absent).settle(&mut self.report);
    }
}
