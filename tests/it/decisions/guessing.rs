//! What a record does not show is never guessed: every way in which a masked value can say what a decision comes to, and
//! the ways in which it cannot.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis::admission::Request;
use portcullis::engine::{Endpoint, Inventory};
use portcullis::policy::gatekeeper::Document;
use portcullis::policy::{PolicyException, SourceFile};
use serde_json::{Value, json};

use super::replaying::{Story, asked, config_map, nowhere, policy, statuses};
use super::review;

/// A credential by its shape: masked wherever it stands, also in keys.
const SHAPED: &str = "AKIAIOSFODNN7EXAMPLE";

fn with_match(name: &str, block: &str, body: &str) -> SourceFile {
    let text = format!("# METADATA\n# custom:\n#   match: {block}\npackage portcullis.{name}\n\n{body}\n");
    SourceFile { path: format!("{name}.rego"), text }
}

fn masks(pointer: &str) -> SourceFile {
    SourceFile { path: "masks.rego".into(), text: format!("package system.log\n\nmask contains {pointer:?}\n") }
}

/// What replaying the one decision of a story comes to, as its line says.
fn replayed(mut story: Story) -> Value {
    story.write();
    let (_, lines, messages) = story.replay(&["--all"]);
    assert_eq!(statuses(&lines).len(), 1, "{lines:#?} {messages}");
    lines[0].clone()
}

fn assert_unseen(name: &str, line: &Value, policy: &str, pointer: &str) {
    assert_eq!(line["status"], "indeterminate", "{name}: {line:#}");
    assert!(line["unseen"][policy].to_string().contains(pointer), "{name}: {line:#}");
}

fn update(kind: &str, group: &str, resource: &str, new: &Value, old: &Value) -> Request {
    review(json!({
        "uid": "u", "operation": "UPDATE", "namespace": "shop", "name": "thing", "userInfo": {"username": "alice"},
        "kind": {"group": group, "version": "v1", "kind": kind}, "object": new, "oldObject": old,
        "resource": {"group": group, "version": "v1", "resource": resource},
    }))
}

fn pod(containers: &Value) -> Request {
    let spec = json!({"containers": containers});
    asked("Pod", json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "thing"}, "spec": spec}))
}

#[test]
fn what_is_looked_at_while_a_policy_runs() {
    for (name, body) in [
        ("set", "names := {v | some v in input.request.object.data}\ndeny contains \"one\" if names[\"one\"]"),
        ("sets", "deny contains \"one\" if { v := \"one\"; {x | some x in input.request.object.data}[v] }"),
        ("said", "deny contains input.request.object.data.a if true"),
        ("alone", "deny := input.request.object.data.a"),
        ("field", "deny contains {\"msg\": \"m\", \"field\": input.request.object.data.a} if true"),
        ("noted", "audit_annotations[\"a\"] := input.request.object.data.a\ndeny contains \"x\" if false"),
    ] {
        let mut story = Story::under(vec![policy(name, body)]);
        story.decides(config_map(json!({"a": "one"})), &nowhere());
        assert_unseen(name, &replayed(story), name, "/request/object/data/a");
    }
}

