//! The writer: group commit, recovery, rotation, pruning, locks, and disks that fail.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis::decisions::{
    Appendable, Author, BodyState, ConfigChange, DecisionLog, Disk, Durability, Entry, Filter, LogError, LogOptions,
    LogReader, RecordType, Storage, VerifyOptions, verify,
};
use portcullis::policy::Digest;

use super::{entry, options, records, runtime, segment_files, soon, types, written};

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

#[test]
fn what_was_acknowledged_is_there_after_a_start_without_a_stop() {
    let dir = temp();
    let acknowledged = Mutex::new(BTreeMap::new());
    for durability in [Durability::Flush, Durability::Fsync] {
        let log = DecisionLog::open(LogOptions { durability, ..options(dir.path()) }).expect("opens");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    runtime().block_on(async {
                        for _ in 0..25 {
                            let entry = entry();
                            let id = entry.decision_id().to_string();
                            let receipt = log.append(entry, soon()).await.expect("appends");
                            acknowledged.lock().expect("unpoisoned").insert(receipt.seq.expect("written"), id);
                        }
                    });
                });
            }
        });
        assert_eq!(log.health().appended, 200);
        drop(log);
    }
    let acknowledged = acknowledged.into_inner().expect("unpoisoned");
    assert_eq!(acknowledged.len(), 400);
    let records = records(dir.path());
    let decisions: BTreeMap<u64, String> =
        records.iter().filter_map(|r| Some((r.head.seq, r.decision()?.decision_id))).collect();
    assert_eq!(decisions, acknowledged);
    let crashes: Vec<bool> = records
        .iter()
        .filter(|r| r.head.r#type == RecordType::Start)
        .map(|r| r.line.contains("\"after_crash\":true"))
        .collect();
    assert_eq!(crashes, [false, true]);
    let reader = LogReader::open(dir.path()).expect("opens");
    for record in records.iter().filter(|r| r.decision().is_some()) {
        let body = reader.body(record, &record.decision().expect("one")).expect("reads");
        assert!(matches!(body, BodyState::Intact(_)), "{body:?}");
    }
}

