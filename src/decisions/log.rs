//! The decision log as the rest of the program holds it: options, the handle, health. Knows queue and writer; must not
//! know lines or segments.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::decisions::gap::Gap;
use crate::decisions::queue::{Closing, GaveUp, Job, Queue, Ticket};
use crate::decisions::record::{Labels, RecordType};
use crate::decisions::writer::Writer;
use crate::decisions::{
    Disk, Entry, Hold, LogError, MaskKey, Masker, Retention, SignedCheckpoint, SigningSeed, Storage, waiting,
};
use crate::tlog::Checkpoint;

/// What an acknowledged decision survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// The end of the process: the kernel has it, and the disk within [`FLUSH_TO_DISK`].
    #[default]
    Flush,
    /// A loss of power: the disk has it.
    Fsync,
    /// Nothing: the answer leaves at once, and neither waits for the log nor depends on it. The record follows; what
    /// could not be written stands in a gap record.
    BestEffort,
}

impl Durability {
    /// The name in options and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Flush => "flush",
            Self::Fsync => "fsync",
            Self::BestEffort => "best-effort",
        }
    }
}

/// How long after a write its fsync is done at the latest under [`Durability::Flush`], if the disk keeps up.
pub const FLUSH_TO_DISK: Duration = Duration::from_millis(100);
/// Default of [`LogOptions::max_bytes`]: 10 GiB.
pub const DEFAULT_MAX_BYTES: u64 = 10 << 30;
/// Default of [`LogOptions::segment_bytes`]: 64 MiB.
pub const DEFAULT_SEGMENT_BYTES: u64 = 64 << 20;

/// How a log is written.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// The directory, made if it is not there.
    pub dir: PathBuf,
    /// What an acknowledged decision survives.
    pub durability: Durability,
    /// Bound of envelopes and bodies together, in bytes. Past it the oldest bodies go, then the oldest segments.
    pub max_bytes: u64,
    /// Size in bytes at which a new segment is begun; at most an eighth of `max_bytes`.
    pub segment_bytes: u64,
    /// How long bodies and records are kept.
    pub retention: Retention,
    /// Who writes.
    pub labels: Labels,
    /// The stable name of a new log. A log that is there keeps the name it has.
    pub origin: String,
    /// What commitments are made with; never kept in `dir`.
    pub mask_key: MaskKey,
    /// What checkpoints are signed with; never kept in `dir`.
    pub signing_seed: SigningSeed,
    /// Where the latest checkpoint is kept a second time, outside `dir`: so a log that was cut back or removed is
    /// noticed at the next start.
    pub checkpoint_copy: Option<PathBuf>,
}

/// Where an entry is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The log's name.
    pub origin: Arc<str>,
    /// The record's number within it; none under [`Durability::BestEffort`], where nobody waits for it.
    pub seq: Option<u64>,
}

/// How the log is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogHealth {
    /// Whether the last try to write succeeded. While it is false the writer tries again every second.
    pub writable: bool,
    /// What the last failure said.
    pub last_error: Option<String>,
    /// Age of the oldest entry that is not written yet.
    pub lag: Duration,
    /// Entries that wait.
    pub queued: u64,
    /// Bytes that wait.
    pub queued_bytes: u64,
    /// Envelopes and bodies on disk, in bytes.
    pub bytes: u64,
    /// Decisions written since the log was opened.
    pub appended: u64,
    /// Decisions that could not be written since then.
    pub failed: u64,
    /// Those of them that no `gap` record tells of yet.
    pub gap: u64,
    /// Syncs in the background that failed.
    pub sync_failures: u64,
    /// Segments and body files deleted: to stay within the bound, or because of their age.
    pub pruned: u64,
    /// Bytes past the bound that cannot go, because all that could is under legal hold.
    pub held_over: u64,
    /// The number of the next record.
    pub next_seq: u64,
    /// Records that the latest checkpoint covers.
    pub signed: u64,
}