#[test]
fn what_is_looked_at_while_a_patch_is_made() {
    let patch = |operation: &str| format!("patch contains {operation} if true");
    for (name, body) in [
        ("same", patch(r#"{"op": "replace", "path": "/data/a", "value": "one"}"#)),
        ("carried", patch(r#"{"op": "add", "path": "/metadata/labels", "value": {"a": input.request.object.data.a}}"#)),
        (
            "tested",
            "patch := [{\"op\": \"test\", \"path\": \"/data/a\", \"value\": \"one\"}, \
             {\"op\": \"add\", \"path\": \"/metadata/labels\", \"value\": {\"a\": \"b\"}}]"
                .to_owned(),
        ),
        ("copied", patch(r#"{"op": "copy", "from": "/data/a", "path": "/metadata/generateName"}"#)),
        ("led", patch(r#"{"op": "add", "path": "/data/a/b", "value": "x"}"#)),
        (
            "whole",
            "mutate := object.union(input.request.object, {\"data\": {\"a\": \"one\"}}) if input.request.object.kind"
                .into(),
        ),
    ] {
        let mut story = Story::under(vec![policy(name, &body)]);
        story.decides_at(Endpoint::Mutate, config_map(json!({"a": "one"})), &nowhere());
        assert_unseen(name, &replayed(story), name, "/request/object/data/a");
    }
}

#[test]
fn a_patch_beside_what_is_masked_is_certain() {
    let env = json!([{"name": "DB_PASSWORD", "value": "hunter2"}]);
    let containers = json!([{"name": "app", "image": "a", "env": env}]);
    for (name, body) in [
        ("adds", r#"patch contains {"op": "add", "path": "/metadata/labels", "value": {"a": "b"}} if true"#),
        (
            "joins",
            r#"patch contains {"op": "add", "path": "/spec/containers/0", "value": {"name": "proxy", "image": "p"}} if true"#,
        ),
        (
            "within",
            r#"patch contains {"op": "add", "path": "/spec/containers/0/securityContext", "value": {"runAsNonRoot": true}} if true"#,
        ),
        (
            "whole",
            r#"mutate := object.union(input.request.object, {"metadata": {"labels": {"a": "b"}}}) if input.request.object.kind"#,
        ),
    ] {
        let mut story = Story::under(vec![policy(name, body)]);
        let decision = story.decides_at(Endpoint::Mutate, pod(&containers), &nowhere());
        assert!(decision.patch.is_some(), "{name}");
        let line = replayed(story);
        assert_eq!(line["status"], "identical", "{name}: {line:#}");
    }
}

#[test]
fn an_exception_that_looks_at_a_masked_container_is_not_guessed() {
    let finds = r#"deny contains {"msg": "root", "field": "spec.containers[0].securityContext"} if true"#;
    let excepted = |refs: &Value| {
        let document = json!({"apiVersion": "portcullis.io/v1alpha1", "kind": "PolicyException",
            "metadata": {"name": "e"}, "spec": {"policyRefs": [refs], "reason": "r", "ticket": "T-1", "approver": "a",
            "expires": "2099-01-01T00:00:00Z"}});
        PolicyException::read(&Document::of_value("e.yaml", document)).expect("an exception")
    };
    for (refs, status) in [
        (json!({"name": "finds", "images": ["good/*"]}), "indeterminate"),
        (json!({"name": "finds", "containers": ["app"]}), "identical"),
        (json!({"name": "finds"}), "identical"),
    ] {
        let mut story =
            Story::under(vec![policy("finds", finds), masks("/input/request/object/spec/containers/*/image")]);
        story.sources.exceptions.push(excepted(&refs));
        let decision = story.decides(pod(&json!([{"name": "app", "image": "good/app"}])), &nowhere());
        assert!(decision.allowed(), "{refs}");
        let line = replayed(story);
        assert_eq!(line["status"], status, "{refs}: {line:#}");
        if status == "indeterminate" {
            assert_unseen("images", &line, "finds", "/request/object/spec/containers/0/image");
        }
    }
}

#[test]
fn masked_keys_could_be_any() {
    let looks = format!("deny contains \"k\" if input.request.object.metadata.annotations[{SHAPED:?}]");
    let absent = r#"deny contains "k" if not input.request.object.metadata.annotations.other"#;
    let map = || json!({ (SHAPED): "x" });
    let object = |annotations: Value, labels: Value| {
        let metadata = json!({"name": "thing", "annotations": annotations, "labels": labels});
        asked("ConfigMap", json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}))
    };
    for (name, body) in [("looks", looks.as_str()), ("absent", absent)] {
        let mut story = Story::under(vec![policy(name, body)]);
        story.decides(object(map(), json!({})), &nowhere());
        assert_unseen(name, &replayed(story), name, "/request/object/metadata/annotations");
    }
    let mut story = Story::under(vec![policy("looks", absent)]);
    story.decides(object(json!({"other": "x"}), map()), &nowhere());
    assert_unseen("labels", &replayed(story), "*", "/request/object/metadata/labels");
}

#[test]
fn labels_of_templates_say_which_policies_judge() {
    let of_web = "{kinds: [Pod], labelSelector: {matchLabels: {app: web}}}";
    let finds = with_match("finds", of_web, r#"deny contains "x" if true"#);
    let deployment = |resource: &str| {
        let template = json!({"metadata": {"labels": {"app": "web", "tier": "x"}}, "spec": {"containers": []}});
        review(json!({
            "uid": "u", "operation": "CREATE", "namespace": "shop", "name": "thing", "userInfo": {"username": "alice"},
            "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
            "resource": {"group": "apps", "version": "v1", "resource": resource},
            "object": {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "thing"}, "spec": {"template": template}},
        }))
    };
    for (pointer, status) in [
        ("/spec/template/metadata/labels/app", "indeterminate"),
        ("/spec/template/metadata", "indeterminate"),
        ("/spec/template", "indeterminate"),
        ("/spec", "indeterminate"),
        ("/spec/template/spec", "identical"),
        ("/spec/replicas", "identical"),
    ] {
        let mut story = Story::under(vec![finds.clone(), masks(&format!("/input/request/object{pointer}"))]);
        assert!(!story.decides(deployment("deployments"), &nowhere()).allowed());
        let line = replayed(story);
        assert_eq!(line["status"], status, "{pointer}: {line:#}");
    }
}

#[test]
fn an_update_is_in_doubt_only_where_what_is_masked_alone_could_have_changed() {
    let map = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "thing"}, "data": {"a": value}});
    let names = policy("names", r#"deny contains "no names" if count(input.request.object.data) == 0"#);
    for (new, old) in [("one", "one"), ("one", "two")] {
        let mut story = Story::under(vec![names.clone()]);
        story.decides(update("ConfigMap", "", "configmaps", &map(new), &map(old)), &nowhere());
        assert_eq!(replayed(story)["status"], "identical", "{new} {old}");
    }
    let deployment = |password: &str, image: &str| {
        let env = json!([{"name": "DB_PASSWORD", "value": password}]);
        let template = json!({"metadata": {}, "spec": {"containers": [{"name": "app", "image": image, "env": env}]}});
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "thing"}, "spec": {"template": template}})
    };
    let pods = with_match("pods", "{kinds: [Pod]}", r#"deny contains "x" if true"#);
    let other = with_match("other", "{kinds: [Deployment]}", r#"deny contains "y" if true"#);
    for (new, old, status) in [
        (deployment("hunter2", "a"), deployment("hunter3", "a"), "indeterminate"),
        (deployment("hunter2", "a"), deployment("hunter2", "a"), "indeterminate"),
        (deployment("hunter2", "b"), deployment("hunter2", "a"), "identical"),
    ] {
        let mut story = Story::under(vec![pods.clone(), other.clone()]);
        story.decides(update("Deployment", "apps", "deployments", &new, &old), &nowhere());
        let line = replayed(story);
        assert_eq!(line["status"], status, "{line:#}");
        if status == "indeterminate" {
            assert_unseen("update", &line, "pods", "/request/object/spec/template/spec/containers/0/env/0/value");
            assert_eq!(line["unseen"].as_object().map(serde_json::Map::len), Some(1), "{line:#}");
        }
    }
}

#[test]
fn nobody_writes_a_veil_into_an_object() {
    let told = |texts: [&str; 2]| {
        let annotations = json!({"a": texts[0], "b": texts[1]});
        let metadata = json!({"name": "thing", "annotations": annotations});
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
        let body = "deny contains \"same\" if { m := input.request.object.metadata.annotations; m.a == m.b }\n\
                    deny contains \"text\" if is_string(input.request.object.metadata.annotations.a)";
        let mut story = Story::under(vec![policy("looks", body)]);
        story.decides(asked("ConfigMap", object), &nowhere());
        replayed(story)
    };
    for texts in [["\u{10fffd}veiled:/x", "\u{10fffd}veiled:/x"], ["\u{10fffd}veiled:/x", "y"]] {
        let line = told(texts);
        assert_eq!(line["status"], "identical", "{line:#}");
    }
}

#[test]
fn labels_of_a_namespace_that_was_read_say_which_policies_judge() {
    let finds = with_match(
        "finds",
        "{kinds: [ConfigMap], namespaceSelector: {matchLabels: {tenant: a}}}",
        r#"deny contains "x" if true"#,
    );
    let inventory = |labels: Value, annotations: Value| {
        let metadata = json!({"name": "shop", "uid": "1", "labels": labels, "annotations": annotations});
        Inventory::fixed(BTreeMap::from([("shop".to_owned(), Arc::new(metadata))]))
    };
    for (labels, annotations, status) in [
        (json!({"tenant": "a"}), json!({"a": "x"}), "identical"),
        (json!({"tenant": "a"}), json!({"a": SHAPED}), "identical"),
        (json!({"tenant": "a"}), json!({ (SHAPED): "x" }), "identical"),
        (json!({"tenant": "a", "key": SHAPED}), json!({}), "indeterminate"),
    ] {
        let mut story = Story::under(vec![finds.clone()]);
        assert!(!story.decides(config_map(json!({})), &inventory(labels, annotations)).allowed());
        let line = replayed(story);
        assert_eq!(line["status"], status, "{line:#}");
    }
}
