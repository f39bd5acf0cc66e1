//! The two ways of running a policy, held against one another: on the inputs of its own tests, on requests that are
//! given, and on what becomes of these when parts go missing or turn into something else.
//!
//! The same inputs each time: nothing here is random. Knows nothing of files or output.

mod capture;
mod mutate;
mod rules;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::admission::Request;
use crate::engine::check;
use crate::engine::compile::{CompileOptions, compile_here, on_large_stack};
use crate::engine::evaluate::{Fault, World};
use crate::engine::input::convert;
use crate::engine::meter;
use crate::engine::parse::parse_all;
use crate::engine::review::Review;
use crate::engine::snapshot::{Bound, Policy};
use crate::engine::{Context, Endpoint, ErrorCode, FailureModes, Inventory, Way};
use crate::policy::{Digest, LoadError, Sources};

pub use rules::{RuleComparison, compare_rules};

/// An evaluation that takes longer is not compared.
const BUDGET: Duration = Duration::from_secs(5);

/// Differences that are shown of one policy; the rest are counted.
const MOST_SHOWN: usize = 5;

/// What the ways are held against one another on.
#[derive(Debug, Clone, Copy)]
pub struct DifferentialOptions<'a> {
    /// Reviews that a cluster sent, or could.
    pub requests: &'a [Arc<Request>],
    /// Inputs made for each policy beside those that are there.
    pub generated: usize,
    /// What `time.now_ns()` gives.
    pub now_ns: i64,
}

/// What came of it, by policy name.
#[derive(Debug, Clone)]
pub struct DifferentialReport {
    /// This program and the engine in it: a result counts for no other.
    pub engine: &'static str,
    /// The policies.
    pub policies: Vec<PolicyComparison>,
}

/// What came of one policy.
#[derive(Debug, Clone)]
pub struct PolicyComparison {
    /// Policy name.
    pub policy: Arc<str>,
    /// Digest of its content.
    pub digest: Digest,
    /// Whether there are two ways.
    pub way: Way,
    /// Inputs of its tests.
    pub of_tests: usize,
    /// Inputs of the requests given.
    pub of_requests: usize,
    /// Inputs made from these.
    pub generated: usize,
    /// Evaluations in which both ways answered.
    pub compared: usize,
    /// Evaluations in which the fast way left the answer to the interpreter.
    pub left: usize,
    /// How many answers differ.
    pub differing: usize,
    /// The first of them.
    pub differences: Vec<Difference>,
}

/// One input with two answers.
#[derive(Debug, Clone)]
pub struct Difference {
    /// Which rules were read.
    pub endpoint: Endpoint,
    /// The input.
    pub input: Json,
    /// What the interpreter says: values by rule, or the error.
    pub interpreter: Json,
    /// What the fast way says.
    pub plan: Json,
}

impl DifferentialReport {
    /// Whether no answer differs.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.policies.iter().all(|p| p.differing == 0)
    }
}

/// Holds the ways of running the policies of `sources` against one another.
///
/// # Errors
/// What keeps the policies from being loaded.
pub fn differential(sources: &Sources, options: DifferentialOptions<'_>) -> Result<DifferentialReport, Vec<LoadError>> {
    on_large_stack(|| {
        let snapshot = Arc::new(compile_here(sources, CompileOptions::default())?.snapshot);
        let captured = capture::inputs_of_tests(sources, options.now_ns);
        let needed = packages_of_tests(sources);
        let mut of_requests: BTreeMap<usize, Vec<Json>> = BTreeMap::new();
        let inventory = Inventory::fixed(snapshot.fixed_namespaces());
        for request in options.requests {
            for endpoint in [Endpoint::Validate, Endpoint::Mutate] {
                let failure = FailureModes::default();
                let context =
                    Context { endpoint, now_ns: options.now_ns, seed: 0, deadline: None, failure, http: None };
                let review = Review::new(Arc::clone(&snapshot), &inventory, Arc::clone(request), context);
                for (place, input) in review.inputs_of_steps() {
                    of_requests.entry(place).or_default().extend(serde_json::to_value(input).ok());
                }
            }
        }
        let mut policies = Vec::new();
        for (place, bound) in snapshot.bound.iter().enumerate() {
            let tests = captured.iter().filter(|(package, _)| {
                needed.get(package).is_some_and(|names| names.iter().any(|n| **n == *bound.policy.name))
            });
            let tests: Vec<Json> = tests.map(|(_, input)| input.clone()).collect();
            let requests = of_requests.remove(&place).unwrap_or_default();
            policies.push(compare(bound, tests, requests, options));
        }
        Ok(DifferentialReport { engine: ENGINE, policies })
    })
}