/// A handle on the log; clones share it. When the last one goes without [`close`](Self::close), what waits is written
/// and no `stop` record is.
#[derive(Clone)]
pub struct DecisionLog {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    dir: PathBuf,
    durability: Durability,
    mask_key: MaskKey,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Held by an erasure: two of one segment would write one draft.
    erasing: Mutex<()>,
}

/// What handles, writer and syncer see of one another.
#[derive(Default)]
pub(super) struct Shared {
    pub queue: Queue,
    state: Mutex<Status>,
}

/// The writer's account of itself, and the gap that is not written down yet.
#[derive(Debug, Default)]
pub(super) struct Status {
    pub health: LogHealth,
    pub gap: Gap,
    /// The log's name.
    pub origin: Arc<str>,
    /// The latest checkpoint.
    pub checkpoint: Option<Arc<Checkpoint>>,
    /// The same as it was signed.
    pub signed: Option<SignedCheckpoint>,
    /// The legal holds in force.
    pub holds: Arc<Vec<Hold>>,
}

impl Shared {
    pub(super) fn status(&self) -> MutexGuard<'_, Status> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A decision did not get into the log.
    fn miss(&self, timestamp: Timestamp, reason: &LogError) {
        let mut status = self.status();
        status.health.failed += 1;
        status.gap.miss(timestamp, reason);
    }
}

impl DecisionLog {
    /// Opens the log on the local disk: takes its lock, cuts what a crash left unfinished, writes a `start` record.
    ///
    /// # Errors
    /// [`LogError::Locked`] when another process has it, [`LogError::Io`] when it cannot be read or written.
    pub fn open(options: LogOptions) -> Result<Self, LogError> {
        Self::open_on(Disk, options)
    }

