//! Rego as OPA reads it: a lexer and a parser of our own, for what is done with a policy's text before the engine sees
//! it.
//!
//! Knows the whole grammar of Rego v0 and v1 (keywords as steps of references and template strings among it) and where
//! everything stands. Knows nothing of the engine, which parses the rewritten text once more and runs it.

mod ast;
mod json;
mod lexer;
mod parser;
mod terms;

pub(crate) use ast::{
    Body, Import, Kind, Literal, LiteralKind, Module, Operator, Part, Rule, Span, Step, Term, Value, With,
};
pub(crate) use json::module as json;
pub(crate) use lexer::Comment;
pub(crate) use parser::{parse_module, parse_query};

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// Byte offset.
    pub at: usize,
    /// For the author.
    pub message: String,
}

impl Flaw {
    pub(crate) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}
