//! `regex.*`, with compiled patterns shared by all threads. Patterns are Go's; see [`go`].

mod globs;
mod go;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use regex::{Regex, RegexBuilder};
use regorus::Value;

use super::call::{Builtin, CallError, Outcome, at_most, integer, string};
use crate::memory;

pub(super) const BUILTINS: &[Builtin] = &[
    // The name of `regex.match` in Rego v0.
    Builtin { name: "re_match", arity: 2, call: is_match },
    Builtin { name: "regex.find_all_string_submatch_n", arity: 3, call: find_all_string_submatch_n },
    Builtin { name: "regex.find_n", arity: 3, call: find_n },
    Builtin { name: "regex.globs_match", arity: 2, call: globs::globs_match },
    Builtin { name: "regex.is_valid", arity: 1, call: is_valid },
    Builtin { name: "regex.match", arity: 2, call: is_match },
    Builtin { name: "regex.replace", arity: 3, call: replace },
    Builtin { name: "regex.split", arity: 2, call: split },
    Builtin { name: "regex.template_match", arity: 4, call: template_match },
];

/// Memory of one compiled pattern: `^\w{1,63}$` needs a few hundred KiB with Unicode classes.
const SIZE_LIMIT: usize = 16 << 20;

/// Length of a pattern.
const MAX_PATTERN: usize = 64 << 10;

/// Bytes of a text that a builtin makes.
pub(super) const MAX_TEXT: usize = 16 << 20;

/// Compiled patterns that are kept. Policies write most of their patterns as constants; the bound is for those that
/// come from requests.
const MAX_KEPT: usize = 1024;

type Kept = HashMap<Box<str>, Arc<Regex>>;

static KEPT: LazyLock<RwLock<Kept>> = LazyLock::new(RwLock::default);

/// The compiled form of a pattern of the regex crate.
pub(super) fn compiled(pattern: &str) -> Result<Arc<Regex>, CallError> {
    at_most(pattern.len(), MAX_PATTERN, "bytes of pattern")?;
    if let Some(regex) = KEPT.read().unwrap_or_else(PoisonError::into_inner).get(pattern) {
        return Ok(Arc::clone(regex));
    }
    let regex = RegexBuilder::new(pattern).size_limit(SIZE_LIMIT).build().map_err(|e| match e {
        regex::Error::CompiledTooBig(limit) => {
            CallError::Limit(format!("the compiled pattern is larger than {limit} bytes"))
        }
        other => CallError::Operand(other.to_string().lines().last().unwrap_or_default().to_owned()),
    })?;
    let regex = Arc::new(regex);
    // Others need the lock.
    memory::unbounded(|| {
        let mut kept = KEPT.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(pattern.into(), Arc::clone(&regex));
    });
    Ok(regex)
}

/// The compiled form of a pattern of Go's.
fn go_regex(pattern: &str) -> Result<Arc<Regex>, CallError> {
    compiled(&go::translate(pattern)?)
}

fn is_match(args: &[Value]) -> Outcome {
    Ok(go_regex(string(args, 0)?)?.is_match(string(args, 1)?).into())
}

/// A pattern that is too large is neither: that stays an error.
fn is_valid(args: &[Value]) -> Outcome {
    match string(args, 0).and_then(go_regex) {
        Ok(_) => Ok(true.into()),
        Err(CallError::Operand(_)) => Ok(false.into()),
        Err(other) => Err(other),
    }
}

/// How many matches are wanted: all if the number is negative.
fn count(args: &[Value], n: usize) -> Result<usize, CallError> {
    Ok(usize::try_from(integer(args, n)?).unwrap_or(usize::MAX))
}

fn find_n(args: &[Value]) -> Outcome {
    let regex = go_regex(string(args, 0)?)?;
    let matches = regex.find_iter(string(args, 1)?).take(count(args, 2)?);
    Ok(Value::from(matches.map(|m| Value::from(m.as_str())).collect::<Vec<_>>()))
}

fn find_all_string_submatch_n(args: &[Value]) -> Outcome {
    let regex = go_regex(string(args, 0)?)?;
    let groups = |captures: regex::Captures<'_>| {
        let groups = captures.iter().map(|group| Value::from(group.map_or("", |m| m.as_str())));
        Value::from(groups.collect::<Vec<_>>())
    };
    let matches = regex.captures_iter(string(args, 1)?).take(count(args, 2)?);
    Ok(Value::from(matches.map(groups).collect::<Vec<_>>()))
}

