//! One query over modules and data, as `opa eval` has it: for `eval --query` and the conformance cases.
//!
//! The engine is made the way every other is. Knows nothing of policies' METADATA beyond the Rego version, nor of
//! requests and failure modes.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use regorus::Value;
use regorus::utils::limits::ExecutionTimerConfig;
use serde_json::{Value as Json, json};

use crate::engine::check;
use crate::engine::compile::on_large_stack;
use crate::engine::evaluate::{self, World};
use crate::engine::parse::{Parsed, parse_all, surroundings};
use crate::engine::query_text::{self, QueryText, Statement};
use crate::engine::rewrite::{Originals, Places, Surroundings, rewrite_query};
use crate::engine::{HttpDoor, HttpSend, http};
use crate::policy::{LoadError, SourceFile};

pub use crate::engine::query_text::Scope;

/// The `input` document of a query.
#[derive(Debug, Clone, Default)]
pub enum QueryInput {
    /// `input` is undefined.
    #[default]
    Absent,
    /// A JSON document.
    Json(Json),
    /// A ground Rego term, which may hold what JSON cannot (sets, keys that are no strings).
    Term(String),
}

/// What a query is run over.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// Rego modules.
    pub modules: &'a [SourceFile],
    /// The `data` document: an object.
    pub data: Json,
    /// The `input` document.
    pub input: QueryInput,
    /// The query, such as `data.a.b = x`.
    pub text: &'a str,
    /// Whether an error of a builtin ends the query; otherwise the call is undefined.
    pub strict: bool,
    /// What `time.now_ns()` gives: nanoseconds since 1970-01-01 UTC.
    pub now_ns: i64,
    /// Seed of the random builtins.
    pub seed: u64,
    /// The query runs no longer.
    pub budget: Duration,
}

/// What a query came to.
#[derive(Debug, Clone)]
pub struct Answer {
    /// OPA's result document: `{"result": [{"expressions": [..], "bindings": {..}}]}`, without `result` when the query
    /// is undefined.
    pub document: Json,
    /// What `print` gave, in order.
    pub prints: Vec<String>,
}

/// Runs a query. Gives OPA's result document.
///
/// # Errors
/// What keeps a module from being loaded, or what ended the evaluation.
pub fn query(query: &Query<'_>) -> Result<Json, Vec<LoadError>> {
    query_in(query, &Scope::default(), None).map(|answer| answer.document)
}

/// Runs a query in a scope; `http.send` goes out by `http`. Errors of the query itself have no file.
///
/// # Errors
/// What keeps a module from being loaded, or what ended the evaluation.
pub fn query_in(query: &Query<'_>, scope: &Scope, http: Option<&Arc<dyn HttpDoor>>) -> Result<Answer, Vec<LoadError>> {
    on_large_stack(|| query_here(query, scope, http))
}

fn query_here(query: &Query<'_>, scope: &Scope, http: Option<&Arc<dyn HttpDoor>>) -> Result<Answer, Vec<LoadError>> {
    let mut errors = Vec::new();
    let parsed = parse_all(query.modules.iter(), &BTreeMap::new(), &mut errors);
    if !errors.is_empty() {
        errors.sort();
        return Err(errors);
    }
    let known = surroundings(parsed.iter().map(|m| (m.source.text.as_str(), m.version)));
    let text = read(query.text, scope, &parsed, &known).map_err(|e| vec![e])?;
    let send = if http.is_some() { HttpSend::Allow } else { HttpSend::Refuse };
    check(query, &parsed, &text, send)?;
    let until = Instant::now().checked_add(query.budget).unwrap_or_else(Instant::now);
    let (answer, _) = http::with_door(http, until, || evaluate::caught(|| run(query, &parsed, &text, &known)));
    answer.map_err(|fault| {
        let file = fault.location.as_ref().map_or("", |l| l.file.as_str());
        let file = if file.starts_with('<') { query_text::FILE } else { file };
        let unsafe_variable = fault.msg.strip_prefix("use of undefined variable `").and_then(|m| m.split('`').next());
        let error = match unsafe_variable {
            Some(name) => LoadError::new(file, "unsafe", format!("var {name} is unsafe")),
            None => LoadError::new(file, fault.code.as_str(), &fault.msg),
        };
        vec![fault.location.as_ref().map_or(error.clone(), |l| error.at(l.line, l.column))]
    })
}

