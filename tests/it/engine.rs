//! The one door: what a set of policies comes to on one request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::admission::{Request, decode};
use portcullis::engine::{
    Cause, CompileOptions, Context, Decision, Endpoint, ErrorCode, FailureMode, FailureModes, Inventory, Pool,
    PoolOptions, Quarantine, Snapshot, Verdict, answer, compile, decide,
};
use portcullis::policy::gatekeeper::Document;
use portcullis::policy::{Enforcement, LoadError, PolicyBinding, SourceFile, Sources};
use serde_json::{Value, json};

const META: &str = "# METADATA\n# scope: package\n# title: T\n# custom:\n#   match: {kinds: [Pod]}\n";

fn sources(files: &[(&str, &str)]) -> Sources {
    let modules = files.iter().map(|(path, text)| SourceFile { path: (*path).into(), text: (*text).into() }).collect();
    Sources { modules, ..Sources::default() }
}

fn snapshot(files: &[(&str, &str)]) -> Arc<Snapshot> {
    Arc::new(compile(&sources(files), CompileOptions::default()).expect("compiles").snapshot)
}

fn load_errors(files: &[(&str, &str)]) -> Vec<String> {
    let errors = compile(&sources(files), CompileOptions::default()).expect_err("must not compile");
    errors.iter().map(LoadError::to_string).collect()
}

fn binding_of(value: Value) -> PolicyBinding {
    PolicyBinding::read(&Document::of_value("b.yaml", value)).expect("reads")
}

/// A request on a Pod of namespace `shop` by alice.
fn request(operation: &str, object: Value, old: Value) -> Arc<Request> {
    request_on("", "pods", "Pod", operation, object, old)
}

fn request_on(group: &str, resource: &str, kind: &str, operation: &str, object: Value, old: Value) -> Arc<Request> {
    let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
    let review = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
        "uid": "u-1", "kind": {"group": group, "version": "v1", "kind": kind},
        "resource": {"group": group, "version": "v1", "resource": resource}, "subResource": sub,
        "name": "n", "namespace": "shop", "operation": operation,
        "userInfo": {"username": "alice", "groups": ["devs"]}, "object": object, "oldObject": old}});
    Arc::new(decode(review.to_string().as_bytes()).expect("decodes"))
}

fn pod(image: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "n"}, "spec": {"containers": [{"name": "a", "image": image}]}})
}

fn context(endpoint: Endpoint) -> Context {
    Context { endpoint, now_ns: 1, seed: 7, deadline: None, failure: FailureModes::default(), http: None }
}

fn inventory() -> Inventory {
    let metadata = Arc::new(json!({"name": "shop", "labels": {"tenant": "a"}, "uid": "x", "resourceVersion": "5"}));
    Inventory::fixed([("shop".to_owned(), metadata)].into())
}

fn validate(files: &[(&str, &str)], request: &Arc<Request>) -> Decision {
    decide(&snapshot(files), &inventory(), request, &context(Endpoint::Validate))
}

fn messages(decision: &Decision) -> Vec<(&str, &str, Option<&str>)> {
    decision.violations.iter().map(|v| (&*v.policy, v.msg.as_str(), v.field.as_deref())).collect()
}

fn with_meta(body: &str) -> String {
    format!("{META}package portcullis.p\n{body}")
}

const NO_LATEST: &str = r#"
deny contains {"msg": sprintf("image %s", [c.image]), "field": sprintf("spec.containers[%d].image", [i])} if {
	some i, c in input.request.object.spec.containers
	endswith(c.image, ":latest")
}
"#;

#[test]
fn all_violations_of_all_policies_in_a_stable_order() {
    let second = "package portcullis.a\nwarn contains \"w\" if true\ndeny contains \"z\" if true\n";
    let decision = validate(
        &[("p.rego", &with_meta(NO_LATEST)), ("a.rego", second)],
        &request("CREATE", pod("x:latest"), Value::Null),
    );
    assert_eq!((decision.verdict, decision.cause), (Verdict::Deny, Cause::Policy));
    assert_eq!(
        messages(&decision),
        [("a", "z", None), ("p", "image x:latest", Some("spec.containers[0].image")), ("a", "w", None)]
    );
    assert_eq!(decision.warnings, ["a: w"]);
    let response = answer(&decision, "u-1");
    let status = response.status.expect("a status");
    assert_eq!((status.code, status.reason), (403, "Forbidden"));
    assert_eq!(status.message, "a: z\np: image x:latest [spec.containers[0].image]");
    let location = decision.violations[1].location.clone().expect("a location");
    assert_eq!((location.file.as_str(), location.line), ("p.rego", 8));
}

#[test]
fn a_violation_names_the_rule_that_found_it() {
    let body = "deny contains \"one\" if input.never\ndeny contains msg if msg := sprintf(\"image %s of %d%%\", [\"x\", 5])\n\ndeny contains m if {\n\tm := concat(\"\", [\"made \", \"up\"])\n}\ndeny contains \"two\" if true";
    let decision = validate(&[("p.rego", &with_meta(body))], &request("CREATE", pod("x"), Value::Null));
    let places: Vec<(&str, u32)> =
        decision.violations.iter().map(|v| (v.msg.as_str(), v.location.as_ref().map_or(0, |l| l.line))).collect();
    // What is put together from parts has no sign: the first definition is named.
    assert_eq!(places, [("image x of 5%", 8), ("made up", 7), ("two", 13)]);
}

#[test]
fn enforcement_says_what_a_violation_does() {
    for (enforcement, verdict, warnings) in
        [("deny", Verdict::Deny, 0), ("warn", Verdict::Allow, 1), ("dryrun", Verdict::Allow, 0)]
    {
        let text = with_meta(&format!("{NO_LATEST}\naudit_annotations := {{\"k\": \"v\"}}\n"))
            .replace("#   match", &format!("#   enforcement: {enforcement}\n#   match"));
        let decision = validate(&[("p.rego", &text)], &request("CREATE", pod("x:latest"), Value::Null));
        assert_eq!(
            (decision.verdict, decision.warnings.len(), decision.violations.len()),
            (verdict, warnings, 1),
            "{enforcement}"
        );
        assert_eq!(decision.deny_selected, enforcement == "deny");
        if enforcement == "dryrun" {
            let response = answer(&decision, "u");
            assert!(response.warnings.is_empty() && response.status.is_none() && response.audit_annotations.is_empty());
        }
    }
}

