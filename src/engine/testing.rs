//! Rego tests, by OPA's conventions: `test_*` rules pass when they are true, `todo_test_*` rules are skipped, a
//! partial rule `test_x[case]` is a table whose cases each must hold. A test that fails says at which expression.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use regorus::unstable::{Expr, Query, Ref, Rule, RuleHead};
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};

use crate::engine::Location;
use crate::engine::check;
use crate::engine::evaluate::{self, Fault, UnitModule, World, rego_path};
use crate::engine::parse::{Parsed, parse_all};
use crate::engine::rewrite::Places;
use crate::engine::syntax;
use crate::engine::{meter, scan};
use crate::policy::{Budget, BuiltinErrors, LoadError, RegoVersion, Sources};

/// No single test runs longer.
const TEST_BUDGET: Duration = Duration::from_secs(10);

/// How a test ended.
#[derive(Debug, Clone, PartialEq)]
pub enum TestEnding {
    /// It is true.
    Pass,
    /// It is not; with the expression that did not hold, if there is one.
    Fail {
        /// Where the expression stands.
        at: Option<Location>,
        /// Its text.
        expression: String,
    },
    /// It could not be evaluated.
    Error {
        /// Where.
        at: Option<Location>,
        /// Why.
        msg: String,
    },
    /// It is marked `todo_`.
    Skip,
}

/// One test with its result.
#[derive(Debug, Clone, PartialEq)]
pub struct TestResult {
    /// `data.<package>.test_<name>`, for a case of a table with `[case]`.
    pub name: String,
    /// Where it stands.
    pub at: Location,
    /// How it ended.
    pub ending: TestEnding,
    /// How long it took.
    pub took: Duration,
    /// What it printed, each with its place.
    pub prints: Vec<String>,
}

/// Lines of one file that tests did or did not reach; only lines that hold an expression count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCoverage {
    /// The file.
    pub file: String,
    /// Lines that were evaluated.
    pub covered: Vec<u32>,
    /// Lines that were not.
    pub not_covered: Vec<u32>,
}

/// All results.
#[derive(Debug, Clone)]
pub struct TestReport {
    /// In the order of files and lines.
    pub results: Vec<TestResult>,
    /// Coverage of the files that hold no tests.
    pub coverage: Vec<FileCoverage>,
}

/// Runs the tests that `wanted` takes by name.
///
/// `now_ns` is what `time.now_ns()` gives; tests that depend on it say `with time.now_ns as`.
///
/// # Errors
/// Everything that keeps the files, tests included, from being loaded.
pub fn run_tests(sources: &Sources, wanted: &dyn Fn(&str) -> bool, now_ns: i64) -> Result<TestReport, Vec<LoadError>> {
    let mut errors = Vec::new();
    let parsed = parse_all(sources.modules.iter(), &sources.rego_versions, &mut errors);
    let packages = check::packages(&parsed);
    if errors.is_empty() {
        errors.extend(check::check(&packages, &sources.data));
    }
    if !errors.is_empty() {
        errors.sort();
        return Err(errors);
    }
    let data = Value::from(serde_json::Value::Object(sources.data.clone()));
    let mut benches: BTreeMap<bool, Bench> = BTreeMap::new();
    for strict in [true, false] {
        let bench = Bench::new(&parsed, &data, strict).map_err(|fault| {
            let at = fault.location.clone();
            let error = LoadError::new(at.as_ref().map_or("", |l| &l.file), "rego", &fault.msg);
            vec![at.map_or(error.clone(), |l| error.at(l.line, l.column))]
        })?;
        benches.insert(strict, bench);
    }
    let mut results = Vec::new();
    for package in packages.values() {
        // What a test sees of builtin errors is what its policy sees.
        let strict =
            check::closure(package, &packages).iter().filter_map(|p| p.metadata()).any(|m| match m.builtin_errors {
                Some(choice) => choice == BuiltinErrors::Strict,
                None => m.has_custom,
            });
        let Some(bench) = benches.get_mut(&strict) else { continue };
        bench.run_package(&package.path, wanted, now_ns, &mut results);
    }
    results.sort_by(|a, b| (&a.at, &a.name).cmp(&(&b.at, &b.name)));
    let coverage = coverage(&benches, &parsed);
    Ok(TestReport { results, coverage })
}

/// What is wrong with the test files alone; they are no part of a policy set, so compiling does not look at them.
#[must_use]
pub fn check_tests(sources: &Sources) -> Vec<LoadError> {
    let mut errors = Vec::new();
    let parsed = parse_all(sources.modules.iter(), &sources.rego_versions, &mut errors);
    errors.extend(check::check(&check::packages(&parsed), &sources.data));
    errors
}

/// All modules in one engine, with the tests found in them.
struct Bench {
    engine: Engine,
    texts: BTreeMap<String, Text>,
}

