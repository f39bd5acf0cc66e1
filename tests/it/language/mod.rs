//! Case files for the language: modules with OPA's answers where the engine by itself gives others.
//!
//! `want` is the value of `data.t.p`; without it the rule is undefined. `error` is a part of what the policy ends with,
//! `strict` of what it ends with where builtin errors are errors (undefined where they are not).

use std::time::Duration;

use portcullis::engine::{Query, QueryInput, bindings, compare_rules, query};
use portcullis::policy::SourceFile;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    note: String,
    /// What follows `package t`; further modules are whole.
    rego: Modules,
    #[serde(default)]
    v0: bool,
    #[serde(default)]
    input: Option<Value>,
    #[serde(default)]
    want: Option<Value>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    strict: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Modules {
    One(String),
    Many(Vec<String>),
}

/// What a case comes to: one way to run it.
type Way = fn(&Case, bool) -> Result<Option<Value>, String>;

fn interpreter(case: &Case, strict: bool) -> Result<Option<Value>, String> {
    let metadata = if case.v0 { "# METADATA\n# custom:\n#   regoVersion: v0\n" } else { "" };
    let texts = match &case.rego {
        Modules::One(text) => vec![text],
        Modules::Many(texts) => texts.iter().collect(),
    };
    let module = |(n, text): (usize, &String)| {
        let head = if n == 0 { format!("{metadata}package t\n") } else { String::new() };
        SourceFile { path: format!("{n}.rego"), text: format!("{head}{text}") }
    };
    let modules: Vec<SourceFile> = texts.into_iter().enumerate().map(module).collect();
    let asked = Query {
        modules: &modules,
        data: Value::Object(serde_json::Map::new()),
        input: case.input.clone().map_or(QueryInput::Absent, QueryInput::Json),
        text: "x = data.t.p",
        strict,
        now_ns: 1_780_000_000_000_000_000,
        seed: 1,
        budget: Duration::from_secs(20),
    };
    // Where a plan takes a rule of the case, its answer is the interpreter's.
    if let Ok(found) = compare_rules(&asked) {
        assert!(found.differing.is_empty(), "{}: {:?}", case.note, found.differing);
    }
    let document = query(&asked);
    let document = document.map_err(|e| e.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    Ok(bindings(&document).into_iter().next().and_then(|mut row| row.remove("x")))
}

fn check(file: &str, text: &str, way: Way) {
    let cases: Vec<Case> = serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{file}: {e}"));
    assert!(!cases.is_empty(), "{file} holds no cases");
    let mut wrong = Vec::new();
    for case in &cases {
        let (strict, loose) = (way(case, true), way(case, false));
        let holds = |got: &Result<Option<Value>, String>, error: Option<&String>| match (got, error) {
            (Err(got), Some(error)) => got.contains(error.as_str()),
            (Ok(got), None) => *got == case.want,
            _ => false,
        };
        if !holds(&loose, case.error.as_ref()) || !holds(&strict, case.error.as_ref().or(case.strict.as_ref())) {
            wrong.push(format!("{file}: {}\n  not strict: {loose:?}\n  strict: {strict:?}", case.note));
        }
    }
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

macro_rules! files {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name), include_str!(concat!(stringify!($name), ".yaml")), interpreter);
            }
        )*
    };
}

files! { metadata mocks negation operators references scopes structure templates }
