//! `portcullis decisions join`: the decision log beside the API server's audit log.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use portcullis::decisions::{DecisionMeta, Entry};
use portcullis::engine::{Decision, Endpoint};
use portcullis::policy::Digest;
use serde_json::{Value, json};

use super::{allowed, denied, masker, meta, records, review, segment_files, violation, written};

/// Both entries of both configurations, as registered.
pub(super) const REGISTRATION: &str = r#"
apiVersion: v1
kind: List
items:
  - kind: ValidatingWebhookConfiguration
    webhooks:
      - name: enforce.validate.portcullis.io
        namespaceSelector:
          matchExpressions: [{key: kubernetes.io/metadata.name, operator: NotIn, values: [kube-system]}]
        rules: [{apiGroups: ["*"], apiVersions: ["*"], resources: ["*"], operations: ["*", CREATE, UPDATE, DELETE]}]
---
kind: MutatingWebhookConfiguration
webhooks:
  - name: enforce.mutate.portcullis.io
    rules: [{apiGroups: [""], apiVersions: [v1], resources: [pods], operations: [CREATE]}]
"#;

/// Decisions and events of one minute; second by second.
#[derive(Default)]
pub(super) struct Story {
    pub(super) entries: Vec<Entry>,
    pub(super) events: Vec<Value>,
    /// Records that follow, as they stand, but for their numbers.
    pub(super) records: Vec<Value>,
    /// Records of the beginning that are gone.
    pub(super) cut: usize,
    /// In place of [`REGISTRATION`].
    pub(super) registration: Option<String>,
    /// Lines at the end of the audit log.
    pub(super) raw: String,
}

pub(super) fn time(second: u32) -> String {
    format!("2026-03-01T10:00:{second:02}Z")
}

impl Story {
    /// A decision in this second; its id.
    pub(super) fn decides(
        &mut self,
        second: u32,
        what: (&str, &str, Endpoint),
        uid: &str,
        decision: Decision,
    ) -> String {
        let (operation, name, endpoint) = what;
        let timestamp: jiff::Timestamp = time(second).parse().expect("a time");
        let n = self.entries.len();
        let millis = timestamp.as_millisecond();
        let id = format!("{:08x}-{:04x}-7000-8000-{n:012x}", millis >> 16, millis & 0xffff);
        let meta = DecisionMeta { decision_id: uuid::Uuid::parse_str(&id).expect("a UUID"), timestamp, ..meta() };
        let object = json!({"kind": "Pod", "metadata": {"name": name}});
        let request = review(json!({
            "uid": uid, "operation": operation, "namespace": "shop", "name": name,
            "kind": {"version": "v1", "kind": "Pod"}, "resource": {"version": "v1", "resource": "pods"},
            "userInfo": {"username": "alice"}, "object": object, "oldObject": object,
        }));
        self.entries.push(Entry::decision(&meta, &request, &Decision { endpoint, ..decision }, &masker()));
        id
    }

