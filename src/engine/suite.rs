//! Gatekeeper's suites: each case is judged through the one door, and its assertions are held against the violations.
//!
//! The contents of the files that a suite names are handed in. Verdicts are those of `gator verify`, but for two
//! things: a field that a suite does not know is an error, and so is a policy that cannot be evaluated, whatever is
//! expected of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::admission::Request;
use crate::engine::mask_pointer::REQUEST;
use crate::engine::{
    CompileOptions, Context, Decision, Endpoint, ErrorCode, FailureModes, Inventory, Location, Pool, Snapshot,
    TestEnding, TestResult, compile,
};
use crate::policy::gatekeeper::{Case, Document, EnforcementPoint, Suite, SuiteTest, insert_into_inventory};
use crate::policy::{LoadError, SourceFile, Sources};

/// The files that a suite names, by the name that it gives them.
pub type SuiteFiles = BTreeMap<String, Result<SourceFile, LoadError>>;

/// Runs the tests and cases of a suite that `wanted` takes by name: `<file>//<test>` and `<file>//<test>//<case>`.
///
/// `now_ns` is what `time.now_ns()` gives.
#[must_use]
pub fn run_suite(
    suite: &Suite,
    files: &SuiteFiles,
    pool: &Pool,
    wanted: &dyn Fn(&str) -> bool,
    now_ns: i64,
) -> Vec<TestResult> {
    let runner = Runner { suite, files, pool, now_ns };
    if suite.skip {
        let name = suite.file.clone();
        return if wanted(&name) {
            vec![runner.result(name, suite.line, TestEnding::Skip, Duration::ZERO)]
        } else {
            Vec::new()
        };
    }
    let mut results = Vec::new();
    for test in &suite.tests {
        runner.test(test, wanted, &mut results);
    }
    results
}

struct Runner<'s> {
    suite: &'s Suite,
    files: &'s SuiteFiles,
    pool: &'s Pool,
    now_ns: i64,
}

/// What is judged in a case.
struct Subject {
    request: Request,
    is_review: bool,
}

