//! `portcullis decisions`: filters, layouts, exit codes; and logs that were cut, tampered with or pruned.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use portcullis::decisions::{DecisionMeta, Entry, LogReader};
use portcullis::engine::{Decision, ErrorCode, PolicyFailure};
use portcullis::policy::{Digest, Enforcement};
use serde_json::{Value, json};

use super::{allowed, denied, masker, meta, records, request, review, segment_files, violation};

fn run(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("decisions")
        .args(args)
        .env("PORTCULLIS_DECISION_LOG", dir)
        .output()
        .expect("runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn at(time: &str, n: u32) -> DecisionMeta {
    let timestamp: jiff::Timestamp = time.parse().expect("a time");
    let millis = timestamp.as_millisecond();
    let id = format!("{:08x}-{:04x}-7000-8000-{n:012x}", millis >> 16, millis & 0xffff);
    DecisionMeta { decision_id: uuid::Uuid::parse_str(&id).expect("a UUID"), timestamp, ..meta() }
}

const TIMES: [&str; 4] =
    ["2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00.001Z"];

/// Four decisions: an allow, a deny, a failure, and one by an EKS user.
fn log(dir: &Path) -> Vec<String> {
    let metas: Vec<DecisionMeta> = (0_u32..).zip(TIMES).map(|(n, t)| at(t, n)).collect();
    let pod = request("Pod", json!({"kind": "Pod"}));
    let mut refused = denied(vec![violation("run_as_non_root", "must not run as root")]);
    refused.violations[0].field = Some("spec.containers[0]".to_owned());
    refused.violations[0].fix = Some("set runAsNonRoot".to_owned());
    let failure = PolicyFailure {
        policy: "slow".into(),
        digest: Digest::of(b"slow"),
        enforcement: Enforcement::Deny,
        code: ErrorCode::Budget,
        msg: "took too long".to_owned(),
        location: None,
    };
    let failed =
        Decision { cause: portcullis::engine::Cause::PolicyError, failures: vec![failure], ..denied(Vec::new()) };
    let eks = review(json!({
        "uid": "u-eks", "operation": "DELETE", "namespace": "tenant-b", "name": "gone\u{1b}[2J",
        "kind": {"kind": "Service"}, "resource": {"version": "v1", "resource": "services"},
        "userInfo": {"username": "kubernetes-admin", "extra": {"sessionName": ["bob@example.com"]}},
        "oldObject": {"kind": "Service"},
    }));
    let cases = [(&pod, allowed()), (&pod, refused), (&pod, failed), (&eks, allowed())];
    let entries = metas.iter().zip(cases).map(|(m, (r, d))| Entry::decision(m, r, &d, &masker()));
    let entries: Vec<Entry> = entries.collect();
    // Not closed: its end is as old as its decisions.
    super::runtime().block_on(async {
        let log = portcullis::decisions::DecisionLog::open(super::options(dir)).expect("opens");
        for entry in entries {
            log.append(entry, super::soon()).await.expect("appends");
        }
    });
    metas.iter().map(|m| m.decision_id.to_string()).collect()
}

#[test]
fn filters_take_what_they_say() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ids = log(dir.path());
    let cases: [(&[&str], &[usize]); 21] = [
        (&[], &[0, 1, 2, 3]),
        (&["--verdict", "deny"], &[1, 2]),
        (&["--verdict", "allow"], &[0, 3]),
        (&["--cause", "policy"], &[1]),
        (&["--cause", "policy_error"], &[2]),
        (&["--namespace", "shop"], &[0, 1, 2]),
        (&["-n", "tenant-*"], &[3]),
        (&["--namespace", "sho"], &[]),
        (&["--user", "alice"], &[0, 1, 2]),
        (&["--user", "bob@example.com"], &[3]),
        (&["--user", "bob@*"], &[3]),
        (&["--policy", "run_as_non_root"], &[1]),
        (&["--policy", "slow"], &[2]),
        (&["--uid", "u-eks"], &[3]),
        (&["--since", "2026-03-01T11:00:00Z"], &[1, 2, 3]),
        (&["--since", "2026-03-01T11:00:00Z", "--until", "2026-03-01T12:00:00Z"], &[1, 2]),
        (&["--since", "5m"], &[]),
        (&["--until", "2026-02-28"], &[]),
        (&["--since", "2026-03-01", "--until", "2026-03-01"], &[0, 1, 2, 3]),
        (&["--limit", "2"], &[2, 3]),
        (&["--limit", "1", "--verdict", "deny"], &[2]),
    ];
    for (args, wanted) in cases {
        let mut line = vec!["list", "-o", "json"];
        line.extend(args);
        let (code, out, err) = run(dir.path(), &line);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{args:?}");
        let found: Vec<String> = out
            .lines()
            .map(|l| serde_json::from_str::<Value>(l).expect("JSON")["decision_id"].as_str().expect("an id").to_owned())
            .collect();
        let wanted: Vec<String> = wanted.iter().map(|i| ids[*i].clone()).collect();
        assert_eq!(found, wanted, "{args:?}");
    }
    let (_, out, _) = run(dir.path(), &["list", "--type", "all", "-o", "json"]);
    let lines: Vec<String> = records(dir.path()).into_iter().map(|r| r.line).collect();
    assert_eq!(out.lines().collect::<Vec<_>>(), lines, "as they stand in the log");
}

