//! From text to nodes.

use regorus::Value;

use super::{MAX_DEPTH, Node, Operand, Pipeline};
use crate::engine::builtins::call::{CallError, at_most};

/// Functions that may be called; they look at values and at nothing else.
pub(super) const FUNCTIONS: [&str; 18] = [
    "and", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print", "printf", "println",
    "slice", "urlquery",
];

enum Piece {
    Text(String),
    Action(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A keyword or the name of a function.
    Word(String),
    /// `.a.b`; empty for the dot alone.
    Fields(Vec<String>),
    /// `$a.b.c`.
    Variable(String, Vec<String>),
    Constant(Value),
    Nil,
    Declare,
    Assign,
    Comma,
    Pipe,
    Open,
    /// `)` with fields after it.
    Close(Vec<String>),
}

pub(super) fn parse(text: &str) -> Result<Vec<Node>, CallError> {
    let pieces = pieces(text)?;
    let mut parser = Parser { pieces: pieces.into_iter(), depth: 0 };
    match parser.nodes()? {
        (nodes, None) => Ok(nodes),
        (_, Some(end)) => Err(format!("template: unexpected {{{{{}}}}}", end.word).into()),
    }
}

/// Splits text from actions; `{{-` and `-}}` trim the text beside them.
fn pieces(text: &str) -> Result<Vec<Piece>, CallError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim = false;
    loop {
        let (before, after) = match rest.split_once("{{") {
            Some((before, after)) => (before, Some(after)),
            None => (rest, None),
        };
        let marked = after.and_then(|a| a.strip_prefix('-')).filter(|a| a.starts_with(char::is_whitespace));
        let before = if trim { before.trim_start() } else { before };
        let before = if marked.is_some() { before.trim_end() } else { before };
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let Some(action) = marked.or(after) else { return Ok(pieces) };
        let end = action_end(action).ok_or("template: unclosed action")?;
        let (inside, after) = action.split_at_checked(end).unwrap_or((action, ""));
        rest = after.strip_prefix("}}").unwrap_or_default();
        let inside = match inside.strip_suffix('-').filter(|i| i.ends_with(char::is_whitespace) || i.ends_with("*/")) {
            Some(inside) => {
                trim = true;
                inside
            }
            None => {
                trim = false;
                inside
            }
        };
        if !(inside.trim().starts_with("/*") && inside.trim().ends_with("*/")) {
            pieces.push(Piece::Action(tokens(inside)?));
        }
    }
}

/// Where `}}` closes the action: not within a string or a comment.
fn action_end(action: &str) -> Option<usize> {
    if action.trim_start().starts_with("/*") {
        return action.find("*/").and_then(|at| Some(at + action.get(at..)?.find("}}")?));
    }
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in action.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"' | '\'') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if "\"'`".contains(c) => quote = Some(c),
            None if c == '}' && action.get(at..).is_some_and(|r| r.starts_with("}}")) => return Some(at),
            None => {}
        }
    }
    None
}

fn name(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// `.a.b` at the start.
fn fields(mut text: &str) -> (Vec<String>, &str) {
    let mut fields = Vec::new();
    while let Some(after) = text.strip_prefix('.') {
        let (field, rest) = name(after);
        if field.is_empty() {
            break;
        }
        fields.push(field.to_owned());
        text = rest;
    }
    (fields, text)
}

fn tokens(action: &str) -> Result<Vec<Token>, CallError> {
    let mut tokens = Vec::new();
    let mut rest = action.trim_start();
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        let (token, left) = match c {
            '.' => match fields(rest) {
                (found, left) if !found.is_empty() => (Token::Fields(found), left),
                _ => (Token::Fields(Vec::new()), after),
            },
            '$' => {
                let (variable, left) = name(after);
                let (found, left) = fields(left);
                (Token::Variable(variable.to_owned(), found), left)
            }
            '(' => (Token::Open, after),
            ')' => {
                let (found, left) = fields(after);
                (Token::Close(found), left)
            }
            '|' => (Token::Pipe, after),
            ',' => (Token::Comma, after),
            ':' if after.starts_with('=') => (Token::Declare, after.get(1..).unwrap_or_default()),
            '=' => (Token::Assign, after),
            '"' | '`' | '\'' => quoted(rest, c)?,
            c if c.is_ascii_digit() || ((c == '-' || c == '+') && after.starts_with(|d: char| d.is_ascii_digit())) => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-._".contains(c))).unwrap_or(rest.len());
                let (number, left) = rest.split_at_checked(end).unwrap_or((rest, ""));
                let value = Value::from_numeric_string(number.trim_start_matches('+'));
                (Token::Constant(value.map_err(|_| format!("template: bad number syntax: {number}"))?), left)
            }
            c if c.is_alphabetic() || c == '_' => {
                let (word, left) = name(rest);
                let token = match word {
                    "true" | "false" => Token::Constant(Value::from(word == "true")),
                    "nil" => Token::Nil,
                    word => Token::Word(word.to_owned()),
                };
                (token, left)
            }
            c => return Err(format!("template: unexpected {c:?} in action").into()),
        };
        tokens.push(token);
        rest = left.trim_start();
    }
    Ok(tokens)
}

