//! Commitments of masked values: where they stand in a decision, and which places a commitment may have been made at.
//! Knows records, bodies and JSON pointers; keys and values come from outside.

use serde_json::Value;

use crate::decisions::Record;
use crate::decisions::clip;
use crate::decisions::mask::{COMMITMENT, commitments};

/// A place where something was masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masked {
    /// JSON pointer from the input's root (or `/patch/..`, `/violations/..`), as the key of the place is derived with.
    pub pointer: String,
    /// `hmac-sha256:<64 hex>`.
    pub commitment: String,
    /// The whole value was masked, so the commitment was made here.
    pub whole: bool,
    /// The pointer that `input.masked` has for it: another where a key is masked.
    listed: String,
}

/// Who wrote a commitment, as far as the record says. Whoever makes a request can write into it what looks like one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenBy {
    /// The log, when it masked the value.
    Log,
    /// The record does not say: its list of what was masked was cut.
    Unsaid,
    /// Whoever made the request.
    Request,
}

/// What policies say: texts whose places are counted, and what they give beside them.
const SAID: [&str; 6] = ["/violations/", "/warnings/", "/errors/", "/details/", "/exceptions/", "/audit_annotations/"];

/// The commitments at `pointer` of a decision: of its input, its patch, what its policies said; within texts too. When
/// the body is not there, those of the envelope.
#[must_use]
pub fn commitments_at(record: &Record, body: Option<&Value>, pointer: &str) -> Vec<Masked> {
    let envelope: Value = serde_json::from_str(&record.line).unwrap_or(Value::Null);
    let mut found = Vec::new();
    if SAID.iter().any(|kind| pointer.starts_with(kind)) {
        said(body, &envelope, pointer, &mut found);
    } else {
        let input = body.and_then(|b| b.get("input")).and_then(|i| i.pointer(pointer));
        // An envelope has a patch's digest alone; its reads are texts of one place.
        let beside = body.and_then(|b| b.pointer(pointer));
        for place in [input, beside, own_copy(&envelope, pointer)].into_iter().flatten() {
            collect(place, pointer, &mut found);
        }
        if let Some(reads) = envelope.get("reads").filter(|_| pointer == "/reads") {
            collect_text(reads, pointer, &mut found);
        }
    }
    found.sort_by(|a, b| (!a.whole, &a.commitment, &a.pointer).cmp(&(!b.whole, &b.commitment, &b.pointer)));
    found.dedup_by(|a, b| (&a.commitment, &a.pointer) == (&b.commitment, &b.pointer));
    found
}

/// What policies said at a counted place: violations without room in the envelope, and details, are counted over both.
fn said(body: Option<&Value>, envelope: &Value, pointer: &str, found: &mut Vec<Masked>) -> Option<()> {
    let (kind, rest) = pointer.strip_prefix('/')?.split_once('/')?;
    if kind == "audit_annotations" {
        collect_text(body?.get(kind)?.get(rest)?, pointer, found);
        return Some(());
    }
    let (digits, below) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let number: usize = digits.parse().ok()?;
    let place = format!("/{kind}/{number}");
    if kind == "details" {
        let detail = body.into_iter().flat_map(details).find(|(violation, _)| *violation == number)?.1;
        // A document's values have their own places; a fix is a text.
        if let Some(value) = detail.get("details").and_then(|d| d.pointer(below)) {
            collect(value, pointer, found);
        }
        if let Some(fix) = detail.get("fix").filter(|_| ["", "/fix"].contains(&below)) {
            collect_text(fix, &place, found);
        }
        return Some(());
    }
    let shown = envelope.get(kind).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let more = || body?.get(kind)?.get(number.checked_sub(shown.len())?);
    let more = || if kind == "violations" { more() } else { None };
    collect_text(shown.get(number).or_else(more)?.pointer(below)?, &place, found);
    Some(())
}

/// The details in a body, with the number of their violation.
fn details(body: &Value) -> impl Iterator<Item = (usize, &Value)> {
    let all = body.get("details").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(|d| Some((usize::try_from(d.get("violation")?.as_u64()?).ok()?, d)))
}

