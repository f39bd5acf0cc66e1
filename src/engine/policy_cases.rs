//! Case files: one policy is asked through the one door, and what it says is held against what is expected.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use crate::admission::decode;
use crate::engine::{
    CompileOptions, Context, Decision, Endpoint, FailureModes, Inventory, Location, Pool, Snapshot, TestEnding,
    TestResult, Violation, compile,
};
use crate::policy::gatekeeper::{Document, insert_into_inventory};
use crate::policy::{Enforcement, LoadError, OneCase, PolicyBinding, PolicyCases, SourceFile, Sources, nearest};

/// Runs the cases that `wanted` takes by name: `<file>//<case>`.
#[must_use]
pub fn run_policy_cases(
    file: &PolicyCases,
    all: &Sources,
    pool: &Pool,
    wanted: &dyn Fn(&str) -> bool,
) -> Vec<TestResult> {
    let mut asker = CaseAsker::new(file, all);
    let mut results = Vec::new();
    for case in &file.cases {
        let name = format!("{}//{}", file.file, case.name);
        if !wanted(&name) {
            continue;
        }
        let started = Instant::now();
        let ending = match asker.ask(case, pool) {
            Err(msg) => TestEnding::Error { at: None, msg },
            Ok(decision) => match case_misses(case, &decision) {
                None => TestEnding::Pass,
                Some(expression) => TestEnding::Fail { at: None, expression },
            },
        };
        let at = Location { file: file.file.clone(), line: case.line, column: 1 };
        results.push(TestResult { name, at, ending, took: started.elapsed(), prints: Vec::new() });
    }
    results
}

/// Asks the policy of a case file.
#[derive(Debug)]
pub struct CaseAsker<'f> {
    file: &'f PolicyCases,
    /// The policy with what it reads; or that there is none.
    base: Result<Sources, String>,
    plain: Option<Arc<Snapshot>>,
}

impl<'f> CaseAsker<'f> {
    /// The file's policy among all that are loaded. Bindings and exceptions do not count: a case tells its parameters.
    #[must_use]
    pub fn new(file: &'f PolicyCases, all: &Sources) -> Self {
        Self { file, base: alone(all, &file.policy), plain: None }
    }

    /// What the policy says to a case.
    ///
    /// # Errors
    /// The case or the policy cannot be compiled, the policy fails, or it does not match the request: a case must be judged.
    pub fn ask(&mut self, case: &OneCase, pool: &Pool) -> Result<Decision, String> {
        let snapshot = self.snapshot(case)?;
        let request = Arc::new(decode(case.review().to_string().as_bytes()).map_err(|e| e.to_string())?);
        let endpoint = if case.patch.is_some() { Endpoint::Mutate } else { Endpoint::Validate };
        let now_ns = case.time()?.nanos();
        let context =
            Context { endpoint, now_ns, seed: 0, deadline: None, failure: FailureModes::default(), http: None };
        let inventory = Inventory::fixed(snapshot.fixed_namespaces());
        let decision = pool.decide(&snapshot, &inventory, &request, &context);
        let decision = decision.ok_or_else(|| "the evaluation gave no answer".to_owned())?;
        if let Some(failure) = decision.failures.first() {
            let place = failure.location.as_ref().map(|l| format!(" ({l})")).unwrap_or_default();
            return Err(format!("{} could not be evaluated: {}{place}", failure.policy, failure.msg));
        }
        if decision.runs.is_empty() {
            return Err(format!("policy `{}` does not match the request; a case must be judged", self.file.policy));
        }
        Ok(decision)
    }

