//! `portcullis decisions stats`, `query` and `tail`: counts, SQL, and what is still to come.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use portcullis::decisions::{DecisionLog, Entry, Filter, LogOptions, LogReader, PageBounds};
use portcullis::engine::{Decision, Endpoint};
use serde_json::{Value, json};

use super::{allowed, denied, masker, meta, options, review, runtime, segment_files, soon, violation, written};

fn decision(namespace: &str, user: &str, decision: Decision) -> Entry {
    let request = review(json!({
        "uid": "u", "operation": "CREATE", "namespace": namespace, "name": "p",
        "kind": {"version": "v1", "kind": "Pod"}, "resource": {"version": "v1", "resource": "pods"},
        "userInfo": {"username": user, "groups": ["devs"]}, "object": {"kind": "Pod"},
    }));
    Entry::decision(&meta(), &request, &Decision { endpoint: Endpoint::Validate, ..decision }, &masker())
}

fn refused() -> Decision {
    denied(vec![violation("run_as_non_root", "may run as root"), violation("tenancy", "another tenant's")])
}

fn five() -> Vec<Entry> {
    vec![
        decision("shop", "alice", allowed()),
        decision("shop", "bob", refused()),
        decision("bank", "alice", refused()),
        decision("bank", "alice", allowed()),
        decision("bank", "eve, \"the\" \u{1b}[2J", refused()),
    ]
}

fn run(log: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("decisions")
        .args(args)
        .env("PORTCULLIS_DECISION_LOG", log)
        .output()
        .expect("runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect()
}

#[test]
fn counts_by_what_one_asks() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("decisions");
    written(&log, five());
    let (code, out, err) = run(&log, &["stats", "--by", "namespace,policy", "-o", "json"]);
    assert_eq!(code, Some(0), "{err}");
    let lines = json_lines(&out);
    let of = |namespace: &str, policy: &str| {
        let line = lines.iter().find(|l| l["namespace"] == namespace && l["policy"] == policy);
        line.map(|l| (l["decisions"].clone(), l["denied"].clone()))
    };
    assert_eq!(of("bank", "tenancy"), Some((json!(2), json!(2))), "{out}");
    assert_eq!(of("shop", "-"), Some((json!(1), json!(0))), "{out}");
    // A decision with two policies counts for both, and once in the total.
    assert_eq!(lines.last().map(|l| (l["type"].clone(), l["decisions"].clone())), Some((json!("total"), json!(5))));

    let (_, out, _) = run(&log, &["stats", "--by", "user", "--verdict", "deny", "-o", "csv"]);
    assert_eq!(out.lines().next(), Some("user,decisions,allowed,denied,failed,mutated"));
    assert!(out.contains("\"eve, \"\"the\"\" \u{1b}[2J\",1,0,1,0,0") && out.contains("alice,1,0,1,0,0"), "{out}");
    let (_, out, _) = run(&log, &["stats", "--by", "user", "--limit", "1"]);
    assert!(out.contains("alice") && !out.contains("bob") && !out.contains('\u{1b}'), "{out}");
    assert!(out.lines().last().is_some_and(|l| l.starts_with("total") && l.contains('5')), "{out}");
}

#[test]
fn sql_over_an_index_that_follows_the_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("decisions");
    written(&log, five());
    let sql = "SELECT v.policy, count(*) AS n FROM violation v JOIN decision d ON d.id = v.decision_id
               WHERE d.namespace = 'bank' GROUP BY 1 ORDER BY 1";
    let (code, out, err) = run(&log, &["query", sql, "-o", "csv"]);
    assert_eq!((code, out.as_str()), (Some(0), "policy,n\nrun_as_non_root,2\ntenancy,2\n"), "{err}");
    // What comes later is in it the next time, once.
    written(&log, vec![decision("bank", "alice", refused())]);
    let (_, out, _) = run(&log, &["query", sql, "-o", "json"]);
    assert_eq!(json_lines(&out), [json!({"policy": "run_as_non_root", "n": 3}), json!({"policy": "tenancy", "n": 3})]);
    let (_, out, err) = run(&log, &["query", "SELECT type, count(*) AS n FROM record GROUP BY 1 ORDER BY 1"]);
    assert!(out.contains("TYPE      N") && out.contains("decision  6") && err.contains("3 rows"), "{out}{err}");
    let (_, out, _) = run(&log, &["query", "SELECT value FROM decision, json_each(groups) LIMIT 1", "-o", "csv"]);
    assert_eq!(out, "value\ndevs\n");
    let (_, out, _) = run(&log, &["query", ".schema", "-o", "csv"]);
    assert!(out.contains("CREATE TABLE decision") && out.contains("CREATE TABLE violation"), "{out}");

    // It is for reading.
    let other = dir.path().join("other.sqlite");
    let attach = format!("ATTACH '{}' AS other", other.display());
    for wrong in
        ["DELETE FROM decision", "DROP TABLE decision", attach.as_str(), "SELECT nothing FROM decision", "what"]
    {
        let (code, out, err) = run(&log, &["query", wrong]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{wrong}: {err}");
        assert!(err.contains("the query: ") && err.contains("`.schema` prints"), "{err}");
    }
    assert!(!other.exists());
    // Nor for files of others.
    let index = ["--index", other.to_str().expect("UTF-8")];
    let db = rusqlite::Connection::open(&other).expect("opens");
    db.execute_batch("CREATE TABLE precious (a); INSERT INTO precious VALUES (7)").expect("made");
    let (code, _, err) = run(&log, &[&["query", sql][..], &index].concat());
    assert!(code == Some(2) && err.contains("is the database of something else"), "{err}");
    assert_eq!(db.query_row("SELECT a FROM precious", [], |row| row.get::<_, i64>(0)), Ok(7));
}