    /// The same on another storage.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on(storage: impl Storage, options: LogOptions) -> Result<Self, LogError> {
        let (shared, kept) = (Arc::new(Shared::default()), options.clone());
        let writer = Writer::open(Arc::new(storage), options, Arc::clone(&shared), None)?;
        Self::with(kept, shared, move || writer.run())
    }

    /// The same, and on a full or read-only disk a log that refuses what it is given until it can be opened, which is tried
    /// every second; a `gap` record tells of it then.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for such disks.
    pub fn open_or_wait(storage: impl Storage, options: LogOptions) -> Result<Self, LogError> {
        let (shared, kept) = (Arc::new(Shared::default()), options.clone());
        let storage: Arc<dyn Storage> = Arc::new(storage);
        match Writer::open(Arc::clone(&storage), options.clone(), Arc::clone(&shared), None) {
            Ok(writer) => Self::with(kept, shared, move || writer.run()),
            Err(error) if waiting::may_pass(&error) => {
                tracing::error!(%error, "the decision log cannot be opened yet; it is tried again every second");
                shared.status().origin = Arc::from(options.origin.as_str());
                let waits = Arc::clone(&shared);
                Self::with(kept, shared, move || waiting::run(&storage, &options, &waits, error))
            }
            Err(error) => Err(error),
        }
    }

    fn with(options: LogOptions, shared: Arc<Shared>, run: impl FnOnce() + Send + 'static) -> Result<Self, LogError> {
        let LogOptions { dir, durability, mask_key, .. } = options;
        let thread = std::thread::Builder::new().name("decision-log".to_owned());
        let writer = Mutex::new(Some(thread.spawn(run).map_err(|_| LogError::Closed)?));
        Ok(Self { inner: Arc::new(Inner { shared, dir, durability, mask_key, writer, erasing: Mutex::default() }) })
    }

    /// Writes an entry and returns when it is durable at the configured level. Entries of concurrent callers share
    /// one write. If the caller goes away meanwhile, the entry is still written.
    ///
    /// # Errors
    /// The entry is then not in the log (or, after [`LogError::Deadline`], nobody can tell yet), and the gap will be
    /// recorded when writing works again.
    pub async fn append(&self, entry: Entry, deadline: Instant) -> Result<Receipt, LogError> {
        let shared = &self.inner.shared;
        let (timestamp, counts) = (entry.timestamp, entry.record_type == RecordType::Decision);
        let (reply, outcome) = oneshot::channel();
        let ticket = Arc::new(Ticket::default());
        let job = Job { entry, queued: Instant::now(), ticket: Arc::clone(&ticket), reply };
        if let Err(reason) = shared.queue.push(job) {
            if counts {
                shared.miss(timestamp, &reason);
            }
            return if self.inner.durability == Durability::BestEffort { Ok(self.queued()) } else { Err(reason) };
        }
        if self.inner.durability == Durability::BestEffort {
            return Ok(self.queued());
        }
        let mut outcome = outcome;
        let gone = |_| LogError::Closed;
        if let Ok(outcome) = tokio::time::timeout_at(deadline.into(), &mut outcome).await {
            return outcome.unwrap_or_else(|e| Err(gone(e)));
        }
        match ticket.give_up() {
            GaveUp::TooLate => outcome.await.unwrap_or_else(|e| Err(gone(e))),
            GaveUp::Unwritten | GaveUp::Unconfirmed => Err(LogError::Deadline),
        }
    }

    /// The receipt of an entry that nobody waits for.
    fn queued(&self) -> Receipt {
        Receipt { origin: self.origin(), seq: None }
    }

    /// How the log is at this moment. Never waits for the disk.
    #[must_use]
    pub fn health(&self) -> LogHealth {
        let shared = &self.inner.shared;
        let (queued, queued_bytes, oldest) = shared.queue.waiting();
        let status = shared.status();
        let mut health = status.health.clone();
        health.gap = status.gap.count;
        drop(status);
        health.writable &= shared.queue.is_open();
        health.queued = u64::try_from(queued).unwrap_or(u64::MAX);
        health.queued_bytes = u64::try_from(queued_bytes).unwrap_or(u64::MAX);
        health.lag = oldest.map_or(Duration::ZERO, |since| since.elapsed());
        health
    }

    /// One erasure at a time.
    pub(super) fn erasing(&self) -> MutexGuard<'_, ()> {
        self.inner.erasing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// What an acknowledged decision survives.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.inner.durability
    }

    /// The legal holds in force.
    #[must_use]
    pub fn holds(&self) -> Arc<Vec<Hold>> {
        Arc::clone(&self.inner.shared.status().holds)
    }

    /// What the writer is asked to do.
    pub(super) fn orders(&self) -> &Queue {
        &self.inner.shared.queue
    }

    /// The log's name. It changes only when the directory is removed while the log is open.
    #[must_use]
    pub fn origin(&self) -> Arc<str> {
        Arc::clone(&self.inner.shared.status().origin)
    }

    /// The latest signed checkpoint; all that it covers is on the disk.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Arc<Checkpoint>> {
        self.inner.shared.status().checkpoint.clone()
    }

    /// The latest checkpoint as it was signed; `None` until this process has signed one.
    #[must_use]
    pub fn signed(&self) -> Option<SignedCheckpoint> {
        self.inner.shared.status().signed.clone()
    }

    /// A masker with the log's key, for these [pointers](Masker::new).
    #[must_use]
    pub fn masker(&self, pointers: Vec<String>) -> Masker {
        Masker::new(self.inner.mask_key.clone(), pointers)
    }

    /// Takes no more entries, writes what waits and a `stop` record with `reason`, and returns when all of it is on
    /// the disk.
    ///
    /// # Errors
    /// [`LogError::Closed`] when it was closed before; [`LogError::Io`] when the disk does not take it.
    pub async fn close(&self, reason: &str) -> Result<(), LogError> {
        let (reply, outcome) = oneshot::channel();
        let closing = Closing { reason: Some(reason.to_owned()), reply: Some(reply) };
        if !self.inner.shared.queue.close(closing) {
            return Err(LogError::Closed);
        }
        outcome.await.unwrap_or(Err(LogError::Closed))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.queue.close(Closing { reason: None, reply: None });
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // It ends after one more write; a panic in it has been reported already.
            let _ = writer.join();
        }
    }
}

impl std::fmt::Debug for DecisionLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecisionLog").field("origin", &self.origin()).finish_non_exhaustive()
    }
}
