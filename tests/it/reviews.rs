//! Requests that a real API server sent, with what the shipped policies and the example data say to each.
//!
//! One `check()` holds a decision against its case, whichever way it was reached.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis::admission::{Response, Status, decode};
use portcullis::engine::{
    CompileOptions, Context, Decision, Endpoint, FailureModes, Inventory, Snapshot, answer, compile, decide,
};
use portcullis::policy::Enforcement;
use portcullis::source::{LoadOptions, load};
use serde::Deserialize;
use serde_json::Value;

use crate::support::client::Client;
use crate::support::server::Server;

/// One captured review with what must come of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// Below `tests/it/reviews`; the folder says which endpoint it was sent to.
    pub file: String,
    pub verdict: String,
    pub policies: BTreeSet<String>,
    pub messages: BTreeSet<String>,
    #[serde(default)]
    pub patch: Option<Value>,
    /// Why, where it is not plain.
    #[serde(default)]
    #[expect(dead_code, reason = "for the reader of the table")]
    pub note: Option<String>,
}

impl Case {
    pub(crate) fn endpoint(&self) -> Endpoint {
        if self.file.starts_with("mutate/") { Endpoint::Mutate } else { Endpoint::Validate }
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        fs::read(root().join(&self.file)).unwrap_or_else(|e| panic!("{}: {e}", self.file))
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/reviews")
}

pub(crate) fn cases() -> Vec<Case> {
    let text = fs::read_to_string(root().join("expected.yaml")).expect("the table");
    portcullis::policy::yaml::parse("expected.yaml", &text, Default::default()).expect("the table parses")
}

pub(crate) fn shipped() -> (Arc<Snapshot>, Inventory) {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let options =
        LoadOptions { data: vec![policies.join("example-data")], policies: vec![policies], ..LoadOptions::default() };
    let loaded = load(&options).expect("the shipped policies load");
    let snapshot = compile(&loaded.sources, CompileOptions::default()).expect("they compile").snapshot;
    let inventory = Inventory::fixed(snapshot.fixed_namespaces());
    (Arc::new(snapshot), inventory)
}

/// What `decide` makes of a case.
pub(crate) fn decided(case: &Case, snapshot: &Arc<Snapshot>, inventory: &Inventory) -> Decision {
    let request = Arc::new(decode(&case.body()).unwrap_or_else(|e| panic!("{}: {e}", case.file)));
    let context = Context {
        endpoint: case.endpoint(),
        now_ns: 0,
        seed: 0,
        deadline: None,
        failure: FailureModes::default(),
        http: None,
    };
    decide(snapshot, inventory, &request, &context)
}

/// Holds an answer, as the API server gets it, against its case.
pub(crate) fn check(case: &Case, response: &Response) {
    assert_eq!(if response.allowed { "allow" } else { "deny" }, case.verdict, "{}: {:?}", case.file, response.status);
    let message = response.status.as_ref().map(|s| s.message.clone()).unwrap_or_default();
    if case.verdict == "deny" {
        for policy in &case.policies {
            assert!(message.contains(&format!("{policy}: ")), "{}: `{policy}` is not named in\n{message}", case.file);
        }
        for wanted in &case.messages {
            assert!(message.contains(wanted.as_str()), "{}: `{wanted}` is not in\n{message}", case.file);
        }
        assert_eq!(message.lines().count(), case.messages.len(), "{}: other messages in\n{message}", case.file);
    }
    let patch = response.patch.as_ref().map(|p| serde_json::to_value(p).expect("JSON"));
    let mut operations = patch.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
    let mut wanted = case.patch.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
    operations.sort_by_key(Value::to_string);
    wanted.sort_by_key(Value::to_string);
    assert_eq!(operations, wanted, "{}", case.file);
}

#[test]
fn every_captured_review_is_decided_as_the_table_says() {
    let (snapshot, inventory) = shipped();
    for case in cases() {
        let decision = decided(&case, &snapshot, &inventory);
        assert_eq!(decision.failures, [], "{}", case.file);
        let refused = decision.violations.iter().filter(|v| v.enforcement == Enforcement::Deny);
        let policies: BTreeSet<String> = refused.clone().map(|v| v.policy.to_string()).collect();
        let messages: BTreeSet<String> = refused.map(|v| v.msg.clone()).collect();
        assert_eq!((&policies, &messages), (&case.policies, &case.messages), "{}", case.file);
        check(&case, &answer(&decision, "uid"));
    }
}

/// An answer as it came over the wire.
fn from_wire(response: &Value) -> Response {
    use base64::Engine as _;
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let status = response.get("status").map(|s| Status {
        code: s["code"].as_u64().and_then(|c| u16::try_from(c).ok()).expect("a code"),
        reason: if s["reason"] == "Forbidden" { "Forbidden" } else { "another" },
        message: text(&s["message"]),
    });
    let patch = response.get("patch").map(|patch| {
        assert_eq!(response["patchType"], "JSONPatch");
        let json = base64::engine::general_purpose::STANDARD.decode(text(patch)).expect("base64");
        serde_json::from_slice(&json).expect("operations")
    });
    let annotations = response["auditAnnotations"].as_object().cloned().unwrap_or_default();
    Response {
        uid: text(&response["uid"]),
        allowed: response["allowed"].as_bool().expect("a verdict"),
        status,
        warnings: response["warnings"].as_array().map(|w| w.iter().map(text).collect()).unwrap_or_default(),
        patch,
        audit_annotations: annotations.iter().map(|(k, v)| (k.clone(), text(v))).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_answers_as_decide_does() {
    let server = Server::start(&[]);
    let (snapshot, inventory) = shipped();
    for case in cases() {
        // One for each: the server closes connections that wait or grow old.
        let mut client = Client::http1(&server).await;
        let body = String::from_utf8(case.body()).expect("text");
        let path = format!("/v1/{}?timeout=5s", case.endpoint().as_str());
        let reply = client.post(&path, &body).await;
        assert_eq!(reply.status, 200, "{}: {}", case.file, reply.text());
        let mut answered = from_wire(&reply.response());
        check(&case, &answered);
        // But for the name of its own decision the server says what the door says.
        answered.audit_annotations.retain(|key, _| key != "checkpoint" && !key.starts_with("decision-id."));
        let uid = decode(&case.body()).expect("decodes").uid;
        assert_eq!(answered, answer(&decided(&case, &snapshot, &inventory), &uid), "{}", case.file);
    }
    let recorded = server.records().iter().filter(|r| r["type"] == "decision").count();
    assert_eq!(recorded, cases().len(), "every decision has its record");
}

#[test]
fn the_table_has_every_captured_review() {
    let listed: BTreeSet<String> = cases().into_iter().map(|c| c.file).collect();
    let mut found = BTreeSet::new();
    for folder in ["validate", "mutate"] {
        for entry in fs::read_dir(root().join(folder)).expect("reviews").flatten() {
            found.insert(format!("{folder}/{}", entry.file_name().to_string_lossy()));
        }
    }
    assert!(found.len() > 70);
    assert_eq!(listed, found);
}
