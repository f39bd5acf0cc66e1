//! The thread that brings to the disk what no answer waits for: segments, except under `--durability fsync`, and tiles.
//! Knows files as handles and paths; must not know lines.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::decisions::Appendable;
use crate::decisions::log::Shared;

type File = Arc<dyn Appendable>;

/// How long somebody waits for a sync that does not come to an end.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(1);

pub(super) struct Syncer {
    shared: Arc<Dirty>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Dirty {
    state: Mutex<State>,
    written: Condvar,
    failed: AtomicBool,
    /// Records that are on the disk.
    synced: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Files with writes that are not synced. A rotation adds two; a disk that is stuck for long leaves as many as
    /// there were rotations, some hundred at the most within the log's bound.
    files: Vec<File>,
    /// Tiles that are not synced: one for every 256 records since the last sync.
    tiles: Vec<PathBuf>,
    /// Records in all of them and before them.
    records: u64,
    /// Somebody waits: no more writes are waited for.
    hurry: bool,
    ended: bool,
}

impl State {
    fn is_idle(&self) -> bool {
        self.files.is_empty() && self.tiles.is_empty()
    }
}

impl Syncer {
    /// Syncs what was written after `delay`, so that writes in between share one sync.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(super) fn start(delay: Duration, log: Arc<Shared>) -> io::Result<Self> {
        let shared = Arc::new(Dirty::default());
        let thread = std::thread::Builder::new().name("decision-log-sync".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || run(&shared, delay, &log)
        });
        Ok(Self { shared, thread: Some(thread?) })
    }

    /// These files and tiles were written; the log has so many records now.
    pub(super) fn written(&self, files: &[&File], tiles: Vec<PathBuf>, records: u64) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = state.is_idle();
        state.records = records;
        state.tiles.extend(tiles);
        for file in files {
            if !state.files.iter().any(|f| Arc::ptr_eq(f, file)) {
                state.files.push(Arc::clone(file));
            }
        }
        if idle {
            self.shared.written.notify_one();
        }
    }

    /// How many records are on the disk, of those it was told of; 0 before the first.
    pub(super) fn synced(&self) -> u64 {
        self.shared.synced.load(Ordering::Acquire)
    }

    /// Returns once all that it was told of is on the disk.
    ///
    /// # Errors
    /// It could not be synced, or not within five seconds.
    pub(super) fn settle(&self) -> io::Result<()> {
        let begun = Instant::now();
        let wanted = {
            let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.hurry = !state.is_idle();
            self.shared.written.notify_one();
            state.records
        };
        while self.synced() < wanted {
            if self.shared.failed.load(Ordering::Acquire) {
                return Err(io::Error::other("what was written before could not be synced"));
            }
            if begun.elapsed() > PATIENCE {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Whether a sync failed since this was last asked.
    pub(super) fn take_failure(&self) -> bool {
        self.shared.failed.swap(false, Ordering::AcqRel)
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.shared.written.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(shared: &Dirty, delay: Duration, log: &Shared) {
    loop {
        let state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |s: &mut State| s.is_idle() && !s.ended;
        let state = shared.written.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        // Writes during the delay join this sync; an end cuts it short.
        let waited = shared.written.wait_timeout_while(state, delay, |s| !s.ended && !s.hurry);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.hurry = false;
        let (files, tiles) = (std::mem::take(&mut state.files), std::mem::take(&mut state.tiles));
        let (records, mut all) = (state.records, true);
        let ended = state.ended;
        drop(state);
        for file in files {
            if let Err(e) = file.sync() {
                all = false;
                shared.failed.store(true, Ordering::Release);
                let mut status = log.status();
                status.health.sync_failures += 1;
                status.health.last_error = Some(format!("cannot sync the decision log: {e}"));
            }
        }
        for tile in tiles {
            match fs::File::open(&tile).and_then(|file| file.sync_data()) {
                // Deleted since, with its records.
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    all = false;
                    let mut status = log.status();
                    status.health.sync_failures += 1;
                    status.health.last_error = Some(format!("cannot sync `{}`: {e}", tile.display()));
                }
                _ => {}
            }
        }
        if all {
            shared.synced.store(records, Ordering::Release);
        }
        if ended {
            return;
        }
    }
}