    fn snapshot(&mut self, case: &OneCase) -> Result<Arc<Snapshot>, String> {
        let base = self.base.as_ref().map_err(Clone::clone)?;
        let parameters = self.file.parameters(case);
        let as_it_is = case.data.is_empty() && case.inventory.is_empty() && parameters.is_empty();
        if let (true, Some(plain)) = (as_it_is, &self.plain) {
            return Ok(Arc::clone(plain));
        }
        let mut sources = base.clone();
        sources.data.extend(case.data.clone());
        if !case.inventory.is_empty() {
            let inventory = sources.data.entry("inventory").or_insert_with(|| json!({}));
            let inventory = inventory.as_object_mut().ok_or("data: `inventory` is no object")?;
            for manifest in &case.inventory {
                insert_into_inventory(inventory, manifest)?;
                let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str);
                if let (Some("Namespace"), Some(name)) = (text("/kind"), text("/metadata/name")) {
                    let metadata = manifest.get("metadata").cloned().unwrap_or_default();
                    sources.namespaces.insert(name.to_owned(), metadata);
                }
            }
        }
        if !parameters.is_empty() {
            let binding = json!({"apiVersion": "portcullis.io/v1alpha1", "kind": "PolicyBinding",
                "metadata": {"name": "case"}, "spec": {"policyRef": {"name": self.file.policy}, "parameters": parameters}});
            let binding = PolicyBinding::read(&Document::of_value(&self.file.file, binding));
            sources.bindings.push(binding.map_err(|e| e.message)?);
        }
        let compiled = compile(&sources, CompileOptions::default())
            .map_err(|errors| errors.iter().map(|e: &LoadError| e.to_string()).collect::<Vec<_>>().join("\n"))?;
        let snapshot = Arc::new(compiled.snapshot);
        if as_it_is {
            self.plain = Some(Arc::clone(&snapshot));
        }
        Ok(snapshot)
    }
}

/// The sources with one policy left, and the packages that it names, and those that they name.
fn alone(all: &Sources, policy: &str) -> Result<Sources, String> {
    let name = |m: &SourceFile| package(m).strip_prefix("portcullis.").unwrap_or(package(m)).to_owned();
    let (mut kept, mut left): (Vec<_>, Vec<_>) =
        all.modules.iter().filter(|m| !m.is_test()).partition(|m| name(m) == policy);
    if kept.is_empty() {
        let names: Vec<String> = left.into_iter().map(name).collect();
        let near = nearest(policy, names.iter().map(String::as_str));
        let near = near.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
        return Err(format!("policy `{policy}` is not among those that are loaded{near}"));
    }
    let mut next = 0;
    while let Some(text) = kept.get(next).map(|m| m.text.as_str()) {
        let (named, others): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|m| text.contains(&format!("data.{}", package(m))));
        kept.extend(named);
        left = others;
        next += 1;
    }
    let modules = kept.into_iter().cloned().collect();
    Ok(Sources { modules, bindings: Vec::new(), exceptions: Vec::new(), gatekeeper: Vec::new(), ..all.clone() })
}

fn package(module: &SourceFile) -> &str {
    let line = module.text.lines().find_map(|l| l.strip_prefix("package "));
    line.and_then(|l| l.split_whitespace().next()).unwrap_or_default()
}

/// What does not hold of a case.
#[must_use]
pub fn case_misses(case: &OneCase, decision: &Decision) -> Option<String> {
    if let Some(wanted) = &case.patch {
        let sorted = |value: Value| {
            let mut operations = value.as_array().cloned().unwrap_or_default();
            operations.sort_by_key(Value::to_string);
            Value::from(operations)
        };
        let got = sorted(serde_json::to_value(&decision.patch).unwrap_or_default());
        let wanted = sorted(wanted.clone());
        return (got != wanted).then(|| format!("the patch {wanted} (got {got})"));
    }
    let (warnings, own): (Vec<&Violation>, Vec<&Violation>) =
        decision.violations.iter().partition(|v| v.enforcement == Enforcement::Warn);
    let messages = |found: &[&Violation]| found.iter().map(|v| v.msg.clone()).collect::<BTreeSet<String>>();
    let fields = || own.iter().filter_map(|v| v.field.clone()).collect::<BTreeSet<String>>();
    differing("denied", &case.denied, &messages(&own))
        .or_else(|| differing("fields", case.fields.as_ref()?, &fields()))
        .or_else(|| differing("warned", &case.warned, &messages(&warnings)))
        .or_else(|| {
            let wanted = case.annotations.as_ref()?;
            let got = json!(decision.audit_annotations);
            (got != *wanted).then(|| format!("the annotations {wanted} (got {got})"))
        })
}

/// What is missing and what is unexpected, one a line.
fn differing(what: &str, wanted: &BTreeSet<String>, got: &BTreeSet<String>) -> Option<String> {
    if wanted == got {
        return None;
    }
    let mut text = format!("`{what}` is what the policy says");
    for (word, items) in [("missing", wanted.difference(got)), ("unexpected", got.difference(wanted))] {
        for item in items {
            let _ = write!(text, "\n{word}: {item}");
        }
    }
    Some(text)
}
