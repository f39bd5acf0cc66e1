//! Exceptions by the one door: a table of cases through one `check()`; then from files, in suites and in a server.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis::admission::{Request, decode};
use portcullis::engine::{
    CompileOptions, Context, Decision, Endpoint, FailureModes, Inventory, Snapshot, Verdict, compile, decide,
};
use portcullis::policy::gatekeeper::Document;
use portcullis::policy::{Digest, Enforcement, Instant, PolicyException, Sources};
use portcullis::source::{LoadOptions, load};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::client::{Client, metric};
use crate::support::server::{PATIENCE, Server, command};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Laid over the `spec` of an exception; they are named `e0`, `e1` and so on.
    exceptions: Vec<Value>,
    #[serde(default = "june")]
    now: String,
    #[serde(default = "alice")]
    user: String,
    #[serde(default = "shop")]
    namespace: String,
    #[serde(default)]
    endpoint: Option<Endpoint>,
    /// Laid over the Pod.
    #[serde(default)]
    pod: Value,
    /// The Pod comes as the template of a Deployment.
    #[serde(default)]
    workload: bool,
    /// An UPDATE of a Namespace instead of a Pod.
    #[serde(default)]
    namespace_change: Option<Change>,
    verdict: Verdict,
    #[serde(default)]
    violations: Vec<String>,
    #[serde(default)]
    let_pass: Vec<String>,
    #[serde(default)]
    failures: Vec<String>,
    /// Beside those of violations that only warn; checked where given.
    #[serde(default)]
    warnings: Option<Vec<String>>,
    #[serde(default)]
    patched: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    from: Value,
    to: Value,
}

fn june() -> String {
    "2026-06-01T12:00:00Z".to_owned()
}

fn alice() -> String {
    "alice".to_owned()
}

fn shop() -> String {
    "shop".to_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/exceptions")
}

fn lay(over: &Value, below: &mut Value) {
    match (over, below) {
        (Value::Object(over), Value::Object(below)) => {
            for (key, value) in over {
                match below.get_mut(key) {
                    Some(there) if key != "policyRefs" => lay(value, there),
                    _ => drop(below.insert(key.clone(), value.clone())),
                }
            }
        }
        (Value::Null, _) => {}
        (over, below) => *below = over.clone(),
    }
}

fn exception(name: &str, over: &Value) -> PolicyException {
    let mut document = json!({"apiVersion": "portcullis.io/v1alpha1", "kind": "PolicyException",
        "metadata": {"name": name}, "spec": {"policyRefs": [{"name": "root"}], "reason": "r", "ticket": "SEC-1",
        "approver": "jane", "expires": "2027-01-01T00:00:00Z"}});
    lay(over, &mut document["spec"]);
    PolicyException::read(&Document::of_value("e.yaml", document)).expect("an exception")
}

fn sources() -> Sources {
    load(&LoadOptions { policies: vec![root().join("policies")], ..LoadOptions::default() }).expect("loads").sources
}

fn snapshot(exceptions: Vec<PolicyException>) -> Arc<Snapshot> {
    let sources = Sources { exceptions, ..sources() };
    Arc::new(compile(&sources, CompileOptions::default()).expect("compiles").snapshot)
}

fn request(case: &Case) -> Arc<Request> {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {
        "containers": [{"name": "app", "image": "old:latest", "securityContext": {"runAsUser": 0}}]}});
    lay(&case.pod, &mut pod);
    let mut request = json!({"uid": "u", "operation": "CREATE", "name": "web", "namespace": case.namespace,
        "kind": {"group": "", "version": "v1", "kind": "Pod"}, "resource": {"group": "", "version": "v1", "resource": "pods"},
        "userInfo": {"username": case.user, "groups": ["devs"]}, "object": pod});
    if case.workload {
        let template = json!({"metadata": pod["metadata"], "spec": pod["spec"]});
        request["kind"] = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
        request["resource"] = json!({"group": "apps", "version": "v1", "resource": "deployments"});
        request["object"] = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": template}});
    }
    if let Some(change) = &case.namespace_change {
        let of = |labels: &Value| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "web", "labels": labels}});
        request["operation"] = "UPDATE".into();
        request["kind"] = json!({"group": "", "version": "v1", "kind": "Namespace"});
        request["resource"] = json!({"group": "", "version": "v1", "resource": "namespaces"});
        request["object"] = of(&change.to);
        request["oldObject"] = of(&change.from);
    }
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
    Arc::new(decode(review.to_string().as_bytes()).expect("decodes"))
}

