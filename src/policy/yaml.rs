//! YAML to typed values with places in errors. The one user of the YAML library.

use serde::de::DeserializeOwned;

use crate::policy::{LoadError, wording};

/// Where a piece of YAML begins in its file: lines and columns to add to the parser's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Offset {
    /// Lines before the text.
    pub lines: u32,
    /// Columns cut from each line.
    pub columns: u32,
}

/// Parses one YAML document.
///
/// # Errors
/// The first error, with its place in `file`.
pub fn parse<T: DeserializeOwned>(file: &str, text: &str, offset: Offset) -> Result<T, LoadError> {
    loosely(text, |text| serde_saphyr::from_str_with_options(text, options())).map_err(|e| error(file, &e, offset))
}

/// Parses a stream of YAML documents; empty ones are left out.
///
/// # Errors
/// The first error, with its place in `file`.
pub fn parse_all<T: DeserializeOwned>(file: &str, text: &str) -> Result<Vec<T>, LoadError> {
    parse_all_at(file, text, 0)
}

/// Parses a stream of YAML documents which begins after `lines_before` lines of its file.
///
/// # Errors
/// The first error, with its place in `file`.
pub fn parse_all_at<T: DeserializeOwned>(file: &str, text: &str, lines_before: u32) -> Result<Vec<T>, LoadError> {
    let offset = Offset { lines: lines_before, columns: 0 };
    let parse = |text: &str| serde_saphyr::from_multiple_with_options(text, options());
    loosely(text, parse).map_err(|e| error(file, &e, offset))
}

/// The text of one document of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// Lines of the stream before it.
    pub lines_before: u32,
    /// The text, without the marker.
    pub text: &'a str,
}

/// Cuts a stream at its `---` markers. A marker stands at the beginning of a line, where no content of a document can.
#[must_use]
pub fn documents(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut begin, mut lines_before) = (0, 0);
    let mut at = 0;
    for (line, lines) in text.split_inclusive('\n').zip(1u32..) {
        if line.trim_end() == "---" || line.starts_with("--- #") {
            parts.push(Part { lines_before, text: text.get(begin..at).unwrap_or_default() });
            (begin, lines_before) = (at + line.len(), lines);
        }
        at += line.len();
    }
    parts.push(Part { lines_before, text: text.get(begin..).unwrap_or_default() });
    parts.retain(|p| !p.text.trim().is_empty());
    parts
}

/// Lines of quoted scalars that stand less far in than YAML wants them are pushed in, at most so many.
const MOST_PUSHED_LINES: usize = 64;

/// Parses as kubectl does, which lets the lines of a quoted scalar stand anywhere: their indentation means nothing.
fn loosely<T>(text: &str, parse: impl Fn(&str) -> Result<T, serde_saphyr::Error>) -> Result<T, serde_saphyr::Error> {
    let mut result = parse(text);
    let mut lines: Vec<String> = Vec::new();
    for _ in 0..MOST_PUSHED_LINES {
        let place = match &result {
            Err(e) if e.to_string().contains("invalid indentation in multiline quoted scalar") => e.location(),
            _ => break,
        };
        if lines.is_empty() {
            lines = text.split('\n').map(str::to_owned).collect();
        }
        let line = place.and_then(|p| usize::try_from(p.line()).ok()?.checked_sub(1));
        match line.and_then(|l| lines.get_mut(l)) {
            Some(line) if !line.starts_with(PUSH) => line.insert_str(0, PUSH),
            _ => break,
        }
        result = parse(&lines.join("\n"));
    }
    result
}

/// Further in than documents of Kubernetes nest.
const PUSH: &str = "                                                                ";

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! { with_snippet: false }
}

fn error(file: &str, error: &serde_saphyr::Error, offset: Offset) -> LoadError {
    let text = error.to_string();
    // The library ends its messages with the place, which is told apart here.
    let message = text.split(" at line ").next().unwrap_or(&text).trim_end_matches([',', ' ']);
    let found = LoadError::new(file, "yaml", wording::plain(message));
    match error.location() {
        Some(place) if place.line() > 0 => {
            let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
            found.at(number(place.line()) + offset.lines, number(place.column()) + offset.columns)
        }
        _ => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Doc {
        #[expect(dead_code, reason = "only its presence is checked")]
        a: u32,
    }

    #[test]
    fn errors_have_places() {
        let unknown = parse::<Doc>("f.yaml", "a: 1\nbee: 2\n", Offset::default()).expect_err("unknown field");
        assert_eq!((unknown.line, unknown.column), (Some(2), Some(1)), "{unknown}");
        assert!(unknown.message.contains("bee"), "{unknown}");
        let wrong = parse::<Doc>("f.yaml", "a: x\n", Offset { lines: 3, columns: 2 }).expect_err("not a number");
        assert_eq!((wrong.line, wrong.column), (Some(4), Some(6)), "{wrong}");
        let twice = parse::<Doc>("f.yaml", "a: 1\na: 2\n", Offset::default()).expect_err("duplicate key");
        assert_eq!(twice.line, Some(2), "{twice}");
    }

    #[test]
    fn lines_of_quoted_scalars_may_stand_anywhere() {
        let doc: serde_json::Value =
            parse("f.yaml", "a:\n  b: \"one\n  two\nthree\"\n  c: 'x\n  y'\n", Offset::default()).expect("parses");
        assert_eq!(doc, serde_json::json!({"a": {"b": "one two three", "c": "x y"}}));
        assert!(parse::<serde_json::Value>("f.yaml", "a:\n  b: \"one\n  two\n", Offset::default()).is_err());
    }

    #[test]
    fn empty_documents_are_left_out() {
        let docs: Vec<serde_json::Value> = parse_all("f.yaml", "---\na: 1\n---\n---\nb: 2\n").expect("parses");
        assert_eq!(docs.into_iter().filter(|d| !d.is_null()).count(), 2);
    }
}