#[test]
fn an_index_forgets_what_was_pruned() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("decisions");
    let small = LogOptions { segment_bytes: 4096, ..options(&log) };
    runtime().block_on(async {
        let log = DecisionLog::open(small).expect("opens");
        for _ in 0..12 {
            log.append(decision("bank", "alice", refused()), soon()).await.expect("appends");
        }
        log.close("test").await.expect("closes");
    });
    let files = segment_files(&log);
    assert!(files.len() > 2, "{files:?}");
    let count = |table: &str| {
        let (code, out, err) = run(&log, &["query", &format!("SELECT count(*) FROM {table}"), "-o", "csv"]);
        assert_eq!(code, Some(0), "{err}");
        out.lines().nth(1).and_then(|n| n.parse::<u64>().ok()).expect("a number")
    };
    assert_eq!((count("decision"), count("violation")), (12, 24));
    let gone = std::fs::read_to_string(&files[0]).expect("reads");
    let gone = gone.lines().filter(|l| l.contains(r#""type":"decision""#)).count() as u64;
    std::fs::remove_file(&files[0]).expect("removes");
    assert_eq!((count("decision"), count("violation")), (12 - gone, 24 - 2 * gone));
}

#[test]
fn an_index_sees_a_log_that_was_begun_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("decisions");
    written(&log, vec![decision("shop", "alice", allowed())]);
    let users = || {
        let (code, out, err) = run(&log, &["query", "SELECT username FROM decision ORDER BY 1", "-o", "csv"]);
        assert_eq!(code, Some(0), "{err}");
        out
    };
    assert_eq!(users(), "username\nalice\n");
    std::fs::remove_dir_all(&log).expect("removes");
    let other = LogOptions { origin: "test/r-1".to_owned(), ..options(&log) };
    runtime().block_on(async {
        let log = DecisionLog::open(other).expect("opens");
        for user in ["bob", "eve", "zoe"] {
            log.append(decision("shop", user, refused()), soon()).await.expect("appends");
        }
        log.close("test").await.expect("closes");
    });
    assert_eq!(users(), "username\nbob\neve\nzoe\n");
}

#[test]
fn the_tail_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("decisions");
    written(&log, five());
    let (_, out, _) = run(&log, &["tail", "--limit", "2", "-o", "json", "--type", "decision"]);
    assert_eq!(json_lines(&out).len(), 2);
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["decisions", "tail", "-f", "--limit", "1", "-o", "json", "--namespace", "bank", "--decision-log"])
        .arg(&log)
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON") };
    assert_eq!(next()["request"]["user"]["username"], "eve, \"the\" \u{1b}[2J");
    // Into a new segment, as after a rotation.
    let small = LogOptions { segment_bytes: 4096, ..options(&log) };
    runtime().block_on(async {
        let log = DecisionLog::open(small).expect("opens");
        for n in 0..8 {
            log.append(decision("shop", "nobody", refused()), soon()).await.expect("appends");
            log.append(decision("bank", &format!("late-{n}"), refused()), soon()).await.expect("appends");
        }
        log.close("test").await.expect("closes");
    });
    let users: Vec<String> =
        (0..8).map(|_| next()["request"]["user"]["username"].as_str().unwrap_or("").into()).collect();
    assert_eq!(users, (0..8).map(|n| format!("late-{n}")).collect::<Vec<_>>());
    child.kill().expect("ends");
    child.wait().expect("ends");
}

/// A log with a decision whose record had no room for the last of its policies, and one without findings.
fn cut(dir: &Path) -> std::path::PathBuf {
    let log = dir.join("decisions");
    let many = (0..100).map(|_| violation("first", &"long ".repeat(100))).chain([violation("last", "no")]);
    written(&log, vec![decision("shop", "alice", denied(many.collect())), decision("shop", "bob", allowed())]);
    log
}

