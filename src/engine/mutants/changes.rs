//! Small changes to the text of a policy, each of which should make some test fail.
//!
//! Works on our own syntax tree. Knows nothing of tests; whether a changed text is still a policy is seen by compiling it.

use crate::engine::rego::{self, Body, Kind, Literal, LiteralKind, Part, Span, Step, Term};
use crate::policy::RegoVersion;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// What is replaced.
    pub span: Span,
    pub put: String,
    /// For the author.
    pub told: String,
}

impl Change {
    /// The text with the change made.
    pub(super) fn of(&self, text: &str) -> String {
        let before = text.get(..self.span.start).unwrap_or_default();
        let after = text.get(self.span.end..).unwrap_or_default();
        format!("{before}{}{after}", self.put)
    }
}

/// All changes of a module, in the order of the text; none of what does not parse.
pub(super) fn changes(text: &str, version: RegoVersion) -> Vec<Change> {
    let Ok(module) = rego::parse_module(text, version) else { return Vec::new() };
    let mut maker = Maker { text, found: Vec::new() };
    for rule in module.rules.iter().filter(|r| !r.name.root().is_some_and(is_test)) {
        let values = rule.elses.iter().map(|e| &e.value).chain([&rule.value]).flatten().map(|v| &v.term);
        rule.key.iter().chain(values).for_each(|t| maker.term(t));
        let bodies = rule.elses.iter().filter_map(|e| e.body.as_ref()).chain(&rule.bodies);
        bodies.for_each(|b| maker.body(&b.body));
    }
    let mut found = maker.found;
    found.sort_by(|a, b| (a.span.start, a.span.end, &a.told).cmp(&(b.span.start, b.span.end, &b.told)));
    found.dedup();
    found
}

fn is_test(name: &str) -> bool {
    name.starts_with("test_") || name.starts_with("todo_test_")
}

struct Maker<'t> {
    text: &'t str,
    found: Vec<Change>,
}

impl Maker<'_> {
    fn change(&mut self, span: Span, put: impl Into<String>, told: String) {
        self.found.push(Change { span, put: put.into(), told });
    }

    /// A piece of the text on one line.
    fn shown(&self, span: &Span) -> String {
        const MOST: usize = 70;
        let words = self.text.get(span.clone()).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        if words.chars().count() <= MOST {
            return words;
        }
        words.chars().take(MOST).chain("...".chars()).collect()
    }

    fn body(&mut self, body: &Body<'_>) {
        body.iter().for_each(|l| self.literal(l));
    }

    fn literal(&mut self, literal: &Literal<'_>) {
        if is_print(literal) {
            return;
        }
        let shown = self.shown(&literal.span);
        if shown != "true" {
            self.change(literal.span.clone(), "true", format!("`{shown}` is left out"));
        }
        match &literal.kind {
            LiteralKind::Term(term) => {
                let expression = self.shown(&(term.outer.start..literal.span.end));
                if literal.negated {
                    let told = format!("`not` is taken from `{expression}`");
                    self.change(literal.span.start..term.outer.start, "", told);
                } else {
                    let told = format!("`not` stands before `{expression}`");
                    self.change(literal.span.start..literal.span.start, "not ", told);
                }
                self.term(term);
            }
            // What stands to the left is a name or a pattern.
            LiteralKind::Assign(_, right) => self.term(right),
            LiteralKind::Unify(left, right) => {
                self.term(left);
                self.term(right);
            }
            LiteralKind::Some(_) => {}
            LiteralKind::SomeIn { collection, .. } => self.term(collection),
            LiteralKind::Every { collection, body, .. } => {
                self.term(collection);
                self.body(body);
            }
        }
        literal.with.iter().for_each(|w| self.term(&w.value));
    }

    fn term(&mut self, term: &Term<'_>) {
        let span = term.span.clone();
        let shown = self.shown(&span);
        match &term.kind {
            Kind::Bool(value) => {
                let other = (!value).to_string();
                self.change(span, other.clone(), format!("`{value}` is `{other}`"));
            }
            Kind::Number(written) => {
                if let Some(next) = written.parse::<i64>().ok().and_then(|n| n.checked_add(1)) {
                    self.change(span, next.to_string(), format!("`{written}` is `{next}`"));
                }
            }
            Kind::Text(value) if !value.is_empty() => {
                self.change(span, "\"\"", format!("`{shown}` is `\"\"`"));
            }
            Kind::Infix(operator, _) => {
                if let Some(other) = swapped(operator.sign) {
                    let at = operator.at..operator.at + operator.sign.len();
                    self.change(at, other, format!("`{}` is `{other}` in `{shown}`", operator.sign));
                }
            }
            Kind::Array(items) => self.elements(&span, items, "[]"),
            Kind::Set(items) => self.elements(&span, items, "set()"),
            Kind::ArrayOf(_, body) | Kind::SetOf(_, body) | Kind::ObjectOf(_, body) => self.body(body),
            Kind::Template(parts) => {
                for part in parts {
                    if let Part::Expression(literal) = part
                        && let LiteralKind::Term(term) = &literal.kind
                    {
                        self.term(term);
                    }
                }
            }
            _ => {}
        }
        match &term.kind {
            // Another function is no small change, and a name below another none either.
            Kind::Call(_, operands) => operands.iter().for_each(|t| self.term(t)),
            Kind::Ref(head, steps) => {
                self.term(head);
                for step in steps {
                    match step {
                        Step::Bracket(term, _) if !matches!(term.kind, Kind::Text(_)) => self.term(term),
                        _ => {}
                    }
                }
            }
            Kind::Object(pairs) => pairs.iter().for_each(|(_, value)| self.term(value)),
            _ => term.children().into_iter().for_each(|t| self.term(t)),
        }
    }

    /// One element less.
    fn elements(&mut self, span: &Span, items: &[Term<'_>], empty: &str) {
        let all = self.shown(span);
        for (index, item) in items.iter().enumerate() {
            let told = format!("`{}` is left out of `{all}`", self.shown(&item.outer));
            let before = index.checked_sub(1).and_then(|i| items.get(i));
            match (items.get(index + 1), before) {
                (Some(next), _) => self.change(item.outer.start..next.outer.start, "", told),
                (None, Some(before)) => self.change(before.outer.end..item.outer.end, "", told),
                (None, None) => self.change(span.clone(), empty, told),
            }
        }
    }
}