/// A string or a character at the start.
fn quoted(text: &str, quote: char) -> Result<(Token, &str), CallError> {
    const OPEN: &str = "template: unterminated quoted string";
    let inside = text.get(1..).unwrap_or_default();
    if quote == '`' {
        let (raw, rest) = inside.split_once('`').ok_or(OPEN)?;
        return Ok((Token::Constant(Value::from(raw)), rest));
    }
    let mut value = String::new();
    let mut chars = inside.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => {
                let rest = inside.get(at + 1..).unwrap_or_default();
                let constant = match quote {
                    '"' => Value::from(value),
                    // A character is its number.
                    _ => Value::from(value.chars().next().map_or(0, u32::from)),
                };
                return Ok((Token::Constant(constant), rest));
            }
            '\\' => value.push(match chars.next().ok_or(OPEN)?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                c @ ('\\' | '"' | '\'') => c,
                c => return Err(format!("template: unknown escape \\{c}").into()),
            }),
            c => value.push(c),
        }
    }
    Err(OPEN.into())
}

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
    depth: usize,
}

/// `{{end}}` or `{{else ..}}`, which closes a list of nodes.
struct End {
    word: &'static str,
    /// What stands after `else`.
    rest: Vec<Token>,
}

impl Parser {
    fn nodes(&mut self) -> Result<(Vec<Node>, Option<End>), CallError> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let tokens = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(tokens) => tokens,
            };
            let word = match tokens.first() {
                Some(Token::Word(word)) => word.as_str(),
                _ => "",
            };
            let rest = || tokens.get(1..).unwrap_or_default().to_vec();
            nodes.push(match word {
                "end" => return Ok((nodes, Some(End { word: "end", rest: Vec::new() }))),
                "else" => return Ok((nodes, Some(End { word: "else", rest: rest() }))),
                "if" | "with" | "range" => self.control(word, &rest())?,
                "break" => Node::Break,
                "continue" => Node::Continue,
                "define" | "template" | "block" => {
                    return Err(format!("template: `{word}` is not supported").into());
                }
                _ => Node::Print(pipeline(&tokens)?),
            });
        }
        Ok((nodes, None))
    }

    fn control(&mut self, word: &str, head: &[Token]) -> Result<Node, CallError> {
        self.depth += 1;
        at_most(self.depth, MAX_DEPTH, "nested actions")?;
        let pipeline = pipeline(head)?;
        let (body, end) = self.nodes()?;
        let end = end.ok_or("template: unexpected EOF")?;
        let otherwise = match (end.word, end.rest.split_first()) {
            ("end", _) => Vec::new(),
            // `else if` needs no end of its own.
            (_, Some((Token::Word(next), rest))) if next == "if" || next == "with" => {
                vec![self.control(&next.clone(), rest)?]
            }
            (_, None) => match self.nodes()? {
                (nodes, Some(End { word: "end", .. })) => nodes,
                _ => return Err("template: unexpected {{else}}".into()),
            },
            _ => return Err("template: unexpected token after else".into()),
        };
        self.depth -= 1;
        Ok(match word {
            "if" => Node::If(pipeline, body, otherwise),
            "with" => Node::With(pipeline, body, otherwise),
            _ => Node::Range(pipeline, body, otherwise),
        })
    }
}

fn pipeline(tokens: &[Token]) -> Result<Pipeline, CallError> {
    let mut rest = tokens;
    let pipeline = inner(&mut rest, 0)?;
    if rest.is_empty() { Ok(pipeline) } else { Err("template: unexpected token in action".into()) }
}

fn inner(rest: &mut &[Token], depth: usize) -> Result<Pipeline, CallError> {
    at_most(depth, MAX_DEPTH, "nested parentheses")?;
    let mut pipeline = Pipeline { variables: Vec::new(), declares: false, commands: Vec::new() };
    let (variables, after) = match *rest {
        [Token::Variable(a, f), Token::Comma, Token::Variable(b, g), after @ ..] if f.is_empty() && g.is_empty() => {
            (vec![a.clone(), b.clone()], after)
        }
        [Token::Variable(a, f), after @ ..] if f.is_empty() => (vec![a.clone()], after),
        all => (Vec::new(), all),
    };
    if let [sign @ (Token::Declare | Token::Assign), after @ ..] = after
        && !variables.is_empty()
    {
        (pipeline.variables, pipeline.declares) = (variables, *sign == Token::Declare);
        *rest = after;
    }
    let mut command = Vec::new();
    while let Some((token, after)) = rest.split_first() {
        if matches!(token, Token::Close(_)) {
            break;
        }
        *rest = after;
        command.push(match token {
            Token::Pipe => {
                if command.is_empty() {
                    return Err("template: missing value for command".into());
                }
                pipeline.commands.push(std::mem::take(&mut command));
                continue;
            }
            Token::Open => {
                let value = inner(rest, depth + 1)?;
                let Some((Token::Close(fields), after)) = rest.split_first() else {
                    return Err("template: unclosed left paren".into());
                };
                *rest = after;
                Operand::Inner(value, fields.clone())
            }
            Token::Word(word) if FUNCTIONS.contains(&word.as_str()) => Operand::Function(word.clone()),
            Token::Word(word) => return Err(format!("template: function {word:?} not defined").into()),
            Token::Fields(fields) if fields.is_empty() => Operand::Dot,
            Token::Fields(fields) => Operand::Fields(fields.clone()),
            Token::Variable(name, fields) => Operand::Variable(name.clone(), fields.clone()),
            Token::Constant(value) => Operand::Constant(value.clone()),
            Token::Nil => Operand::Nil,
            Token::Declare | Token::Assign | Token::Comma | Token::Close(_) => {
                return Err("template: unexpected token in action".into());
            }
        });
    }
    if command.is_empty() {
        return Err("template: missing value for command".into());
    }
    pipeline.commands.push(command);
    Ok(pipeline)
}
