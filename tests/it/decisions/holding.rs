//! What could be under a legal hold stays: at the edges of segments, where records leave things out, when the log itself
//! is lost. And erasures and deletions that meet one another, answers, or a disk that is full.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use portcullis::decisions::{
    DecisionLog, DecisionMeta, Entry, Erasure, Filter, LogError, LogOptions, LogReader, Masker, Selection, SigningSeed,
    holds,
};
use portcullis::engine::Decision;
use serde_json::json;

use super::keeping::{author, entry_of, filled, hold, of_namespace, of_user, prunes, temp, users, verified, wait};
use super::{
    allowed, denied, key, masker, meta, options, records, review, runtime, segment_files, soon, types, violation,
};

/// Does what waits for the writer off the threads of the runtime.
async fn aside<T: Send + 'static>(log: &DecisionLog, work: impl FnOnce(&DecisionLog) -> T + Send + 'static) -> T {
    let log = log.clone();
    tokio::task::spawn_blocking(move || work(&log)).await.expect("ends")
}

/// A decision on a Pod with this user, in a segment of its own.
fn entry_with(user: serde_json::Value, decision: &Decision, masker: &Masker) -> Entry {
    let request = review(json!({
        "uid": "u-1", "operation": "CREATE", "namespace": "shop", "name": "thing",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "userInfo": user, "object": {"kind": "Pod"},
    }));
    let timestamp = Timestamp::now().checked_sub(SignedDuration::from_hours(1)).expect("a time");
    Entry::decision(&DecisionMeta { timestamp, ..meta() }, &request, decision, masker)
}

