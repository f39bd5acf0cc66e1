//! What is kept and what goes: periods, legal holds and erasure; what is left of the log must stay what was signed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portcullis::decisions::{
    Author, BodyState, DecisionLog, DecisionMeta, Entry, Erasure, Filter, HoldRequest, LogError, LogOptions, LogReader,
    PruneRecord, Record, RecordType, Report, Retention, Selection, VerifyOptions, holds, prove, verify,
};
use serde_json::{Value, json};

use super::{allowed, masker, meta, options, records, review, runtime, segment_files, soon, types};

pub(super) fn temp() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// A decision on a Pod of `user` in `namespace` that was made `ago` seconds ago; its body says `said`.
pub(super) fn entry_of(user: &str, namespace: &str, ago: i64, said: &str) -> Entry {
    let request = review(json!({
        "uid": "u-1", "operation": "CREATE", "namespace": namespace, "name": "thing",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "userInfo": {"username": user, "groups": ["devs"]},
        "object": {"kind": "Pod", "metadata": {"annotations": {"owner": said}}},
    }));
    let timestamp = Timestamp::from_second(Timestamp::now().as_second() - ago).expect("a time");
    Entry::decision(&DecisionMeta { timestamp, ..meta() }, &request, &allowed(), &masker())
}

pub(super) fn author() -> Author {
    Author { by: "uid 1000 (olga)".to_owned(), ticket: Some("LEGAL-7".to_owned()), note: Some("asked".to_owned()) }
}

pub(super) fn hold(name: &str, selection: Selection) -> HoldRequest {
    HoldRequest { name: name.to_owned(), selection, reason: "a case".to_owned() }
}

pub(super) fn of_namespace(namespace: &str) -> Selection {
    Selection { namespaces: vec![namespace.to_owned()], ..Selection::default() }
}

pub(super) fn of_user(user: &str) -> Selection {
    Selection { users: vec![user.to_owned()], ..Selection::default() }
}

/// Fails unless the log is what was signed.
fn checked(dir: &Path) -> Report {
    let options = VerifyOptions { dir: dir.to_path_buf(), keys: Vec::new(), anchors: Vec::new() };
    let report = verify(&options, &mut |_| {}).expect("can be read");
    assert_eq!(report.findings, []);
    report
}

/// Fails unless the log is what was signed and its readers miss nothing; gives how many bodies are (intact, deleted,
/// erased).
pub(super) fn verified(dir: &Path) -> (u64, u64, u64) {
    let report = checked(dir);
    let reader = LogReader::open(dir).expect("opens");
    let flaws = reader.for_each(&Filter::default(), |_| std::ops::ControlFlow::Continue(())).expect("reads");
    assert_eq!(flaws, portcullis::decisions::Flaws::default(), "readers miss records");
    let bodies = report.bodies;
    (bodies.intact, bodies.deleted, bodies.erased)
}

pub(super) fn prunes(dir: &Path) -> Vec<PruneRecord> {
    all(dir).iter().filter_map(Record::prune).collect()
}

/// Records as they are, also where some between are gone.
fn all(dir: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    for file in segment_files(dir) {
        // It may be deleted while we look, and its last line may be half written.
        let Ok(text) = fs::read_to_string(file) else { continue };
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let json: Value = serde_json::from_str(line).expect("JSON");
            let errors: Vec<String> = super::SCHEMA.iter_errors(&json).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{errors:#?} in {line}");
            records.push(Record::parse(line).expect("a record"));
        }
    }
    records
}

/// Who asked for what is left.
pub(super) fn users(dir: &Path) -> BTreeSet<String> {
    all(dir).iter().filter_map(|r| Some(r.decision()?.request.user.username)).collect()
}

/// Waits until `done`, at most for ten seconds.
pub(super) async fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Decisions of these users, each in a segment of its own, of an hour ago.
pub(super) async fn filled(options: LogOptions, users: &[&str]) -> DecisionLog {
    let log = DecisionLog::open(LogOptions { segment_bytes: 1, ..options }).expect("opens");
    for user in users {
        log.append(entry_of(user, user, 3600, user), soon()).await.expect("appends");
    }
    log
}