#[test]
fn a_ceiling_and_bindings_change_enforcement() {
    let mut set = sources(&[("p.rego", &with_meta(NO_LATEST))]);
    let ceiling = CompileOptions { max_enforcement: Some(Enforcement::Dryrun), ..CompileOptions::default() };
    let snapshot = Arc::new(compile(&set, ceiling).expect("compiles").snapshot);
    let bad = request("CREATE", pod("x:latest"), Value::Null);
    let decision = decide(&snapshot, &inventory(), &bad, &context(Endpoint::Validate));
    assert_eq!((decision.verdict, decision.violations[0].enforcement), (Verdict::Allow, Enforcement::Dryrun));
    let binding = |name: &str| {
        json!({"apiVersion": "portcullis.io/v1alpha1", "kind": "PolicyBinding", "metadata": {"name": "b"},
        "spec": {"policyRef": {"name": name}, "enforcement": "warn", "match": {"namespaces": ["shop"]}}})
    };
    set.bindings = vec![binding_of(binding("p"))];
    let snapshot = Arc::new(compile(&set, CompileOptions::default()).expect("compiles").snapshot);
    assert_eq!(decide(&snapshot, &inventory(), &bad, &context(Endpoint::Validate)).warnings.len(), 1);
    set.bindings = vec![binding_of(binding("q"))];
    let errors = compile(&set, CompileOptions::default()).expect_err("no such policy");
    assert!(errors[0].to_string().contains("no policy `q`"), "{errors:?}");
}

#[test]
fn a_generated_name_of_a_namespace_counts() {
    let text = "# METADATA\n# scope: package\n# custom:\n#   match: {kinds: [Namespace], namespaces: ['tenant-*']}\npackage portcullis.p\ndeny contains \"x\" if true\n";
    let create = |metadata: Value| {
        let review = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
            "uid": "u-1", "kind": {"version": "v1", "kind": "Namespace"}, "operation": "CREATE",
            "resource": {"version": "v1", "resource": "namespaces"},
            "object": {"kind": "Namespace", "metadata": metadata}}});
        validate(&[("p.rego", text)], &Arc::new(decode(review.to_string().as_bytes()).expect("decodes"))).verdict
    };
    assert_eq!(create(json!({"generateName": "tenant-", "name": "tenant-x7"})), Verdict::Deny);
    assert_eq!(create(json!({"generateName": "tenant-"})), Verdict::Deny);
    assert_eq!(create(json!({"generateName": "other-", "name": "other-x7"})), Verdict::Allow);
}

#[test]
fn the_labels_of_a_workload_are_its_templates() {
    let text = with_meta("deny contains \"x\" if true")
        .replace("kinds: [Pod]", "kinds: [Pod], labelSelector: {matchLabels: {phi: \"yes\"}}");
    let deployment = |own: &str, template: &str| {
        let template = json!({"metadata": {"labels": {"phi": template}}, "spec": {}});
        let object = json!({"metadata": {"labels": {"phi": own}}, "spec": {"template": template}});
        let create = request_on("apps", "deployments", "Deployment", "CREATE", object, Value::Null);
        validate(&[("p.rego", &text)], &create).verdict
    };
    assert_eq!((deployment("no", "yes"), deployment("yes", "no")), (Verdict::Deny, Verdict::Allow));
}

#[test]
fn the_ratchet_does_not_void_what_is_said_of_the_change() {
    let labelled = |image: &str, key: &str| {
        let mut object = pod(image);
        object["metadata"]["labels"] = json!({key: "yes"});
        object
    };
    for rule in [
        "deny contains \"locked\" if input.request.oldObject.metadata.labels.locked",
        "deny contains \"frozen\" if { input.request.operation == \"UPDATE\"; input.request.object.metadata.labels.locked }",
    ] {
        let text = with_meta(rule);
        let update = request("UPDATE", labelled("b", "locked"), labelled("a", "locked"));
        assert_eq!(validate(&[("p.rego", &text)], &update).verdict, Verdict::Deny, "{rule}");
    }
    let parent = with_meta("deny contains \"x\" if input.parent.object.metadata.labels.bad");
    let deployment = |key: &str, image: &str| {
        let spec = json!({"template": {"spec": {"containers": [{"name": "a", "image": image}]}}});
        json!({"metadata": {"labels": {key: "yes"}}, "spec": spec})
    };
    let update = |old: &str| {
        let (new, old) = (deployment("bad", "b"), deployment(old, "a"));
        validate(&[("p.rego", &parent)], &request_on("apps", "deployments", "Deployment", "UPDATE", new, old)).verdict
    };
    assert_eq!((update("good"), update("bad")), (Verdict::Deny, Verdict::Allow));
}

#[test]
fn where_a_bindings_selector_leaves_out_the_policy_stands() {
    let mut set = sources(&[("p.rego", &with_meta(NO_LATEST))]);
    let binding = |tenant: &str| {
        json!({"apiVersion": "portcullis.io/v1alpha1", "kind": "PolicyBinding", "metadata": {"name": "b"},
            "spec": {"policyRef": {"name": "p"}, "enforcement": "warn",
                "match": {"namespaceSelector": {"matchLabels": {"tenant": tenant}}}}})
    };
    let bad = request("CREATE", pod("x:latest"), Value::Null);
    for (tenant, verdict) in [("a", Verdict::Allow), ("other", Verdict::Deny)] {
        set.bindings = vec![binding_of(binding(tenant))];
        let snapshot = Arc::new(compile(&set, CompileOptions::default()).expect("compiles").snapshot);
        let decision = decide(&snapshot, &inventory(), &bad, &context(Endpoint::Validate));
        assert_eq!((decision.verdict, decision.violations.len()), (verdict, 1), "{tenant}");
        // Nobody can say whether the milder binding applies, so the failure counts as the strictest use's.
        let nothing = Inventory::fixed([].into());
        let decision = decide(&snapshot, &nothing, &bad, &context(Endpoint::Validate));
        assert_eq!((decision.verdict, decision.failures[0].code), (Verdict::Deny, ErrorCode::UnknownNamespace));
    }
}

