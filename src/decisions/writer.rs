//! The one thread that owns the log's files: stamps, writes in groups, rotates, has the tree signed, and gets up again
//! after errors.
//!
//! Knows lines, segments and when the disk has them; must not know what a decision is. Invariants: `seq` has no gaps;
//! a body is written before its envelope; after a failed write the files are as they were before it; what is
//! acknowledged is in the tree, and what is signed is on the disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use crate::decisions::entry::rfc3339;
use crate::decisions::gap::Owed;
use crate::decisions::hold::Kept;
use crate::decisions::keeping::Held;
use crate::decisions::log::{FLUSH_TO_DISK, Shared};
use crate::decisions::notary::Notary;
use crate::decisions::opening::{self, Opened};
use crate::decisions::queue::{Batch, Closing, Job};
use crate::decisions::record::{KeyRecord, PruneRecord, RecordType, StopRecord, VERSION};
use crate::decisions::retention::Ages;
use crate::decisions::segments::{self, DirLock, Segment};
use crate::decisions::syncer::Syncer;
use crate::decisions::{Appendable, Durability, LogError, LogOptions, Receipt, Storage, clip};
use crate::tlog::{Checkpoint, Note};

/// Entries that share one write: what comes in during one fsync of a slow disk (10 ms at 100,000/s).
pub(super) const MAX_BATCH: usize = 1024;
/// Bytes after which a batch is written: keeps the wait of the first entry below some milliseconds.
pub(super) const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How often a log that cannot be written is tried again when nothing is appended.
pub(super) const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) options: LogOptions,
    pub(super) shared: Arc<Shared>,
    syncer: Option<Syncer>,
    pub(super) origin: Arc<str>,
    /// `"origin":..,"labels":..,` as it stands in every envelope.
    stamp: String,
    pub(super) next_seq: u64,
    /// Records that were on the disk when all was last synced from here.
    synced: u64,
    /// Records there were when tiles were last written.
    tiled: u64,
    /// Oldest first. The last is the active one, if `files` is there.
    pub(super) segments: Vec<Segment>,
    files: Option<Files>,
    pub(super) notary: Notary,
    /// Index of the first tile of leaf hashes that is there.
    pub(super) first_tile: u64,
    /// What the records say of holds and deletions.
    pub(super) kept: Kept,
    /// Which segments the holds are about, as far as it was looked up.
    pub(super) held: Held,
    /// How old the segments are.
    pub(super) ages: Ages,
    /// What was deleted on a full disk and no record tells of yet.
    pub(super) pruned: Vec<PruneRecord>,
    /// Records before this one tell of what else `kept` says is owed.
    pub(super) owed_until: u64,
    /// Changes of the configuration that could not be written yet.
    owed: Owed,
    /// A deletion failed: the next is tried after this.
    pub(super) prune_after: Option<Instant>,
    _lock: DirLock,
}

/// The active segment's files.
struct Files {
    envelopes: Arc<dyn Appendable>,
    bodies: Arc<dyn Appendable>,
    /// A failed write could not be taken back yet.
    dirty: bool,
}

/// Lines to be written together.
#[derive(Default)]
pub(super) struct Lines {
    pub envelopes: Vec<u8>,
    pub bodies: Vec<u8>,
    count: u64,
}

#[derive(Serialize)]
struct Stamp<'s> {
    origin: &'s str,
    labels: &'s crate::decisions::Labels,
}

