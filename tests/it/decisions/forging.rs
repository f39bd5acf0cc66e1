//! Lines that nobody signed, and runs that were killed between a record and what it tells of: neither makes a log say
//! what is not so.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis::decisions::{
    Appendable, DecisionLog, Disk, Erasure, FindingCode, LogOptions, Report, SigningSeed, Storage, VerifyOptions,
    holds, verify,
};
use serde_json::Value;

use super::keeping::{author, entry_of, filled, hold, of_user, prunes, temp, users, verified};
use super::proving::{check, codes, copy, grow, key};
use super::{options, records, runtime, segment_files, soon};

/// A disk that copies the log once, in the moment that `when` names: as a process that is killed there leaves it.
struct Killed<S> {
    inner: S,
    dir: PathBuf,
    copy: PathBuf,
    when: fn(&str, &Path) -> bool,
    done: Mutex<bool>,
}

impl<S: Storage> Killed<S> {
    fn on(inner: S, dir: &Path, copy: &Path, when: fn(&str, &Path) -> bool) -> Self {
        Self { inner, dir: dir.to_path_buf(), copy: copy.to_path_buf(), when, done: Mutex::new(false) }
    }

    fn at(&self, what: &str, path: &Path) {
        let mut done = self.done.lock().expect("a lock");
        if !*done && (self.when)(what, path) {
            copy(&self.dir, &self.copy);
            *done = true;
        }
    }
}

impl<S: Storage> Storage for Killed<S> {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.make_dir(dir)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn Appendable>> {
        self.inner.open(path)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.inner.replace(path, bytes)?;
        self.at("replaced", path);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.at("removing", path);
        self.inner.remove(path)?;
        self.at("removed", path);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.at("renaming", to);
        self.inner.rename(from, to)
    }
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "jsonl") && !path.to_string_lossy().contains("/bodies/")
}