#[test]
fn workloads_are_judged_through_their_template() {
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "x:latest"}]}});
    let spec = json!({"template": template.clone()});
    for (group, resource, kind, object, prefix) in [
        ("apps", "deployments", "Deployment", json!({"spec": spec.clone()}), "spec.template."),
        ("apps", "replicasets", "ReplicaSet", json!({"spec": spec.clone()}), "spec.template."),
        ("apps", "statefulsets", "StatefulSet", json!({"spec": spec.clone()}), "spec.template."),
        ("apps", "daemonsets", "DaemonSet", json!({"spec": spec.clone()}), "spec.template."),
        ("", "replicationcontrollers", "ReplicationController", json!({"spec": spec.clone()}), "spec.template."),
        ("batch", "jobs", "Job", json!({"spec": spec.clone()}), "spec.template."),
        (
            "batch",
            "cronjobs",
            "CronJob",
            json!({"spec": {"jobTemplate": {"spec": spec.clone()}}}),
            "spec.jobTemplate.spec.template.",
        ),
        ("", "podtemplates", "PodTemplate", json!({"template": template.clone()}), "template."),
    ] {
        let decision = validate(
            &[("p.rego", &with_meta(NO_LATEST))],
            &request_on(group, resource, kind, "CREATE", object, Value::Null),
        );
        let field = format!("{prefix}spec.containers[0].image");
        assert_eq!(messages(&decision), [("p", "image x:latest", Some(field.as_str()))], "{kind}");
    }
    let parent = "deny contains msg if { input.parent.kind.kind == \"Deployment\"; input.request.kind.kind == \"Pod\"; input.request.object.metadata.namespace == \"shop\"; msg := input.request.resource.resource }";
    let decision = validate(
        &[("p.rego", &with_meta(parent))],
        &request_on("apps", "deployments", "Deployment", "CREATE", json!({"spec": spec}), Value::Null),
    );
    assert_eq!(messages(&decision), [("p", "pods", None)]);
}

#[test]
fn updates_are_ratcheted() {
    let files = [("p.rego", &*with_meta(NO_LATEST))];
    let mut labelled = pod("x:latest");
    labelled["metadata"]["labels"] = json!({"new": "label"});
    assert_eq!(validate(&files, &request("UPDATE", labelled.clone(), pod("x:latest"))).verdict, Verdict::Allow);
    assert_eq!(validate(&files, &request("UPDATE", pod("y:latest"), pod("x:latest"))).verdict, Verdict::Deny);
    let all = with_meta(NO_LATEST).replace("#   match", "#   onUpdate: all\n#   match");
    assert_eq!(
        validate(&[("p.rego", &all)], &request("UPDATE", labelled.clone(), pod("x:latest"))).verdict,
        Verdict::Deny
    );
    // A policy on the user is not ratcheted: the old object would be refused to the same user too.
    let user = with_meta("deny contains \"not alice\" if input.request.userInfo.username == \"alice\"");
    assert_eq!(validate(&[("p.rego", &user)], &request("UPDATE", labelled, pod("x:latest"))).verdict, Verdict::Deny);
}

#[test]
fn a_pod_update_that_changes_nothing_is_not_judged() {
    let always = with_meta("deny contains \"always\" if input.request.userInfo");
    let files = [("p.rego", &*always)];
    let mut finalized = pod("x");
    finalized["metadata"]["finalizers"] = json!(["f"]);
    assert_eq!(validate(&files, &request("UPDATE", finalized, pod("x"))).runs.len(), 0);
    let mut annotated = pod("x");
    annotated["metadata"]["annotations"] = json!({"a": "b"});
    assert_eq!(validate(&files, &request("UPDATE", annotated, pod("x"))).verdict, Verdict::Deny);
    let resize = request_on("", "pods/resize", "Pod", "UPDATE", pod("y"), pod("x"));
    assert_eq!(validate(&files, &resize).verdict, Verdict::Deny);
    for sub in ["pods/status", "pods/binding", "pods/eviction"] {
        assert_eq!(validate(&files, &request_on("", sub, "Pod", "UPDATE", pod("y"), pod("x"))).runs.len(), 0, "{sub}");
    }
}

#[test]
fn errors_meet_the_failure_mode_and_are_never_no_violation() {
    let cases = [
        ("deny contains \"x\" if to_number(input.request.name) > 1", ErrorCode::Evaluation),
        ("deny contains 5 if true", ErrorCode::Output),
        ("deny contains {\"message\": \"no msg\"} if true", ErrorCode::Output),
        ("x := 1 if true\nx := 2 if true\ndeny contains \"x\" if x == 1", ErrorCode::Evaluation),
        (
            "deny contains \"x\" if { some i in numbers.range(1, 3000); some j in numbers.range(1, 3000); i * j == -1 }",
            ErrorCode::Budget,
        ),
    ];
    for (body, code) in cases {
        let text = with_meta(body).replace("#   match", "#   budget: {time: 50ms}\n#   match");
        let good = "package portcullis.good\nwarn contains \"still judged\" if true\n";
        let files = [("p.rego", &*text), ("good.rego", good)];
        let bad = request("CREATE", pod("x"), Value::Null);
        let decision = validate(&files, &bad);
        assert_eq!((decision.verdict, decision.cause), (Verdict::Deny, Cause::PolicyError), "{body}");
        assert_eq!(decision.failures[0].code, code, "{body}: {}", decision.failures[0].msg);
        assert_eq!(decision.warnings, ["good: still judged"], "{body}");
        assert_eq!(answer(&decision, "u").status.expect("a status").code, 500);
        let open = Context { failure: FailureModes::all(FailureMode::Allow), ..context(Endpoint::Validate) };
        let decision = decide(&snapshot(&files), &inventory(), &bad, &open);
        assert_eq!(
            (decision.verdict, decision.cause, decision.warnings.len()),
            (Verdict::Allow, Cause::PolicyError, 2),
            "{body}"
        );
    }
}

