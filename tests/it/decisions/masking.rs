//! No secret reaches the disk: captured reviews, policies that print what they see, and places secrets hide in.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis::admission::{Request, decode};
use portcullis::decisions::{BodyState, DecisionLog, DecisionRecord, Entry, LogReader, MaskKey, Masker, commitment};
use portcullis::engine::{
    CompileOptions, Context, Decision, Endpoint, FailureModes, HttpRead, Inventory, Read, compile, decide,
};
use portcullis::policy::{Digest, SourceFile, Sources};
use serde_json::{Value, json};

use super::{
    all_bytes, allowed, denied, excepted, key, masker, meta, options, records, request, review, runtime, soon,
    violation, written,
};
use crate::reviews::{cases, decided, root, shipped};

/// A policy that says whatever it sees, in every way a policy can say something.
const LEAKY: &str = r#"# METADATA
# scope: package
# title: leaky
# custom:
#   match:
#     rules: [{apiGroups: ["*"], apiVersions: ["*"], resources: ["*", "*/*"], operations: ["*"]}]
package portcullis.leaky

object := input.request.object

values contains v if some v in object.data
values contains base64.decode(v) if { some v in object.data; base64.is_valid(v) }
values contains base64.encode(v) if some v in values_plain
values_plain contains v if some v in object.data
values contains e.value if some e in object.spec.containers[_].env
values contains concat(" ", object.command)

deny contains {"msg": sprintf("found %s here", [v]), "field": sprintf("data[%s]", [v]), "details": {"value": v, v: 1}, "fix": v} if some v in values
deny contains {"msg": json.marshal(object)}
deny contains sprintf("%v", [object])
warn contains sprintf("warned of %s", [v]) if some v in values
audit_annotations := {"seen": concat(",", values)}
patch contains {"op": "add", "path": "/metadata/annotations/copy", "value": v} if some v in values
"#;

fn leaky(request: Request, endpoint: Endpoint) -> Decision {
    let file = SourceFile { path: "leaky.rego".to_owned(), text: LEAKY.to_owned() };
    let sources = Sources { modules: vec![file], ..Sources::default() };
    let snapshot = compile(&sources, CompileOptions::default()).expect("compiles").snapshot;
    let context =
        Context { endpoint, now_ns: 0, seed: 0, deadline: None, failure: FailureModes::default(), http: None };
    let mut decision =
        decide(&Arc::new(snapshot), &Inventory::fixed(BTreeMap::new()), &Arc::new(request.clone()), &context);
    // What it would ask of others, were a host allowed.
    let values = request.object().get("data").and_then(Value::as_object);
    decision.reads.extend(values.into_iter().flatten().filter_map(|(_, v)| v.as_str()).map(|value| {
        let http = HttpRead { method: "GET".to_owned(), url: format!("http://h/{value}"), status: 200 };
        let path = format!("http.send GET {}", http.url);
        Read { path, uid: None, resource_version: None, digest: Digest::of(b""), http: Some(http), content: None }
    }));
    decision
}

/// The example credentials in the captured requests; all of their encodings count.
fn credentials() -> Vec<String> {
    let plain = ["wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "not-a-real-password", "AKIAIOSFODNN7EXAMPLE"];
    let forms = plain.iter().flat_map(|p| {
        let encoded = STANDARD.encode(p);
        [(*p).to_owned(), encoded.trim_end_matches('=').to_owned(), STANDARD.encode(&encoded)]
    });
    forms.collect()
}

#[test]
fn captured_credentials_are_in_no_byte_on_disk() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (snapshot, inventory) = shipped();
    let mut entries = Vec::new();
    let mut seen = String::new();
    for case in cases() {
        let body = case.body();
        seen.push_str(&String::from_utf8_lossy(&body));
        let request = decode(&body).expect("decodes");
        let shipped = decided(&case, &snapshot, &inventory);
        entries.push(Entry::decision(&meta(), &request, &shipped, &masker()));
        for endpoint in [Endpoint::Validate, Endpoint::Mutate] {
            let decision = leaky(request.clone(), endpoint);
            seen.push_str(&format!("{decision:?}"));
            entries.push(Entry::decision(&meta(), &request, &decision, &masker()));
        }
    }
    let count = entries.len();
    written(dir.path(), entries);
    let disk = all_bytes(dir.path());
    for credential in credentials().iter().take(7) {
        // Otherwise this test could not fail.
        assert!(seen.contains(credential.as_str()) || credential.len() > 40, "{credential} is in no input");
    }
    for credential in credentials() {
        let at = disk.find(&credential).map(|i| disk[i.saturating_sub(300)..i].to_owned());
        assert_eq!(at, None, "{credential}");
    }
    assert_eq!(records(dir.path()).iter().filter_map(portcullis::decisions::Record::decision).count(), count);
}

