//! The two ways of running policies say the same: on the shipped policies, on OPA's conformance cases where that folder
//! is at hand, and on the cases of `ways/cases.yaml`, which also name what is refused.

mod made;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portcullis::admission::decode;
use portcullis::engine::{
    CompileOptions, Context, DifferentialOptions, Endpoint, ErrorCode, FailureModes, Inventory, PolicyComparison, Pool,
    PoolOptions, Query, QueryInput, RuleComparison, Way, Ways, compare_rules, compile, decide, differential,
};
use portcullis::policy::{SourceFile, Sources};
use portcullis::source::{LoadOptions, load};
use serde::Deserialize;
use serde_json::Value;

use crate::reviews;

const NOW_NS: i64 = 1_780_000_000_000_000_000;

fn shipped() -> Sources {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let options = LoadOptions {
        policies: vec![root.join("policies")],
        data: vec![root.join("policies/example-data")],
        ..LoadOptions::default()
    };
    load(&options).expect("they load").sources
}

/// That of the shipped which no plan takes: it walks through objects.
const ON_INTERPRETER: [&str; 1] = ["cross_tenant_references"];

/// That, and one whose plan leaves most answers to the interpreter.
const MAY_ASK: [&str; 2] = ["cross_tenant_references", "fence_before_workloads"];

#[test]
fn shipped_policies_run_both_ways_alike() {
    let requests: Vec<_> = reviews::cases().iter().map(|c| Arc::new(decode(&c.body()).expect("a review"))).collect();
    let options = DifferentialOptions { requests: &requests, generated: 300, now_ns: NOW_NS };
    let report = differential(&shipped(), options).expect("they load");
    for p in &report.policies {
        if ON_INTERPRETER.contains(&&*p.policy) {
            assert_eq!(p.way, Way::Interpreter, "{}", p.policy);
            continue;
        }
        assert_eq!(p.way, Way::Plan, "{}", p.policy);
        assert!(p.of_tests > 1, "{}: {} inputs of tests", p.policy, p.of_tests);
        assert_eq!(p.generated, 304, "{}", p.policy);
        let often = MAY_ASK.contains(&&*p.policy) || p.compared > p.left * 2;
        assert!(often, "{}: {} compared, {} left", p.policy, p.compared, p.left);
        let first = p.differences.first().map(|d| format!("{d:#?}")).unwrap_or_default();
        assert_eq!(p.differing, 0, "{}: {first}", p.policy);
    }
    let sum = |of: fn(&PolicyComparison) -> usize| report.policies.iter().map(of).sum::<usize>();
    assert!(sum(|p| p.of_requests) > 300 && sum(|p| p.of_tests) > 500);
    assert!(sum(|p| p.compared) > sum(|p| p.left) * 8);
    assert!(report.agrees());
}

#[test]
fn decisions_do_not_depend_on_the_way() {
    let sources = shipped();
    let snapshot = |ways| {
        Arc::new(compile(&sources, CompileOptions { ways, ..CompileOptions::default() }).expect("compiles").snapshot)
    };
    let (auto, interpreter) = (snapshot(Ways::Auto), snapshot(Ways::Interpreter));
    assert!(interpreter.policies().all(|p| p.way() == Way::Interpreter));
    assert_eq!(auto.policy_set(), interpreter.policy_set());
    let inventory = Inventory::fixed(auto.fixed_namespaces());
    for case in reviews::cases() {
        let request = Arc::new(decode(&case.body()).expect("a review"));
        let failure = FailureModes::default();
        let context =
            Context { endpoint: case.endpoint(), now_ns: NOW_NS, seed: 0, deadline: None, failure, http: None };
        let mut fast = decide(&auto, &inventory, &request, &context);
        let mut slow = decide(&interpreter, &inventory, &request, &context);
        for run in fast.runs.iter().filter(|r| r.way == Some(Way::Interpreter)) {
            assert!(MAY_ASK.contains(&&*run.policy), "{}: {}", case.file, run.policy);
        }
        for run in fast.runs.iter_mut().chain(&mut slow.runs) {
            (run.took, run.way) = (Duration::ZERO, None);
        }
        assert_eq!(fast, slow, "{}", case.file);
    }
}

