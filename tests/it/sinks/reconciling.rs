//! What `decisions reconcile` finds, and what it does not claim: altered, forged and missing events, also of records and
//! bodies that the log has deleted meanwhile.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{log, post, reconcile, stop};
use crate::support::server::{Server, command, records};

/// Exit code, faults, summary.
type Found = (Option<i32>, Vec<String>, Value);

fn run(dir: &Path, args: &[&str]) {
    let output = command(dir, args).output().expect("runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// All that the log has, as a format writes it.
fn export(dir: &Path, format: &str, bodies: bool) -> Vec<String> {
    let args = ["decisions", "export", "--type", "all", "--format", format, "-o", "export.jsonl"];
    run(dir, &[&args[..], if bodies { &["--bodies"] } else { &[] }].concat());
    let text = fs::read_to_string(dir.join("export.jsonl")).expect("written");
    text.lines().map(str::to_owned).collect()
}

/// Holds these events against the log.
fn held(dir: &Path, events: &[String], args: &[&str]) -> Found {
    fs::write(dir.join("delivered.jsonl"), events.join("\n")).expect("written");
    reconcile(dir, &[&["delivered.jsonl"], args].concat(), &[])
}

/// Deletes what is older than a moment ago. Only what is signed can go, and only a second later is it old.
fn prune(dir: &Path, what: &str) {
    std::thread::sleep(Duration::from_millis(2100));
    run(dir, &["decisions", "prune", what, "1s", "--reason", "retention", "--ticket", "T-1"]);
}

/// The number that an event says.
fn seq(event: &str) -> u64 {
    let event: Value = serde_json::from_str(event).expect("JSON");
    let id = || event["id"].as_str().and_then(|id| id.rsplit_once('/')?.1.parse().ok());
    let places = ["/record/seq", "/portcullis/seq", "/unmapped/portcullis/seq"];
    places.iter().find_map(|p| event.pointer(p)?.as_u64()).or_else(id).expect("a number")
}

/// Changes the last decision among `events`; gives the fault that must be found.
fn change(events: &mut [String], change: impl Fn(&mut Value)) -> String {
    let is_decision = |e: &&mut String| e.contains("decision_id") || e.contains("class_uid");
    let event = events.iter_mut().rev().find(is_decision).expect("a decision");
    let mut value: Value = serde_json::from_str(event).expect("JSON");
    let before = value.clone();
    change(&mut value);
    assert_ne!(value, before);
    *event = value.to_string();
    format!("altered {}", seq(event))
}

/// Replaces text in the last event that has it; gives the fault that must be found.
fn replace(events: &mut [String], from: &str, to: &str) -> String {
    let event = events.iter_mut().rev().find(|e| e.contains(from)).expect("one with it");
    *event = event.replacen(from, to, 1);
    format!("altered {}", seq(event))
}

fn fine(found: &Found) {
    assert_eq!((found.0, &found.1), (Some(0), &Vec::new()), "{}", found.2);
}

fn finds(found: &Found, faults: &[String]) {
    assert_eq!((found.0, &found.1[..]), (Some(1), faults), "{}", found.2);
}

#[test]
fn bodies_and_further_members_are_held_too() {
    let server = Server::start(&[]);
    post(&server, 12);
    let dir = stop(server);
    let dir = dir.path();
    for (from, to) in [
        (r#","body":{"input":{"#, r#","body":{"input":{"forged":1,"#),
        (r#"{"leaf":""#, r#"{"verdict":"allow","leaf":""#),
        (r#","body":{"#, r#","body":{},"body":{"#),
    ] {
        let mut native = export(dir, "native", true);
        fine(&held(dir, &native, &[]));
        let fault = replace(&mut native, from, to);
        finds(&held(dir, &native, &[]), &[fault]);
    }
    // One that sinks would not send.
    let mut native = export(dir, "native", false);
    let decision = native.iter_mut().rev().find(|e| e.contains("decision_id")).expect("one");
    *decision = decision.strip_suffix('}').expect("an object").to_owned() + r#","body":{"input":{}}}"#;
    let fault = format!("altered {}", seq(decision));
    finds(&held(dir, &native, &[]), &[fault]);
    for (format, member) in [("opa", "decision_id"), ("cloudevents", "specversion"), ("ocsf", "class_name")] {
        let mut events = export(dir, format, false);
        // The second is as it was: which one counts is the reader's choice.
        let fault = replace(&mut events, &format!(r#""{member}":"#), &format!(r#""{member}":"other","{member}":"#));
        finds(&held(dir, &events, &[]), &[fault]);
    }
    for format in ["opa", "cloudevents"] {
        let mut events = export(dir, format, true);
        let place = if format == "opa" { "/input/request" } else { "/data/body/input/request" };
        let fault = change(&mut events, |e| e.pointer_mut(place).expect("a body")["uid"] = json!("forged"));
        finds(&held(dir, &events, &[]), &[fault]);
    }
}

#[test]
fn what_does_not_come_of_bodies_is_held_when_they_are_deleted() {
    let server = Server::start(&[]);
    post(&server, 12);
    std::thread::sleep(Duration::from_millis(1200));
    let dir = server.dir();
    let ocsf = export(dir, "ocsf", false);
    let (opa, opa_bodies) = (export(dir, "opa", false), export(dir, "opa", true));
    let (cloudevents, native) = (export(dir, "cloudevents", true), export(dir, "native", true));
    prune(dir, "--bodies-older-than");
    for events in [&ocsf, &opa] {
        let found = held(dir, events, &[]);
        fine(&found);
        assert_eq!((&found.2["intact"], &found.2["leaf_only"]), (&json!(12), &json!(0)));
    }
    // What cannot be told is not called intact.
    for events in [&opa_bodies, &cloudevents, &native] {
        let found = held(dir, events, &[]);
        fine(&found);
        assert_eq!((&found.2["intact"], &found.2["leaf_only"]), (&json!(events.len() - 12), &json!(12)));
    }
    let mut changed = ocsf.clone();
    let fault = change(&mut changed, |e| e["actor"]["user"]["name"] = json!("nobody"));
    finds(&held(dir, &changed, &[]), &[fault]);
    for events in [&opa, &opa_bodies] {
        let mut changed = events.clone();
        let fault = change(&mut changed, |e| e["result"]["cause"] = json!("forged"));
        finds(&held(dir, &changed, &[]), &[fault]);
    }
    let mut changed = cloudevents.clone();
    let fault = change(&mut changed, |e| e["data"]["record"]["cause"] = json!("forged"));
    finds(&held(dir, &changed, &[]), &[fault]);
    let mut changed = native.clone();
    let fault = replace(&mut changed, r#"{"leaf":""#, r#"{"verdict":"allow","leaf":""#);
    finds(&held(dir, &changed, &[]), &[fault]);
    drop(server);
}

#[test]
fn every_column_is_held() {
    let dir = tempfile::tempdir().expect("a directory");
    let lake = dir.path().join("lake");
    let url = format!("file://{}", lake.display());
    let server = Server::start_in(dir, &["--sink", &url]);
    post(&server, 20);
    let dir = stop(server);
    let found = reconcile(dir.path(), &["lake"], &[]);
    fine(&found);
    let objects = files(&lake);
    // As the encoding has a text: its length and its bytes. So it stands in the column `verdict` alone.
    let (from, to) = (b"\x04\0\0\0deny", b"\x04\0\0\0denz");
    let change = |path: &std::path::PathBuf| {
        let mut bytes = fs::read(path).expect("readable");
        let at = bytes.windows(from.len()).position(|w| w == from)?;
        bytes[at..at + to.len()].copy_from_slice(to);
        fs::write(path, bytes).ok()
    };
    assert!(objects.iter().filter_map(change).count() > 0, "nothing was denied");
    let (code, faults, summary) = reconcile(dir.path(), &["lake"], &[]);
    let denied = records(&log(dir.path())).iter().filter(|r| r["verdict"] == "deny").count();
    assert!(!faults.is_empty() && faults.len() <= denied, "{faults:?}");
    assert!(code == Some(1) && faults.iter().all(|f| f.starts_with("altered ")), "{summary}");
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).expect("a directory").map(|e| e.expect("an entry").path());
    entries.flat_map(|p| if p.is_dir() { files(&p) } else { vec![p] }).collect()
}

#[test]
fn what_a_hold_left_between_deleted_records_is_held_with_them() {
    let server = Server::start(&[]);
    post(&server, 2);
    let dir = server.dir();
    let id = server.records().iter().find_map(|r| r["decision_id"].as_str().map(str::to_owned)).expect("a decision");
    run(dir, &["decisions", "hold", "case-1", "--id", &id, "--reason", "suit", "--ticket", "T-1"]);
    // The segment with the decision is kept, the next one is deleted.
    prune(dir, "--records-older-than");
    post(&server, 20);
    std::thread::sleep(Duration::from_millis(1200));
    let early = export(dir, "native", false);
    prune(dir, "--records-older-than");
    post(&server, 5);
    std::thread::sleep(Duration::from_millis(1200));
    let mut all = early.clone();
    all.extend(export(dir, "native", false).into_iter().filter(|e| !early.contains(e)));
    let kept: Vec<u64> = server.records().iter().filter_map(|r| r["seq"].as_u64()).collect();
    let gone = kept.windows(2).find(|w| w[1] > w[0] + 10).expect("records between are deleted")[0] + 1;
    let found = held(dir, &all, &[]);
    fine(&found);
    assert_eq!(found.2["intact"], json!(all.len()));
    let at = usize::try_from(gone).expect("a number") + 3;
    let mut changed = all.clone();
    changed[at] = changed[at].replacen(r#""origin""#, r#""Origin":0,"origin""#, 1);
    let missing = changed.remove(at + 2);
    finds(&held(dir, &changed, &[]), &[format!("altered {at}"), format!("missing {}", seq(&missing))]);
    drop(server);
}

#[test]
fn nothing_true_is_called_amiss_after_a_prune() {
    let server = Server::start(&[]);
    let dir = server.dir();
    post(&server, 4);
    // A record between decisions that is none.
    prune(dir, "--bodies-older-than");
    post(&server, 4);
    std::thread::sleep(Duration::from_millis(1200));
    let (native, mut opa) = (export(dir, "native", false), export(dir, "opa", false));
    prune(dir, "--records-older-than");
    assert!(server.records()[0]["seq"].as_u64() > Some(8), "the records are deleted");
    post(&server, 3);
    std::thread::sleep(Duration::from_millis(1200));
    // All leaves lie in a partial tile.
    let found = held(dir, &native, &[]);
    fine(&found);
    assert_eq!(found.2["intact"], json!(native.len()));
    opa.extend(export(dir, "opa", false));
    let found = held(dir, &opa, &[]);
    fine(&found);
    assert_eq!((&found.2["intact"], &found.2["leaf_only"]), (&json!(3), &json!(8)), "{}", found.2);
    assert!(found.2["untold"].as_u64() > Some(0), "{}", found.2);
    // Of records that are deleted, the line itself still proves what is in it.
    let mut changed = native;
    let fault = replace(&mut changed, r#"{"leaf":""#, r#"{"verdict":"allow","leaf":""#);
    finds(&held(dir, &changed, &[]), &[fault]);
    drop(server);
}

#[test]
fn the_ends_are_told_and_can_be_asked_for() {
    let server = Server::start(&[]);
    post(&server, 8);
    let dir = stop(server);
    let dir = dir.path();
    let native = export(dir, "native", false);
    let (last, middle) = (native.len() - 1, &native[2..native.len() - 3]);
    let found = held(dir, middle, &[]);
    fine(&found);
    assert_eq!((&found.2["before"], &found.2["behind"]), (&json!(2), &json!(3)));
    finds(&held(dir, middle, &["--from", "1"]), &["missing 1".to_owned()]);
    let until = (last - 2).to_string();
    finds(&held(dir, middle, &["--from", "2", "--to", &until]), &[format!("missing {until}")]);
    // The log itself may have been cut back.
    finds(&held(dir, &native, &["--to", "99999999999"]), &["missing 99999999999".to_owned()]);
    let table = command(dir, &["decisions", "reconcile", "delivered.jsonl"]).output().expect("runs");
    assert!(table.status.success());
    held(dir, middle, &[]);
    let table = command(dir, &["decisions", "reconcile", "delivered.jsonl"]).output().expect("runs");
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("2 records of the log come before the first that was delivered"), "{table}");
    // Where decisions only are delivered, only they are missed.
    let opa = export(dir, "opa", false);
    let found = held(dir, &opa[1..opa.len() - 2], &[]);
    fine(&found);
    assert_eq!((&found.2["before"], &found.2["behind"]), (&json!(1), &json!(2)));
    finds(&held(dir, &opa[1..], &["--from", "0"]), &[format!("missing {}", seq(&opa[0]))]);
}

#[test]
fn numbers_without_a_line_are_held_against_their_leaf() {
    let server = Server::start(&[]);
    post(&server, 8);
    let dir = stop(server);
    let dir = dir.path();
    let (native, opa) = (export(dir, "native", false), export(dir, "opa", false));
    // A number far beyond the log's end costs no time.
    let mut beyond = opa.clone();
    let mut far: Value = serde_json::from_str(&opa[0]).expect("JSON");
    far["portcullis"]["seq"] = json!(1_u64 << 60);
    beyond.push(far.to_string());
    finds(&held(dir, &beyond, &[]), &[format!("unknown {}", 1_u64 << 60)]);
    let path = files(&log(dir)).into_iter().find(|p| p.ends_with("00000000000000000000.jsonl")).expect("a segment");
    let text = fs::read_to_string(&path).expect("text");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[5] = "x".repeat(lines[5].len());
    // And one that is not what was signed.
    lines[6] = lines[6].replacen("\"v\":1", "\"v\":2", 1);
    fs::write(&path, lines.join("\n") + "\n").expect("written");
    let found = held(dir, &native, &[]);
    fine(&found);
    assert_eq!((&found.2["records"], &found.2["intact"]), (&json!(native.len()), &json!(native.len())));
    let mut changed = native.clone();
    changed[5] = changed[5].replacen(r#""origin""#, r#""Origin":0,"origin""#, 1);
    changed.remove(6);
    finds(&held(dir, &changed, &[]), &["altered 5".to_owned(), "missing 6".to_owned()]);
}

#[test]
fn packed_objects_are_unpacked() {
    let server = Server::start(&[]);
    post(&server, 5);
    let dir = stop(server);
    let native = export(dir.path(), "native", false);
    let bucket = dir.path().join("bucket");
    fs::create_dir(&bucket).expect("made");
    let file = fs::File::create(bucket.join("a.jsonl.gz")).expect("created");
    let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    packer.write_all(native.join("\n").as_bytes()).expect("packed");
    packer.finish().expect("packed");
    let found = reconcile(dir.path(), &[&format!("file://{}", bucket.display())], &[]);
    fine(&found);
    assert_eq!(found.2["intact"], json!(native.len()));
}

/// Words that Athena takes for its own in DDL, of those that a column of ours has.
const RESERVED: [&str; 3] = ["date", "time", "timestamp"];

#[test]
fn the_table_for_athena_is_as_its_ddl_has_it() {
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sinks.md")).expect("docs");
    let (_, ddl) = docs.split_once("CREATE EXTERNAL TABLE decisions (").expect("an example");
    let (columns, rest) = ddl.split_once(")\nPARTITIONED BY (").expect("partitions");
    let (partitions, rest) = rest.split_once(')').expect("an end");
    let (properties, _) = rest.split_once(';').expect("an end");
    let (_, described) = docs.split_once("- **Parquet**: `").expect("the columns");
    for column in columns.split(',') {
        let name = column.split_whitespace().next().expect("a name");
        assert!(!RESERVED.contains(&name), "{name} needs backticks");
        assert!(described.contains(name.trim_matches('`')), "{name} is not described");
    }
    assert!(properties.contains("'projection.enabled' = 'true'"), "{properties}");
    for partition in partitions.split(',') {
        let name = partition.split_whitespace().next().expect("a name");
        assert!(!RESERVED.contains(&name), "{name} needs backticks");
        assert!(properties.contains(&format!("'projection.{}.type'", name.trim_matches('`'))), "{name}");
    }
}