fn judged(case: &Case, snapshot: &Arc<Snapshot>) -> Decision {
    let labels = json!({"name": "shop", "labels": {"env": "dev"}});
    let inventory = Inventory::fixed([("shop".to_owned(), Arc::new(labels))].into());
    let context = Context {
        endpoint: case.endpoint.unwrap_or(Endpoint::Validate),
        now_ns: Instant::parse(&case.now).expect("a time").nanos(),
        seed: 0,
        deadline: None,
        failure: FailureModes::default(),
        http: None,
    };
    decide(snapshot, &inventory, &request(case), &context)
}

fn check(case: &Case) {
    let exceptions = case.exceptions.iter().enumerate().map(|(i, over)| exception(&format!("e{i}"), over)).collect();
    let decision = judged(case, &snapshot(exceptions));
    let name = &case.name;
    let mut violations: Vec<String> = decision.violations.iter().map(|v| format!("{}: {}", v.policy, v.msg)).collect();
    violations.sort();
    let let_pass: Vec<String> = decision
        .exceptions
        .iter()
        .map(|e| {
            let v = &e.violation;
            format!("{}: {}: {} ({})", e.exception.name, v.policy, v.msg, v.enforcement.as_str())
        })
        .collect();
    let failures: Vec<String> = decision.failures.iter().map(|f| f.policy.to_string()).collect();
    assert_eq!((&violations, &let_pass, &failures), (&case.violations, &case.let_pass, &case.failures), "{name}");
    assert_eq!(decision.verdict, case.verdict, "{name}");
    assert_eq!(decision.patch.is_some(), case.patched, "{name}");
    if let Some(warnings) = &case.warnings {
        assert_eq!(&decision.warnings, warnings, "{name}");
    }
}

#[test]
fn every_case_is_decided_as_the_table_says() {
    let text = fs::read_to_string(root().join("cases.yaml")).expect("the table");
    let cases: Vec<Case> = portcullis::policy::yaml::parse("cases.yaml", &text, Default::default()).expect("parses");
    assert!(cases.len() > 15);
    cases.iter().for_each(check);
}

#[test]
fn the_policy_set_tells_exceptions_and_the_ceiling() {
    let digest = |exceptions, most| {
        let options = CompileOptions { max_enforcement: most, ..CompileOptions::default() };
        compile(&Sources { exceptions, ..sources() }, options).expect("compiles").snapshot.policy_set()
    };
    let one = |over: Value| vec![exception("e", &over)];
    let all: Vec<Digest> = vec![
        digest(Vec::new(), None),
        digest(one(json!({})), None),
        digest(one(json!({"expires": "2027-01-02T00:00:00Z"})), None),
        digest(Vec::new(), Some(Enforcement::Warn)),
        digest(Vec::new(), Some(Enforcement::Dryrun)),
    ];
    for (i, a) in all.iter().enumerate() {
        assert!(all.iter().skip(i + 1).all(|b| a != b), "{i}");
    }
    assert_eq!(digest(Vec::new(), None), all[0]);
}

#[test]
fn they_count_from_their_own_place_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(&path, text).expect("written");
        path
    };
    let given = "apiVersion: portcullis.io/v1alpha1\nkind: PolicyException\nmetadata: {name: e}\nspec: {policyRefs: [{name: p}], \
                 reason: r, ticket: t, approver: a, expires: '2027-01-01T00:00:00Z'}\n";
    write("policies/p.rego", "package p\ndeny contains \"no\" if true\n");
    let inside = write("policies/approved/e.yaml", given);
    let policies = dir.path().join("policies");
    let options = |exceptions: &[&Path]| LoadOptions {
        policies: vec![policies.clone()],
        exceptions: exceptions.iter().map(|p| p.to_path_buf()).collect(),
        ..LoadOptions::default()
    };
    let told =
        |exceptions: &[&Path]| load(&options(exceptions)).expect_err("an error").first().expect("one").to_string();
    let found = told(&[]);
    assert!(found.contains("policies/approved/e.yaml:1:1: exception `e` does not count from here"), "{found}");
    // A folder among the policies may be the place, also as it is written in another way.
    let approved = policies.join("../policies/approved");
    let loaded = load(&options(&[&approved])).expect("loads");
    assert_eq!((loaded.sources.exceptions.len(), loaded.sources.modules.len()), (1, 1));
    assert_eq!(load(&options(&[&inside])).expect("a file").sources.exceptions.len(), 1);
    // The folder of the policies may not: everything in it would count for nothing.
    assert!(told(&[&policies]).contains("keep exceptions in a place of their own"));
    assert!(told(&[dir.path()]).contains("keep exceptions in a place of their own"));
    assert!(told(&[&dir.path().join("missing")]).contains("no such file"));
    let other = write("other/e.yaml", given);
    assert!(told(&[&approved, &other]).contains("exception `e` stands in"));
    fs::write(&other, given.replace("PolicyException", "PolicyExeption")).expect("written");
    assert!(told(&[&approved, &other]).contains("not a `PolicyException`"));
}

