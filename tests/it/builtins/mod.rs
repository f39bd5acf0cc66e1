//! Case files for builtins: one query a case, with OPA's answer by its documentation.
//!
//! `want` is the value of `x`. With `error` it is an error instead: of an operand, which is undefined where errors are
//! not strict, or, with `limit: true`, of a bound, which is an error in both modes.

use std::time::Duration;

use portcullis::engine::{Query, QueryInput, bindings, compare_rules, query};
use portcullis::policy::SourceFile;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// Binds `x`.
    query: String,
    #[serde(default)]
    want: Option<Value>,
    /// Part of the error.
    #[serde(default)]
    error: Option<String>,
    /// Whether it is an error in both modes.
    #[serde(default)]
    limit: bool,
    /// `input`.
    #[serde(default)]
    input: Option<Value>,
}

fn run(case: &Case, strict: bool) -> Result<Option<Value>, String> {
    let document = query(&Query {
        modules: &[],
        data: Value::Object(serde_json::Map::new()),
        input: case.input.clone().map_or(QueryInput::Absent, QueryInput::Json),
        text: &case.query,
        strict,
        now_ns: 1_780_000_000_000_000_000,
        seed: 1,
        budget: Duration::from_secs(20),
    });
    let document = document.map_err(|e| e.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    Ok(bindings(&document).into_iter().next().and_then(|mut row| row.remove("x")))
}

/// The same cases as rules, by both ways of running a policy.
#[test]
fn plans_call_builtins_as_the_interpreter_does() {
    let (mut compared, mut differing) = (0, Vec::new());
    for entry in
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/builtins")).expect("a folder").flatten()
    {
        let path = entry.path();
        if path.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        let cases: Vec<Case> =
            serde_saphyr::from_str(&std::fs::read_to_string(&path).expect("readable")).expect("cases");
        for (case, strict) in cases.iter().flat_map(|c| [(c, true), (c, false)]) {
            let text = format!("package t\n\np contains x if {{\n\t{}\n}}\n", case.query);
            let found = compare_rules(&Query {
                modules: &[SourceFile { path: "case.rego".to_owned(), text }],
                data: Value::Object(serde_json::Map::new()),
                input: case.input.clone().map_or(QueryInput::Absent, QueryInput::Json),
                text: "",
                strict,
                now_ns: 1_780_000_000_000_000_000,
                seed: 1,
                budget: Duration::from_secs(20),
            });
            if let Ok(found) = found {
                compared += found.compared;
                differing.extend(found.differing.into_iter().map(|d| format!("{}: {d}", case.query)));
            }
        }
    }
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
    assert!(compared > 300, "only {compared} were compared");
}

fn check(file: &str, text: &str) {
    let cases: Vec<Case> = serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{file}: {e}"));
    assert!(!cases.is_empty(), "{file} holds no cases");
    let message = |panic: Box<dyn std::any::Any + Send>| panic.downcast_ref::<String>().cloned().unwrap_or_default();
    let wrong = cases.iter().filter_map(|case| std::panic::catch_unwind(|| check_case(file, case)).err());
    let wrong: Vec<String> = wrong.map(message).collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn check_case(file: &str, case: &Case) {
    let name = format!("{file}: {}", case.query);
    let (strict, loose) = (run(case, true), run(case, false));
    match (&case.want, &case.error) {
        (Some(want), None) => {
            assert_eq!(strict.as_ref(), Ok(&Some(want.clone())), "{name}");
            assert_eq!(loose, strict, "{name}");
        }
        (None, Some(error)) => {
            let message = strict.expect_err(&name);
            assert!(message.contains(error.as_str()), "{name}: {message}");
            match loose {
                Ok(value) => assert!(!case.limit && value.is_none(), "{name}: {value:?}"),
                Err(message) => assert!(case.limit, "{name}: {message}"),
            }
        }
        _ => panic!("{name}: give either `want` or `error`"),
    }
}

macro_rules! files {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            check(stringify!($name), include_str!(concat!(stringify!($name), ".yaml")));
        })*
    };
}

files!(collections, crypto, engine, graphql, jwt, net, numbers, patterns, strings, uri, x509);

/// Every builtin of the table that is there stands in some case.
#[test]
fn every_builtin_has_a_case() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut cases = String::new();
    for folder in ["tests/it/builtins", "tests/it/language"] {
        for entry in std::fs::read_dir(root.join(folder)).expect("a folder").flatten() {
            cases.push_str(&std::fs::read_to_string(entry.path()).expect("readable"));
        }
    }
    // What leaves the machine has a server of its own there.
    cases.push_str(&std::fs::read_to_string(root.join("tests/it/http_send.rs")).expect("readable"));
    let table = std::fs::read_to_string(root.join("docs/builtins.md")).expect("the table");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let there = rows.filter(|(_, state)| !state.starts_with("no |")).map(|(name, _)| name);
    let missing: Vec<&str> = there.filter(|name| !cases.contains(&format!("{name}("))).collect();
    assert!(missing.is_empty(), "no case calls {missing:?}");
}
