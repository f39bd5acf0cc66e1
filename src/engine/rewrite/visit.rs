//! Ways through a rule's tree that change nothing.

use crate::engine::rego::{Body, Kind, Literal, LiteralKind, Module, Part, Rule, Term, With};
use crate::engine::rewrite::edits::Unflat;

/// What of a text cannot stand on one line as it is.
pub(super) fn unflat(text: &str, module: &Module<'_>) -> Unflat {
    let comments = module.comments.iter().map(|c| c.start..c.start + 1 + c.text.len());
    let mut unflat = Unflat { comments: comments.collect(), strings: Vec::new() };
    let mut note = |term: &Term<'_>| {
        if let Kind::Text(value) = &term.kind
            && text.get(term.span.clone()).is_some_and(|t| t.contains('\n'))
        {
            unflat.strings.push((term.span.clone(), serde_json::Value::from(value.as_str()).to_string()));
        }
    };
    module.rules.iter().for_each(|rule| each_term(rule, &mut note));
    unflat
}

/// Every term of a rule.
pub(super) fn each_term<'m, 't>(rule: &'m Rule<'t>, note: &mut impl FnMut(&'m Term<'t>)) {
    each(rule, &mut |node| {
        if let Node::Term(term) = node {
            note(term);
        }
    });
}

/// Every `with` of a rule.
pub(super) fn each_with<'m, 't>(rule: &'m Rule<'t>, note: &mut impl FnMut(&'m With<'t>)) {
    each(rule, &mut |node| {
        if let Node::With(with) = node {
            note(with);
        }
    });
}

/// Every expression of a rule.
pub(super) fn each_literal<'m, 't>(rule: &'m Rule<'t>, note: &mut impl FnMut(&'m Literal<'t>)) {
    each(rule, &mut |node| {
        if let Node::Literal(literal) = node {
            note(literal);
        }
    });
}

enum Node<'m, 't> {
    Literal(&'m Literal<'t>),
    Term(&'m Term<'t>),
    With(&'m With<'t>),
}

type Note<'n, 'm, 't> = &'n mut dyn FnMut(Node<'m, 't>);

fn each<'m, 't>(rule: &'m Rule<'t>, note: Note<'_, 'm, 't>) {
    let values = rule.elses.iter().map(|e| &e.value).chain([&rule.value]).flatten().map(|v| &v.term);
    let head = rule.arguments.iter().flatten().chain(&rule.key).chain([&rule.name]);
    head.chain(values).for_each(|t| in_term(t, note));
    let bodies = rule.elses.iter().filter_map(|e| e.body.as_ref()).chain(&rule.bodies);
    bodies.for_each(|b| in_body(&b.body, note));
}

fn in_body<'m, 't>(body: &'m Body<'t>, note: Note<'_, 'm, 't>) {
    body.iter().for_each(|l| in_literal(l, note));
}

fn in_literal<'m, 't>(literal: &'m Literal<'t>, note: Note<'_, 'm, 't>) {
    note(Node::Literal(literal));
    match &literal.kind {
        LiteralKind::Term(term) => in_term(term, note),
        LiteralKind::Assign(left, right) | LiteralKind::Unify(left, right) => {
            in_term(left, note);
            in_term(right, note);
        }
        LiteralKind::Some(names) => names.iter().for_each(|t| in_term(t, note)),
        LiteralKind::SomeIn { key, value, collection } => {
            key.iter().chain([value, collection]).for_each(|t| in_term(t, note));
        }
        LiteralKind::Every { key, value, collection, body } => {
            key.iter().chain([value, collection]).for_each(|t| in_term(t, note));
            in_body(body, note);
        }
    }
    for with in &literal.with {
        note(Node::With(with));
        in_term(&with.target, note);
        in_term(&with.value, note);
    }
}

fn in_term<'m, 't>(term: &'m Term<'t>, note: Note<'_, 'm, 't>) {
    note(Node::Term(term));
    match &term.kind {
        Kind::ArrayOf(_, body) | Kind::SetOf(_, body) | Kind::ObjectOf(_, body) => in_body(body, note),
        Kind::Template(parts) => {
            for part in parts {
                if let Part::Expression(literal) = part {
                    in_literal(literal, note);
                }
            }
        }
        _ => {}
    }
    term.children().into_iter().for_each(|t| in_term(t, note));
}
