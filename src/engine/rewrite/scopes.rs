//! Variables of `some` that hide a name from further out: they get names of their own.
//!
//! The engine takes `some x in xs`, where `x` is also a rule, an import or a variable around it, for the latter.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::rego::{Body, Kind, Literal, LiteralKind, Part, Rule, Term};
use crate::engine::rewrite::Rewriter;
use crate::engine::rewrite::keywords::variables;

/// What a name stands for in a scope.
#[derive(Clone, Default)]
struct Scope {
    /// New names of variables.
    renamed: BTreeMap<String, String>,
    /// Names that stand for something already.
    taken: BTreeSet<String>,
}

impl Rewriter<'_> {
    /// Renames in a rule.
    pub(super) fn scopes(&mut self, rule: &Rule<'_>) {
        let mut scope = Scope { taken: self.globals.clone(), ..Scope::default() };
        rule.arguments.iter().flatten().for_each(|t| variables(t, &mut scope.taken));
        let mut heads: Vec<&Term<'_>> = rule.key.iter().chain(rule.value.iter().map(|v| &v.term)).collect();
        // The root of the name is the rule's.
        heads.extend(rule.name.children().into_iter().skip(1));
        match rule.bodies.split_first() {
            Some((first, rest)) => {
                self.scope(&first.body, &heads, &scope);
                rest.iter().for_each(|b| self.scope(&b.body, &[], &scope));
            }
            None => heads.into_iter().for_each(|t| self.names(t, &scope)),
        }
        for branch in &rule.elses {
            let heads: Vec<&Term<'_>> = branch.value.iter().map(|v| &v.term).collect();
            match &branch.body {
                Some(body) => self.scope(&body.body, &heads, &scope),
                None => heads.into_iter().for_each(|t| self.names(t, &scope)),
            }
        }
    }

    /// Renames in a body and in the terms that its variables give their values to.
    fn scope(&mut self, body: &Body<'_>, heads: &[&Term<'_>], around: &Scope) {
        let mut scope = around.clone();
        let (mut some, mut assigned) = (BTreeSet::new(), BTreeSet::new());
        for literal in body {
            match &literal.kind {
                LiteralKind::Some(names) => names.iter().for_each(|t| variables(t, &mut some)),
                LiteralKind::SomeIn { key, value, .. } => {
                    key.iter().chain([value]).for_each(|t| variables(t, &mut some));
                }
                LiteralKind::Assign(left, _) => variables(left, &mut assigned),
                _ => {}
            }
        }
        some.remove("_");
        for name in assigned.difference(&some) {
            scope.renamed.remove(name);
        }
        for name in &some {
            if around.taken.contains(name) {
                let new = self.name();
                scope.renamed.insert(name.clone(), new);
            } else {
                scope.renamed.remove(name);
            }
        }
        scope.taken.extend(some.into_iter().chain(assigned));
        heads.iter().for_each(|t| self.names(t, &scope));
        body.iter().for_each(|l| self.names_in_literal(l, &scope));
    }

    fn names_in_literal(&mut self, literal: &Literal<'_>, scope: &Scope) {
        match &literal.kind {
            LiteralKind::Term(term) => self.names(term, scope),
            LiteralKind::Assign(left, right) | LiteralKind::Unify(left, right) => {
                self.names(left, scope);
                self.names(right, scope);
            }
            LiteralKind::Some(names) => names.iter().for_each(|t| self.names(t, scope)),
            LiteralKind::SomeIn { key, value, collection } => {
                key.iter().chain([value, collection]).for_each(|t| self.names(t, scope));
            }
            LiteralKind::Every { key, value, collection, body } => {
                self.names(collection, scope);
                let mut inner = scope.clone();
                let mut mine = BTreeSet::new();
                key.iter().chain([value]).for_each(|t| variables(t, &mut mine));
                mine.iter().for_each(|name| drop(inner.renamed.remove(name)));
                inner.taken.extend(mine);
                self.scope(body, &[], &inner);
            }
        }
        literal.with.iter().for_each(|w| self.names(&w.value, scope));
    }

    fn names(&mut self, term: &Term<'_>, scope: &Scope) {
        match &term.kind {
            Kind::Var(name) => {
                if let Some(new) = scope.renamed.get(*name) {
                    self.renamed.insert(term.span.start);
                    self.replace(term.span.clone(), new.clone());
                }
            }
            Kind::Call(_, operands) => operands.iter().for_each(|t| self.names(t, scope)),
            Kind::ArrayOf(head, body) | Kind::SetOf(head, body) => self.scope(body, &[head], scope),
            Kind::ObjectOf(pair, body) => self.scope(body, &[&pair.0, &pair.1], scope),
            Kind::Template(parts) => {
                for part in parts {
                    if let Part::Expression(literal) = part {
                        self.names_in_literal(literal, scope);
                    }
                }
            }
            _ => term.children().into_iter().for_each(|t| self.names(t, scope)),
        }
    }
}