/// A module as the engine reads it.
struct Text {
    places: Arc<Places>,
    version: RegoVersion,
}

/// A test rule with all its definitions.
struct Test {
    name: String,
    at: Location,
    definitions: Vec<Ref<Rule>>,
}

impl Bench {
    fn new(parsed: &[Parsed<'_>], data: &Value, strict: bool) -> Result<Self, Fault> {
        let all: Vec<&str> = parsed.iter().map(|m| m.places.text()).collect();
        let mut engine = evaluate::new_engine(strict, &all).map_err(|e| evaluate::fault(&e))?;
        let mut texts = BTreeMap::new();
        for module in parsed {
            evaluate::add_module(&mut engine, &module.unit()).map_err(|e| evaluate::fault(&e))?;
            let text = Text { places: Arc::clone(&module.places), version: module.version };
            texts.entry(module.source.path.clone()).or_insert(text);
        }
        engine.set_rego_v0(false);
        engine.add_data(data.clone()).map_err(|e| evaluate::fault(&e))?;
        engine.set_enable_coverage(true);
        engine.set_execution_timer_config(ExecutionTimerConfig { limit: TEST_BUDGET, check_interval: NonZeroU32::MIN });
        Ok(Self { engine, texts })
    }

    /// A place in what the engine reads as one in the author's text.
    fn place(&self, mut at: Location) -> Location {
        if let Some(text) = self.texts.get(&at.file) {
            text.places.place(&mut at);
        }
        at
    }

    fn run_package(
        &mut self,
        package: &[String],
        wanted: &dyn Fn(&str) -> bool,
        now_ns: i64,
        results: &mut Vec<TestResult>,
    ) {
        evaluate::set_world(World { now_ns, seed: 0 });
        for test in self.tests(package) {
            let full = format!("data.{}.{}", package.join("."), test.name);
            if !wanted(&full) {
                continue;
            }
            if test.name.starts_with("todo_") {
                let (name, at) = (full, test.at);
                results.push(TestResult {
                    name,
                    at,
                    ending: TestEnding::Skip,
                    took: Duration::ZERO,
                    prints: Vec::new(),
                });
                continue;
            }
            self.run_test(package, &test, full, results);
        }
    }

    fn tests(&mut self, package: &[String]) -> Vec<Test> {
        let mut found: Vec<Test> = Vec::new();
        let modules = self.engine.get_modules().clone();
        for module in modules.iter() {
            if syntax::package(module) != package {
                continue;
            }
            for rule in &module.policy {
                let Rule::Spec { head, .. } = rule.as_ref() else { continue };
                let refr = match head {
                    RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. } => refr,
                    RuleHead::Func { .. } => continue,
                };
                let Some((name, at)) = syntax::rule_name(refr) else { continue };
                let at = self.place(at);
                if !name.starts_with("test_") && !name.starts_with("todo_test_") {
                    continue;
                }
                match found.iter_mut().find(|t| t.name == name) {
                    Some(test) => test.definitions.push(rule.clone()),
                    None => found.push(Test { name, at, definitions: vec![rule.clone()] }),
                }
            }
        }
        found
    }

    fn run_test(&mut self, package: &[String], test: &Test, full: String, results: &mut Vec<TestResult>) {
        let started = Instant::now();
        meter::begin(&Budget::default());
        let value = self.eval(&format!("{}.{}", rego_path(package), test.name));
        let took = started.elapsed();
        let prints = self.engine.take_prints().unwrap_or_default();
        let result =
            |name: String, ending| TestResult { name, at: test.at.clone(), ending, took, prints: prints.clone() };
        // Where builtin errors are undefined, the engine lets a limit inside a function pass as one of them.
        let late = || Fault {
            code: crate::engine::ErrorCode::Budget,
            msg: format!("the test took longer than its {} s", TEST_BUDGET.as_secs()),
            location: None,
        };
        let value = if took < TEST_BUDGET { value } else { value.and_then(|_| Err(late())) };
        let value = match value {
            Err(fault) => {
                results.push(result(full, TestEnding::Error { at: fault.location, msg: fault.msg }));
                return;
            }
            Ok(value) => value,
        };
        let full_cases: Result<Vec<Vec<Value>>, Fault> =
            test.definitions.iter().filter(|d| has_key(d)).map(|d| self.cases(package, d)).collect();
        let cases: Vec<Value> = match full_cases {
            Ok(cases) => cases.into_iter().flatten().collect(),
            Err(fault) => {
                results.push(result(full, TestEnding::Error { at: Some(test.at.clone()), msg: fault.msg }));
                return;
            }
        };
        if cases.is_empty() {
            let holds = match &value {
                Value::Bool(holds) => *holds,
                Value::Object(map) => !map.is_empty() && map.values().all(|v| *v == Value::from(true)),
                _ => false,
            };
            let ending = if holds { self.every_definition(package, test) } else { self.failure(package, test) };
            results.push(result(full, ending));
            return;
        }
        for case in cases {
            let holds = match &value {
                Value::Object(map) => map.get(&case) == Some(&Value::from(true)),
                Value::Set(items) => items.contains(&case),
                _ => false,
            };
            let name = format!("{full}[{}]", case.to_json_str().unwrap_or_default());
            let expression = "the case does not hold".to_owned();
            let ending =
                if holds { TestEnding::Pass } else { TestEnding::Fail { at: Some(test.at.clone()), expression } };
            results.push(result(name, ending));
        }
    }