#[test]
fn namespaces_are_seen_or_it_is_an_error() {
    let text = with_meta("deny contains input.namespace.labels.tenant if true");
    let create = request("CREATE", pod("x"), Value::Null);
    let decision = validate(&[("p.rego", &text)], &create);
    assert_eq!(messages(&decision), [("p", "a", None)]);
    assert_eq!(
        (decision.reads[0].path.as_str(), decision.reads[0].resource_version.as_deref()),
        ("namespaces/shop", Some("5"))
    );
    let nothing = Inventory::fixed([].into());
    let files = [("p.rego", text.as_str())];
    let decision = decide(&snapshot(&files), &nothing, &create, &context(Endpoint::Validate));
    assert_eq!((decision.verdict, decision.failures[0].code), (Verdict::Deny, ErrorCode::UnknownNamespace));
    let selector = with_meta("deny contains \"x\" if true")
        .replace("kinds: [Pod]", "kinds: [Pod], namespaceSelector: {matchLabels: {tenant: b}}");
    assert_eq!(validate(&[("p.rego", &selector)], &create).verdict, Verdict::Allow);
    let decision = decide(&snapshot(&[("p.rego", &selector)]), &nothing, &create, &context(Endpoint::Validate));
    assert_eq!(decision.failures[0].code, ErrorCode::UnknownNamespace);
    // Who does not look at it does not need it.
    let plain = with_meta("deny contains \"x\" if input.request.name == \"other\"");
    let decision = decide(&snapshot(&[("p.rego", &plain)]), &nothing, &create, &context(Endpoint::Validate));
    assert_eq!((decision.verdict, decision.cause), (Verdict::Allow, Cause::None));
}

#[test]
fn leaving_a_namespace_selection_is_judged() {
    let text = "# METADATA\n# scope: package\n# custom:\n#   match: {kinds: [Namespace], namespaceSelector: {matchLabels: {guarded: \"yes\"}}}\npackage portcullis.p\ndeny contains \"guarded\" if input.request.userInfo\n";
    let namespace = |label: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", "labels": {"guarded": label}}});
    let update = |new, old| request_on("", "namespaces", "Namespace", "UPDATE", namespace(new), namespace(old));
    assert_eq!(validate(&[("p.rego", text)], &update("no", "yes")).verdict, Verdict::Deny);
    assert_eq!(validate(&[("p.rego", text)], &update("no", "no")).verdict, Verdict::Allow);
}

#[test]
fn mutations_are_merged_in_the_order_of_names() {
    let a = "package portcullis.a\npatch contains {\"op\": \"add\", \"path\": \"/metadata/labels/a\", \"value\": \"1\"} if not input.request.object.metadata.labels.a\n";
    let b = "package portcullis.b\nmutate := object.union(input.request.object, {\"metadata\": {\"labels\": {\"b\": input.request.object.metadata.labels.a}}})\n";
    let files = [("b.rego", b), ("a.rego", a)];
    let decision =
        decide(&snapshot(&files), &inventory(), &request("CREATE", pod("x"), Value::Null), &context(Endpoint::Mutate));
    let patch = serde_json::to_value(decision.patch.expect("a patch")).expect("JSON");
    assert_eq!(patch, json!([{"op": "add", "path": "/metadata/labels", "value": {"a": "1", "b": "1"}}]));
    let mut done = pod("x");
    done["metadata"]["labels"] = json!({"a": "1", "b": "1"});
    let decision =
        decide(&snapshot(&files), &inventory(), &request("CREATE", done, Value::Null), &context(Endpoint::Mutate));
    assert_eq!(decision.patch, None);
    let named = "package portcullis.a\npatch contains {\"op\": \"replace\", \"path\": \"/metadata/name\", \"value\": \"other\"}\n";
    let decision = decide(
        &snapshot(&[("a.rego", named)]),
        &inventory(),
        &request("CREATE", pod("x"), Value::Null),
        &context(Endpoint::Mutate),
    );
    assert_eq!((decision.verdict, decision.failures[0].code), (Verdict::Deny, ErrorCode::Patch));
}

#[test]
fn operations_of_a_set_go_by_path_and_those_of_a_list_as_written() {
    let replace = r#"{"op": "replace", "path": "/metadata", "value": {"name": "n", "annotations": {"b": "2"}}}"#;
    let add = r#"{"op": "add", "path": "/metadata/annotations/a", "value": "1"}"#;
    let annotations = |body: String| {
        let files = [("p.rego", &*with_meta(&body))];
        let create = request("CREATE", pod("x"), Value::Null);
        let decision = decide(&snapshot(&files), &inventory(), &create, &context(Endpoint::Mutate));
        serde_json::to_value(decision.patch.expect("a patch")).expect("JSON")[0]["value"].clone()
    };
    assert_eq!(annotations(format!("patch contains {replace}\npatch contains {add}\n")), json!({"a": "1", "b": "2"}));
    assert_eq!(annotations(format!("patch := [{add}, {replace}]\n")), json!({"b": "2"}));
}

