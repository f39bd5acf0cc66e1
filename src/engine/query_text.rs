//! The text of a query: its statements as they were written, and the names that its package and imports give it.
//!
//! The engine knows neither package nor imports of a query, so names that come from them are written out before it
//! sees the text. Knows syntax only.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Literal, Module, Rule};
use serde_json::Value;

use crate::engine::evaluate::{self, empty_engine};
use crate::engine::parse::{Parsed, check_nesting};
use crate::engine::rewrite::Places;
use crate::engine::syntax::{self, ModuleInfo};
use crate::policy::{LoadError, RegoVersion};

/// The file that errors of the query name.
pub(crate) const FILE: &str = "";

/// Where a query looks for names that it does not define itself.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Package whose rules need no path: `a.b`.
    pub package: Option<String>,
    /// What `import` would stand before: `data.a.b`, `input.request as req`.
    pub imports: Vec<String>,
}

/// A query that parses.
pub(crate) struct QueryText {
    /// What the engine is asked.
    pub run: String,
    /// The statements that give a value, as they were written.
    pub statements: Vec<Statement>,
    /// What is seen in it, as in a rule of a module.
    pub info: ModuleInfo,
    /// The module that `info` is of.
    pub module: String,
    /// Lines before the query in that module.
    pub lines_before: u32,
}

/// One statement of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    pub text: String,
    pub row: u32,
    pub col: u32,
}

/// Parses a query in its scope, beside the modules it is run over.
pub(crate) fn read(text: &str, scope: &Scope, modules: &[Parsed<'_>]) -> Result<QueryText, LoadError> {
    check_nesting(FILE, text)?;
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Err(LoadError::new(FILE, "rego", "the query is empty").at(1, 1));
    }
    let package = scope.package.as_deref().map(|p| p.strip_prefix("data.").unwrap_or(p));
    let mut head = format!("package {}\n", package.unwrap_or("__portcullis_query__"));
    for import in &scope.imports {
        head.push_str(&format!("import {import}\n"));
    }
    head.push_str("__query__ if {\n");
    let lines_before = u32::try_from(head.lines().count()).unwrap_or(u32::MAX);
    let module = format!("{head}{text}\n}}\n");
    let mut engine = empty_engine();
    engine
        .add_policy(FILE.to_owned(), module.clone())
        .map_err(|e| parse_error(&evaluate::fault(&e), text, lines_before))?;
    let tree: Value = engine.get_ast_as_json().ok().and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default();
    let parsed = engine.get_modules().first().cloned();
    let Some(parsed) = parsed.filter(|m| m.policy.len() == 1) else {
        return Err(LoadError::new(FILE, "rego", "the query closes a bracket that it does not open").at(1, 1));
    };
    let info = syntax::module_info(&parsed, &Places::same(&module));
    let names = names(package, scope, &info, modules);
    let run = write_out(text, head.len(), &tree, &names);
    Ok(QueryText { run, statements: statements(&parsed, lines_before), info, module, lines_before })
}

fn parse_error(fault: &evaluate::Fault, text: &str, lines_before: u32) -> LoadError {
    let last = u32::try_from(text.lines().count()).unwrap_or(u32::MAX).max(1);
    let error = LoadError::new(FILE, "rego", &fault.msg);
    match &fault.location {
        Some(l) if l.line <= lines_before => LoadError::new("--package, --import", "rego", &fault.msg),
        Some(l) => {
            let line = (l.line - lines_before).min(last);
            let written = text.lines().nth(line.saturating_sub(1) as usize).unwrap_or_default();
            let end = u32::try_from(written.chars().count()).unwrap_or(u32::MAX).saturating_add(1);
            let column = if l.line - lines_before > last { end } else { syntax::column_in(written, l.column) };
            error.at(line, column)
        }
        None => error,
    }
}

fn statements(module: &Module, lines_before: u32) -> Vec<Statement> {
    let Some(Rule::Spec { bodies, .. }) = module.policy.first().map(AsRef::as_ref) else { return Vec::new() };
    let all = bodies.iter().flat_map(|b| b.query.stmts.iter());
    all.filter(|s| !matches!(s.literal, Literal::SomeVars { .. }))
        .map(|s| {
            let at = syntax::location(&s.span);
            Statement {
                text: s.span.text().trim_end().to_owned(),
                row: at.line.saturating_sub(lines_before),
                col: at.column,
            }
        })
        .collect()
}

/// What stands for a name: rules of the package, and imports.
fn names(package: Option<&str>, scope: &Scope, query: &ModuleInfo, modules: &[Parsed<'_>]) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    if let Some(package) = package {
        let of_package = modules.iter().filter(|m| m.info.package == query.package);
        for rule in of_package.flat_map(|m| m.info.rules.iter()) {
            names.insert(rule.name.clone(), format!("data.{package}.{}", rule.name));
        }
    }
    for import in &scope.imports {
        let mut words = import.split_whitespace();
        let path = words.next().unwrap_or_default();
        let last = path.rsplit(['.', '"']).find(|s| !s.is_empty() && *s != "]").unwrap_or_default();
        let name = if words.next() == Some("as") { words.next() } else { Some(last) };
        let root = path.split(['.', '[']).next().unwrap_or_default();
        if let Some(name) = name.filter(|n| matches!(root, "data" | "input") && *n != path) {
            names.insert(name.to_owned(), path.to_owned());
        }
    }
    let locals: BTreeSet<&String> = query.rules.iter().flat_map(|r| r.locals.iter()).collect();
    names.retain(|name, _| !locals.contains(name));
    names
}

/// The text with `names` written out.
fn write_out(text: &str, before: usize, tree: &Value, names: &BTreeMap<String, String>) -> String {
    fn walk<'n>(
        node: &Value,
        names: &'n BTreeMap<String, String>,
        module: &str,
        found: &mut Vec<(usize, usize, &'n str)>,
    ) {
        match node {
            Value::Array(items) => items.iter().for_each(|item| walk(item, names, module, found)),
            Value::Object(map) => {
                for (key, value) in map {
                    let place = |name: &str| {
                        let at = value.pointer(&format!("/span/{name}")).and_then(Value::as_u64);
                        at.and_then(|n| usize::try_from(n).ok())
                    };
                    if key == "Var"
                        && let (Some(start), Some(end)) = (place("start"), place("end"))
                        && let Some(path) = module.get(start..end).and_then(|name| names.get(name))
                    {
                        found.push((start, end, path));
                    }
                    walk(value, names, module, found);
                }
            }
            _ => {}
        }
    }
    if names.is_empty() {
        return text.to_owned();
    }
    let mut found = Vec::new();
    let module = format!("{}{text}", " ".repeat(before));
    walk(tree, names, &module, &mut found);
    found.sort_unstable();
    found.dedup();
    let mut written = module;
    for (start, end, path) in found.into_iter().rev() {
        written.replace_range(start..end, path);
    }
    written.split_off(before)
}

/// The version that queries are written in.
pub(crate) const VERSION: RegoVersion = RegoVersion::V1;
