//! Names of imports, written out: `import data.a.b`, and `b.c` is `data.a.b.c`.
//!
//! The engine looks an import's name up among the rules of the package first, and once all rules of a package have been
//! evaluated it finds nothing there and leaves it at that: what a function of such a package reads by an import would be
//! undefined. It also evaluates the whole package that an import is of, where one rule is asked for.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::rego::{Import, Kind, LiteralKind, Module, Rule};
use crate::engine::rewrite::Rewriter;
use crate::engine::rewrite::keywords::variables;
use crate::engine::rewrite::visit::{each_literal, each_term};

/// What the names of imports stand for, as it is written in the text.
pub(super) fn paths(module: &Module<'_>, text: &str) -> BTreeMap<String, String> {
    let rules: BTreeSet<&str> = module.rules.iter().filter_map(|r| r.name.root()).collect();
    let stands_for = |import: &Import<'_>| {
        let written = text.get(import.path.span.clone())?;
        let path = import.path.path()?;
        let (root, last) = (path.first()?, path.last()?);
        let name = import.alias.unwrap_or(last);
        let is_path = matches!(*root, "data" | "input") && !written.contains('\n') && name != *root;
        (is_path && !rules.contains(name)).then(|| (name.to_owned(), written.to_owned()))
    };
    module.imports.iter().filter_map(stands_for).collect()
}

impl Rewriter<'_> {
    pub(super) fn imported(&mut self, rule: &Rule<'_>) {
        let mut hidden = BTreeSet::new();
        rule.arguments.iter().flatten().for_each(|argument| variables(argument, &mut hidden));
        each_literal(rule, &mut |literal| match &literal.kind {
            LiteralKind::Assign(left, _) => variables(left, &mut hidden),
            LiteralKind::Some(names) => names.iter().for_each(|name| variables(name, &mut hidden)),
            LiteralKind::SomeIn { key, value, .. } | LiteralKind::Every { key, value, .. } => {
                key.iter().chain([value]).for_each(|name| variables(name, &mut hidden));
            }
            _ => {}
        });
        let mut edits = Vec::new();
        each_term(rule, &mut |term| {
            if let Kind::Var(name) = term.kind
                && !hidden.contains(name)
                && let Some(path) = self.imports.get(name)
            {
                edits.push((term.span.clone(), path.clone()));
            }
        });
        edits.into_iter().for_each(|(span, path)| self.replace(span, path));
    }
}
