//! Modules, rules, bodies and their expressions.

use std::collections::BTreeSet;

use crate::engine::rego::Flaw;
use crate::engine::rego::ast::{
    Body, Else, Import, Kind, Literal, LiteralKind, Module, Rule, RuleBody, Term, Value, With,
};
use crate::engine::rego::lexer::{Lexeme, Token, tokens};
use crate::policy::RegoVersion;

const KEYWORDS: [&str; 11] =
    ["as", "default", "else", "false", "import", "not", "null", "package", "some", "true", "with"];

/// Keywords of v1, and of v0 where they are imported.
const LATER_KEYWORDS: [&str; 4] = ["contains", "every", "if", "in"];

/// Terms and bodies may stand in one another this deep.
const MAX_DEPTH: usize = 250;

/// The module in a text.
///
/// # Errors
/// The first thing that is not Rego of this version.
pub(crate) fn parse_module(text: &str, version: RegoVersion) -> Result<Module<'_>, Flaw> {
    Parser::new(text, version)?.module()
}

/// The expressions of a query.
///
/// # Errors
/// The first thing that is not Rego v1.
pub(crate) fn parse_query(text: &str) -> Result<Body<'_>, Flaw> {
    let mut parser = Parser::new(text, RegoVersion::V1)?;
    let mut body = Vec::new();
    while parser.peek().lexeme != Lexeme::End {
        body.push(parser.literal()?);
        if parser.is_sign(";") {
            parser.at += 1;
        } else if !parser.peek().first {
            return Err(parser.unexpected("expected `;` or a new line"));
        }
    }
    Ok(body)
}

