//! `portcullis eval --query`: one query over Rego, data and an input, as `opa eval` runs it and prints it.
//!
//! Formats and error codes are OPA's (`cmd/eval.go`, `internal/presentation`). Must not know of requests and policies'
//! METADATA.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::cli::eval::{EvalArgs, Output, table};
use crate::cli::{Exit, now_ns};
use crate::engine::{Query, QueryInput, Scope, query_in};
use crate::policy::{LoadError, yaml};
use crate::source;
use crate::units::Span;

/// A query without `--timeout` is stopped after a day: whoever waits longer has forgotten it.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Args)]
#[command(next_help_heading = "Query, as `opa eval`")]
pub(super) struct QueryArgs {
    /// Evaluate a query instead of judging: `data.kubernetes.admission.deny`, `x := 1; y := x + 1`.
    ///
    /// Nothing is loaded but what --policies and --data name: --data takes Rego, data files and directories, each
    /// with an optional prefix (`a.b:file.json`), as `opa eval --data` does.
    #[arg(short, long, value_name = "QUERY", conflicts_with_all = ["files", "operation", "old", "namespace_labels", "group"])]
    pub(super) query: Option<String>,
    /// The `input` document, JSON or YAML; `-` is standard input.
    #[arg(short, long, value_name = "FILE", requires = "query")]
    input: Option<PathBuf>,
    /// Package whose rules the query may name without a path.
    #[arg(long, value_name = "PACKAGE", requires = "query")]
    package: Option<String>,
    /// Import for the query: `data.lib.net`, `input.request as req`; may be given more than once.
    #[arg(long, value_name = "PATH", requires = "query")]
    import: Vec<String>,
    /// An error of a builtin ends the query; otherwise the call is undefined.
    #[arg(long, requires = "query")]
    strict_builtin_errors: bool,
    /// Exit with 1 when the result is undefined.
    #[arg(long, requires = "query", conflicts_with = "fail_defined")]
    fail: bool,
    /// Exit with 1 when the result is defined.
    #[arg(long, requires = "query")]
    fail_defined: bool,
    /// Stop the query after this time.
    #[arg(long, value_name = "DURATION", requires = "query")]
    timeout: Option<Span>,
    /// Cells of `pretty` tables are cut at this many characters; 0 cuts nothing.
    #[arg(long, value_name = "N", default_value_t = 80, requires = "query")]
    pretty_limit: usize,
}

/// The result document. The order of fields is OPA's.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct ResultSet {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) result: Vec<Row>,
}

/// One way in which the query holds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) expressions: Vec<Expression>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(super) bindings: Map<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Expression {
    pub(super) value: Value,
    pub(super) text: String,
    location: Place,
}

#[derive(Debug, Serialize, Deserialize)]
struct Place {
    row: u32,
    col: u32,
}

/// What errors are told by.
struct Asked<'a> {
    text: &'a str,
    output: Output,
    strict: bool,
}

/// Runs the query of `args` and prints what it came to.
///
/// # Errors
/// An input that cannot be read. What is wrong with query, Rego or data is printed in OPA's form.
pub(super) fn run(args: &EvalArgs, text: &str) -> anyhow::Result<Exit> {
    let query = &args.query;
    let output = args.output.unwrap_or(Output::Json);
    let asked = Asked { text, output, strict: query.strict_builtin_errors };
    let sources = match source::load_for_query(&args.policies.policies, &args.policies.data) {
        Ok(sources) => sources,
        Err(errors) => return Ok(report(&errors, &asked)),
    };
    let input = query.input.as_deref().map(read_input).transpose()?;
    let scope = Scope { package: query.package.clone(), imports: query.import.clone() };
    let answer = query_in(
        &Query {
            modules: &sources.modules,
            data: Value::Object(sources.data),
            input: input.map_or(QueryInput::Absent, QueryInput::Json),
            text,
            strict: query.strict_builtin_errors,
            now_ns: now_ns(),
            seed: now_ns().unsigned_abs(),
            budget: query.timeout.map_or(LONGEST, |t| t.0.min(LONGEST)),
        },
        &scope,
        args.http.door()?.as_ref(),
    );
    let answer = match answer {
        Ok(answer) => answer,
        Err(errors) => return Ok(report(&errors, &asked)),
    };
    answer.prints.iter().for_each(|line| eprintln!("{line}"));
    let found: ResultSet = serde_json::from_value(answer.document)?;
    print(&found, output, query.pretty_limit)?;
    let defined = !found.result.is_empty();
    let failed = (query.fail && !defined) || (query.fail_defined && defined);
    Ok(if failed { Exit::Finding } else { Exit::Fine })
}

