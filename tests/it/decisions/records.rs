//! The record: every field of a decision, and the size of an envelope whatever comes.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis::decisions::{Caller, DecisionMeta, Entry, MAX_ENVELOPE};
use portcullis::engine::{Cause, Decision, Endpoint, ErrorCode, Location, PolicyFailure, Read, Verdict};
use portcullis::policy::{Digest, Enforcement, Severity};
use serde_json::{Value, json};

use super::{allowed, denied, excepted, masker, meta, records, request, review, violation, written};

fn envelope(entry: Entry) -> Value {
    let dir = tempfile::tempdir().expect("a temporary directory");
    written(dir.path(), vec![entry]);
    let records = records(dir.path());
    serde_json::from_str(&records[1].line).expect("JSON")
}

#[test]
fn a_decision_has_all_its_fields() {
    let id = uuid::Uuid::parse_str("01976b2c-0000-7000-8000-000000000001").expect("a UUID");
    let meta = DecisionMeta {
        decision_id: id,
        timestamp: "2026-01-02T03:04:05.000000006Z".parse().expect("a time"),
        now_ns: 1_767_323_045_000_000_007,
        caller: Caller {
            addr: "[::1]:443".parse().ok(),
            tls_subject: Some("CN=kube-apiserver".to_owned()),
            authenticated: true,
        },
        metrics: BTreeMap::from([("decide_ns", 5)]),
    };
    let request = review(json!({
        "uid": "u-1", "operation": "CREATE", "namespace": "shop", "dryRun": true,
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
        "userInfo": {"username": "alice", "uid": "7", "groups": ["a", "b"], "extra": {"arn": ["x"]}},
        "object": {"metadata": {"generateName": "web-"}},
    }));
    let location = Location { file: "p.rego".to_owned(), line: 3, column: 1 };
    let mut found = violation("p", "no");
    found.severity = Some(Severity::High);
    found.controls = vec!["CIS 5.2.7".to_owned()].into();
    found.field = Some("spec".to_owned());
    found.location = Some(location.clone());
    let decision = Decision {
        endpoint: Endpoint::Validate,
        failures: vec![PolicyFailure {
            policy: "q".into(),
            digest: Digest::of(b"q"),
            enforcement: Enforcement::Warn,
            code: ErrorCode::Budget,
            msg: "too slow".to_owned(),
            location: Some(location),
        }],
        exceptions: vec![excepted(found.clone(), "SEC-1")],
        warnings: vec!["careful".to_owned()],
        inventory_age: Some(Duration::from_millis(12)),
        reads: vec![Read {
            path: "namespaces/shop".to_owned(),
            uid: Some("n".to_owned()),
            resource_version: Some("9".to_owned()),
            digest: Digest::of(b"n"),
            http: None,
            content: None,
        }],
        ..denied(vec![found])
    };
    let mut json = envelope(Entry::decision(&meta, &request, &decision, &masker()));
    let digest = json["input"]["digest"].take();
    assert!(digest.as_str().is_some_and(|d| d.starts_with("sha256:")));
    let engine = json["engine"].take();
    assert!(engine.as_str().is_some_and(|e| e.contains("regorus/")), "{engine}");
    let location = json!({"file": "p.rego", "line": 3, "column": 1});
    let wanted = json!({
        "v": 1, "type": "decision", "seq": 1, "origin": "test/r-0",
        "labels": {"cluster": "test", "replica": "r-0", "version": "0"},
        "decision_id": id.to_string(), "timestamp": "2026-01-02T03:04:05.000000006Z",
        "now": "2026-01-02T03:04:05.000000007Z", "endpoint": "validate",
        "caller": {"addr": "[::1]:443", "tls_subject": "CN=kube-apiserver", "authenticated": true},
        "request": {
            "uid": "u-1", "operation": "CREATE", "group": "apps", "version": "v1", "kind": "Deployment",
            "resource": "deployments", "namespace": "shop", "generate_name": "web-", "dry_run": true,
            "user": {"username": "alice", "uid": "7", "groups": ["a", "b"], "extra": {"arn": ["x"]}},
        },
        "verdict": "deny", "cause": "policy", "mutated": false,
        "violations": [{"policy": "p", "digest": Digest::of(b"p"), "enforcement": "deny", "severity": "high",
            "controls": ["CIS 5.2.7"], "msg": "no", "field": "spec", "location": location}],
        "errors": [{"policy": "q", "digest": Digest::of(b"q"), "enforcement": "warn", "code": "budget",
            "msg": "too slow", "location": location}],
        "warnings": ["careful"],
        "exceptions": [{"name": "legacy", "policy": "p", "ticket": "SEC-1", "approver": "SEC-1",
            "expires": "2027-01-01T00:00:00Z",
            "violation": {"policy": "p", "digest": Digest::of(b"p"), "enforcement": "deny", "severity": "high",
                "controls_omitted": 1, "msg": "no", "field": "spec", "location": location}}],
        "policy_set": Digest::of(b"policies"), "data_digest": Digest::of(b"data"),
        "inventory": {"age_ms": 12},
        "reads": [{"path": "namespaces/shop", "uid": "n", "resourceVersion": "9", "digest": Digest::of(b"n")}],
        "input": {"digest": null, "masked": []},
        "engine": null, "metrics": {"decide_ns": 5},
    });
    assert_eq!(json, wanted);
}

