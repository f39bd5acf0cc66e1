//! Gatekeeper's templates, constraints, expansions and suites, unmodified: what they come to by the one door.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use portcullis::admission::{Request, decode};
use portcullis::engine::{
    CompileOptions, Compiled, Context, Decision, Endpoint, ErrorCode, FailureModes, Inventory, Pool, PoolOptions,
    Snapshot, TestEnding, TestResult, Verdict, compile, decide, run_suite,
};
use portcullis::policy::gatekeeper::{Document, EnforcementPoint};
use portcullis::policy::{Enforcement, LoadError, Sources};
use portcullis::source;
use serde_json::{Value, json};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/gatekeeper").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(folder(name)).expect("a file")
}

/// Runs all suites below a folder; names without the path.
fn run(name: &str) -> Vec<(String, TestResult)> {
    let pool = Pool::start(PoolOptions { threads: 1, queue: 1 }).expect("starts");
    let suites = source::suites(&[folder(name)]).expect("reads");
    let results = suites.iter().flat_map(|s| run_suite(&s.suite, &s.files, &pool, &|_| true, 0));
    results.map(|r| (r.name.split("suite.yaml//").nth(1).expect("a name").to_owned(), r)).collect()
}

fn snapshot(texts: &[&str], point: EnforcementPoint) -> Result<Compiled, Vec<LoadError>> {
    let parse = |text: &&str| Document::parse_all("library.yaml", text).expect("YAML");
    let sources = Sources { gatekeeper: texts.iter().flat_map(parse).collect(), ..Sources::default() };
    compile(&sources, CompileOptions { enforcement_point: point, ..CompileOptions::default() })
}

fn compiled(texts: &[&str]) -> Arc<Snapshot> {
    Arc::new(snapshot(texts, EnforcementPoint::Webhook).expect("compiles").snapshot)
}

fn errors(texts: &[&str]) -> Vec<String> {
    let errors = snapshot(texts, EnforcementPoint::Webhook).expect_err("must not compile");
    errors.iter().map(ToString::to_string).collect()
}

/// A request as the API server sends it.
fn sent(operation: &str, group: &str, kind: &str, resource: &str, object: &Value, old: &Value) -> Arc<Request> {
    let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
    let review = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
        "uid": "u-1", "kind": {"group": group, "version": "v1", "kind": kind},
        "resource": {"group": group, "version": "v1", "resource": resource}, "subResource": sub,
        "name": "n", "namespace": "shop", "operation": operation,
        "userInfo": {"username": "alice", "groups": ["devs"]}, "object": object, "oldObject": old}});
    Arc::new(decode(review.to_string().as_bytes()).expect("decodes"))
}

fn config_map(operation: &str, object: &Value, old: &Value) -> Arc<Request> {
    sent(operation, "", "ConfigMap", "configmaps", object, old)
}

fn judge(snapshot: &Arc<Snapshot>, request: &Arc<Request>) -> Decision {
    let shop = Arc::new(json!({"name": "shop", "labels": {"tenant": "a"}}));
    judge_in(snapshot, request, &Inventory::fixed([("shop".to_owned(), shop)].into()))
}

fn judge_in(snapshot: &Arc<Snapshot>, request: &Arc<Request>, inventory: &Inventory) -> Decision {
    let context = Context {
        endpoint: Endpoint::Validate,
        now_ns: 1,
        seed: 7,
        deadline: None,
        failure: FailureModes::default(),
        http: None,
    };
    decide(snapshot, inventory, request, &context)
}

fn labelled(labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n", "namespace": "shop", "labels": labels}})
}

#[test]
fn suites_that_are_right_pass() {
    let mut passed = 0;
    for name in ["labels", "hosts", "reviews", "expansion", "language", "namespaces"] {
        let results = run(name);
        for (name, result) in &results {
            let skipped = name.starts_with("not this one") || name.ends_with("not now");
            let wanted = if skipped { TestEnding::Skip } else { TestEnding::Pass };
            assert_eq!(result.ending, wanted, "{name}");
        }
        passed += results.len();
    }
    assert_eq!(passed, 30);
}

