//! From text to schema documents (October 2021 specification, section 3).

use super::document::*;
use super::lexer::Token;
use super::parse::Parser;
use crate::engine::builtins::call::CallError;

type Parsed<T> = Result<T, CallError>;

/// A schema document.
pub(super) fn schema(text: &str) -> Parsed<SchemaDocument> {
    let mut parser = Parser::new(text)?;
    let mut document = SchemaDocument::default();
    while parser.peek().is_some() {
        let description = parser.description();
        let Some(Token::Name(word)) = parser.peek() else { return Err(parser.unexpected()) };
        match word.as_str() {
            "schema" => document.schema.push(parser.schema_definition(description, false)?),
            "directive" => document.directives.push(parser.directive_definition(description)?),
            "extend" if description.is_empty() => {
                parser.skip_word("extend");
                if parser.is_word("schema") {
                    document.schema_extension.push(parser.schema_definition(description, true)?);
                } else {
                    document.extensions.push(parser.definition(description, true)?);
                }
            }
            _ => document.definitions.push(parser.definition(description, false)?),
        }
    }
    Ok(document)
}

impl Parser<'_> {
    fn schema_definition(&mut self, description: String, extends: bool) -> Parsed<SchemaDefinition> {
        self.expect_word("schema")?;
        let directives = self.directives()?;
        let mut operation_types = Vec::new();
        if !extends || self.is("{") {
            operation_types = self.some("{", "}", |p| {
                let operation = p.name()?;
                if !["query", "mutation", "subscription"].contains(&operation.as_str()) {
                    return Err(p.unexpected());
                }
                p.expect(":")?;
                Ok(OperationType { operation, r#type: p.name()? })
            })?;
        }
        if extends && directives.is_empty() && operation_types.is_empty() {
            return Err(self.unexpected());
        }
        Ok(SchemaDefinition { description, directives, operation_types })
    }

    fn directive_definition(&mut self, description: String) -> Parsed<DirectiveDefinition> {
        self.expect_word("directive")?;
        self.expect("@")?;
        let name = self.name()?;
        let arguments = self.members("(", ")", Self::argument)?;
        let is_repeatable = self.skip_word("repeatable");
        self.expect_word("on")?;
        self.skip("|");
        let mut locations = vec![self.location()?];
        while self.skip("|") {
            locations.push(self.location()?);
        }
        Ok(DirectiveDefinition { description, name, arguments, locations, is_repeatable })
    }

    fn location(&mut self) -> Parsed<String> {
        const KNOWN: [&str; 19] = [
            "QUERY",
            "MUTATION",
            "SUBSCRIPTION",
            "FIELD",
            "FRAGMENT_DEFINITION",
            "FRAGMENT_SPREAD",
            "INLINE_FRAGMENT",
            "VARIABLE_DEFINITION",
            "SCHEMA",
            "SCALAR",
            "OBJECT",
            "FIELD_DEFINITION",
            "ARGUMENT_DEFINITION",
            "INTERFACE",
            "UNION",
            "ENUM",
            "ENUM_VALUE",
            "INPUT_OBJECT",
            "INPUT_FIELD_DEFINITION",
        ];
        let known = matches!(self.peek(), Some(Token::Name(name)) if KNOWN.contains(&name.as_str()));
        if known { self.name() } else { Err(self.unexpected()) }
    }

    fn definition(&mut self, description: String, extends: bool) -> Parsed<Definition> {
        let Some(Token::Name(word)) = self.peek() else { return Err(self.unexpected()) };
        let kind = match word.as_str() {
            "scalar" => "SCALAR",
            "type" => "OBJECT",
            "interface" => "INTERFACE",
            "union" => "UNION",
            "enum" => "ENUM",
            "input" => "INPUT_OBJECT",
            _ => return Err(self.unexpected()),
        };
        self.name()?;
        let mut definition =
            Definition { kind: kind.to_owned(), description, name: self.name()?, ..Definition::default() };
        if kind == "OBJECT" || kind == "INTERFACE" {
            definition.interfaces = self.interfaces()?;
        }
        definition.directives = self.directives()?;
        match kind {
            "OBJECT" | "INTERFACE" => definition.fields = self.members("{", "}", Self::field)?,
            "INPUT_OBJECT" => definition.fields = self.members("{", "}", Self::argument)?,
            "ENUM" => definition.enum_values = self.members("{", "}", Self::enum_value)?,
            "UNION" if self.skip("=") => {
                self.skip("|");
                definition.types.push(self.name()?);
                while self.skip("|") {
                    definition.types.push(self.name()?);
                }
            }
            _ => {}
        }
        let says_nothing = definition.directives.is_empty()
            && definition.interfaces.is_empty()
            && definition.fields.is_empty()
            && definition.types.is_empty()
            && definition.enum_values.is_empty();
        if extends && says_nothing {
            return Err(self.unexpected());
        }
        Ok(definition)
    }

    fn interfaces(&mut self) -> Parsed<Vec<String>> {
        let mut names = Vec::new();
        if self.skip_word("implements") {
            self.skip("&");
            names.push(self.name()?);
            while self.skip("&") {
                names.push(self.name()?);
            }
        }
        Ok(names)
    }

    fn members<T>(&mut self, open: &str, close: &str, item: fn(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        if self.is(open) { self.some(open, close, item) } else { Ok(Vec::new()) }
    }

    fn field(&mut self) -> Parsed<Member> {
        let description = self.description();
        let name = self.name()?;
        let arguments = self.members("(", ")", Self::argument)?;
        self.expect(":")?;
        let r#type = self.r#type()?;
        Ok(Member { description, name, arguments, default_value: None, r#type, directives: self.directives()? })
    }

    fn argument(&mut self) -> Parsed<Member> {
        let description = self.description();
        let name = self.name()?;
        self.expect(":")?;
        let r#type = self.r#type()?;
        let default_value = if self.skip("=") { Some(self.literal(true)?) } else { None };
        let directives = self.directives()?;
        Ok(Member { description, name, arguments: Vec::new(), default_value, r#type, directives })
    }

    fn enum_value(&mut self) -> Parsed<EnumValue> {
        Ok(EnumValue { description: self.description(), name: self.name()?, directives: self.directives()? })
    }
}