const MINUTE: Duration = Duration::from_secs(60);

fn keep(bodies: Option<Duration>, records: Option<Duration>, dir: &Path) -> LogOptions {
    LogOptions { retention: Retention { bodies, records }, ..options(dir) }
}

#[test]
fn bodies_go_by_segment_when_the_last_is_old_enough() {
    let dir = temp();
    runtime().block_on(async {
        let log = DecisionLog::open(keep(Some(MINUTE), None, dir.path())).expect("opens");
        // One segment: an old body waits for the young one beside it.
        log.append(entry_of("old", "a", 3600, ""), soon()).await.expect("appends");
        log.append(entry_of("young", "a", 0, ""), soon()).await.expect("appends");
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(log.health().pruned, 0);
        log.close("test").await.expect("closes");
    });
    assert_eq!(verified(dir.path()), (2, 0, 0));
    let dir = temp();
    runtime().block_on(async {
        let log = filled(keep(Some(MINUTE), None, dir.path()), &["a", "b", "c"]).await;
        log.append(entry_of("young", "a", 0, ""), soon()).await.expect("appends");
        wait("bodies are deleted", || log.health().pruned >= 3).await;
        log.close("test").await.expect("closes");
    });
    let prunes = prunes(dir.path());
    // The `start` record is of now: only the decisions' segments are old.
    let told: Vec<(&str, &str, u64)> = prunes.iter().map(|p| (&*p.what, &*p.reason, p.first_seq)).collect();
    assert_eq!(told, [("bodies", "retention", 1), ("bodies", "retention", 2), ("bodies", "retention", 3)]);
    assert_eq!(verified(dir.path()), (1, 3, 0));
    records(dir.path());
    // Each deletion is on record. One that is not breaks nothing, and is told.
    let untold = || checked(dir.path()).bodies.untold;
    assert_eq!(untold(), 0);
    for file in segment_files(&dir.path().join("bodies")) {
        fs::remove_file(file).expect("removed");
    }
    assert_eq!((verified(dir.path()), untold()), ((0, 4, 0), 1));
}

#[test]
fn records_go_with_their_bodies_and_the_rest_can_still_be_proven() {
    let dir = temp();
    let young = entry_of("young", "a", 0, "");
    let id = young.decision_id().to_string();
    runtime().block_on(async {
        let log = filled(keep(None, Some(MINUTE), dir.path()), &["a", "b", "c"]).await;
        log.append(young, soon()).await.expect("appends");
        wait("segments are deleted", || prunes(dir.path()).iter().filter(|p| p.what == "segment").count() == 3).await;
        log.close("test").await.expect("closes");
    });
    assert_eq!(verified(dir.path()), (1, 0, 0));
    assert_eq!(users(dir.path()), BTreeSet::from(["young".to_owned()]));
    let reader = LogReader::open(dir.path()).expect("opens");
    let portcullis::decisions::Found::One(record) = reader.find(&id).expect("reads") else { panic!("it is there") };
    // Within a time that is up nobody can say that it is not.
    assert_eq!(reader.find_until("none", Some(Instant::now())).expect("reads"), None);
    let proof = prove(dir.path(), &record).expect("a proof");
    let keys = portcullis::decisions::log_keys(dir.path()).expect("keys");
    proof.verify(record.line.as_bytes(), &keys).expect("is valid");
}

#[test]
fn a_log_that_nobody_writes_to_ends_its_segment_by_age() {
    let dir = temp();
    // The first record of the segment is old: it was written by an earlier run.
    runtime().block_on(async {
        let log = DecisionLog::open(options(dir.path())).expect("opens");
        log.close("test").await.expect("closes");
    });
    let segment = segment_files(dir.path()).pop().expect("one");
    runtime().block_on(async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let log = DecisionLog::open(keep(None, Some(Duration::from_secs(1)), dir.path())).expect("opens");
        wait("the segment is deleted", || !segment.exists()).await;
        log.close("test").await.expect("closes");
    });
    verified(dir.path());
}

