//! Commitments of masked values: where they stand in a decision, and which places a commitment may have been made at.
//! Knows records, bodies and JSON pointers; keys and values come from outside.

use serde_json::Value;

use crate::decisions::Record;
use crate::decisions::mask::commitments;

/// A place where something was masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masked {
    /// JSON pointer from the input's root (or `/patch/..`, `/violations/..`), as the key of the place is derived with.
    pub pointer: String,
    /// `hmac-sha256:<64 hex>`.
    pub commitment: String,
    /// The whole value was masked, so the commitment was made here.
    pub whole: bool,
}

/// The commitments at `pointer` of a decision: of its input, its patch, what its policies said; within texts too. When
/// the body is not there, those of the envelope.
#[must_use]
pub fn commitments_at(record: &Record, body: Option<&Value>, pointer: &str) -> Vec<Masked> {
    let envelope: Value = serde_json::from_str(&record.line).unwrap_or(Value::Null);
    let input = body.and_then(|b| b.get("input"));
    let counted = ["/violations/", "/details/"].iter().any(|kind| pointer.starts_with(kind));
    let places = [
        input.and_then(|i| i.pointer(pointer)),
        body.and_then(|b| if counted { said_in_body(b, &envelope, pointer) } else { b.pointer(pointer) }),
        envelope.pointer(pointer),
        own_copy(&envelope, pointer),
    ];
    let mut found = Vec::new();
    for place in places.into_iter().flatten() {
        collect(place, pointer, &mut found);
    }
    found.sort_by(|a, b| (!a.whole, &a.commitment).cmp(&(!b.whole, &b.commitment)));
    found.dedup_by(|a, b| a.commitment == b.commitment);
    found
}

/// Violations without room in the envelope, and details, are counted over both.
fn said_in_body<'b>(body: &'b Value, envelope: &Value, pointer: &str) -> Option<&'b Value> {
    let (kind, number) = pointer.strip_prefix('/')?.split_once('/')?;
    let number: usize = number.split('/').next()?.parse().ok()?;
    match kind {
        "violations" => {
            let shown = envelope.get("violations").and_then(Value::as_array).map_or(0, Vec::len);
            body.get("violations")?.get(number.checked_sub(shown)?)
        }
        "details" => {
            let of = |d: &&Value| {
                d.get("violation").and_then(Value::as_u64).is_some_and(|n| usize::try_from(n) == Ok(number))
            };
            body.get("details")?.as_array()?.iter().find(of)
        }
        _ => None,
    }
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
        if let Some(input) = body.get("input") {
            collect(input, "", &mut found);
        }
        for member in ["patch", "details"] {
            if let Some(document) = body.get(member) {
                collect(document, &format!("/{member}"), &mut found);
            }
        }
    }
    found.retain(|m| m.commitment == commitment);
    found.sort_by_key(|m| !m.whole);
    found
}

fn collect(value: &Value, pointer: &str, found: &mut Vec<Masked>) {
    match value {
        Value::String(text) => {
            for commitment in in_text(text) {
                found.push(Masked { pointer: pointer.to_owned(), commitment: commitment.to_owned(), whole: false });
            }
        }
        Value::Object(map) if map.len() == 1 && map.contains_key("masked") => {
            let text = map.get("masked").and_then(Value::as_str).unwrap_or_default();
            if let Some(commitment) = in_text(text).next().filter(|c| c.len() == text.len()) {
                let commitment = commitment.to_owned();
                found.push(Masked { pointer: pointer.to_owned(), commitment, whole: true });
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                let below = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                // A key may be masked too.
                in_text(key).for_each(|c| {
                    found.push(Masked { pointer: pointer.to_owned(), commitment: c.to_owned(), whole: false });
                });
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