#[test]
fn a_commitment_says_where_its_value_recurs() {
    let file = root().join("validate/create-secrets-1.json");
    let request = decode(&fs::read(file).expect("read")).expect("decodes");
    let decision = leaky(request.clone(), Endpoint::Validate);
    let meta = meta();
    let (record, body) = stored(&Entry::decision(&meta, &request, &decision, &masker()));
    let pointer = "/request/object/data/password";
    assert!(record.input.masked.contains(&pointer.to_owned()), "{:?}", record.input.masked);
    let k = key().derive(&meta.decision_id.to_string(), pointer);
    let commitment = commitment(&k, b"bm90LWEtcmVhbC1wYXNzd29yZA==");
    assert_eq!(body["input"].pointer(pointer), Some(&json!({"masked": commitment})));
    let msg = format!("found {commitment} here");
    assert!(record.violations.iter().any(|v| v.msg == msg), "{:?}", record.violations);
}

/// The record and the body as they are on disk.
pub(super) fn stored(entry: &Entry) -> (DecisionRecord, Value) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    written(dir.path(), vec![entry.clone()]);
    let records = records(dir.path());
    let record = records.iter().find(|r| r.decision().is_some()).expect("a decision");
    let decision = record.decision().expect("one");
    let reader = LogReader::open(dir.path()).expect("opens");
    let BodyState::Intact(body) = reader.body(record, &decision).expect("reads") else { panic!("no body") };
    (decision, serde_json::from_str(&body.body).expect("JSON"))
}

pub(super) fn entry(request: &Request, decision: &Decision) -> Entry {
    Entry::decision(&meta(), request, decision, &masker())
}

#[test]
fn secrets_are_masked_wherever_they_stand() {
    let applied = json!({"kind": "Secret", "data": {"p": "aHVudGVyMi1odW50ZXIy"}}).to_string();
    let docker = STANDARD.encode(json!({"auths": {"r.io": {"auth": "dXNlcjpodW50ZXIyLWh1bnRlcjI="}}}).to_string());
    let pod = |container: Value| json!({"kind": "Pod", "spec": {"containers": [container]}});
    let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2lnbmF0dXJl";
    let cases = [
        (
            "Secret",
            json!({"kind": "Secret", "stringData": {"p": "hunter2"}}),
            "hunter2",
            "/request/object/stringData/p",
        ),
        ("Secret", json!({"data": {"p": "aHVudGVyMg=="}}), "aHVudGVyMg", "/request/object/data/p"),
        (
            "Secret",
            json!({"kind": "Secret", "data": {".dockerconfigjson": docker}}),
            "hunter2-hunter2",
            "/request/object/data/.dockerconfigjson",
        ),
        (
            "ConfigMap",
            json!({"kind": "ConfigMap", "data": {"a/b": "plain value"}}),
            "plain value",
            "/request/object/data/a~1b",
        ),
        (
            "ConfigMap",
            json!({"kind": "ConfigMap", "binaryData": {"a": "AAECAwQF"}}),
            "AAECAwQF",
            "/request/object/binaryData/a",
        ),
        (
            "PodExecOptions",
            json!({"kind": "PodExecOptions", "command": ["sh", "-c", "echo hi"]}),
            "echo hi",
            "/request/object/command/2",
        ),
        (
            "TokenRequest",
            json!({"kind": "TokenRequest", "status": {"token": "opaque-token"}}),
            "opaque-token",
            "/request/object/status/token",
        ),
        (
            "Deployment",
            json!({"kind": "Deployment", "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": applied}}}),
            "aHVudGVyMi1odW50ZXIy",
            "/request/object/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
        ),
        (
            "Pod",
            pod(json!({"env": [{"name": "DB_PASSWORD", "value": "hunter2"}]})),
            "hunter2",
            "/request/object/spec/containers/0/env/0/value",
        ),
        (
            "Pod",
            pod(json!({"env": [{"name": "URL", "value": "pg://u:hunter2@db/x"}]})),
            "hunter2",
            "/request/object/spec/containers/0/env/0/value",
        ),
        ("Pod", pod(json!({"args": ["--password", "hunter2"]})), "hunter2", "/request/object/spec/containers/0/args/1"),
        ("Pod", pod(json!({"args": ["-u", "me:hunter2"]})), "hunter2", "/request/object/spec/containers/0/args/1"),
        (
            "Thing",
            json!({"kind": "Thing", "spec": {"passwords": ["hunter2"]}}),
            "hunter2",
            "/request/object/spec/passwords/0",
        ),
        ("Pod", pod(json!({"args": ["--password=hunter2"]})), "hunter2", "/request/object/spec/containers/0/args/0"),
        (
            "Pod",
            pod(json!({"command": ["sh", "-c", format!("curl -H 'Authorization: Bearer {jwt}'")]})),
            jwt,
            "/request/object/spec/containers/0/command/2",
        ),
        (
            "CronJob",
            json!({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": {"initContainers": [
                {"env": [{"name": "X", "value": "AKIAIOSFODNN7EXAMPLE"}]}]}}}}}}),
            "AKIAIOSFODNN7EXAMPLE",
            "/request/object/spec/jobTemplate/spec/template/spec/initContainers/0/env/0/value",
        ),
        (
            "DBInstance",
            json!({"kind": "DBInstance", "spec": {"masterUserPassword": "hunter2"}}),
            "hunter2",
            "/request/object/spec/masterUserPassword",
        ),
        (
            "Application",
            json!({"kind": "Application", "spec": {"helm": {"parameters": [{"name": "auth.token", "value": "hunter2"}]}}}),
            "hunter2",
            "/request/object/spec/helm/parameters/0/value",
        ),
        (
            "Widget",
            json!({"kind": "Widget", "spec": {"nested": [{"kind": "Secret", "data": {"x": "aHVudGVyMg=="}}]}}),
            "aHVudGVyMg",
            "/request/object/spec/nested/0/data/x",
        ),
        (
            "Widget",
            json!({"kind": "Widget", "spec": {"note": "-----BEGIN PRIVATE KEY-----\nMIIEabcdefgh\n-----END PRIVATE KEY-----"}}),
            "MIIEabcdefgh",
            "/request/object/spec/note",
        ),
    ];
    for (kind, object, secret, pointer) in cases {
        for side in ["object", "oldObject"] {
            let mut sent = json!({
                "uid": "u", "operation": "UPDATE", "kind": {"kind": kind}, "resource": {"resource": "x"},
            });
            sent[side] = object.clone();
            let request = review(sent);
            let said = violation("p", &format!("`{secret}` is not allowed"));
            let (record, body) = stored(&entry(&request, &denied(vec![said])));
            let pointer = pointer.replace("/object/", &format!("/{side}/"));
            assert!(record.input.masked.contains(&pointer), "{pointer}: {:?}", record.input.masked);
            let text = format!("{} {body}", serde_json::to_string(&record).expect("JSON"));
            assert!(!text.contains(secret), "{pointer}: {text}");
        }
    }
}