/// The decisions that are still there after everything older than now was deleted under a hold of `selection`, by the
/// name in `entries`.
fn kept(selection: Selection, entries: Vec<(&'static str, Entry)>) -> BTreeSet<&'static str> {
    let dir = temp();
    let ids: Vec<(&str, String)> = entries.iter().map(|(name, e)| (*name, e.decision_id().to_string())).collect();
    runtime().block_on(async {
        let log = DecisionLog::open(LogOptions { segment_bytes: 1, ..options(dir.path()) }).expect("opens");
        for (_, entry) in entries {
            log.append(entry, soon()).await.expect("appends");
        }
        aside(&log, |log| {
            log.place_hold(hold("case", selection), &author()).expect("is placed");
            log.prune_older(None, Some(Timestamp::now()), &author()).expect("prunes");
        })
        .await;
        log.close("test").await.expect("closes");
    });
    verified(dir.path());
    let left: String = segment_files(dir.path()).iter().map(|f| fs::read_to_string(f).expect("read")).collect();
    ids.into_iter().filter(|(_, id)| left.contains(id)).map(|(name, _)| name).collect()
}

#[test]
fn what_a_record_does_not_say_could_be_what_is_held() {
    let alice = || json!({"username": "alice"});
    let many: Vec<_> = (0..200).map(|n| violation(&format!("p-{n:03}"), &"long ".repeat(20))).collect();
    let of_policy = |policy: &str| Selection { policies: vec![policy.to_owned()], ..Selection::default() };
    let entries = || {
        vec![
            ("other", entry_with(alice(), &denied(vec![violation("other", "x")]), &masker())),
            ("cut", entry_with(alice(), &denied(many.clone()), &masker())),
            ("none", entry_with(alice(), &allowed(), &masker())),
        ]
    };
    assert_eq!(kept(of_policy("p-199"), entries()), ["cut"].into());
    assert_eq!(kept(of_policy("p-000"), entries()), ["cut"].into());
    assert_eq!(kept(of_policy("other"), entries()), ["cut", "other"].into(), "what was cut could be any policy");
    assert_eq!(kept(of_policy("oth*"), entries()), ["cut", "other"].into());

    // On EKS the person is in `extra`, whose values are cut too; so are long names; and an operator may mask them.
    let values: Vec<String> = (0..200).map(|n| format!("value-{n:03}-{}", "x".repeat(30))).collect();
    let extra = json!({"username": "node", "extra": {"sessionName": values}});
    let long = json!({"username": "n".repeat(5000)});
    let hides = Masker::new(key(), vec!["/request/userInfo/username".to_owned()]);
    let entries = || {
        vec![
            ("alice", entry_with(alice(), &allowed(), &masker())),
            ("bob", entry_with(json!({"username": "bob"}), &allowed(), &masker())),
            ("extra", entry_with(extra.clone(), &allowed(), &masker())),
            ("long", entry_with(long.clone(), &allowed(), &masker())),
            ("masked", entry_with(json!({"username": "carol"}), &allowed(), &hides)),
        ]
    };
    let unsaid = BTreeSet::from(["extra", "long", "masked"]);
    assert_eq!(kept(of_user("alice"), entries()), &unsaid | &["alice"].into());
    assert_eq!(kept(of_user("nobody"), entries()), unsaid);
    assert_eq!(kept(of_namespace("elsewhere"), entries()), BTreeSet::new(), "all of them say that they are not");
}

#[test]
fn an_erasure_takes_only_what_it_is_surely_about() {
    let dir = temp();
    let values: Vec<String> = (0..200).map(|n| format!("value-{n:03}-{}", "x".repeat(30))).collect();
    runtime().block_on(async {
        let log = DecisionLog::open(options(dir.path())).expect("opens");
        let extra = json!({"username": "node", "extra": {"sessionName": values}});
        log.append(entry_with(extra, &allowed(), &masker()), soon()).await.expect("appends");
        log.append(entry_with(json!({"username": "eve"}), &allowed(), &masker()), soon()).await.expect("appends");
        let erasure = || Erasure { selection: of_user("eve"), ..Erasure::default() };
        let erased = aside(&log, move |log| log.erase(&erasure(), &author())).await.expect("erases");
        assert_eq!((erased.decisions, erased.bodies), (1, 1));
        log.close("test").await.expect("closes");
    });
    assert_eq!(verified(dir.path()), (1, 0, 1));
}

/// A log whose second segment has decisions of these times, in this order.
async fn segment_of(dir: &std::path::Path, ago: &[i64]) -> DecisionLog {
    let log = DecisionLog::open(options(dir)).expect("opens");
    // An erasure begins a new segment, whatever it finds.
    let nothing = || Erasure { selection: of_user("nobody-at-all"), ..Erasure::default() };
    aside(&log, move |log| log.erase(&nothing(), &author())).await.expect("erases");
    for ago in ago {
        log.append(entry_of(&format!("ago-{ago}"), "a", *ago, ""), soon()).await.expect("appends");
    }
    aside(&log, move |log| log.erase(&nothing(), &author())).await.expect("erases");
    log
}

#[test]
fn a_hold_by_time_reaches_records_outside_the_first_and_the_last_of_their_segment() {
    // What was stamped later and written earlier, within the time that a request may take.
    for (since, until) in [(Some(3550), None), (None, Some(3650))] {
        let dir = temp();
        let moment = |ago: i64| Timestamp::from_second(Timestamp::now().as_second() - ago).expect("a time");
        let selection = Selection { since: since.map(moment), until: until.map(moment), ..Selection::default() };
        runtime().block_on(async {
            let log = segment_of(dir.path(), &[3600, 3500, 3700, 3600]).await;
            aside(&log, move |log| {
                log.place_hold(hold("case", selection), &author()).expect("is placed");
                let hour = Timestamp::now().checked_sub(SignedDuration::from_mins(30)).expect("a time");
                let pruned = log.prune_older(None, Some(hour), &author()).expect("prunes");
                assert_eq!((pruned.segments, pruned.holds), (0, vec!["case".to_owned()]));
                log.release_hold("case", &author()).expect("is released");
                let pruned = log.prune_older(None, Some(hour), &author()).expect("prunes");
                assert_eq!(pruned.segments, 1, "without the hold it goes");
            })
            .await;
            log.close("test").await.expect("closes");
        });
        verified(dir.path());
    }
}

#[test]
fn holds_outlive_the_loss_of_every_segment_while_nobody_writes() {
    // With the last checkpoint, without it, and with another key from the next start on.
    for (without, seed) in [
        (&["jsonl"][..], SigningSeed::from_bytes([5; 32])),
        (&["jsonl", "checkpoint"], SigningSeed::from_bytes([5; 32])),
        (&["jsonl"], SigningSeed::from_bytes([6; 32]).replacing(&SigningSeed::from_bytes([5; 32]))),
    ] {
        let dir = temp();
        runtime().block_on(async {
            let log = filled(options(dir.path()), &["a", "b"]).await;
            log.place_hold(hold("case", of_user("a")), &author()).expect("is placed");
            log.place_hold(hold("over", of_user("b")), &author()).expect("is placed");
            log.release_hold("over", &author()).expect("is released");
            log.close("test").await.expect("closes");
        });
        if without.contains(&"jsonl") {
            segment_files(dir.path()).iter().for_each(|file| fs::remove_file(file).expect("removed"));
        }
        if without.contains(&"checkpoint") {
            fs::remove_file(dir.path().join("checkpoint")).expect("removed");
        }
        runtime().block_on(async {
            let log = DecisionLog::open(LogOptions { signing_seed: seed, ..options(dir.path()) }).expect("opens");
            let names: Vec<String> = log.holds().iter().map(|h| h.name.clone()).collect();
            assert_eq!(names, ["case"], "{without:?}");
            log.close("test").await.expect("closes");
        });
        let stated: Vec<_> = records(dir.path()).iter().filter_map(portcullis::decisions::Record::hold).collect();
        assert_eq!(stated.len(), 1, "{stated:?}");
        // The list goes with the log: what counts are its records.
        fs::remove_file(dir.path().join("holds")).expect("removed");
        assert_eq!(holds(dir.path()).expect("read").len(), 1);
        verified(dir.path());
    }
}

/// Records of deletions are deleted in their turn: the newest one says what is gone behind what is held.
#[test]
fn what_went_behind_a_hold_stays_explained_when_its_records_are_gone() {
    let dir = temp();
    runtime().block_on(async {
        let small = LogOptions { max_bytes: 96 << 10, segment_bytes: 4096, ..options(dir.path()) };
        let log = DecisionLog::open(small).expect("opens");
        log.append(entry_of("held", "a", 0, "held"), soon()).await.expect("appends");
        log.place_hold(hold("case", of_user("held")), &author()).expect("is placed");
        for _ in 0..700 {
            log.append(entry_of("other", "a", 0, "other"), soon()).await.expect("appends");
        }
        log.close("test").await.expect("closes");
    });
    let told: Vec<_> = prunes(dir.path()).into_iter().filter(|p| p.what == "segment").collect();
    let first = told.first().expect("segments were deleted");
    let gone = told.last().and_then(|p| p.gone.iter().next()).expect("the newest says all");
    assert!(first.first_seq > gone.0, "the records of the first deletions are gone: {told:?}");
    verified(dir.path());
}

#[test]
fn two_erasures_at_once_both_take_what_they_are_about() {
    let dir = temp();
    runtime().block_on(async {
        let log = DecisionLog::open(options(dir.path())).expect("opens");
        for n in 0..400 {
            let user = ["eve", "bob", "kim", "lee"][n % 4];
            log.append(entry_of(user, "shop", 0, user), soon()).await.expect("appends");
        }
        let mut erasing = tokio::task::JoinSet::new();
        for user in ["eve", "bob", "kim"] {
            let log = log.clone();
            let erasure = Erasure { selection: of_user(user), ..Erasure::default() };
            erasing.spawn_blocking(move || log.erase(&erasure, &author()).expect("erases"));
        }
        let erased = erasing.join_all().await;
        assert!(erased.iter().all(|e| (e.decisions, e.bodies) == (100, 100)), "{erased:?}");
        log.close("test").await.expect("closes");
    });
    assert_eq!(verified(dir.path()), (100, 0, 300));
    let bodies = super::all_bytes(&dir.path().join("bodies"));
    assert!(bodies.contains("lee") && !["eve", "bob", "kim"].iter().any(|name| bodies.contains(name)));
    let left = fs::read_dir(dir.path().join("bodies")).expect("a directory").flatten();
    let left: Vec<_> = left.map(|e| e.path()).filter(|p| p.extension().is_none_or(|e| e != "jsonl")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn one_order_deletes_all_and_decisions_are_written_meanwhile() {
    let dir = temp();
    runtime().block_on(async {
        let names: Vec<String> = (0..30).map(|n| format!("user-{n}")).collect();
        let log = filled(options(dir.path()), &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let hour = Timestamp::now().checked_sub(SignedDuration::from_mins(30)).expect("a time");
        let pruning = tokio::spawn({
            let log = log.clone();
            async move { aside(&log, move |log| log.prune_older(None, Some(hour), &author()).expect("prunes")).await }
        });
        while !pruning.is_finished() {
            log.append(entry_of("young", "a", 0, ""), soon()).await.expect("appends");
        }
        let pruned = pruning.await.expect("ends");
        assert_eq!((pruned.bodies, pruned.segments), (30, 30));
        log.close("test").await.expect("closes");
    });
    assert_eq!(users(dir.path()), ["young".to_owned()].into());
    // Records of decisions stand between those of the deletions: nobody waited for all of them.
    let all: Vec<_> = LogReader::open(dir.path()).expect("opens").last(&Filter::default(), 1000).expect("reads").0;
    let kinds = types(&all);
    let between = kinds.iter().skip_while(|t| **t != "prune").take_while(|t| **t != "stop");
    let decisions_before_the_last = between.collect::<Vec<_>>();
    let last = decisions_before_the_last.iter().rposition(|t| **t == "prune").expect("one");
    assert!(decisions_before_the_last[..last].contains(&&"decision"), "{kinds:?}");
    verified(dir.path());
}

#[test]
fn records_go_only_when_they_are_signed() {
    let dir = temp();
    runtime().block_on(async {
        let log = DecisionLog::open(LogOptions { segment_bytes: 1, ..options(dir.path()) }).expect("opens");
        for round in 0..5 {
            for n in 0..round {
                log.append(entry_of(&format!("user-{n}"), "a", 0, ""), soon()).await.expect("appends");
            }
            let pruned =
                aside(&log, |log| log.prune_older(None, Some(Timestamp::now()), &author()).expect("prunes")).await;
            assert!(pruned.segments > 0, "{pruned:?}");
            // As a crash in this moment would leave it.
            let crashed = temp();
            super::proving::copy(dir.path(), crashed.path());
            let after = DecisionLog::open(options(crashed.path())).expect("opens");
            assert_eq!(*after.origin(), *log.origin(), "the tree goes on");
            after.close("test").await.expect("closes");
            verified(crashed.path());
        }
        log.close("test").await.expect("closes");
    });
}

#[test]
fn no_record_tells_of_a_deletion_that_could_not_be_vouched_for() {
    let dir = temp();
    let (storage, broken) = super::writing::no_replacing();
    runtime().block_on(async {
        let log = DecisionLog::open_on(storage, LogOptions { segment_bytes: 1, ..options(dir.path()) }).expect("opens");
        broken(true);
        log.append(entry_of("a", "a", 0, ""), soon()).await.expect("appends");
        log.append(entry_of("b", "a", 0, ""), soon()).await.expect("appends");
        let prune = |log: &DecisionLog| log.prune_older(None, Some(Timestamp::now()), &author());
        assert!(matches!(aside(&log, prune).await, Err(LogError::Io { .. })), "nothing can be signed");
        let of_segments = || prunes(dir.path()).iter().filter(|p| p.what == "segment" && p.last_seq > 0).count();
        assert_eq!(of_segments(), 0);
        assert_eq!(users(dir.path()), ["a".to_owned(), "b".to_owned()].into());
        broken(false);
        aside(&log, prune).await.expect("prunes");
        assert!(of_segments() >= 2 && users(dir.path()).is_empty());
        log.close("test").await.expect("closes");
    });
    verified(dir.path());
}

#[test]
fn what_a_full_disk_took_is_on_record_also_when_nothing_comes_after() {
    let dir = temp();
    runtime().block_on(async {
        let storage = super::writing::full_disk(24 * 1024);
        let log =
            DecisionLog::open_on(storage, LogOptions { segment_bytes: 4096, ..options(dir.path()) }).expect("opens");
        let begun = Instant::now();
        while log.health().pruned == 0 {
            log.append(entry_of("x", "x", 0, ""), soon()).await.expect("the oldest make room");
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", log.health());
        }
        let told = || prunes(dir.path()).iter().filter(|p| p.reason == "full_disk").count();
        wait("the deletion is on record", || told() > 0).await;
        log.close("test").await.expect("closes");
    });
    verified(dir.path());
}