pub(super) struct Parser<'t> {
    tokens: Vec<Token<'t>>,
    comments: Vec<crate::engine::rego::Comment<'t>>,
    pub(super) at: usize,
    /// Those of [`LATER_KEYWORDS`] that are keywords here.
    later: BTreeSet<&'static str>,
    is_v1: bool,
    depth: usize,
    /// Bodies that were no bodies, so far.
    pub(super) doubled: usize,
    end: Token<'t>,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str, version: RegoVersion) -> Result<Self, Flaw> {
        let (tokens, comments) = tokens(text)?;
        let is_v1 = version == RegoVersion::V1;
        let later = if is_v1 { LATER_KEYWORDS.into() } else { BTreeSet::new() };
        let end = text.len();
        let end = Token { lexeme: Lexeme::End, text: "", start: end, end, first: true, glued: false };
        Ok(Self { tokens, comments, at: 0, later, is_v1, depth: 0, doubled: 0, end })
    }

    pub(super) fn peek(&self) -> &Token<'t> {
        self.tokens.get(self.at).unwrap_or(&self.end)
    }

    pub(super) fn next(&mut self) -> Token<'t> {
        let token = *self.peek();
        self.at += 1;
        token
    }

    pub(super) fn previous_end(&self) -> usize {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(0, |t| t.end)
    }

    pub(super) fn is_sign(&self, sign: &str) -> bool {
        let token = self.peek();
        token.lexeme == Lexeme::Sign && token.text == sign
    }

    pub(super) fn is_keyword(&self, name: &str) -> bool {
        KEYWORDS.contains(&name) || self.later.contains(name)
    }

    /// Whether the token is this keyword.
    pub(super) fn is_keyword_token(&self, keyword: &str) -> bool {
        let token = self.peek();
        token.lexeme == Lexeme::Name && token.text == keyword && self.is_keyword(keyword)
    }

    /// Whether a name is the beginning of a reference, keyword or not.
    pub(super) fn begins_reference(&self) -> bool {
        let next = self.tokens.get(self.at + 1).unwrap_or(&self.end);
        self.peek().lexeme == Lexeme::Name
            && next.glued
            && next.lexeme == Lexeme::Sign
            && [".", "["].contains(&next.text)
    }

    /// The keyword, where it is no beginning of a reference.
    fn is_statement(&self, keyword: &str) -> bool {
        self.is_keyword_token(keyword) && !self.begins_reference()
    }

    pub(super) fn expect(&mut self, sign: &str) -> Result<Token<'t>, Flaw> {
        if self.is_sign(sign) { Ok(self.next()) } else { Err(self.unexpected(&format!("expected `{sign}`"))) }
    }

    /// The flaw of a token that cannot stand here.
    pub(super) fn unexpected(&self, wanted: &str) -> Flaw {
        let token = self.peek();
        let what = match token.lexeme {
            Lexeme::End => "unexpected end of the text".to_owned(),
            Lexeme::Name if self.is_keyword(token.text) => format!("unexpected keyword `{}`", token.text),
            Lexeme::Text | Lexeme::RawText | Lexeme::TemplatePart | Lexeme::TemplateEnd => {
                "unexpected string".to_owned()
            }
            _ => format!("unexpected `{}`", token.text),
        };
        Flaw::new(token.start, format!("{what}: {wanted}"))
    }

    /// Runs a step that may lead back to itself.
    pub(super) fn enter<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T, Flaw>) -> Result<T, Flaw> {
        if self.depth >= MAX_DEPTH {
            return Err(Flaw::new(self.peek().start, "expressions nest too deep"));
        }
        self.depth += 1;
        let result = step(self);
        self.depth -= 1;
        result
    }

    fn module(mut self) -> Result<Module<'t>, Flaw> {
        let start = self.peek().start;
        if !self.is_keyword_token("package") {
            return Err(self.unexpected("a file begins with `package`"));
        }
        self.at += 1;
        let path = self.path()?;
        let package = path.path().map(|p| p.into_iter().map(str::to_owned).collect());
        let package = package.ok_or_else(|| Flaw::new(path.span.start, "a package's name has constant steps"))?;
        let package_span = start..self.previous_end();
        let (mut imports, mut rules) = (Vec::new(), Vec::new());
        while self.peek().lexeme != Lexeme::End {
            if self.is_statement("import") {
                imports.push(self.import()?);
            } else {
                rules.push(self.rule()?);
            }
        }
        Ok(Module { package, package_span, imports, rules, comments: self.comments })
    }

    /// A name with steps; its first may be a keyword.
    fn path(&mut self) -> Result<Term<'t>, Flaw> {
        let token = self.next();
        if token.lexeme != Lexeme::Name {
            self.at -= 1;
            return Err(self.unexpected("expected a path"));
        }
        self.steps(Term::new(token.start..token.end, Kind::Var(token.text)))
    }

    fn import(&mut self) -> Result<Import<'t>, Flaw> {
        let start = self.next().start;
        let path = self.path()?;
        let steps = path.path().ok_or_else(|| Flaw::new(path.span.start, "an import's path has constant steps"))?;
        match steps.as_slice() {
            ["rego", "v1"] | ["future", "keywords"] => self.later.extend(LATER_KEYWORDS),
            ["future", "keywords", name] => {
                let name = LATER_KEYWORDS.iter().find(|k| *k == name);
                self.later.extend(name.ok_or_else(|| Flaw::new(path.span.start, "no such keyword"))?.get(..));
                if self.later.contains("every") {
                    self.later.insert("in");
                }
            }
            ["data" | "input" | "rego" | "future", ..] => {}
            _ => {
                let message = "an import's path begins with `data`, `input`, `rego` or `future`";
                return Err(Flaw::new(path.span.start, message));
            }
        }
        let mut alias = None;
        if self.is_keyword_token("as") {
            self.at += 1;
            let name = *self.peek();
            if name.lexeme != Lexeme::Name || self.is_keyword(name.text) {
                return Err(self.unexpected("expected a name"));
            }
            self.at += 1;
            alias = Some(name.text);
        }
        Ok(Import { span: start..self.previous_end(), path, alias })
    }

    fn rule(&mut self) -> Result<Rule<'t>, Flaw> {
        let start = self.peek().start;
        let is_default = self.is_statement("default");
        if is_default {
            self.at += 1;
        }
        let head = *self.peek();
        let is_name = head.lexeme == Lexeme::Name && (self.begins_reference() || !self.is_keyword(head.text));
        if !is_name {
            return Err(self.unexpected("expected a rule"));
        }
        self.at += 1;
        let name = Term::new(head.start..head.end, Kind::Var(head.text));
        let (name, arguments) = match self.steps_of_head(name)? {
            Term { kind: Kind::Call(name, arguments), .. } => (*name, Some(arguments)),
            name => (name, None),
        };
        let mut key = None;
        if self.is_keyword_token("contains") {
            self.at += 1;
            key = Some(self.any_term()?);
        }
        let value = self.value()?;
        let head = start..self.previous_end();
        let mut rule = Rule {
            span: head.clone(),
            head,
            is_default,
            name,
            arguments,
            key,
            value,
            has_if: false,
            bodies: Vec::new(),
            elses: Vec::new(),
        };
        if !is_default {
            self.bodies(&mut rule)?;
        }
        rule.span.end = self.previous_end();
        Ok(rule)
    }

    /// The steps of a head: a space may stand before the first.
    fn steps_of_head(&mut self, name: Term<'t>) -> Result<Term<'t>, Flaw> {
        if let Some(next) = self.tokens.get_mut(self.at)
            && next.lexeme == Lexeme::Sign
            && (next.text == "(" || next.text == "[")
            && !next.first
        {
            next.glued = true;
        }
        self.steps(name)
    }

    fn value(&mut self) -> Result<Option<Value<'t>>, Flaw> {
        let assigned = self.is_sign(":=");
        if !assigned && !self.is_sign("=") {
            return Ok(None);
        }
        self.at += 1;
        Ok(Some(Value { assigned, term: self.any_term()? }))
    }

    fn bodies(&mut self, rule: &mut Rule<'t>) -> Result<(), Flaw> {
        if self.is_statement("if") {
            self.at += 1;
            rule.has_if = true;
            rule.bodies.push(self.body_after_if()?);
        } else if self.is_sign("{") {
            if self.is_v1 {
                return Err(self.unexpected("`if` is needed before the body of a rule"));
            }
            rule.bodies.push(self.braced_body()?);
        } else {
            return Ok(());
        }
        while self.is_statement("else") {
            rule.elses.push(self.else_branch()?);
        }
        while rule.elses.is_empty() && self.is_sign("{") {
            rule.bodies.push(self.braced_body()?);
        }
        Ok(())
    }

    /// One expression, or expressions in braces. What may be an expression is one: `if {"a": 1}`, `if {x | f(x)}`; a
    /// set is not, since it always holds.
    fn body_after_if(&mut self) -> Result<RuleBody<'t>, Flaw> {
        let (here, start) = (self.at, self.peek().start);
        if !self.is_sign("{") {
            let literal = self.literal()?;
            return Ok(RuleBody { span: literal.span.clone(), braced: false, body: vec![literal] });
        }
        match self.literal() {
            Ok(literal) if !is_set(&literal) => {
                return Ok(RuleBody { span: start..self.previous_end(), braced: false, body: vec![literal] });
            }
            _ => self.at = here,
        }
        self.braced_body()
    }

    fn braced_body(&mut self) -> Result<RuleBody<'t>, Flaw> {
        let start = self.expect("{")?.start;
        let body = self.body("}")?;
        self.at += 1;
        Ok(RuleBody { span: start..self.previous_end(), braced: true, body })
    }

    fn else_branch(&mut self) -> Result<Else<'t>, Flaw> {
        self.at += 1;
        let value = self.value()?;
        let body = if self.is_statement("if") {
            self.at += 1;
            Some(if self.is_sign("{") {
                self.braced_body()?
            } else {
                let literal = self.literal()?;
                RuleBody { span: literal.span.clone(), braced: false, body: vec![literal] }
            })
        } else if self.is_sign("{") {
            Some(self.braced_body()?)
        } else if value.is_none() {
            return Err(self.unexpected("expected a value or a body after `else`"));
        } else {
            None
        };
        Ok(Else { value, body })
    }

    /// Expressions up to `end`, which is left.
    pub(super) fn body(&mut self, end: &str) -> Result<Body<'t>, Flaw> {
        let mut body = Vec::new();
        loop {
            body.push(self.enter(Self::literal)?);
            if self.is_sign(";") {
                self.at += 1;
            } else if self.is_sign(end) {
                return Ok(body);
            } else if !self.peek().first || self.peek().lexeme == Lexeme::End {
                return Err(self.unexpected(&format!("expected `;`, a new line or `{end}`")));
            }
        }
    }

    pub(super) fn literal(&mut self) -> Result<Literal<'t>, Flaw> {
        let start = self.peek().start;
        let negated = self.is_statement("not");
        if negated {
            self.at += 1;
        }
        let kind = match (self.is_statement("some"), self.is_statement("every")) {
            (true, _) | (_, true) if negated => return Err(self.unexpected("it cannot be negated")),
            (true, _) => self.some()?,
            (_, true) => self.every()?,
            _ => self.expression()?,
        };
        let mut with = Vec::new();
        while self.is_statement("with") {
            with.push(self.with()?);
        }
        Ok(Literal { span: start..self.previous_end(), negated, kind, with })
    }

    fn expression(&mut self) -> Result<LiteralKind<'t>, Flaw> {
        let left = self.any_term()?;
        if self.is_sign(":=") {
            self.at += 1;
            return Ok(LiteralKind::Assign(left, self.any_term()?));
        }
        if self.is_sign("=") {
            self.at += 1;
            return Ok(LiteralKind::Unify(left, self.any_term()?));
        }
        Ok(LiteralKind::Term(left))
    }

    fn with(&mut self) -> Result<With<'t>, Flaw> {
        let start = self.next().start;
        let target = self.term()?;
        if target.path().is_none() {
            return Err(Flaw::new(target.span.start, "what `with` replaces is a path of constant steps"));
        }
        if !self.is_keyword_token("as") {
            return Err(self.unexpected("expected `as`"));
        }
        self.at += 1;
        let value = self.any_term()?;
        Ok(With { span: start..self.previous_end(), target, value })
    }

    fn some(&mut self) -> Result<LiteralKind<'t>, Flaw> {
        self.at += 1;
        let here = self.at;
        if let Ok(term) = self.any_term()
            && let Kind::In { key, value, collection, .. } = term.kind
        {
            return Ok(LiteralKind::SomeIn { key: key.map(|k| *k), value: *value, collection: *collection });
        }
        self.at = here;
        let mut names = Vec::new();
        loop {
            let name = *self.peek();
            if name.lexeme != Lexeme::Name || self.is_keyword(name.text) {
                return Err(self.unexpected("expected a variable"));
            }
            self.at += 1;
            names.push(Term::new(name.start..name.end, Kind::Var(name.text)));
            if !self.is_sign(",") {
                return Ok(LiteralKind::Some(names));
            }
            self.at += 1;
        }
    }

    fn every(&mut self) -> Result<LiteralKind<'t>, Flaw> {
        self.at += 1;
        let term = self.any_term()?;
        let at = term.span.start;
        let Kind::In { key, value, collection, .. } = term.kind else {
            return Err(Flaw::new(at, "expected `every x in xs { .. }` or `every k, x in xs { .. }`"));
        };
        self.expect("{")?;
        let body = self.body("}")?;
        self.at += 1;
        Ok(LiteralKind::Every { key: key.map(|k| *k), value: *value, collection: *collection, body })
    }
}