#[test]
fn what_is_no_secret_stays_readable() {
    let object = json!({
        "kind": "Pod",
        "metadata": {"name": "web", "labels": {"app.kubernetes.io/name": "web"}, "uid": "31c1b672-29ad-4a58-9660-879f1f7197b5"},
        "spec": {
            "serviceAccountName": "web", "imagePullSecrets": [{"name": "registry"}],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "value": "x"}],
            "containers": [{
                "image": "r.io/web@sha256:7031c1b283388d2c2e09b57badb803c05ebed362dc88d84b480cc47f72a21097",
                "command": ["sleep", "3600"],
                "env": [
                    {"name": "LOG_LEVEL", "value": "info"},
                    {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
                    {"name": "DB_URL", "value": "pg://app:$(DB_PASSWORD)@db/app"},
                ],
            }],
            "volumes": [{"name": "t", "secret": {"secretName": "tls"}}],
        },
    });
    let mut decision = denied(vec![violation("p", "container `web` must not run `sleep`")]);
    decision.violations[0].field = Some("spec.containers[0].image".to_owned());
    let (record, body) = stored(&entry(&request("Pod", object.clone()), &decision));
    assert_eq!(body["input"]["request"]["object"], object);
    assert_eq!(record.input.masked, [""; 0]);
    assert_eq!(record.violations[0].msg, "container `web` must not run `sleep`");
    assert_eq!(record.violations[0].field.as_deref(), Some("spec.containers[0].image"));
}

