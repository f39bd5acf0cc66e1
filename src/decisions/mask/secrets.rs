//! The secret values of one request, and where they recur in other text. Knows values and their commitments; must not
//! know where in a document they were found.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

/// How sure it is that a value is a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Strength {
    /// It stood where secrets may stand (ConfigMap data, a command): hidden in what policies say.
    Likely,
    /// A Secret's data, or its shape or name says so: hidden everywhere.
    Sure,
}

/// Patterns that are looked for at once. At most 32 bytes each, so the automaton stays below some MiB; a request with
/// more secrets than this has all its policies' text masked as a whole.
const MAX_PATTERNS: usize = 8192;
/// Bytes of a value that must recur before it counts; longer matches are followed to their end, so a value that a
/// policy printed in part is hidden too.
const PREFIX: usize = 32;
/// From this length a value is hidden even inside a longer word.
const INSIDE_WORDS: usize = 8;
/// Shorter values are no secrets and occur by chance.
const SHORTEST: usize = 3;
/// Lines of one value that are secrets of their own.
const MAX_LINES: usize = 512;
/// Shorter lines are brackets and keywords.
const SHORTEST_LINE: usize = 6;

/// What stands in ConfigMaps and environments all the time and gives nothing away.
const TRIVIAL: [&str; 16] = [
    "true", "false", "null", "none", "nil", "yes", "off", "info", "debug", "warn", "error", "trace", "auto", "json",
    "text", "default",
];

#[derive(Debug, Default)]
pub(super) struct Secrets {
    known: Vec<Secret>,
    index: HashMap<String, usize>,
    overflow: bool,
    sure: OnceCell<Option<Finder>>,
    all: OnceCell<Option<Finder>>,
}

#[derive(Debug)]
struct Secret {
    text: String,
    commitment: Arc<str>,
    strength: Strength,
}

#[derive(Debug)]
struct Finder {
    automaton: AhoCorasick,
    /// For each pattern the secrets that begin with it, sorted by their text.
    begins: Vec<Vec<usize>>,
}

/// A place where a secret recurs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recurrence {
    pub range: Range<usize>,
    pub commitment: Arc<str>,
}

impl Secrets {
    /// Takes a value with the forms it may come back in: decoded, encoded, escaped, line by line.
    pub(super) fn take(&mut self, value: &str, commitment: &Arc<str>, strength: Strength) {
        self.take_text(value, commitment, strength);
        if let Some(decoded) = decoded(value) {
            self.take_text(&decoded, commitment, strength);
        }
        if strength == Strength::Sure && value.len() >= SHORTEST {
            let encoded = STANDARD_NO_PAD.encode(value);
            let in_urls = encoded.replace('+', "-").replace('/', "_");
            if in_urls != encoded {
                self.add(&in_urls, commitment, strength);
            }
            self.add(&encoded, commitment, strength);
            for escaped in percent_encoded(value.trim()) {
                self.add(&escaped, commitment, strength);
            }
        }
    }