/// A record of the log `dir` with other members: what somebody writes who has seen one.
fn forged(dir: &Path, seq: u64, kind: &str, members: &str) -> String {
    let head = format!(r#"{{"v":1,"type":"{kind}","seq":{seq},"origin":"test/r-0","#);
    let labels = r#""labels":{"cluster":"test","replica":"r-0","version":"0"},"#;
    let line = format!(r#"{head}{labels}"timestamp":"2026-01-01T00:00:00.000000000Z",{members}}}"#);
    let file = segment_files(dir).pop().expect("a segment");
    let mut file = fs::File::options().append(true).open(file).expect("opens");
    writeln!(file, "{line}").expect("written");
    line
}

fn prune_of(first: u64, last: u64) -> String {
    format!(
        r#""what":"segment","reason":"retention","first_seq":{first},"last_seq":{last},"count":{},"bytes":1"#,
        last + 1 - first
    )
}

/// Decisions of these users, each in a segment, and a hold on one; stopped.
fn held(dir: &Path) {
    runtime().block_on(async {
        let log = filled(options(dir), &["a", "held", "b", "c"]).await;
        log.place_hold(hold("case", of_user("held")), &author()).expect("is placed");
        log.close("test").await.expect("closes");
    });
}

/// The same with the last stop taken off, as a killed run leaves it: what comes after is not signed.
fn killed(dir: &Path) -> u64 {
    let begun = Instant::now();
    runtime().block_on(async {
        let log = DecisionLog::open(options(dir)).expect("opens");
        log.append(entry_of("d", "d", 0, ""), soon()).await.expect("appends");
        while log.checkpoint().is_none_or(|c| c.size < log.health().next_seq) {
            assert!(begun.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let left = temp();
        copy(dir, left.path());
        log.close("test").await.expect("closes");
        fs::remove_dir_all(dir).expect("removed");
        copy(left.path(), dir);
    });
    records(dir).last().expect("one").head.seq + 1
}

#[test]
fn a_held_segment_that_somebody_deleted_at_the_front_is_missed() {
    let dir = temp();
    held(dir.path());
    runtime().block_on(async {
        let log = DecisionLog::open(options(dir.path())).expect("opens");
        let now = jiff::Timestamp::now();
        tokio::task::block_in_place(|| log.prune_older(None, Some(now), &author())).expect("prunes");
        log.close("test").await.expect("closes");
    });
    assert!(users(dir.path()).contains("held"));
    verified(dir.path());
    let first = segment_files(dir.path()).into_iter().next().expect("one");
    assert!(fs::read_to_string(&first).expect("read").contains("\"held\""));
    fs::remove_file(first).expect("removed");
    let report = check(dir.path(), &[]);
    assert_eq!(codes(&report), [FindingCode::Unexplained], "{:?}", report.findings);
}

#[test]
fn a_deletion_that_nobody_signed_explains_nothing_also_when_a_start_has_signed_it() {
    let dir = temp();
    held(dir.path());
    let end = killed(dir.path());
    let victim = segment_files(dir.path()).into_iter().nth(1).expect("one");
    let first: u64 = victim.file_stem().and_then(|s| s.to_str()?.parse().ok()).expect("a number");
    fs::remove_file(&victim).expect("removed");
    forged(dir.path(), end, "prune", &prune_of(first, first));
    let report = check(dir.path(), &[]);
    assert_eq!(codes(&report), [FindingCode::Missing, FindingCode::UnsignedTail], "{:?}", report.findings);
    assert_eq!(report.disbelieved, 1);
    grow(options(dir.path()), 1);
    let report = check(dir.path(), &[]);
    assert_eq!((codes(&report), report.taken_over, report.disbelieved), (vec![FindingCode::Missing], 1, 1));
    // Nor do later records take it over.
    runtime().block_on(async {
        let log = filled(options(dir.path()), &["e"]).await;
        let now = jiff::Timestamp::now();
        tokio::task::block_in_place(|| log.prune_older(None, Some(now), &author())).expect("prunes");
        log.close("test").await.expect("closes");
    });
    let report = check(dir.path(), &[]);
    let lost = report.findings.iter().any(|f| matches!(f.code, FindingCode::Missing | FindingCode::Unexplained));
    assert!(lost, "{:?} {:?}", report.findings, prunes(dir.path()));
}

#[test]
fn a_release_that_nobody_signed_releases_nothing() {
    for without_list in [false, true] {
        let dir = temp();
        held(dir.path());
        let end = killed(dir.path());
        let text = fs::read_to_string(segment_files(dir.path()).first().expect("one")).expect("read");
        assert!(!text.is_empty());
        let release = r#""action":"release","name":"case","selection":{},"reason":"r","by":"b","placed":"p""#;
        forged(dir.path(), end, "hold", release);
        let narrower =
            r#""action":"restate","name":"case","selection":{"users":["nobody"]},"reason":"r","by":"b","placed":"p""#;
        forged(dir.path(), end + 1, "hold", narrower);
        for _ in 0..2 {
            if without_list {
                fs::remove_file(dir.path().join("holds")).expect("removed");
            }
            assert_eq!(holds(dir.path()).expect("read").first().map(|h| h.selection.clone()), Some(of_user("held")));
            runtime().block_on(async {
                let log = DecisionLog::open(options(dir.path())).expect("opens");
                assert_eq!(log.holds().first().map(|h| h.selection.clone()), Some(of_user("held")));
                log.close("test").await.expect("closes");
            });
        }
        assert_eq!(check(dir.path(), &[]).findings, []);
    }
}

#[test]
fn what_is_added_after_a_stop_is_not_gone_on_with() {
    let dir = temp();
    grow(options(dir.path()), 3);
    let end = records(dir.path()).len();
    forged(dir.path(), u64::try_from(end).expect("small"), "prune", &prune_of(0, 0));
    grow(options(dir.path()), 1);
    let first = records(dir.path()).into_iter().next().expect("one");
    assert!(first.line.contains("after the server had stopped"), "{}", first.line);
    let report = check_of(dir.path(), &[]);
    assert_eq!(report.findings, []);
    assert!(report.succeeded.expect("told").damage.contains("stopped"));
}

/// With the keys in the log.
fn check_of(dir: &Path, anchors: &[&Path]) -> Report {
    let anchors = anchors.iter().map(|p| p.to_path_buf()).collect();
    verify(&VerifyOptions { dir: dir.to_path_buf(), keys: Vec::new(), anchors }, &mut |_| {}).expect("can be read")
}

#[test]
fn a_log_in_the_place_of_one_that_was_lost_says_so() {
    let (dir, kept) = (temp(), temp());
    let options = LogOptions { checkpoint_copy: Some(kept.path().join("checkpoint")), ..options(dir.path()) };
    grow(options.clone(), 3);
    let anchor = kept.path().join("anchor");
    fs::copy(kept.path().join("checkpoint"), &anchor).expect("copied");
    fs::remove_dir_all(dir.path()).expect("removed");
    grow(options, 2);
    let report = check_of(dir.path(), &[]);
    assert_eq!(report.findings, []);
    let before = report.succeeded.expect("told");
    assert_eq!(before.checkpoint.map(|c| (c.origin, c.size)), Some(("test/r-0".to_owned(), 5)));
    // Whoever kept a checkpoint of it gets no clean bill.
    let report = check_of(dir.path(), &[&anchor]);
    assert_eq!((codes(&report), report.anchors_of_others), (vec![FindingCode::Truncated], 1));
    // Another log's is another log's.
    let other = temp();
    grow(super::options(other.path()), 1);
    let options = VerifyOptions { dir: other.path().to_path_buf(), keys: Vec::new(), anchors: vec![anchor.clone()] };
    assert_eq!(
        codes(&verify(&options, &mut |_| {}).expect("read")),
        [FindingCode::Truncated, FindingCode::Anchor][..1]
    );
}

#[test]
fn a_rotation_that_was_killed_is_ended_by_the_next_start() {
    let (dir, left) = (temp(), temp());
    grow(options(dir.path()), 3);
    let seed = SigningSeed::from_bytes([6; 32]).replacing(&SigningSeed::from_bytes([5; 32]));
    let rotated = |dir: &Path| LogOptions { signing_seed: seed.clone(), ..options(dir) };
    let storage = Killed::on(Disk, dir.path(), left.path(), |what, path| what == "replaced" && path.ends_with("keys"));
    runtime().block_on(async {
        let log = DecisionLog::open_on(storage, rotated(dir.path())).expect("opens");
        log.close("test").await.expect("closes");
    });
    // Also when it is killed there twice.
    let again = temp();
    copy(left.path(), again.path());
    for dir in [dir.path(), left.path()] {
        grow(rotated(dir), 2);
        let report = check(dir, &[]);
        assert_eq!((report.findings, report.hand_overs.len()), (vec![], 1), "the old key leads to the new one");
    }
    // A key that never signed anything is not listed for ever.
    let third = SigningSeed::from_bytes([7; 32]).replacing(&SigningSeed::from_bytes([5; 32]));
    grow(LogOptions { signing_seed: third, ..options(again.path()) }, 2);
    assert_eq!(check(again.path(), &[]).findings, []);
    // The statement is looked for where keys were replaced.
    fs::remove_dir_all(left.path().join("checkpoints")).expect("removed");
    assert_eq!(codes(&check_of(left.path(), &[])), [FindingCode::Checkpoint]);
}

#[test]
fn what_a_full_disk_took_is_on_record_also_when_the_process_is_killed_before() {
    let cases: [fn(&str, &Path) -> bool; 3] = [
        |what, path| what == "removing" && is_segment(path),
        |what, path| what == "removed" && is_segment(path),
        |what, path| what == "removed" && path.to_string_lossy().contains("/bodies/"),
    ];
    for when in cases {
        let (dir, left) = (temp(), temp());
        let storage = Killed::on(super::writing::full_disk(24 * 1024), dir.path(), left.path(), when);
        runtime().block_on(async {
            let small = LogOptions { segment_bytes: 4096, ..options(dir.path()) };
            let log = DecisionLog::open_on(storage, small).expect("opens");
            let begun = Instant::now();
            while !left.path().join("checkpoint").exists() {
                log.append(entry_of("x", "x", 0, ""), soon()).await.expect("the oldest make room");
                assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", log.health());
            }
            log.close("test").await.expect("closes");
        });
        verified(dir.path());
        grow(options(left.path()), 1);
        let report = check(left.path(), &[]);
        assert_eq!((report.findings, report.bodies.untold), (vec![], 0));
        let text = fs::read_to_string(left.path().join("holds")).expect("read");
        assert!(!text.contains("owed"), "what is on record is owed no longer: {text}");
    }
}

#[test]
fn an_erasure_that_was_killed_is_ended_by_the_next_start() {
    let (dir, left) = (temp(), temp());
    let storage = Killed::on(Disk, dir.path(), left.path(), |what, _| what == "renaming");
    runtime().block_on(async {
        let log = DecisionLog::open_on(storage, options(dir.path())).expect("opens");
        for user in ["a", "b"] {
            log.append(entry_of(user, "a", 0, "x"), soon()).await.expect("appends");
        }
        let erasure = Erasure { selection: of_user("a"), ..Erasure::default() };
        let erased = tokio::task::block_in_place(|| log.erase(&erasure, &author())).expect("erases");
        assert_eq!(erased.bodies, 1);
        log.close("test").await.expect("closes");
    });
    assert_eq!(verified(dir.path()), (1, 0, 1));
    // It is on record and not done.
    assert_eq!(prunes(left.path()).len(), 1);
    let report = check(left.path(), &[]);
    assert_eq!(codes(&report), [FindingCode::NotErased], "{:?}", report.findings);
    grow(options(left.path()), 1);
    assert_eq!(verified(left.path()), (2, 0, 1));
    // A draft that no record tells of holds bodies, and goes.
    let draft = left.path().join("bodies/00000000000000000000.erasing");
    fs::write(&draft, "{}\n").expect("written");
    grow(options(left.path()), 1);
    assert!(!draft.exists());
    assert_eq!(verified(left.path()), (3, 0, 1));
}

#[test]
fn names_and_numbers_of_any_size_are_told_at_once() {
    let dir = temp();
    grow(options(dir.path()), 3);
    let harmed = |harm: &dyn Fn(&Path)| {
        let victim = temp();
        copy(dir.path(), victim.path());
        harm(victim.path());
        codes(&check_of(victim.path(), &[]))
    };
    let segment = |dir: &Path, seq: u64| dir.join(format!("{seq:020}.jsonl"));
    for far in [1_000_000_000, 1_000_000_000_000, 10_000_000_000_000_000_000] {
        let found = harmed(&|dir| {
            fs::copy(segment(dir, 0), segment(dir, far)).expect("copied");
        });
        assert!(found.contains(&FindingCode::Missing), "{found:?}");
        let found = harmed(&|dir| fs::rename(segment(dir, 0), segment(dir, far)).expect("renamed"));
        assert!(found.contains(&FindingCode::Unexplained), "{found:?}");
        let found = harmed(&|dir| {
            let text = fs::read_to_string(dir.join("checkpoint")).expect("read");
            fs::write(dir.join("checkpoint"), text.replacen("\n5\n", &format!("\n{far}\n"), 1)).expect("written");
        });
        assert!(found.contains(&FindingCode::Truncated), "{found:?}");
    }
    let pipe = segment(dir.path(), 9);
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|s| s.success()));
    let options = VerifyOptions { dir: dir.path().to_path_buf(), keys: Vec::new(), anchors: Vec::new() };
    assert!(verify(&options, &mut |_| {}).expect_err("is refused").to_string().contains("no file"));
}

#[test]
fn a_second_body_and_a_stale_tile_are_found() {
    let dir = temp();
    grow(options(dir.path()), 3);
    let bodies = segment_files(&dir.path().join("bodies")).into_iter().next().expect("one");
    let text = fs::read_to_string(&bodies).expect("read");
    let first = text.lines().next().expect("one");
    // The same twice is what a write leaves that failed half way.
    fs::write(&bodies, format!("{text}{first}\n")).expect("written");
    assert_eq!(check(dir.path(), &[]).findings, []);
    let body: Value = serde_json::from_str(first).expect("JSON");
    let (id, other) = (body["decision_id"].as_str().expect("an id"), text.lines().nth(1).expect("two"));
    let other_id: Value = serde_json::from_str(other).expect("JSON");
    let second = other.replace(other_id["decision_id"].as_str().expect("an id"), id);
    for text in [format!("{second}\n{text}"), format!("{text}{second}\n")] {
        fs::write(&bodies, text).expect("written");
        assert!(codes(&check(dir.path(), &[])).contains(&FindingCode::NoBody));
    }
    fs::write(&bodies, text).expect("written");
    let tile = dir.path().join("tile/0/000.p/2");
    fs::write(&tile, [7; 64]).expect("written");
    assert_eq!(codes(&check(dir.path(), &[])), [FindingCode::Tile]);
    let whole = fs::read(dir.path().join("tile/0/000.p/5")).expect("read");
    fs::write(&tile, &whole[..64]).expect("written");
    assert_eq!(check(dir.path(), &[]).findings, []);
    assert_eq!(key().name(), "test/r-0");
}

/// Whoever can write a line cannot make the records before it doubtful.
#[test]
fn a_start_that_nobody_signed_takes_nothing_over() {
    let dir = temp();
    runtime().block_on(async {
        let log = filled(options(dir.path()), &["a", "held", "b"]).await;
        log.place_hold(hold("case", of_user("a")), &author()).expect("is placed");
        log.release_hold("case", &author()).expect("is released");
        log.place_hold(hold("case", of_user("held")), &author()).expect("is placed");
        let now = jiff::Timestamp::now();
        tokio::task::block_in_place(|| log.prune_older(None, Some(now), &author())).expect("prunes");
        log.close("test").await.expect("closes");
    });
    let newest = fs::read_to_string(segment_files(dir.path()).pop().expect("a segment")).expect("read");
    let newest: Value = serde_json::from_str(newest.lines().last().expect("a record")).expect("JSON");
    let end = newest["seq"].as_u64().expect("a number") + 1;
    let start = r#""durability":"flush","after_crash":false,"unsigned":"#;
    forged(dir.path(), end, "start", &format!("{start}1000000000000000"));
    forged(dir.path(), end + 1, "start", &format!("{start}{}", u64::MAX));
    forged(dir.path(), end + 2, "gap", &format!(r#""from":"x","to":"x","count":{},"reason":"x""#, u64::MAX));
    forged(dir.path(), end + 3, "gap", &format!(r#""from":"x","to":"x","count":{},"reason":"x""#, u64::MAX));
    fs::remove_file(dir.path().join("holds")).expect("removed");
    for _ in 0..2 {
        assert_eq!(holds(dir.path()).expect("read").first().map(|h| h.selection.clone()), Some(of_user("held")));
        grow(options(dir.path()), 1);
        let report = check(dir.path(), &[]);
        assert_eq!((report.findings, report.taken_over), (vec![], 4));
    }
    // A number that nothing comes after is no record's.
    let file = segment_files(dir.path()).pop().expect("one");
    let before = fs::read_to_string(&file).expect("read");
    forged(dir.path(), u64::MAX, "stop", r#""reason":"x""#);
    grow(options(dir.path()), 1);
    assert!(fs::read_to_string(&file).expect("read").starts_with(&before));
    assert_eq!(check(dir.path(), &[]).findings, []);
}

#[test]
fn a_rotation_that_was_killed_can_be_taken_back() {
    let (dir, left) = (temp(), temp());
    grow(options(dir.path()), 3);
    let new = LogOptions { signing_seed: SigningSeed::from_bytes([6; 32]), ..options(dir.path()) };
    let storage = Killed::on(Disk, dir.path(), left.path(), |what, path| what == "replaced" && path.ends_with("holds"));
    runtime().block_on(async {
        DecisionLog::open_on(storage, new).expect("opens").close("test").await.expect("closes");
    });
    assert_eq!(fs::read_to_string(left.path().join("keys")).expect("read").lines().count(), 2);
    assert!(codes(&check(left.path(), &[])).contains(&FindingCode::UnsignedTail));
    grow(options(left.path()), 1);
    assert_eq!(check(left.path(), &[]).findings, []);
    assert_eq!(fs::read_to_string(left.path().join("keys")).expect("read").lines().count(), 1);
}

#[test]
fn a_hand_over_outlives_the_next_rotation() {
    let (dir, left) = (temp(), temp());
    grow(options(dir.path()), 3);
    let seed = |n| SigningSeed::from_bytes([n; 32]);
    let second = LogOptions { signing_seed: seed(6).replacing(&seed(5)), ..options(dir.path()) };
    // The hand-over is there, and no later checkpoint.
    let storage = Killed::on(Disk, dir.path(), left.path(), |what, path| {
        what == "replaced"
            && path.to_string_lossy().contains("/checkpoints/")
            && fs::read_to_string(path).is_ok_and(|text| text.contains("next-key"))
    });
    runtime().block_on(async {
        DecisionLog::open_on(storage, second).expect("opens").close("test").await.expect("closes");
    });
    assert_eq!(check(left.path(), &[]).findings, []);
    grow(LogOptions { signing_seed: seed(7).replacing(&seed(6)), ..options(left.path()) }, 1);
    let report = check(left.path(), &[]);
    assert_eq!((report.findings, report.hand_overs.len()), (vec![], 2));
}

#[test]
fn what_a_full_disk_took_is_explained_while_it_is_full() {
    let (dir, left) = (temp(), temp());
    let storage = Killed::on(super::writing::full_disk(24 * 1024), dir.path(), left.path(), |what, path| {
        what == "removed" && is_segment(path)
    });
    runtime().block_on(async {
        let small = LogOptions { segment_bytes: 4096, ..options(dir.path()) };
        let log = DecisionLog::open_on(storage, small).expect("opens");
        let begun = Instant::now();
        while !left.path().join("checkpoint").exists() {
            log.append(entry_of("x", "x", 0, ""), soon()).await.expect("the oldest make room");
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", log.health());
        }
        log.close("test").await.expect("closes");
    });
    let report = check(left.path(), &[]);
    let found = codes(&report);
    assert!(found.iter().all(|code| *code == FindingCode::UnsignedTail), "{:?}", report.findings);
    assert!(report.first_seq > 0, "a segment is gone");
}

#[test]
fn a_deletion_that_was_killed_is_ended_or_told_of_as_before() {
    // A whole segment: on record as gone, so it goes before anybody can hold it.
    let (dir, left) = (temp(), temp());
    let storage = Killed::on(Disk, dir.path(), left.path(), |what, path| what == "removing" && is_segment(path));
    let now = jiff::Timestamp::now();
    runtime().block_on(async {
        let log = DecisionLog::open_on(storage, LogOptions { segment_bytes: 1, ..options(dir.path()) }).expect("opens");
        for user in ["a", "b", "c"] {
            log.append(entry_of(user, user, 3600, user), soon()).await.expect("appends");
        }
        tokio::task::block_in_place(|| log.prune_older(None, Some(now), &author())).expect("prunes");
        log.close("test").await.expect("closes");
    });
    let going = left.path().join(format!("{:020}.jsonl", 1));
    assert!(going.exists());
    runtime().block_on(async {
        let log = DecisionLog::open(options(left.path())).expect("opens");
        assert!(!going.exists());
        log.place_hold(hold("all", portcullis::decisions::Selection::default()), &author()).expect("is placed");
        log.close("test").await.expect("closes");
    });
    assert_eq!(check(left.path(), &[]).findings, []);
    // Bodies with an erased one among them: the record of the erasure may go first.
    let (dir, left) = (temp(), temp());
    let storage = Killed::on(Disk, dir.path(), left.path(), |what, path| {
        what == "removing" && path.ends_with("00000000000000000000.jsonl")
    });
    runtime().block_on(async {
        let log = DecisionLog::open_on(storage, options(dir.path())).expect("opens");
        for user in ["a", "b"] {
            log.append(entry_of(user, "a", 3600, "x"), soon()).await.expect("appends");
        }
        let erasure = Erasure { selection: of_user("a"), ..Erasure::default() };
        tokio::task::block_in_place(|| log.erase(&erasure, &author())).expect("erases");
        let later = jiff::Timestamp::now();
        tokio::task::block_in_place(|| log.prune_older(Some(later), None, &author())).expect("prunes");
        log.close("test").await.expect("closes");
    });
    runtime().block_on(async {
        let log = DecisionLog::open(LogOptions { segment_bytes: 1, ..options(left.path()) }).expect("opens");
        log.place_hold(hold("b", of_user("b")), &author()).expect("is placed");
        log.append(entry_of("c", "c", 3600, "c"), soon()).await.expect("appends");
        let later = jiff::Timestamp::now();
        tokio::task::block_in_place(|| log.prune_older(None, Some(later), &author())).expect("prunes");
        log.close("test").await.expect("closes");
    });
    assert_eq!(check(left.path(), &[]).findings, []);
}

#[test]
fn what_is_no_file_is_not_read() {
    let dir = temp();
    grow(options(dir.path()), 3);
    for name in ["checkpoint", "keys", "holds", "tile/0/000.p/5"] {
        let victim = temp();
        copy(dir.path(), victim.path());
        let path = victim.path().join(name);
        fs::remove_file(&path).expect("removed");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().is_ok_and(|s| s.success()));
        assert!(!check(victim.path(), &[]).findings.is_empty(), "{name}");
    }
    // Nor does a name that no server gives hold anything.
    let end = killed(dir.path());
    let place = r#""action":"place","name":"a\u0000b","selection":{},"reason":"r","by":"b","placed":"p""#;
    forged(dir.path(), end, "hold", place);
    fs::write(dir.path().join(format!("{}.jsonl", u64::MAX)), "{}\n").expect("written");
    runtime().block_on(async {
        let log = DecisionLog::open(options(dir.path())).expect("opens");
        assert!(log.holds().is_empty());
        log.close("test").await.expect("closes");
    });
    assert_eq!(check(dir.path(), &[]).findings, []);
}

/// Holds are in force at every moment of a start that begins another log in place of a damaged one.
#[test]
fn holds_outlive_a_kill_while_a_damaged_log_is_set_aside() {
    let moments: [fn(&str, &Path) -> bool; 3] = [
        // Everything is moved, nothing is written.
        |what, path| what == "replaced" && path.ends_with("keys"),
        // The new log has its first record, or none.
        |what, path| what == "replaced" && path.ends_with("holds") && !path.to_string_lossy().contains("damaged"),
        |what, path| what == "replaced" && path.ends_with("checkpoint"),
    ];
    for (moment, when) in moments.into_iter().enumerate() {
        // With the copy of the checkpoint beside it.
        let (dir, left) = (temp(), temp());
        let of = |dir: &Path| LogOptions { checkpoint_copy: Some(dir.join("copy")), ..options(&dir.join("log")) };
        let log_of = |dir: &tempfile::TempDir| dir.path().join("log");
        runtime().block_on(async {
            let log = filled(of(dir.path()), &["a", "held", "b"]).await;
            log.place_hold(hold("case", of_user("held")), &author()).expect("is placed");
            log.close("test").await.expect("closes");
        });
        let file = segment_files(&log_of(&dir)).into_iter().nth(2).expect("one");
        fs::write(&file, fs::read_to_string(&file).expect("read").replace("held", "other")).expect("written");
        fs::remove_dir_all(log_of(&dir).join("tile")).expect("removed");
        let storage = Killed::on(Disk, dir.path(), left.path(), when);
        runtime().block_on(async {
            let log = DecisionLog::open_on(storage, of(dir.path())).expect("opens");
            assert_eq!(log.holds().len(), 1);
            log.close("test").await.expect("closes");
            assert!(log_of(&left).join("damaged").exists(), "{moment}");
            let log = DecisionLog::open(of(left.path())).expect("opens");
            assert_eq!(log.holds().first().map(|h| h.name.clone()).as_deref(), Some("case"), "{moment}");
            log.close("test").await.expect("closes");
        });
        fs::remove_file(log_of(&left).join("holds")).expect("removed");
        assert_eq!(holds(&log_of(&left)).expect("read").len(), 1, "they are records now");
    }
}