#[test]
fn filters_see_all_segments() {
    // After the `start` record, so that time only grows.
    let dir = tempfile::tempdir().expect("a temporary directory");
    let metas: Vec<DecisionMeta> = (0..30).map(|n| at(&format!("2100-03-{:02}T00:00:00Z", n + 1), n)).collect();
    let pod = request("Pod", json!({"kind": "Pod"}));
    super::runtime().block_on(async {
        let options = portcullis::decisions::LogOptions { segment_bytes: 4096, ..super::options(dir.path()) };
        let log = portcullis::decisions::DecisionLog::open(options).expect("opens");
        for meta in &metas {
            log.append(Entry::decision(meta, &pod, &allowed(), &masker()), super::soon()).await.expect("appends");
        }
    });
    assert!(segment_files(dir.path()).len() > 5);
    for (args, wanted) in [
        (vec!["--since", "2100-03-29"], 28..30),
        (vec!["--until", "2100-03-02"], 0..2),
        (vec!["--since", "2100-03-10", "--until", "2100-03-19"], 9..19),
        (vec!["--limit", "12"], 18..30),
    ] {
        let mut line = vec!["list", "-o", "json"];
        line.extend(&args);
        let (_, out, _) = run(dir.path(), &line);
        let wanted: Vec<String> = metas[wanted].iter().map(|m| m.decision_id.to_string()).collect();
        assert_eq!(out.lines().count(), wanted.len(), "{args:?}");
        assert!(out.lines().zip(&wanted).all(|(l, id)| l.contains(id)), "{args:?}");
    }
    let (code, out, _) = run(dir.path(), &["show", &metas[17].decision_id.to_string()]);
    assert_eq!(code, Some(0));
    assert!(out.contains("2100-03-18T00:00:00.000000000Z"), "{out}");
}

#[test]
fn the_table_is_for_people() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ids = log(dir.path());
    let (code, out, _) = run(dir.path(), &["list"]);
    assert_eq!(code, Some(0));
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("TIME") && lines[0].ends_with("POLICIES"), "{out}");
    assert_eq!(lines.len(), 5);
    for part in [
        "2026-03-01T11:00:00.000",
        &ids[1],
        "deny",
        "policy",
        "CREATE",
        "pods",
        "shop/thing",
        "alice",
        "run_as_non_root",
    ] {
        assert!(lines[2].contains(part), "{part}: {}", lines[2]);
    }
    assert!(lines[3].contains("slow(error: budget)"), "{}", lines[3]);
    assert!(!out.contains('\u{1b}'), "nothing that a terminal obeys");
    assert!(run(dir.path(), &["list", "--type", "start"]).1.contains("durability=\"flush\""));
}

