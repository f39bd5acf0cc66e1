//! What a check reads of an envelope beside its hash. Knows the order in which a server writes members; must not know
//! what is done with them.
//!
//! A line whose hash is the signed one is, byte for byte, what a server wrote, so of a decision the few members that
//! are needed are looked up and the rest is not parsed: that is most of the time of a check. Everything that looks
//! different goes through the JSON parser.

use std::borrow::Cow;
use std::path::Path;

use serde::Deserialize;

use crate::decisions::LogError;
use crate::decisions::body::lower_hex;
use crate::decisions::lines::Lines;
use crate::decisions::record::{MAX_ENVELOPE, RecordType, StartRecord};
use crate::decisions::segments::{Segment, envelope_path};
use crate::policy::Digest;

/// The members.
#[derive(Deserialize)]
pub(super) struct Envelope<'l> {
    pub r#type: RecordType,
    pub seq: u64,
    #[serde(borrow)]
    pub origin: Cow<'l, str>,
    #[serde(default, borrow)]
    pub decision_id: Option<Cow<'l, str>>,
    #[serde(default)]
    pub input: Option<Input>,
}

#[derive(Deserialize)]
pub(super) struct Input {
    pub digest: Digest,
}

const HEAD: &str = r#"{"v":1,"type":"decision","seq":"#;
// A quotation mark within a text is escaped, so these are members wherever they are found.
const ORIGIN: &str = r#","origin":""#;
const ID: &str = r#","decision_id":""#;
const INPUT: &str = r#","input":"#;
const DIGEST: &str = r#"{"digest":"sha256:"#;

impl<'l> Envelope<'l> {
    /// Reads a line, whatever it is; `None` when it is no record.
    pub(super) fn parse(line: &'l [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// Reads a decision as a server writes it; `None` for anything else, which says nothing of it.
    pub(super) fn scan(line: &'l [u8]) -> Option<Self> {
        let rest = line.strip_prefix(HEAD.as_bytes())?;
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let (seq, rest) = rest.split_at_checked(digits)?;
        let seq = std::str::from_utf8(seq).ok()?.parse().ok()?;
        let (origin, rest) = text(rest.strip_prefix(ORIGIN.as_bytes())?)?;
        let at = rest.windows(ID.len()).position(|w| w == ID.as_bytes())?;
        let (decision_id, rest) = text(rest.get(at + ID.len()..)?)?;
        let (digest, rest) = text(digest(rest)?)?;
        let digest = lower_hex(digest).filter(|_| rest.last() == Some(&b'}')).map(Digest::from_bytes)?;
        Some(Self {
            r#type: RecordType::Decision,
            seq,
            origin: Cow::Borrowed(origin),
            decision_id: Some(Cow::Borrowed(decision_id)),
            input: Some(Input { digest }),
        })
    }
}

/// Who wrote a segment.
pub(super) fn origin(dir: &Path, segment: &Segment) -> Result<Option<String>, LogError> {
    first_line(dir, segment, |line| Some(Envelope::parse(line)?.origin.into_owned()))
}

/// What the log's first record says, if it is there.
pub(super) fn start(dir: &Path, segment: &Segment) -> Result<Option<StartRecord>, LogError> {
    first_line(dir, segment, |line| {
        let is_start = Envelope::parse(line).is_some_and(|e| e.seq == 0 && e.r#type == RecordType::Start);
        is_start.then(|| serde_json::from_slice(line).ok())?
    })
}

fn first_line<T>(dir: &Path, segment: &Segment, read: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>, LogError> {
    let path = envelope_path(dir, segment.first_seq);
    let fault = |e| LogError::io("read", &path, &e);
    let mut lines = Lines::open(&path).map_err(fault)?.at_most(2 * MAX_ENVELOPE);
    let line = lines.next_finished().map_err(fault)?;
    Ok(line.and_then(|line| read(line.bytes)))
}

/// What comes after the last `,"input":{"digest":"sha256:`: it stands near the end, and braces are few.
fn digest(bytes: &[u8]) -> Option<&[u8]> {
    let mut end = bytes.len();
    loop {
        end = bytes.get(..end)?.iter().rposition(|b| *b == b'{')?;
        let (before, from) = bytes.split_at_checked(end)?;
        if let Some(rest) = from.strip_prefix(DIGEST.as_bytes()).filter(|_| before.ends_with(INPUT.as_bytes())) {
            return Some(rest);
        }
    }
}

/// A text without escapes up to its quotation mark, and what comes after it.
fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|b| matches!(b, b'"' | b'\\'))?;
    let (text, rest) = bytes.split_at_checked(end)?;
    let rest = rest.strip_prefix(b"\"")?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_reads_what_a_parser_reads_or_nothing() {
        let digest = "ab".repeat(32);
        let tail = format!(r#""input":{{"digest":"sha256:{digest}","masked":[]}},"engine":"e"}}"#);
        let line = |user: &str| {
            format!(
                r#"{{"v":1,"type":"decision","seq":42,"origin":"a/b","labels":{{"cluster":"c"}},"decision_id":"id-1","user":{user},{tail}"#
            )
        };
        // What callers can write is escaped.
        let lure = serde_json::to_string(r#"x","decision_id":"other","input":{"digest":"sha256:00"#).expect("JSON");
        for user in [r#""alice""#, lure.as_str(), r#"{"decision_id":["x"],"a":",","b":",\""}"#] {
            let line = line(user);
            let (scanned, parsed) =
                (Envelope::scan(line.as_bytes()).expect("read"), Envelope::parse(line.as_bytes()).expect("read"));
            assert_eq!(
                (scanned.seq, &scanned.origin, &scanned.decision_id),
                (parsed.seq, &parsed.origin, &parsed.decision_id)
            );
            assert_eq!(scanned.decision_id.as_deref(), Some("id-1"));
            assert_eq!(scanned.input.map(|i| i.digest), parsed.input.map(|i| i.digest));
        }
        let line = line("1");
        for other in [
            line.replace("decision\"", "start\""),
            line.replace("\"v\":1", "\"v\":2"),
            line.replace("a/b", "a\\/b"),
            line.replace("id-1", "id\\u002d1"),
            line.replace(&digest, "ab"),
            line.replace("sha256:", "sha512:"),
            line.replace("42", "18446744073709551616"),
            line.trim_end_matches('}').to_owned(),
            String::new(),
        ] {
            assert!(Envelope::scan(other.as_bytes()).is_none(), "{other}");
        }
    }
}
