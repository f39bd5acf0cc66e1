//! Keywords as the first step of a reference: `if.foo := 1`, `not if.foo`.
//!
//! The engine takes keywords only as later steps. A reference that begins with one is written out from `data`; a rule
//! below one, `if.foo` of package `a`, is rule `foo` of package `a.if`, in a module of its own. That module has the
//! same text with the other rules left out, so lines are the same.

use std::collections::BTreeSet;

use crate::engine::rego::{Flaw, Kind, LiteralKind, Module, Rule, Step, Term};
use crate::engine::rewrite::Rewriter;
use crate::engine::rewrite::edits::Edit;
use crate::engine::rewrite::visit::each_term;

const KEYWORDS: [&str; 15] = [
    "as", "contains", "default", "else", "every", "false", "if", "import", "in", "not", "null", "package", "some",
    "true", "with",
];

/// The keyword that a rule stands below.
pub(super) fn root<'t>(rule: &Rule<'t>) -> Option<&'t str> {
    rule.name.root().filter(|name| KEYWORDS.contains(name) && matches!(rule.name.kind, Kind::Ref(..)))
}

/// Names that a rule declares: arguments, and variables of `:=`, `some` and `every`.
pub(super) fn declared(rule: &Rule<'_>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut note = |term: &Term<'_>| variables(term, &mut names);
    rule.arguments.iter().flatten().for_each(&mut note);
    let bodies = rule.elses.iter().filter_map(|e| e.body.as_ref()).chain(&rule.bodies);
    for literal in bodies.flat_map(|b| &b.body) {
        match &literal.kind {
            LiteralKind::Assign(left, _) => note(left),
            LiteralKind::Some(names) => names.iter().for_each(&mut note),
            LiteralKind::SomeIn { key, value, .. } | LiteralKind::Every { key, value, .. } => {
                key.iter().chain([value]).for_each(&mut note);
            }
            _ => {}
        }
    }
    names
}

/// The variables of a pattern.
pub(super) fn variables(term: &Term<'_>, names: &mut BTreeSet<String>) {
    match &term.kind {
        Kind::Var(name) => drop(names.insert((*name).to_owned())),
        Kind::Array(_) | Kind::Object(_) => term.children().into_iter().for_each(|t| variables(t, names)),
        _ => {}
    }
}

impl Rewriter<'_> {
    /// Writes a reference that begins with a keyword out.
    pub(super) fn keyword(&mut self, head: &Term<'_>, steps: &[Step<'_>]) {
        let Kind::Var(name) = head.kind else { return };
        if !steps.is_empty() && self.keyword_roots.contains(name) && KEYWORDS.contains(&name) {
            self.replace(head.span.clone(), format!("{}.{name}", path(&self.package)));
        }
    }
}

/// The changes that make the modules of the rules below keywords; `edits` are those of the whole.
pub(super) fn split(module: &Module<'_>, text: &str, edits: &[Edit]) -> Result<Vec<Vec<Edit>>, Flaw> {
    let roots: BTreeSet<&str> = module.rules.iter().filter_map(root).collect();
    let mut found = Vec::new();
    for keyword in roots {
        let mut mine = Vec::new();
        let package: String = module.package.iter().chain([&keyword.to_owned()]).map(|s| step(s)).collect();
        let package = package.strip_prefix('.').unwrap_or(&package);
        mine.push(Edit::replace(module.package_span.clone(), format!("package {package}")));
        for rule in &module.rules {
            if root(rule) != Some(keyword) {
                mine.push(blank(text, rule));
                continue;
            }
            let Kind::Ref(head, steps) = &rule.name.kind else { continue };
            let Some((first, name)) = steps.first().and_then(|s| Some((s, s.name()?))) else {
                let message = format!("a rule below the keyword `{keyword}` needs a constant name as its next step");
                return Err(Flaw::new(rule.name.span.start, message));
            };
            if !is_name(name) {
                let message = format!("`{name}` cannot be the next step of a rule below the keyword `{keyword}`");
                return Err(Flaw::new(rule.name.span.start, message));
            }
            mine.push(Edit::replace(head.span.start..first.span().end, name));
            mine.extend(outer_names(module, rule));
        }
        let kept = |e: &&Edit| module.rules.iter().all(|r| root(r) == Some(keyword) || !within(e, r));
        mine.extend(edits.iter().filter(kept).cloned());
        found.push(mine);
    }
    Ok(found)
}

/// The changes that take the rules below keywords out of the module they stand in.
pub(super) fn without(module: &Module<'_>, text: &str, edits: Vec<Edit>) -> Vec<Edit> {
    let out: Vec<&Rule<'_>> = module.rules.iter().filter(|r| root(r).is_some()).collect();
    let mut kept: Vec<Edit> = edits.into_iter().filter(|e| !out.iter().any(|r| within(e, r))).collect();
    kept.extend(out.into_iter().map(|r| blank(text, r)));
    kept
}

fn within(edit: &Edit, rule: &Rule<'_>) -> bool {
    edit.span.start >= rule.span.start && edit.span.end <= rule.span.end
}

fn blank(text: &str, rule: &Rule<'_>) -> Edit {
    let breaks = text.get(rule.span.clone()).unwrap_or_default().matches('\n').count();
    Edit::replace(rule.span.clone(), "\n".repeat(breaks))
}

/// References of a rule to rules of its package, which is another one in the module of its own.
fn outer_names(module: &Module<'_>, rule: &Rule<'_>) -> Vec<Edit> {
    let hidden = declared(rule);
    let rules: BTreeSet<&str> =
        module.rules.iter().filter(|r| root(r).is_none()).filter_map(|r| r.name.root()).collect();
    let mut edits = Vec::new();
    each_term(rule, &mut |term| {
        if let Kind::Var(name) = term.kind
            && rules.contains(name)
            && !hidden.contains(name)
            && term.span != rule.name.span
        {
            edits.push(Edit::replace(term.span.clone(), format!("{}{}", path(&module.package), step(name))));
        }
    });
    edits
}

/// `data.a.b`.
fn path(package: &[String]) -> String {
    package.iter().fold("data".to_owned(), |path, s| path + &step(s))
}

/// `.name`, or `["name"]`.
fn step(name: &str) -> String {
    if is_name(name) || KEYWORDS.contains(&name) {
        format!(".{name}")
    } else {
        format!("[{}]", serde_json::Value::from(name))
    }
}

fn is_name(name: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !KEYWORDS.contains(&name)
        && name.chars().all(letters)
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
}
