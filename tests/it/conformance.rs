//! OPA's conformance cases, where that folder is at hand, through the interpreter as every policy is run.
//!
//! `conformance-known.yaml` names the cases that fail, each with its reason; a case that passes though it is named
//! there is an error too, so the list only shrinks. `OPA_CONFORMANCE` names another folder; `CONFORMANCE=<part of a
//! note>` runs and shows only those cases.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use portcullis::engine::{Query, QueryInput, bindings, query};
use portcullis::policy::SourceFile;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    note: String,
    query: String,
    #[serde(default)]
    modules: Option<Vec<String>>,
    #[serde(default)]
    data: Option<Value>,
    #[serde(default)]
    input: Option<Value>,
    #[serde(default)]
    input_term: Option<String>,
    #[serde(default)]
    want_result: Option<Vec<BTreeMap<String, Value>>>,
    #[serde(default)]
    want_error: Option<String>,
    #[serde(default)]
    want_error_code: Option<String>,
    #[serde(default)]
    strict_error: bool,
    #[serde(default)]
    #[expect(dead_code, reason = "rows are compared in any order")]
    sort_bindings: bool,
    #[serde(default)]
    ignore_generated_vars: bool,
}

/// Deep rules and slow builds need room; policies run on stacks of their own too.
const STACK: usize = 64 << 20;

/// Notes are not unique: a second case of the same note gets `#2`.
fn load(dir: &Path) -> Vec<(String, Case)> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut paths: Vec<_> = fs::read_dir(dir).expect("a directory").flatten().map(|e| e.path()).collect();
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("readable");
        let file: File = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for case in file.cases {
            let count = seen.entry(case.note.clone()).or_default();
            *count += 1;
            let name = if *count == 1 { case.note.clone() } else { format!("{}#{count}", case.note) };
            cases.push((name, case));
        }
    }
    cases
}

/// Sorts arrays, since sets come out as arrays in an order of their own.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(sorted).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(map) => Value::Object(map.iter().map(|(k, v)| (k.clone(), sorted(v))).collect()),
        other => other.clone(),
    }
}

/// Numbers by their value: `1.0` is `1`.
fn same_numbers(value: Value) -> Value {
    match value {
        Value::Number(n) => match n.as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
            Some(f) if f.fract() == 0.0 && f.abs() < 9e15 => Value::from(f as i64),
            _ => Value::Number(n),
        },
        Value::Array(items) => Value::Array(items.into_iter().map(same_numbers).collect()),
        Value::Object(map) => Value::Object(map.into_iter().map(|(k, v)| (k, same_numbers(v))).collect()),
        other => other,
    }
}

fn check(case: &Case) -> Result<(), String> {
    let wants_error = case.want_error.is_some() || case.want_error_code.is_some();
    let modules: Vec<SourceFile> = case
        .modules
        .iter()
        .flatten()
        .enumerate()
        .map(|(n, text)| SourceFile { path: format!("module{n}.rego"), text: text.clone() })
        .collect();
    let input = match (&case.input_term, &case.input) {
        (Some(term), _) => QueryInput::Term(term.clone()),
        (None, Some(input)) => QueryInput::Json(input.clone()),
        (None, None) => QueryInput::Absent,
    };
    let data = case.data.clone().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    let outcome = query(&Query {
        modules: &modules,
        data,
        input,
        text: &case.query,
        strict: case.strict_error,
        now_ns: 1_780_000_000_000_000_000,
        seed: 1,
        budget: Duration::from_secs(20),
    });
    match (outcome, wants_error) {
        (Err(_), true) => Ok(()),
        (Ok(document), true) => {
            Err(format!("wanted an error ({}), got {document}", case.want_error.as_deref().unwrap_or("any")))
        }
        (Err(errors), false) => {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Err(format!("error: {}", errors.join("; ")))
        }
        (Ok(document), false) => {
            let wanted = case.want_result.clone().unwrap_or_default();
            let mut got = bindings(&document);
            if case.ignore_generated_vars {
                got.iter_mut().for_each(|row| row.retain(|k, _| !k.starts_with('$')));
            }
            let plain = |rows: Vec<BTreeMap<String, Value>>| {
                let rows = rows.into_iter().map(|r| Value::Object(r.into_iter().collect())).map(same_numbers);
                Value::Array(rows.collect())
            };
            let (wanted, got) = (plain(wanted), plain(got));
            // OPA compares sets as sets; JSON knows only arrays.
            let same = wanted == got || sorted(&wanted) == sorted(&got);
            if same { Ok(()) } else { Err(format!("wanted {wanted}\n     got    {got}")) }
        }
    }
}

#[test]
fn opa_conformance_cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = std::env::var_os("OPA_CONFORMANCE")
        .map_or_else(|| root.join("../shared/data/opa-conformance"), std::path::PathBuf::from);
    if !dir.is_dir() {
        println!("skipped: no folder {}", dir.display());
        return;
    }
    let known: BTreeMap<String, String> = {
        let text =
            fs::read_to_string(root.join("tests/it/conformance-known.yaml")).expect("the list of known failures");
        serde_saphyr::from_str(&text).expect("note: reason")
    };
    let only = std::env::var("CONFORMANCE").ok();
    let mut cases = load(&dir);
    cases.retain(|(name, _)| only.as_ref().is_none_or(|part| name.contains(part)));
    let total = cases.len();
    let worker = std::thread::Builder::new().stack_size(STACK).spawn(move || {
        cases
            .into_iter()
            .map(|(name, case)| {
                let outcome = check(&case);
                (name, outcome)
            })
            .collect::<Vec<_>>()
    });
    let outcomes = worker.expect("a thread").join().expect("no panic");
    let mut wrong = Vec::new();
    for (name, outcome) in &outcomes {
        match (outcome, known.get(name)) {
            (Err(why), None) => wrong.push(format!("{name}\n     {why}")),
            (Ok(()), Some(_)) => wrong.push(format!("{name}\n     passes, but stands in conformance-known.yaml")),
            (Err(_), Some(_)) | (Ok(()), None) => {}
        }
    }
    if only.is_none() {
        for name in known.keys().filter(|k| !outcomes.iter().any(|(name, _)| name == *k)) {
            wrong.push(format!("{name}\n     stands in conformance-known.yaml, but there is no such case"));
        }
    }
    println!("{total} cases, {} known failures, {} wrong", known.len(), wrong.len());
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