/// What can be told without running it.
fn check(
    query: &Query<'_>,
    parsed: &[Parsed<'_>],
    text: &QueryText,
    http_send: HttpSend,
) -> Result<(), Vec<LoadError>> {
    let source = SourceFile { path: query_text::FILE.to_owned(), text: text.module.clone() };
    let of_query = Parsed {
        source: &source,
        places: Arc::new(Places::same(&source.text)),
        info: text.info.clone(),
        metadata: None,
        version: query_text::VERSION,
    };
    let mut packages = check::packages(parsed);
    let path = of_query.info.package.clone();
    let own = packages.entry(path.clone()).or_insert_with(|| check::Package { path, modules: Vec::new() });
    own.modules.push(&of_query);
    let nothing = serde_json::Map::new();
    let mut errors = check::check(&packages, query.data.as_object().unwrap_or(&nothing));
    // What is odd in a policy may be asked here: a reference to nothing is undefined, a rule beside a document of
    // the same name is an answer.
    errors.retain(|e| match e.code {
        "unknown_function" | "arity" => true,
        // `data` as a query holds the query itself only by our way of looking at it.
        "recursion" => e.file != query_text::FILE,
        _ => false,
    });
    if http_send == HttpSend::Refuse {
        errors.extend(http::calls(packages.values()));
    }
    for error in errors.iter_mut().filter(|e| e.file == query_text::FILE) {
        error.line = error.line.map(|line| line.saturating_sub(text.lines_before));
    }
    errors.sort();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The text of the query; one that the engine's parser cannot take is read as the engine is asked it.
fn read(text: &str, scope: &Scope, parsed: &[Parsed<'_>], known: &Surroundings) -> Result<QueryText, LoadError> {
    query_text::read(text, scope, parsed).or_else(|error| match rewrite_query(text, known) {
        Ok(rewritten) if rewritten != text => query_text::read(&rewritten, scope, parsed).map_err(|_| error),
        _ => Err(error),
    })
}

fn run(
    query: &Query<'_>,
    parsed: &[Parsed<'_>],
    text: &QueryText,
    known: &Surroundings,
) -> Result<Answer, evaluate::Fault> {
    let check_interval = NonZeroU32::MIN.saturating_add(63);
    let mut originals = Originals::default();
    parsed.iter().for_each(|m| originals.add(&m.source.path, &m.places));
    let fault = |e: anyhow::Error| originals.fault(evaluate::fault(&e));
    let asked = rewrite_query(&text.run, known).map_err(|misread| evaluate::Fault {
        code: crate::engine::ErrorCode::Evaluation,
        msg: misread.message,
        location: Some(crate::engine::Location {
            file: query_text::FILE.to_owned(),
            line: misread.line,
            column: misread.column,
        }),
    })?;
    let texts: Vec<&str> = parsed.iter().map(|m| m.places.text()).chain([asked.as_str()]).collect();
    let mut engine = evaluate::new_engine(query.strict, &texts).map_err(fault)?;
    for module in parsed {
        evaluate::add_module(&mut engine, &module.unit()).map_err(fault)?;
    }
    engine.set_rego_v0(false);
    engine.add_data(Value::from(query.data.clone())).map_err(fault)?;
    evaluate::set_world(World { now_ns: query.now_ns, seed: query.seed });
    engine.set_execution_timer_config(ExecutionTimerConfig { limit: query.budget, check_interval });
    match &query.input {
        QueryInput::Absent => {}
        QueryInput::Json(input) => engine.set_input(Value::from(input.clone())),
        QueryInput::Term(term) => {
            let input = evaluate_term(term).map_err(fault)?;
            engine.set_input(input);
        }
    }
    let results = evaluate::within_budget(engine.eval_query(asked, false)).map_err(|f| originals.fault(f))?;
    let rows: Vec<Json> =
        results.result.iter().filter(|r| holds(r, &text.statements)).map(|r| row(r, &text.statements)).collect();
    let document = if rows.is_empty() { json!({}) } else { json!({ "result": rows }) };
    let prints = engine.take_prints().unwrap_or_default();
    Ok(Answer { document, prints: prints.into_iter().map(without_place).collect() })
}

/// Whether all statements hold. Of one statement the value is the answer, even `false`; of several the engine gives
/// those before the one that does not hold.
fn holds(result: &regorus::QueryResult, statements: &[Statement]) -> bool {
    statements.len() < 2 || result.expressions.iter().all(|e| e.value != Value::Bool(false))
}

/// What was printed: the engine puts `file:line: ` before it.
fn without_place(line: String) -> String {
    let place = |rest: &str| {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        rest.get(digits..).filter(|_| digits > 0)?.strip_prefix(": ").map(str::to_owned)
    };
    line.match_indices(':').find_map(|(at, _)| place(line.get(at + 1..)?)).unwrap_or(line)
}

/// One row, with the statements as they were written.
fn row(result: &regorus::QueryResult, statements: &[Statement]) -> Json {
    let as_written = result.expressions.len() == statements.len();
    let expressions: Vec<Json> = result
        .expressions
        .iter()
        .enumerate()
        .map(|(index, e)| {
            let (text, row, col) = match statements.get(index).filter(|_| as_written) {
                Some(s) => (s.text.as_str(), s.row, s.col),
                None => (&*e.text, e.location.row, e.location.col),
            };
            json!({"value": json_of(&e.value), "text": text, "location": {"row": row, "col": col}})
        })
        .collect();
    match json_of(&result.bindings) {
        Json::Object(bindings) if !bindings.is_empty() => json!({"expressions": expressions, "bindings": bindings}),
        _ => json!({ "expressions": expressions }),
    }
}

/// Sets are arrays, keys are text. A number that is past what JSON numbers hold here, such as the modulus of a key, is
/// its digits as a string.
fn json_of(value: &Value) -> Json {
    let text = |key: &Value| match key {
        Value::String(text) => text.as_ref().to_owned(),
        other => json_of(other).to_string(),
    };
    match value {
        Value::Null | Value::Undefined => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::String(s) => Json::String(s.as_ref().to_owned()),
        Value::Array(items) => items.iter().map(json_of).collect(),
        Value::Set(items) => items.iter_sorted().map(json_of).collect(),
        Value::Object(map) => Json::Object(map.iter().map(|(k, v)| (text(k), json_of(v))).collect()),
        Value::Number(n) => serde_json::to_value(value).unwrap_or_else(|_| Json::String(n.format_decimal())),
    }
}

/// The value of a ground term.
pub(crate) fn evaluate_term(term: &str) -> anyhow::Result<Value> {
    let mut engine = evaluate::new_engine(true, &[term])?;
    let results = engine.eval_query(term.to_owned(), false)?;
    let value = results.result.into_iter().next().and_then(|r| r.expressions.into_iter().next()).map(|e| e.value);
    value.ok_or_else(|| anyhow::anyhow!("the input term is undefined"))
}

/// The bindings of the rows of a result document, in the order of evaluation.
#[must_use]
pub fn bindings(document: &Json) -> Vec<BTreeMap<String, Json>> {
    let rows = document.get("result").and_then(Json::as_array);
    let row = |row: &Json| {
        let bindings = row.get("bindings").and_then(Json::as_object);
        bindings.into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    rows.into_iter().flatten().map(row).collect()
}
