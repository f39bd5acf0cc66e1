//! Policies that take what they may not, against the real binary over TLS: each is stopped, is an error of its own, and
//! goes into quarantine; the policy beside them is judged as ever, and the process lives.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::admission::decode;
use portcullis::engine::{
    CompileOptions, Context, Endpoint, FailureModes, Inventory, PolicySummary, Way, Ways, compile, decide,
};
use portcullis::policy::{SourceFile, Sources};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::client::{Client, metric};
use crate::support::server::{PATIENCE, Server};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bad {
    name: String,
    /// A line of `custom` beside the usual ones.
    custom: Option<String>,
    rego: String,
    /// How the run may end.
    code: Option<OneOrMany>,
    /// The part of the budget that is passed.
    budget: Option<String>,
    /// Part of the message.
    msg: Option<String>,
    /// What it finds, if it is harmless after all.
    violation: Option<String>,
    /// The interpreter, where no plan can be had.
    #[serde(default = "plan")]
    way: Way,
}

fn plan() -> Way {
    Way::Plan
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn bad_policies() -> Vec<Bad> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/budgets/policies.yaml");
    serde_saphyr::from_str(&fs::read_to_string(path).expect("readable")).expect("the table parses")
}

const MATCH: &str = "#   match: {rules: [{apiGroups: [''], resources: [configmaps]}]}\n";

const GOOD: &str = "package portcullis.good\n\n\
    deny contains \"data must have an owner\" if not input.request.object.data.owner\n";

fn policy(bad: &Bad) -> String {
    let custom = bad.custom.as_deref().unwrap_or("budget: {time: 3s}");
    format!(
        "# METADATA\n# scope: package\n# custom:\n#   {custom}\n{MATCH}package portcullis.{}\n\n{}",
        bad.name, bad.rego
    )
}

/// A server with these policies beside a good one.
fn server(policies: &[(&str, String)], args: &[&str]) -> Server {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("policies")).expect("a directory");
    let good = format!("# METADATA\n# scope: package\n# custom:\n#   enforcement: deny\n{MATCH}{GOOD}");
    fs::write(dir.path().join("policies/good.rego"), good).expect("written");
    for (name, text) in policies {
        fs::write(dir.path().join(format!("policies/{name}.rego")), text).expect("written");
    }
    Server::start_in(dir, &[&["--policies", "policies", "--threads", "2"], args].concat())
}

/// A ConfigMap that the good policy has something against, and whose values are of no use to the bad ones.
fn review(uid: &str) -> String {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": uid, "operation": "CREATE", "name": "c", "namespace": "default",
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "resource": {"group": "", "version": "v1", "resource": "configmaps"},
        "userInfo": {"username": "admin", "groups": ["system:masters"]},
        "object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"},
            "data": {"quantity": "1e1000000000Gi", "number": "1e1000000000"}},
    }})
    .to_string()
}

/// The record of the decision on `uid`.
fn record(server: &Server, uid: &str) -> Value {
    let start = Instant::now();
    loop {
        if let Some(record) = server.records().into_iter().find(|r| r["request"]["uid"] == uid) {
            return record;
        }
        assert!(start.elapsed() < PATIENCE, "no record of `{uid}`");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn codes(record: &Value) -> Vec<(String, String)> {
    let errors = record["errors"].as_array().cloned().unwrap_or_default();
    let text = |e: &Value, key: &str| e[key].as_str().unwrap_or_default().to_owned();
    errors.iter().map(|e| (text(e, "policy"), text(e, "code"))).collect()
}

/// The good policy's answer, whatever stands beside it.
fn assert_good_is_judged(response: &Value, record: &Value) {
    assert_eq!(response["allowed"], false);
    let found: Vec<&Value> =
        record["violations"].as_array().expect("violations").iter().filter(|v| v["policy"] == "good").collect();
    assert_eq!(found.len(), 1, "{record}");
    assert_eq!(found[0]["msg"], "data must have an owner");
}

/// Memory of the process at its largest, in MiB, where the system says.
fn peak_memory(server: &Server) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib >> 10)
}

/// What each comes to, what its author and the metrics hear, and what it costs. A few in a server: a record holds only so
/// many errors.
#[tokio::test]
async fn each_is_stopped_and_hurts_nobody() {
    each_is_stopped("auto").await;
}

#[tokio::test]
async fn each_is_stopped_on_the_interpreter() {
    each_is_stopped("interpreter").await;
}

