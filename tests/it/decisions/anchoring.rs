//! Checkpoints outside the log: a server puts them there, and what is there convicts a log that was changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis::decisions::{FindingCode, SigningSeed, latest_checkpoint};
use portcullis::tlog::{Checkpoint, Note, VerifierKey, leaf_hash};
use serde_json::{Value, json};

use super::proving::{check, cli, codes, copy, grow, key, temp};
use super::{options, segment_files};
use crate::support::listener::Listener;
use crate::support::server::{PATIENCE, Server, command};

/// Waits until something holds.
pub(super) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn page(server: &Server, path: &str) -> String {
    let mut answer = ureq::get(format!("http://{}{path}", server.admin)).call().expect("answers");
    answer.body_mut().read_to_string().expect("text")
}

/// The notes in an anchor's file.
fn notes(path: &Path) -> Vec<Note> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert!(line["time"].as_str().is_some_and(|t| t.ends_with('Z')), "{line}");
        Note::parse(line["note"].as_str().expect("a note")).expect("a note")
    };
    text.lines().map(line).collect()
}

/// All files below a directory.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()) {
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn a_server_anchors_at_the_start_and_at_the_end_and_tries_again() {
    // Refuses twice, then takes what comes.
    let taken = Arc::<Mutex<(u32, Vec<String>)>>::default();
    let shared = Arc::clone(&taken);
    let endpoint = Listener::start(move |asked| {
        let mut taken = shared.lock().expect("whole");
        taken.0 += 1;
        if taken.0 <= 2 {
            return (503, "text/plain", "not now\nmore".to_owned());
        }
        assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/checkpoints"));
        assert_eq!(asked.header("content-type"), Some("text/plain; charset=utf-8"));
        taken.1.push(asked.body.clone());
        (200, "text/plain", String::new())
    });
    let url = endpoint.url("/checkpoints");
    let args =
        ["--anchor", "kept/history.jsonl", "--anchor", "kept/notes/", "--anchor", &url, "--anchor-interval", "1h"];
    let mut server = Server::start(&args);
    let history = server.dir().join("kept/history.jsonl");
    until("nothing was anchored", || !notes(&history).is_empty() && !taken.lock().expect("whole").1.is_empty());
    until("readyz says nothing of it", || {
        let ready = page(&server, "/readyz?verbose");
        ready.contains("kept/history.jsonl: ") && ready.contains(" records, ") && !ready.contains("failing")
    });
    let metrics = page(&server, "/metrics");
    let counted = format!("portcullis_decision_log_anchor_failures_total{{anchor=\"{url}\"}} 2");
    assert!(metrics.contains(&counted), "{metrics}");
    assert!(
        metrics.contains("portcullis_decision_log_anchor_failures_total{anchor=\"kept/history.jsonl\"} 0"),
        "{metrics}"
    );
    assert!(metrics.contains("portcullis_decision_log_anchor_records{anchor=\"kept/notes/\"}"), "{metrics}");
    let messages = server.messages();
    assert!(messages.contains("503 Service Unavailable: not now"), "{messages}");
    // Within the interval there is one each; the last comes when the log is closed.
    assert_eq!(notes(&history).len(), 1);
    server.signal("-TERM");
    assert!(server.wait().success());
    let log = server.dir().join(".portcullis/decisions");
    let latest = fs::read_to_string(log.join("checkpoint")).expect("read");
    let notes = notes(&history);
    assert_eq!((notes.len(), notes[1].to_string()), (2, latest.clone()));
    assert_eq!(taken.lock().expect("whole").1.last(), Some(&latest));
    let files = files(&server.dir().join("kept/notes"));
    assert_eq!(fs::read_to_string(files.last().expect("a file")).expect("read"), latest);
    // The log agrees with all of them, and a log of another size or content would not.
    let vkey = fs::read_to_string(log.join("keys")).expect("read");
    let log = log.to_string_lossy().into_owned();
    let verify = ["decisions", "verify", &log, "--key", vkey.trim(), "--checkpoint", "kept"];
    let (code, out, error) = cli(server.dir(), &verify);
    assert_eq!(code, 0, "{out}{error}");
    assert!(out.contains("2 checkpoints kept elsewhere were compared"), "{out}");
}

#[test]
fn an_anchor_in_the_log_or_out_of_reach_is_refused() {
    let dir = temp();
    for (args, wanted) in [
        (&["--anchor", ".portcullis/decisions/anchor"][..], "is in the directory of the decision log"),
        (&["--anchor", "x/../.portcullis/decisions/"], "is in the directory of the decision log"),
        (&["--signing-key", "x/../.portcullis/decisions/key"], "is in the directory of the decision log"),
        (&["--anchor", "configmap://a/b"], "none is connected; give --kubeconfig"),
        (&["--anchor", "ftp://a/b"], "`ftp` is no kind of anchor"),
        (&["--anchor", "a,a"], "`a` is there twice"),
        (&["--anchor", "a", "--anchor-interval", "10ms"], "is not within 1s and 24h"),
        (&["--witness", "https://h=nonsense"], "is no witness"),
    ] {
        let (code, _, error) = cli(dir.path(), &[&["serve"], args].concat());
        assert_eq!(code, 2, "{args:?}: {error}");
        assert!(error.contains(wanted), "{args:?}: {error}");
    }
}