/// The envelope's own copies of fields of the request.
fn own_copy<'e>(envelope: &'e Value, pointer: &str) -> Option<&'e Value> {
    let rest = pointer.strip_prefix("/request/")?;
    let name = match rest.strip_prefix("userInfo/") {
        Some(field) => format!("/request/user/{field}"),
        None => format!("/request/{rest}"),
    };
    envelope.pointer(&name)
}

/// Places of a decision that hold this commitment, those where it was made first: where the whole value was masked.
#[must_use]
pub fn candidates(body: Option<&Value>, commitment: &str) -> Vec<Masked> {
    let mut found = Vec::new();
    if let Some(body) = body {
        for (document, place) in [("input", ""), ("patch", "/patch"), ("reads", "/reads")] {
            if let Some(document) = body.get(document) {
                collect(document, place, &mut found);
            }
        }
        for (violation, detail) in details(body) {
            if let Some(document) = detail.get("details") {
                collect(document, &format!("/details/{violation}"), &mut found);
            }
        }
    }
    found.retain(|m| m.commitment == commitment);
    found.sort_by_key(|m| !m.whole);
    found
}

/// Who wrote the commitment: the log, where `input.masked` lists the place, or where a policy says it and the request
/// does not have it from its maker.
#[must_use]
pub fn written_by(record: &Record, body: Option<&Value>, masked: &Masked) -> WrittenBy {
    let Some(decision) = record.decision() else { return WrittenBy::Request };
    let list = List { listed: &decision.input.masked, cut: decision.input.masked_omitted > 0 };
    let of_policies = SAID.iter().chain(&["/patch/"]).any(|kind| masked.pointer.starts_with(kind));
    let here = list.says(masked);
    if here == WrittenBy::Unsaid && masked.whole && body.is_some_and(|b| is_among_secrets(b, &masked.pointer)) {
        return WrittenBy::Log;
    }
    if here == WrittenBy::Log || !of_policies {
        return here;
    }
    // A policy may repeat what it was given.
    let mut given = Vec::new();
    if let Some(input) = body.and_then(|b| b.get("input")) {
        collect(input, "", &mut given);
    }
    let given: Vec<WrittenBy> =
        given.iter().filter(|m| m.commitment == masked.commitment).map(|m| list.says(m)).collect();
    match given.first() {
        Some(_) if given.contains(&WrittenBy::Log) => WrittenBy::Log,
        Some(first) => *given.iter().find(|w| **w == WrittenBy::Unsaid).unwrap_or(first),
        None => WrittenBy::Log,
    }
}

/// Whether everything there is masked, whatever it is: nothing that a request brought is left below the data of a Secret
/// or a ConfigMap. These may have more places than a record has room for.
fn is_among_secrets(body: &Value, pointer: &str) -> bool {
    let mut segments = pointer.split('/').skip(1);
    let (Some("request"), Some(side), Some(member)) = (segments.next(), segments.next(), segments.next()) else {
        return false;
    };
    let text = |pointer: &str| body.get("input")?.pointer(pointer)?.as_str();
    let kind = text(&format!("/request/{side}/kind")).or_else(|| text("/request/kind/kind"));
    ["object", "oldObject"].contains(&side)
        && matches!(
            (kind, member),
            (Some("Secret"), "data" | "stringData") | (Some("ConfigMap"), "data" | "binaryData")
        )
}

/// `input.masked` of a record: sorted, and of what had no room the last is left out.
struct List<'r> {
    listed: &'r [String],
    cut: bool,
}

impl List<'_> {
    fn says(&self, masked: &Masked) -> WrittenBy {
        let wanted = bare(&masked.listed);
        // What is below a masked field of the request stands in the envelope's own copies only.
        let whole = ["/request/object", "/request/oldObject", "/request/options"].iter().any(|d| wanted.starts_with(d));
        let is_one = |listed: &String| {
            let listed = bare(listed);
            let above = || wanted.strip_prefix(&listed).is_some_and(|rest| rest.starts_with('/'));
            listed == wanted || (!whole && !listed.is_empty() && above()) || is_cut_from(&listed, &masked.listed)
        };
        if self.listed.iter().any(is_one) {
            return WrittenBy::Log;
        }
        if self.cut && self.listed.last().is_none_or(|last| *last < masked.listed) {
            return WrittenBy::Unsaid;
        }
        WrittenBy::Request
    }
}

