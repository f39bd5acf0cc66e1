//! What the libraries say of a document, in the words of whoever wrote it: no Rust, and the nearest name for a slip.

use crate::policy::nearest::nearest;

/// Words of Rust that serde's messages have, with what stands in the document.
const WORDS: [(&str, &str); 9] = [
    ("unit value", "nothing"),
    ("unit variant", "one of its words"),
    ("newtype variant", "a mapping"),
    ("struct variant", "a mapping"),
    ("a sequence", "a list"),
    ("sequence", "a list"),
    ("a map", "a mapping"),
    ("map", "a mapping"),
    ("null", "nothing"),
];

/// A message of serde's or of the YAML library's, for people.
#[must_use]
pub fn plain(message: &str) -> String {
    let known =
        || unknown(message).or_else(|| mistyped(message)).or_else(|| wanted(message)).or_else(|| misplaced(message));
    known().unwrap_or_else(|| message.to_owned())
}

/// What stands there instead of what should, where that is not told by a type.
fn misplaced(message: &str) -> Option<String> {
    if let Some(key) = message.strip_prefix("duplicate mapping key: ") {
        let key = key.split(',').next().unwrap_or(key);
        return Some(format!("the key `{key}` stands here twice"));
    }
    let of_struct = message.starts_with("invalid length") && message.contains("expected struct");
    of_struct.then(|| "must be a mapping, not a list".to_owned())
}

/// What the YAML library says of a value that it cannot take.
fn wanted(message: &str) -> Option<String> {
    let what = match message {
        "expected sequence start" => "a list",
        "expected mapping start" => "a mapping",
        "expected string scalar" | "expected scalar" => "text",
        other => match other.strip_prefix("invalid ")? {
            "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, at least 0",
            "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
            "f32" | "f64" | "floating point value" => "a number",
            "bool" | "boolean" => "true or false",
            _ => return None,
        },
    };
    Some(format!("must be {what}"))
}

/// The keys that lead to a fault, and what it is, with its path.
#[must_use]
pub fn of_path(error: &serde_path_to_error::Error<serde_json::Error>) -> (Vec<String>, String) {
    let path = error.path().to_string();
    let keys = path.split('.').map(|key| key.split('[').next().unwrap_or_default().to_owned());
    let keys = keys.filter(|key| !key.is_empty() && key != "?").collect();
    let message = plain(&error.inner().to_string());
    (keys, if path == "." { message } else { format!("`{path}`: {message}") })
}

/// `unknown field `x`, expected one of `a`, `b``: the nearest of them, or all where none is near.
fn unknown(message: &str) -> Option<String> {
    let (found, expected) = message.split_once(", expected ").or_else(|| message.split_once(", there are no "))?;
    let what = ["unknown field `", "unknown variant `"].iter().find(|w| found.starts_with(**w))?;
    let name = found.strip_prefix(what)?.strip_suffix('`')?;
    let what = if what.contains("field") { "field" } else { "value" };
    // The other spelling of a key (`max-enforcement` for `maxEnforcement`) is an alias.
    let mut known: Vec<&str> = expected.trim_start_matches("one of ").split([',', '`', ' ']).collect();
    known.retain(|word| !matches!(*word, "" | "or") && !word.contains('-'));
    let hint = match nearest(&name.replace('-', ""), known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there are none".to_owned(),
        None => format!("write {}", listed(&known)),
    };
    Some(format!("unknown {what} `{name}`; {hint}"))
}

fn listed(names: &[&str]) -> String {
    let all: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
    match all.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        one => one.join(""),
    }
}

/// `invalid type: sequence, expected struct MatchSpec`: what stands there and what should.
fn mistyped(message: &str) -> Option<String> {
    let rest = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "))?;
    let (found, expected) = rest.split_once(", expected ")?;
    let expected = match expected.split_once(' ') {
        Some(("struct" | "enum", name)) => {
            if expected.starts_with("struct") && !name.contains("variant") {
                "a mapping"
            } else {
                "one of its words"
            }
        }
        _ => expected,
    };
    Some(format!("must be {}, not {}", worded(expected), worded(found)))
}

fn worded(text: &str) -> String {
    WORDS.iter().find(|(rust, _)| *rust == text).map_or_else(|| text.to_owned(), |(_, plain)| (*plain).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rust_and_the_nearest_name() {
        for (said, told) in [
            (
                "unknown field `polices`, expected one of `policies`, `data`",
                "unknown field `polices`; did you mean `policies`?",
            ),
            ("unknown field `x`, expected `name` or `kind`", "unknown field `x`; write `name` or `kind`"),
            ("unknown field `x`, expected `name`", "unknown field `x`; write `name`"),
            (
                "unknown variant `warning`, expected one of `dryrun`, `warn`, `deny`",
                "unknown value `warning`; write `dryrun`, `warn` or `deny`",
            ),
            ("invalid type: sequence, expected struct MatchSpec", "must be a mapping, not a list"),
            ("invalid type: map, expected a sequence", "must be a list, not a mapping"),
            ("invalid type: string \"x\", expected a map", "must be a mapping, not string \"x\""),
            ("invalid type: integer `5`, expected a string", "must be a string, not integer `5`"),
            (
                "unknown field `polices`, expected one of policies, max-enforcement",
                "unknown field `polices`; did you mean `policies`?",
            ),
            (
                "unknown field `max-enforcment`, expected one of data, maxEnforcement",
                "unknown field `max-enforcment`; did you mean `maxEnforcement`?",
            ),
            ("invalid length 0, expected struct BindingSpec with 5 elements", "must be a mapping, not a list"),
            (
                "duplicate mapping key: a, set DuplicateKeyPolicy in Options if acceptable",
                "the key `a` stands here twice",
            ),
            ("expected sequence start", "must be a list"),
            ("invalid u64", "must be a whole number, at least 0"),
            ("invalid !!binary base64", "invalid !!binary base64"),
            ("missing field `name`", "missing field `name`"),
        ] {
            assert_eq!(plain(said), told);
        }
    }
}