    /// What the API server wrote of a request, with the decisions that it heard of.
    pub(super) fn audits(&mut self, second: u32, (verb, name, code): (&str, &str, u16), marks: &[(&str, &str)]) {
        let annotations: BTreeMap<String, &str> = marks
            .iter()
            .map(|(webhook, value)| match webhook.strip_prefix("failed-open.") {
                Some(_) => ((*webhook).to_owned(), *value),
                None => {
                    let digest = Digest::of(value.as_bytes()).hex();
                    (format!("{webhook}.portcullis.io/decision-id.{}", &digest[..8]), *value)
                }
            })
            .collect();
        let audit_id = format!("audit-{}", self.events.len());
        self.events.push(json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": audit_id,
            "stage": "ResponseComplete", "verb": verb, "user": {"username": "alice"}, "sourceIPs": ["192.0.2.7"],
            "userAgent": "kubectl/v1.36", "requestURI": "/api/v1/namespaces/shop/pods",
            "objectRef": {"resource": "pods", "namespace": "shop", "name": name, "apiVersion": "v1"},
            "responseStatus": {"code": code}, "annotations": annotations,
            "requestReceivedTimestamp": time(second), "stageTimestamp": time(second + 1)}));
    }

    /// Runs the command on both logs.
    pub(super) fn join(self, args: &[&str]) -> (Option<i32>, String, String) {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("decisions");
        written(&log, self.entries);
        let mut lines: Vec<String> = records(&log).into_iter().map(|r| r.line).collect();
        for record in self.records {
            let mut whole = json!({"v": 1, "seq": lines.len(), "origin": "test/r-0", "timestamp": time(59),
                "labels": {"cluster": "c", "replica": "r", "version": "0"}});
            whole.as_object_mut().expect("fields").extend(record.as_object().expect("fields").clone());
            lines.push(whole.to_string());
        }
        for file in segment_files(&log) {
            std::fs::remove_file(file).expect("removed");
        }
        let text: String = lines.iter().skip(self.cut).map(|l| format!("{l}\n")).collect();
        std::fs::write(log.join(format!("{:020}.jsonl", self.cut)), text).expect("writes");
        let registration = dir.path().join("registration.yaml");
        std::fs::write(&registration, self.registration.as_deref().unwrap_or(REGISTRATION)).expect("writes");
        let lines: Vec<String> = self.events.iter().map(Value::to_string).collect();
        // The second half is older, and gzipped.
        let (older, newer) = lines.split_at(lines.len() / 2);
        let audit = dir.path().join("audit.log");
        std::fs::write(&audit, format!("{}\n{}", newer.join("\n"), self.raw)).expect("writes");
        let gzipped = dir.path().join("audit-older.log.gz");
        let file = std::fs::File::create(&gzipped).expect("creates");
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        encoder.write_all(older.join("\n").as_bytes()).expect("writes");
        encoder.finish().expect("writes");
        run(
            &log,
            &[&["--kube-audit", path(&audit), path(&gzipped), "--registration", path(&registration)], args].concat(),
        )
    }

    /// The findings as `kind name`, sorted, and the summary.
    pub(super) fn findings(self) -> (Option<i32>, Vec<String>, Value) {
        let (code, out, err) = self.join(&["-o", "json"]);
        let lines: Vec<Value> = out.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        let summary = lines.last().cloned().unwrap_or_else(|| panic!("no summary: {err}"));
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let of = |l: &Value| match l["type"].as_str() {
            Some("finding") => Some(format!("{} {}", text(&l["finding"]), text(&l["name"]))),
            Some("outage") => Some(format!("outage {}", l["requests"])),
            _ => None,
        };
        (code, lines.iter().filter_map(of).collect(), summary)
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn run(log: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["decisions", "join"])
        .args(args)
        .env("PORTCULLIS_DECISION_LOG", log)
        .output()
        .expect("runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

pub(super) const VALIDATE: &str = "enforce.validate";
pub(super) const MUTATE: &str = "enforce.mutate";

pub(super) fn refused() -> Decision {
    denied(vec![violation("run_as_non_root", "must not run as root")])
}

/// What is as it should be: a creation that is mutated twice and validated, one that is refused, an update that met a
/// conflict, a collection, what system namespaces do.
pub(super) fn a_quiet_minute() -> Story {
    let mut story = Story::default();
    let first = story.decides(1, ("CREATE", "good", Endpoint::Mutate), "u1", allowed());
    let again = story.decides(1, ("CREATE", "good", Endpoint::Mutate), "u2", allowed());
    let good = story.decides(2, ("CREATE", "good", Endpoint::Validate), "u3", allowed());
    story.audits(1, ("create", "good", 201), &[(MUTATE, &first), (MUTATE, &again), (VALIDATE, &good)]);
    let mutated = story.decides(5, ("CREATE", "root", Endpoint::Mutate), "u4", allowed());
    let denied = story.decides(5, ("CREATE", "root", Endpoint::Validate), "u5", refused());
    story.audits(5, ("create", "root", 403), &[(MUTATE, &mutated), (VALIDATE, &denied)]);
    let one = story.decides(8, ("UPDATE", "good", Endpoint::Validate), "u6", allowed());
    let two = story.decides(8, ("UPDATE", "good", Endpoint::Validate), "u7", allowed());
    story.audits(8, ("patch", "good", 200), &[(VALIDATE, &one), (VALIDATE, &two)]);
    let a = story.decides(10, ("DELETE", "a", Endpoint::Validate), "u8", allowed());
    let b = story.decides(10, ("DELETE", "b", Endpoint::Validate), "u9", allowed());
    story.audits(10, ("deletecollection", "", 200), &[(VALIDATE, &a), (VALIDATE, &b)]);
    story.audits(12, ("get", "good", 200), &[]);
    story.audits(13, ("create", "twin", 409), &[]);
    story
}

#[test]
fn logs_that_agree() {
    let (code, findings, summary) = a_quiet_minute().findings();
    assert_eq!((code, findings), (Some(0), Vec::<String>::new()));
    assert_eq!((&summary["decisions"], &summary["confirmed"], &summary["repeated"]), (&json!(9), &json!(9), &json!(3)));
    // Of one that met a conflict before, nobody was asked.
    let counts = ["requests", "due", "decided"].map(|key| summary[key].as_u64());
    assert_eq!(counts, [Some(5), Some(4), Some(4)], "{summary}");
}

#[test]
fn whatever_one_log_has_and_the_other_has_not() {
    let mut story = a_quiet_minute();
    // Passed, since nobody was heard.
    story.audits(
        15,
        ("create", "open", 201),
        &[
            ("failed-open.validating.webhook.admission.k8s.io/round_0_index_0", "enforce.validate.portcullis.io"),
            ("failed-open.mutation.webhook.admission.k8s.io/round_0_index_0", "another.example.com"),
        ],
    );
    story.audits(16, ("create", "silent-1", 201), &[]);
    story.audits(17, ("update", "silent-2", 200), &[]);
    let half = story.decides(19, ("CREATE", "half", Endpoint::Validate), "u20", allowed());
    story.audits(19, ("create", "half", 201), &[(VALIDATE, &half)]);
    let overruled = story.decides(21, ("UPDATE", "overruled", Endpoint::Validate), "u21", refused());
    story.audits(21, ("update", "overruled", 200), &[(VALIDATE, &overruled)]);
    let quota = story.decides(23, ("UPDATE", "quota", Endpoint::Validate), "u22", allowed());
    story.audits(23, ("update", "quota", 403), &[(VALIDATE, &quota)]);
    story.decides(25, ("CREATE", "forged", Endpoint::Validate), "u23", allowed());
    // The same review again, as after a connection that broke.
    let before = story.decides(27, ("UPDATE", "resent", Endpoint::Validate), "u24", allowed());
    let after = story.decides(27, ("UPDATE", "resent", Endpoint::Validate), "u24", allowed());
    story.audits(27, ("update", "resent", 200), &[(VALIDATE, &before), (VALIDATE, &after)]);
    story.audits(29, ("update", "lost", 200), &[(VALIDATE, "019ca8c5-aaaa-7000-8000-00000000ffff")]);
    story.audits(31, ("delete", "good", 200), &[(VALIDATE, &after)]);
    story.audits(33, ("delete", "good", 200), &[]);
    story.audits(34, ("get", "last", 200), &[]);
    let (code, findings, summary) = story.findings();
    assert_eq!(code, Some(1));
    assert_eq!(
        findings,
        [
            "failed_open open",
            "undecided silent-1",
            "undecided silent-2",
            "undecided half",
            "unrecorded lost",
            "overruled overruled",
            "twice resent",
            "twice good",
            "unconfirmed forged",
            "perhaps_undecided good",
            "refused_elsewhere quota",
            "outage 3",
        ]
    );
    assert_eq!(summary["findings"]["undecided"], json!(3), "{summary}");
}

/// What no webhook is ever asked about is told from the audit log alone, and is no disagreement.
#[test]
fn changes_of_policy_objects_are_listed() {
    let mut story = a_quiet_minute();
    for (second, verb, resource, name, code) in [
        (20, "delete", "validatingwebhookconfigurations", "portcullis", 200),
        (21, "patch", "mutatingadmissionpolicies", "defaults", 200),
        (22, "update", "validatingwebhookconfigurations", "refused", 403),
        (23, "get", "validatingwebhookconfigurations", "read", 200),
        (24, "update", "validatingadmissionpolicies/status", "controllers", 200),
    ] {
        story.audits(second, (verb, name, code), &[]);
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let event = story.events.last_mut().expect("an event");
        event["objectRef"] = json!({"resource": resource, "subresource": subresource, "name": name,
            "apiGroup": "admissionregistration.k8s.io", "apiVersion": "v1"});
    }
    let (code, findings, _) = story.findings();
    assert_eq!((code, findings), (Some(0), vec!["unguarded portcullis".to_owned(), "unguarded defaults".to_owned()]));
}

#[test]
fn decisions_get_what_the_api_server_knows() {
    let (code, out, err) = a_quiet_minute().join(&["-o", "csv"]);
    assert_eq!(code, Some(0), "{err}");
    let mut lines = out.lines();
    assert!(
        lines.next().is_some_and(|l| l.starts_with("time,decision_id,status,origin,seq,endpoint,verdict")),
        "{out}"
    );
    assert_eq!(lines.count(), 9, "{out}");
    let root = out.lines().find(|l| l.contains("run_as_non_root")).expect("the refused one");
    assert!(root.contains("confirmed") && root.contains("192.0.2.7,kubectl/v1.36,403"), "{root}");
    let (code, out, _) = a_quiet_minute().join(&["--all"]);
    assert!(code == Some(0) && out.contains("the logs agree") && out.contains("shop/good"), "{out}");
}

#[test]
fn what_cannot_be_joined_is_said() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("decisions");
    written(&log, Vec::new());
    let junk = dir.path().join("junk");
    std::fs::write(&junk, "not an event\n").expect("writes");
    let pod = dir.path().join("pod.yaml");
    std::fs::write(&pod, "kind: Pod\n").expect("writes");
    for (args, wanted) in [
        (vec!["--kube-audit", path(&junk), "--registration", path(&pod)], "neither a ValidatingWebhookConfiguration"),
        (vec!["--kube-audit", path(&junk)], "no event in it"),
        (vec!["--kube-audit", "nowhere"], "cannot read `nowhere`"),
        (vec!["--kube-audit", path(&junk), "--decision-log", "nowhere"], "no decision log in `nowhere`"),
    ] {
        let (code, out, err) = run(&log, &args);
        assert!(code == Some(2) && err.contains(wanted), "{args:?}: {code:?} {out} {err}");
    }
}

#[test]
fn the_last_stage_of_a_request_says_what_it_was() {
    let mut story = Story::default();
    let id = story.decides(1, ("CREATE", "first", Endpoint::Validate), "u-1", allowed());
    let mutated = story.decides(1, ("CREATE", "first", Endpoint::Mutate), "u-2", allowed());
    story.audits(1, ("create", "first", 201), &[("enforce.validate", &id), ("enforce.mutate", &mutated)]);
    // An apply that made an object, of which nobody was asked: when it came, neither its name nor that was known.
    story.audits(2, ("patch", "applied", 201), &[]);
    let mut received = story.events[1].clone();
    received["stage"] = "RequestReceived".into();
    received["objectRef"]["name"] = "".into();
    received.as_object_mut().expect("an object").remove("responseStatus");
    story.events.insert(1, received);
    let (code, out, err) = story.join(&["-o", "json"]);
    assert_eq!(code, Some(1), "{err}");
    let findings: Vec<Value> = out
        .lines()
        .map(|l| serde_json::from_str(l).expect("JSON"))
        .filter(|l: &Value| l["type"] == "finding")
        .collect();
    let [finding] = findings.as_slice() else { panic!("{out}") };
    let of = |key: &str| finding[key].as_str().unwrap_or_default();
    assert_eq!((of("finding"), of("operation"), of("name")), ("undecided", "CREATE", "applied"));
}