    /// Whether there is nothing to hide.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty() && !self.overflow
    }

    /// Whether there were too many to look for.
    pub(super) fn overflowed(&self) -> bool {
        self.overflow
    }

    /// Where values of at least this strength recur in `text`: ascending, not overlapping.
    pub(super) fn find(&self, text: &str, least: Strength) -> Vec<Recurrence> {
        let cell = if least == Strength::Sure { &self.sure } else { &self.all };
        match cell.get_or_init(|| self.finder(least)) {
            Some(finder) => self.search(finder, text),
            None => Vec::new(),
        }
    }

    fn take_text(&mut self, value: &str, commitment: &Arc<str>, strength: Strength) {
        self.add(value, commitment, strength);
        let trimmed = value.trim();
        if trimmed.len() != value.len() {
            self.add(trimmed, commitment, strength);
        }
        if let Ok(quoted) = serde_json::to_string(trimmed)
            && let Some(escaped) = quoted.get(1..quoted.len() - 1)
            && escaped != trimmed
        {
            self.add(escaped, commitment, strength);
        }
        if strength == Strength::Sure && trimmed.contains('\n') {
            for line in trimmed.lines().map(str::trim).filter(|l| l.len() >= SHORTEST_LINE).take(MAX_LINES) {
                self.add(line, commitment, strength);
                // Of `NAME=value` and `name: value` the value may come back alone.
                let value = line.split_once(['=', ':']).map(|(_, v)| v.trim().trim_matches(['"', '\'']));
                if let Some(value) = value.filter(|v| v.len() >= SHORTEST_LINE) {
                    self.add(value, commitment, strength);
                }
            }
        }
        if trimmed.starts_with(['{', '['])
            && let Ok(document) = serde_json::from_str::<Value>(trimmed)
        {
            self.take_leaves(&document, commitment, strength);
        }
    }

    /// The strings inside a value that is a JSON document, such as a `.dockerconfigjson`.
    fn take_leaves(&mut self, value: &Value, commitment: &Arc<str>, strength: Strength) {
        match value {
            Value::String(text) if text.len() >= INSIDE_WORDS => {
                self.add(text, commitment, strength);
                if let Some(decoded) = decoded(text) {
                    self.add(&decoded, commitment, strength);
                    // A registry's `auth` is `user:password`.
                    if let Some((_, password)) = decoded.split_once(':') {
                        self.add(password, commitment, strength);
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|v| self.take_leaves(v, commitment, strength)),
            Value::Object(map) => {
                for (key, value) in map {
                    match value {
                        Value::String(text) if super::shapes::field_holds_credential(key) => {
                            self.add(text, commitment, strength);
                        }
                        _ => self.take_leaves(value, commitment, strength),
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn add(&mut self, text: &str, commitment: &Arc<str>, strength: Strength) {
        let text = text.trim_end_matches('=');
        if is_trivial(text) {
            return;
        }
        self.sure.take();
        self.all.take();
        if let Some(known) = self.index.get(text).and_then(|i| self.known.get_mut(*i)) {
            known.strength = known.strength.max(strength);
            return;
        }
        if self.known.len() >= MAX_PATTERNS {
            self.overflow = true;
            return;
        }
        self.index.insert(text.to_owned(), self.known.len());
        self.known.push(Secret { text: text.to_owned(), commitment: Arc::clone(commitment), strength });
    }

    fn finder(&self, least: Strength) -> Option<Finder> {
        let mut patterns: Vec<&str> = Vec::new();
        let mut begins: Vec<Vec<usize>> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (i, secret) in self.known.iter().enumerate().filter(|(_, s)| s.strength >= least) {
            let prefix = prefix(&secret.text);
            let place = *places.entry(prefix).or_insert_with(|| {
                patterns.push(prefix);
                begins.push(Vec::new());
                patterns.len() - 1
            });
            if let Some(secrets) = begins.get_mut(place) {
                secrets.push(i);
            }
        }
        if patterns.is_empty() {
            return None;
        }
        for secrets in &mut begins {
            secrets.sort_unstable_by_key(|i| self.known.get(*i).map(|s| s.text.as_str()));
        }
        let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(patterns).ok()?;
        Some(Finder { automaton, begins })
    }

    fn search(&self, finder: &Finder, text: &str) -> Vec<Recurrence> {
        let mut found: Vec<Recurrence> = Vec::new();
        let mut at = 0;
        while let Some(hit) = finder.automaton.find(aho_corasick::Input::new(text).range(at..)) {
            at = match self.longest(finder, hit.pattern().as_usize(), text, hit.start()) {
                Some(recurrence) => {
                    let end = recurrence.range.end;
                    found.push(recurrence);
                    end
                }
                None => next_boundary(text, hit.start()),
            };
            if at >= text.len() {
                break;
            }
        }
        found
    }

    /// The secret of this beginning that the text follows longest from `start`.
    fn longest(&self, finder: &Finder, pattern: usize, text: &str, start: usize) -> Option<Recurrence> {
        let rest = text.get(start..)?;
        let secrets = finder.begins.get(pattern)?;
        // Sorted, so what shares most with the text stands next to where the text would.
        let after = secrets.partition_point(|i| self.known.get(*i).is_some_and(|s| s.text.as_str() <= rest));
        let near = [after.checked_sub(1), Some(after)].into_iter().flatten();
        let near = near.filter_map(|n| self.known.get(*secrets.get(n)?));
        let (length, secret) = near.map(|s| (common(rest, &s.text), s)).max_by_key(|(length, _)| *length)?;
        if secret.text.len() < INSIDE_WORDS && !stands_alone(text, start..start + length) {
            return None;
        }
        Some(Recurrence { range: start..start + length, commitment: Arc::clone(&secret.commitment) })
    }
}

/// What a value is in a URL: in a path or query (RFC 3986), and in a form, where they differ from the value.
fn percent_encoded(value: &str) -> Vec<String> {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    if value.bytes().all(unreserved) {
        return Vec::new();
    }
    let encode = |space: &str| {
        value.bytes().fold(String::with_capacity(value.len() * 2), |mut text, byte| {
            match byte {
                b' ' => text.push_str(space),
                byte if unreserved(byte) => text.push(char::from(byte)),
                // Writing to a string cannot fail.
                byte => drop(write!(text, "%{byte:02X}")),
            }
            text
        })
    };
    let (path, form) = (encode("%20"), encode("+"));
    if path == form { vec![path] } else { vec![path, form] }
}

fn prefix(text: &str) -> &str {
    let end = (0..=PREFIX.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    text.get(..end).unwrap_or(text)
}

/// Bytes (whole characters) that both begin with.
fn common(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}

fn next_boundary(text: &str, at: usize) -> usize {
    at + text.get(at..).and_then(|t| t.chars().next()).map_or(1, char::len_utf8)
}

fn stands_alone(text: &str, range: Range<usize>) -> bool {
    let before = text.get(..range.start).and_then(|t| t.chars().next_back());
    let after = text.get(range.end..).and_then(|t| t.chars().next());
    !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
}

fn is_trivial(text: &str) -> bool {
    text.len() < SHORTEST
        || (text.len() < 4 && text.bytes().all(|b| b.is_ascii_digit()))
        || TRIVIAL.iter().any(|t| t.eq_ignore_ascii_case(text))
}

/// What a value is in base64, when that is text.
fn decoded(value: &str) -> Option<String> {
    let value = value.trim();
    if value.len() < 4 {
        return None;
    }
    let bytes = STANDARD.decode(value).or_else(|_| URL_SAFE_NO_PAD.decode(value.trim_end_matches('='))).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let printable = text.chars().all(|c| !c.is_control() || c.is_whitespace());
    (printable && text.len() >= SHORTEST).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(values: &[(&str, Strength)]) -> Secrets {
        let mut secrets = Secrets::default();
        for (i, (value, strength)) in values.iter().enumerate() {
            secrets.take(value, &Arc::from(i.to_string()), *strength);
        }
        secrets
    }

    fn found<'t>(secrets: &Secrets, text: &'t str, least: Strength) -> Vec<&'t str> {
        secrets.find(text, least).into_iter().map(|r| text.get(r.range).expect("on boundaries")).collect()
    }

    #[test]
    fn every_form_is_found() {
        let s = secrets(&[("bm90LWEtcmVhbC1wYXNzd29yZA==", Strength::Sure), ("a \"q\"\nline two", Strength::Sure)]);
        for (text, expected) in [
            ("is not-a-real-password!", "not-a-real-password"),
            ("is bm90LWEtcmVhbC1wYXNzd29yZA==.", "bm90LWEtcmVhbC1wYXNzd29yZA"),
            (r#"{"x": "a \"q\"\nline two"}"#, r#"a \"q\"\nline two"#),
            ("two: line two.", "line two"),
            ("encoded YSAicSIKbGluZSB0d28=", "YSAicSIKbGluZSB0d28"),
        ] {
            assert_eq!(found(&s, text, Strength::Sure), [expected], "{text}");
        }
    }

    #[test]
    fn a_long_value_is_found_in_part() {
        let value = "x".repeat(20) + &"0123456789".repeat(10);
        let s = secrets(&[(&value, Strength::Sure)]);
        let part = value.get(..50).expect("ascii");
        assert_eq!(found(&s, &format!("<{part}...>"), Strength::Sure), [part]);
    }

    #[test]
    fn short_values_count_as_words_only() {
        let s = secrets(&[("cat", Strength::Likely), ("true", Strength::Sure), ("80", Strength::Sure)]);
        assert_eq!(found(&s, "concatenate `cat` on 80, true", Strength::Likely), ["cat"]);
        assert_eq!(found(&s, "`cat`", Strength::Sure), [""; 0]);
    }

    #[test]
    fn the_longest_of_several_wins() {
        let s = secrets(&[("correct-horse", Strength::Sure), ("correct-horse-battery", Strength::Sure)]);
        let hit = s.find("a correct-horse-battery b", Strength::Sure);
        assert_eq!(hit, [Recurrence { range: 2..23, commitment: Arc::from("1") }]);
        assert_eq!(found(&s, "correct-horse!", Strength::Sure), ["correct-horse"]);
    }

    #[test]
    fn too_many_are_said_to_be() {
        let mut s = Secrets::default();
        for i in 0..=MAX_PATTERNS {
            s.take(&format!("value-number-{i}"), &Arc::from("c"), Strength::Likely);
        }
        assert!(s.overflowed());
    }
}