#[test]
fn mutations_of_pods_act_on_their_creation_only() {
    let text = with_meta("patch contains {\"op\": \"add\", \"path\": \"/metadata/labels/a\", \"value\": \"1\"}");
    let files = [("p.rego", text.as_str())];
    let mutate =
        |r: Arc<Request>| decide(&snapshot(&files), &inventory(), &r, &context(Endpoint::Mutate)).patch.is_some();
    assert!(mutate(request("CREATE", pod("x"), Value::Null)));
    assert!(!mutate(request("UPDATE", pod("y"), pod("x"))));
    let deployment = json!({"spec": {"template": {"spec": {}}}});
    let create = request_on("apps", "deployments", "Deployment", "CREATE", deployment, Value::Null);
    assert!(!mutate(Arc::clone(&create)));
    // Templates are judged; a patch for the Pod in them would land in the workload.
    let wild = text.replace("kinds: [Pod]", "rules: [{apiGroups: [\"\"], resources: [\"*\"]}], podTemplates: true");
    let files = [("p.rego", wild.as_str())];
    let decision = decide(&snapshot(&files), &inventory(), &create, &context(Endpoint::Mutate));
    assert_eq!((decision.patch, decision.runs.len()), (None, 0));
}

#[test]
fn load_errors_have_places() {
    for (text, wanted) in [
        ("package a\ndeny contains x if { x := unknwon(1) }\n", "p.rego:2:27: unknown function `unknwon`"),
        (
            "package a\ndeny contains \"x\" if starts_with(\"a\", \"b\")\n",
            "p.rego:2:22: unknown function `starts_with`; did you mean `startswith`?",
        ),
        ("package a\ndeny contains \"x\" if data.a.missing\n", "p.rego:2:22: no rule `missing` in package `a`"),
        (
            "package a\ndeny contains msg if { msq := \"typo\" }\n",
            "p.rego:2:15: variable `msg` of the head has no value: nothing in the body gives it one",
        ),
        ("package a\nf(x) := f(x)\ndeny contains \"x\" if f(1)\n", "p.rego:2:1: recursion: f -> f"),
        ("package a\nx := y\ny := x\ndeny contains \"x\" if x\n", "p.rego:2:1: recursion: x -> y -> x"),
        ("package a\nx if y with input as 1\ny if x\ndeny contains \"x\" if x\n", "p.rego:2:1: recursion: x -> y -> x"),
        (
            "package a\nf(x) := g(x)\ng(x) := [f(y) | some y in x]\ndeny contains \"x\" if f([1])\n",
            "p.rego:2:1: recursion: f -> g -> f",
        ),
        ("package a\ndeny contains \"x\" if count(data.a) > 0\n", "p.rego:2:1: recursion: deny -> deny"),
        ("package a\ndeny contains x if { some k; x := data[k].b }\n", "p.rego:2:1: recursion: deny -> deny"),
        ("package a\ndeny contains \"x\" if startswith(\"a\")\n", "p.rego:2:22: `startswith` takes 2 arguments, not 1"),
        ("package a\ndeny contains x if {\n", "p.rego:3:1: "),
        ("package a\ndeny[msg] { msg := \"old\" }\n", "p.rego:2:"),
    ] {
        let errors = load_errors(&[("p.rego", text)]);
        assert!(errors[0].starts_with(wanted), "{text}\n{errors:?}");
    }
    // A misspelt rule is no policy that lets everything pass.
    let misspelt = load_errors(&[("p.rego", &with_meta("denny contains \"x\""))]);
    assert!(misspelt[0].contains("did you mean `deny` where it says `denny`"), "{misspelt:?}");
    let twice =
        load_errors(&[("p.rego", &with_meta("deny contains \"x\"")), ("q.rego", "package p\ndeny contains \"y\"")]);
    assert!(twice[0].contains("would both be policy `p`"), "{twice:?}");
    let mut chain = "package a\ndeny contains \"x\" if r0\n".to_owned();
    chain.extend((0..2000).map(|i| format!("r{i} if r{}\n", i + 1)));
    assert!(load_errors(&[("p.rego", &format!("{chain}r2000 := true\n"))])[0].contains("more than 500 deep"));
    let deep = format!("package a\ny := 1\nx := {}y{}\n", "[".repeat(40), "]".repeat(40));
    let started = Instant::now();
    assert!(load_errors(&[("p.rego", &deep)])[0].contains("brackets nest 40 deep"));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(load_errors(&[("p.rego", "package a\ndeny[msg] { msg := \"old\" }\n")])[0].contains("regoVersion: v0"));
}

#[test]
fn masks_are_never_left_out_in_silence() {
    let mask = "package system.log\nmask := \"/input/request/object\"\n";
    assert!(load_errors(&[("m.rego", mask)])[0].contains("`data.system.log.mask` must be a set of JSON pointers"));
    for (entry, why) in [
        ("\"/input/request/objekt\"", "an AdmissionReview has no `request.objekt`"),
        ("{\"op\": \"replace\", \"path\": \"/input/request/name\"}", "`op` must be `remove` or `upsert`"),
        ("\"/input/request/name\" if input.request.dryRun", "cannot depend on `input`"),
    ] {
        let errors = load_errors(&[("m.rego", &format!("package system.log\nmask contains {entry}\n"))]);
        assert!(errors[0].starts_with("m.rego:") && errors[0].contains(why), "{errors:?}");
    }
    // By a rule that it needs, here or elsewhere; rules beside it may look at what they like.
    let by = |own: &str, other: &str| {
        let mask =
            format!("package system.log\nimport data.lib.masks\nmask contains \"/input/request/name\" if {own}\n");
        let lib =
            format!("package lib.masks\nsensitive if {{ inner }}\ninner if {other}\nbeside if input.request.dryRun\n");
        let compiled = compile(&sources(&[("m.rego", &mask), ("l.rego", &lib)]), CompileOptions::default());
        compiled.err().unwrap_or_default().iter().map(LoadError::to_string).collect::<Vec<_>>()
    };
    let here = by("sensitive\nsensitive if input.request.dryRun", "1 == 1");
    let there = by("masks.sensitive", "input.request.dryRun");
    for errors in [&here, &there] {
        assert!(errors.iter().any(|e| e.contains("cannot depend on `input`")), "{errors:?}");
    }
    assert_eq!(by("masks.sensitive", "1 == 1"), Vec::<String>::new());
    let mask = "package system.log\nmask contains \"/input/request/object/spec/a\"\n\
        mask contains {\"op\": \"upsert\", \"path\": \"/input/request/userInfo/username\", \"value\": \"x\"}\n";
    let compiled = compile(
        &sources(&[("m.rego", mask), ("p.rego", &with_meta("deny contains \"x\""))]),
        CompileOptions::default(),
    );
    let pointers = compiled.expect("compiles").snapshot.mask_pointers().to_vec();
    assert_eq!(pointers, ["/input/request/object/spec/a", "/input/request/userInfo/username"]);
    // The same as a document of the data, which OPA takes as well.
    let mut set = sources(&[("p.rego", &with_meta("deny contains \"x\""))]);
    let mut of_document = |mask: Value| {
        set.data = json!({"system": {"log": {"mask": mask}}}).as_object().cloned().unwrap_or_default();
        let compiled = compile(&set, CompileOptions::default()).map_err(|e| e[0].to_string())?;
        Ok::<_, String>(compiled.snapshot.mask_pointers().to_vec())
    };
    let entries = json!(["/input/request/object/spec/a", {"op": "remove", "path": "/input/request/name"}]);
    assert_eq!(of_document(entries), Ok(vec!["/input/request/object/spec/a".into(), "/input/request/name".into()]));
    for wrong in [json!("/input/request/name"), json!(["/input/request/objekt"]), json!({"op": "remove"}), json!(null)]
    {
        assert!(of_document(wrong.clone()).is_err_and(|e| e.starts_with("data: ")), "{wrong}");
    }
}