#[test]
fn every_cause_is_a_record() {
    for cause in [Cause::Policy, Cause::PolicyError, Cause::Deadline, Cause::Overload, Cause::Log, Cause::None] {
        for (verdict, word) in [(Verdict::Allow, "allow"), (Verdict::Deny, "deny")] {
            let decision = Decision { cause, verdict, ..allowed() };
            let json = envelope(Entry::decision(&meta(), &request("Pod", json!({})), &decision, &masker()));
            assert_eq!((json["verdict"].as_str(), json["cause"].as_str()), (Some(word), Some(cause.as_str())));
        }
    }
}

#[test]
fn ten_thousand_violations_are_cut_with_a_count() {
    let many = (0..10_000).map(|i| {
        let mut v = violation("p", &format!("violation number {i}"));
        v.details = Some(json!({"index": i}));
        v
    });
    let decision = denied(many.collect());
    let json = envelope(Entry::decision(&meta(), &request("Pod", json!({})), &decision, &masker()));
    let shown = json["violations"].as_array().expect("a list").len();
    assert!(shown > 20, "{shown}");
    assert_eq!(json["violations_omitted"], 10_000 - shown);
    assert_eq!(json["violations"][0]["msg"], "violation number 0");
}

#[test]
fn an_envelope_is_bounded_whatever_comes() {
    for filler in ["x", "\u{1}", "\"", "é", "\u{1F600}"] {
        let long = filler.repeat(5_000);
        let many: Vec<String> = (0..500).map(|i| format!("{i}{}", filler.repeat(300))).collect();
        let extra: BTreeMap<&str, &Vec<String>> = [("a", &many), (&long, &many)].into();
        let data: BTreeMap<String, &String> = many.iter().map(|m| (m.clone(), &long)).take(20).collect();
        let request = review(json!({
            "uid": long, "operation": "CREATE", "namespace": long, "name": long, "subResource": long,
            "kind": {"group": long, "version": long, "kind": long},
            "resource": {"group": long, "version": long, "resource": long},
            "userInfo": {"username": long, "uid": long, "groups": many, "extra": extra},
            "object": {"kind": "ConfigMap", "data": data},
        }));
        let location = Location { file: long.clone(), line: 1, column: 1 };
        let found = || {
            let mut v = violation(&long, &long);
            v.controls = many.clone().into();
            v.field = Some(long.clone());
            v.severity = Some(Severity::Critical);
            v.location = Some(location.clone());
            v.fix = Some("mend".to_owned());
            v
        };
        // Texts of exceptions are bounded when they are read; these are as long as they may be.
        let text = if filler == "\u{1}" { "\n".repeat(255) + "x" } else { filler.repeat(256 / filler.len()) };
        let failure = PolicyFailure {
            policy: long.as_str().into(),
            digest: Digest::of(b"q"),
            enforcement: Enforcement::Deny,
            code: ErrorCode::UnknownNamespace,
            msg: long.clone(),
            location: Some(location.clone()),
        };
        let read = Read {
            path: long.clone(),
            uid: Some(long.clone()),
            resource_version: Some(long.clone()),
            digest: Digest::of(b"r"),
            http: None,
            content: None,
        };
        let decision = Decision {
            failures: vec![failure; 300],
            warnings: many.clone(),
            reads: vec![read; 300],
            inventory_age: Some(Duration::from_secs(u64::MAX / 2)),
            exceptions: vec![excepted(found(), &text); 100],
            ..denied(vec![found(); 100])
        };
        let mut meta = meta();
        meta.caller.tls_subject = Some(long.clone());
        let json = envelope(Entry::decision(&meta, &request, &decision, &masker()));
        assert!(json.to_string().len() < MAX_ENVELOPE);
        for list in ["violations", "exceptions", "errors", "warnings", "reads"] {
            let shown = json[list].as_array().expect("a list").len();
            assert!(shown > 0 || list == "reads", "{list} of {filler:?} is empty");
            assert!(json[format!("{list}_omitted")].as_u64().is_some_and(|n| n > 0), "{list} of {filler:?}");
        }
        let user = &json["request"]["user"];
        assert!(user["groups_omitted"].as_u64().is_some_and(|n| n > 400), "{filler:?}");
        assert!(user["extra_omitted"].as_u64().is_some_and(|n| n > 900), "{filler:?}");
    }
}