#[test]
fn a_torn_line_is_cut_and_the_sequence_goes_on() {
    let dir = temp();
    written(dir.path(), vec![entry(), entry()]);
    let segment = segment_files(dir.path()).pop().expect("a segment");
    let whole = fs::read_to_string(&segment).expect("read");
    for (round, torn) in ["{\"v\":1,\"type\":\"decision\",\"se", "\0\0\0\0\0\0\0"].into_iter().enumerate() {
        fs::OpenOptions::new().append(true).open(&segment).expect("opens").write_all(torn.as_bytes()).expect("writes");
        written(dir.path(), vec![entry()]);
        let records = records(dir.path());
        let start = records.iter().rev().find(|r| r.head.r#type == RecordType::Start).expect("a start");
        assert!(start.line.contains(&format!("\"cut_bytes\":{}", torn.len())), "{}", start.line);
        assert_eq!(records.len(), 4 + 3 * (round + 1));
    }
    assert!(fs::read_to_string(&segment).expect("read").starts_with(&whole));
    assert_eq!(fs::read_dir(dir.path().join("cut")).expect("kept").count(), 2);
}

#[test]
fn a_log_closed_in_order_says_so() {
    let dir = temp();
    written(dir.path(), vec![entry()]);
    written(dir.path(), vec![]);
    let records = records(dir.path());
    assert_eq!(types(&records), ["start", "decision", "stop", "start", "stop"]);
    assert!(records[2].line.contains(r#""reason":"test""#));
    assert!(records[3].line.contains(r#""after_crash":false"#));
}

#[test]
fn a_closed_log_takes_nothing_and_says_so() {
    let dir = temp();
    runtime().block_on(async {
        let log = DecisionLog::open(options(dir.path())).expect("opens");
        assert!(log.health().writable);
        log.close("test").await.expect("closes");
        assert_eq!(log.append(entry(), soon()).await, Err(LogError::Closed));
        assert_eq!(log.close("again").await, Err(LogError::Closed));
        assert!(!log.health().writable);
    });
}

#[test]
fn the_name_of_a_log_stays() {
    let dir = temp();
    written(dir.path(), vec![entry()]);
    let log = DecisionLog::open(LogOptions { origin: "other".to_owned(), ..options(dir.path()) }).expect("opens");
    assert_eq!(&*log.origin(), "test/r-0");
    drop(log);
    assert!(records(dir.path()).iter().all(|r| r.head.origin == "test/r-0"));
}

#[test]
fn one_process_owns_a_log() {
    let dir = temp();
    let log = DecisionLog::open(options(dir.path())).expect("opens");
    let second = DecisionLog::open(options(dir.path())).expect_err("is locked");
    assert_eq!(second, LogError::Locked { dir: dir.path().to_path_buf() });
    assert!(LogReader::open(dir.path()).is_ok(), "readers need no lock");
    drop(log);
    DecisionLog::open(options(dir.path())).expect("is free again");
}

#[test]
fn segments_rotate_and_nobody_else_can_read_them() {
    let dir = temp();
    let log = dir.path().join("state/decisions");
    runtime().block_on(async {
        let log = DecisionLog::open(LogOptions { segment_bytes: 8 * 1024, ..options(&log) }).expect("opens");
        for _ in 0..40 {
            log.append(entry(), soon()).await.expect("appends");
        }
        log.close("test").await.expect("closes");
    });
    let records = records(&log);
    assert_eq!(records.len(), 42);
    let files = segment_files(&log);
    assert!(files.len() > 3, "{files:?}");
    let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
    assert_eq!((mode(&log), mode(&log.join("bodies"))), (0o700, 0o700));
    for file in &files {
        assert!(fs::metadata(file).expect("is there").len() <= 8 * 1024);
        let body = log.join("bodies").join(file.file_name().expect("a name"));
        assert_eq!((mode(file), mode(&body)), (0o600, 0o600));
    }
    // Another run goes on in the last segment.
    written(&log, vec![entry()]);
    assert_eq!(segment_files(&log).len(), files.len());
    self::records(&log);
}

#[test]
fn a_bounded_log_drops_the_oldest_bodies_and_then_segments_and_says_so() {
    let dir = temp();
    let max_bytes = 128 * 1024;
    let limits = LogOptions { max_bytes, segment_bytes: 8 * 1024, ..options(dir.path()) };
    let mut first = None;
    runtime().block_on(async {
        let log = DecisionLog::open(limits).expect("opens");
        let mut fill = async |until: &dyn Fn() -> bool| {
            while !until() {
                let entry = entry();
                first.get_or_insert_with(|| entry.decision_id().to_string());
                log.append(entry, soon()).await.expect("appends");
            }
        };
        fill(&|| log.health().pruned > 0).await;
        let reader = LogReader::open(dir.path()).expect("opens");
        let mut oldest = None;
        let (found, _) = reader.last(&Filter::default(), usize::MAX).expect("reads");
        for record in found {
            oldest = oldest.or_else(|| record.decision().map(|d| (record, d)));
        }
        let (record, decision) = oldest.expect("a decision");
        assert_eq!(reader.body(&record, &decision), Ok(BodyState::Deleted), "bodies go first");
        fill(&|| log.health().pruned > 40).await;
        log.close("test").await.expect("closes");
        assert!(log.health().bytes <= max_bytes);
    });
    let records = records(dir.path());
    assert!(records[0].head.seq > 0, "whole segments went");
    let mut segments_gone = 0;
    for prune in records.iter().filter_map(portcullis::decisions::Record::prune) {
        assert_eq!((prune.count, prune.reason.as_str()), (prune.last_seq - prune.first_seq + 1, "max_bytes"));
        let name = format!("{:020}.jsonl", prune.first_seq);
        assert!(!dir.path().join("bodies").join(&name).exists());
        if prune.what == "segment" {
            segments_gone = prune.last_seq + 1;
            assert!(!dir.path().join(&name).exists());
        }
    }
    assert_eq!(segments_gone, records[0].head.seq, "what is gone is on record");
    let on_disk: u64 = [dir.path().to_path_buf(), dir.path().join("bodies")]
        .iter()
        .flat_map(|d| segment_files(d))
        .map(|f| fs::metadata(f).expect("is there").len())
        .sum();
    assert!(on_disk <= max_bytes, "{on_disk} bytes");
}

/// The local disk, with faults to order.
#[derive(Clone, Default)]
struct Faulty(Arc<Faults>);

#[derive(Default)]
struct Faults {
    /// Bytes that can still be written before the disk is full; negative: no limit.
    room: Option<AtomicI64>,
    no_bodies: AtomicBool,
    no_envelopes: AtomicBool,
    no_files: AtomicBool,
    no_replace: AtomicBool,
    no_sync: AtomicBool,
    no_truncate: AtomicBool,
    slow: AtomicU64,
}

/// A disk on which nothing is replaced from the moment on that the switch is set.
pub(super) fn no_replacing() -> (impl Storage, impl Fn(bool)) {
    let faulty = Faulty::default();
    let faults = Arc::clone(&faulty.0);
    (faulty, move |on| faults.no_replace.store(on, Ordering::SeqCst))
}

/// A disk with so many bytes left.
pub(super) fn full_disk(room: i64) -> impl Storage {
    Faulty(Arc::new(Faults { room: Some(AtomicI64::new(room)), ..Faults::default() }))
}

struct FaultyFile {
    file: Arc<dyn Appendable>,
    body: bool,
    faults: Arc<Faults>,
}

fn fails(fault: &AtomicBool) -> io::Result<()> {
    if fault.load(Ordering::SeqCst) { Err(io::Error::other("broken")) } else { Ok(()) }
}

impl Storage for Faulty {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        Disk.make_dir(dir)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn Appendable>> {
        fails(&self.0.no_files).map_err(|_| io::ErrorKind::PermissionDenied)?;
        let body = path.to_string_lossy().contains("/bodies/");
        Ok(Arc::new(FaultyFile { file: Disk.open(path)?, body, faults: Arc::clone(&self.0) }))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        fails(&self.0.no_replace)?;
        Disk.replace(path, bytes)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let length = fs::metadata(path).map_or(0, |m| m.len());
        Disk.remove(path)?;
        if let Some(room) = &self.0.room {
            room.fetch_add(i64::try_from(length).expect("small"), Ordering::SeqCst);
        }
        Ok(())
    }
}

impl Appendable for FaultyFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        std::thread::sleep(Duration::from_millis(self.faults.slow.load(Ordering::SeqCst)));
        let fault = if self.body { &self.faults.no_bodies } else { &self.faults.no_envelopes };
        // A failing write leaves a part behind.
        if let Err(e) = fails(fault) {
            self.file.append(&bytes[..bytes.len() / 2])?;
            return Err(e);
        }
        if let Some(room) = &self.faults.room {
            let wanted = i64::try_from(bytes.len()).expect("small");
            let has = room.load(Ordering::SeqCst).max(0);
            let fits = usize::try_from(has.min(wanted)).expect("positive");
            room.fetch_sub(has.min(wanted), Ordering::SeqCst);
            self.file.append(&bytes[..fits])?;
            if fits < bytes.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            return Ok(());
        }
        self.file.append(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        fails(&self.faults.no_sync)?;
        self.file.sync()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        fails(&self.faults.no_truncate)?;
        self.file.truncate(length)
    }

    fn is_in_place(&self) -> io::Result<bool> {
        self.file.is_in_place()
    }
}

fn set(fault: &AtomicBool, on: bool) {
    fault.store(on, Ordering::SeqCst);
}

#[test]
fn a_failing_disk_loses_nothing_silently() {
    type Fault = fn(&Faults) -> Vec<&AtomicBool>;
    let cases: [(&str, Durability, Fault); 5] = [
        ("bodies", Durability::Flush, |f| vec![&f.no_bodies]),
        ("envelopes", Durability::Flush, |f| vec![&f.no_envelopes]),
        ("envelopes, and no taking back", Durability::Flush, |f| vec![&f.no_envelopes, &f.no_truncate]),
        ("new segments, no permission", Durability::Flush, |f| vec![&f.no_files]),
        ("sync", Durability::Fsync, |f| vec![&f.no_sync]),
    ];
    for (name, durability, faults) in cases {
        let dir = temp();
        let storage = Faulty::default();
        runtime().block_on(async {
            // Every append begins a segment.
            let options = LogOptions { durability, segment_bytes: 1, ..options(dir.path()) };
            let log = DecisionLog::open_on(storage.clone(), options).expect("opens");
            log.append(entry(), soon()).await.expect("appends");
            faults(&storage.0).into_iter().for_each(|f| set(f, true));
            for _ in 0..3 {
                let begun = Instant::now();
                let error = log.append(entry(), soon()).await.expect_err("cannot be written");
                assert!(matches!(error, LogError::Io { .. }), "{name}: {error}");
                assert!(begun.elapsed() < Duration::from_secs(5), "{name}: fails at once");
            }
            let health = log.health();
            assert!(!health.writable && health.last_error.is_some(), "{name}: {health:?}");
            assert_eq!((health.appended, health.failed, health.gap), (1, 3, 3), "{name}");
            faults(&storage.0).into_iter().for_each(|f| set(f, false));
            log.append(entry(), soon()).await.expect("writes again");
            let health = log.health();
            assert!(health.writable, "{name}");
            assert_eq!((health.appended, health.failed, health.gap), (2, 3, 0), "{name}");
            log.close("test").await.expect("closes");
        });
        let records = records(dir.path());
        assert_eq!(types(&records), ["start", "decision", "gap", "decision", "stop"], "{name}");
        let gap = records[2].gap().expect("a gap");
        assert_eq!((gap.count, gap.unconfirmed), (3, 0), "{name}");
        assert!(gap.from <= gap.to && gap.reason.contains("cannot"), "{name}: {gap:?}");
        assert_eq!(gap.reason.contains("permission denied"), name == "new segments, no permission", "{gap:?}");
        let reader = LogReader::open(dir.path()).expect("opens");
        for record in [&records[1], &records[3]] {
            let body = reader.body(record, &record.decision().expect("one")).expect("reads");
            assert!(matches!(body, BodyState::Intact(_)), "{name}: {body:?}");
        }
    }
}

#[test]
fn a_change_of_configuration_is_not_lost_on_a_disk_that_fails() {
    let dir = temp();
    let storage = Faulty::default();
    runtime().block_on(async {
        let log = DecisionLog::open_on(storage.clone(), options(dir.path())).expect("opens");
        set(&storage.0.no_envelopes, true);
        let digest = |text: &str| Digest::of(text.as_bytes());
        for (now, before) in [("b", "a"), ("c", "b")] {
            let change = ConfigChange {
                now: (digest(now), digest("data")),
                before: Some((digest(before), digest("data"))),
                policies: 1,
            };
            log.append(Entry::config(change, jiff::Timestamp::now()), soon()).await.expect_err("cannot be written");
        }
        set(&storage.0.no_envelopes, false);
        log.append(entry(), soon()).await.expect("appends");
        log.close("test").await.expect("closes");
    });
    let records = records(dir.path());
    // No decision is missing, so there is no gap.
    assert_eq!(types(&records), ["start", "config", "config", "decision", "stop"]);
    assert!(records[2].line.contains(&Digest::of(b"c").to_string()), "in their order");
}

#[test]
fn a_log_mends_itself_without_traffic() {
    let dir = temp();
    let storage = Faulty::default();
    runtime().block_on(async {
        let log = DecisionLog::open_on(storage.clone(), options(dir.path())).expect("opens");
        set(&storage.0.no_envelopes, true);
        log.append(entry(), soon()).await.expect_err("cannot be written");
        set(&storage.0.no_envelopes, false);
        let begun = Instant::now();
        while !log.health().writable {
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", log.health());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        log.close("test").await.expect("closes");
    });
    assert_eq!(types(&records(dir.path())), ["start", "gap", "stop"]);
}

#[test]
fn a_full_disk_locks_nobody_out() {
    let dir = temp();
    let storage = Faulty(Arc::new(Faults { room: Some(AtomicI64::new(64 * 1024)), ..Faults::default() }));
    runtime().block_on(async {
        let limits = LogOptions { segment_bytes: 8 * 1024, ..options(dir.path()) };
        let log = DecisionLog::open_on(storage.clone(), limits).expect("opens");
        for _ in 0..100 {
            log.append(entry(), soon()).await.expect("the oldest makes room");
        }
        assert_eq!(log.health().failed, 0);
        log.close("test").await.expect("closes");
    });
    let records = records(dir.path());
    let prunes: Vec<_> = records.iter().filter_map(portcullis::decisions::Record::prune).collect();
    assert!(!prunes.is_empty() && prunes.iter().all(|p| p.reason == "full_disk"), "{prunes:?}");
    let bodies = prunes.iter().filter(|p| p.what == "bodies").count();
    let left = segment_files(&dir.path().join("bodies")).len();
    assert!(bodies > 0 && left > 0);
}

/// A server that is started on a full disk answers like one whose disk gets full.
#[test]
fn a_log_that_cannot_be_opened_yet_is_waited_for() {
    let dir = temp();
    let storage = Faulty(Arc::new(Faults { room: Some(AtomicI64::new(10)), ..Faults::default() }));
    assert!(DecisionLog::open_on(storage.clone(), options(dir.path())).is_err_and(|e| e.is_full_disk()));
    runtime().block_on(async {
        let log = DecisionLog::open_or_wait(storage.clone(), options(dir.path())).expect("waits");
        let error = log.append(entry(), soon()).await.expect_err("cannot be written");
        assert!(error.is_full_disk(), "{error}");
        let change = ConfigChange { now: (Digest::of(b"p"), Digest::of(b"d")), before: None, policies: 1 };
        log.append(Entry::config(change, jiff::Timestamp::now()), soon()).await.expect_err("cannot be written");
        let health = log.health();
        assert!(!health.writable && health.failed == 1 && health.gap == 1, "{health:?}");
        assert!(log.release_hold("none", &Author::default()).expect_err("cannot be asked").is_full_disk());
        storage.0.room.as_ref().expect("a bound").store(1 << 20, Ordering::SeqCst);
        let begun = Instant::now();
        while !log.health().writable {
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", log.health());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        log.append(entry(), soon()).await.expect("appends");
        log.close("test").await.expect("closes");
    });
    let records = records(dir.path());
    assert_eq!(types(&records), ["start", "config", "gap", "decision", "stop"]);
    assert_eq!(records[2].gap().map(|g| g.count), Some(1));
    // Nobody waits for what will not pass, and a log that is waited for can be closed.
    assert!(DecisionLog::open_or_wait(Disk, LogOptions { origin: String::new(), ..options(dir.path()) }).is_err());
    let dir = temp();
    let storage = Faulty(Arc::new(Faults { room: Some(AtomicI64::new(10)), ..Faults::default() }));
    runtime().block_on(async {
        let log = DecisionLog::open_or_wait(storage, options(dir.path())).expect("waits");
        assert!(log.close("test").await.is_err_and(|e| e.is_full_disk()));
    });
}

#[test]
fn who_stops_waiting_is_on_record() {
    let dir = temp();
    let storage = Faulty::default();
    let unconfirmed = entry();
    let id = unconfirmed.decision_id().to_string();
    runtime().block_on(async {
        let log = DecisionLog::open_on(storage.clone(), options(dir.path())).expect("opens");
        storage.0.slow.store(600, Ordering::SeqCst);
        let at = |ms: u64| Instant::now() + Duration::from_millis(ms);
        // The first is being written when its caller goes; the second has not begun.
        let first = log.append(unconfirmed, at(400));
        let second = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert!(log.health().lag >= Duration::from_millis(40));
            log.append(entry(), at(50)).await
        };
        let (first, second) = tokio::join!(first, second);
        assert_eq!((first, second), (Err(LogError::Deadline), Err(LogError::Deadline)));
        storage.0.slow.store(0, Ordering::SeqCst);
        log.append(entry(), soon()).await.expect("appends");
        log.close("test").await.expect("closes");
    });
    let records = records(dir.path());
    assert_eq!(types(&records), ["start", "decision", "gap", "decision", "stop"]);
    assert_eq!(records[1].decision().expect("one").decision_id, id);
    let gap = records[2].gap().expect("a gap");
    assert_eq!((gap.count, gap.unconfirmed, gap.unconfirmed_ids), (1, 1, vec![id]));
}

#[test]
fn a_failed_sync_in_the_background_is_seen_and_left_behind() {
    let dir = temp();
    let storage = Faulty::default();
    runtime().block_on(async {
        let log = DecisionLog::open_on(storage.clone(), options(dir.path())).expect("opens");
        set(&storage.0.no_sync, true);
        log.append(entry(), soon()).await.expect("the kernel has it");
        let begun = Instant::now();
        while log.health().sync_failures == 0 {
            assert!(begun.elapsed() < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        set(&storage.0.no_sync, false);
        log.append(entry(), soon()).await.expect("appends");
        log.close("test").await.expect("closes");
    });
    assert_eq!(types(&records(dir.path())), ["start", "decision", "decision", "stop"]);
    assert_eq!(segment_files(dir.path()).len(), 2, "a new segment was begun");
}

#[test]
fn options_are_checked() {
    let dir = temp();
    for origin in ["", "a\nb", &"x".repeat(300)] {
        let error = DecisionLog::open(LogOptions { origin: origin.to_owned(), ..options(dir.path()) });
        assert!(matches!(error, Err(LogError::Option { option: "origin", .. })), "{origin:?}");
    }
    let file = dir.path().join("file");
    fs::write(&file, "").expect("written");
    let error = DecisionLog::open(options(&file)).expect_err("no directory");
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
}

#[test]
fn best_effort_never_waits_and_tells_of_what_is_missing() {
    let dir = temp();
    let storage = Faulty::default();
    runtime().block_on(async {
        let options = LogOptions { durability: Durability::BestEffort, ..options(dir.path()) };
        let log = DecisionLog::open_on(storage.clone(), options).expect("opens");
        storage.0.slow.store(500, Ordering::SeqCst);
        let begun = Instant::now();
        // Five that wait for the disk take five seconds.
        for _ in 0..5 {
            assert_eq!(log.append(entry(), soon()).await.expect("is taken").seq, None);
        }
        assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
        storage.0.slow.store(0, Ordering::SeqCst);
        while log.health().appended < 5 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        set(&storage.0.no_envelopes, true);
        log.append(entry(), soon()).await.expect("the answer does not depend on it");
        while log.health().failed == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        set(&storage.0.no_envelopes, false);
        log.append(entry(), soon()).await.expect("is taken");
        log.close("test").await.expect("closes");
    });
    let records = records(dir.path());
    assert_eq!(records.iter().filter(|r| r.decision().is_some()).count(), 6);
    assert_eq!(records.iter().find_map(portcullis::decisions::Record::gap).expect("a gap").count, 1);
}

#[test]
fn a_checkpoint_follows_the_records_and_covers_only_what_is_on_the_disk() {
    for durability in [Durability::Flush, Durability::Fsync, Durability::BestEffort] {
        let dir = temp();
        let storage = Faulty::default();
        runtime().block_on(async {
            let options = LogOptions { durability, ..options(dir.path()) };
            let log = DecisionLog::open_on(storage.clone(), options).expect("opens");
            let begun = log.checkpoint().expect("signed at the start");
            assert_eq!((begun.size, &*begun.origin), (1, "test/r-0"));
            let wait = async |size: u64| {
                let start = Instant::now();
                while log.checkpoint().expect("one").size < size {
                    assert!(start.elapsed() < Duration::from_secs(5), "{durability:?}");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            log.append(entry(), soon()).await.expect("appends");
            wait(2).await;
            assert_eq!(log.health().signed, 2);
            if durability == Durability::Flush {
                // What the disk does not take is not signed.
                set(&storage.0.no_sync, true);
                log.append(entry(), soon()).await.expect("the kernel has it");
                tokio::time::sleep(Duration::from_millis(1500)).await;
                assert_eq!(log.checkpoint().expect("one").size, 2);
                set(&storage.0.no_sync, false);
                log.append(entry(), soon()).await.expect("appends");
                wait(4).await;
            }
            log.close("test").await.expect("closes");
            assert_eq!(log.checkpoint().expect("one").size, log.health().next_seq);
        });
    }
}

#[test]
fn tiles_that_cannot_be_written_fail_the_write_as_a_whole() {
    let dir = temp();
    let storage = Faulty::default();
    runtime().block_on(async {
        let log = DecisionLog::open_on(storage.clone(), options(dir.path())).expect("opens");
        for _ in 0..253 {
            log.append(entry(), soon()).await.expect("appends");
        }
        set(&storage.0.no_replace, true);
        // Records 254 and, filling the tile, 255.
        log.append(entry(), soon()).await.expect("needs no tile");
        let error = log.append(entry(), soon()).await.expect_err("its tile cannot be written");
        assert!(error.to_string().contains("tile/0/000"), "{error}");
        set(&storage.0.no_replace, false);
        log.append(entry(), soon()).await.expect("writes again");
        log.close("test").await.expect("closes");
    });
    assert_eq!(types(&records(dir.path()))[254..], ["decision", "gap", "decision", "stop"]);
    let options = VerifyOptions { dir: dir.path().to_path_buf(), keys: Vec::new(), anchors: Vec::new() };
    assert_eq!(verify(&options, &mut |_| {}).expect("read").findings, []);
}

#[test]
fn a_directory_that_is_removed_is_noticed_and_begun_anew() {
    let parent = temp();
    let dir = parent.path().join("decisions");
    runtime().block_on(async {
        let log = DecisionLog::open(options(&dir)).expect("opens");
        log.append(entry(), soon()).await.expect("appends");
        let before = log.checkpoint().expect("one");
        // Moved away while records come in.
        fs::rename(&dir, parent.path().join("moved")).expect("moved");
        let receipt = log.append(entry(), soon()).await.expect("appends to a log that can be found");
        assert_ne!(&*receipt.origin, "test/r-0");
        let start: serde_json::Value = serde_json::from_str(&records(&dir)[0].line).expect("JSON");
        assert_eq!(start["previous"], before.to_string());
        assert_eq!(log.origin(), receipt.origin);
        // Removed while nothing does.
        fs::remove_dir_all(&dir).expect("removed");
        let begun = Instant::now();
        while !dir.join("checkpoint").exists() {
            assert!(begun.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(log.health().writable);
        log.close("test").await.expect("closes");
    });
    let options = VerifyOptions { dir, keys: Vec::new(), anchors: Vec::new() };
    assert_eq!(verify(&options, &mut |_| {}).expect("read").findings, []);
}