#[test]
fn the_person_behind_an_eks_user_stays_and_managed_fields_go() {
    let request = review(json!({
        "uid": "u", "operation": "CREATE", "kind": {"kind": "Pod"}, "resource": {"resource": "pods"},
        "userInfo": {"username": "kubernetes-admin", "extra": {
            "accessKeyId": ["ASIAIOSFODNN7EXAMPLE"], "sessionName": ["alice"],
            "arn": ["arn:aws:sts::123456789012:assumed-role/dev/alice"]}},
        "object": {"metadata": {"name": "x", "managedFields": [{"manager": "kubectl"}]}},
    }));
    let (record, body) = stored(&entry(&request, &allowed()));
    assert_eq!(record.request.user.extra["accessKeyId"], ["ASIAIOSFODNN7EXAMPLE"]);
    assert_eq!(record.request.user.extra["sessionName"], ["alice"]);
    assert_eq!(record.input.omitted, ["/request/object/metadata/managedFields"]);
    assert_eq!(body["input"]["request"]["object"], json!({"metadata": {"name": "x"}}));
}

#[test]
fn nobody_hides_a_request_behind_a_config_map() {
    let object =
        json!({"kind": "ConfigMap", "metadata": {"name": "thing"}, "data": {"a": "shop", "b": "alice", "c": "thing"}});
    let (record, _) = stored(&entry(&request("ConfigMap", object), &allowed()));
    let r = &record.request;
    assert_eq!((r.namespace.as_str(), r.user.username.as_str(), r.name.as_str()), ("shop", "alice", "thing"));
}

#[test]
fn a_patch_may_not_say_what_the_object_may_not() {
    let object = json!({"kind": "Secret", "metadata": {"name": "s"}, "data": {"p": "aHVudGVyMi1odW50ZXIy"}});
    let patch = json!([
        {"op": "add", "path": "/data/new", "value": "bmV3LXZhbHVl"},
        {"op": "add", "path": "/metadata/annotations", "value": {"copy": "it is hunter2-hunter2"}},
        {"op": "add", "path": "/metadata/labels/plain", "value": "plain"},
    ]);
    let decision = Decision {
        endpoint: Endpoint::Mutate,
        patch: Some(serde_json::from_value(patch).expect("a patch")),
        ..allowed()
    };
    let (record, body) = stored(&entry(&request("Secret", object), &decision));
    assert!(record.mutated && record.patch_digest.is_some());
    let text = body.to_string();
    assert!(!text.contains("bmV3LXZhbHVl") && !text.contains("hunter2"), "{text}");
    assert_eq!(body["patch"][2]["value"], "plain");
    assert!(record.input.masked.contains(&"/patch/0/value".to_owned()), "{:?}", record.input.masked);
}

#[test]
fn a_secret_in_a_key_is_one_too() {
    let data = json!({"AKIAIOSFODNN7EXAMPLE": "x-value", "hunter2-hunter2": "hunter2-hunter2"});
    let object =
        json!({"kind": "Secret", "stringData": data, "metadata": {"annotations": {"AKIAIOSFODNN7EXAMPLE": "y"}}});
    let mut said = violation("p", "no");
    said.details = Some(json!({"hunter2-hunter2": 1}));
    let (record, body) = stored(&entry(&request("Secret", object), &denied(vec![said])));
    let text = format!("{} {body}", serde_json::to_string(&record).expect("JSON"));
    assert!(!text.contains("hunter2") && !text.contains("AKIA"), "{text}");
    assert_eq!(body["input"]["request"]["object"]["stringData"].as_object().map(serde_json::Map::len), Some(2));
}

#[test]
fn the_operator_names_more() {
    let pointers = ["/input/request/object/spec/*/patient", "/input/request/userInfo/username", "/input/request/name"];
    let masker = Masker::new(key(), pointers.map(str::to_owned).to_vec());
    let object = json!({"kind": "Visit", "spec": {"a": {"patient": {"name": "Jane Roe"}}, "b": {"room": 7}}});
    let request = request("Visit", object);
    let said = violation("p", "Jane Roe has no room");
    let decision = Decision { exceptions: vec![excepted(said.clone(), "t")], ..denied(vec![said]) };
    let entry = Entry::decision(&meta(), &request, &decision, &masker);
    let (record, body) = stored(&entry);
    let text = format!("{} {body}", serde_json::to_string(&record).expect("JSON"));
    assert!(!text.contains("Jane Roe") && !text.contains("alice") && !text.contains("\"thing\""), "{text}");
    assert_eq!(body["input"]["request"]["object"]["spec"]["b"], json!({"room": 7}));
    assert!(record.request.user.username.starts_with("hmac-sha256:"));
    assert_eq!(record.request.namespace, "shop");
}