#[test]
fn what_is_held_goes_neither_by_age_nor_for_room() {
    let dir = temp();
    runtime().block_on(async {
        let log = filled(options(dir.path()), &["a", "held", "b", "c"]).await;
        log.place_hold(hold("case", of_user("held")), &author()).expect("is placed");
        log.close("test").await.expect("closes");
        // Another run: holds survive it.
        let log = filled(keep(None, Some(MINUTE), dir.path()), &["d"]).await;
        assert_eq!(log.holds()[0].name, "case");
        let gone = || prunes(dir.path()).iter().filter(|p| p.what == "segment").count();
        wait("the others are deleted", || gone() == 4).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(gone(), 4);
        log.close("test").await.expect("closes");
    });
    assert_eq!(users(dir.path()), BTreeSet::from(["held".to_owned()]));
    assert_eq!(verified(dir.path()), (1, 0, 0), "what is missing between is explained");
    let newest = prunes(dir.path()).pop().expect("one");
    assert!(newest.gone.len() > 1, "{newest:?}");
    runtime().block_on(async {
        // For room: what is held alone is more than the bound, and stays.
        let log = DecisionLog::open(LogOptions { max_bytes: 64 << 10, ..options(dir.path()) }).expect("opens");
        log.append(entry_of("held", "a", 0, &"large ".repeat(20_000)), soon()).await.expect("appends");
        let begun = Instant::now();
        while log.health().held_over == 0 {
            log.append(entry_of("e", "e", 0, ""), soon()).await.expect("a full log locks nobody out");
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", log.health());
        }
        log.release_hold("case", &author()).expect("is released");
        wait("it goes", || log.health().bytes <= 64 << 10 && log.health().held_over == 0).await;
        log.close("test").await.expect("closes");
    });
    verified(dir.path());
}

#[test]
fn a_full_disk_does_not_take_what_is_held() {
    let dir = temp();
    runtime().block_on(async {
        let log = filled(options(dir.path()), &["held"]).await;
        log.place_hold(hold("all", Selection::default()), &author()).expect("is placed");
        log.close("test").await.expect("closes");
        let storage = super::writing::full_disk(8 * 1024);
        let log =
            DecisionLog::open_on(storage, LogOptions { segment_bytes: 2048, ..options(dir.path()) }).expect("opens");
        let mut failed = None;
        for _ in 0..100 {
            if let Err(error) = log.append(entry_of("x", "x", 0, ""), soon()).await {
                failed = Some(error);
                break;
            }
        }
        assert!(failed.expect("the disk is full").is_full_disk());
        assert!(!log.health().writable);
        drop(log);
    });
    assert!(prunes(dir.path()).is_empty());
    assert!(users(dir.path()).contains("held"));
}