/// A pointer without the commitments in it: that of a masked key may be another in a list than in a document.
fn bare(pointer: &str) -> String {
    let mut bare = String::with_capacity(pointer.len());
    let mut at = 0;
    for range in commitments(pointer) {
        bare.push_str(pointer.get(at..range.start).unwrap_or_default());
        bare.push_str(COMMITMENT);
        at = range.end;
    }
    bare.push_str(pointer.get(at..).unwrap_or_default());
    bare
}

/// Whether a listed pointer is the beginning of `pointer`, and says that as much was cut from it.
fn is_cut_from(listed: &str, pointer: &str) -> bool {
    let cut = || listed.strip_suffix(clip::END)?.rsplit_once("... (");
    cut().is_some_and(|(begin, bytes)| {
        bytes.parse().is_ok_and(|bytes: usize| pointer.starts_with(begin) && begin.len() + bytes == pointer.len())
    })
}

/// The commitments in what has one place, whatever stands below it.
fn collect_text(value: &Value, pointer: &str, found: &mut Vec<Masked>) {
    let mut here = Vec::new();
    collect(value, pointer, &mut here);
    found.extend(here.into_iter().map(|m| {
        let (pointer, listed) = (pointer.to_owned(), pointer.to_owned());
        Masked { pointer, listed, whole: false, ..m }
    }));
}

fn collect(value: &Value, pointer: &str, found: &mut Vec<Masked>) {
    let masked = |commitment: &str, whole: bool, listed: &str| Masked {
        pointer: pointer.to_owned(),
        commitment: commitment.to_owned(),
        whole,
        listed: listed.to_owned(),
    };
    match value {
        Value::String(text) => found.extend(in_text(text).map(|c| masked(c, false, pointer))),
        Value::Object(map) if map.len() == 1 && map.contains_key("masked") => {
            let text = map.get("masked").and_then(Value::as_str).unwrap_or_default();
            if let Some(commitment) = in_text(text).next().filter(|c| c.len() == text.len()) {
                found.push(masked(commitment, true, pointer));
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                let below = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                // A key may be masked too.
                found.extend(in_text(key).map(|c| masked(c, false, &below)));
                collect(value, &below, found);
            }
        }
        Value::Array(items) => {
            for (i, value) in items.iter().enumerate() {
                collect(value, &format!("{pointer}/{i}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The commitments within a text.
fn in_text(text: &str) -> impl Iterator<Item = &str> {
    commitments(text).into_iter().filter_map(|range| text.get(range))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PREFIX: &str = "hmac-sha256:";

    #[test]
    fn commitments_are_found_whole_and_within_texts() {
        let (one, two) = (format!("{PREFIX}{}", "a".repeat(64)), format!("{PREFIX}{}", "b".repeat(64)));
        let body = json!({"input": {"request": {"object": {"data": {"k/1": {"masked": one}}, "url": format!("u:{two}@h")}}},
            "violations": [{"msg": format!("it is {one}, {two}")}]});
        let record = Record::parse(
            &json!({"v": 1, "type": "decision", "seq": 1, "origin": "o", "labels": {}, "timestamp": "t",
                "violations": [{"msg": format!("{two}!")}]})
            .to_string(),
        )
        .expect("a record");
        let at = |pointer: &str| {
            let found = commitments_at(&record, Some(&body), pointer).into_iter();
            found.map(|m| (m.commitment, m.whole)).collect::<Vec<_>>()
        };
        assert_eq!(at("/request/object/data/k~11"), [(one.clone(), true)]);
        assert_eq!(at("/request/object/url"), [(two.clone(), false)]);
        assert_eq!(at("/violations/0"), [(two.clone(), false)]);
        assert_eq!(at("/violations/1"), [(one.clone(), false), (two.clone(), false)]);
        assert_eq!(at("/request/object/nothing"), []);
        let made = candidates(Some(&body), &one);
        assert_eq!(made.iter().map(|m| m.pointer.as_str()).collect::<Vec<_>>(), ["/request/object/data/k~11"]);
        assert_eq!(in_text(&format!("{PREFIX}{}", "g".repeat(64))).count(), 0);
    }
}