/// The envelope outlives the body: what is hidden in the one is hidden in the other, and by the same commitment.
#[test]
fn values_of_a_users_extra_fields_are_hidden_in_the_envelope_too() {
    let request = review(json!({
        "uid": "u", "operation": "CREATE", "kind": {"kind": "Pod"}, "resource": {"resource": "pods"},
        "userInfo": {"username": "admin", "extra": {"arn": ["arn:of:jane", "arn:of:joan"], "a/b": ["plain"]}},
        "object": {"metadata": {"name": "x"}},
    }));
    for (named, hidden) in [("extra", 3), ("extra/arn", 2), ("extra/arn/0", 1), ("extra/*/*", 3), ("extra/a~1b/0", 1)] {
        let masker = Masker::new(key(), vec![format!("/input/request/userInfo/{named}")]);
        let (record, body) = stored(&Entry::decision(&meta(), &request, &allowed(), &masker));
        let values: Vec<&String> = record.request.user.extra.values().flatten().collect();
        let masked: Vec<_> = values.iter().filter(|v| v.starts_with("hmac-sha256:")).collect();
        assert_eq!(masked.len(), hidden, "{named}: {values:?}");
        assert!(masked.iter().all(|commitment| body.to_string().contains(commitment.as_str())), "{named}: {body}");
    }
}

/// A request without a secret is recorded as it came, until something else says what is one.
#[test]
fn what_only_a_policy_calls_a_secret_is_hidden_in_the_request() {
    let object = json!({"kind": "Visit", "metadata": {"managedFields": [{"manager": "k"}], "annotations": {"a": "violet-anchor"}}});
    let request = request("Visit", object);
    let mut said = violation("p", "no");
    let (_, body) = stored(&entry(&request, &denied(vec![said.clone()])));
    assert_eq!(body["input"]["request"]["object"]["metadata"], json!({"annotations": {"a": "violet-anchor"}}));
    said.details = Some(json!({"password": "violet-anchor"}));
    let (record, body) = stored(&entry(&request, &denied(vec![said])));
    assert!(!body.to_string().contains("violet-anchor"), "{body}");
    assert!(body["input"]["request"]["object"]["metadata"].get("managedFields").is_none());
    assert!(record.input.masked.contains(&"/request/object/metadata/annotations/a".to_owned()));
}

#[test]
fn the_operator_may_name_what_is_left_out() {
    let object = json!({"kind": "Visit", "metadata": {"name": "Jane Roe", "managedFields": [{"manager": "k"}]}});
    let request = request("Visit", object);
    for pointer in
        ["/input/request/object", "/input/request/*/metadata/*", "/input/request/object/metadata/managedFields/0"]
    {
        let masker = Masker::new(key(), vec![pointer.to_owned()]);
        let (record, body) = stored(&Entry::decision(&meta(), &request, &allowed(), &masker));
        let object = &body["input"]["request"]["object"];
        assert!(
            object["metadata"].get("managedFields").is_none() && object["metadata"].is_object(),
            "{pointer}: {object}"
        );
        assert_eq!(body.to_string().contains("Jane Roe"), pointer.ends_with("/0"), "{pointer}: {object}");
        assert_eq!(record.input.omitted, ["/request/object/metadata/managedFields"]);
    }
}

#[test]
fn more_secrets_than_can_be_looked_for_hide_all_that_policies_say() {
    let data: serde_json::Map<String, Value> =
        (0..5000).map(|i| (format!("k{i}"), json!(format!("secret-{i}-x")))).collect();
    let request = request("Secret", json!({"kind": "Secret", "stringData": data}));
    let (record, body) = stored(&entry(&request, &denied(vec![violation("p", "it is secret-4999-x")])));
    let text = format!("{} {body}", serde_json::to_string(&record).expect("JSON"));
    assert!(!text.contains("secret-"), "{}", record.violations[0].msg);
    assert!(record.violations[0].msg.starts_with("hmac-sha256:"));
}

#[test]
fn tracing_is_masked_too() {
    let masker = masker();
    assert_eq!(masker.text("dsn pg://u:hunter2@db, key AKIAIOSFODNN7EXAMPLE"), "dsn pg://u:[masked]@db, key [masked]");
    assert_eq!(masker.text("nothing here"), "nothing here");
}

#[test]
fn the_mask_key_is_not_in_the_log() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("mask.key");
    let mask_key = MaskKey::load_or_create(&path).expect("made");
    let log_dir = dir.path().join("decisions");
    runtime().block_on(async {
        let mut options = options(&log_dir);
        options.mask_key = mask_key;
        let log = DecisionLog::open(options).expect("opens");
        let entry = Entry::decision(&meta(), &request("Pod", json!({})), &allowed(), &log.masker(Vec::new()));
        log.append(entry, soon()).await.expect("appends");
        log.close("test").await.expect("closes");
    });
    let digits = fs::read_to_string(&path).expect("read");
    assert!(!all_bytes(&log_dir).contains(digits.trim()));
}