#[test]
fn holds_are_records_and_outlive_their_file_and_the_segments_that_state_them() {
    let dir = temp();
    let both = || holds(dir.path()).unwrap_or_default().into_iter().map(|h| h.name).collect::<Vec<_>>();
    runtime().block_on(async {
        let log = filled(options(dir.path()), &["a"]).await;
        let placed = log.place_hold(hold("one", of_namespace("tenant-*")), &author()).expect("is placed");
        assert_eq!((placed.by.as_str(), placed.ticket.as_str()), ("uid 1000 (olga)", "LEGAL-7"));
        log.place_hold(hold("two", of_user("x")), &author()).expect("is placed");
        for wrong in
            [hold("one", Selection::default()), hold("", Selection::default()), hold("a b", Selection::default())]
        {
            assert!(matches!(log.place_hold(wrong, &author()), Err(LogError::Hold { .. })));
        }
        let error = log.release_hold("three", &author()).expect_err("there is none");
        assert!(error.to_string().contains("one, two"), "{error}");
        log.close("test").await.expect("closes");
    });
    assert_eq!(both(), ["one", "two"]);
    let signed = fs::read_to_string(dir.path().join("holds")).expect("read");
    for damage in [None, Some("{".to_owned()), Some(signed.replace("\"two\"", "\"too\""))] {
        match damage {
            None => fs::remove_file(dir.path().join("holds")).expect("removed"),
            Some(text) => {
                fs::write(dir.path().join("holds"), text).expect("written");
                let options = VerifyOptions { dir: dir.path().to_path_buf(), keys: Vec::new(), anchors: Vec::new() };
                assert_eq!(verify(&options, &mut |_| {}).expect("read").findings.len(), 1);
            }
        }
        assert_eq!(both(), ["one", "two"], "from the records");
    }
    runtime().block_on(async {
        // Everything that is sealed goes, also the records that stated the holds.
        let log = DecisionLog::open(LogOptions { segment_bytes: 1, ..options(dir.path()) }).expect("opens");
        tokio::task::spawn_blocking({
            let log = log.clone();
            move || log.prune_older(None, Some(Timestamp::now()), &author()).expect("prunes")
        })
        .await
        .expect("ends");
        log.close("test").await.expect("closes");
    });
    let stated: Vec<String> =
        all(dir.path()).iter().filter_map(Record::hold).map(|h| format!("{:?} {}", h.action, h.name)).collect();
    assert_eq!(stated, ["Restate one", "Restate two"]);
    fs::remove_file(dir.path().join("holds")).expect("removed");
    assert_eq!(both(), ["one", "two"]);
    verified(dir.path());
    runtime().block_on(async {
        let log = DecisionLog::open(options(dir.path())).expect("opens");
        log.release_hold("one", &author()).expect("is released");
        // A log that is begun in place of this one has the holds too.
        let moved = dir.path().with_extension("moved");
        fs::rename(dir.path(), &moved).expect("moved");
        wait("it is begun anew", || both() == ["two"]).await;
        log.close("test").await.expect("closes");
        fs::remove_dir_all(moved).expect("removed");
    });
    assert!(types(&records(dir.path())).contains(&"hold"));
}

#[test]
fn an_erasure_takes_the_bodies_of_one_subject_and_says_so() {
    let dir = temp();
    runtime().block_on(async {
        let log = DecisionLog::open(LogOptions { segment_bytes: 8 * 1024, ..options(dir.path()) }).expect("opens");
        for n in 0..12 {
            let (user, said) =
                if n % 3 == 0 { ("eve", "her own") } else { ("bob", if n == 4 { "eve's" } else { "his" }) };
            log.append(entry_of(user, "shop", 0, said), soon()).await.expect("appends");
        }
        let erase = async |erasure: Erasure| {
            let log = log.clone();
            tokio::task::spawn_blocking(move || log.erase(&erasure, &author())).await.expect("ends")
        };
        let hers = Erasure { selection: of_user("eve"), ..Erasure::default() };
        let counted = erase(Erasure { dry_run: true, ..hers.clone() }).await.expect("counts");
        assert_eq!((counted.decisions, counted.bodies), (4, 0));
        assert!(matches!(erase(Erasure::default()).await, Err(LogError::Erasure { .. })), "everybody is nobody");

        let held = log.place_hold(hold("case", of_namespace("shop")), &author()).expect("is placed");
        let error = erase(hers.clone()).await.expect_err("it is held");
        assert!(matches!(&error, LogError::Held { name, .. } if *name == held.name), "{error}");
        log.release_hold("case", &author()).expect("is released");

        let erased = erase(hers.clone()).await.expect("erases");
        assert_eq!((erased.decisions, erased.bodies), (4, 4));
        assert_eq!(erase(hers.clone()).await.expect("again").bodies, 0, "it is done once");
        let mentioned = Erasure { mentions: vec!["eve's".to_owned()], ..hers };
        assert_eq!(erase(mentioned).await.expect("erases").bodies, 1);
        log.close("test").await.expect("closes");
    });
    assert_eq!(verified(dir.path()), (7, 0, 5));
    let (bodies, reader) = (super::all_bytes(&dir.path().join("bodies")), LogReader::open(dir.path()).expect("opens"));
    assert!(!bodies.contains("her own") && !bodies.contains("eve"), "nothing of hers is left in a body");
    for record in records(dir.path()).iter().filter(|r| r.head.r#type == RecordType::Decision) {
        let decision = record.decision().expect("one");
        let state = reader.body(record, &decision).expect("reads");
        let gone = decision.request.user.username == "eve" || state == BodyState::Erased;
        assert_eq!(state == BodyState::Erased, gone, "{state:?}");
        prove(dir.path(), record).expect("can still be proven");
    }
    let told = prunes(dir.path());
    assert!(told.iter().all(|p| p.what == "body" && p.reason == "erasure"), "{told:?}");
    assert!(told.iter().all(|p| p.ticket.as_deref() == Some("LEGAL-7") && p.by.as_deref() == Some("uid 1000 (olga)")));
    assert_eq!(told.iter().map(|p| p.count).sum::<u64>(), 5);
    assert!(
        !told.iter().any(|p| serde_json::to_string(p).expect("JSON").contains("eve")),
        "whose they were is not repeated"
    );
}

