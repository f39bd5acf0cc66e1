//! What the log proves: every tampering is found, and single records can be shown to who has nothing but a key.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use portcullis::decisions::{
    DecisionLog, FindingCode, LogOptions, Report, SigningSeed, VerifyOptions, log_keys, verify,
};
use portcullis::tlog::{Checkpoint, InclusionProof, TlogError, VerifierKey};
use proptest::prelude::*;
use serde_json::Value;

use super::{entry, options, records, runtime, segment_files, soon};
use crate::support::server::command;

/// A closed log of 600 records, in several segments and tiles, and what it was at 300.
struct Original {
    dir: tempfile::TempDir,
    early: tempfile::TempDir,
}

static ORIGINAL: LazyLock<Original> = LazyLock::new(|| {
    let (dir, early) = (temp(), temp());
    let options = LogOptions { segment_bytes: 128 * 1024, ..options(dir.path()) };
    grow(options.clone(), 298);
    copy(dir.path(), early.path());
    grow(options, 298);
    assert!(segment_files(dir.path()).len() > 3);
    Original { dir, early }
});

pub(super) fn temp() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// So many decisions more, and a start and a stop.
pub(super) fn grow(options: LogOptions, count: usize) {
    runtime().block_on(async {
        let log = DecisionLog::open(options).expect("opens");
        let mut waiting = tokio::task::JoinSet::new();
        for entry in (0..count).map(|_| entry()) {
            let log = log.clone();
            waiting.spawn(async move { log.append(entry, soon()).await });
        }
        for outcome in waiting.join_all().await {
            outcome.expect("appends");
        }
        log.close("test").await.expect("closes");
    });
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a directory").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// A copy of the original to do harm to.
fn victim() -> tempfile::TempDir {
    let dir = temp();
    copy(ORIGINAL.dir.path(), dir.path());
    dir
}

pub(super) fn key() -> VerifierKey {
    SigningSeed::from_bytes([5; 32]).under("test/r-0").expect("a key").verifier().clone()
}

pub(super) fn check(dir: &Path, anchors: &[&Path]) -> Report {
    let anchors = anchors.iter().map(|p| p.to_path_buf()).collect();
    let options = VerifyOptions { dir: dir.to_path_buf(), keys: vec![key()], anchors };
    let mut told = 0;
    let report = verify(&options, &mut |progress| {
        assert!(progress.done >= told && progress.done <= progress.total, "{progress:?}");
        told = progress.done;
    });
    report.expect("can be read")
}

pub(super) fn codes(report: &Report) -> Vec<FindingCode> {
    report.findings.iter().map(|f| f.code).collect()
}

/// The `n`-th line of the log as `(file, lines of the file, index of the line)`.
fn line(dir: &Path, n: usize) -> (PathBuf, Vec<String>, usize) {
    let mut before = 0;
    for file in segment_files(dir) {
        let text = fs::read_to_string(&file).expect("UTF-8");
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if n < before + lines.len() {
            return (file, lines, n - before);
        }
        before += lines.len();
    }
    panic!("no line {n}");
}

fn put(file: &Path, lines: &[String]) {
    fs::write(file, lines.iter().map(|l| format!("{l}\n")).collect::<String>()).expect("written");
}

#[test]
fn a_log_that_nobody_touched_is_verified() {
    let report = check(ORIGINAL.dir.path(), &[&ORIGINAL.early.path().join("checkpoint")]);
    assert_eq!(report.findings, []);
    assert_eq!((report.total(), report.end, report.first_seq), (600, 600, 0));
    assert_eq!((report.records["decision"], report.bodies.intact), (596, 596));
    assert_eq!((report.signed_by, report.anchors, report.unsigned), (Some(key()), 1, 0));
    assert_eq!(log_keys(ORIGINAL.dir.path()).expect("keys"), [key()]);
    // The layout is that of C2SP tlog-tiles.
    for path in ["checkpoint", "tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"] {
        assert!(ORIGINAL.dir.path().join(path).is_file(), "{path}");
    }
    let checkpoint = fs::read_to_string(ORIGINAL.dir.path().join("checkpoint")).expect("read");
    let (checkpoint, _) = Checkpoint::open(&checkpoint, &[key()]).expect("signed");
    assert_eq!((checkpoint.origin.as_str(), checkpoint.size), ("test/r-0", 600));
}

#[test]
fn each_harm_to_a_line_is_found_and_its_neighbours_are_named() {
    use FindingCode::{Altered, Missing, OutOfOrder};
    type Harm = fn(&mut Vec<String>, usize);
    let cases: [(&str, Harm, FindingCode, u64); 7] = [
        ("an edit", |l, i| l[i] = l[i].replace("alice", "mally"), Altered, 100),
        ("an edited verdict", |l, i| l[i] = l[i].replace("\"allow\"", "\"deny\""), Altered, 100),
        ("a number", |l, i| l[i] = l[i].replace("\"seq\":100,", "\"seq\":99999999,"), Altered, 100),
        ("a drop", |l, i| drop(l.remove(i)), Missing, 100),
        ("a swap", |l, i| l.swap(i, i + 1), Missing, 100),
        ("a copy", |l, i| l.insert(i, l[i].clone()), OutOfOrder, 100),
        ("a line of somebody else", |l, i| l[i] = l[i + 3].replace("\"seq\":103,", "\"seq\":100,"), Altered, 100),
    ];
    for (name, harm, code, seq) in cases {
        let dir = victim();
        let (file, mut lines, i) = line(dir.path(), 100);
        harm(&mut lines, i);
        put(&file, &lines);
        let report = check(dir.path(), &[]);
        let first = report.findings.iter().find(|f| f.code == code).unwrap_or_else(|| panic!("{name}: {report:#?}"));
        assert_eq!(first.seq, Some(seq), "{name}");
        assert!(first.place.as_ref().is_some_and(|p| p.starts_with("0000")), "{name}: {first:?}");
        let beside = |n: &Option<portcullis::decisions::Neighbour>| n.as_ref().map(|n| n.seq);
        assert_eq!((beside(&first.before), beside(&first.after)), (Some(99), Some(101)), "{name}");
        // One record is wrong, and the others are not accused.
        assert!(report.findings.len() <= 3, "{name}: {:#?}", report.findings);
    }
}

#[test]
fn each_harm_to_the_end_is_found() {
    let dir = victim();
    let (file, mut lines, i) = line(dir.path(), 599);
    let forged = lines[i].replace("\"seq\":599,", "\"seq\":600,");
    lines.push(forged);
    put(&file, &lines);
    assert_eq!(codes(&check(dir.path(), &[])), [FindingCode::UnsignedTail], "an appended line");

    let dir = victim();
    let (file, mut lines, i) = line(dir.path(), 597);
    lines.truncate(i);
    put(&file, &lines);
    let report = check(dir.path(), &[]);
    assert_eq!(codes(&report), [FindingCode::Truncated, FindingCode::BodyMissing][..1], "a cut tail");
    assert_eq!(report.findings[0].seq, Some(597));

    // Who cuts the checkpoint back as well is found by one that was kept elsewhere.
    let latest = ORIGINAL.dir.path().join("checkpoint");
    assert!(check(ORIGINAL.early.path(), &[]).is_fine());
    assert_eq!(codes(&check(ORIGINAL.early.path(), &[&latest])), [FindingCode::Truncated], "an older copy");
}

#[test]
fn who_has_the_key_is_found_by_a_checkpoint_elsewhere() {
    let dir = temp();
    grow(options(dir.path()), 400);
    assert!(check(dir.path(), &[]).is_fine(), "signed by the same key");
    let early = ORIGINAL.early.path().join("checkpoint");
    assert_eq!(codes(&check(dir.path(), &[&early])), [FindingCode::Anchor]);
}

#[test]
fn segments_are_not_exchanged_or_removed() {
    let (file, _, _) = line(ORIGINAL.dir.path(), 200);
    let name = file.file_name().expect("a name");
    let dir = victim();
    fs::remove_file(dir.path().join(name)).expect("removed");
    let report = check(dir.path(), &[]);
    assert_eq!(report.findings[0].code, FindingCode::Missing);
    // The whole segment of another log that has the same numbers.
    let other = temp();
    grow(LogOptions { segment_bytes: 128 * 1024, ..options(other.path()) }, 598);
    let dir = victim();
    let theirs = &segment_files(other.path())[1];
    let ours = &segment_files(dir.path())[1];
    fs::copy(theirs, ours).expect("copied");
    let report = check(dir.path(), &[]);
    assert!(
        matches!(report.findings[0].code, FindingCode::Missing | FindingCode::Altered | FindingCode::OutOfOrder),
        "{:?}",
        codes(&report)
    );
    // The first segment without a word.
    let dir = victim();
    fs::remove_file(&segment_files(dir.path())[0]).expect("removed");
    assert_eq!(codes(&check(dir.path(), &[])), [FindingCode::Unexplained]);
}

#[test]
fn tiles_and_checkpoints_are_checked() {
    for (path, code) in [
        ("tile/0/000", FindingCode::Tile),
        ("tile/0/002.p/88", FindingCode::Tile),
        ("tile/1/000.p/2", FindingCode::Tile),
        ("checkpoint", FindingCode::Signature),
    ] {
        let dir = victim();
        let path = dir.path().join(path);
        let mut bytes = fs::read(&path).expect("read");
        let end = bytes.len() - 10;
        bytes[end] ^= 1;
        fs::write(&path, &bytes).expect("written");
        let found = codes(&check(dir.path(), &[]));
        assert!(found.contains(&code) || path.ends_with("checkpoint") && !found.is_empty(), "{path:?}: {found:?}");
        assert!(!found.contains(&FindingCode::Altered), "{path:?}: the records are right: {found:?}");
        fs::remove_file(&path).expect("removed");
        assert!(!check(dir.path(), &[]).is_fine(), "{path:?} removed");
    }
}

#[test]
fn bodies_are_held_against_their_digests_and_may_be_deleted() {
    let dir = victim();
    let bodies = segment_files(&dir.path().join("bodies"));
    let text = fs::read_to_string(&bodies[1]).expect("UTF-8");
    fs::write(&bodies[1], text.replacen("shop", "shoq", 1)).expect("written");
    let report = check(dir.path(), &[]);
    assert_eq!(codes(&report), [FindingCode::BodyAltered]);
    assert!(report.findings[0].seq.is_some_and(|seq| seq > 50));
    let rest: String = text.lines().skip(1).map(|l| format!("{l}\n")).collect();
    fs::write(&bodies[1], rest).expect("written");
    assert_eq!(codes(&check(dir.path(), &[])), [FindingCode::BodyMissing]);
    fs::remove_file(&bodies[1]).expect("removed");
    let report = check(dir.path(), &[]);
    assert!(report.is_fine() && report.bodies.deleted > 10, "{report:?}");
}

#[test]
fn a_pruned_log_still_leads_to_its_checkpoint() {
    let dir = temp();
    let limits = LogOptions { max_bytes: 640 * 1024, segment_bytes: 8 * 1024, ..options(dir.path()) };
    grow(limits.clone(), 200);
    let early = temp();
    fs::copy(dir.path().join("checkpoint"), early.path().join("first")).expect("copied");
    for _ in 0..6 {
        grow(limits.clone(), 150);
    }
    let anchor = early.path().join("first");
    let report = check(dir.path(), &[&anchor]);
    assert_eq!(report.findings, []);
    assert!(report.first_seq > 256 && report.bodies.deleted > 0, "{report:?}");
    assert_eq!(report.anchors_unchecked, 0, "leaf hashes of what is gone are still there");
    // Another checkpoint of the same size is told apart even there.
    let text = fs::read_to_string(&anchor).expect("read");
    let mut checkpoint = Checkpoint::open(&text, &[key()]).expect("signed").0;
    checkpoint.root = portcullis::tlog::leaf_hash(b"other");
    let other = early.path().join("other");
    fs::write(&other, checkpoint.to_string()).expect("written");
    assert_eq!(codes(&check(dir.path(), &[&other])), [FindingCode::Anchor]);
    // A prune record says what is gone; what it does not say is missing.
    fs::remove_file(&segment_files(dir.path())[0]).expect("removed");
    assert!(!check(dir.path(), &[]).is_fine());
}

#[test]
fn leaf_hashes_of_pruned_records_are_bounded_and_the_rest_still_verifies() {
    let dir = temp();
    let limits = LogOptions { max_bytes: 128 * 1024, segment_bytes: 8 * 1024, ..options(dir.path()) };
    for _ in 0..6 {
        grow(limits.clone(), 250);
    }
    assert!(!dir.path().join("tile/0/000").exists(), "deleted");
    let report = check(dir.path(), &[]);
    assert_eq!(report.findings, []);
    let tiles: Vec<_> = records(dir.path())
        .iter()
        .filter_map(portcullis::decisions::Record::prune)
        .filter(|p| p.what == "tiles")
        .collect();
    assert!(tiles.iter().all(|p| p.last_seq < report.first_seq), "{tiles:?}");
}

#[test]
fn a_lost_tree_is_made_again_from_the_records_or_not_at_all() {
    // Tiles lost: the records lead to the checkpoint, so they are written again.
    let dir = victim();
    fs::remove_dir_all(dir.path().join("tile")).expect("removed");
    grow(options(dir.path()), 1);
    assert_eq!(check(dir.path(), &[]).findings, []);
    // A record changed and the tiles lost: nothing leads to the checkpoint any more.
    let dir = victim();
    fs::remove_dir_all(dir.path().join("tile")).expect("removed");
    let (file, mut lines, i) = line(dir.path(), 100);
    lines[i] = lines[i].replace("alice", "mally");
    put(&file, &lines);
    grow(options(dir.path()), 1);
    let report = check(dir.path(), &[]);
    assert!(report.origin.as_ref().is_some_and(|o| o.starts_with("test/r-0/2")), "{report:?}");
    let start: Value = serde_json::from_str(&records(dir.path())[0].line).expect("JSON");
    assert!(start["previous"].as_str().is_some_and(|p| p.starts_with("test/r-0 600 ")), "{start}");
    let aside = dir.path().join(start["set_aside"].as_str().expect("a place"));
    assert!(check(&aside, &[]).findings.iter().any(|f| f.code == FindingCode::Altered || f.code == FindingCode::Root));
}

#[test]
fn a_log_that_was_cut_back_is_not_signed_again() {
    let dir = temp();
    let state = temp();
    let options = LogOptions { checkpoint_copy: Some(state.path().join("copy")), ..options(dir.path()) };
    grow(options.clone(), 5);
    let early = temp();
    copy(dir.path(), early.path());
    grow(options.clone(), 5);
    fs::remove_dir_all(dir.path()).expect("removed");
    copy(early.path(), dir.path());
    assert!(check(dir.path(), &[]).is_fine(), "by itself it is whole");
    grow(options, 5);
    let first = &records(dir.path())[0];
    assert_ne!(first.head.origin, "test/r-0");
    assert!(first.line.contains("\"set_aside\":\"damaged/"), "{}", first.line);
}

#[test]
fn another_key_is_on_record_and_both_can_check() {
    let dir = temp();
    grow(options(dir.path()), 5);
    let new = SigningSeed::from_bytes([6; 32]);
    grow(LogOptions { signing_seed: new.clone(), ..options(dir.path()) }, 5);
    let new = new.under("test/r-0").expect("a key").verifier().clone();
    assert_eq!(log_keys(dir.path()).expect("keys"), [key(), new.clone()]);
    let record = records(dir.path()).into_iter().find(|r| r.head.r#type.as_str() == "key").expect("a key record");
    let json: Value = serde_json::from_str(&record.line).expect("JSON");
    assert_eq!((json["key"].as_str(), json["previous"].as_str()), (Some(&*new.to_string()), Some(&*key().to_string())));
    let options = VerifyOptions { dir: dir.path().to_path_buf(), keys: vec![new], anchors: Vec::new() };
    let report = verify(&options, &mut |_| {}).expect("read");
    assert_eq!((report.findings.as_slice(), report.replaced_keys), (&[][..], 1));
    assert_eq!(codes(&check(dir.path(), &[])), [FindingCode::Signature], "the old key did not sign this");
}

#[derive(Debug, Clone)]
enum Tampering {
    Flip(prop::sample::Index, u8),
    DropLine(prop::sample::Index),
    SwapLines(prop::sample::Index),
    CopyLine(prop::sample::Index, prop::sample::Index),
    Cut(prop::sample::Index),
    Append(u8),
    /// By what another file of its kind holds.
    Replace(prop::sample::Index),
    Remove,
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => (index(), 0_u8..8).prop_map(|(i, bit)| Tampering::Flip(i, bit)),
        3 => index().prop_map(Tampering::DropLine),
        3 => index().prop_map(Tampering::SwapLines),
        3 => (index(), index()).prop_map(|(from, to)| Tampering::CopyLine(from, to)),
        2 => index().prop_map(Tampering::Cut),
        1 => any::<u8>().prop_map(Tampering::Append),
        2 => index().prop_map(Tampering::Replace),
        1 => Just(Tampering::Remove),
    ]
}

impl Tampering {
    /// Does it; false when nothing changed.
    fn apply(&self, file: &Path) -> bool {
        let before = fs::read(file).expect("read");
        let mut bytes = before.clone();
        let mut lines: Vec<&[u8]> = before.split_inclusive(|b| *b == b'\n').collect();
        match self {
            Self::Flip(i, bit) => {
                let i = i.index(bytes.len());
                bytes[i] ^= 1 << bit;
            }
            Self::DropLine(i) => {
                lines.remove(i.index(lines.len()));
                bytes = lines.concat();
            }
            Self::SwapLines(i) => {
                let i = i.index(lines.len());
                let other = (i + 1) % lines.len();
                lines.swap(i, other);
                bytes = lines.concat();
            }
            Self::CopyLine(from, to) => {
                let line = lines[from.index(lines.len())];
                lines.insert(to.index(lines.len()), line);
                bytes = lines.concat();
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Append(byte) => bytes.extend([*byte, b'\n']),
            Self::Replace(by) => {
                let beside = file.parent().expect("a directory");
                let files = segment_files(beside);
                let Some(other) = files.get(by.index(files.len().max(1))) else { return false };
                bytes = fs::read(other).expect("read");
            }
            Self::Remove => {
                fs::remove_file(file).expect("removed");
                return true;
            }
        }
        fs::write(file, &bytes).expect("written");
        bytes != before
    }
}

/// All files that say something.
fn evidence(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(dir).expect("a directory").flatten().map(|e| e.path()) {
            if path.is_dir() {
                dirs.push(path);
            } else if !path.ends_with("lock") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to one file of a closed log is found, bodies' deletion apart, which is allowed.
    #[test]
    fn any_single_tampering_is_found(file in any::<prop::sample::Index>(), harm in tampering()) {
        let dir = victim();
        let files = evidence(dir.path());
        let file = &files[file.index(files.len())];
        let body = file.starts_with(dir.path().join("bodies"));
        // A superseded partial tile says nothing: the checkpoint that needed it is gone.
        let needed = ["002.p/88", "000.p/2"];
        // Without the list of holds the records are read.
        let listed = file.ends_with("holds") && matches!(harm, Tampering::Remove);
        let superseded = listed || file.to_string_lossy().contains(".p/") && !needed.iter().any(|n| file.ends_with(n));
        if superseded || !harm.apply(file) || body && matches!(harm, Tampering::Remove | Tampering::SwapLines(_) | Tampering::CopyLine(..)) {
            return Ok(());
        }
        let report = check(dir.path(), &[]);
        prop_assert!(!report.is_fine(), "{:?} of {}", harm, file.display());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Who holds the key can cut or change the log anywhere and sign it anew, so that it is whole by itself: any
    /// checkpoint that was kept elsewhere and covers the place convicts it.
    #[test]
    fn a_log_that_was_signed_anew_disagrees_with_any_checkpoint_past_the_change(
        at in 1_usize..600,
        change in any::<bool>(),
        more in 0_usize..4,
    ) {
        let dir = victim();
        let (file, mut lines, i) = line(dir.path(), at);
        if change {
            // Another decision in its place, and what follows as it was.
            lines[i] = lines[i].replacen("\"timestamp\":\"2", "\"timestamp\":\"3", 1);
        } else {
            lines.truncate(i);
            for later in segment_files(dir.path()).into_iter().filter(|f| *f > file) {
                fs::remove_file(later).expect("removed");
            }
        }
        put(&file, &lines);
        for evidence in ["checkpoint", "keys"] {
            fs::remove_file(dir.path().join(evidence)).expect("removed");
        }
        fs::remove_dir_all(dir.path().join("tile")).expect("removed");
        grow(options(dir.path()), more);
        let by_itself: Vec<FindingCode> = codes(&check(dir.path(), &[]))
            .into_iter()
            // Bodies of what was cut stay in the last file.
            .filter(|code| !matches!(code, FindingCode::BodyMissing))
            .collect();
        prop_assert_eq!(by_itself, [], "signed anew at {}", at);
        let latest = ORIGINAL.dir.path().join("checkpoint");
        let found = codes(&check(dir.path(), &[&latest]));
        prop_assert!(found.contains(&FindingCode::Anchor) || found.contains(&FindingCode::Truncated), "{:?}", found);
        let early = codes(&check(dir.path(), &[&ORIGINAL.early.path().join("checkpoint")]));
        prop_assert_eq!(early.is_empty(), at >= 300, "{:?}", early);
    }
}

pub(super) fn cli(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let output = command(dir, args).output().expect("runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("a code"), text(&output.stdout), text(&output.stderr))
}

#[test]
fn one_decision_is_proven_with_the_key_alone() {
    let dir = victim();
    let record = records(dir.path()).into_iter().rfind(|r| r.decision().is_some()).expect("a decision");
    let id = record.decision().expect("one").decision_id;
    let elsewhere = temp();
    let log = dir.path().to_string_lossy().into_owned();
    let (code, _, error) =
        cli(elsewhere.path(), &["decisions", "prove", &id, "--decision-log", &log, "-o", "p.tlog-proof"]);
    assert_eq!(code, 0, "{error}");
    let (code, vkey, _) = cli(elsewhere.path(), &["decisions", "key", "--decision-log", &log]);
    assert_eq!((code, vkey.trim()), (0, &*key().to_string()));
    // Of a record that is not the one that was signed nothing is proven, and that is a finding.
    let (file, mut lines, at) = line(dir.path(), 598);
    lines[at] = lines[at].replace("alice", "mally");
    put(&file, &lines);
    let (code, out, error) = cli(elsewhere.path(), &["decisions", "prove", &id, "--decision-log", &log]);
    assert!(
        code == 1 && out.is_empty() && error.contains("record 598 is not the one that was signed"),
        "{code} {error}"
    );
    drop(dir);

    let (code, out, error) =
        cli(elsewhere.path(), &["decisions", "verify-proof", "p.tlog-proof", "--key", vkey.trim()]);
    assert_eq!(code, 0, "{out}{error}");
    assert!(out.starts_with("valid: record 598 of `test/r-0`") && out.contains(&id), "{out}");
    fs::write(elsewhere.path().join("keys"), &vkey).expect("written");
    let args = ["decisions", "verify-proof", "p.tlog-proof", "--key", "keys", "-o", "json"];
    let (code, out, _) = cli(elsewhere.path(), &args);
    let json: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &json["valid"], &json["record"]["decision_id"]), (0, &Value::Bool(true), &Value::String(id)));

    // It is the plain C2SP form, and no other record can be put into it.
    let text = fs::read_to_string(elsewhere.path().join("p.tlog-proof")).expect("read");
    let proof = InclusionProof::parse(&text).expect("a proof");
    assert_eq!(proof.extra.as_deref(), Some(record.line.as_bytes()));
    assert_eq!(proof.verify(b"another", &[key()]), Err(TlogError::NotIncluded { index: 598 }));
    let forged = InclusionProof { extra: Some(record.line.replace("alice", "mally").into_bytes()), ..proof };
    fs::write(elsewhere.path().join("forged"), forged.to_string()).expect("written");
    let (code, out, _) = cli(elsewhere.path(), &["decisions", "verify-proof", "forged", "--key", "keys"]);
    assert_eq!(code, 1);
    assert!(out.contains("not valid"), "{out}");
    for args in [&["forged"][..], &["forged", "--key", "nonsense"], &["keys", "--key", "keys"]] {
        let (code, _, error) = cli(elsewhere.path(), &[&["decisions", "verify-proof"], args].concat());
        assert_eq!(code, 2, "{error}");
    }
}

#[test]
fn verify_speaks_to_people_and_programs() {
    let dir = victim();
    let log = dir.path().to_string_lossy().into_owned();
    let vkey = key().to_string();
    let (code, out, error) = cli(dir.path(), &["decisions", "verify", &log, "--key", &vkey]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("verified: the log is what was signed") && !out.contains('\u{1b}'), "{out}");
    let (file, mut lines, i) = line(dir.path(), 100);
    lines[i] = lines[i].replace("alice", "mally");
    put(&file, &lines);
    // The annotations of an audit log are checkpoints; those of other logs are passed over.
    let checkpoint = fs::read_to_string(ORIGINAL.early.path().join("checkpoint")).expect("read");
    let anchor = Checkpoint::open(&checkpoint, &[key()]).expect("signed").0;
    let event = |value: &str| {
        serde_json::json!({"kind": "Event", "annotations": {
            "validate.portcullis.io/checkpoint": value, "validate.portcullis.io/decision-id.aabbccdd": "x",
        }})
    };
    let other = Checkpoint { origin: "test/r-1".to_owned(), ..anchor.clone() };
    let audit = format!("{}\n{}\n{{\"kind\":\"Event\"}}\n", event(&anchor.to_string()), event(&other.to_string()));
    fs::write(dir.path().join("cut.audit"), audit).expect("written");
    let audit = dir.path().join("cut.audit").to_string_lossy().into_owned();
    let args = ["decisions", "verify", &log, "--key", &vkey, "--checkpoint", &audit, "-o", "json"];
    let (code, out, _) = cli(dir.path(), &args);
    assert_eq!(code, 1, "{out}");
    let json: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&json["anchors"]["compared"], &json["anchors"]["ofOthers"]), (&1.into(), &1.into()), "{json}");
    let found = &json["findings"][0];
    assert_eq!((&found["code"], &found["seq"], &found["before"]["seq"]), (&"altered".into(), &100.into(), &99.into()));
    let (code, out, _) = cli(dir.path(), &["decisions", "verify", &log]);
    assert_eq!(code, 1);
    assert!(out.contains("NOT VERIFIED: 1 finding") && out.contains("before it: record 99"), "{out}");
    assert!(out.contains("give yours with --key"), "{out}");
    let empty = temp();
    let empty = empty.path().to_string_lossy().into_owned();
    for args in [&["/nonexistent"][..], &[&empty], &[&log, "--key", "nonsense"], &[&log, "--checkpoint", &empty]] {
        let (code, _, error) = cli(dir.path(), &[&["decisions", "verify"], args].concat());
        assert_eq!(code, 2, "{args:?}: {error}");
    }
}