#[test]
fn a_note_that_was_put_is_never_written_over() {
    let dir = temp();
    grow(options(&dir.path().join("log")), 5);
    let put =
        |log: &str| cli(dir.path(), &["decisions", "anchor", "--decision-log", log, "--to", "notes/", "--to", "one"]);
    for _ in 0..2 {
        let (code, _, error) = put("log");
        assert_eq!(code, 0, "{error}");
    }
    assert_eq!((files(&dir.path().join("notes")).len(), notes(&dir.path().join("one")).len()), (1, 2));
    // The same name, key and size, and other records.
    grow(options(&dir.path().join("other")), 5);
    let (code, _, error) = put("other");
    assert_eq!(code, 2);
    assert!(error.contains("holds another checkpoint of 7 records"), "{error}");
    let (code, out, _) = cli(dir.path(), &["decisions", "anchor", "--decision-log", "log"]);
    assert_eq!((code, out), (0, fs::read_to_string(dir.path().join("log/checkpoint")).expect("read")));
    let (code, _, error) = cli(dir.path(), &["decisions", "anchor", "--decision-log", "log", "--to", "log/x"]);
    assert_eq!(code, 2, "{error}");
    let (code, _, error) = cli(dir.path(), &["decisions", "anchor", "--decision-log", "none"]);
    assert_eq!(code, 2, "{error}");
    // A file that a crash cut off is finished.
    let note = files(&dir.path().join("notes")).pop().expect("one");
    let whole = fs::read_to_string(&note).expect("read");
    for cut in [0, 20, whole.len() - 1] {
        fs::write(&note, &whole[..cut]).expect("written");
        assert_eq!(put("log").0, 0);
        assert_eq!(fs::read_to_string(&note).expect("read"), whole);
    }
    // A line that a crash left half written is passed over.
    let anchor = dir.path().join("one");
    let text = fs::read_to_string(&anchor).expect("read");
    fs::write(&anchor, &text[..text.len() / 2 + 20]).expect("written");
    assert_eq!(put("log").0, 0);
    let report = check(&dir.path().join("log"), &[&anchor]);
    assert_eq!((report.findings.len(), report.anchors), (0, 1));
}

/// Objects of a bucket by path, as an S3-compatible server keeps them.
type Bucket = Arc<Mutex<BTreeMap<String, String>>>;

#[test]
fn object_storage_holds_a_note_an_object() {
    let objects = Bucket::default();
    let shared = Arc::clone(&objects);
    let store = Listener::start(move |asked| {
        let mut objects = shared.lock().expect("whole");
        match (asked.method.as_str(), objects.get(&asked.path)) {
            ("PUT", Some(_)) if asked.header("if-none-match") == Some("*") => (412, "application/xml", String::new()),
            ("PUT", _) => {
                assert!(asked.header("authorization").is_some_and(|a| a.contains("AKIDEXAMPLE")), "not signed");
                objects.insert(asked.path.clone(), asked.body.clone());
                (200, "application/xml", String::new())
            }
            ("GET" | "HEAD", Some(object)) => (200, "text/plain", object.clone()),
            _ => (404, "application/xml", String::new()),
        }
    });
    let dir = temp();
    let put = |log: &str| {
        let mut command =
            command(dir.path(), &["decisions", "anchor", "--decision-log", log, "--to", "s3://bucket/a/b"]);
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ENDPOINT", &store.url("")),
            ("AWS_ALLOW_HTTP", "true"),
        ] {
            command.env(name, value);
        }
        let output = command.output().expect("runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let log = dir.path().join("log");
    for _ in 0..2 {
        grow(options(&log), 3);
        let (code, error) = put("log");
        assert_eq!(code, Some(0), "{error}");
    }
    assert_eq!(put("log").0, Some(0), "the same once more");
    let found = objects.lock().expect("whole").clone();
    let paths: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(paths.len(), 2, "{paths:?}");
    assert!(paths[0].starts_with("/bucket/a/b/test.r.0."), "{paths:?}");
    assert!(paths[1].ends_with("/00000000000000000010.checkpoint"), "{paths:?}");
    grow(options(&dir.path().join("other")), 8);
    let (code, error) = put("other");
    assert_eq!(code, Some(2));
    assert!(error.contains("holds another checkpoint of 10 records"), "{error}");
    // As `aws s3 sync` brings them.
    for (path, note) in &found {
        let copy = dir.path().join(format!("kept{path}"));
        fs::create_dir_all(copy.parent().expect("a parent")).expect("made");
        fs::write(copy, note).expect("written");
    }
    let kept = dir.path().join("kept");
    let report = check(&log, &[&kept]);
    assert_eq!((report.findings.len(), report.anchors), (0, 2));
    assert_eq!(codes(&check(&dir.path().join("other"), &[&kept])), [FindingCode::Anchor; 2]);
}

/// Merges as RFC 7396 has it.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return *target = patch.clone() };
    for (key, value) in patch {
        merge(&mut target[key.as_str()], value);
    }
}