impl Writer {
    /// Opens what is in the directory. `before` is the last checkpoint of a log that was there until now.
    pub(super) fn open(
        storage: Arc<dyn Storage>,
        options: LogOptions,
        shared: Arc<Shared>,
        before: Option<&Checkpoint>,
    ) -> Result<Self, LogError> {
        opening::check(&options)?;
        let Opened { lock, segments, next_seq, origin, notary, known, kept, start } =
            opening::open(&storage, &options, before)?;
        let stamp = serde_json::to_string(&Stamp { origin: &origin, labels: &options.labels }).unwrap_or_default();
        let stamp = stamp.strip_prefix('{').and_then(|s| s.strip_suffix('}')).unwrap_or_default();
        let rotated = known.keys.last().filter(|last| *last != notary.verifier());
        let rotated = rotated.map(|last| KeyRecord {
            timestamp: rfc3339(Timestamp::now()),
            action: "rotated".to_owned(),
            key: notary.verifier().to_string(),
            previous: last.to_string(),
        });
        let noted = notary.introduce(&known);
        let begun_anew = segments.is_empty();
        let mut writer = Self {
            storage,
            syncer: None,
            shared,
            origin: Arc::from(origin),
            stamp: format!("{stamp},"),
            next_seq,
            synced: 0,
            tiled: 0,
            segments,
            files: None,
            notary,
            first_tile: opening::first_tile(&options.dir),
            kept,
            held: Held::default(),
            ages: Ages::default(),
            pruned: Vec::new(),
            owed_until: 0,
            owed: Owed::default(),
            prune_after: None,
            _lock: lock,
            options,
        };
        writer.reopen()?;
        writer.write_own(RecordType::Start, &start)?;
        if let Some(record) = rotated {
            writer.write_own(RecordType::Key, &record)?;
        }
        writer.take_up_holds(begun_anew)?;
        writer.take_up_prunes()?;
        writer.sync()?;
        let signed = noted.and_then(|()| writer.notary.sign_now()).and_then(|()| writer.hand_over(&known.keys));
        writer.publish(signed);
        writer.forget_owed();
        writer.shared.status().origin = Arc::clone(&writer.origin);
        writer.prune();
        let syncer = Syncer::start(FLUSH_TO_DISK / 2, Arc::clone(&writer.shared));
        writer.syncer = Some(syncer.map_err(|e| LogError::io("start a thread for", &writer.options.dir, &e))?);
        Ok(writer)
    }

    /// With what was to be written before it was there.
    pub(super) fn owing(self, owed: Owed) -> Self {
        Self { owed, ..self }
    }

