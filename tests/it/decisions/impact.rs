//! Impact analysis counts nothing that is not certain, tries mutating policies too, and sees of an API server's audit log
//! what admission sees.

use std::fs;
use std::path::Path;

use portcullis::engine::Endpoint;
use serde_json::{Value, json};

use super::replaying::{Story, asked, config_map, nowhere, policy, run};

fn warns(name: &str, body: &str) -> String {
    policy(name, body).text.replace("#   severity: high\n", "#   severity: high\n#   enforcement: warn\n")
}

/// A story of one ConfigMap that went through `policies`, and what trying others on it says: exit code, summary, messages.
fn tried(story: &Story, new: &str, args: &[&str]) -> (Option<i32>, Value, String) {
    let dir = story.dir.path().join("new");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir).expect("made");
    fs::write(dir.join("p.rego"), new).expect("written");
    let (code, lines, messages) = story.replay(&[&["--policies", "new"], args].concat());
    (code, lines.last().cloned().unwrap_or_default(), messages)
}

fn requests(summary: &Value, change: &str) -> u64 {
    summary["changes"][change]["requests"].as_u64().unwrap_or_else(|| panic!("{change}: {summary}"))
}

fn plain() -> Vec<portcullis::policy::SourceFile> {
    vec![policy("plain", r#"deny contains "x" if input.request.object.metadata.labels.x"#)]
}

#[test]
fn a_policy_that_only_warns_is_uncertain_too() {
    let mut story = Story::under(plain());
    story.decides(config_map(json!({"a": "one"})), &nowhere());
    story.write();
    let new = warns("looks", r#"deny contains "one" if input.request.object.data.a == "one""#);
    let (code, summary, messages) = tried(&story, &new, &[]);
    assert_eq!(code, Some(0), "{messages}");
    let counts = ["judged", "unchanged", "indeterminate"].map(|key| summary[key].as_u64());
    assert_eq!(counts, [Some(1), Some(0), Some(1)], "{summary}");
    assert_eq!(summary["unseen"], json!({"looks": 1}));
    assert_eq!(tried(&story, &new, &["--fail-on", "indeterminate"]).0, Some(1));
}

#[test]
fn what_is_certain_is_counted_beside_what_is_not() {
    let mut story = Story::under(plain());
    story.decides(config_map(json!({"a": "one"})), &nowhere());
    story.write();
    // One denies for certain, one looks at what is masked, one fails because of what is masked.
    let new = policy(
        "sure",
        r#"deny contains "no team" if not input.request.object.metadata.labels.team
deny contains 7 if input.request.object.data.a == "two""#,
    );
    let (code, summary, _) = tried(&story, &new.text, &[]);
    // One policy, and it has looked: nothing is said of it.
    assert_eq!((code, requests(&summary, "newly_denied"), requests(&summary, "newly_failed")), (Some(0), 0, 0));
    let two = story.dir.path().join("two");
    fs::create_dir(&two).expect("made");
    fs::write(two.join("a.rego"), &new.text).expect("written");
    let team = policy("team", r#"deny contains "no team" if not input.request.object.metadata.labels.team"#);
    fs::write(two.join("b.rego"), team.text).expect("written");
    let (code, lines, _) = story.replay(&["--policies", "two"]);
    let summary = lines.last().expect("a summary");
    assert_eq!((code, requests(summary, "newly_denied"), &summary["indeterminate"]), (Some(1), 1, &json!(1)));
    assert_eq!(summary["changes"]["newly_denied"]["by"]["policy"], json!({"team": 1}), "{summary}");
}

#[test]
fn a_failure_comes_to_what_the_mode_says() {
    let mut story = Story::under(plain());
    story.decides(config_map(json!({})), &nowhere());
    story.write();
    let new = policy("fails", "deny contains 7 if input.request.object.kind");
    let (code, summary, _) = tried(&story, &new.text, &[]);
    assert_eq!((code, requests(&summary, "newly_failed")), (Some(1), 1), "{summary}");
    let (code, summary, _) = tried(&story, &new.text, &["--failure-mode", "allow"]);
    // It lets pass what it is to judge: that guards nothing, and must not look like it changed nothing.
    assert_eq!((code, requests(&summary, "newly_failed"), &summary["unchanged"]), (Some(1), 1, &json!(0)), "{summary}");
    assert_eq!(requests(&summary, "newly_denied"), 0);
}

#[test]
fn a_request_with_a_record_for_each_endpoint_is_mutated_once() {
    let mut story = Story::under(plain());
    for _ in 0..2 {
        story.decides_at(Endpoint::Mutate, config_map(json!({})), &nowhere());
        story.decides(config_map(json!({})), &nowhere());
    }
    // One that was asked about at one endpoint only.
    story.decides(config_map(json!({})), &nowhere());
    story.write();
    let (_, summary, _) = tried(&story, &policy("labels", LABELS).text, &[]);
    assert_eq!((requests(&summary, "newly_mutated"), &summary["judged"]), (3, &json!(5)), "{summary}");
}

const LABELS: &str = r#"patch contains {"op": "add", "path": "/metadata/labels", "value": {"team": "x"}} if not input.request.object.metadata.labels"#;

#[test]
fn mutating_policies_are_tried_where_there_were_none() {
    let mut story = Story::under(plain());
    story.decides(config_map(json!({})), &nowhere());
    story.write();
    let new = policy("labels", LABELS).text;
    let (code, summary, messages) = tried(&story, &new, &["--fail-on", "newly-mutated"]);
    assert_eq!((code, requests(&summary, "newly_mutated")), (Some(1), 1), "{summary} {messages}");
    assert_eq!(summary["changes"]["newly_mutated"]["by"]["policy"], json!({"labels": 1}));
    // Where the policies of then mutate, it has a record of its own, or went past the mutating webhook.
    let mut story = Story::under(vec![policy("labels", LABELS)]);
    let labelled = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "thing"}, "data": {}});
    story.decides_at(Endpoint::Mutate, config_map(json!({})), &nowhere());
    story.decides(asked("ConfigMap", labelled), &nowhere());
    story.write();
    let other = policy("labels", &LABELS.replace("\"x\"", "\"y\"")).text;
    let (_, summary, _) = tried(&story, &other, &[]);
    assert_eq!(requests(&summary, "newly_mutated"), 1, "{summary}");
    // Who mutated then is told by the policies that are kept.
    let (_, summary, _) = tried(&story, &policy("plain", r#"deny contains "x" if false"#).text, &[]);
    assert_eq!(summary["changes"]["no_longer_mutated"]["by"]["policy"], json!({"labels": 1}), "{summary}");
    // Without them it is not known.
    fs::remove_dir_all(story.log().join("policies")).expect("removed");
    let (_, summary, _) = tried(&story, &new, &[]);
    assert_eq!((requests(&summary, "newly_mutated"), &summary["not_mutated"]), (0, &json!(1)), "{summary}");
    assert_eq!(tried(&story, &new, &["--fail-on", "indeterminate"]).0, Some(1), "what was not tried is not known");
    let (_, summary, _) = tried(&story, &policy("plain", r#"deny contains "x" if false"#).text, &[]);
    assert_eq!(summary["changes"]["no_longer_mutated"]["by"]["policy"], json!({"-": 1}), "{summary}");
}

const TEAM: &str = "\ndeny contains \"no team\" if not input.request.object.metadata.labels.team\n";

#[test]
fn recorded_requests_go_through_mutating_policies_first() {
    let mut story = Story::under(plain());
    story.decides(config_map(json!({"a": "one"})), &nowhere());
    story.write();
    let labels = policy("labels", LABELS).text;
    let (code, summary, messages) = tried(&story, &format!("{labels}{TEAM}"), &[]);
    assert_eq!(code, Some(0), "{summary} {messages}");
    assert_eq!((requests(&summary, "newly_mutated"), requests(&summary, "newly_denied")), (1, 0), "{summary}");
    // Of what is refused nothing comes out.
    let other = format!("{labels}{}", TEAM.replace("labels.team", "labels.owner"));
    let (_, summary, _) = tried(&story, &other, &[]);
    assert_eq!((requests(&summary, "newly_mutated"), requests(&summary, "newly_denied")), (0, 1), "{summary}");
    // What the others find in what is not known is not known.
    let looks =
        labels.replace("if not input.request.object.metadata.labels", r#"if input.request.object.data.a == "x""#);
    let (_, summary, _) = tried(&story, &format!("{looks}{TEAM}"), &[]);
    assert_eq!((requests(&summary, "newly_denied"), &summary["indeterminate"]), (0, &json!(1)), "{summary}");
    // What was refused may pass once it is mutated.
    let mut story = Story::under(vec![policy("team", TEAM)]);
    story.decides(config_map(json!({})), &nowhere());
    story.write();
    let (_, summary, _) = tried(&story, &format!("{labels}{TEAM}"), &[]);
    assert_eq!((requests(&summary, "newly_mutated"), requests(&summary, "newly_allowed")), (1, 1), "{summary}");
}

#[test]
fn a_mutation_with_a_record_of_its_own_is_not_guessed_into_the_validation() {
    let annotates = |name: &str, value: &str| {
        let path = "/metadata/annotations/seen";
        policy(name, &format!(r#"patch contains {{"op": "add", "path": "{path}", "value": "{value}"}}"#))
    };
    let mut story = Story::under(vec![annotates("notes", "x")]);
    let object =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "thing", "annotations": {"seen": "x"}}});
    story.decides_at(Endpoint::Mutate, config_map(json!({})), &nowhere());
    story.decides(asked("ConfigMap", object), &nowhere());
    story.write();
    // The record of the validation has no label, and the candidate would have given it one.
    let (_, summary, _) = tried(&story, &format!("{}{TEAM}", policy("labels", LABELS).text), &[]);
    assert_eq!((requests(&summary, "newly_denied"), &summary["indeterminate"]), (0, &json!(1)), "{summary}");
    assert_eq!(summary["unseen"], json!({"labels": 1}), "{summary}");
    // Where that matters to nobody, or nothing is changed, all is certain.
    let (_, summary, _) = tried(&story, &annotates("notes", "y").text, &[]);
    assert_eq!((requests(&summary, "newly_mutated"), &summary["indeterminate"]), (1, &json!(0)), "{summary}");
    let (_, summary, _) = tried(&story, &annotates("notes", "x").text, &[]);
    assert_eq!(summary["unchanged"], json!(2), "{summary}");
}

#[test]
fn a_masked_patch_on_record_fits_no_other() {
    let sets = |password: &str| {
        policy(
            "sets",
            &format!(
                r#"patch contains {{"op": "add", "path": "/metadata/annotations", "value": {{"password": "{password}"}}}} if true"#
            ),
        )
    };
    let mut story = Story::under(vec![sets("hunter2-of-then")]);
    story.decides_at(Endpoint::Mutate, config_map(json!({})), &nowhere());
    story.write();
    let (_, summary, _) = tried(&story, &sets("another-one-now").text, &[]);
    assert_eq!((&summary["unchanged"], &summary["indeterminate"]), (&json!(0), &json!(1)), "{summary}");
    assert_eq!(summary["unseen"], json!({"sets": 1}), "{summary}");
}

/// An event of a creation, with some fields in place.
fn event(over: &Value) -> Value {
    let mut event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Request", "auditID": "a1", "stage": "ResponseComplete",
        "verb": "create", "requestURI": "/api/v1/namespaces/shop/configmaps?fieldManager=kubectl-create&fieldValidation=Strict",
        "user": {"username": "arn:aws:sts::1:role", "extra": {"arn": ["arn:aws:sts::1:assumed-role/dev/jane"]}},
        "objectRef": {"resource": "configmaps", "namespace": "shop", "name": "thing", "apiVersion": "v1"},
        "responseStatus": {"code": 201}, "requestReceivedTimestamp": "2026-03-01T10:00:00.000000Z",
        "requestObject": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "thing"}}
    });
    for (key, value) in over.as_object().expect("fields") {
        event[key] = value.clone();
    }
    event
}

/// What trying a policy on events says: exit code, summary, examples' texts, messages.
fn audited(events: &[Value], new: &str, args: &[&str]) -> (Option<i32>, Value, Vec<String>, String) {
    let dir = tempfile::tempdir().expect("a directory");
    audited_in(dir.path(), events, new, args)
}

fn audited_in(dir: &Path, events: &[Value], new: &str, args: &[&str]) -> (Option<i32>, Value, Vec<String>, String) {
    let text: String = events.iter().map(|e| format!("{e}\n")).collect();
    fs::write(dir.join("audit.log"), text).expect("written");
    fs::create_dir_all(dir.join("new")).expect("made");
    fs::write(dir.join("new/p.rego"), new).expect("written");
    let fixed =
        ["decisions", "replay", "-o", "json", "--policies", "new", "--kube-audit", "audit.log", "--examples", "99"];
    let (code, lines, messages) = run(dir, &[&fixed, args].concat());
    let says = lines.iter().filter(|l| l["type"] == "example").filter_map(|l| l["says"].as_str().map(str::to_owned));
    (code, lines.last().cloned().unwrap_or_default(), says.collect(), messages)
}

/// A policy on every kind that says what of a request is not there.
fn misses(paths: &[&str]) -> String {
    let rules: String = paths.iter().map(|p| format!("deny contains \"{p}\" if not input.request.{p}\n")).collect();
    format!(
        "# METADATA\n# custom: {{severity: low, match: {{kinds: [ConfigMap, Namespace]}}}}\npackage portcullis.misses\n\n{rules}"
    )
}

#[test]
fn events_are_completed_to_what_admission_sees() {
    let paths = [
        "namespace",
        "requestKind",
        "requestResource",
        "options.fieldManager",
        "options.fieldValidation",
        "object.metadata.name",
        "object.metadata.uid",
        "object.metadata.managedFields",
    ];
    let of_namespace = json!({
        "objectRef": {"resource": "namespaces", "name": "tenant-b", "apiVersion": "v1"},
        "requestURI": "/api/v1/namespaces?fieldManager=kubectl-create&fieldValidation=Strict",
        "requestObject": {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant-b"}}
    });
    for over in [json!({}), of_namespace.clone()] {
        let (_, summary, says, messages) = audited(&[event(&over)], &misses(&paths), &[]);
        assert_eq!((summary["judged"].as_u64(), says), (Some(1), Vec::new()), "{summary} {messages}");
        // What is there and not known is not guessed.
        assert_eq!(summary["indeterminate"], json!(1), "{summary}");
    }
    // Null stands for what the API server is to set.
    let null = json!({"requestObject": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "creationTimestamp": null}}});
    let new = policy("times", r#"deny contains "never" if input.request.object.metadata.creationTimestamp == null"#);
    let (_, summary, says, _) = audited(&[event(&null)], &new.text, &[]);
    assert_eq!((&summary["indeterminate"], says), (&json!(1), Vec::new()), "{summary}");
    let label = "# METADATA\n# custom: {severity: low, match: {kinds: [Namespace]}}\npackage portcullis.named\n\n\
        deny contains \"no label\" if not input.request.object.metadata.labels[\"kubernetes.io/metadata.name\"]\n";
    let (_, summary, says, messages) = audited(&[event(&of_namespace)], label, &[]);
    assert_eq!((summary["unchanged"].as_u64(), says), (Some(1), Vec::new()), "{summary} {messages}");
}

#[test]
fn a_generated_name_is_the_one_that_was_stored_or_not_known() {
    let sent = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "web-"}, "spec": {}});
    let stored = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "web-", "name": "web-x7f2p",
        "namespace": "shop", "labels": {"team": "x"}, "uid": "1", "resourceVersion": "5"}, "spec": {"serviceAccountName": "default"}});
    let reference = json!({"resource": "pods", "namespace": "shop", "apiVersion": "v1"});
    let new = "# METADATA\n# custom: {severity: low, match: {kinds: [Pod]}}\npackage portcullis.p\n\n\
        deny contains \"name\" if not endswith(input.request.object.metadata.name, \"x7f2p\")\n\
        deny contains \"team\" if not input.request.object.metadata.labels.team\n\
        deny contains \"version\" if input.request.object.metadata.resourceVersion\n";
    let whole = event(
        &json!({"requestObject": sent, "responseObject": stored, "objectRef": reference, "level": "RequestResponse"}),
    );
    let (code, summary, says, messages) = audited(&[whole], new, &[]);
    assert_eq!((code, summary["unchanged"].as_u64(), says), (Some(0), Some(1), Vec::new()), "{summary} {messages}");
    let part = event(&json!({"requestObject": sent, "objectRef": reference}));
    let (_, summary, ..) = audited(std::slice::from_ref(&part), new, &[]);
    assert_eq!(summary["indeterminate"], json!(1), "{summary}");
    // Also where names say which policies judge.
    let named = "# METADATA\n# custom: {severity: low, match: {kinds: [Pod], names: [\"web-x*\"]}}\npackage portcullis.p\n\ndeny contains \"x\" if true\n";
    let (_, summary, ..) = audited(&[part], named, &[]);
    assert_eq!((&summary["indeterminate"], &summary["unseen"]), (&json!(1), &json!({"*": 1})), "{summary}");
}