const GIVEN: &str = "apiVersion: portcullis.io/v1alpha1
kind: PolicyException
metadata: {name: old-shell}
spec:
  policyRefs: [{name: no_latest}]
  match: {namespaces: [shop], names: ['web*']}
  reason: r
  ticket: SEC-9
  approver: jane
  expires: '2200-01-01T00:00:00Z'
---
apiVersion: portcullis.io/v1alpha1
kind: PolicyException
metadata: {name: ended}
spec: {policyRefs: [{name: no_latest}], match: {names: [x]}, reason: r, ticket: SEC-2, approver: joe, expires: '2020-01-01T00:00:00Z'}
---
apiVersion: portcullis.io/v1alpha1
kind: PolicyException
metadata: {name: astray}
spec:
  policyRefs:
    - name: no_latst
  match: {names: [x]}
  reason: r
  ticket: SEC-3
  approver: joe
  expires: '2200-01-01T00:00:00Z'
";

const POLICY: &str = "# METADATA\n# scope: package\n# custom:\n#   match: {kinds: [Pod]}\npackage portcullis.no_latest\n\n\
                      deny contains \"latest\" if endswith(input.request.object.spec.containers[_].image, \":latest\")\n";

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web-1, namespace: shop}\nspec: {containers: [{name: a, image: 'x:latest'}]}\n";

fn project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for folder in ["policies", "approved"] {
        fs::create_dir(dir.path().join(folder)).expect("made");
    }
    for (name, text) in [("policies/p.rego", POLICY), ("approved/e.yaml", GIVEN), ("pod.yaml", POD)] {
        fs::write(dir.path().join(name), text).expect("written");
    }
    dir
}

fn run(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = command(dir, args).output().expect("runs");
    let text = [output.stdout, output.stderr].map(|t| String::from_utf8_lossy(&t).into_owned()).concat();
    (output.status.code(), text)
}

#[test]
fn check_tells_what_has_ended_and_what_refers_to_nothing() {
    let dir = project();
    let (code, text) = run(dir.path(), &["check", "--exceptions", "approved"]);
    assert_eq!(code, Some(1), "{text}");
    for told in [
        "exception old-shell no_latest until 2200-01-01T00:00:00Z (SEC-9, approved by jane)",
        "exception ended no_latest expired 2020-01-01T00:00:00Z (SEC-2, approved by joe)",
        "error approved/e.yaml:15:1: exception `ended`: it expired at 2020-01-01T00:00:00Z and lets nothing pass any more: renew or remove it",
        "error approved/e.yaml:21:3: exception `astray`: it refers to no policy: `no_latst`; did you mean `no_latest`?",
        "1 policies, 2 errors, 0 notes",
    ] {
        assert!(text.contains(told), "{told}\n{text}");
    }
    let (code, text) = run(dir.path(), &["check", "--exceptions", "approved", "-o", "json"]);
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let states: Vec<&str> = (0..3).filter_map(|i| report["exceptions"][i]["state"].as_str()).collect();
    assert_eq!((code, states), (Some(1), vec!["active", "expired", "active"]));
    let soon = jiff::Timestamp::now() + std::time::Duration::from_secs(5 * 86_400);
    let near = GIVEN
        .replace("'2200-01-01T00:00:00Z'", &format!("'{soon}'"))
        .replace("2020", "2200")
        .replace("latst", "latest");
    fs::write(dir.path().join("approved/e.yaml"), near).expect("written");
    let (code, text) = run(dir.path(), &["check", "--exceptions", "approved"]);
    assert!(
        code == Some(0) && text.contains("note approved/e.yaml:10:3: exception `old-shell`: it expires in 4 days"),
        "{text}"
    );
}