fn replace(args: &[Value]) -> Outcome {
    let (text, template) = (string(args, 0)?, string(args, 2)?);
    let regex = go_regex(string(args, 1)?)?;
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for captures in regex.captures_iter(text) {
        let Some(whole) = captures.get(0) else { continue };
        out.push_str(text.get(end..whole.start()).unwrap_or_default());
        // What the groups can come to, before they do.
        let most = template.len().saturating_add(template.matches('$').count().saturating_mul(whole.len()));
        at_most(out.len().saturating_add(most), MAX_TEXT.saturating_mul(2), "bytes of result")?;
        captures.expand(template, &mut out);
        at_most(out.len(), MAX_TEXT, "bytes of result")?;
        end = whole.end();
    }
    out.push_str(text.get(end..).unwrap_or_default());
    at_most(out.len(), MAX_TEXT, "bytes of result")?;
    Ok(Value::from(out))
}

/// As Go's `Split`: an empty match at the very start splits nothing off.
fn split(args: &[Value]) -> Outcome {
    let (pattern, text) = (string(args, 0)?, string(args, 1)?);
    let regex = go_regex(pattern)?;
    if text.is_empty() && !pattern.is_empty() {
        return Ok(Value::from(vec![Value::from("")]));
    }
    let mut parts = Vec::new();
    let (mut start, mut end) = (0, 0);
    for found in regex.find_iter(text) {
        end = found.start();
        if found.end() != 0 {
            parts.push(Value::from(text.get(start..end).unwrap_or_default()));
        }
        start = found.end();
    }
    if end != text.len() {
        parts.push(Value::from(text.get(start..).unwrap_or_default()));
    }
    Ok(Value::from(parts))
}

/// Matches the whole text against a template whose parts between the delimiters are patterns.
fn template_match(args: &[Value]) -> Outcome {
    let delimiter = |n: usize, which: &str| match string(args, n)?.as_bytes() {
        [byte] => Ok(*byte),
        other => {
            let length = other.len();
            Err(CallError::from(format!("{which} delimiter has to be exactly one character long but is {length} long")))
        }
    };
    let (template, open, close) = (string(args, 0)?, delimiter(2, "start")?, delimiter(3, "end")?);
    let unbalanced = || CallError::from(format!("unbalanced braces in {template:?}"));
    let part = |from: usize, to: usize| template.get(from..to).unwrap_or_default();
    let mut pattern = String::from("^");
    let (mut depth, mut start, mut end) = (0usize, 0, 0);
    for (at, byte) in template.bytes().enumerate() {
        if byte == open {
            depth += 1;
            if depth == 1 {
                start = at;
            }
        } else if byte == close {
            depth = depth.checked_sub(1).ok_or_else(unbalanced)?;
            if depth == 0 {
                let inner = go::translate(part(start + 1, at))?;
                pattern.push_str(&format!("{}({inner})", regex::escape(part(end, start))));
                end = at + 1;
            }
        }
    }
    if depth != 0 {
        return Err(unbalanced());
    }
    pattern.push_str(&regex::escape(part(end, template.len())));
    pattern.push('$');
    Ok(compiled(&pattern)?.is_match(string(args, 1)?).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_patterns_compile() {
        let image = r"^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*(?::[0-9]+)?/)?[a-z0-9]+(?:(?:[._]|__|[-]*)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|[-]*)[a-z0-9]+)*)*(?::[\w][\w.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*[:][[:xdigit:]]{32,})?$";
        for (pattern, text) in [(r"^\w{1,63}$", "abc"), (image, "registry.example:5000/team/app:v1.2")] {
            assert_eq!(is_match(&[pattern.into(), text.into()]), Ok(true.into()), "{pattern}");
        }
        let huge = [Value::from(r"((\pL{1000}){1000}){1000}"), Value::from("a")];
        assert!(matches!(is_match(&huge), Err(CallError::Limit(_))), "{:?}", is_match(&huge));
    }

    #[test]
    fn splits_as_go_does() {
        for (pattern, text, wanted) in
            [("", "abc", vec!["a", "b", "c"]), ("a", "", vec![""]), (",", "a,,b,", vec!["a", "", "b", ""])]
        {
            let wanted = Value::from(wanted.into_iter().map(Value::from).collect::<Vec<_>>());
            assert_eq!(split(&[pattern.into(), text.into()]), Ok(wanted), "{pattern} on {text}");
        }
    }
}
