//! Tokens of GraphQL (October 2021 specification, section 2.1).

use crate::engine::builtins::call::{CallError, at_most};

/// Tokens of one document.
const MAX_TOKENS: usize = 200_000;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// `!`, `$`, `&`, `(`, `)`, `...`, `:`, `=`, `@`, `[`, `]`, `{`, `|`, `}`.
    Mark(&'static str),
    Name(String),
    Int(String),
    Float(String),
    Text(String),
    Block(String),
}

impl Token {
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Mark(mark) => (*mark).to_owned(),
            Self::Name(name) => format!("Name {name:?}"),
            Self::Int(text) => format!("Int {text:?}"),
            Self::Float(text) => format!("Float {text:?}"),
            Self::Text(text) | Self::Block(text) => format!("String {text:?}"),
        }
    }
}

const MARKS: [&str; 14] = ["...", "!", "$", "&", "(", ")", ":", "=", "@", "[", "]", "{", "|", "}"];

/// The tokens of a document, each with the byte where it begins.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, CallError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches('\u{feff}');
    while let Some(c) = rest.chars().next() {
        let at = text.len() - rest.len();
        let after = |length: usize| rest.get(length..).unwrap_or_default();
        if c.is_ascii_whitespace() || c == ',' {
            rest = after(1);
            continue;
        }
        if c == '#' {
            rest = after(rest.find(['\n', '\r']).unwrap_or(rest.len()));
            continue;
        }
        let (token, left) = if let Some(mark) = MARKS.iter().find(|m| rest.starts_with(**m)) {
            (Token::Mark(mark), after(mark.len()))
        } else if c.is_ascii_alphabetic() || c == '_' {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            (Token::Name(rest.get(..end).unwrap_or_default().to_owned()), after(end))
        } else if c.is_ascii_digit() || c == '-' {
            number(rest).ok_or_else(|| fault(text, at, "Invalid number"))?
        } else if let Some(block) = rest.strip_prefix("\"\"\"") {
            let (value, left) = block_string(block).ok_or_else(|| fault(text, at, "Unexpected <Invalid>"))?;
            (Token::Block(value), left)
        } else if c == '"' {
            let (value, left) = string(after(1)).ok_or_else(|| fault(text, at, "Unexpected <Invalid>"))?;
            (Token::Text(value), left)
        } else {
            return Err(fault(text, at, &format!("Cannot parse the unexpected character {c:?}")));
        };
        tokens.push((at, token));
        at_most(tokens.len(), MAX_TOKENS, "tokens")?;
        rest = left;
    }
    Ok(tokens)
}

/// An error with its line and column.
pub(super) fn fault(text: &str, at: usize, what: &str) -> CallError {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    CallError::Operand(format!("{what} in GraphQL string at location {line}:{column}"))
}

/// `-1`, `1.5e3`; no leading zeros, and no name or point right after it.
fn number(text: &str) -> Option<(Token, &str)> {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes.iter().skip(from).take_while(|b| b.is_ascii_digit()).count();
    let start = usize::from(text.starts_with('-'));
    let mut end = start + digits(start);
    if end == start || (bytes.get(start) == Some(&b'0') && end > start + 1) {
        return None;
    }
    let mut float = false;
    if bytes.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        (float, end) = (true, end + 1 + fraction);
        if fraction == 0 {
            return None;
        }
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let signed = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + signed);
        (float, end) = (true, end + 1 + signed + exponent);
        if exponent == 0 {
            return None;
        }
    }
    if bytes.get(end).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_' || *b == b'.') {
        return None;
    }
    let (number, rest) = text.split_at_checked(end)?;
    Some((if float { Token::Float(number.to_owned()) } else { Token::Int(number.to_owned()) }, rest))
}

/// After the opening quote.
fn string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\n' | '\r' => return None,
            c if (c as u32) < 0x20 && c != '\t' => return None,
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                c @ ('"' | '\\' | '/') => c,
                'u' => {
                    let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                    if digits.len() != 4 {
                        return None;
                    }
                    char::from_u32(u32::from_str_radix(&digits, 16).ok()?).unwrap_or(char::REPLACEMENT_CHARACTER)
                }
                _ => return None,
            }),
            c => value.push(c),
        }
    }
    None
}

/// After the opening quotes: indentation that all lines share and blank lines at the ends are no part of it.
fn block_string(text: &str) -> Option<(String, &str)> {
    let mut end = text.find("\"\"\"")?;
    while end > 0 && text.get(..end)?.ends_with('\\') {
        end += 3 + text.get(end + 3..)?.find("\"\"\"")?;
    }
    let (raw, rest) = (text.get(..end)?, text.get(end + 3..)?);
    let raw = raw.replace("\\\"\"\"", "\"\"\"").replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<&str> = raw.split('\n').collect();
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let blank = |line: &&str| line.trim_matches([' ', '\t']).is_empty();
    let common = lines.iter().skip(1).filter(|l| !blank(l)).map(|l| indent(l)).min().unwrap_or(0);
    let mut lines: Vec<&str> = lines
        .iter()
        .enumerate()
        .map(|(n, line)| if n == 0 { *line } else { line.get(common.min(indent(line))..).unwrap_or_default() })
        .collect();
    while lines.last().is_some_and(blank) {
        lines.pop();
    }
    let first = lines.iter().position(|l| !blank(l)).unwrap_or(lines.len());
    Some((lines.get(first..)?.join("\n"), rest))
}