fn is_print(literal: &Literal<'_>) -> bool {
    let LiteralKind::Term(Term { kind: Kind::Call(operator, _), .. }) = &literal.kind else { return false };
    operator.path().is_some_and(|p| p == ["print"] || p == ["trace"])
}

fn swapped(sign: &str) -> Option<&'static str> {
    Some(match sign {
        "==" => "!=",
        "!=" => "==",
        "<" => "<=",
        "<=" => "<",
        ">" => ">=",
        ">=" => ">",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_small_and_told() {
        let text = "package a\n\nimport rego.v1\n\ndeny contains msg if {\n\tnot input.x\n\tcount(input.y) > 2\n\tmsg := \"no\" # why\n\tprint(1)\n}\n\nok := true\n\nnames := {\"b\", (\"c\")}\n\ntest_a if input.z == 1\n";
        let all = changes(text, RegoVersion::V1);
        let lines: Vec<String> = all
            .iter()
            .map(|c| {
                let changed = c.of(text);
                let (new, old): (Vec<&str>, Vec<&str>) = (changed.lines().collect(), text.lines().collect());
                let differs = new.iter().zip(&old).find(|(n, o)| n != o).map_or("", |(n, _)| n.trim());
                format!("{}: {differs}", c.told)
            })
            .collect();
        assert_eq!(
            lines,
            [
                "`not` is taken from `input.x`: input.x",
                "`not input.x` is left out: true",
                "`not` stands before `count(input.y) > 2`: not count(input.y) > 2",
                "`count(input.y) > 2` is left out: true",
                "`>` is `>=` in `count(input.y) > 2`: count(input.y) >= 2",
                "`2` is `3`: count(input.y) > 3",
                "`msg := \"no\"` is left out: true # why",
                "`\"no\"` is `\"\"`: msg := \"\" # why",
                "`true` is `false`: ok := false",
                "`\"b\"` is `\"\"`: names := {\"\", (\"c\")}",
                "`\"b\"` is left out of `{\"b\", (\"c\")}`: names := {(\"c\")}",
                "`(\"c\")` is left out of `{\"b\", (\"c\")}`: names := {\"b\"}",
                "`\"c\"` is `\"\"`: names := {\"b\", (\"\")}",
            ]
        );
    }
}