#[test]
fn show_tells_the_whole_story() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ids = log(dir.path());
    let (code, out, err) = run(dir.path(), &["show", &ids[1]]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for part in [
        ids[1].as_str(),
        "denied",
        "2026-03-01T11:00:00.000000000Z",
        "CREATE pods shop/thing",
        "alice (groups devs)",
        "10.0.0.1:5000, not authenticated",
        &Digest::of(b"policies").to_string(),
        "run_as_non_root",
        "must not run as root",
        "spec.containers[0]",
        "set runAsNonRoot",
        "intact",
    ] {
        assert!(out.contains(part), "{part} is not in\n{out}");
    }
    let (code, out, _) = run(dir.path(), &["show", &ids[0], "-o", "json"]);
    let json: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(code, Some(0));
    assert_eq!(json["envelope"]["decision_id"], ids[0]);
    assert_eq!(json["body"]["input"]["request"]["uid"], "u-1");
    assert_eq!(json["bodyState"], "intact");
}

#[test]
fn ids_may_be_cut_short_while_they_are_one() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ids = log(dir.path());
    let (code, out, _) = run(dir.path(), &["show", &ids[1][..9]]);
    assert_eq!(code, Some(0));
    assert!(out.contains(&ids[1]));
    // The last two were made in the same minute.
    let (code, _, err) = run(dir.path(), &["show", &ids[2][..9]]);
    assert_eq!(code, Some(2));
    assert!(err.contains(&ids[2]) && err.contains(&ids[3]), "{err}");
    let (code, _, err) = run(dir.path(), &["show", "01976b2c-0000-7000-8000-000000000001"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("no decision"), "{err}");
    assert_eq!(run(dir.path(), &["show", "zz"]).0, Some(2));
}

#[test]
fn a_changed_a_missing_and_a_deleted_body_are_told_apart() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ids = log(dir.path());
    let file = segment_files(&dir.path().join("bodies")).pop().expect("bodies");
    let text = fs::read_to_string(&file).expect("read");
    let state = |id: &str| {
        let (code, out, _) = run(dir.path(), &["show", id, "-o", "json"]);
        let json: Value = serde_json::from_str(&out).expect("JSON");
        (code, json["bodyState"].as_str().expect("a state").to_owned())
    };
    let (first, rest) = text.split_once('\n').expect("lines");
    fs::write(&file, format!("{}\n{rest}", first.replace("\"alice\"", "\"mallory\""))).expect("written");
    assert_eq!(state(&ids[0]), (Some(1), "altered".to_owned()));
    assert_eq!(state(&ids[1]), (Some(0), "intact".to_owned()));
    fs::write(&file, rest).expect("written");
    assert_eq!(state(&ids[0]), (Some(1), "missing".to_owned()));
    fs::remove_file(&file).expect("removed");
    assert_eq!(state(&ids[0]), (Some(0), "deleted".to_owned()));
    assert!(run(dir.path(), &["show", &ids[0]]).1.contains("deleted (retention or erasure)"));
}

#[test]
fn a_line_that_is_being_written_is_not_there_yet_and_one_that_is_no_record_is_reported() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    log(dir.path());
    let segment = segment_files(dir.path()).pop().expect("a segment");
    let mut file = fs::OpenOptions::new().append(true).open(&segment).expect("opens");
    file.write_all(b"{\"v\":1,\"type\":\"deci").expect("writes");
    let (code, out, err) = run(dir.path(), &["list", "-o", "json"]);
    assert_eq!((code, out.lines().count(), err.as_str()), (Some(0), 4, ""));
    file.write_all(b"\n").expect("writes");
    let (code, out, err) = run(dir.path(), &["list", "-o", "json"]);
    assert_eq!((code, out.lines().count()), (Some(0), 4));
    assert!(err.contains("1 lines of the log are no records"), "{err}");
}

#[test]
fn a_record_that_is_missing_is_noticed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    log(dir.path());
    let segment = segment_files(dir.path()).pop().expect("a segment");
    let text = fs::read_to_string(&segment).expect("UTF-8");
    let without = |n: usize| text.lines().enumerate().filter(move |(i, _)| *i != n).map(|(_, l)| format!("{l}\n"));
    fs::write(&segment, without(2).collect::<String>()).expect("written");
    for args in [&["list"][..], &["list", "--limit", "1"]] {
        let (code, _, err) = run(dir.path(), args);
        assert_eq!(code, Some(0));
        assert!(err.contains("1 record is missing, the first is 2; see `portcullis decisions verify`"), "{err}");
    }
}

