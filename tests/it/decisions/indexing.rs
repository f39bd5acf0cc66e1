//! The index of `portcullis decisions query` beside logs that are moved, copied, cut or read by several at once; and
//! `tail -f` of a log that is cut.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{denied, entry, masker, meta, review, segment_files, violation, written};
use portcullis::decisions::Entry;
use serde_json::json;

fn refused(user: &str) -> Entry {
    let request = review(json!({
        "uid": "u", "operation": "CREATE", "namespace": "shop", "name": "p",
        "kind": {"version": "v1", "kind": "Pod"}, "resource": {"version": "v1", "resource": "pods"},
        "userInfo": {"username": user}, "object": {"kind": "Pod"},
    }));
    let found = denied(vec![violation("a", "no"), violation("b", "no")]);
    Entry::decision(&meta(), &request, &found, &masker())
}

fn command(log: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.arg("decisions").args(args).args(["--decision-log", log]);
    command
}

/// Records, decisions and violations in the index, and what was said of it.
fn counts(log: &str, index: &Path) -> (String, String) {
    let sql = "SELECT (SELECT count(*) FROM record), (SELECT count(*) FROM decision), (SELECT count(*) FROM violation)";
    let index = index.display().to_string();
    let output = command(log, &["query", sql, "-o", "csv", "--index", &index]).output().expect("runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (text(output.stdout).lines().nth(1).unwrap_or_default().to_owned(), text(output.stderr))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A log of three records with one refusal, closed.
fn log(dir: &Path) -> PathBuf {
    let log = dir.join("decisions");
    written(&log, vec![refused("alice")]);
    log
}

fn copy(log: &Path, to: &Path) {
    fs::create_dir(to).expect("made");
    for file in segment_files(log) {
        fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("copied");
    }
}

#[test]
fn a_log_that_was_moved_or_copied_is_counted_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, index) = (log(dir.path()), dir.path().join("index.sqlite"));
    let fine = ("3,1,2".to_owned(), String::new());
    assert_eq!(counts(&text(&log), &index), fine);
    let moved = dir.path().join("moved");
    fs::rename(&log, &moved).expect("moved");
    assert_eq!(counts(&text(&moved), &index), fine);
    // The same beside it, as far as it was when it was copied.
    copy(&moved, &log);
    let both = format!("{},{}", moved.display(), log.display());
    assert_eq!(counts(&both, &index), fine);
    written(&moved, vec![refused("bob")]);
    assert_eq!(counts(&both, &index), ("6,2,4".to_owned(), String::new()));
    // Another that says the same numbers of itself loses nothing in silence.
    written(&log, vec![refused("eve"), refused("zoe")]);
    let (out, err) = counts(&both, &index);
    assert!(out.is_empty() && err.contains("has the same origin and numbers and other records"), "{out}{err}");
    let (out, err) = counts(&text(&log), &index);
    assert!(out == "7,3,6" && err.contains("1 of the log's segments were not as they had been read"), "{out}{err}");
}

#[test]
fn a_log_that_was_cut_is_read_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, index) = (log(dir.path()), dir.path().join("index.sqlite"));
    let segment = segment_files(&log).pop().expect("a segment");
    let before = fs::read_to_string(&segment).expect("read");
    fs::write(&segment, format!("{before}{{\"v\":1,\"type\":\"deci")).expect("written");
    assert_eq!(counts(&text(&log), &index), ("3,1,2".to_owned(), String::new()));
    // What was not finished is cut off, and the log goes on.
    written(&log, vec![refused("bob"), refused("eve")]);
    assert_eq!(counts(&text(&log), &index), ("7,3,6".to_owned(), String::new()));
    // Whole lines were cut off, and the log is as long again: what was written then is in the index, once.
    let text_now = fs::read_to_string(&segment).expect("read");
    let last = text_now.lines().last().expect("a line");
    let other = last.replace("\"test\"", "\"another reason, which makes it longer\"");
    assert_ne!(last, other);
    fs::write(&segment, text_now.replace(last, &other)).expect("written");
    let (out, err) = counts(&text(&log), &index);
    assert!(out == "7,3,6" && err.contains("read anew"), "{out}{err}");
    assert_eq!(counts(&text(&log), &index), ("7,3,6".to_owned(), String::new()));
    fs::write(&segment, before).expect("written");
    let (out, err) = counts(&text(&log), &index);
    assert!(out == "3,1,2" && err.contains("read anew"), "{out}{err}");
}