/// In the engine a document hides a rule of the same path, so data could switch a policy off.
#[test]
fn documents_do_not_hide_rules() {
    let mut set = sources(&[("p.rego", &with_meta("deny contains \"x\" if data.portcullis.p.list[0] == 1"))]);
    let verdict = |set: &Sources| {
        let create = request("CREATE", pod("x"), Value::Null);
        let compiled = compile(set, CompileOptions::default()).map_err(|e| e[0].to_string())?;
        Ok(decide(&Arc::new(compiled.snapshot), &inventory(), &create, &context(Endpoint::Validate)).verdict)
    };
    let mut with = |data: Value| {
        set.data = data.as_object().cloned().unwrap_or_default();
        verdict(&set)
    };
    assert_eq!(with(json!({"portcullis": {"p": {"list": [1]}}})), Ok(Verdict::Deny));
    let hidden: Result<Verdict, String> = with(json!({"portcullis": {"p": {"list": [1], "deny": []}}}));
    assert_eq!(
        hidden,
        Err("p.rego:7:1: `data.portcullis.p.deny` is a rule here and a document in the data files".to_owned())
    );
    assert!(with(json!({"portcullis": 5})).expect_err("in the way").contains("stands in a document"));
}

#[test]
fn a_rule_and_a_package_do_not_share_a_path() {
    let lib = ("lib.rego", "package portcullis.p.lib\nok := false\n");
    for (rule, conflict) in [("lib.ok := true", true), ("lib := 1", true), ("lib.other := 1", false)] {
        let text = with_meta(&format!("{rule}\ndeny contains \"x\" if not data.portcullis.p.lib.ok\n"));
        let compiled = compile(&sources(&[("p.rego", &text), lib]), CompileOptions::default());
        let found = compiled.err().map(|e| e[0].to_string());
        let wanted = format!(
            "p.rego:7:1: rule `{}` is in the way of package `portcullis.p.lib`",
            &rule[..rule.find(" ").expect("a space")]
        );
        assert_eq!(found, conflict.then_some(wanted), "{rule}");
    }
}

#[test]
fn rules_below_one_name_are_rules_of_their_own() {
    let limits =
        "limits.a := 1\nlimits.b := limits.a + 1\ndeny contains \"x\" if { limits.b == 2; lib.names.short(\"x\") }\n";
    let text = with_meta(&format!("import data.lib\n{limits}"));
    let files = [("p.rego", text.as_str()), ("lib.rego", "package lib\nnames.short(x) if count(x) == 1\n")];
    assert_eq!(messages(&validate(&files, &request("CREATE", pod("x"), Value::Null))), [("p", "x", None)]);
}

#[test]
fn v0_where_declared() {
    let text = "# METADATA\n# scope: package\n# custom: {regoVersion: v0}\npackage kubernetes.admission\ndeny[msg] { input.request.kind.kind == \"Pod\"; msg := \"old\" }\n";
    let decision = validate(&[("p.rego", text)], &request("CREATE", pod("x"), Value::Null));
    assert_eq!(messages(&decision), [("kubernetes.admission", "old", None)]);
}

#[test]
fn libraries_are_found() {
    let lib = "package lib.images\nis_latest(i) if endswith(i, \":latest\")\n";
    let text = with_meta(
        "import data.lib.images\ndeny contains c.image if { some c in input.request.object.spec.containers; images.is_latest(c.image) }",
    );
    let decision = validate(&[("p.rego", &text), ("lib.rego", lib)], &request("CREATE", pod("x:latest"), Value::Null));
    assert_eq!(messages(&decision), [("p", "x:latest", None)]);
}

#[test]
fn the_world_is_an_argument() {
    let text = with_meta(
        "deny contains sprintf(\"%d %d %s %v\", [time.now_ns(), rand.intn(\"k\", 1000), uuid.rfc4122(\"k\"), opa.runtime().env])",
    );
    let files = [("p.rego", text.as_str())];
    let create = request("CREATE", pod("x"), Value::Null);
    let first = validate(&files, &create);
    assert_eq!(first.violations[0].msg, validate(&files, &create).violations[0].msg);
    assert!(
        first.violations[0].msg.starts_with("1 ") && first.violations[0].msg.ends_with(" {}"),
        "{}",
        first.violations[0].msg
    );
}

#[test]
fn a_message_never_vanishes() {
    let text = with_meta("deny contains sprintf(\"%d of %s %s\", [1.5, \"x\"])");
    let decision = validate(&[("p.rego", &text)], &request("CREATE", pod("x"), Value::Null));
    assert_eq!(messages(&decision), [("p", "%!d(float64=1.5) of x %!s(MISSING)", None)]);
}

