//! `regex.globs_match`: whether some text matches both of two simple patterns.
//!
//! A pattern is a row of characters, `.` for any, `[a-z_]` for one of a set and `\` before a literal, each with an
//! optional `*` or `+`. Source: OPA's documentation of the builtin.

use std::collections::BTreeSet;

use regorus::Value;

use super::super::call::{CallError, Outcome, at_most, string};

/// Tokens of a pattern; the product of both is searched.
const MAX_TOKENS: usize = 1_000;

/// One place of a pattern.
struct Token {
    /// Ranges of characters.
    set: Vec<(char, char)>,
    /// Whether it may repeat, or be left out: `+` is written as the token itself and a `*`.
    star: bool,
}

pub(super) fn globs_match(args: &[Value]) -> Outcome {
    let (a, b) = (parse(string(args, 0)?)?, parse(string(args, 1)?)?);
    let mut seen = BTreeSet::from([(0, 0)]);
    let mut open = vec![(0, 0)];
    while let Some((i, j)) = open.pop() {
        if i == a.len() && j == b.len() {
            return Ok(true.into());
        }
        let (left, right) = (a.get(i), b.get(j));
        let mut next = Vec::new();
        if left.is_some_and(|t| t.star) {
            next.push((i + 1, j));
        }
        if right.is_some_and(|t| t.star) {
            next.push((i, j + 1));
        }
        if let (Some(left), Some(right)) = (left, right)
            && overlap(&left.set, &right.set)
        {
            next.push((i + usize::from(!left.star), j + usize::from(!right.star)));
        }
        open.extend(next.into_iter().filter(|state| seen.insert(*state)));
    }
    Ok(false.into())
}

fn overlap(a: &[(char, char)], b: &[(char, char)]) -> bool {
    a.iter().any(|(from, to)| b.iter().any(|(start, end)| from <= end && start <= to))
}

fn parse(text: &str) -> Result<Vec<Token>, CallError> {
    let mut chars = text.chars().peekable();
    let mut tokens = Vec::new();
    let invalid = || CallError::from(format!("invalid glob: `{text}`"));
    while let Some(c) = chars.next() {
        let set = match c {
            '.' => vec![(char::MIN, char::MAX)],
            '\\' => chars.next().map(|c| vec![(c, c)]).ok_or_else(invalid)?,
            '[' => {
                let mut set = Vec::new();
                loop {
                    let from = match chars.next().ok_or_else(invalid)? {
                        ']' => break,
                        '\\' => chars.next().ok_or_else(invalid)?,
                        c => c,
                    };
                    if chars.next_if_eq(&'-').is_none() {
                        set.push((from, from));
                        continue;
                    }
                    match chars.next().ok_or_else(invalid)? {
                        to if to != ']' && from <= to => set.push((from, to)),
                        _ => return Err(invalid()),
                    }
                }
                set
            }
            '*' | '+' | ']' => return Err(invalid()),
            c => vec![(c, c)],
        };
        let flag = chars.next_if(|c| *c == '*' || *c == '+');
        if flag == Some('+') {
            tokens.push(Token { set: set.clone(), star: false });
        }
        tokens.push(Token { set, star: flag.is_some() });
        at_most(tokens.len(), MAX_TOKENS, "tokens of a glob")?;
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_match_some_text() {
        for (a, b, wanted) in [
            ("a.a.[0-9]+z", "b.b*", false),
            ("[a-z]+", "[0-9]*", false),
            ("[a-z]*", "[0-9]*", true),
            (".*", "abc", true),
            ("a+b", "a*", false),
            ("a[bc]d", "a.d", true),
            ("foo\\.bar", "foo.bar", true),
            ("[a-c]+x", "[c-e]+x", true),
        ] {
            assert_eq!(globs_match(&[a.into(), b.into()]), Ok(wanted.into()), "{a} {b}");
        }
        assert!(globs_match(&["[a".into(), "b".into()]).is_err());
    }
}
