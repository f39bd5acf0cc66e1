//! What OPA evaluates before a negation, it evaluates outside of it: where it is undefined, so is the body.
//!
//! OPA's compiler binds to variables, before the expression that holds them: all calls within it, and all references
//! but those that stand alone or directly on a side of `=` or `==`. So `not input.x` and `not input.x == 3` are true
//! where `input.x` is undefined, and `not input.x > 3`, `not f(input.x)` and `not f(input.x) == 3` are undefined.
//! (`rewriteExprTerms`, `rewriteDynamicTerms` and `rewriteEquals` of `ast/compile.go`; queries keep `==` a call.)

use crate::engine::rego::{Kind, Literal, LiteralKind, Operator, Term};
use crate::engine::rewrite::Rewriter;
use crate::engine::rewrite::edits::{Edit, Put};

impl Rewriter<'_> {
    pub(super) fn negation(&mut self, literal: &Literal<'_>) {
        let mut found = Vec::new();
        // First what is called below `with`: it is copied to whatever is bound after it.
        for with in &literal.with {
            self.calls(&with.value, &mut found);
        }
        match &literal.kind {
            LiteralKind::Term(term) => match &term.kind {
                Kind::Infix(Operator { sign: "==", .. }, sides) if !self.in_query => {
                    self.in_side(&sides.0, &mut found);
                    self.in_side(&sides.1, &mut found);
                }
                Kind::Infix(_, sides) => {
                    self.in_operand(&sides.0, &mut found);
                    self.in_operand(&sides.1, &mut found);
                }
                Kind::Call(operator, operands) => {
                    let equality = matches!(operator.kind, Kind::Var("eq"))
                        || (matches!(operator.kind, Kind::Var("equal")) && !self.in_query);
                    for operand in operands {
                        if equality { self.in_side(operand, &mut found) } else { self.in_operand(operand, &mut found) }
                    }
                }
                Kind::In { key, value, collection, .. } => {
                    for term in key.iter().chain([value, collection]) {
                        self.in_operand(term, &mut found);
                    }
                }
                _ => self.in_side(term, &mut found),
            },
            LiteralKind::Unify(left, right) | LiteralKind::Assign(left, right) => {
                self.in_side(left, &mut found);
                self.in_side(right, &mut found);
            }
            _ => {}
        }
        if !found.is_empty() {
            self.hoist(literal, &found);
        }
    }

    /// Binds terms to variables before the expression that holds them.
    pub(super) fn hoist(&mut self, literal: &Literal<'_>, terms: &[&Term<'_>]) {
        let with = match (literal.with.first(), literal.with.last()) {
            (Some(first), Some(last)) => Some(first.span.start..last.span.end),
            _ => None,
        };
        for term in terms {
            let name = self.name();
            let mut put = vec![Put::Text(format!("{name} := ")), Put::Copy(term.span.clone())];
            let in_with = with.as_ref().is_some_and(|w| w.contains(&term.span.start));
            if let Some(with) = with.as_ref().filter(|_| !in_with) {
                put.extend([Put::Text(" ".to_owned()), Put::Copy(with.clone())]);
            }
            put.push(Put::Text("; ".to_owned()));
            let at = literal.span.start;
            self.edits.push(Edit::of(at..at, put));
            let breaks = self.breaks(&term.span);
            self.replace(term.span.clone(), name + &breaks);
        }
    }

    /// A side of an equation, or a term alone: a reference stays, what its brackets hold does not.
    fn in_side<'m, 't>(&self, term: &'m Term<'t>, found: &mut Vec<&'m Term<'t>>) {
        match &term.kind {
            Kind::Ref(..) => {
                let mut parts = term.children().into_iter();
                if let Some(head) = parts.next() {
                    self.calls(head, found);
                }
                parts.for_each(|t| self.in_operand(t, found));
            }
            Kind::Var(_) => {}
            _ => self.in_operand(term, found),
        }
    }

    /// An operand of a call, or a part of a collection.
    fn in_operand<'m, 't>(&self, term: &'m Term<'t>, found: &mut Vec<&'m Term<'t>>) {
        match &term.kind {
            Kind::Ref(..) | Kind::Call(..) | Kind::Infix(..) | Kind::In { .. } => found.push(term),
            // A variable has a value, but for the names of rules and imports.
            Kind::Var(name) => {
                let document = *name == "input" || *name == "data";
                let other = self.globals.contains(*name) && !self.declared.contains(*name);
                if (document || other) && !self.renamed.contains(&term.span.start) {
                    found.push(term);
                }
            }
            Kind::Array(_) | Kind::Set(_) | Kind::Object(_) => {
                term.children().into_iter().for_each(|t| self.in_operand(t, found));
            }
            _ => {}
        }
    }

    /// The calls in a term, and nothing else of it.
    fn calls<'m, 't>(&self, term: &'m Term<'t>, found: &mut Vec<&'m Term<'t>>) {
        match &term.kind {
            Kind::Call(..) | Kind::Infix(..) | Kind::In { .. } => found.push(term),
            Kind::ArrayOf(..) | Kind::SetOf(..) | Kind::ObjectOf(..) => {}
            _ => term.children().into_iter().for_each(|t| self.calls(t, found)),
        }
    }
}