#[test]
fn what_a_record_had_no_room_for_is_not_passed_over_in_silence() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = cut(dir.path());
    for limit in [&[][..], &["--limit", "5"]] {
        let (code, out, err) = run(&log, &[&["list", "--policy", "last", "-o", "json"], limit].concat());
        assert!(code == Some(0) && out.is_empty() && err.contains("1 decision more may be meant"), "{out}{err}");
    }
    // What keeps it out for sure, or lets it in.
    for (args, count) in [
        (["--policy", "last", "--user", "bob"], 0),
        (["--policy", "last", "--verdict", "allow"], 0),
        (["--policy", "first", "--user", "alice"], 1),
    ] {
        let (_, out, err) = run(&log, &[&["list", "-o", "json"], &args[..]].concat());
        assert_eq!((out.lines().count(), err.as_str()), (count, ""), "{args:?}");
    }
    for args in [&["--policy", "last"][..], &["--by", "policy"]] {
        let (_, out, err) = run(&log, &[&["stats", "-o", "json"], args].concat());
        let total = json_lines(&out).pop().expect("a total");
        assert_eq!((&total["type"], &total["unjudged"]), (&json!("total"), &json!(1)), "{out}");
        assert!(err.contains("1 decision"), "{err}");
    }
    let (_, _, err) = run(&log, &["tail", "--policy", "last"]);
    assert!(err.contains("1 decision more may be meant"), "{err}");
    let bounds = PageBounds { records: 10, bytes: 1 << 20, until: soon() };
    let filter = Filter { policy: Some("last".to_owned()), ..Filter::default() };
    let reader = LogReader::open(&log).expect("opens");
    // Somebody who may not see a decision is not told of it.
    for (may_see, unjudged) in [(true, 1), (false, 0)] {
        let page = reader.page(&filter, 0, bounds, |_| may_see).expect("reads");
        assert_eq!((page.records.len(), page.unjudged), (0, unjudged));
    }
    let (_, out, err) = run(&log, &["stats", "-o", "json"]);
    assert_eq!((json_lines(&out).pop().expect("a total")["unjudged"].clone(), err.as_str()), (json!(0), ""));
}

#[test]
fn rows_are_for_programs_and_spreadsheets() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("decisions");
    written(&log, vec![decision("shop", "=cmd|' /C calc'!A0", allowed()), decision("shop", "a\u{202e}b", allowed())]);
    let (_, out, _) = run(&log, &["list", "-o", "csv"]);
    assert!(out.contains(",'=cmd|' /C calc'!A0,") && out.contains(",a\u{202e}b,"), "{out}");
    let (_, out, _) = run(&log, &["stats", "--by", "user,policy", "-o", "csv"]);
    assert!(out.contains("\n'=cmd|' /C calc'!A0,-,1,1,0,0,0\n"), "{out}");
    let (_, out, _) = run(&log, &["query", "SELECT username, -5 FROM decision WHERE username LIKE '=%'", "-o", "csv"]);
    assert!(out.ends_with("\n'=cmd|' /C calc'!A0,-5\n"), "{out}");
    let (_, out, _) = run(&log, &["list"]);
    assert!(out.contains("a\\u{202e}b") && !out.contains('\u{202e}'), "{out}");
    // Two columns of one name are two; no row is no reason for no columns.
    let (_, out, _) = run(&log, &["query", "SELECT 1 AS a, 2 AS a, 3 AS a_2, 4 AS a", "-o", "json"]);
    assert_eq!(json_lines(&out), [json!({"a": 1, "a_3": 2, "a_2": 3, "a_4": 4})]);
    let nothing = "SELECT id, verdict FROM decision WHERE 0";
    assert_eq!(run(&log, &["query", nothing, "-o", "csv"]).1, "id,verdict\n");
    assert!(run(&log, &["query", nothing]).1.starts_with("ID  VERDICT"));
    for command in ["list", "tail"] {
        let (_, out, _) = run(&log, &[command, "--user", "nobody", "-o", "csv"]);
        assert!(out.starts_with("time,id,verdict,") && out.lines().count() == 1, "{out}");
    }
}

#[test]
fn stats_are_of_decisions() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("decisions");
    written(&log, five());
    for kind in ["read", "start", "gap"] {
        let (code, out, err) = run(&log, &["stats", "--type", kind]);
        assert!(code == Some(2) && out.is_empty() && err.contains("`stats` counts decisions"), "{out}{err}");
    }
    assert_eq!(run(&log, &["stats", "--type", "all"]).0, Some(0));
}