#[test]
fn a_config_map_holds_a_history_and_a_lease_the_latest() {
    let objects = Arc::<Mutex<BTreeMap<String, Value>>>::default();
    let shared = Arc::clone(&objects);
    let cluster = Listener::start(move |asked| {
        let mut objects = shared.lock().expect("whole");
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let not_found = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "not found", "reason": "NotFound", "code": 404});
        let conflict = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "changed", "reason": "Conflict", "code": 409});
        let (status, answer) = match (asked.method.as_str(), objects.get_mut(&asked.path)) {
            ("GET", Some(object)) => (200, object.clone()),
            // Another replica changes it between, once.
            ("PATCH", Some(object)) if object["metadata"]["resourceVersion"] == "1" => {
                merge(object, &json!({"metadata": {"resourceVersion": "2"}, "data": {"other": "theirs"}}));
                (409, conflict)
            }
            ("PATCH", Some(object)) => {
                assert_eq!(asked.header("content-type"), Some("application/merge-patch+json"));
                let version = object["metadata"]["resourceVersion"].as_str().expect("a version").to_owned();
                assert_eq!(body["metadata"]["resourceVersion"], version.as_str(), "what was read is named");
                merge(object, &body);
                let next = version.parse::<u64>().expect("a number") + 1;
                object["metadata"]["resourceVersion"] = next.to_string().into();
                (200, object.clone())
            }
            ("POST", None) => {
                let path = format!("{}/{}", asked.path, body["metadata"]["name"].as_str().expect("a name"));
                let mut body = body;
                body["metadata"]["resourceVersion"] = "1".into();
                objects.insert(path, body.clone());
                (201, body)
            }
            _ => (404, not_found),
        };
        (status, "application/json", answer.to_string())
    });
    let dir = temp();
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": cluster.url("")}}], "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    fs::write(dir.path().join("kubeconfig"), kubeconfig.to_string()).expect("written");
    let log = dir.path().join("log");
    let anchor = |log: &str, to: &str| {
        let args = ["decisions", "anchor", "--decision-log", log, "--kubeconfig", "kubeconfig", "--to", to];
        let (code, _, error) = cli(dir.path(), &args);
        (code, error)
    };
    let places = ["configmap://ns/checkpoints", "lease://ns/checkpoints"];
    for _ in 0..3 {
        grow(options(&log), 3);
        for place in places {
            let (code, error) = anchor("log", place);
            assert_eq!(code, 0, "{error}");
        }
    }
    let found = objects.lock().expect("whole").clone();
    let map = &found["/api/v1/namespaces/ns/configmaps/checkpoints"];
    let lease = &found["/apis/coordination.k8s.io/v1/namespaces/ns/leases/checkpoints"];
    assert_eq!(map["data"]["other"], "theirs", "what others wrote stays");
    let (key, history) = map["data"].as_object().expect("data").iter().find(|(key, _)| *key != "other").expect("one");
    assert!(key.starts_with("test.r.0.") && history.as_str().is_some_and(|h| h.lines().count() == 3), "{map}");
    // As `kubectl get -o json` and `-o yaml` print them, alone and in a list.
    let block: String = history.as_str().expect("text").lines().map(|line| format!("    {line}\n")).collect();
    let yaml = format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: checkpoints\ndata:\n  {key}: |\n{block}");
    let list = serde_json::to_string_pretty(&json!({"kind": "List", "items": [map, lease]})).expect("JSON");
    for (name, text, count) in [
        ("map.yaml", yaml, 3),
        ("map.json", serde_json::to_string_pretty(map).expect("JSON"), 3),
        ("lease.json", lease.to_string(), 1),
        ("list.json", list, 3),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, text).expect("written");
        let report = check(&log, &[&path]);
        assert_eq!((report.findings.as_slice(), report.anchors), (&[][..], count), "{name}");
    }
    // The log as it was at the first of them lacks the rest.
    let short = dir.path().join("short");
    grow(options(&short), 3);
    // It, and one of the same size with other records, do not write over what shows it.
    grow(options(&dir.path().join("other")), 13);
    for place in places {
        assert_eq!(anchor("log", place).0, 0, "the same again is fine");
        let before = objects.lock().expect("whole").clone();
        let (code, error) = anchor("short", place);
        assert_eq!(code, 2);
        assert!(error.contains("holds a checkpoint of 15 records, and the log has 5: the log was changed"), "{error}");
        let (code, error) = anchor("other", place);
        assert_eq!(code, 2);
        assert!(error.contains("holds another checkpoint of 15 records"), "{error}");
        assert_eq!(*objects.lock().expect("whole"), before);
    }
    let report = check(&short, &[&dir.path().join("map.yaml")]);
    assert_eq!(codes(&report), [FindingCode::Anchor, FindingCode::Truncated, FindingCode::Truncated], "{report:#?}");
}