#[test]
fn events_go_through_mutating_policies_first() {
    let new = format!(
        "{}\ndeny contains \"no team\" if not input.request.object.metadata.labels.team\n",
        policy("labels", LABELS).text
    );
    let (code, summary, _, messages) = audited(&[event(&json!({}))], &new, &["--fail-on", "newly-mutated"]);
    assert_eq!(code, Some(1), "{messages}");
    assert_eq!((requests(&summary, "newly_mutated"), requests(&summary, "newly_denied")), (1, 0), "{summary}");
    // What it makes of what is not known is not known, nor what is found in that.
    let looks = new.replace(
        "if not input.request.object.metadata.labels\n",
        "if input.request.object.metadata.managedFields == []\n",
    );
    let (_, summary, ..) = audited(&[event(&json!({}))], &looks, &[]);
    assert_eq!((requests(&summary, "newly_denied"), &summary["indeterminate"]), (0, &json!(1)), "{summary}");
}

#[test]
fn creations_by_other_verbs_and_cut_events() {
    let stored = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "thing", "namespace": "shop"}});
    let events = [
        event(&json!({"auditID": "put", "verb": "update"})),
        event(&json!({"auditID": "apply", "verb": "patch"})),
        event(&json!({"auditID": "applied", "verb": "patch", "responseObject": stored})),
        event(&json!({"auditID": "cut", "requestObject": null, "annotations": {"audit.k8s.io/truncated": "true"}})),
        event(&json!({"auditID": "updated", "verb": "update", "responseStatus": {"code": 200}})),
    ];
    let (_, summary, _, messages) = audited(&events, &misses(&["object.metadata.labels"]), &[]);
    assert_eq!((summary["judged"].as_u64(), requests(&summary, "newly_denied")), (Some(2), 2), "{summary} {messages}");
    let reasons = summary["not_judged"].to_string();
    for why in ["server-side apply", "truncated", "an update"] {
        assert!(reasons.contains(why), "{why}: {reasons}");
    }
}

