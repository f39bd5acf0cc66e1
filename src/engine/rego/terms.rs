//! Terms: values, references, calls, operators, comprehensions, template strings.

use crate::engine::rego::Flaw;
use crate::engine::rego::ast::{Kind, LiteralKind, Operator, Part, Step, Term};
use crate::engine::rego::lexer::{Lexeme, Token};
use crate::engine::rego::parser::Parser;

type Parsed<'t> = Result<Term<'t>, Flaw>;

/// Operators by how tight they bind.
const LEVELS: [&[&str]; 5] = [&["==", "!=", "<", ">", "<=", ">="], &["|"], &["&"], &["+", "-"], &["*", "/", "%"]];

/// Bodies of comprehensions in a text that turn out to be none.
const MAX_DOUBLED: usize = 64;

fn level(token: &Token<'_>) -> Option<usize> {
    let sign = (token.lexeme == Lexeme::Sign).then_some(token.text)?;
    LEVELS.iter().position(|signs| signs.contains(&sign))
}

impl<'t> Parser<'t> {
    /// Any term: `key, value in xs`, `a in b`, `a + b == c`.
    pub(super) fn any_term(&mut self) -> Parsed<'t> {
        let first = self.infix(0)?;
        self.membership(first, true)
    }

    /// A term among others, parted by commas.
    fn item(&mut self) -> Parsed<'t> {
        let first = self.infix(0)?;
        self.membership(first, false)
    }

    /// What goes on with `in` after a term; with `pairs` also `key, value in`.
    fn membership(&mut self, first: Term<'t>, pairs: bool) -> Parsed<'t> {
        let mut left = first;
        if pairs && self.is_sign(",") {
            let here = self.at;
            self.at += 1;
            match self.infix(0) {
                Ok(value) if self.is_in() => {
                    self.at += 1;
                    let collection = self.infix(0)?;
                    let span = left.outer.start..self.previous_end();
                    let (value, collection) = (Box::new(value), Box::new(collection));
                    left = Term::new(span, Kind::In { key: Some(Box::new(left)), value, collection });
                }
                _ => self.at = here,
            }
        }
        while self.is_in() {
            self.at += 1;
            let collection = Box::new(self.infix(0)?);
            let span = left.outer.start..self.previous_end();
            left = Term::new(span, Kind::In { key: None, value: Box::new(left), collection });
        }
        Ok(left)
    }

    fn is_in(&self) -> bool {
        self.is_keyword_token("in") && !self.begins_reference()
    }

    fn infix(&mut self, lowest: usize) -> Parsed<'t> {
        let first = self.term()?;
        self.infix_after(first, lowest)
    }

    /// The operators after a term that bind at least as tight as `lowest`.
    fn infix_after(&mut self, first: Term<'t>, lowest: usize) -> Parsed<'t> {
        let mut left = first;
        while let Some(found) = level(self.peek()).filter(|l| *l >= lowest) {
            let sign = self.next();
            let operator = Operator { sign: sign.text, at: sign.start };
            let right = self.enter(|p| p.infix(found + 1))?;
            let span = left.outer.start..right.outer.end;
            left = Term::new(span, Kind::Infix(operator, Box::new((left, right))));
        }
        Ok(left)
    }

    /// A term without operators around it.
    pub(super) fn term(&mut self) -> Parsed<'t> {
        self.enter(Self::term_here)
    }

    fn term_here(&mut self) -> Parsed<'t> {
        let token = *self.peek();
        let head = match token.lexeme {
            Lexeme::Name => self.name()?,
            Lexeme::Number => self.number()?,
            Lexeme::Text | Lexeme::RawText => {
                self.at += 1;
                Term::new(token.start..token.end, Kind::Text(string(&token)?))
            }
            Lexeme::TemplatePart | Lexeme::TemplateEnd if token.text.starts_with('$') => self.template()?,
            Lexeme::Sign => match token.text {
                "-" | "." => self.number()?,
                "[" => self.array()?,
                "{" => self.set_or_object()?,
                "(" => self.in_brackets()?,
                _ => return Err(self.unexpected("expected a value")),
            },
            _ => return Err(self.unexpected("expected a value")),
        };
        self.steps(head)
    }

    fn name(&mut self) -> Parsed<'t> {
        let token = *self.peek();
        let kind = match token.text {
            _ if self.begins_reference() => Kind::Var(token.text),
            "null" => Kind::Null,
            "true" => Kind::Bool(true),
            "false" => Kind::Bool(false),
            name if self.is_keyword(name) && name != "contains" => {
                return Err(self.unexpected("expected a value"));
            }
            name => Kind::Var(name),
        };
        self.at += 1;
        Ok(Term::new(token.start..token.end, kind))
    }

    fn number(&mut self) -> Parsed<'t> {
        let start = self.peek().start;
        let mut text = String::new();
        for sign in ["-", "."] {
            if self.is_sign(sign) {
                text.push_str(sign);
                self.at += 1;
            }
        }
        let digits = *self.peek();
        if digits.lexeme != Lexeme::Number {
            return Err(self.unexpected("expected a number"));
        }
        self.at += 1;
        text.push_str(digits.text);
        Ok(Term::new(start..digits.end, Kind::Number(text)))
    }

    fn in_brackets(&mut self) -> Parsed<'t> {
        let start = self.next().start;
        let mut term = self.any_term()?;
        let end = self.expect(")")?.end;
        term.outer = start..end;
        Ok(term)
    }

    /// The steps and calls that follow a term.
    pub(super) fn steps(&mut self, head: Term<'t>) -> Parsed<'t> {
        let follows = |p: &Self| p.peek().glued && ["(", ".", "["].iter().any(|s| p.is_sign(s));
        if !follows(self) {
            return Ok(head);
        }
        let may_have_steps =
            !matches!(head.kind, Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::Template(_));
        if !may_have_steps {
            return Err(self.unexpected("what stands before it has no steps"));
        }
        let mut term = head;
        while follows(self) {
            if self.is_sign("(") {
                term = self.call(term)?;
                continue;
            }
            let (start, mut steps) = (term.outer.start, Vec::new());
            while follows(self) && !self.is_sign("(") {
                steps.push(self.step()?);
            }
            term = Term::new(start..self.previous_end(), Kind::Ref(Box::new(term), steps));
        }
        Ok(term)
    }

    fn step(&mut self) -> Result<Step<'t>, Flaw> {
        let start = self.next();
        if start.text == "." {
            let name = *self.peek();
            if name.lexeme != Lexeme::Name || !name.glued {
                return Err(self.unexpected("expected a name after `.`"));
            }
            self.at += 1;
            return Ok(Step::Dot(name.text, start.start..name.end));
        }
        let term = self.any_term()?;
        let end = self.expect("]")?.end;
        Ok(Step::Bracket(term, start.start..end))
    }

    fn call(&mut self, operator: Term<'t>) -> Parsed<'t> {
        if operator.root().is_none() {
            return Err(self.unexpected("what stands before it is no name of a function"));
        }
        self.at += 1;
        let operands = self.items(")")?;
        let end = self.expect(")")?.end;
        let span = operator.outer.start..end;
        Ok(match operator.kind {
            Kind::Var("set") if operands.is_empty() => Term::new(span, Kind::Set(Vec::new())),
            _ => Term::new(span, Kind::Call(Box::new(operator), operands)),
        })
    }

    /// Terms parted by commas, up to `end`; a comma may stand after the last.
    fn items(&mut self, end: &str) -> Result<Vec<Term<'t>>, Flaw> {
        let mut items = Vec::new();
        while !self.is_sign(end) {
            items.push(self.item()?);
            if !self.is_sign(",") {
                break;
            }
            self.at += 1;
        }
        Ok(items)
    }

    fn array(&mut self) -> Parsed<'t> {
        let start = self.next().start;
        if self.is_sign("]") {
            self.at += 1;
            return Ok(Term::new(start..self.previous_end(), Kind::Array(Vec::new())));
        }
        let first = self.term()?;
        if let Some(body) = self.comprehension("]")? {
            return Ok(Term::new(start..self.previous_end(), Kind::ArrayOf(Box::new(first), body)));
        }
        let items = self.items_after(first, "]")?;
        Ok(Term::new(start..self.previous_end(), Kind::Array(items)))
    }

    /// `| body` and `end`, where they follow. `|` after a term alone is never an operator here, as in OPA; where the
    /// body ends with a comma, it is one after all.
    fn comprehension(&mut self, end: &str) -> Result<Option<crate::engine::rego::Body<'t>>, Flaw> {
        if !self.is_sign("|") {
            return Ok(None);
        }
        let here = self.at;
        self.at += 1;
        match self.body(end) {
            Ok(body) => {
                self.at += 1;
                Ok(Some(body))
            }
            // Each such body is read twice, and so are those within it.
            Err(_) if self.is_sign(",") && self.doubled < MAX_DOUBLED => {
                self.doubled += 1;
                self.at = here;
                Ok(None)
            }
            Err(flaw) => Err(flaw),
        }
    }

    fn items_after(&mut self, first: Term<'t>, end: &str) -> Result<Vec<Term<'t>>, Flaw> {
        let first = self.infix_after(first, 0)?;
        let mut items = vec![self.membership(first, false)?];
        if self.is_sign(",") {
            self.at += 1;
            items.extend(self.items(end)?);
        }
        self.expect(end)?;
        Ok(items)
    }

    fn set_or_object(&mut self) -> Parsed<'t> {
        let start = self.next().start;
        if self.is_sign("}") {
            self.at += 1;
            return Ok(Term::new(start..self.previous_end(), Kind::Object(Vec::new())));
        }
        let first = self.term()?;
        if let Some(body) = self.comprehension("}")? {
            return Ok(Term::new(start..self.previous_end(), Kind::SetOf(Box::new(first), body)));
        }
        let first = self.infix_after(first, 0)?;
        let first = self.membership(first, false)?;
        if self.is_sign(":") {
            return self.object(start, first);
        }
        let items = self.items_after(first, "}")?;
        Ok(Term::new(start..self.previous_end(), Kind::Set(items)))
    }

    fn object(&mut self, start: usize, key: Term<'t>) -> Parsed<'t> {
        self.at += 1;
        let value = self.term()?;
        if let Some(body) = self.comprehension("}")? {
            let kind = Kind::ObjectOf(Box::new((key, value)), body);
            return Ok(Term::new(start..self.previous_end(), kind));
        }
        let value = self.infix_after(value, 0)?;
        let mut pairs = vec![(key, self.membership(value, false)?)];
        while self.is_sign(",") {
            self.at += 1;
            if self.is_sign("}") {
                break;
            }
            let key = self.item()?;
            self.expect(":")?;
            pairs.push((key, self.item()?));
        }
        self.expect("}")?;
        Ok(Term::new(start..self.previous_end(), Kind::Object(pairs)))
    }

    fn template(&mut self) -> Parsed<'t> {
        let start = self.peek().start;
        let raw = self.peek().text.starts_with("$`");
        let mut parts = Vec::new();
        loop {
            let token = *self.peek();
            let is_last = match token.lexeme {
                Lexeme::TemplatePart => false,
                Lexeme::TemplateEnd => true,
                _ => return Err(self.unexpected("expected `}` after the expression of a template string")),
            };
            self.at += 1;
            parts.push(Part::Text(template_text(&token, raw)?, token.start..token.end));
            if is_last {
                return Ok(Term::new(start..token.end, Kind::Template(parts)));
            }
            let literal = self.literal()?;
            let wrong = match &literal.kind {
                _ if literal.negated => "a negation",
                LiteralKind::Term(_) => "",
                LiteralKind::Assign(..) | LiteralKind::Unify(..) => "an assignment",
                _ => "a declaration",
            };
            if !wrong.is_empty() {
                return Err(Flaw::new(literal.span.start, format!("{wrong} gives a template string no value")));
            }
            parts.push(Part::Expression(Box::new(literal)));
        }
    }
}

/// The value of a string literal.
fn string(token: &Token<'_>) -> Result<String, Flaw> {
    match token.text.strip_prefix('`') {
        Some(rest) => Ok(rest.strip_suffix('`').unwrap_or(rest).to_owned()),
        None => serde_json::from_str(token.text).map_err(|_| Flaw::new(token.start, "the string is no JSON string")),
    }
}

/// What a part of a template string says.
fn template_text(token: &Token<'_>, raw: bool) -> Result<String, Flaw> {
    let open = if token.text.starts_with('$') { 2 } else { 1 };
    let inner = token.text.get(open..token.text.len().saturating_sub(1)).unwrap_or_default();
    if raw {
        return Ok(inner.replace("\\{", "{"));
    }
    let mut quoted = String::from("\"");
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some('{')) => {}
            ('\\', Some(escaped)) => {
                quoted.extend([c, escaped]);
                chars.next();
            }
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    serde_json::from_str(&quoted).map_err(|_| Flaw::new(token.start, "illegal text in a template string"))
}
