//! One query over modules and data, as `opa eval` has it: for `eval --query` and the conformance cases.
//!
//! The engine is made the way every other is. Knows nothing of policies' METADATA beyond the Rego version, nor of
//! requests and failure modes.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use regorus::Value;
use regorus::utils::limits::ExecutionTimerConfig;
use serde_json::{Value as Json, json};

use crate::engine::check;
use crate::engine::compile::{Parsed, parse};
use crate::engine::evaluate::{self, UnitModule, World};
use crate::engine::outputs;
use crate::policy::{LoadError, SourceFile};

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

/// Runs a query. Gives OPA's result document: `{"result": [{"expressions": [..], "bindings": {..}}]}`, without
/// `result` when the query is undefined.
///
/// # Errors
/// What keeps a module from being loaded, or what ended the evaluation.
pub fn query(query: &Query<'_>) -> Result<Json, Vec<LoadError>> {
    let mut errors = Vec::new();
    let parsed: Vec<Parsed<'_>> =
        query.modules.iter().filter_map(|m| parse(m).map_err(|e| errors.push(e)).ok()).collect();
    if errors.is_empty() {
        let nothing = serde_json::Map::new();
        errors = check::check(&check::packages(&parsed), query.data.as_object().unwrap_or(&nothing));
        // What is odd in a policy may be asked here: a reference to nothing is undefined, a rule beside a document of
        // the same name is an answer.
        errors.retain(|e| ["unknown_function", "arity", "recursion"].contains(&e.code));
    }
    if !errors.is_empty() {
        errors.sort();
        return Err(errors);
    }
    evaluate::caught(|| run(query, &parsed)).map_err(|fault| {
        let file = fault.location.as_ref().map_or("", |l| l.file.as_str());
        let error = LoadError::new(file, fault.code.as_str(), &fault.msg);
        vec![fault.location.as_ref().map_or(error.clone(), |l| error.at(l.line, l.column))]
    })
}

fn run(query: &Query<'_>, parsed: &[Parsed<'_>]) -> Result<Json, evaluate::Fault> {
    let check_interval = NonZeroU32::MIN.saturating_add(63);
    let fault = |e: anyhow::Error| evaluate::fault(&e);
    let texts: Vec<&str> = parsed.iter().map(|m| m.source.text.as_str()).chain([query.text]).collect();
    let mut engine = evaluate::new_engine(query.strict, &texts).map_err(fault)?;
    for module in parsed {
        let unit = UnitModule { path: &module.source.path, text: &module.text, version: module.version };
        evaluate::add_module(&mut engine, &unit).map_err(fault)?;
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
    let text = outputs::rewrite_query(query.text).unwrap_or_else(|| query.text.to_owned());
    let results = evaluate::within_budget(engine.eval_query(text, false))?;
    let rows: Vec<Json> = results.result.iter().map(row).collect();
    Ok(if rows.is_empty() { json!({}) } else { json!({ "result": rows }) })
}

fn row(result: &regorus::QueryResult) -> Json {
    let expressions: Vec<Json> = result
        .expressions
        .iter()
        .map(|e| json!({"value": json_of(&e.value), "text": &*e.text, "location": {"row": e.location.row, "col": e.location.col}}))
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
