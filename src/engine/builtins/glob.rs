//! `glob.match`, with OPA's delimiters, through shared compiled patterns.
//!
//! `*` is any text without a delimiter, `**` any text, `?` one character that is no delimiter, `[abc]`, `[a-z]` and
//! `[!a]` one character, `{a,b}` alternatives, `\` takes the meaning from the next character.
//! Source: OPA's documentation of the builtin.

use regorus::Value;

use super::call::{Builtin, CallError, Outcome, at_most, operand, string, wrong};
use super::regex::compiled;

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin { name: "glob.match", arity: 3, call: glob_match },
    Builtin { name: "glob.quote_meta", arity: 1, call: |args| Ok(Value::from(quote_meta(string(args, 0)?))) },
];

/// Braces nest at most this deep.
const MAX_DEPTH: usize = 16;

fn glob_match(args: &[Value]) -> Outcome {
    let (pattern, text) = (string(args, 0)?, string(args, 2)?);
    let delimiters = match operand(args, 1)? {
        Value::Null => Vec::new(),
        Value::Array(items) if items.is_empty() => vec!['.'],
        Value::Array(items) => items.iter().map(delimiter).collect::<Result<_, _>>()?,
        other => return Err(wrong(1, "one of {array, null}", other)),
    };
    Ok(compiled(&pattern_of(pattern, &delimiters)?)?.is_match(text).into())
}

fn delimiter(value: &Value) -> Result<char, CallError> {
    let Value::String(text) = value else { return Err("operand 2 must be array of strings".into()) };
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => Ok(c),
        _ => Err("operand 2 must be array of single characters".into()),
    }
}

/// The pattern as a regular expression.
fn pattern_of(glob: &str, delimiters: &[char]) -> Result<String, CallError> {
    let one = match delimiters {
        [] => ".".to_owned(),
        some => format!("[^{}]", some.iter().map(|c| escaped(*c)).collect::<String>()),
    };
    let mut out = String::from("(?s)^");
    let mut depth = 0;
    let mut chars = glob.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                while chars.next_if_eq(&'*').is_some() {}
                out.push_str(".*");
            }
            '*' => out.extend([&one, "*"]),
            '?' => out.push_str(&one),
            '[' => class(&mut chars, &mut out)?,
            '{' => {
                depth += 1;
                at_most(depth, MAX_DEPTH, "nested braces")?;
                out.push_str("(?:");
            }
            ',' if depth > 0 => out.push('|'),
            '}' if depth > 0 => {
                depth -= 1;
                out.push(')');
            }
            '\\' => out.push_str(&escaped(chars.next().ok_or("glob ends in a backslash")?)),
            c => out.push_str(&escaped(c)),
        }
    }
    if depth > 0 {
        return Err("glob has an open brace".into());
    }
    out.push('$');
    Ok(out)
}

/// After `[`, up to and with `]`.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) -> Result<(), CallError> {
    const OPEN: &str = "glob has an open bracket";
    out.push('[');
    if chars.next_if_eq(&'!').is_some() {
        out.push('^');
    }
    let mut empty = true;
    loop {
        match chars.next().ok_or(OPEN)? {
            ']' if empty => return Err("glob has an empty bracket".into()),
            ']' => break,
            '\\' => out.push_str(&escaped(chars.next().ok_or(OPEN)?)),
            '-' if !empty && chars.peek().is_some_and(|c| *c != ']') => out.push('-'),
            c => out.push_str(&escaped(c)),
        }
        empty = false;
    }
    out.push(']');
    Ok(())
}

/// A character as a literal, inside a class and outside.
fn escaped(c: char) -> String {
    if c.is_ascii_punctuation() && c != '<' && c != '>' { format!("\\{c}") } else { c.to_string() }
}

fn quote_meta(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "*?\\[]{}".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_opa_matches() {
        let list = |items: &[&str]| Value::from(items.iter().map(|s| Value::from(*s)).collect::<Vec<_>>());
        for (pattern, delimiters, text, wanted) in [
            ("*.github.com", list(&[]), "api.github.com", true),
            ("*.github.com", list(&[]), "api.cdn.github.com", false),
            ("**.github.com", list(&[]), "api.cdn.github.com", true),
            ("*hub.com", list(&["."]), "a.hub.com", false),
            ("*.github.com", Value::Null, "a.b.github.com", true),
            ("a/*", list(&["/", "."]), "a/b.c", false),
            ("{a,b{1,2}}x", list(&[]), "b2x", true),
            ("[!a-c]at", list(&[]), "bat", false),
            ("\\*", list(&[]), "*", true),
            ("a,b}", list(&[]), "a,b}", true),
            ("*", list(&["<"]), "a<b", false),
            ("*", list(&[]), "a\nb", true),
        ] {
            assert_eq!(glob_match(&[pattern.into(), delimiters, text.into()]), Ok(wanted.into()), "{pattern} {text}");
        }
        assert!(glob_match(&["{".repeat(100).as_str().into(), Value::Null, "a".into()]).is_err());
        assert!(glob_match(&["[a".into(), Value::Null, "a".into()]).is_err());
    }
}