fn snapshot_of(text: String) -> Arc<portcullis::engine::Snapshot> {
    let modules = vec![SourceFile { path: "p.rego".to_owned(), text }];
    let sources = Sources { modules, ..Sources::default() };
    Arc::new(compile(&sources, CompileOptions::default()).expect("compiles").snapshot)
}

fn decided(snapshot: &Arc<portcullis::engine::Snapshot>) -> portcullis::engine::Decision {
    let request = Arc::new(decode(&reviews::cases()[0].body()).expect("a review"));
    let failure = FailureModes::default();
    let context =
        Context { endpoint: Endpoint::Validate, now_ns: NOW_NS, seed: 0, deadline: None, failure, http: None };
    let pool = Pool::start(PoolOptions { threads: 1, queue: 1 }).expect("starts");
    let inventory = Inventory::fixed(snapshot.fixed_namespaces());
    pool.decide(snapshot, &inventory, &request, &context).expect("an answer")
}

const HEAD: &str = "# METADATA\n# scope: package\n# custom:\n#   budget: {time: 50ms}\npackage slow\n";

#[test]
fn a_plan_stops_when_its_time_is_up() {
    let loops =
        "deny contains \"m\" if {\n\txs := numbers.range(1, 5000)\n\tsome a in xs\n\tsome b in xs\n\ta + b < 0\n}\n";
    let snapshot = snapshot_of(format!("{HEAD}{loops}"));
    assert!(snapshot.policies().all(|p| p.way() == Way::Plan));
    let decision = decided(&snapshot);
    assert_eq!(decision.failures.iter().map(|f| f.code).collect::<Vec<_>>(), [ErrorCode::Budget]);
    assert!(decision.runs[0].took < Duration::from_secs(2), "{:?}", decision.runs[0].took);
}

/// Every rule loops in loops, and needs the next one within.
#[test]
fn deep_rules_do_not_run_out_of_stack() {
    let loops: String = (0..8).map(|n| format!("some v{n} in [1]; ")).collect();
    for (count, terms) in [(8, 150), (400, 100)] {
        let sum = vec!["v0"; terms].join(" + ");
        let mut text = HEAD.replace("50ms", "20s");
        for rule in 0..count {
            text.push_str(&format!(
                "r{rule} contains x if {{ {loops}y := {sum}; x := count([z | some z in r{}; z == y]) }}\n",
                rule + 1
            ));
        }
        text.push_str(&format!("r{count} contains 1\ndeny contains \"m\" if count(r0) == 1\n"));
        let snapshot = snapshot_of(text);
        let decision = decided(&snapshot);
        assert_eq!((decision.violations.len(), &decision.failures[..]), (1, &[][..]), "{count}");
        let way = if count == 400 { Way::Interpreter } else { Way::Plan };
        assert!(snapshot.policies().all(|p| p.way() == way), "{count}");
    }
}

/// Rules with what becomes of them. Answers that differ are never right.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    note: String,
    module: String,
    #[serde(default)]
    input: Option<Value>,
    #[serde(default)]
    data: Option<Value>,
    #[serde(default)]
    strict: bool,
    #[serde(default)]
    compared: usize,
    #[serde(default)]
    left: usize,
    #[serde(default)]
    refused: usize,
}

fn rules_of(modules: &[SourceFile], data: Option<Value>, input: QueryInput, strict: bool) -> Option<RuleComparison> {
    let data = data.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    let budget = Duration::from_secs(5);
    compare_rules(&Query { modules, data, input, text: "", strict, now_ns: NOW_NS, seed: 1, budget }).ok()
}