#[test]
fn every_wrong_expectation_is_told_with_its_line() {
    let told: Vec<(String, u32, &str, String)> = run("wrong")
        .into_iter()
        .map(|(name, result)| match result.ending {
            TestEnding::Fail { expression, .. } => (name, result.at.line, "fail", expression),
            TestEnding::Error { msg, .. } => (name, result.at.line, "error", msg),
            TestEnding::Pass | TestEnding::Skip => panic!("`{name}` must not pass"),
        })
        .collect();
    let missing = r#"`bad lacks ["owner"]: ask your platform team`"#;
    let wanted = [
        (
            "labels//a violation where there is none",
            9,
            "fail",
            "at least 1 violation (got 0; there is none)".to_owned(),
        ),
        (
            "labels//the default is yes",
            12,
            "fail",
            "at least 1 violation whose message matches `x` (got 0; there is none)".to_owned(),
        ),
        ("labels//none where there is one", 15, "fail", format!("no violation (got 1; all messages: {missing})")),
        ("labels//nothing asserted", 18, "fail", format!("no violation, as nothing is asserted (got 1: {missing})")),
        ("labels//another count", 20, "fail", format!("2 violations (got 1; all messages: {missing})")),
        (
            "labels//another message",
            23,
            "fail",
            format!("at least 1 violation whose message matches `lacks team` (got 0; all messages: {missing})"),
        ),
        ("labels//no such file", 26, "error", "nowhere.yaml: cannot read".to_owned()),
        ("labels//two objects", 29, "error", "`../hosts/others.yaml` must hold one object, not 2".to_owned()),
        (
            "labels//an inventory that is none",
            32,
            "error",
            "an object of the inventory needs `apiVersion`, `kind` and `metadata.name`".to_owned(),
        ),
        ("labels//an inventory of nothing", 36, "error", "`empty.yaml` holds no object for the inventory".to_owned()),
        ("valid after all", 40, "fail", "the constraint does not fit its template's schema (it is valid)".to_owned()),
        ("wrong in another way", 44, "fail", "unknown field `spec.parameters.label`".to_owned()),
        ("not a template", 48, "error", "`../labels/constraint.yaml` holds no template".to_owned()),
        (
            "a constraint of another template",
            55,
            "error",
            "no template that is loaded defines the constraint kind `NeedsLabels`".to_owned(),
        ),
    ];
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
    for ((name, line, ending, message), (wanted_name, wanted_line, wanted_ending, part)) in told.iter().zip(&wanted) {
        assert_eq!((name.as_str(), *line, *ending), (*wanted_name, *wanted_line, *wanted_ending));
        assert!(message.contains(part.as_str()), "`{name}`: {message}");
    }
}