    /// Of two tests of one name, the one that holds does not stand for the other.
    fn every_definition(&self, package: &[String], test: &Test) -> TestEnding {
        if test.definitions.len() < 2 {
            return TestEnding::Pass;
        }
        for definition in &test.definitions {
            let Rule::Spec { bodies, .. } = definition.as_ref() else { continue };
            let holds = bodies.is_empty()
                || bodies.iter().any(|b| {
                    self.statements(&b.query, b.query.stmts.len())
                        .and_then(|body| self.probe(package, &b.query, &format!("probe if {{\n{body}\n}}\n")).ok())
                        .is_some_and(|value| value == Value::from(true))
                });
            if !holds {
                let single =
                    Test { name: test.name.clone(), at: test.at.clone(), definitions: vec![definition.clone()] };
                return self.failure(package, &single);
            }
        }
        TestEnding::Pass
    }

    fn eval(&mut self, path: &str) -> Result<Value, Fault> {
        let engine = &mut self.engine;
        let run = AssertUnwindSafe(|| evaluate::within_budget(engine.eval_rule(path.to_owned())));
        catch_unwind(run).unwrap_or_else(|_| {
            let msg = "the evaluation panicked".to_owned();
            Err(Fault { code: crate::engine::ErrorCode::Panic, msg, location: None })
        })
    }

    /// The cases of a table: all values that the key in the head takes where the body has bound it.
    ///
    /// The engine does not say which statement binds it, so the first ones are tried, then one more, until the key is
    /// no free variable. Those that follow may fail a case, but not hide it.
    fn cases(&self, package: &[String], rule: &Ref<Rule>) -> Result<Vec<Value>, Fault> {
        let unclear = |msg: &str| Fault {
            code: crate::engine::ErrorCode::Evaluation,
            msg: format!("the cases of the table cannot be told: {msg}"),
            location: None,
        };
        let (key, query) = match table_key(rule) {
            None => return Err(unclear("write a variable in the brackets")),
            Some(Key::Constant(value)) => return Ok(vec![value]),
            Some(Key::Bound { key, query }) => (key, query),
        };
        let mut fault = None;
        for count in 1..=query.stmts.len() {
            let Some(body) = self.statements(query, count) else { continue };
            match self.probe(package, query, &format!("probe contains {key} if {{\n{body}\n}}\n")) {
                Ok(Value::Set(items)) if !items.is_empty() => return Ok(items.iter_sorted().cloned().collect()),
                Ok(_) => fault = None,
                Err(found) => fault = Some(found),
            }
        }
        match fault {
            None => Ok(Vec::new()),
            Some(fault) => Err(unclear(&fault.msg)),
        }
    }

    /// Why a test is not true: the first statement up to which its body does not hold.
    fn failure(&self, package: &[String], test: &Test) -> TestEnding {
        let Some(Rule::Spec { bodies, .. }) = test.definitions.first().map(std::ops::Deref::deref) else {
            return TestEnding::Fail { at: Some(test.at.clone()), expression: String::new() };
        };
        let queries = bodies.iter().map(|b| &b.query);
        for query in queries {
            for count in 1..=query.stmts.len() {
                let Some(body) = self.statements(query, count) else { break };
                let holds = self.probe(package, query, &format!("probe if {{\n{body}\n}}\n"));
                let Some(stmt) = query.stmts.get(count - 1) else { break };
                let at = Some(self.place(syntax::location(&stmt.span)));
                match holds {
                    Ok(Value::Undefined) => {
                        let before = self.statements(query, count - 1).unwrap_or_default();
                        let expression = self.written(query, &body, before.len());
                        return TestEnding::Fail { at, expression };
                    }
                    Err(fault) => return TestEnding::Error { at, msg: fault.msg },
                    Ok(_) => {}
                }
            }
        }
        TestEnding::Fail { at: Some(test.at.clone()), expression: "the value of the rule is not true".to_owned() }
    }