#[test]
fn a_body_that_is_only_said_to_be_erased_is_found() {
    let dir = temp();
    runtime().block_on(async {
        let log = filled(options(dir.path()), &["eve", "bob"]).await;
        log.close("test").await.expect("closes");
    });
    let file = segment_files(&dir.path().join("bodies"))
        .into_iter()
        .find(|f| fs::read_to_string(f).expect("read").contains("eve"))
        .expect("a body");
    let line: Value = serde_json::from_str(fs::read_to_string(&file).expect("read").trim()).expect("JSON");
    fs::write(&file, format!("{{\"decision_id\":{},\"erased\":true}}\n", line["decision_id"])).expect("written");
    let options = VerifyOptions { dir: dir.path().to_path_buf(), keys: Vec::new(), anchors: Vec::new() };
    let report = verify(&options, &mut |_| {}).expect("can be read");
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].code.as_str(), "body_missing");
    assert!(report.findings[0].message.contains("marked as erased"), "{:?}", report.findings);
}

#[test]
fn a_segment_in_the_middle_that_no_record_explains_is_found() {
    let dir = temp();
    runtime().block_on(async {
        let log = filled(options(dir.path()), &["a", "b", "c"]).await;
        log.close("test").await.expect("closes");
    });
    fs::remove_file(&segment_files(dir.path())[2]).expect("removed");
    let options = VerifyOptions { dir: dir.path().to_path_buf(), keys: Vec::new(), anchors: Vec::new() };
    let report = verify(&options, &mut |_| {}).expect("can be read");
    let found: Vec<(&str, Option<u64>)> = report.findings.iter().map(|f| (f.code.as_str(), f.seq)).collect();
    assert_eq!(found, [("missing", Some(2))]);
}

#[test]
fn an_erasure_that_was_recorded_is_explained_also_when_its_record_is_gone() {
    let dir = temp();
    runtime().block_on(async {
        let log = filled(options(dir.path()), &["eve", "kept", "b"]).await;
        let on = async |work: fn(&DecisionLog)| {
            let log = log.clone();
            tokio::task::spawn_blocking(move || work(&log)).await.expect("ends");
        };
        on(|log| {
            assert_eq!(
                log.erase(&Erasure { selection: of_user("eve"), ..Erasure::default() }, &author())
                    .expect("erases")
                    .bodies,
                1
            );
        })
        .await;
        on(|log| drop(log.place_hold(hold("case", of_user("eve")), &author()).expect("is placed"))).await;
        on(|log| drop(log.prune_older(None, Some(Timestamp::now()), &author()).expect("prunes"))).await;
        on(|log| drop(log.prune_older(None, Some(Timestamp::now()), &author()).expect("prunes"))).await;
        log.close("test").await.expect("closes");
    });
    assert!(!prunes(dir.path()).iter().any(|p| p.what == "body"), "the record of the erasure is gone");
    assert_eq!(verified(dir.path()), (0, 0, 1));
}