#[test]
fn files_with_records_are_their_owners_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, index) = (log(dir.path()), dir.path().join("index.sqlite"));
    let export = dir.path().join("export.jsonl");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    counts(&text(&log), &index);
    assert_eq!(mode(&index), 0o600);
    assert!(!dir.path().join("index.sqlite-wal").exists());
    // While somebody reads, the files beside it are there.
    let reader = rusqlite::Connection::open(&index).expect("opens");
    reader.query_row("SELECT count(*) FROM record", [], |row| row.get::<_, i64>(0)).expect("read");
    for beside in ["index.sqlite-wal", "index.sqlite-shm"] {
        assert_eq!(mode(&dir.path().join(beside)), 0o600, "{beside}");
    }
    // One of an earlier version, which anybody could read.
    reader.execute_batch("PRAGMA user_version = 1").expect("set");
    drop(reader);
    fs::set_permissions(&index, fs::Permissions::from_mode(0o644)).expect("set");
    assert_eq!(counts(&text(&log), &index), ("3,1,2".to_owned(), String::new()));
    assert_eq!(mode(&index), 0o600);
    let output = command(&text(&log), &["export", "-o", &text(&export)]).output().expect("runs");
    assert!(output.status.success());
    assert_eq!(mode(&export), 0o600);
}

#[test]
fn what_the_log_lost_is_in_no_file_of_the_index() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, index) = (dir.path().join("decisions"), dir.path().join("index.sqlite"));
    // More than what comes after writes over.
    written(&log, (0..200).map(|_| refused("alice")).collect());
    counts(&text(&log), &index);
    let holds = || fs::read(&index).expect("read").windows(5).any(|w| w == b"alice");
    assert!(holds());
    fs::remove_dir_all(&log).expect("removed");
    written(&log, vec![refused("bob")]);
    counts(&text(&log), &index);
    assert!(!holds() && !dir.path().join("index.sqlite-wal").exists());
}

#[test]
fn nobody_waits_for_somebody_who_reads() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, index) = (log(dir.path()), dir.path().join("index.sqlite"));
    counts(&text(&log), &index);
    let reader = rusqlite::Connection::open(&index).expect("opens");
    reader.execute_batch("BEGIN; SELECT count(*) FROM record").expect("reads");
    written(&log, vec![refused("bob")]);
    let begun = std::time::Instant::now();
    assert_eq!(counts(&text(&log), &index), ("6,2,4".to_owned(), String::new()));
    assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn several_may_ask_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, index) = (dir.path().join("decisions"), dir.path().join("index.sqlite"));
    written(&log, (0..300).map(|_| entry()).collect());
    let ask = || {
        let sql = "SELECT count(*) FROM record";
        let mut command = command(&text(&log), &["query", sql, "-o", "csv", "--index", &text(&index)]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs")
    };
    let asking: Vec<Child> = (0..8).map(|_| ask()).collect();
    for child in asking {
        let output = child.wait_with_output().expect("ends");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && output.stdout.ends_with(b"\n302\n"), "{err}");
    }
}

#[test]
fn a_tail_says_that_records_it_showed_are_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = log(dir.path());
    let segment = segment_files(&log).pop().expect("a segment");
    let before = fs::read_to_string(&segment).expect("read");
    let mut child = command(&text(&log), &["tail", "-f", "--limit", "1", "-o", "json", "--type", "all"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut said = BufReader::new(child.stderr.take().expect("its messages")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert_eq!(next(), before.lines().last().expect("a line"));
    let (kept, stop) = before.trim_end().rsplit_once('\n').expect("lines");
    // A line that is not finished was not shown, and nothing is said when it is cut off.
    fs::OpenOptions::new().append(true).open(&segment).and_then(|mut f| f.write_all(b"{\"v\":1")).expect("written");
    std::thread::sleep(std::time::Duration::from_millis(600));
    let other = stop.replace("\"test\"", "\"another reason, which makes it longer than what stood there\"");
    assert_ne!(other, stop);
    fs::write(&segment, format!("{kept}\n{other}\n")).expect("written");
    assert_eq!(next(), other);
    let said = said.next().expect("a message").expect("text");
    assert!(said.contains("the last 1 records that were read are not in the log any more"), "{said}");
    child.kill().and_then(|()| child.wait()).expect("ends");
}
