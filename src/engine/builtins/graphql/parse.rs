//! From text to documents (October 2021 specification, sections 2 and 3), as strict as the parser that OPA uses.

use super::document::*;
use super::lexer::{Token, fault, tokens};
use crate::engine::builtins::call::{CallError, at_most};

/// Brackets nest at most this deep.
const MAX_DEPTH: usize = 100;

type Parsed<T> = Result<T, CallError>;

pub(super) struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(usize, Token)>,
    next: usize,
    depth: usize,
}

/// A query document.
pub(super) fn query(text: &str) -> Parsed<QueryDocument> {
    let mut parser = Parser::new(text)?;
    let mut document = QueryDocument::default();
    while let Some(token) = parser.peek() {
        match token {
            Token::Mark("{") => document.operations.push(Operation {
                operation: "query".to_owned(),
                selection_set: parser.selections()?,
                ..Operation::default()
            }),
            Token::Name(word) if ["query", "mutation", "subscription"].contains(&word.as_str()) => {
                document.operations.push(parser.operation()?);
            }
            Token::Name(word) if word == "fragment" => document.fragments.push(parser.fragment()?),
            _ => return Err(parser.unexpected()),
        }
    }
    Ok(document)
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Parsed<Self> {
        Ok(Self { text, tokens: tokens(text)?, next: 0, depth: 0 })
    }

    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    pub(super) fn is(&self, mark: &str) -> bool {
        matches!(self.peek(), Some(Token::Mark(m)) if *m == mark)
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Name(name)) if name == word)
    }

    /// Takes the mark if it comes next.
    pub(super) fn skip(&mut self, mark: &str) -> bool {
        let found = self.is(mark);
        self.next += usize::from(found);
        found
    }

    pub(super) fn skip_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.next += usize::from(found);
        found
    }

    fn fault(&self, what: &str) -> CallError {
        let at = self.tokens.get(self.next).map_or(self.text.len(), |(at, _)| *at);
        fault(self.text, at, what)
    }

    fn found(&self) -> String {
        self.peek().map_or_else(|| "<EOF>".to_owned(), Token::shown)
    }

    pub(super) fn unexpected(&self) -> CallError {
        self.fault(&format!("Unexpected {}", self.found()))
    }

    pub(super) fn expect(&mut self, mark: &str) -> Parsed<()> {
        if self.skip(mark) {
            return Ok(());
        }
        Err(self.fault(&format!("Expected {mark}, found {}", self.found())))
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Parsed<()> {
        if self.skip_word(word) {
            return Ok(());
        }
        Err(self.fault(&format!("Expected {word:?}, found {}", self.found())))
    }

    pub(super) fn name(&mut self) -> Parsed<String> {
        match self.peek() {
            Some(Token::Name(name)) => {
                let name = name.clone();
                self.next += 1;
                Ok(name)
            }
            _ => Err(self.fault(&format!("Expected Name, found {}", self.found()))),
        }
    }

    /// A description, empty if there is none.
    pub(super) fn description(&mut self) -> String {
        match self.peek() {
            Some(Token::Text(text) | Token::Block(text)) => {
                let text = text.clone();
                self.next += 1;
                text
            }
            _ => String::new(),
        }
    }

    /// One or more items in brackets.
    pub(super) fn some<T>(
        &mut self,
        open: &str,
        close: &str,
        item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        let items = self.many(open, close, item)?;
        if items.is_empty() {
            self.next -= 1;
            return Err(self.fault(&format!("expected at least one definition, found {close}")));
        }
        Ok(items)
    }

    fn many<T>(&mut self, open: &str, close: &str, mut item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        self.expect(open)?;
        self.depth += 1;
        at_most(self.depth, MAX_DEPTH, "nested brackets")?;
        let mut items = Vec::new();
        while !self.skip(close) {
            items.push(item(self)?);
        }
        self.depth -= 1;
        Ok(items)
    }

    fn operation(&mut self) -> Parsed<Operation> {
        let operation = self.name()?;
        let name = match self.peek() {
            Some(Token::Name(_)) => self.name()?,
            _ => String::new(),
        };
        Ok(Operation {
            operation,
            name,
            variable_definitions: self.variables()?,
            directives: self.directives()?,
            selection_set: self.selections()?,
        })
    }

    fn fragment(&mut self) -> Parsed<Fragment> {
        self.expect_word("fragment")?;
        if self.is_word("on") {
            return Err(self.unexpected());
        }
        let name = self.name()?;
        let variable_definition = self.variables()?;
        self.expect_word("on")?;
        Ok(Fragment {
            name,
            variable_definition,
            type_condition: self.name()?,
            directives: self.directives()?,
            selection_set: self.selections()?,
        })
    }

    fn variables(&mut self) -> Parsed<Vec<Variable>> {
        if !self.is("(") {
            return Ok(Vec::new());
        }
        self.some("(", ")", |p| {
            p.expect("$")?;
            let variable = p.name()?;
            p.expect(":")?;
            let r#type = p.r#type()?;
            let default_value = if p.skip("=") { Some(p.literal(true)?) } else { None };
            Ok(Variable { variable, r#type, default_value, directives: p.directives()?, used: false })
        })
    }

    fn selections(&mut self) -> Parsed<Vec<Selection>> {
        self.some("{", "}", Self::selection)
    }

    fn selection(&mut self) -> Parsed<Selection> {
        if self.skip("...") {
            if matches!(self.peek(), Some(Token::Name(name)) if name != "on") {
                return Ok(Selection::Spread(Spread { name: self.name()?, directives: self.directives()? }));
            }
            let type_condition = if self.skip_word("on") { self.name()? } else { String::new() };
            let directives = self.directives()?;
            return Ok(Selection::Inline(Inline { type_condition, directives, selection_set: self.selections()? }));
        }
        let alias = self.name()?;
        let name = if self.skip(":") { self.name()? } else { alias.clone() };
        let arguments = self.arguments(false)?;
        let directives = self.directives()?;
        let selection_set = if self.is("{") { self.selections()? } else { Vec::new() };
        Ok(Selection::Field(Field { alias, name, arguments, directives, selection_set }))
    }

    fn arguments(&mut self, constant: bool) -> Parsed<Vec<Argument>> {
        if !self.is("(") {
            return Ok(Vec::new());
        }
        self.some("(", ")", |p| p.named(constant))
    }

    fn named(&mut self, constant: bool) -> Parsed<Argument> {
        let name = self.name()?;
        self.expect(":")?;
        Ok(Argument { name, value: self.literal(constant)? })
    }

    pub(super) fn directives(&mut self) -> Parsed<Vec<Directive>> {
        let mut directives = Vec::new();
        while self.skip("@") {
            let name = self.name()?;
            directives.push(Directive { name, arguments: self.arguments(false)?, location: String::new() });
        }
        Ok(directives)
    }

    pub(super) fn r#type(&mut self) -> Parsed<Type> {
        self.depth += 1;
        at_most(self.depth, MAX_DEPTH, "nested brackets")?;
        let mut parsed = Type::default();
        if self.skip("[") {
            parsed.elem = Some(Box::new(self.r#type()?));
            self.expect("]")?;
        } else {
            parsed.named_type = self.name()?;
        }
        parsed.non_null = self.skip("!");
        self.depth -= 1;
        Ok(parsed)
    }

    /// A value; a `constant` one holds no variables.
    pub(super) fn literal(&mut self, constant: bool) -> Parsed<Literal> {
        let of = |kind: u8, raw: &str| Literal { raw: raw.to_owned(), kind, ..Literal::default() };
        let literal = match self.peek() {
            Some(Token::Mark("[")) => {
                let children =
                    self.many("[", "]", |p| Ok(Argument { name: String::new(), value: p.literal(constant)? }))?;
                return Ok(Literal { children, ..of(LIST, "") });
            }
            Some(Token::Mark("{")) => {
                let children = self.many("{", "}", |p| p.named(constant))?;
                return Ok(Literal { children, ..of(OBJECT, "") });
            }
            Some(Token::Mark("$")) if !constant => {
                self.next += 1;
                let name = self.name()?;
                return Ok(of(VARIABLE, &name));
            }
            Some(Token::Int(raw)) => of(INT, raw),
            Some(Token::Float(raw)) => of(FLOAT, raw),
            Some(Token::Text(raw)) => of(STRING, raw),
            Some(Token::Block(raw)) => of(BLOCK, raw),
            Some(Token::Name(raw)) => match raw.as_str() {
                "true" | "false" => of(BOOLEAN, raw),
                "null" => of(NULL, raw),
                _ => of(ENUM, raw),
            },
            _ => return Err(self.unexpected()),
        };
        self.next += 1;
        Ok(literal)
    }
}