#[test]
fn digests_do_not_depend_on_the_order_of_files() {
    let text = with_meta(NO_LATEST);
    let other = "package portcullis.a\nwarn contains \"w\"\n";
    let one = snapshot(&[("p.rego", &text), ("a.rego", other)]);
    let two = snapshot(&[("a.rego", other), ("p.rego", &text), ("p_test.rego", "package x\nnot rego")]);
    assert_eq!(one.policy_set(), two.policy_set());
    assert_ne!(one.policy_set(), snapshot(&[("a.rego", other)]).policy_set());
}

/// An operation that no timer interrupts; the watchdog must answer in its place.
const STUCK: &str = "deny contains \"x\" if {\n\ta := bits.lsh(1, 1000000 + count(input.request.uid)) - 1\n\tb := a * a\n\
                     \tc := b * b\n\td := c * c\n\td % (b - 3) == 1\n}";

#[test]
fn the_answer_never_waits_for_a_stuck_policy() {
    let stuck = with_meta(STUCK).replace("#   match", "#   budget: {time: 50ms}\n#   match");
    let good = "package portcullis.z\nwarn contains \"still judged\" if true\n";
    let snapshot = snapshot(&[("p.rego", &stuck), ("z.rego", good)]);
    let pool = Pool::start(PoolOptions { threads: 1, queue: 4 }).expect("starts");
    let create = request("CREATE", pod("x"), Value::Null);
    for (round, code) in [(1, ErrorCode::Stuck), (2, ErrorCode::Stuck), (3, ErrorCode::Quarantined)] {
        let started = Instant::now();
        let decision = pool.decide(&snapshot, &inventory(), &create, &context(Endpoint::Validate)).expect("an answer");
        assert!(started.elapsed() < Duration::from_secs(4), "round {round} took {:?}", started.elapsed());
        assert_eq!((decision.verdict, decision.failures[0].code), (Verdict::Deny, code), "round {round}");
        assert_eq!(decision.warnings, ["z: still judged"], "round {round}");
    }
}

