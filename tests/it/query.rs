//! `eval --query` as a user of `opa eval` calls it: what `query.yaml` says, with OPA's answers.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    /// Files that all cases find, by name.
    files: std::collections::BTreeMap<String, String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    args: Vec<String>,
    #[serde(default)]
    stdin: String,
    #[serde(default)]
    code: i32,
    /// The whole output as JSON.
    #[serde(default)]
    json: Option<Value>,
    /// The value of the only expression of the only row.
    #[serde(default)]
    value: Option<Value>,
    /// The variables of each row.
    #[serde(default)]
    rows: Option<Value>,
    /// The whole output as text.
    #[serde(default)]
    text: Option<String>,
    /// `code file:row:col message` of each error.
    #[serde(default)]
    errors: Option<Vec<String>>,
    /// Part of what stands on stderr.
    #[serde(default)]
    stderr: Option<String>,
}

fn error_line(error: &Value) -> String {
    let text = |pointer: &str| match error.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "-".to_owned(),
    };
    let place = format!("{}:{}:{}", text("/location/file"), text("/location/row"), text("/location/col"));
    format!("{} {place} {}", text("/code"), text("/message"))
}

#[test]
fn queries_are_answered_as_opa_answers_them() {
    let cases: Cases = serde_saphyr::from_str(include_str!("query.yaml")).expect("cases");
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in &cases.files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, text).expect("written");
    }
    let checks = cases.cases.iter().map(|case| std::panic::catch_unwind(|| check(dir.path(), case)));
    let failed = checks.filter(Result::is_err).count();
    assert_eq!(failed, 0, "of {} cases", cases.cases.len());
}

fn check(dir: &Path, case: &Case) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("eval")
        .args(&case.args)
        .current_dir(dir)
        .env_remove("PORTCULLIS_POLICIES")
        .env_remove("PORTCULLIS_DATA")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    // A command that has no use for its input may be gone already.
    let _ = child.stdin.take().expect("stdin").write_all(case.stdin.as_bytes());
    let output = child.wait_with_output().expect("ends");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let name = format!("{:?}\n{stdout}\n{stderr}", case.args);
    assert_eq!(output.status.code(), Some(case.code), "{name}");
    let json: Value = serde_json::from_str(&stdout).unwrap_or_default();
    let rows = || json["result"].as_array().cloned().unwrap_or_default();
    let wants = [
        case.json.as_ref().map(|wanted| assert_eq!(&json, wanted, "{name}")),
        case.value.as_ref().map(|wanted| {
            assert_eq!(rows().len(), 1, "{name}");
            assert_eq!(json["result"][0]["expressions"].as_array().map(Vec::len), Some(1), "{name}");
            assert_eq!(&json["result"][0]["expressions"][0]["value"], wanted, "{name}");
        }),
        case.rows.as_ref().map(|wanted| {
            let bindings = rows().into_iter().map(|row| row["bindings"].clone());
            assert_eq!(&Value::Array(bindings.collect()), wanted, "{name}");
        }),
        case.text.as_ref().map(|wanted| assert_eq!(stdout, *wanted, "{name}")),
        case.errors.as_ref().map(|wanted| {
            let errors = json["errors"].as_array().cloned().unwrap_or_default();
            assert_eq!(&errors.iter().map(error_line).collect::<Vec<_>>(), wanted, "{name}");
        }),
        case.stderr.as_ref().map(|wanted| assert!(stderr.contains(wanted.as_str()), "{name}\nwanted {wanted}")),
    ];
    assert!(wants.iter().any(Option::is_some), "{name}\nexpects nothing");
}