/// This program and the engine in it.
const ENGINE: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"), " regorus/0.14.1");

/// The policies that the package of a test needs.
fn packages_of_tests(sources: &Sources) -> BTreeMap<Vec<String>, Vec<Arc<str>>> {
    let parsed = parse_all(sources.modules.iter(), &sources.rego_versions, &mut Vec::new());
    let packages = check::packages(&parsed);
    let names = |package| {
        let needed = check::closure(package, &packages);
        needed.iter().map(|p| crate::engine::compile::policy_name(&p.path)).collect()
    };
    packages.values().map(|package| (package.path.clone(), names(package))).collect()
}

fn compare(bound: &Bound, tests: Vec<Json>, requests: Vec<Json>, options: DifferentialOptions<'_>) -> PolicyComparison {
    let policy = &bound.policy;
    let mut found = PolicyComparison {
        policy: Arc::clone(&policy.name),
        digest: policy.digest,
        way: policy.unit.way(),
        of_tests: tests.len(),
        of_requests: requests.len(),
        generated: 0,
        compared: 0,
        left: 0,
        differing: 0,
        differences: Vec::new(),
    };
    if found.way == Way::Interpreter {
        return found;
    }
    let mut inputs: Vec<Json> = tests.into_iter().chain(requests).collect();
    let given = inputs.len();
    if let Some(using) = bound.uses.last() {
        let parameters = serde_json::to_value(&using.parameters).unwrap_or_default();
        inputs.extend(plain_inputs(policy, &parameters));
    }
    let made = mutate::mutations(&inputs, options.generated);
    found.generated = inputs.len() - given + made.len();
    let world = World { now_ns: options.now_ns, seed: 0 };
    for input in inputs.iter().chain(&made) {
        for endpoint in &policy.endpoints {
            one(policy, *endpoint, input, world, &mut found);
        }
    }
    found
}

fn one(policy: &Policy, endpoint: Endpoint, input: &Json, world: World, found: &mut PolicyComparison) {
    let value = convert(input);
    meter::begin(&policy.budget);
    let Some(plan) = policy.unit.run_plan(endpoint, &value, world, BUDGET) else {
        found.left += 1;
        return;
    };
    meter::begin(&policy.budget);
    let interpreter = policy.unit.interpret(endpoint, &value, world, BUDGET);
    let slow = |answer: &Result<Json, Fault>| answer.as_ref().is_err_and(|f| f.code == ErrorCode::Budget);
    if slow(&plan) || slow(&interpreter) {
        return;
    }
    found.compared += 1;
    if plan == interpreter {
        return;
    }
    found.differing += 1;
    if found.differences.len() < MOST_SHOWN {
        found.differences.push(Difference {
            endpoint,
            input: input.clone(),
            interpreter: shown(interpreter),
            plan: shown(plan),
        });
    }
}

fn shown(answer: Result<Json, Fault>) -> Json {
    answer.unwrap_or_else(|fault| json!({"error": fault.msg}))
}

/// Inputs to begin with where there are no others: a Pod that comes, goes, and is nothing.
fn plain_inputs(policy: &Policy, parameters: &Json) -> Vec<Json> {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop",
        "labels": {"app": "web"}, "annotations": {"note": ""}}, "spec": {"hostNetwork": true, "serviceAccountName": "web",
        "securityContext": {"runAsUser": 0}, "volumes": [{"name": "host", "hostPath": {"path": "/etc"}}],
        "containers": [{"name": "a", "image": "registry.example/web:1.2", "ports": [{"containerPort": 80, "hostPort": 80}],
            "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "100m"}},
            "env": [{"name": "A", "value": "b"}], "securityContext": {"privileged": true, "capabilities": {"add": ["SYS_ADMIN"]}}},
            {"name": "b", "image": "nginx"}]}});
    let request = |operation: &str, object: Json, old: Json| {
        json!({"uid": "u", "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"}, "name": "web", "namespace": "shop",
        "operation": operation, "userInfo": {"username": "jane", "groups": ["system:authenticated", "shop"]},
        "object": object, "oldObject": old, "dryRun": false})
    };
    let requests = [
        request("CREATE", pod.clone(), Json::Null),
        request("UPDATE", pod.clone(), pod.clone()),
        request("DELETE", Json::Null, pod),
    ];
    let input = |request: &Json| {
        if policy.is_constraint() {
            json!({"review": request, "parameters": parameters})
        } else {
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request,
                "parameters": parameters, "namespace": {"name": "shop", "labels": {"tenant": "shop"}}})
        }
    };
    requests.iter().map(input).chain([json!({})]).collect()
}