    /// Writes until the queue is closed. When it panics, nobody waits for it.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _gone = Gone(&shared);
        loop {
            let patience = if self.notary.is_behind() { FLUSH_TO_DISK / 2 } else { RETRY };
            let Batch { jobs, orders, closing } = shared.queue.take(patience, MAX_BATCH, MAX_BATCH_BYTES);
            self.follow_directory();
            let waits = !shared.status().gap.is_empty()
                || !shared.status().health.writable
                || !self.owed.entries().is_empty()
                || !self.pruned.is_empty();
            if !jobs.is_empty() || waits {
                self.commit(jobs);
            }
            shared.queue.done();
            orders.into_iter().for_each(|order| self.obey(order));
            self.attend();
            self.prune();
            self.retain();
            if let Some(Closing { reason, reply }) = closing {
                let result = self.stop(reason);
                drop(self);
                if let Some(reply) = reply {
                    let _ = reply.send(result);
                }
                return;
            }
        }
    }

    /// When the directory was removed or moved away, begins a log anew where it was: otherwise what is written would be
    /// in files that nobody can find.
    fn follow_directory(&mut self) {
        if !self.files.as_ref().is_some_and(|f| matches!(f.envelopes.is_in_place(), Ok(false))) {
            return;
        }
        let before = self.notary.signed().cloned();
        let (storage, options) = (Arc::clone(&self.storage), self.options.clone());
        match Self::open(storage, options, Arc::clone(&self.shared), before.as_deref()) {
            Ok(mut fresh) => {
                if let Err(error) = fresh.adopt_holds(&self.kept.holds) {
                    tracing::error!(%error, "legal holds could not be taken over");
                }
                tracing::error!(dir = %self.options.dir.display(), before = %self.origin, now = %fresh.origin,
                    "the decision log was removed while it was written; a new one was begun in its place");
                *self = fresh;
                self.shared.status().health.writable = true;
            }
            Err(error) => {
                let mut status = self.shared.status();
                status.health.writable = false;
                status.health.last_error = Some(error.to_string());
            }
        }
    }

    pub(super) fn sign_text(&self, text: String) -> Note {
        self.notary.sign_text(text)
    }

    /// Has the tree signed as far as it is on the disk, if it is time.
    fn attend(&mut self) {
        let synced = self.syncer.as_ref().map_or(0, Syncer::synced).max(self.synced);
        // Under fsync the lines are on the disk before they count; only tiles may be behind.
        let all = self.options.durability == Durability::Fsync && synced >= self.tiled;
        match self.notary.attend(if all { self.next_seq } else { synced }) {
            Ok(false) => {}
            signed => {
                self.publish(signed.map(drop));
                self.forget_owed();
            }
        }
    }

    /// Shows the latest checkpoint, or why there is no later one.
    pub(super) fn publish(&self, signed: Result<(), LogError>) {
        let mut status = self.shared.status();
        status.checkpoint = self.notary.signed().cloned();
        status.signed = self.notary.signed_note();
        status.health.signed = self.notary.signed().map_or(0, |c| c.size);
        if let Err(error) = signed {
            tracing::warn!(%error, "the decision log could not be signed");
            status.health.last_error = Some(error.to_string());
        }
    }

    /// Writes a batch, and before it the gap, if there is one; then tells everybody. With nothing to write it finds out
    /// whether the files can be opened again.
    fn commit(&mut self, jobs: Vec<Job>) {
        let (jobs, given_up): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|j| j.ticket.take());
        let gap = {
            let mut status = self.shared.status();
            for job in given_up.iter().filter(|j| j.entry.record_type == RecordType::Decision) {
                status.health.failed += 1;
                status.gap.miss(job.entry.timestamp, &LogError::Deadline);
            }
            std::mem::take(&mut status.gap)
        };
        self.owed.take(given_up.into_iter().map(|job| job.entry));
        let mut lines = Lines::default();
        let told = self.add_pruned(&mut lines);
        let owed = self.owed.entries().len();
        for entry in self.owed.entries() {
            self.add(&mut lines, entry.record_type, &entry.members);
        }
        if !gap.is_empty() {
            self.add_own(&mut lines, RecordType::Gap, &gap.record(Timestamp::now()));
        }
        let first = self.next_seq + lines.count;
        for job in &jobs {
            self.add(&mut lines, job.entry.record_type, &job.entry.members);
            if !job.entry.body.is_empty() {
                lines.bodies.extend_from_slice(&job.entry.body);
                lines.bodies.push(b'\n');
            }
        }
        let result = self.write(&lines);
        if result.is_ok() {
            self.prunes_written(told);
            self.owed.written(owed);
        } else {
            self.owed.take(jobs.iter().map(|job| job.entry.clone()));
        }
        let mut status = self.shared.status();
        if result.is_err() {
            status.gap.merge(gap);
        }
        for (seq, Job { entry, ticket, reply, .. }) in (first..).zip(jobs) {
            let confirmed = ticket.finish();
            let counts = entry.record_type == RecordType::Decision;
            let outcome = match &result {
                Ok(()) => {
                    status.health.appended += u64::from(counts);
                    if !confirmed && counts {
                        status.gap.unconfirm(entry.decision_id, entry.timestamp);
                    }
                    Ok(Receipt { origin: Arc::clone(&self.origin), seq: Some(seq) })
                }
                Err(e) => {
                    if counts {
                        status.health.failed += 1;
                        status.gap.miss(entry.timestamp, e);
                    }
                    Err(e.clone())
                }
            };
            let _ = reply.send(outcome);
        }
    }

    /// Writes lines, at the configured durability, or nothing. On a full disk the oldest bodies make room once.
    pub(super) fn write(&mut self, lines: &Lines) -> Result<(), LogError> {
        let mut result = self.try_write(lines);
        if result.as_ref().is_err_and(LogError::is_full_disk) && self.make_room(lines) {
            result = self.try_write(lines);
        }
        let mut status = self.shared.status();
        status.health.writable = result.is_ok();
        if let Err(e) = &result {
            status.health.last_error = Some(e.to_string());
        }
        status.health.next_seq = self.next_seq;
        status.health.bytes = self.bytes();
        result
    }

    fn try_write(&mut self, lines: &Lines) -> Result<(), LogError> {
        self.ready(lines)?;
        let (dir, durability) = (&self.options.dir, self.options.durability);
        let (Some(files), Some(segment)) = (&mut self.files, self.segments.last_mut()) else {
            return Err(LogError::Closed);
        };
        let envelopes = segments::envelope_path(dir, segment.first_seq);
        let bodies = segments::body_path(dir, segment.first_seq);
        let mut write = || {
            if !lines.bodies.is_empty() {
                files.bodies.append(&lines.bodies).map_err(|e| LogError::io("write", &bodies, &e))?;
            }
            files.envelopes.append(&lines.envelopes).map_err(|e| LogError::io("write", &envelopes, &e))?;
            if durability == Durability::Fsync {
                files.bodies.sync().map_err(|e| LogError::io("sync", &bodies, &e))?;
                files.envelopes.sync().map_err(|e| LogError::io("sync", &envelopes, &e))?;
            }
            self.notary.extend(&lines.envelopes)
        };
        let tiles = match write() {
            Ok(tiles) => tiles,
            Err(e) => {
                files.dirty = take_back(files, segment).is_err();
                return Err(e);
            }
        };
        segment.envelopes += length(&lines.envelopes);
        segment.bodies = Some(segment.bodies.unwrap_or(0) + length(&lines.bodies));
        self.next_seq += lines.count;
        if let Some(syncer) = &self.syncer {
            match durability {
                Durability::Fsync if tiles.is_empty() => {}
                Durability::Fsync => {
                    self.tiled = self.next_seq;
                    syncer.written(&[], tiles, self.next_seq);
                }
                Durability::Flush | Durability::BestEffort => {
                    syncer.written(&[&files.bodies, &files.envelopes], tiles, self.next_seq);
                }
            }
        }
        Ok(())
    }

    /// Sees to it that there is an active segment with room, as the last write left it.
    pub(super) fn ready(&mut self, lines: &Lines) -> Result<(), LogError> {
        let syncing_failed = self.syncer.as_ref().is_some_and(Syncer::take_failure);
        if let (Some(files), Some(segment)) = (&mut self.files, self.segments.last()) {
            let path = || segments::envelope_path(&self.options.dir, segment.first_seq);
            if !files.envelopes.is_in_place().map_err(|e| LogError::io("find", &path(), &e))? {
                return Err(LogError::Gone { path: path() });
            }
            if files.dirty {
                take_back(files, segment).map_err(|e| LogError::io("truncate", &path(), &e))?;
                files.dirty = false;
            }
            let grown = |has: u64, more: &[u8]| has > 0 && has + length(more) > self.segment_bytes();
            let full = grown(segment.envelopes, &lines.envelopes) || grown(segment.bodies.unwrap_or(0), &lines.bodies);
            // After a failed sync the kernel may have dropped what it could not write: go on in new files.
            let suspect = syncing_failed && segment.envelopes > 0;
            let old = segment.envelopes > 0 && self.ages.ends_here(&self.options.retention);
            if !full && !suspect && !old {
                return Ok(());
            }
        }
        let segment = Segment { first_seq: self.next_seq, envelopes: 0, bodies: Some(0) };
        let files = self.open_files(&segment)?;
        // Nothing acknowledged can be in files named after a record that is not written yet.
        for (file, path) in [
            (&files.envelopes, segments::envelope_path(&self.options.dir, segment.first_seq)),
            (&files.bodies, segments::body_path(&self.options.dir, segment.first_seq)),
        ] {
            file.truncate(0).map_err(|e| LogError::io("truncate", &path, &e))?;
        }
        self.files = Some(files);
        self.segments.retain(|s| s.first_seq != segment.first_seq);
        self.segments.push(segment);
        self.ages.begin(Timestamp::now());
        self.save_kept();
        Ok(())
    }

    /// Goes on with the last segment of a log that was there.
    fn reopen(&mut self) -> Result<(), LogError> {
        if let Some(segment) = self.segments.last().cloned() {
            self.files = Some(self.open_files(&segment)?);
            let path = segments::envelope_path(&self.options.dir, segment.first_seq);
            let begun = segments::ends(&path).ok().flatten().and_then(|(first, _)| first.parse().ok());
            self.ages.begin(begun.unwrap_or_else(Timestamp::now));
        }
        Ok(())
    }

    fn open_files(&self, segment: &Segment) -> Result<Files, LogError> {
        let open = |path: PathBuf| self.storage.open(&path).map_err(|e| LogError::io("open", &path, &e));
        let bodies = open(segments::body_path(&self.options.dir, segment.first_seq))?;
        let envelopes = open(segments::envelope_path(&self.options.dir, segment.first_seq))?;
        Ok(Files { envelopes, bodies, dirty: false })
    }

    fn stop(&mut self, reason: Option<String>) -> Result<(), LogError> {
        self.syncer = None;
        let written = match reason {
            Some(reason) => {
                let stop = StopRecord { timestamp: rfc3339(Timestamp::now()), reason: clip::text(&reason, 1024) };
                self.write_own(RecordType::Stop, &stop)
            }
            None => Ok(()),
        };
        self.sync()?;
        let signed = self.notary.sign_now();
        self.publish(signed.clone());
        written.and(signed)
    }

    /// Returns once all that was written is on the disk: the active segment, and what waits for the syncer of those before.
    pub(super) fn sync(&mut self) -> Result<(), LogError> {
        let Some(files) = &self.files else { return Ok(()) };
        let fault = |e| LogError::io("sync", &self.options.dir, &e);
        files.bodies.sync().map_err(fault)?;
        files.envelopes.sync().map_err(fault)?;
        self.syncer.as_ref().map_or(Ok(()), Syncer::settle).map_err(fault)?;
        self.synced = self.next_seq;
        Ok(())
    }

    pub(super) fn add_own(&self, lines: &mut Lines, kind: RecordType, record: &impl Serialize) {
        let members = serde_json::to_vec(record).unwrap_or_else(|_| b"{}".to_vec());
        self.add(lines, kind, &members);
    }

    /// Stamps a record: `{"v":1,"type":..,"seq":..,"origin":..,"labels":..,` and then its members.
    fn add(&self, lines: &mut Lines, kind: RecordType, members: &[u8]) {
        let seq = self.next_seq + lines.count;
        let head = format!(r#"{{"v":{VERSION},"type":"{}","seq":{seq},{}"#, kind.as_str(), self.stamp);
        lines.envelopes.extend_from_slice(head.as_bytes());
        lines.envelopes.extend_from_slice(members.get(1..).unwrap_or(b"}"));
        lines.envelopes.push(b'\n');
        lines.count += 1;
    }

    /// Size at which a segment ends.
    fn segment_bytes(&self) -> u64 {
        self.options.segment_bytes.min(self.options.max_bytes / 8).max(1)
    }
}

/// Cuts both files back to what is acknowledged.
fn take_back(files: &Files, segment: &Segment) -> std::io::Result<()> {
    files.envelopes.truncate(segment.envelopes)?;
    files.bodies.truncate(segment.bodies.unwrap_or(0))
}

pub(super) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Whoever waits for a writer that is gone is told so.
struct Gone<'q>(&'q Shared);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.queue.abandon();
    }
}