#[test]
fn two_checkpoints_that_contradict_one_another_are_found_wherever_the_log_ends() {
    let dir = temp();
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    grow(options(&ours), 3);
    let early = dir.path().join("early");
    copy(&ours, &early);
    copy(&ours, &theirs);
    grow(options(&ours), 5);
    grow(options(&theirs), 5);
    let (a, b) = (ours.join("checkpoint"), theirs.join("checkpoint"));
    let told = |log: &Path| check(log, &[&a, &b]);
    let report = told(&early);
    let split = |report: &portcullis::decisions::Report| {
        let found = report.findings.iter().find(|f| f.message.contains("contradict one another, both signed"));
        found.is_some_and(|f| f.code == FindingCode::Anchor)
    };
    assert!(split(&report), "{report:#?}");
    assert_eq!(codes(&report), [FindingCode::Anchor, FindingCode::Truncated, FindingCode::Truncated]);
    let report = told(&ours);
    assert!(split(&report), "{report:#?}");
    assert_eq!(codes(&report), [FindingCode::Anchor; 2]);
    // What anybody could have written is not said to be signed.
    let mut forged = (*latest_checkpoint(&ours).expect("signed").checkpoint).clone();
    forged.root = leaf_hash(b"x");
    fs::write(dir.path().join("line"), forged.to_string()).expect("written");
    let report = check(&early, &[&a, &dir.path().join("line")]);
    assert!(report.findings[0].message.contains("contradict one another: in"), "{report:#?}");
}

#[test]
fn an_old_key_that_is_at_hand_vouches_for_the_new_one() {
    let dir = temp();
    let seed = |n: u8| SigningSeed::from_bytes([n; 32]);
    let public = |n: u8| -> VerifierKey { seed(n).under("test/r-0").expect("a key").verifier().clone() };
    assert_eq!(public(5), key());
    let log = dir.path();
    grow(options(log), 5);
    grow(portcullis::decisions::LogOptions { signing_seed: seed(6).replacing(&seed(5)), ..options(log) }, 5);
    // Without the one before nobody vouches.
    let left = temp();
    copy(log, left.path());
    grow(portcullis::decisions::LogOptions { signing_seed: seed(7), ..options(left.path()) }, 5);
    assert_eq!(codes(&check(left.path(), &[])), [FindingCode::Signature]);
    // A second time: the chain is followed.
    grow(portcullis::decisions::LogOptions { signing_seed: seed(7).replacing(&seed(6)), ..options(log) }, 5);
    let report = check(log, &[]);
    assert_eq!(report.findings, []);
    let steps: Vec<_> = report.hand_overs.iter().map(|h| (h.from.clone(), h.to.clone())).collect();
    assert_eq!(steps, [(public(5), public(6)), (public(6), public(7))]);
    assert_eq!(report.signed_by, Some(public(7)));
    // The statement is a checkpoint for everybody else, over the record that tells of the key.
    let size = report.hand_overs[0].size;
    let path = log.join(format!("checkpoints/{size:020}"));
    let text = fs::read_to_string(&path).expect("read");
    let (checkpoint, _) = Checkpoint::open(&text, &[public(6)]).expect("a checkpoint");
    assert_eq!((checkpoint.size, checkpoint.origin.as_str()), (size, "test/r-0"));
    // A previous key that never signed this log vouches for nothing, nor does a stranger's signature beside the old one.
    let (code, out, _) = cli(log, &["decisions", "verify", ".", "--key", &public(5).to_string()]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("hand-over:  by test/r-0+") && out.contains("a key of --key handed over to it"), "{out}");
    let stranger = seed(9).under("test/r-0").expect("a key");
    let mut note = Note::parse(&text).expect("a note");
    note.text = note.text.replace(&public(6).to_string(), &stranger.verifier().to_string());
    note.signatures[1] = stranger.sign(&note.text);
    fs::write(&path, note.to_string()).expect("written");
    assert!(!check(log, &[]).is_fine());
    assert!(segment_files(log).len() == 1);
}
