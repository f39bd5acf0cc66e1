//! The one thread that owns the log's files: stamps, writes in groups, rotates, prunes, and gets up again after errors.
//!
//! Knows lines, segments and when the disk has them; must not know what a decision is. Invariants: `seq` has no gaps;
//! a body is written before its envelope; after a failed write the files are as they were before it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use crate::decisions::entry::rfc3339;
use crate::decisions::log::{FLUSH_TO_DISK, Gap, Shared};
use crate::decisions::queue::{Batch, Closing, Job};
use crate::decisions::record::{GapRecord, PruneRecord, RecordType, StartRecord, StopRecord, VERSION};
use crate::decisions::segments::{self, DirLock, Segment};
use crate::decisions::syncer::Syncer;
use crate::decisions::{Appendable, Durability, LogError, LogOptions, Receipt, Storage, clip};

/// Entries that share one write: what comes in during one fsync of a slow disk (10 ms at 100,000/s).
const MAX_BATCH: usize = 1024;
/// Bytes after which a batch is written: keeps the wait of the first entry below some milliseconds.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How often a log that cannot be written is tried again when nothing is appended.
const RETRY: Duration = Duration::from_secs(1);
/// How long a deletion that failed is left alone: each try writes a record.
const PRUNE_AGAIN: Duration = Duration::from_secs(60);
/// Longest origin and label, in bytes: they stand in every envelope.
const MAX_NAME: usize = 255;

pub(super) struct Writer<S> {
    storage: S,
    dir: PathBuf,
    durability: Durability,
    max_bytes: u64,
    segment_bytes: u64,
    shared: Arc<Shared>,
    syncer: Option<Syncer>,
    origin: Arc<str>,
    /// `"origin":..,"labels":..,` as it stands in every envelope.
    stamp: String,
    next_seq: u64,
    /// Oldest first. The last is the active one, if `files` is there.
    segments: Vec<Segment>,
    files: Option<Files>,
    /// What was deleted on a full disk and no record tells of yet.
    pruned: Vec<PruneRecord>,
    /// A deletion failed: the next is tried after this.
    prune_after: Option<Instant>,
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
struct Lines {
    envelopes: Vec<u8>,
    bodies: Vec<u8>,
    count: u64,
}

#[derive(Serialize)]
struct Stamp<'s> {
    origin: &'s str,
    labels: &'s crate::decisions::Labels,
}

impl<S: Storage> Writer<S> {
    pub(super) fn open(storage: S, options: LogOptions, shared: Arc<Shared>) -> Result<Self, LogError> {
        check(&options)?;
        let LogOptions { dir, durability, max_bytes, segment_bytes, labels, origin, mask_key: _ } = options;
        for dir in [dir.clone(), dir.join("bodies")] {
            storage.make_dir(&dir).map_err(|e| LogError::io("create", &dir, &e))?;
        }
        let lock = DirLock::take(&dir)?;
        let recovered = segments::recover(&storage, &dir)?;
        let origin: Arc<str> = Arc::from(recovered.origin.unwrap_or(origin));
        let stamp = serde_json::to_string(&Stamp { origin: &origin, labels: &labels }).unwrap_or_default();
        let stamp = stamp.strip_prefix('{').and_then(|s| s.strip_suffix('}')).unwrap_or_default();
        let stamp = format!("{stamp},");
        let mut writer = Self {
            storage,
            dir,
            durability,
            max_bytes,
            segment_bytes: segment_bytes.min(max_bytes / 8).max(1),
            syncer: None,
            shared,
            origin,
            stamp,
            next_seq: recovered.next_seq,
            segments: recovered.segments,
            files: None,
            pruned: Vec::new(),
            prune_after: None,
            _lock: lock,
        };
        writer.reopen()?;
        let start = StartRecord {
            timestamp: rfc3339(Timestamp::now()),
            durability: durability.as_str().to_owned(),
            after_crash: recovered.after_crash,
            cut_bytes: recovered.cut,
        };
        writer.write_own(RecordType::Start, &start)?;
        writer.sync()?;
        writer.prune();
        if durability == Durability::Flush {
            writer.syncer = Some(Syncer::start(FLUSH_TO_DISK / 2, Arc::clone(&writer.shared)));
        }
        Ok(writer)
    }

    pub(super) fn origin(&self) -> Arc<str> {
        Arc::clone(&self.origin)
    }

