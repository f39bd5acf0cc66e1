//! Operators on what may be of the wrong type: `x - 1` is `__rego__.minus(x, 1)`.
//!
//! The engine ends the evaluation where an operand is not what the operator takes; in OPA that is an error of a builtin,
//! undefined where those are not strict. Where both operands are sure to be numbers, or sets, the operator stays.

use std::collections::BTreeMap;

use crate::engine::rego::{Kind, LiteralKind, Operator, Rule, Term};
use crate::engine::rewrite::Rewriter;
use crate::engine::rewrite::visit::each_literal;

/// What is known of a value's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Number,
    Set,
    Unknown,
}

/// Builtins that give numbers.
const NUMBERS: [&str; 20] = [
    "abs",
    "bits.and",
    "bits.lsh",
    "bits.or",
    "bits.rsh",
    "ceil",
    "count",
    "floor",
    "indexof",
    "product",
    "rand.intn",
    "round",
    "semver.compare",
    "strings.count",
    "sum",
    "time.now_ns",
    "time.parse_ns",
    "time.parse_rfc3339_ns",
    "to_number",
    "units.parse_bytes",
];

fn function(sign: &str) -> Option<&'static str> {
    Some(match sign {
        "+" => "plus",
        "-" => "minus",
        "*" => "mul",
        "/" => "div",
        "%" => "rem",
        "&" => "and",
        "|" => "or",
        _ => return None,
    })
}

/// Types of the variables of a rule that are assigned once.
pub(super) fn types(rule: &Rule<'_>) -> BTreeMap<String, Type> {
    let mut types: BTreeMap<String, Type> = BTreeMap::new();
    each_literal(rule, &mut |literal| {
        if let LiteralKind::Assign(Term { kind: Kind::Var(name), .. }, value) = &literal.kind {
            let found = type_of(value, &types);
            types.entry((*name).to_owned()).and_modify(|t| *t = Type::Unknown).or_insert(found);
        }
        if let LiteralKind::SomeIn { value: Term { kind: Kind::Var(name), .. }, collection, .. } = &literal.kind {
            let found = if is_range(collection) { Type::Number } else { Type::Unknown };
            types.entry((*name).to_owned()).and_modify(|t| *t = Type::Unknown).or_insert(found);
        }
    });
    types
}

fn is_range(term: &Term<'_>) -> bool {
    let Kind::Call(name, _) = &term.kind else { return false };
    matches!(name.path().as_deref(), Some(["numbers", "range" | "range_step"]))
}

fn type_of(term: &Term<'_>, types: &BTreeMap<String, Type>) -> Type {
    match &term.kind {
        Kind::Number(_) => Type::Number,
        Kind::Set(_) | Kind::SetOf(..) => Type::Set,
        Kind::Var(name) => types.get(*name).copied().unwrap_or(Type::Unknown),
        Kind::Infix(Operator { sign, .. }, sides) => match *sign {
            "+" | "*" | "/" | "%" => Type::Number,
            "&" | "|" => Type::Set,
            "-" => match (type_of(&sides.0, types), type_of(&sides.1, types)) {
                (left, right) if left == right => left,
                (Type::Unknown, known) | (known, Type::Unknown) => known,
                _ => Type::Unknown,
            },
            _ => Type::Unknown,
        },
        Kind::Call(name, _) => match name.path().map(|p| p.join(".")) {
            Some(name) if NUMBERS.contains(&name.as_str()) => Type::Number,
            Some(name) if name == "object.keys" || name == "intersection" || name == "union" => Type::Set,
            _ => Type::Unknown,
        },
        _ => Type::Unknown,
    }
}

impl Rewriter<'_> {
    pub(super) fn operator(&mut self, term: &Term<'_>, operator: Operator<'_>, sides: &(Term<'_>, Term<'_>)) {
        let Some(function) = function(operator.sign) else { return };
        let wanted: &[Type] = match operator.sign {
            "&" | "|" => &[Type::Set],
            "-" => &[Type::Set, Type::Number],
            _ => &[Type::Number],
        };
        let (left, right) = (type_of(&sides.0, &self.types), type_of(&sides.1, &self.types));
        if left == right && wanted.contains(&left) {
            return;
        }
        self.insert_within(&term.span, term.span.start, format!("__rego__.{function}("));
        self.replace(operator.at..operator.at + operator.sign.len(), ",");
        self.insert_within(&term.span, term.span.end, ")");
    }
}