#[test]
fn eval_lets_pass_and_says_by_what() {
    let dir = project();
    assert_eq!(run(dir.path(), &["eval", "pod.yaml"]).0, Some(1));
    let (code, text) = run(dir.path(), &["eval", "pod.yaml", "--exceptions", "approved"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("let pass no_latest: latest\n       by  exception old-shell (SEC-9) until 2200-01-01T00:00:00Z"),
        "{text}"
    );
}

#[tokio::test]
async fn a_server_lets_pass_records_and_counts() {
    let server = Server::start_in(project(), &["--policies", "policies", "--exceptions", "approved"]);
    assert!(
        server.banner.contains("exception old-shell: no_latest, until 2200-01-01T00:00:00Z (SEC-9)"),
        "{}",
        server.banner
    );
    assert!(server.banner.contains("exception ended: no_latest, EXPIRED 2020-01-01T00:00:00Z"), "{}", server.banner);
    assert!(server.messages().contains("it refers to no policy"), "{}", server.messages());
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1"}, "spec": {"containers": [{"image": "x:latest"}]}});
    let review = |name: &str| {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "u", "operation": "CREATE",
            "name": name, "namespace": "shop", "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"}, "userInfo": {"username": "alice"}, "object": pod}})
        .to_string()
    };
    let mut client = Client::http1(&server).await;
    let let_pass = client.post("/v1/validate", &review("web-1")).await.response();
    let warning = "no_latest: let pass by exception `old-shell` (SEC-9) until 2200-01-01T00:00:00Z";
    assert_eq!((&let_pass["allowed"], &let_pass["warnings"]), (&json!(true), &json!([warning])), "{let_pass}");
    assert_eq!(client.post("/v1/validate", &review("api")).await.response()["allowed"], false);
    let records = server.records();
    let decisions: Vec<&Value> = records.iter().filter(|r| r["type"] == "decision").collect();
    let given = &decisions[0]["exceptions"][0];
    assert_eq!(
        (&given["name"], &given["approver"], &given["ticket"]),
        (&json!("old-shell"), &json!("jane"), &json!("SEC-9"))
    );
    assert_eq!((&given["violation"]["msg"], &given["violation"]["enforcement"]), (&json!("latest"), &json!("deny")));
    assert_eq!((&decisions[0]["cause"], &decisions[0]["violations"]), (&json!("none"), &json!([])));
    for (name, value) in [
        ("portcullis_exceptions{state=\"active\"}", 2.0),
        ("portcullis_exceptions{state=\"expired\"}", 1.0),
        ("portcullis_exception_hits_total{exception=\"old-shell\"}", 1.0),
        ("portcullis_exception_hits_total{exception=\"astray\"}", 0.0),
    ] {
        assert_eq!(metric(&server, name).await, value, "{name}");
    }
    let log = ".portcullis/decisions";
    let (_, text) = run(server.dir(), &["check", "--exceptions", "approved", "--decision-log", log]);
    assert!(text.contains("(SEC-9, approved by jane), used 1 times, last at 2"), "{text}");
    assert!(text.contains("exception `astray`: none of 2 decisions since 2"), "{text}");
    let id = decisions[0]["decision_id"].as_str().expect("an id");
    let (_, text) = run(server.dir(), &["decisions", "show", id, "--decision-log", log]);
    assert!(text.contains("let pass  no_latest, by exception old-shell") && text.contains("approver:  jane"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_up_what_is_approved_and_revoked() {
    let options = ["--policies", "policies", "--exceptions", "approved", "--reload-interval", "100ms"];
    let server = Server::start_in(project(), &options);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1"}, "spec": {"containers": [{"image": "x:latest"}]}});
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "u", "operation": "CREATE",
        "name": "web-1", "namespace": "shop", "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"}, "userInfo": {"username": "alice"}, "object": pod}})
    .to_string();
    let mut client = Client::http1(&server).await;
    let file = server.dir().join("approved/e.yaml");
    for (allowed, text) in [(true, GIVEN), (false, "# none\n"), (true, GIVEN)] {
        fs::write(&file, text).expect("written");
        let start = std::time::Instant::now();
        while client.post("/v1/validate", &review).await.response()["allowed"] != allowed {
            assert!(start.elapsed() < PATIENCE, "{text} was not taken up: {}", server.messages());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    let records = server.records();
    let changes: Vec<&Value> = records.iter().filter(|r| r["type"] == "config").collect();
    assert_eq!(changes.len(), 3, "{changes:?}");
    assert_eq!(changes[1]["previous_policy_set"], changes[0]["policy_set"]);
    assert_ne!(changes[1]["policy_set"], changes[0]["policy_set"]);
    assert_eq!(changes[2]["policy_set"], changes[0]["policy_set"]);
}