    /// What the author wrote of the statements of a body from a byte on.
    fn written(&self, query: &Ref<Query>, body: &str, from: usize) -> String {
        let rest = body.get(from..).unwrap_or(body);
        let expression = rest.trim().trim_start_matches(';').trim();
        let within = body.len() - rest.len() + rest.find(expression).unwrap_or_default();
        let first = query.stmts.first().and_then(|s| usize::try_from(s.span.start).ok());
        let text = query.stmts.first().and_then(|s| self.texts.get(s.span.source.file()));
        let written = first.zip(text).map(|(first, text)| {
            let start = first + within;
            text.places.written(start..start + expression.len())
        });
        written.filter(|w| !w.is_empty()).unwrap_or(expression).to_owned()
    }

    /// The text of the first `count` statements of a body.
    fn statements(&self, query: &Ref<Query>, count: usize) -> Option<String> {
        let first = query.stmts.first()?;
        let text = self.texts.get(first.span.source.file())?.places.text();
        let from = usize::try_from(first.span.start).ok()?;
        let to = match query.stmts.get(count) {
            Some(next) => next.span.start,
            None => query.span.end.max(query.stmts.last()?.span.end),
        };
        let body = text.get(from..usize::try_from(to).ok()?)?.trim_end();
        if count == 0 {
            return Some(String::new());
        }
        // The last statement is followed by the brace of the body, unless the body is a single expression.
        let mut body = body.trim_end_matches(';');
        while scan::surplus_closers(body) > 0 {
            body = body.strip_suffix('}')?.trim_end();
        }
        Some(body.to_owned())
    }

    /// Evaluates one more rule, `probe`, beside the module that `query` stands in.
    fn probe(&self, package: &[String], query: &Ref<Query>, rule: &str) -> Result<Value, Fault> {
        let file = query.span.source.file();
        let (text, version) = match self.texts.get(file) {
            Some(text) => (text.places.text(), text.version),
            None => ("", RegoVersion::default()),
        };
        let mut engine = self.engine.clone();
        engine.set_enable_coverage(false);
        let head: String = text.lines().filter(|l| l.starts_with("package ") || l.starts_with("import ")).fold(
            String::new(),
            |mut head, line| {
                head.push_str(line);
                head.push('\n');
                head
            },
        );
        let rule = rule.replacen("probe", "portcullis_probe", 1);
        let places = Arc::new(Places::same(&format!("{head}{rule}")));
        evaluate::add_module(&mut engine, &UnitModule { path: "probe", places: &places, version })
            .map_err(|e| evaluate::fault(&e))?;
        let path = format!("{}.portcullis_probe", rego_path(package));
        engine.eval_rule(path).map_err(|e| evaluate::fault(&e))
    }
}

/// What stands in the brackets of `test_x[case] if { .. }` (or after `test_x contains`).
enum Key<'a> {
    /// The name of the one case.
    Constant(Value),
    /// An expression, with the body that gives it its values.
    Bound { key: String, query: &'a Ref<Query> },
}

fn has_key(rule: &Ref<Rule>) -> bool {
    key_of(rule).is_some()
}

fn key_of(rule: &Ref<Rule>) -> Option<&Ref<Expr>> {
    let Rule::Spec { head, .. } = rule.as_ref() else { return None };
    match head {
        RuleHead::Set { key: Some(key), .. } => Some(key),
        RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. } => match refr.as_ref() {
            Expr::RefBrack { index, .. } => Some(index),
            _ => None,
        },
        RuleHead::Func { .. } => None,
    }
}

fn table_key(rule: &Ref<Rule>) -> Option<Key<'_>> {
    let Rule::Spec { bodies, .. } = rule.as_ref() else { return None };
    let key = key_of(rule)?;
    match key.as_ref() {
        Expr::String { value, .. } | Expr::RawString { value, .. } | Expr::Number { value, .. } => {
            Some(Key::Constant(value.clone()))
        }
        _ => Some(Key::Bound { key: syntax::plain_path(key)?, query: &bodies.first()?.query }),
    }
}

fn coverage(benches: &BTreeMap<bool, Bench>, parsed: &[Parsed<'_>]) -> Vec<FileCoverage> {
    let mut lines: BTreeMap<String, BTreeMap<u32, bool>> = BTreeMap::new();
    for bench in benches.values() {
        let Ok(report) = bench.engine.get_coverage_report() else { continue };
        for file in report.files {
            let tested = parsed.iter().any(|p| p.source.path == file.path && !p.source.is_test());
            if !tested {
                continue;
            }
            let of_file = lines.entry(file.path).or_default();
            for line in file.not_covered {
                of_file.entry(line).or_insert(false);
            }
            for line in file.covered {
                of_file.insert(line, true);
            }
        }
    }
    let pick = |lines: &BTreeMap<u32, bool>, wanted: bool| {
        lines.iter().filter(|(_, c)| **c == wanted).map(|(l, _)| *l).collect()
    };
    lines
        .into_iter()
        .map(|(file, lines)| FileCoverage { file, covered: pick(&lines, true), not_covered: pick(&lines, false) })
        .collect()
}