fn read_input(path: &Path) -> anyhow::Result<Value> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    } else {
        text = std::fs::read_to_string(path).with_context(|| format!("--input: cannot read `{}`", path.display()))?;
    }
    match serde_json::from_str(&text) {
        Ok(input) => Ok(input),
        Err(e) if text.trim_start().starts_with(['{', '[']) => {
            anyhow::bail!("--input: `{}` is not JSON: {e}", path.display())
        }
        Err(_) => Ok(yaml::parse(&path.display().to_string(), &text, yaml::Offset::default())?),
    }
}

fn print(found: &ResultSet, output: Output, limit: usize) -> serde_json::Result<()> {
    let rows = &found.result;
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(found)?),
        Output::Discard => {
            let document = if rows.is_empty() { json!({}) } else { json!({"result": "discarded"}) };
            println!("{document:#}");
        }
        Output::Pretty => print!("{}", table::pretty(rows, limit)),
        Output::Raw => {
            for row in rows {
                let value = |e: &Expression| e.value.as_str().map_or_else(|| e.value.to_string(), str::to_owned);
                println!("{}", row.expressions.iter().map(value).collect::<Vec<_>>().join(" "));
            }
        }
        Output::Values => {
            for row in rows {
                let values: Vec<&Value> = row.expressions.iter().map(|e| &e.value).collect();
                println!("{}", serde_json::to_string_pretty(&values)?);
            }
        }
        Output::Bindings => {
            for row in rows {
                println!("{}", serde_json::to_string_pretty(&row.bindings)?);
            }
        }
    }
    Ok(())
}

/// Prints errors: as OPA's document where a document is wanted, else as text on stderr.
fn report(errors: &[LoadError], asked: &Asked<'_>) -> Exit {
    let output = asked.output;
    if matches!(output, Output::Json | Output::Discard) {
        let errors: Vec<Value> = errors.iter().map(|e| error_json(e, asked)).collect();
        println!("{:#}", json!({ "errors": errors }));
    } else {
        let lines: Vec<String> = errors.iter().map(|e| sentence(e, asked)).collect();
        match lines.as_slice() {
            [one] => eprintln!("1 error occurred: {one}"),
            many => eprintln!("{} errors occurred:\n{}", many.len(), many.join("\n")),
        }
    }
    Exit::CouldNotRun
}

fn error_json(error: &LoadError, asked: &Asked<'_>) -> Value {
    let mut json = json!({"message": error.message});
    let code = code(error, asked);
    if let Some(map) = json.as_object_mut() {
        if !code.is_empty() {
            map.insert("code".to_owned(), code.into());
        }
        if let Some(row) = error.line {
            let col = error.column.unwrap_or(1);
            map.insert("location".to_owned(), json!({"file": error.file, "row": row, "col": col}));
            let line = asked.text.lines().nth(row.saturating_sub(1) as usize);
            if let Some(line) = line.filter(|_| error.file.is_empty() && code == "rego_parse_error") {
                map.insert("details".to_owned(), json!({"line": line, "idx": col.saturating_sub(1)}));
            }
        } else if !error.file.is_empty() {
            map.insert("message".to_owned(), format!("{}: {}", error.file, error.message).into());
        }
    }
    json
}

/// `file:row: code: message`, as OPA writes it; the query has no file.
fn sentence(error: &LoadError, asked: &Asked<'_>) -> String {
    let code = code(error, asked);
    let code = if code.is_empty() { String::new() } else { format!("{code}: ") };
    match (error.file.as_str(), error.line) {
        ("", Some(row)) => format!("{row}:{}: {code}{}", error.column.unwrap_or(1), error.message),
        ("", None) => format!("{code}{}", error.message),
        (file, Some(row)) => format!("{file}:{row}: {code}{}", error.message),
        (file, None) => format!("{file}: {code}{}", error.message),
    }
}

/// OPA's code of an error; empty where OPA has none, as for files that cannot be read.
fn code(error: &LoadError, asked: &Asked<'_>) -> &'static str {
    let strict = asked.strict;
    let says = |words: &[&str]| words.iter().any(|w| error.message.contains(w));
    match error.code {
        "rego" | "nesting" => "rego_parse_error",
        "unknown_function" | "arity" | "http" => "rego_type_error",
        "recursion" => "rego_recursion_error",
        "unsafe" => "rego_unsafe_var_error",
        "evaluation" if says(&["multiple outputs", "conflict", "produces multiple"]) => "eval_conflict_error",
        "evaluation" if strict || error.message.starts_with('`') => "eval_builtin_error",
        "budget" => "eval_cancel_error",
        "evaluation" | "panic" | "output" => "eval_internal_error",
        _ => "",
    }
}