#[test]
fn a_constraint_is_a_policy_like_any_other() {
    let snapshot = compiled(&[&text("labels/template.yaml"), &text("labels/constraint.yaml")]);
    let summary = snapshot.policies().next().expect("a policy");
    assert_eq!((&*summary.name, summary.title.as_deref()), ("NeedsLabels/team", Some("Labels that must be there")));
    let decision = judge(&snapshot, &config_map("CREATE", &labelled(&json!({"team": "x"})), &Value::Null));
    assert_eq!(decision.verdict, Verdict::Deny);
    let [violation] = decision.violations.as_slice() else { panic!("one: {:?}", decision.violations) };
    assert_eq!(violation.msg, r#"n lacks ["owner"]: ask your platform team"#);
    assert_eq!(violation.details, Some(json!({"missing": ["owner"]})));
    let at = violation.location.clone().expect("a place");
    assert_eq!((at.file.as_str(), at.line, at.column), ("library.yaml", 41, 15), "the rule's place in the YAML file");
    // No ratchet: what the old object violated already is refused on update as well.
    let bad = labelled(&json!({}));
    assert_eq!(judge(&snapshot, &config_map("UPDATE", &bad, &bad)).violations.len(), 1);
    let good = labelled(&json!({"team": "x", "owner": "y"}));
    assert_eq!(judge(&snapshot, &config_map("UPDATE", &good, &bad)).verdict, Verdict::Allow);
}

#[test]
fn constraints_are_asked_what_they_are_about() {
    let snapshot = compiled(&[&text("labels/template.yaml"), &text("labels/constraint.yaml")]);
    let bad = labelled(&json!({}));
    // Its template never names deletions: deleting what violates it must stay possible.
    assert!(judge(&snapshot, &config_map("DELETE", &Value::Null, &bad)).runs.is_empty());
    assert!(judge(&snapshot, &sent("UPDATE", "", "ConfigMap", "configmaps/status", &bad, &bad)).runs.is_empty());
    let rules: Vec<String> = snapshot
        .policies()
        .flat_map(|p| &p.matching.rules)
        .map(|r| format!("{:?} {:?} {:?}", r.api_groups, r.resources, r.operations))
        .collect();
    assert_eq!(rules, [r#"["*"] ["configmaps"] [Create, Update]"#, r#"["*"] ["namespaces"] [Create, Update]"#]);
    let snapshot = compiled(&[&text("reviews/template.yaml"), &text("reviews/constraint.yaml")]);
    let decision = judge(&snapshot, &config_map("DELETE", &Value::Null, &labelled(&json!({"keep": "1"}))));
    let messages: Vec<&str> = decision.violations.iter().map(|v| v.msg.as_str()).collect();
    assert_eq!(messages, ["kept objects stay"]);
    let operations: Vec<String> =
        snapshot.policies().flat_map(|p| &p.matching.rules).map(|r| format!("{:?}", r.operations)).collect();
    assert_eq!(operations, ["[Create, Update, Delete]"]);
    let said = text("reviews/template.yaml")
        .replace("gatekeeper.sh\n      rego", "gatekeeper.sh\n      operations: [CREATE]\n      rego");
    let snapshot = compiled(&[&said, &text("reviews/constraint.yaml")]);
    assert!(judge(&snapshot, &config_map("DELETE", &Value::Null, &labelled(&json!({"keep": "1"})))).runs.is_empty());
}

#[test]
fn an_unknown_namespace_is_never_no_match() {
    let nowhere = Inventory::fixed([].into());
    let ingress: Value = serde_saphyr::from_str(&text("hosts/ingress.yaml")).expect("YAML");
    let snapshot = compiled(&[&text("hosts/template.yaml"), &text("hosts/constraint.yaml")]);
    let request = sent("CREATE", "networking.k8s.io", "Ingress", "ingresses", &ingress, &Value::Null);
    assert!(snapshot.needs_namespace(Endpoint::Validate, &request));
    let decision = judge_in(&snapshot, &request, &nowhere);
    assert_eq!(decision.failures.iter().map(|f| f.code).collect::<Vec<_>>(), [ErrorCode::UnknownNamespace]);
    assert_eq!(decision.verdict, Verdict::Deny);
    // A template that reads the namespace needs it just as one that selects by it.
    let snapshot = compiled(&[&text("reviews/template.yaml"), &text("reviews/constraint.yaml")]);
    let decision = judge_in(&snapshot, &config_map("CREATE", &labelled(&json!({})), &Value::Null), &nowhere);
    assert_eq!(decision.failures.iter().map(|f| f.code).collect::<Vec<_>>(), [ErrorCode::UnknownNamespace]);
}

#[test]
fn enforcement_actions_and_where_they_count() {
    let template = text("labels/template.yaml");
    let constraint = text("labels/constraint.yaml");
    let with =
        |spec: &str, point| snapshot(&[&template, &constraint.replace("spec:\n", &format!("spec:\n{spec}"))], point);
    let enforcement = |spec: &str, point| {
        let compiled = with(spec, point).expect("compiles");
        let found = compiled.snapshot.policies().next().map(|p| p.enforcement);
        found.or_else(|| {
            assert_eq!(compiled.notes.len(), 1, "a note says so");
            None
        })
    };
    let (webhook, gator) = (EnforcementPoint::Webhook, EnforcementPoint::Gator);
    assert_eq!(enforcement("", webhook), Some(Enforcement::Deny));
    assert_eq!(enforcement("  enforcementAction: dryrun\n", webhook), Some(Enforcement::Dryrun));
    assert_eq!(enforcement("  enforcementAction: warn\n", gator), Some(Enforcement::Warn));
    let scoped = "  enforcementAction: scoped\n  scopedEnforcementActions:\n  - action: warn\n    enforcementPoints: [{name: '*'}]\n  - action: deny\n    enforcementPoints: [{name: gator.gatekeeper.sh}, {name: audit.gatekeeper.sh}]\n";
    assert_eq!(
        (enforcement(scoped, webhook), enforcement(scoped, gator)),
        (Some(Enforcement::Warn), Some(Enforcement::Deny))
    );
    let audit = "  enforcementAction: scoped\n  scopedEnforcementActions:\n  - action: deny\n    enforcementPoints: [{name: audit.gatekeeper.sh}]\n";
    assert_eq!((enforcement(audit, webhook), enforcement(audit, gator)), (None, None));
    for (spec, message) in [
        ("  enforcementAction: block\n", "unknown `enforcementAction: block`; write deny, warn, dryrun or scoped"),
        ("  enforcementAction: scoped\n", "needs `scopedEnforcementActions`"),
        (
            "  enforcementAction: scoped\n  scopedEnforcementActions: [{action: deny, enforcementPoints: [{name: webhook}]}]\n",
            "unknown enforcement point `webhook`",
        ),
    ] {
        let found = with(spec, webhook).expect_err("refused");
        assert!(found[0].message.contains(message) && found[0].line.is_some(), "{}", found[0]);
    }
}

#[test]
fn what_would_be_made_is_judged_when_its_maker_is() {
    let expansion = text("expansion/expansion.yaml");
    let library = [text("expansion/template.yaml"), text("expansion/constraint.yaml"), expansion];
    let snapshot = compiled(&library.each_ref().map(String::as_str));
    let mut deployment: Value = serde_saphyr::from_str(&text("expansion/deployment.yaml")).expect("YAML");
    let request = |object: &Value| sent("CREATE", "apps", "Deployment", "deployments", object, &Value::Null);
    let decision = judge(&snapshot, &request(&deployment));
    let [violation] = decision.violations.as_slice() else { panic!("one: {decision:?}") };
    assert_eq!((&*violation.policy, violation.enforcement), ("NoHostNetwork/pods", Enforcement::Warn));
    assert!(violation.msg.starts_with("[Implied by pods] web-replicaset-pod"), "{}", violation.msg);
    let asked: Vec<String> =
        snapshot.policies().flat_map(|p| &p.matching.rules).flat_map(|r| r.resources.clone()).collect();
    assert_eq!(asked, ["pods", "replicasets", "deployments"]);
    // Where it cannot be told what would be made, nothing is said to hold.
    deployment["spec"]["template"] = Value::Null;
    let decision = judge(&snapshot, &request(&deployment));
    assert_eq!(decision.verdict, Verdict::Deny);
    assert_eq!(decision.failures[0].msg, "expansion `pods`: there is no object at `template`");
}

#[test]
fn faults_have_their_place_in_the_file() {
    let template = text("labels/template.yaml");
    let constraint = text("labels/constraint.yaml");
    let of_template = |from: &str, to: &str| {
        assert!(template.contains(from), "{from}");
        errors(&[&template.replacen(from, to, 1), &constraint]).join("\n")
    };
    let of_constraint = |from: &str, to: &str| {
        assert!(constraint.contains(from), "{from}");
        errors(&[&template, &constraint.replacen(from, to, 1)]).join("\n")
    };
    let cases = [
        (of_template("sort(missing)", "sorted(missing)"), "library.yaml:44:71: unknown function `sorted`"),
        (
            of_template("count(missing) > 0", "count(missing) >> 0"),
            "library.yaml:43:33: unexpected `>`: expected a value",
        ),
        (
            of_template("metadata.labels(input", "metadata.label(input"),
            "library.yaml:42:70: unknown function `data.lib.metadata.label`",
        ),
        (
            of_template("data.lib.metadata", "data.lib.meta as metadata"),
            "library.yaml:39:15: the template has no library for `data.lib.meta`",
        ),
        (
            of_template("input.parameters.labels}", "data.labels[_]}"),
            "library.yaml:42:43: a template may read `data.inventory` and `data.lib`, not `data.labels`",
        ),
        (
            of_template("violation contains", "violations contains"),
            "library.yaml:37:15: template `needslabels` has no rule `violation`",
        ),
        (of_template("package lib.metadata", "package metadata"), "the package of a library must be below `lib`"),
        (
            of_template("name: needslabels", "name: labels"),
            "library.yaml:5:3: template `labels` defines `NeedsLabels`, so its name must be `needslabels`",
        ),
        (
            of_template("admission.k8s.gatekeeper.sh", "other.target"),
            "library.yaml:27:7: template `needslabels`: the target `other.target` is not known",
        ),
        (
            of_template("engine: Rego", "engine: Starlark"),
            "carries only CEL (engine `K8sNativeValidation`), which is not run here",
        ),
        (of_template("version: v1\n", "version: v2\n"), "Rego `v2` is not known; write v0 or v1"),
        (of_template("type: array", "type: list"), "`labels`: `type: \"list\"` is none of object, array"),
        (
            of_template("gatekeeper.sh/v1\n", "gatekeeper.sh/v2\n"),
            "ConstraintTemplate of `templates.gatekeeper.sh/v2` is not known",
        ),
        (
            of_constraint("[team, owner]", "[]"),
            "library.yaml:11:3: constraint `NeedsLabels/team`: `spec.parameters.labels` must have at least 1 item",
        ),
        (of_constraint("labels: [team, owner]", "other: 5"), "`spec.parameters.labels` is required"),
        (of_constraint("excludedNamespaces", "excludeNamespaces"), "unknown field `excludeNamespaces`"),
        (of_constraint("kube-*", "k*e"), "`k*e` in `spec.match` is no name"),
        (of_constraint("name: team", "name: Team"), "`metadata.name` is no DNS subdomain"),
        (of_constraint("sh/v1beta1", "sh/v2"), "`constraints.gatekeeper.sh/v2` is not known"),
        (
            of_constraint("kind: NeedsLabels", "kind: NeedLabels"),
            "library.yaml:2:1: no template that is loaded defines the constraint kind `NeedLabels`; did you mean `NeedsLabels`?",
        ),
        (of_constraint("  parameters:", "  params: 1\n  parameters:"), "unknown field `spec.params`"),
    ];
    let wrong: Vec<_> = cases.iter().filter(|(found, wanted)| !found.contains(wanted)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let twice = errors(&[&template, &constraint, &constraint.replace("owner", "other")]);
    assert!(twice[0].contains("constraint `NeedsLabels/team` stands in `library.yaml` too"), "{twice:?}");
    assert!(snapshot(&[&template, &constraint, &constraint], EnforcementPoint::Webhook).is_ok());
}

#[test]
fn the_digest_of_the_policy_set_covers_the_library() {
    let (template, constraint) = (text("labels/template.yaml"), text("labels/constraint.yaml"));
    let digest = |texts: &[&str]| compiled(texts).policy_set();
    let all = digest(&[&template, &constraint]);
    assert_eq!(digest(&[&constraint, &template]), all);
    assert_ne!(digest(&[&template, &constraint.replace("owner", "other")]), all);
    assert_ne!(digest(&[&template.replace("lacks", "misses"), &constraint]), all);
    assert_ne!(digest(&[&template, &constraint, &text("expansion/expansion.yaml")]), all);
}

fn command(args: &[&str]) -> (i32, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_portcullis")).args(args).output().expect("runs");
    let text = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    (run.status.code().unwrap_or(-1), text)
}

#[test]
fn suites_and_constraints_on_the_command_line() {
    let at = |name: &str| folder(name).display().to_string();
    let (code, out) = command(&["test", &at("labels"), "--verbose"]);
    assert!(code == 0 && out.contains("8 passed, 0 failed, 0 errors, 2 skipped"), "{code}: {out}");
    let (code, out) = command(&["test", &at("wrong")]);
    assert!(code == 1 && out.contains("0 passed, 8 failed, 6 errors, 0 skipped"), "{code}: {out}");
    let (code, out) = command(&["test", &at("wrong"), "-o", "json", "--run", "^labels$//count$"]);
    let report: Value = serde_json::from_str(&out).expect("JSON");
    let results = report["results"].as_array().expect("results");
    assert_eq!((code, results.len(), &results[0]["result"]), (1, 1, &json!("fail")));
    assert!(results[0]["name"].as_str().is_some_and(|n| n.ends_with("wrong/suite.yaml//labels//another count")));
    let (_, out) = command(&["test", &at("labels"), "-o", "junit"]);
    assert!(out.contains("name=\"team//good\"") && out.contains("failures=\"0\" errors=\"0\" skipped=\"2\""), "{out}");
    let policies = [at("labels/template.yaml"), at("labels/constraint.yaml")].join(",");
    let (code, out) = command(&["eval", &at("labels/bad.yaml"), "--policies", &policies]);
    assert!(code == 1 && out.contains("NeedsLabels/team: bad lacks [\"owner\"]"), "{code}: {out}");
    let (code, out) = command(&["eval", &at("labels/good.yaml"), "--policies", &policies]);
    assert_eq!(code, 0, "{out}");
    let (code, out) = command(&["check", "--policies", &policies]);
    assert!(code == 0 && out.contains("NeedsLabels/team"), "{out}");
}
