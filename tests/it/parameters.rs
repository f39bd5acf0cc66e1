//! Parameters with a schema: the schemas, the defaults and what bindings give are checked when policies are loaded.

use std::fs;

use portcullis::engine::{CompileOptions, compile};
use portcullis::policy::LoadError;
use portcullis::source::{LoadOptions, load};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    schema: String,
    #[serde(default)]
    binding: String,
    #[serde(default)]
    errors: Vec<String>,
}

const BEFORE: &str =
    "# METADATA\n# scope: package\n# title: T\n# custom:\n#   match: {kinds: [Pod]}\n#   parameters:\n";
const DEFAULTS: &str = "mode: warn\nnumber: 3\nwho: {groups: [], users: []}\nnames: []\nany: null\n";

fn indented(text: &str, with: &str) -> String {
    text.lines().map(|line| format!("{with}{line}\n")).collect()
}

/// What is said of a policy with the schema, and of a binding in a file of its own.
fn said(case: &Case) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a directory");
    let (defaults, schema) = (indented(DEFAULTS, "#     "), indented(&case.schema, "#     "));
    let policy = format!(
        "{BEFORE}{defaults}#   parametersSchema:\n{schema}package portcullis.p\n\ndeny contains input.parameters.mode\n"
    );
    fs::write(dir.path().join("p.rego"), policy).expect("written");
    if !case.binding.is_empty() {
        let binding = format!(
            "apiVersion: portcullis.io/v1alpha1\nkind: PolicyBinding\nmetadata: {{name: b}}\nspec:\n  policyRef: {{name: p}}\n  \
             parameters:\n{}",
            indented(&case.binding, "    ")
        );
        fs::write(dir.path().join("b.yaml"), binding).expect("written");
    }
    let loaded = load(&LoadOptions { policies: vec![dir.path().to_path_buf()], ..LoadOptions::default() });
    let errors = match loaded {
        Ok(loaded) => compile(&loaded.sources, CompileOptions::default()).err().unwrap_or_default(),
        Err(errors) => errors,
    };
    let prefix = format!("{}/", dir.path().display());
    errors.iter().map(LoadError::to_string).map(|e| e.replace(&prefix, "")).collect()
}

#[test]
fn parameters_are_within_their_schemas() {
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("parameters.yaml")).expect("cases");
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let said = said(case);
            (said != case.errors).then(|| format!("{}\n{}", case.name, said.join("\n")))
        })
        .collect();
    assert!(cases.len() > 5 && wrong.is_empty(), "{}", wrong.join("\n\n"));
}