/// A slow machine must not switch a policy off for good.
#[test]
fn a_policy_whose_threads_come_back_is_not_quarantined() {
    let slow = with_meta("deny contains \"x\" if count(numbers.range(1, 2000000)) == 1")
        .replace("#   match", "#   budget: {time: 10ms}\n#   match");
    let snapshot = snapshot(&[("p.rego", &slow)]);
    let pool = Pool::start(PoolOptions { threads: 1, queue: 4 }).expect("starts");
    let create = request("CREATE", pod("x"), Value::Null);
    for round in 0..3 {
        let decision = pool.decide(&snapshot, &inventory(), &create, &context(Endpoint::Validate)).expect("an answer");
        assert_eq!(decision.verdict, Verdict::Deny);
        assert_ne!(decision.failures[0].code, ErrorCode::Quarantined, "round {round}");
        let waiting = Instant::now();
        while pool.stats().abandoned > 0 {
            assert!(waiting.elapsed() < Duration::from_secs(60), "the thread ends");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A reload lets a policy out of quarantine only if it changes it.
#[test]
fn quarantine_is_inherited_by_the_same_policy() {
    let costly = with_meta("deny contains \"x\" if count(numbers.range(1, 1000000000)) == 1");
    let compiled = |text: &str| {
        let files = [("p.rego", text), ("z.rego", "package portcullis.z\nwarn contains \"w\"\n")];
        let modules = files.map(|(path, text)| SourceFile { path: path.into(), text: text.into() });
        let quarantine = Quarantine { after: Some(2), ..Quarantine::default() };
        let options = CompileOptions { quarantine, ..CompileOptions::default() };
        compile(&Sources { modules: modules.into(), ..Sources::default() }, options).expect("compiles").snapshot
    };
    let create = request("CREATE", pod("x"), Value::Null);
    let code = |snapshot: &Arc<Snapshot>| {
        decide(snapshot, &inventory(), &create, &context(Endpoint::Validate)).failures.first().map(|f| f.code)
    };
    let old = Arc::new(compiled(&costly));
    assert_eq!([code(&old), code(&old)], [Some(ErrorCode::Budget); 2]);
    assert_eq!((code(&old), old.quarantined().collect::<Vec<_>>()), (Some(ErrorCode::Quarantined), vec!["p"]));
    let mut same = compiled(&costly);
    same.inherit_health(&old);
    assert_eq!(code(&Arc::new(same)), Some(ErrorCode::Quarantined));
    let mut changed = compiled(&costly.replace("== 1", "== 2"));
    changed.inherit_health(&old);
    assert_eq!(code(&Arc::new(changed)), Some(ErrorCode::Budget));
}

/// Too many violations are still violations, also where a policy's errors are let pass.
#[test]
fn violations_past_their_number_are_counted() {
    let text = with_meta("deny contains sprintf(\"v%d\", [i]) if some i in numbers.range(1, 9)")
        .replace("#   match", "#   budget: {violations: 3}\n#   match");
    let decision = validate(&[("p.rego", &text)], &request("CREATE", pod("x"), Value::Null));
    let found: Vec<&str> = messages(&decision).into_iter().map(|(_, msg, _)| msg).collect();
    assert_eq!(found, ["and 6 more that are not listed (`budget.violations` is 3)", "v1", "v2", "v3"]);
    assert_eq!(decision.verdict, Verdict::Deny);
}

#[test]
fn numerals_that_nobody_can_write_out_are_refused() {
    let text = with_meta("deny contains \"x\" if 1e1000000000 > 1");
    let modules = vec![SourceFile { path: "p.rego".into(), text }];
    let errors =
        compile(&Sources { modules, ..Sources::default() }, CompileOptions::default()).expect_err("is refused");
    assert!(errors[0].to_string().contains("`1e1000000000` is too large"), "{}", errors[0]);
}

#[test]
fn a_policy_given_up_for_the_deadline_is_late_not_stuck() {
    let snapshot =
        snapshot(&[("p.rego", &with_meta(STUCK).replace("#   match", "#   budget: {time: 20s}\n#   match"))]);
    let pool = Pool::start(PoolOptions { threads: 1, queue: 4 }).expect("starts");
    let soon = Context { deadline: Some(Instant::now() + Duration::from_millis(300)), ..context(Endpoint::Validate) };
    let create = request("CREATE", pod("x"), Value::Null);
    let decision = pool.decide(&snapshot, &inventory(), &create, &soon).expect("an answer");
    assert_eq!((decision.cause, decision.failures[0].code), (Cause::Deadline, ErrorCode::Deadline));
}

#[test]
fn a_full_queue_hands_the_job_back() {
    let snapshot = snapshot(&[("z.rego", "package portcullis.z\nwarn contains \"w\"\n")]);
    let pool = Pool::start(PoolOptions { threads: 1, queue: 0 }).expect("starts");
    let create = request("CREATE", pod("x"), Value::Null);
    assert!(pool.decide(&snapshot, &inventory(), &create, &context(Endpoint::Validate)).is_none());
}

#[test]
fn a_deadline_that_passed_is_its_own_cause() {
    let text = with_meta("deny contains \"x\" if false");
    let late = Context { deadline: Some(Instant::now()), ..context(Endpoint::Validate) };
    let decision =
        decide(&snapshot(&[("p.rego", &text)]), &inventory(), &request("CREATE", pod("x"), Value::Null), &late);
    assert_eq!((decision.verdict, decision.cause), (Verdict::Deny, Cause::Deadline));
    assert_eq!(answer(&decision, "u").status.expect("a status").code, 503);
}

#[test]
fn a_workload_that_a_rule_takes_itself_is_judged_through_its_template_too() {
    let both = "\ndeny contains sprintf(\"seen as %s\", [input.request.kind.kind]) if input.request.object";
    let text = with_meta(both).replace("{kinds: [Pod]}", "{kinds: [Pod, Deployment]}");
    let object = json!({"spec": {"template": {"spec": {"containers": []}}}});
    let create = request_on("apps", "deployments", "Deployment", "CREATE", object, Value::Null);
    let decision = validate(&[("p.rego", &text)], &create);
    assert_eq!(messages(&decision), [("p", "seen as Deployment", None), ("p", "seen as Pod", None)]);
}

#[test]
fn an_expression_too_long_for_the_engine_is_a_load_error() {
    for link in ["\n+ 1", " + 1"] {
        let text = format!("package a\nx := 1{}\ndeny contains \"x\" if x > 1\n", link.repeat(20_000));
        assert!(load_errors(&[("p.rego", &text)])[0].contains("operators; at most 500"));
    }
    let long = format!("package a\nx := y{}\ndeny contains \"x\" if x\n", ".z".repeat(20_000));
    assert!(load_errors(&[("p.rego", &long)])[0].contains("operators; at most 500"));
    let fine = format!("package a\nx := 1{}\ndeny contains \"x\" if x < 1\n", "\n\t+ 1".repeat(450));
    assert_eq!(validate(&[("p.rego", &fine)], &request("CREATE", pod("x"), Value::Null)).verdict, Verdict::Allow);
}

#[test]
fn a_reference_to_nothing_is_noted() {
    let text = with_meta("import data.libb.images\ndeny contains \"x\" if images.bad");
    let notes = compile(&sources(&[("p.rego", &text)]), CompileOptions::default()).expect("compiles").notes;
    let notes: Vec<String> = notes.iter().map(LoadError::to_string).collect();
    assert!(notes.iter().any(|n| n.contains("`data.libb.images` is in no package and in no data file")), "{notes:?}");
}

#[test]
fn likely_slips_are_noted() {
    let text = with_meta("deny contains \"x\" if input.namespace.metadata.labels.env\ndenny contains \"y\" if true");
    let notes = compile(&sources(&[("p.rego", &text)]), CompileOptions::default()).expect("compiles").notes;
    let notes: Vec<String> = notes.iter().map(LoadError::to_string).collect();
    assert_eq!(
        notes,
        [
            "p.rego:7:22: `input.namespace` is the namespace's metadata: write `input.namespace.labels`",
            "p.rego:8:1: nobody reads the rule `denny`; did you mean `deny`?"
        ]
    );
}

#[test]
fn variables_of_the_head_may_get_their_value_anywhere() {
    for body in [
        "deny contains input.request.object.spec.containers[_].image",
        "deny contains [i, input.request.object.spec.containers[i].name] if true\nx := 1",
        "deny contains msg if some msg in [\"a\"]",
        "deny contains msg if [msg, _] = [\"a\", 1]",
        "deny contains msg if { some x; msg = {\"a\": \"b\"}[x] }",
        "constant := \"a\"\ndeny contains constant if true",
        "deny contains f(\"a\") if true\nf(x) := x",
        "deny contains msg if { every x in [1] { x == 1 }; msg := \"a\" }",
        "import input.request as req\ndeny contains req.name if true",
        "deny contains object.get(m, \"k\", \"d\") if m := {}",
    ] {
        let found = compile(&sources(&[("p.rego", &with_meta(body))]), CompileOptions::default());
        assert!(found.is_ok(), "{body}: {:?}", found.err());
    }
}

#[test]
fn the_namespace_of_the_service_account_that_asks_comes_along() {
    let text = with_meta("deny contains input.userNamespace.labels.tenant if true");
    let files = [("p.rego", text.as_str())];
    let mut review = request("CREATE", pod("x"), Value::Null).review().as_ref().clone();
    review["request"]["userInfo"]["username"] = json!("system:serviceaccount:shop:web");
    let by_account = Arc::new(decode(review.to_string().as_bytes()).expect("decodes"));
    let decision = validate(&files, &by_account);
    assert_eq!(messages(&decision), [("p", "a", None)]);
    assert_eq!(decision.reads.iter().map(|r| r.path.as_str()).collect::<Vec<_>>(), ["namespaces/shop"]);
    assert_eq!(validate(&files, &request("CREATE", pod("x"), Value::Null)).verdict, Verdict::Allow);
}
