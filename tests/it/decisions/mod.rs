//! The decision log from outside: what is on disk after each thing that can happen to it, and what its readers say.

mod anchoring;
mod asking;
mod commanding;
mod crash;
mod disagreeing;
mod erasing;
mod forging;
mod guessing;
mod holding;
mod impact;
mod indexing;
mod joining;
mod keeping;
mod masking;
mod naming;
mod proving;
mod reading;
mod reading_over_https;
mod records;
mod replaying;
mod revealing;
mod sinking;
mod witnessing;
mod writing;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use portcullis::admission::{Request, decode};
use portcullis::decisions::{
    Caller, DecisionLog, DecisionMeta, Durability, Entry, Labels, LogOptions, MaskKey, Masker, Record, Retention,
    SigningSeed,
};
use portcullis::engine::{Cause, Decision, Endpoint, Excepted, Verdict, Violation};
use portcullis::policy::gatekeeper::Document;
use portcullis::policy::{Digest, Enforcement, PolicyException};
use serde_json::{Value, json};

fn key() -> MaskKey {
    MaskKey::from_bytes([7; 32])
}

fn masker() -> Masker {
    Masker::new(key(), Vec::new())
}

fn options(dir: &Path) -> LogOptions {
    LogOptions {
        dir: dir.to_path_buf(),
        durability: Durability::Flush,
        max_bytes: 10 << 30,
        segment_bytes: 64 << 20,
        retention: Retention::default(),
        labels: Labels { cluster: "test".to_owned(), replica: "r-0".to_owned(), version: "0".to_owned() },
        origin: "test/r-0".to_owned(),
        mask_key: key(),
        signing_seed: SigningSeed::from_bytes([5; 32]),
        checkpoint_copy: None,
    }
}

fn meta() -> DecisionMeta {
    let timestamp = jiff::Timestamp::now();
    DecisionMeta {
        decision_id: uuid::Uuid::now_v7(),
        timestamp,
        now_ns: i64::try_from(timestamp.as_nanosecond()).expect("before 2262"),
        caller: Caller { addr: "10.0.0.1:5000".parse().ok(), tls_subject: None, authenticated: false },
        metrics: BTreeMap::from([("decide_ns", 42)]),
    }
}

/// A CREATE of `object` in namespace `shop` by `alice`.
fn request(kind: &str, object: Value) -> Request {
    review(json!({
        "uid": "u-1", "operation": "CREATE", "namespace": "shop", "name": "thing",
        "kind": {"group": "", "version": "v1", "kind": kind},
        "resource": {"group": "", "version": "v1", "resource": format!("{}s", kind.to_lowercase())},
        "userInfo": {"username": "alice", "groups": ["devs"]},
        "object": object,
    }))
}

fn review(request: Value) -> Request {
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
    decode(review.to_string().as_bytes()).expect("an AdmissionReview")
}

fn allowed() -> Decision {
    Decision {
        endpoint: Endpoint::Validate,
        verdict: Verdict::Allow,
        cause: Cause::None,
        violations: Vec::new(),
        exceptions: Vec::new(),
        mutations: Vec::new(),
        conflicts: Vec::new(),
        failures: Vec::new(),
        warnings: Vec::new(),
        patch: None,
        audit_annotations: BTreeMap::new(),
        runs: Vec::new(),
        reads: Vec::new(),
        inventory_age: None,
        policy_set: Digest::of(b"policies"),
        data_digest: Digest::of(b"data"),
        deny_selected: true,
    }
}

fn denied(violations: Vec<Violation>) -> Decision {
    Decision { verdict: Verdict::Deny, cause: Cause::Policy, violations, ..allowed() }
}

fn violation(policy: &str, msg: &str) -> Violation {
    Violation {
        policy: policy.into(),
        digest: Digest::of(policy.as_bytes()),
        enforcement: Enforcement::Deny,
        severity: None,
        controls: Vec::new().into(),
        msg: msg.to_owned(),
        field: None,
        details: None,
        fix: None,
        location: None,
    }
}

/// The same let pass by an exception whose texts are these.
fn excepted(violation: Violation, text: &str) -> Excepted {
    let document = json!({"apiVersion": "portcullis.io/v1alpha1", "kind": "PolicyException",
        "metadata": {"name": "legacy"}, "spec": {"policyRefs": [{"name": "*"}], "reason": text, "ticket": text,
        "approver": text, "expires": "2027-01-01T00:00:00Z"}});
    let exception = PolicyException::read(&Document::of_value("e.yaml", document)).expect("an exception");
    Excepted { exception: exception.into(), violation }
}

/// A small decision that was allowed.
fn entry() -> Entry {
    Entry::decision(&meta(), &request("Pod", json!({"kind": "Pod"})), &allowed(), &masker())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// A log in `dir` with these entries, closed.
fn written(dir: &Path, entries: Vec<Entry>) {
    runtime().block_on(async {
        let log = DecisionLog::open(options(dir)).expect("opens");
        for entry in entries {
            log.append(entry, soon()).await.expect("appends");
        }
        log.close("test").await.expect("closes");
    });
}

static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/decision-record.schema.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(path).expect("the schema")).expect("JSON");
    jsonschema::validator_for(&schema).expect("a schema")
});

/// All segment files, oldest first.
fn segment_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .expect("a directory")
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    files.sort();
    files
}

/// All records in the files as they are, each held against the schema, the size limit and the sequence.
fn records(dir: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    for file in segment_files(dir) {
        let text = fs::read_to_string(&file).expect("UTF-8");
        assert!(text.is_empty() || text.ends_with('\n'), "half a line in {}", file.display());
        for (i, line) in text.lines().enumerate() {
            assert!(line.len() < portcullis::decisions::MAX_ENVELOPE, "{} bytes", line.len());
            let json: Value = serde_json::from_str(line).expect("JSON");
            let errors: Vec<String> =
                SCHEMA.iter_errors(&json).map(|e| format!("{}: {e}", e.instance_path())).collect();
            assert!(errors.is_empty(), "{errors:#?} in {line}");
            let record = Record::parse(line).expect("a record");
            if i == 0 {
                let name = format!("{:020}.jsonl", record.head.seq);
                assert_eq!(file.file_name().expect("a name").to_string_lossy(), name);
            }
            records.push(record);
        }
    }
    for pair in records.windows(2) {
        assert_eq!(pair[0].head.seq + 1, pair[1].head.seq, "a gap in seq");
    }
    records
}

fn types(records: &[Record]) -> Vec<&'static str> {
    records.iter().map(|r| r.head.r#type.as_str()).collect()
}

/// Everything that is in any file below `dir`.
fn all_bytes(dir: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.push_str(&all_bytes(&path));
        } else {
            all.push_str(&String::from_utf8_lossy(&fs::read(&path).expect("readable")));
        }
    }
    all
}