async fn each_is_stopped(engine: &str) {
    let mut wrong = String::new();
    for bad in bad_policies().chunks(5) {
        let policies: Vec<(&str, String)> = bad.iter().map(|b| (b.name.as_str(), policy(b))).collect();
        let server = server(&policies, &["--quarantine-after", "0", "--engine", engine]);
        let mut client = Client::http1(&server).await;
        let response = client.post("/v1/validate?timeout=30s", &review("one")).await.response();
        let record = record(&server, "one");
        assert_good_is_judged(&response, &record);
        for bad in bad {
            check(bad, &server, &record, &mut wrong).await;
        }
        assert!(Client::admin(&server).await.get("/livez").await.status.is_success());
        let peak = peak_memory(&server);
        if peak.is_some_and(|mib| mib > 500) {
            let _ = writeln!(wrong, "{:?}: {peak:?} MiB at the peak", bad.iter().map(|b| &b.name).collect::<Vec<_>>());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Which are run by a plan, and that it says what the interpreter says of the values and results that are too large: code,
/// message, place and what was counted.
#[test]
fn plans_are_bounded_as_the_interpreter_is() {
    let request = Arc::new(decode(review("one").as_bytes()).expect("a review"));
    let failure = FailureModes::default();
    let context = Context { endpoint: Endpoint::Validate, now_ns: 0, seed: 0, deadline: None, failure, http: None };
    let mut compared = 0;
    for bad in bad_policies() {
        let decided = |ways| {
            let modules = vec![SourceFile { path: "bad.rego".to_owned(), text: policy(&bad) }];
            let options = CompileOptions { ways, ..CompileOptions::default() };
            let sources = Sources { modules, ..Sources::default() };
            let snapshot = Arc::new(compile(&sources, options).expect("compiles").snapshot);
            let way = snapshot.policies().map(PolicySummary::way).next();
            assert_eq!(way, Some(if ways == Ways::Auto { bad.way } else { Way::Interpreter }), "{}", bad.name);
            let bounded = matches!(bad.budget.as_deref(), Some("value" | "output" | "depth"));
            bounded.then(|| decide(&snapshot, &Inventory::fixed(BTreeMap::new()), &request, &context))
        };
        let (plan, interpreter) = (decided(Ways::Auto), decided(Ways::Interpreter));
        let (Some(plan), Some(interpreter)) = (plan, interpreter) else { continue };
        assert_eq!(plan.failures, interpreter.failures, "{}", bad.name);
        assert_eq!(plan.failures.len(), 1, "{}", bad.name);
        let usage = |d: &portcullis::engine::Decision| d.runs.iter().map(|r| r.usage).collect::<Vec<_>>();
        assert_eq!(usage(&plan), usage(&interpreter), "{}", bad.name);
        compared += 1;
    }
    assert!(compared > 15, "{compared}");
}

async fn check(bad: &Bad, server: &Server, record: &Value, wrong: &mut String) {
    let of = |list: &str| {
        let mut items = record[list].as_array().into_iter().flatten();
        items.find(|e| e["policy"] == bad.name.as_str()).cloned()
    };
    let (error, violation) = (of("errors"), of("violations"));
    let code = error.as_ref().and_then(|e| e["code"].as_str()).unwrap_or("none");
    let msg = error.as_ref().or(violation.as_ref()).and_then(|e| e["msg"].as_str()).unwrap_or_default();
    let fits = match &bad.code {
        None => violation.is_some() && error.is_none(),
        Some(OneOrMany::One(wanted)) => code == wanted,
        Some(OneOrMany::Many(wanted)) => wanted.iter().any(|w| w == code),
    };
    let wanted = bad.msg.as_ref().or(bad.violation.as_ref());
    if !fits || wanted.is_some_and(|wanted| !msg.contains(wanted.as_str())) {
        let _ = writeln!(wrong, "{}: {code}: {msg}", bad.name);
    }
    if let Some(part) = &bad.budget {
        let name = format!("portcullis_policy_budget_exceeded_total{{budget=\"{part}\",policy=\"{}\"}}", bad.name);
        if metric(server, &name).await != 1.0 {
            let _ = writeln!(wrong, "{}: the metric does not say `{part}`: {code}: {msg}", bad.name);
        }
    }
}

/// After five times in a row each is quarantined; then its failure mode answers at once.
#[tokio::test]
async fn after_some_times_they_are_quarantined() {
    let names = ["range_of_a_billion", "loops_for_long", "replaces_and_doubles", "vast_quantity"];
    let bad: Vec<Bad> = bad_policies().into_iter().filter(|b| names.contains(&b.name.as_str())).collect();
    assert_eq!(bad.len(), names.len());
    let policies: Vec<(&str, String)> = bad.iter().map(|b| (b.name.as_str(), policy(b))).collect();
    let server = server(&policies, &["--quarantine-pause", "2s"]);
    let mut client = Client::http1(&server).await;
    for round in 0..5 {
        let uid = format!("bad-{round}");
        let response = client.post("/v1/validate?timeout=30s", &review(&uid)).await.response();
        let record = record(&server, &uid);
        assert_good_is_judged(&response, &record);
        assert!(codes(&record).iter().all(|(_, code)| code == "budget"), "round {round}: {:?}", codes(&record));
    }
    let start = Instant::now();
    let response = client.post("/v1/validate?timeout=30s", &review("quarantined")).await.response();
    let took = start.elapsed();
    let last = record(&server, "quarantined");
    assert_good_is_judged(&response, &last);
    assert_eq!(codes(&last).len(), names.len(), "{last}");
    assert!(codes(&last).iter().all(|(_, code)| code == "quarantined"), "{:?}", codes(&last));
    assert!(took < Duration::from_millis(250), "nothing is run: {took:?}");

    for name in names {
        let gauge = format!("portcullis_policy_quarantined{{policy=\"{name}\"}}");
        assert_eq!(metric(&server, &gauge).await, 1.0, "{gauge}");
        assert!(server.messages().contains(&format!("policy=\"{name}\"")), "{}", server.messages());
    }
    assert_eq!(metric(&server, "portcullis_policy_quarantined{policy=\"good\"}").await, 0.0);
    let ready = Client::admin(&server).await.get("/readyz").await;
    assert!(ready.status.is_success(), "the others are judged: {}", ready.text());
    assert!(ready.text().contains("4 quarantined: loops_for_long, range_of_a_billion"), "{}", ready.text());

    // After the pause one request is tried; it fails again.
    tokio::time::sleep(Duration::from_secs(2)).await;
    client.post("/v1/validate?timeout=30s", &review("tried")).await.response();
    assert!(codes(&record(&server, "tried")).iter().all(|(_, code)| code == "budget"));
    client.post("/v1/validate?timeout=30s", &review("again")).await.response();
    assert!(codes(&record(&server, "again")).iter().all(|(_, code)| code == "quarantined"));
}

/// A policy that is slow for some requests only comes out of quarantine by the first trial that goes well.
#[tokio::test]
async fn a_trial_that_goes_well_ends_the_quarantine() {
    let rego = "deny contains \"x\" if { input.request.name == \"slow\"; count(numbers.range(1, 1000000000)) == 1 }\n";
    let text = format!(
        "# METADATA\n# scope: package\n# custom:\n#   enforcement: deny\n{MATCH}package portcullis.some\n\n{rego}"
    );
    let server =
        server(&[("some", text)], &["--quarantine-after", "2", "--quarantine-pause", "1s", "--failure-mode", "allow"]);
    let mut client = Client::http1(&server).await;
    let slow = |uid: &str| review(uid).replace("\"name\":\"c\",\"namespace\"", "\"name\":\"slow\",\"namespace\"");
    assert_ne!(slow("u"), review("u"));
    let gauge = "portcullis_policy_quarantined{policy=\"some\"}";
    // In a row: one that goes well between them counts from the start.
    for (uid, review) in [("1", slow("1")), ("2", review("2")), ("3", slow("3"))] {
        client.post("/v1/validate?timeout=30s", &review).await.response();
        assert_eq!(metric(&server, gauge).await, 0.0, "{uid}");
    }
    client.post("/v1/validate?timeout=30s", &slow("4")).await.response();
    assert_eq!(metric(&server, gauge).await, 1.0);
    client.post("/v1/validate?timeout=30s", &review("5")).await.response();
    assert_eq!(codes(&record(&server, "5")), [("some".to_owned(), "quarantined".to_owned())]);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    client.post("/v1/validate?timeout=30s", &review("6")).await.response();
    assert_eq!(codes(&record(&server, "6")), []);
    assert_eq!(metric(&server, gauge).await, 0.0);
    assert!(server.messages().contains("out of quarantine"), "{}", server.messages());
}