#[test]
fn filters_and_repetitions_of_events() {
    let other = json!({"auditID": "a2", "objectRef": {"resource": "configmaps", "namespace": "other", "name": "x", "apiVersion": "v1"}});
    let deleted = json!({"auditID": "a3", "verb": "delete"});
    let events = [event(&json!({})), event(&json!({})), event(&other), event(&deleted)];
    let new = misses(&["object.metadata.labels"]);
    for (args, judged, not_judged) in [
        (&[][..], 2, 1),
        (&["--namespace", "shop"], 1, 1),
        (&["--namespace", "other"], 1, 0),
        (&["--user", "*/jane"], 2, 1),
        (&["--user", "arn:aws:sts::1:role"], 2, 1),
    ] {
        let (_, summary, _, messages) = audited(&events, &new, args);
        let counted: u64 =
            summary["not_judged"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum();
        assert_eq!((summary["judged"].as_u64(), counted), (Some(judged), not_judged), "{args:?}: {summary} {messages}");
    }
    for (args, says) in [
        (["--verdict", "deny"], "leave them out"),
        (["--policy", "p"], "leave them out"),
        (["--cause", "policy"], "leave them out"),
        (["--uid", "u"], "leave them out"),
        (["--type", "gap"], "only decisions"),
        (["--user", "nobody"], "nothing to judge"),
    ] {
        let (code, _, _, messages) = audited(&events, &new, &args);
        assert_eq!(code, Some(2), "{args:?}: {messages}");
        assert!(messages.contains(says), "{args:?}: {messages}");
    }
    // An audit log of a level below Request tries nothing out, and says so.
    let (code, summary, ..) = audited(&[event(&json!({"requestObject": null}))], &new, &[]);
    assert_eq!((code, summary["judged"].as_u64()), (Some(2), Some(0)), "{summary}");
}