fn is_set(literal: &Literal<'_>) -> bool {
    matches!(&literal.kind, LiteralKind::Term(Term { kind: Kind::Set(_), .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaw(text: &str) -> String {
        match parse_module(text, RegoVersion::V1) {
            Ok(module) => format!("{} rules", module.rules.len()),
            Err(flaw) => format!("{}: {}", flaw.at, flaw.message),
        }
    }

    #[test]
    fn what_is_rego() {
        for text in [
            "package a.if\nimport data.x.not as y\nif.foo := 1\np.not contains 1\ndefault else.x(_) := 2",
            "package a\np if { x := {\"a\": 1}; x.if == {1, 2}; not x.not }\nq if not x in y",
            "package a\np := {a | a := b[_]; a > 1}\nq := [a | b]\nr := {a + 1: b | b}",
            "package a\np if {x | x}\nq if {\"a\": 1}\nr if {a}\ns := $\"a {b + 1} \\{ {$`{c}`}\"",
            "package a\np if every k, v in {1} { v > k }\nq if { some x, y in z; f(x) == 1 } else := 3 if true else := 4",
            "package a\nimport rego.v1\np := -1.5e3 + .5 with_x\nwith_x := (1 + 2) * 3 - x[(1)].y(2)[3]",
        ] {
            let found = flaw(text);
            assert!(found.ends_with(" rules") || text.contains("with_x"), "{text}: {found}");
        }
    }

    #[test]
    fn no_text_takes_time_exponential_in_its_depth() {
        for nest in ["[a | ", "{a | ", "{a: b | ", "[(", "{[", "if {"] {
            let text = format!("package a\np := {}x, y", nest.repeat(60));
            assert!(!flaw(&text).ends_with(" rules"), "{nest}");
        }
    }

    #[test]
    fn what_is_not() {
        for (text, wanted) in [
            ("p := 1", "0: unexpected `p`: a file begins with `package`"),
            ("package a\np { true }", "12: unexpected `{`: `if` is needed before the body of a rule"),
            ("package a\np := $\"{x := 1}\"", "18: an assignment gives a template string no value"),
            ("package a\np := $\"{x\"", "19: the string has no end"),
            ("package a\np := $\"{x", "19: the template string has no end"),
            ("package a\np if { a b }", "19: unexpected `b`: expected `;`, a new line or `}`"),
            ("package a\np if { \"a\".b }", "20: unexpected `.`: what stands before it has no steps"),
        ] {
            assert_eq!(flaw(text), wanted, "{text}");
        }
    }
}