#[test]
fn lines_are_streamed_with_their_places() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    log(dir.path());
    let reader = LogReader::open(dir.path()).expect("opens");
    let mut seen = Vec::new();
    let flaws = reader.stream(2, |located| {
        let file = dir.path().join(format!("{:020}.jsonl", located.segment));
        let bytes = fs::read(file).expect("read");
        let begin = usize::try_from(located.offset).expect("small");
        assert_eq!(&bytes[begin..begin + located.line.len()], located.line.as_bytes());
        seen.push(located.seq);
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(flaws, Ok(portcullis::decisions::Flaws::default()));
    assert_eq!(seen, (2..2 + seen.len() as u64).collect::<Vec<_>>());
    assert!(seen.len() > 2);
}

#[test]
fn gaps_are_mentioned() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    log(dir.path());
    let segment = segment_files(dir.path()).pop().expect("a segment");
    let time = "2026-03-01T12:00:00.000000000Z";
    let gap = json!({
        "v": 1, "type": "gap", "seq": 5, "origin": "test/r-0", "labels": {"cluster": "c", "replica": "r", "version": "0"},
        "timestamp": time, "count": 12, "from": time, "to": time, "reason": "no space",
    });
    fs::OpenOptions::new()
        .append(true)
        .open(&segment)
        .expect("opens")
        .write_all(format!("{gap}\n").as_bytes())
        .expect("writes");
    assert!(run(dir.path(), &["list"]).2.contains("12 decisions of this time are not in the log"));
    assert_eq!(run(dir.path(), &["list", "--until", "2026-03-01T11:00:00Z"]).2, "");
    let (_, out, _) = run(dir.path(), &["list", "--type", "gap"]);
    assert!(out.contains("count=12") && out.contains("no space"), "{out}");
}

#[test]
fn lists_are_csv_too() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ids = log(dir.path());
    for command in ["list", "tail"] {
        let (code, out, _) = run(dir.path(), &[command, "--type", "all", "-o", "csv"]);
        let mut reader = csv::Reader::from_reader(out.as_bytes());
        let columns: Vec<String> = reader.headers().expect("a head").iter().map(str::to_owned).collect();
        let rows: Vec<csv::StringRecord> = reader.records().map(|r| r.expect("as many fields as columns")).collect();
        let of = |row: &csv::StringRecord, name: &str| {
            row[columns.iter().position(|c| c == name).expect("a column")].to_owned()
        };
        let denied = rows.iter().find(|r| of(r, "id") == ids[1]).expect("one");
        assert_eq!(code, Some(0));
        assert_eq!(
            ["verdict", "namespace", "name", "user", "groups", "policies"].map(|c| of(denied, c)),
            ["deny", "shop", "thing", "alice", "devs", "run_as_non_root"]
        );
        let start = rows.iter().find(|r| of(r, "type") == "start").expect("one");
        assert!(of(start, "members").contains("durability") && of(start, "id").is_empty());
    }
}

#[test]
fn a_short_list_tells_of_gaps_of_its_own_time_only() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    log(dir.path());
    let segment = segment_files(dir.path()).pop().expect("a segment");
    let text = fs::read_to_string(&segment).expect("read");
    let time = "2026-03-01T10:30:00.000000000Z";
    let gap = json!({
        "v": 1, "type": "gap", "seq": 2, "origin": "test/r-0", "labels": {"cluster": "c", "replica": "r", "version": "0"},
        "timestamp": time, "count": 12, "from": time, "to": time, "reason": "no space",
    });
    fs::write(&segment, format!("{text}{gap}\n")).expect("written");
    assert!(run(dir.path(), &["list"]).2.contains("12 decisions"));
    assert!(run(dir.path(), &["list", "--limit", "4"]).2.contains("12 decisions"), "all of them are asked for");
    assert!(!run(dir.path(), &["list", "--limit", "1"]).2.contains("12 decisions"), "it is older than what is shown");
}

#[test]
fn without_a_log_it_cannot_run() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (code, _, err) = run(&dir.path().join("none"), &["list"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("--decision-log") && err.contains("none"), "{err}");
    assert_eq!(run(dir.path(), &["list", "--since", "whenever"]).0, Some(2));
    assert_eq!(run(dir.path(), &["list", "--type", "gap", "--verdict", "deny"]).0, Some(2));
}
