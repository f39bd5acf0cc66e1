//! METADATA of all modules, for `rego.metadata.rule()` and `rego.metadata.chain()`.
//!
//! Knows what OPA makes of a METADATA comment; what ours of policies mean is read elsewhere. Where no module asks, nothing
//! is gathered. Source: <https://www.openpolicyagent.org/docs/policy-language#annotations>.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::engine::rego::{Comment, Module, parse_module};
use crate::policy::RegoVersion;

/// Annotations by what they are of.
#[derive(Debug, Default)]
pub(crate) struct Annotations {
    /// By the text of a module: the rules in the order of the file.
    rules: BTreeMap<String, Vec<OfRule>>,
    documents: BTreeMap<Vec<String>, Value>,
    packages: BTreeMap<Vec<String>, Value>,
    subpackages: BTreeMap<Vec<String>, Value>,
}

#[derive(Debug)]
struct OfRule {
    package: Vec<String>,
    path: Vec<String>,
    /// The closest to the rule first.
    annotations: Vec<Value>,
}

impl Annotations {
    /// Gathers them, if one of the texts asks for them.
    pub(crate) fn of<'t>(texts: impl Iterator<Item = (&'t str, RegoVersion)> + Clone) -> Self {
        let mut found = Self::default();
        if !texts.clone().any(|(text, _)| text.contains("rego.metadata")) {
            return found;
        }
        for (text, version) in texts {
            // What does not parse is reported where it is loaded.
            if let Ok(module) = parse_module(text, version) {
                found.note(text, &module);
            }
        }
        found
    }

    fn note(&mut self, text: &str, module: &Module<'_>) {
        let blocks = blocks(text, &module.comments);
        let mut rules = Vec::new();
        let mut before = 0;
        let mut of_statement = |start: usize| {
            let mine: Vec<Value> =
                blocks.iter().filter(|b| (before..start).contains(&b.0)).rev().map(|b| b.1.clone()).collect();
            before = start;
            mine
        };
        for annotation in of_statement(module.package_span.start) {
            let scope = annotation.get("scope").and_then(Value::as_str).unwrap_or("package");
            let to = if scope == "subpackages" { &mut self.subpackages } else { &mut self.packages };
            let scope = scope.to_owned();
            to.insert(module.package.clone(), with_scope(annotation, &scope));
        }
        for rule in &module.rules {
            let path = rule.name.path().or_else(|| Some(vec![rule.name.root()?]));
            let path: Vec<String> =
                module.package.iter().cloned().chain(path.into_iter().flatten().map(str::to_owned)).collect();
            let mut annotations = Vec::new();
            for annotation in of_statement(rule.span.start) {
                let is_entrypoint = annotation.get("entrypoint") == Some(&Value::Bool(true));
                let default = if is_entrypoint { "document" } else { "rule" };
                let scope = annotation.get("scope").and_then(Value::as_str).unwrap_or(default).to_owned();
                let annotation = with_scope(annotation, &scope);
                match scope.as_str() {
                    "document" => drop(self.documents.insert(path.clone(), annotation)),
                    "package" => drop(self.packages.insert(module.package.clone(), annotation)),
                    "subpackages" => drop(self.subpackages.insert(module.package.clone(), annotation)),
                    _ => annotations.push(annotation),
                }
            }
            rules.push(OfRule { package: module.package.clone(), path, annotations });
        }
        self.rules.insert(text.to_owned(), rules);
    }

    /// What `rego.metadata.rule()` gives in a rule of a module.
    pub(crate) fn of_rule(&self, text: &str, rule: usize) -> Value {
        let rule = self.rules.get(text).and_then(|rules| rules.get(rule));
        rule.and_then(|r| r.annotations.first()).cloned().unwrap_or_else(|| json!({}))
    }

    /// What `rego.metadata.chain()` gives in a rule of a module: outward from the rule.
    pub(crate) fn chain(&self, text: &str, rule: usize) -> Value {
        let Some(rule) = self.rules.get(text).and_then(|rules| rules.get(rule)) else { return json!([]) };
        let mut chain = Vec::new();
        for annotation in &rule.annotations {
            chain.push(json!({"path": rule.path, "annotations": annotation}));
        }
        if chain.is_empty() {
            chain.push(json!({"path": rule.path}));
        }
        let mut push = |path: &[String], found: Option<&Value>| {
            chain.extend(found.map(|a| json!({"path": path, "annotations": a})));
        };
        push(&rule.path, self.documents.get(&rule.path));
        push(&rule.package, self.packages.get(&rule.package));
        for length in (1..=rule.package.len()).rev() {
            let path = rule.package.get(..length).unwrap_or_default();
            push(path, self.subpackages.get(path));
        }
        Value::Array(chain)
    }
}

/// METADATA blocks with their places. A block ends with the first line that is not a comment from its first column.
fn blocks(text: &str, comments: &[Comment<'_>]) -> Vec<(usize, Value)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    let mut end = 0;
    for comment in comments {
        let between = text.get(end..comment.start).unwrap_or_default();
        let goes_on = open && matches!(between, "\n" | "\r\n");
        end = comment.start + 1 + comment.text.len();
        if let Some((_, yaml)) = found.last_mut().filter(|_| goes_on) {
            yaml.push_str(comment.text.strip_prefix(' ').unwrap_or(comment.text));
            yaml.push('\n');
            continue;
        }
        open = comment.text.trim_start().starts_with("METADATA");
        if open {
            found.push((comment.start, String::new()));
        }
    }
    let read = |(at, yaml): (usize, String)| match serde_saphyr::from_str::<Value>(&yaml) {
        Ok(Value::Object(fields)) => Some((at, annotation(fields))),
        _ => None,
    };
    found.into_iter().filter_map(read).collect()
}

/// What OPA gives of an annotation: authors and resources taken apart, nothing that is empty.
fn annotation(fields: Map<String, Value>) -> Value {
    let mut annotation = Map::new();
    for (name, value) in fields {
        let value = match (name.as_str(), value) {
            ("authors", Value::Array(authors)) => authors.into_iter().map(author).collect(),
            ("related_resources", Value::Array(resources)) => resources.into_iter().map(resource).collect(),
            ("title" | "description" | "scope" | "organizations" | "entrypoint" | "custom" | "schemas", value) => value,
            _ => continue,
        };
        let empty = match &value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            _ => false,
        };
        if !empty {
            annotation.insert(name, value);
        }
    }
    Value::Object(annotation)
}

fn with_scope(mut annotation: Value, scope: &str) -> Value {
    if let Some(fields) = annotation.as_object_mut() {
        fields.insert("scope".to_owned(), Value::from(scope));
    }
    annotation
}

/// `Name Surname <mail@example.com>`.
fn author(author: Value) -> Value {
    let Value::String(text) = author else { return author };
    let words: Vec<&str> = text.split_whitespace().collect();
    let mail = words.last().and_then(|w| w.strip_prefix('<')?.strip_suffix('>'));
    let names = words.len() - usize::from(mail.is_some());
    let name = words.get(..names).unwrap_or_default().join(" ");
    let fields = [("name", Some(name.as_str()).filter(|n| !n.is_empty())), ("email", mail)];
    Value::Object(fields.into_iter().filter_map(|(k, v)| Some((k.to_owned(), Value::from(v?)))).collect())
}

fn resource(resource: Value) -> Value {
    match resource {
        Value::String(url) => json!({ "ref": url }),
        other => other,
    }
}