impl Runner<'_> {
    fn result(&self, name: String, line: u32, ending: TestEnding, took: Duration) -> TestResult {
        let at = Location { file: self.suite.file.clone(), line, column: 1 };
        TestResult { name, at, ending, took, prints: Vec::new() }
    }

    fn test(&self, test: &SuiteTest, wanted: &dyn Fn(&str) -> bool, results: &mut Vec<TestResult>) {
        let name = format!("{}//{}", self.suite.file, test.name);
        let cases: Vec<(String, &Case)> = test.cases.iter().map(|c| (format!("{name}//{}", c.name), c)).collect();
        let cases: Vec<_> = cases.into_iter().filter(|(name, _)| wanted(name)).collect();
        if cases.is_empty() && !wanted(&name) {
            return;
        }
        if test.skip {
            results.push(self.result(name, test.line, TestEnding::Skip, Duration::ZERO));
            return;
        }
        let started = Instant::now();
        let compiled = self.sources(test).and_then(|sources| Ok((snapshot(&sources)?, sources)));
        if test.invalid {
            let ending = invalid(compiled.err());
            results.push(self.result(name, test.line, ending, started.elapsed()));
            return;
        }
        let (plain, sources) = match compiled {
            Ok(compiled) => compiled,
            Err(errors) => {
                results.push(self.result(name, test.line, error(&errors), started.elapsed()));
                return;
            }
        };
        if test.cases.is_empty() {
            results.push(self.result(name, test.line, TestEnding::Pass, started.elapsed()));
        }
        for (name, case) in cases {
            let started = Instant::now();
            let ending = if case.skip { TestEnding::Skip } else { self.case(case, &sources, &plain) };
            results.push(self.result(name, case.line, ending, started.elapsed()));
        }
    }

    fn case(&self, case: &Case, sources: &Sources, plain: &Arc<Snapshot>) -> TestEnding {
        let judged = self.subject(case).and_then(|subject| {
            let snapshot = self.snapshot_of(case, &subject, sources, plain)?;
            self.judge(&snapshot, subject)
        });
        let decision = match judged {
            Ok(decision) => decision,
            Err(errors) => return error(&errors),
        };
        // A constraint whose match cannot be told counts as violated, as in Gatekeeper.
        let unmatched = |code| code == ErrorCode::UnknownNamespace;
        if let Some(failure) = decision.failures.iter().find(|f| !unmatched(f.code)) {
            let msg = format!("{} could not be evaluated: {}", failure.policy, failure.msg);
            return TestEnding::Error { at: failure.location.clone(), msg };
        }
        // Suites look for Gatekeeper's words.
        let failures = decision.failures.iter().map(|f| format!("missing Namespace: {}", f.msg));
        let messages: Vec<String> = decision.violations.iter().map(|v| v.msg.clone()).chain(failures).collect();
        let missed = if case.assertions.is_empty() {
            let none = "no violation, as nothing is asserted";
            (!messages.is_empty()).then(|| format!("{none} (got {}: `{}`)", messages.len(), messages.join("`, `")))
        } else {
            case.assertions.iter().find_map(|a| a.misses(&messages))
        };
        match missed {
            None => TestEnding::Pass,
            Some(expression) => TestEnding::Fail { at: None, expression },
        }
    }

    fn judge(&self, snapshot: &Arc<Snapshot>, subject: Subject) -> Result<Decision, Vec<LoadError>> {
        let context = Context {
            endpoint: Endpoint::Validate,
            now_ns: self.now_ns,
            seed: 0,
            deadline: None,
            failure: FailureModes::default(),
            http: None,
        };
        let inventory = Inventory::fixed(snapshot.fixed_namespaces());
        let decision = self.pool.decide(snapshot, &inventory, &Arc::new(subject.request), &context);
        decision.ok_or_else(|| vec![self.fault("the evaluation gave no answer".to_owned())])
    }

    /// The policies of a case: those of its test, with its own inventory.
    fn snapshot_of(
        &self,
        case: &Case,
        subject: &Subject,
        sources: &Sources,
        plain: &Arc<Snapshot>,
    ) -> Result<Arc<Snapshot>, Vec<LoadError>> {
        let expands = |d: &Document| d.kind() == "ExpansionTemplate";
        // Reviews are judged as they are; only manifests are expanded.
        let unexpanded = subject.is_review && sources.gatekeeper.iter().any(expands);
        if case.inventory.is_empty() && case.exceptions.is_empty() && !unexpanded {
            return Ok(Arc::clone(plain));
        }
        let mut sources = sources.clone();
        if unexpanded {
            sources.gatekeeper.retain(|d| !expands(d));
        }
        sources.exceptions.clone_from(&case.exceptions);
        let mut inventory = Map::new();
        for file in &case.inventory {
            let documents = self.documents("inventory", file)?;
            if documents.is_empty() {
                return Err(vec![self.fault(format!("`{file}` holds no object for the inventory"))]);
            }
            for document in documents {
                insert_into_inventory(&mut inventory, &document.value).map_err(|m| vec![document.fault("suite", m)])?;
                // `/v1` is the core group too.
                if document.group().is_empty() && document.kind() == "Namespace" {
                    let metadata = document.at(&["metadata"]).cloned().unwrap_or_default();
                    sources.namespaces.insert(document.name().to_owned(), metadata);
                }
            }
        }
        sources.data.insert("inventory".to_owned(), Value::Object(inventory));
        snapshot(&sources)
    }

    fn sources(&self, test: &SuiteTest) -> Result<Sources, Vec<LoadError>> {
        let mut gatekeeper = Vec::new();
        for (what, file, group) in [
            ("template", &test.template, "templates.gatekeeper.sh"),
            ("constraint", &test.constraint, "constraints.gatekeeper.sh"),
        ] {
            let documents = self.documents(what, file)?;
            match documents.into_iter().find(|d| d.group() == group) {
                Some(document) => gatekeeper.push(document),
                None => return Err(vec![self.fault(format!("test `{}`: `{file}` holds no {what}", test.name))]),
            }
        }
        if let Some(file) = &test.expansion {
            let documents = self.documents("expansion", file)?;
            if let Some(mutator) = documents.iter().find(|d| d.group() == "mutations.gatekeeper.sh") {
                let message = format!("`{}`: mutators are not applied to what an expansion makes", mutator.kind());
                return Err(vec![mutator.fault("suite", message)]);
            }
            gatekeeper.extend(documents.into_iter().filter(|d| d.group() == "expansion.gatekeeper.sh"));
        }
        Ok(Sources { gatekeeper, ..Sources::default() })
    }

    fn documents(&self, what: &str, file: &str) -> Result<Vec<Document>, Vec<LoadError>> {
        if file.is_empty() {
            return Err(vec![self.fault(format!("a {what} is missing"))]);
        }
        let source = match self.files.get(file) {
            Some(Ok(source)) => source,
            Some(Err(e)) => return Err(vec![e.clone()]),
            None => return Err(vec![self.fault(format!("`{file}` was not read"))]),
        };
        Document::parse_all(&source.path, &source.text).map_err(|e| vec![e])
    }

    fn subject(&self, case: &Case) -> Result<Subject, Vec<LoadError>> {
        let documents = self.documents("object", &case.object)?;
        let [document] = documents.as_slice() else {
            let message = format!("`{}` must hold one object, not {}", case.object, documents.len());
            return Err(vec![self.fault(message)]);
        };
        if document.kind().is_empty() || document.string(&["apiVersion"]).is_empty() {
            return Err(vec![document.fault("suite", "the object lacks `apiVersion` or `kind`")]);
        }
        if document.kind() == "AdmissionReview" && document.group() == "admission.k8s.io" {
            let request = review_request(&document.value).map_err(|m| vec![document.fault("suite", m)])?;
            return Ok(Subject { request: Request::standing(request), is_review: true });
        }
        Ok(Subject { request: Request::of_object(&document.value), is_review: false })
    }

    fn fault(&self, message: String) -> LoadError {
        LoadError::new(&self.suite.file, "suite", message)
    }
}