#[test]
fn cases_of_single_constructs() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/ways/cases.yaml"));
    let cases: Vec<Case> =
        portcullis::policy::yaml::parse("cases.yaml", &text.expect("the cases"), Default::default()).expect("parse");
    let mut wrong = Vec::new();
    for case in cases {
        let module = SourceFile { path: "case.rego".to_owned(), text: format!("package case\n{}", case.module) };
        let input = case.input.map_or(QueryInput::Absent, QueryInput::Json);
        let wanted = RuleComparison {
            compared: case.compared,
            left: case.left,
            refused: case.refused,
            ..RuleComparison::default()
        };
        match rules_of(&[module], case.data, input, case.strict) {
            Some(found) if found == wanted => {}
            found => wrong.push(format!("{}: wanted {wanted:?}, found {found:?}", case.note)),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// `WAYS_MODULES` sets how many.
#[test]
fn modules_made_by_chance_run_both_ways_alike() {
    let count = std::env::var("WAYS_MODULES").map_or(600, |n| n.parse().expect("a number"));
    let input = serde_json::json!({"a": [1, "k", [2], {"k": 1}], "o": {"k": "kk", "j": {"k": [0]}, "l": null},
        "l": [{"k": 1}, {"k": "a", "j": 2}, {"j": 3}], "s": "k", "n": 2, "t": true});
    let mut maker = made::Maker::new(7);
    let (mut compared, mut differing) = (0, Vec::new());
    for number in 0..count {
        let module = SourceFile { path: "made.rego".to_owned(), text: maker.module() };
        let strict = number % 3 == 0;
        let Some(found) = rules_of(std::slice::from_ref(&module), None, QueryInput::Json(input.clone()), strict) else {
            continue;
        };
        compared += found.compared;
        differing.extend(found.differing.into_iter().map(|d| format!("{d}\n{}", module.text)));
    }
    println!("{count} modules, {compared} rules compared");
    assert!(compared > count / 2, "{compared} rules compared");
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing[..differing.len().min(5)].join("\n"));
}

#[derive(Deserialize)]
struct Conformance {
    cases: Vec<ConformanceCase>,
}

#[derive(Deserialize)]
struct ConformanceCase {
    note: String,
    #[serde(default)]
    modules: Option<Vec<String>>,
    #[serde(default)]
    data: Option<Value>,
    #[serde(default)]
    input: Option<Value>,
    #[serde(default)]
    input_term: Option<String>,
    #[serde(default)]
    strict_error: bool,
}

#[test]
fn conformance_cases_run_both_ways_alike() {
    let dir = std::env::var_os("OPA_CONFORMANCE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/opa-conformance"),
        std::path::PathBuf::from,
    );
    if !dir.is_dir() {
        println!("skipped: no folder {}", dir.display());
        return;
    }
    let mut paths: Vec<_> = fs::read_dir(dir).expect("a directory").flatten().map(|e| e.path()).collect();
    paths.sort();
    let (mut compared, mut left, mut refused, mut differing) = (0, 0, 0, Vec::new());
    for path in paths {
        let file: Conformance = serde_json::from_str(&fs::read_to_string(&path).expect("readable")).expect("cases");
        for case in file.cases {
            let texts = case.modules.unwrap_or_default();
            let module = |(n, text)| SourceFile { path: format!("module{n}.rego"), text };
            let modules: Vec<SourceFile> = texts.into_iter().enumerate().map(module).collect();
            let input = match (case.input_term, case.input) {
                (Some(term), _) => QueryInput::Term(term),
                (None, Some(input)) => QueryInput::Json(input),
                (None, None) => QueryInput::Absent,
            };
            let Some(found) = rules_of(&modules, case.data, input, case.strict_error) else { continue };
            compared += found.compared;
            left += found.left;
            refused += found.refused;
            differing.extend(found.differing.into_iter().map(|d| format!("{}: {d}", case.note)));
        }
    }
    println!("{compared} rules compared, {left} left to the interpreter, {refused} refused");
    assert!(compared > 300, "{compared} rules compared");
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
}