    /// Writes until the queue is closed. When it panics, nobody waits for it.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _gone = Gone(&shared);
        loop {
            let Batch { jobs, closing } = shared.queue.take(RETRY, MAX_BATCH, MAX_BATCH_BYTES);
            if !jobs.is_empty() || !shared.status().gap.is_empty() || !shared.status().health.writable {
                self.commit(jobs);
            }
            shared.queue.done();
            self.prune();
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
        let mut lines = Lines::default();
        let told = self.add_pruned(&mut lines);
        if !gap.is_empty() {
            self.add_own(&mut lines, RecordType::Gap, &record_of(&gap));
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
            self.pruned.drain(..told);
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
                    Ok(Receipt { origin: Arc::clone(&self.origin), seq })
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
    fn write(&mut self, lines: &Lines) -> Result<(), LogError> {
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
        let durability = self.durability;
        let (Some(files), Some(segment)) = (&mut self.files, self.segments.last_mut()) else {
            return Err(LogError::Closed);
        };
        let envelopes = segments::envelope_path(&self.dir, segment.first_seq);
        let bodies = segments::body_path(&self.dir, segment.first_seq);
        let write = || {
            if !lines.bodies.is_empty() {
                files.bodies.append(&lines.bodies).map_err(|e| LogError::io("write", &bodies, &e))?;
            }
            files.envelopes.append(&lines.envelopes).map_err(|e| LogError::io("write", &envelopes, &e))?;
            if durability == Durability::Fsync {
                files.bodies.sync().map_err(|e| LogError::io("sync", &bodies, &e))?;
                files.envelopes.sync().map_err(|e| LogError::io("sync", &envelopes, &e))?;
            }
            Ok(())
        };
        if let Err(e) = write() {
            files.dirty = take_back(files, segment).is_err();
            return Err(e);
        }
        segment.envelopes += length(&lines.envelopes);
        segment.bodies = Some(segment.bodies.unwrap_or(0) + length(&lines.bodies));
        self.next_seq += lines.count;
        if let Some(syncer) = &self.syncer {
            syncer.written(&files.envelopes, &files.bodies);
        }
        Ok(())
    }

    /// Sees to it that there is an active segment with room, as the last write left it.
    fn ready(&mut self, lines: &Lines) -> Result<(), LogError> {
        let syncing_failed = self.syncer.as_ref().is_some_and(Syncer::take_failure);
        if let (Some(files), Some(segment)) = (&mut self.files, self.segments.last()) {
            if files.dirty {
                take_back(files, segment).map_err(|e| {
                    LogError::io("truncate", &segments::envelope_path(&self.dir, segment.first_seq), &e)
                })?;
                files.dirty = false;
            }
            let grown = |has: u64, more: &[u8]| has > 0 && has + length(more) > self.segment_bytes;
            let full = grown(segment.envelopes, &lines.envelopes) || grown(segment.bodies.unwrap_or(0), &lines.bodies);
            // After a failed sync the kernel may have dropped what it could not write: go on in new files.
            let suspect = syncing_failed && segment.envelopes > 0;
            if !full && !suspect {
                return Ok(());
            }
        }
        let segment = Segment { first_seq: self.next_seq, envelopes: 0, bodies: Some(0) };
        let files = self.open_files(&segment)?;
        // Nothing acknowledged can be in files named after a record that is not written yet.
        for (file, path) in [
            (&files.envelopes, segments::envelope_path(&self.dir, segment.first_seq)),
            (&files.bodies, segments::body_path(&self.dir, segment.first_seq)),
        ] {
            file.truncate(0).map_err(|e| LogError::io("truncate", &path, &e))?;
        }
        self.files = Some(files);
        self.segments.retain(|s| s.first_seq != segment.first_seq);
        self.segments.push(segment);
        Ok(())
    }

    /// Goes on with the last segment of a log that was there.
    fn reopen(&mut self) -> Result<(), LogError> {
        if let Some(segment) = self.segments.last().cloned() {
            self.files = Some(self.open_files(&segment)?);
        }
        Ok(())
    }

    fn open_files(&self, segment: &Segment) -> Result<Files, LogError> {
        let open = |path: PathBuf| self.storage.open(&path).map_err(|e| LogError::io("open", &path, &e));
        let bodies = open(segments::body_path(&self.dir, segment.first_seq))?;
        let envelopes = open(segments::envelope_path(&self.dir, segment.first_seq))?;
        Ok(Files { envelopes, bodies, dirty: false })
    }

    /// Deletes until the log is within its bound. Each deletion is on record before it is done.
    fn prune(&mut self) {
        while self.bytes() > self.max_bytes && self.prune_after.is_none_or(|t| Instant::now() >= t) {
            let Some((record, segment)) = self.oldest("max_bytes") else { return };
            if self.write_own(RecordType::Prune, &record).is_err() {
                return;
            }
            if let Err(e) = self.delete(&record, &segment) {
                self.prune_after = Some(Instant::now() + PRUNE_AGAIN);
                self.shared.status().health.last_error = Some(e.to_string());
                return;
            }
        }
    }

    /// On a full disk: deletes the oldest until there is room for `lines`; false when there is nothing to delete.
    fn make_room(&mut self, lines: &Lines) -> bool {
        let wanted = length(&lines.envelopes) + length(&lines.bodies);
        let mut freed = 0;
        while freed < wanted {
            let Some((record, segment)) = self.oldest("full_disk") else { break };
            if self.delete(&record, &segment).is_err() {
                break;
            }
            freed += record.bytes;
            self.pruned.push(record);
        }
        freed > 0
    }

    /// What goes next: the oldest bodies, else the oldest segment; never the active one.
    fn oldest(&self, reason: &str) -> Option<(PruneRecord, Segment)> {
        let sealed = self.segments.iter().zip(self.segments.iter().skip(1));
        let bodies = sealed.clone().find(|(s, _)| s.bodies.is_some());
        let (segment, next) = bodies.or_else(|| sealed.clone().next())?;
        let what = if segment.bodies.is_some() { "bodies" } else { "segment" };
        let record = PruneRecord {
            timestamp: rfc3339(Timestamp::now()),
            what: what.to_owned(),
            reason: reason.to_owned(),
            first_seq: segment.first_seq,
            last_seq: next.first_seq.saturating_sub(1),
            count: next.first_seq.saturating_sub(segment.first_seq),
            bytes: segment.bodies.unwrap_or(segment.envelopes),
        };
        Some((record, segment.clone()))
    }

    fn delete(&mut self, record: &PruneRecord, segment: &Segment) -> Result<(), LogError> {
        let bodies = record.what == "bodies";
        let path = if bodies { segments::body_path } else { segments::envelope_path }(&self.dir, segment.first_seq);
        self.storage.remove(&path).map_err(|e| LogError::io("delete", &path, &e))?;
        if bodies {
            self.segments.iter_mut().filter(|s| s.first_seq == segment.first_seq).for_each(|s| s.bodies = None);
        } else {
            self.segments.retain(|s| s.first_seq != segment.first_seq);
        }
        let bytes = self.bytes();
        let mut status = self.shared.status();
        status.health.pruned += 1;
        status.health.bytes = bytes;
        Ok(())
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
        self.sync().and(written)
    }

    fn sync(&self) -> Result<(), LogError> {
        let Some(files) = &self.files else { return Ok(()) };
        let fault = |e| LogError::io("sync", &self.dir, &e);
        files.bodies.sync().map_err(fault)?;
        files.envelopes.sync().map_err(fault)
    }

    /// Writes one record of the log's own, with the gap and the prunes that wait.
    fn write_own(&mut self, kind: RecordType, record: &impl Serialize) -> Result<(), LogError> {
        let mut lines = Lines::default();
        let told = self.add_pruned(&mut lines);
        self.add_own(&mut lines, kind, record);
        self.write(&lines)?;
        self.pruned.drain(..told);
        Ok(())
    }

    /// Gives how many it added: while they are written, more can be deleted.
    fn add_pruned(&self, lines: &mut Lines) -> usize {
        for record in &self.pruned {
            self.add_own(lines, RecordType::Prune, record);
        }
        self.pruned.len()
    }

    fn add_own(&self, lines: &mut Lines, kind: RecordType, record: &impl Serialize) {
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

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.envelopes + s.bodies.unwrap_or(0)).sum()
    }
}

fn record_of(gap: &Gap) -> GapRecord {
    let now = Timestamp::now();
    let (from, to) = gap.span.unwrap_or((now, now));
    GapRecord {
        timestamp: rfc3339(now),
        count: gap.count,
        from: rfc3339(from),
        to: rfc3339(to),
        reason: clip::text(&gap.reason, 1024),
        unconfirmed: gap.unconfirmed,
        unconfirmed_ids: gap.unconfirmed_ids.iter().map(ToString::to_string).collect(),
    }
}

/// Cuts both files back to what is acknowledged.
fn take_back(files: &Files, segment: &Segment) -> std::io::Result<()> {
    files.envelopes.truncate(segment.envelopes)?;
    files.bodies.truncate(segment.bodies.unwrap_or(0))
}

fn check(options: &LogOptions) -> Result<(), LogError> {
    let named = [
        ("origin", &options.origin),
        ("cluster name", &options.labels.cluster),
        ("replica", &options.labels.replica),
        ("version", &options.labels.version),
    ];
    for (option, name) in named {
        if name.len() > MAX_NAME || name.chars().any(char::is_control) {
            let message = format!("at most {MAX_NAME} bytes without control characters");
            return Err(LogError::Option { option, message });
        }
    }
    if options.origin.is_empty() {
        return Err(LogError::Option { option: "origin", message: "a log has a name".to_owned() });
    }
    Ok(())
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Whoever waits for a writer that is gone is told so.
struct Gone<'q>(&'q Shared);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.queue.abandon();
    }
}