fn snapshot(sources: &Sources) -> Result<Arc<Snapshot>, Vec<LoadError>> {
    let options = CompileOptions { enforcement_point: EnforcementPoint::Gator, ..CompileOptions::default() };
    compile(sources, options).map(|c| Arc::new(c.snapshot))
}

/// A constraint that must be refused: only for values that do not fit the schema.
fn invalid(errors: Option<Vec<LoadError>>) -> TestEnding {
    let why = match errors {
        None => "it is valid".to_owned(),
        Some(errors) if errors.iter().any(|e| e.code == "schema") => return TestEnding::Pass,
        Some(errors) => errors.first().map(ToString::to_string).unwrap_or_default(),
    };
    TestEnding::Fail { at: None, expression: format!("the constraint does not fit its template's schema ({why})") }
}

fn error(errors: &[LoadError]) -> TestEnding {
    let at = errors.first().and_then(|e| Some(Location { file: e.file.clone(), line: e.line?, column: e.column? }));
    // The place of the first is told beside the message.
    let first = errors.first().map(|e| if at.is_some() { e.message.clone() } else { e.to_string() });
    let others = errors.iter().skip(1).map(ToString::to_string);
    TestEnding::Error { msg: first.into_iter().chain(others).collect::<Vec<_>>().join("\n"), at }
}

/// The request of a review in a case; what the API server could not have sent is an error.
fn review_request(review: &Value) -> Result<&Value, String> {
    const REVIEW: [&str; 4] = ["apiVersion", "kind", "request", "response"];
    let unknown = |value: &Value, known: &[&str]| {
        value.as_object().and_then(|m| m.keys().find(|k| !known.contains(&k.as_str())).cloned())
    };
    let Some(request) = review.get("request").filter(|r| r.is_object()) else {
        return Err("the AdmissionReview has no `request`".to_owned());
    };
    if let Some(field) = unknown(review, &REVIEW).or_else(|| unknown(request, &REQUEST)) {
        return Err(format!("an AdmissionReview has no field `{field}`"));
    }
    let object = |key: &str| request.get(key).filter(|o| !o.is_null());
    if object("object").is_none() && object("oldObject").is_none() {
        return Err("the AdmissionReview has neither `object` nor `oldObject`".to_owned());
    }
    for key in ["object", "oldObject"] {
        let kind = |o: &Value| o.get("kind").and_then(Value::as_str).is_some_and(|k| !k.is_empty());
        if object(key).is_some_and(|o| !kind(o)) {
            return Err(format!("`request.{key}` of the AdmissionReview lacks `kind`"));
        }
    }
    if request.get("operation").and_then(Value::as_str) == Some("DELETE") && object("oldObject").is_none() {
        return Err("the AdmissionReview of a DELETE has no `oldObject`".to_owned());
    }
    Ok(request)
}
