//! Our own suites: each case is judged through the same door as the webhook, with the policies, bindings, exceptions and
//! data that are loaded, and held against what it expects.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use crate::admission::{Operation, Request, decode};
use crate::cli::eval::{Endpoints, Judged, Judging, Labelled, judge};
use crate::cli::manifest::{self, Circumstances};
use crate::cli::{Exit, now_ns};
use crate::engine::{
    CompileOptions, Conflict, Decision, Inventory, Location, Pool, Snapshot, TestEnding, TestResult, Violation, compile,
};
use crate::policy::gatekeeper::EnforcementPoint;
use crate::policy::{
    CaseRequest, Expectation, ExpectedVerdict, ExpectedViolation, Given, LoadError, PolicyCase, Sources,
};
use crate::source::LoadedCases;

/// Runs the cases that `wanted` takes by name: `<file>//<case>`.
pub(super) fn run(
    suites: &[LoadedCases],
    sources: &Sources,
    pool: &Pool,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<TestResult>, Vec<LoadError>> {
    let mut results = Vec::new();
    let mut plain = None;
    for loaded in suites {
        for case in &loaded.suite.cases {
            let name = format!("{}//{}", loaded.suite.file, case.name);
            if !wanted(&name) {
                continue;
            }
            let started = Instant::now();
            let snapshot = if case.exceptions.is_empty() {
                let built = plain.take().map_or_else(|| snapshot(sources.clone()), Ok)?;
                Arc::clone(plain.insert(built))
            } else {
                let mut sources = sources.clone();
                sources.exceptions.retain(|e| case.exceptions.iter().all(|c| c.name != e.name));
                sources.exceptions.extend(case.exceptions.iter().cloned());
                snapshot(sources)?
            };
            let (ending, prints) = ending(case, loaded, &snapshot, pool);
            let at = Location { file: loaded.suite.file.clone(), line: case.line, column: 1 };
            results.push(TestResult { name, at, ending, took: started.elapsed(), prints });
        }
    }
    Ok(results)
}

fn snapshot(sources: Sources) -> Result<Arc<Snapshot>, Vec<LoadError>> {
    let options = CompileOptions { enforcement_point: EnforcementPoint::Gator, ..CompileOptions::default() };
    compile(&sources, options).map(|c| Arc::new(c.snapshot))
}

fn ending(case: &PolicyCase, loaded: &LoadedCases, snapshot: &Arc<Snapshot>, pool: &Pool) -> (TestEnding, Vec<String>) {
    let judged = request(&case.request, loaded).and_then(|request| {
        let labels = case.request.namespace_labels.clone();
        let inventory = Inventory { namespaces: Arc::new(Labelled::new(labels, snapshot)), age: None };
        let now = case.now.map_or_else(now_ns, crate::policy::Instant::nanos);
        let by = Judging { snapshot, inventory: &inventory, pool, door: None };
        judge(Endpoints::Both, String::new(), request, &by, now).map_err(|e| format!("{e:#}"))
    });
    match judged {
        Err(msg) => (TestEnding::Error { at: None, msg }, Vec::new()),
        Ok(judged) => {
            let conflicts = judged.decisions().flat_map(|d| &d.conflicts).map(Conflict::sentence).collect();
            let ending = match missed(&case.expect, &judged) {
                None => TestEnding::Pass,
                Some(expression) => TestEnding::Fail { at: None, expression },
            };
            (ending, conflicts)
        }
    }
}

fn request(asked: &CaseRequest, loaded: &LoadedCases) -> Result<Arc<Request>, String> {
    let document = |given: &Given| match given {
        Given::Here(value) => Ok(value.clone()),
        Given::File(name) => match loaded.files.get(name) {
            Some(Ok(value)) => Ok(value.clone()),
            Some(Err(e)) => Err(e.to_string()),
            None => Err(format!("`{name}` was not read")),
        },
    };
    let object = document(&asked.object)?;
    let old = asked.old.as_ref().map(document).transpose()?;
    let review = if object.get("kind").and_then(Value::as_str) == Some("AdmissionReview") {
        object
    } else {
        let default = if old.is_some() { Operation::Update } else { Operation::Create };
        let operation = asked.operation.unwrap_or(default);
        if (operation == Operation::Update) != old.is_some() {
            return Err("`old` goes with UPDATE, and UPDATE needs it".to_owned());
        }
        let (user, groups) = (asked.user.clone(), asked.groups.clone());
        let who = Circumstances { operation, user, groups, namespace: "default".to_owned() };
        manifest::review(&object, old.as_ref(), &who, 1)?
    };
    decode(review.to_string().as_bytes()).map(Arc::new).map_err(|e| e.to_string())
}

/// What does not hold.
fn missed(expect: &Expectation, judged: &Judged) -> Option<String> {
    verdict(expect, judged)
        .or_else(|| violations(expect.violations.as_deref()?, judged))
        .or_else(|| {
            let wanted = expect.result.as_ref()?;
            differing(wanted, judged.mutated.object(), "").map(|at| format!("the result is another at {at}"))
        })
        .or_else(|| patch(expect.patch.as_deref()?, judged))
        .or_else(|| {
            let again = judged.unsettled.first()?;
            Some(format!("a second pass changes nothing (policy `{}` changes {} again)", again.policy, again.path))
        })
}

fn verdict(expect: &Expectation, judged: &Judged) -> Option<String> {
    let found = match judged.exit() {
        Exit::CouldNotRun => ExpectedVerdict::Error,
        Exit::Finding if judged.denied() => ExpectedVerdict::Deny,
        Exit::Finding | Exit::Fine => ExpectedVerdict::Allow,
    };
    let word = |verdict| match verdict {
        ExpectedVerdict::Allow => "allow",
        ExpectedVerdict::Deny => "deny",
        ExpectedVerdict::Error => "error",
    };
    let mut why: Vec<String> = judged.decisions().flat_map(|d| &d.violations).map(Violation::sentence).collect();
    why.extend(judged.decisions().flat_map(|d| &d.failures).map(|f| format!("{}: {}", f.policy, f.msg)));
    let why = if why.is_empty() { "nothing was found".to_owned() } else { why.join("; ") };
    (found != expect.verdict).then(|| format!("verdict {} (got {}: {why})", word(expect.verdict), word(found)))
}

fn violations(wanted: &[ExpectedViolation], judged: &Judged) -> Option<String> {
    let found = |d: &Decision| {
        let standing = d.violations.iter().map(|v| (v.clone(), None));
        let excepted = d.exceptions.iter().map(|e| (e.violation.clone(), Some(e.exception.name.clone())));
        standing.chain(excepted).collect::<Vec<_>>()
    };
    let mut left: Vec<(Violation, Option<String>)> = judged.decisions().flat_map(found).collect();
    for expected in wanted {
        match left.iter().position(|(v, exception)| fits(expected, v, exception.as_deref())) {
            Some(place) => drop(left.remove(place)),
            None => {
                let message = expected.message.as_ref().map(|m| format!(" with `{m}`")).unwrap_or_default();
                let by = expected.exception.as_ref().map(|e| format!(" let pass by `{e}`")).unwrap_or_default();
                let rest: Vec<String> = left.iter().map(|(v, _)| v.sentence()).collect();
                let rest = if rest.is_empty() { "nothing else".to_owned() } else { rest.join("; ") };
                return Some(format!("a violation of `{}`{message}{by} (got {rest})", expected.policy));
            }
        }
    }
    let (more, _) = left.first()?;
    Some(format!("no other violation (got {})", more.sentence()))
}

fn fits(wanted: &ExpectedViolation, v: &Violation, exception: Option<&str>) -> bool {
    *wanted.policy == *v.policy
        && wanted.message.as_ref().is_none_or(|m| m.is_match(&v.msg))
        && wanted.enforcement.is_none_or(|e| e == v.enforcement)
        && wanted.exception.as_deref() == exception
}

fn patch(wanted: &[Value], judged: &Judged) -> Option<String> {
    let found = judged.decisions().find_map(|d| d.patch.as_ref()).map(|p| p.0.as_slice()).unwrap_or_default();
    let found: Vec<Value> = found.iter().filter_map(|o| serde_json::to_value(o).ok()).collect();
    let shown = |operations: &[Value]| Value::from(operations.to_vec()).to_string();
    (found != wanted).then(|| format!("the patch {} (got {})", shown(wanted), shown(&found)))
}

/// The first place where `found` lacks what is wanted: mappings may hold more.
fn differing(wanted: &Value, found: &Value, at: &str) -> Option<String> {
    let here = || Some(if at.is_empty() { "its root".to_owned() } else { format!("{at} (got `{found}`)") });
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted
            .iter()
            .find_map(|(key, value)| differing(value, found.get(key).unwrap_or(&Value::Null), &format!("{at}/{key}"))),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            let pairs = wanted.iter().zip(found).enumerate();
            pairs.into_iter().find_map(|(i, (wanted, found))| differing(wanted, found, &format!("{at}/{i}")))
        }
        _ if wanted == found => None,
        _ => here(),
    }
}
