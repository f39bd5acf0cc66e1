//! The input of a decision from its body: what is masked or left out becomes a veiled value. Knows placeholders and
//! pointers; must not know policies.

use serde_json::Value;

use super::text::commitment_in;
use crate::engine::veiled;

/// An input with its veils.
pub(super) struct Veiled {
    /// The AdmissionReview.
    pub input: Value,
    /// Where something is veiled, as JSON pointers from the input.
    pub pointers: Vec<String>,
}

/// Puts veils in place of what the record does not show; `omitted` are pointers of what was left out.
pub(super) fn veil(mut input: Value, omitted: &[String]) -> Veiled {
    let mut pointers = Vec::new();
    veil_below(&mut input, &mut String::new(), &mut pointers);
    for pointer in omitted {
        if put(&mut input, pointer) {
            pointers.push(pointer.clone());
        }
    }
    Veiled { input, pointers }
}

/// Puts veils in place of masked values below `at`; gives where.
pub(super) fn veil_below(value: &mut Value, at: &mut String, pointers: &mut Vec<String>) {
    match value {
        // A masked key may have been any: what is in the map is not known.
        Value::Object(map) if is_placeholder(map) || map.keys().any(|key| commitment_in(key).is_some()) => {
            pointers.push(at.clone());
            *value = Value::String(veiled(at));
        }
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                let length = at.len();
                at.push('/');
                at.push_str(&escape(key));
                veil_below(inner, at, pointers);
                at.truncate(length);
            }
        }
        Value::Array(items) => {
            for (i, inner) in items.iter_mut().enumerate() {
                let length = at.len();
                at.push_str(&format!("/{i}"));
                veil_below(inner, at, pointers);
                at.truncate(length);
            }
        }
        Value::String(text) if commitment_in(text).is_some() => {
            pointers.push(at.clone());
            *text = veiled(at);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `{"masked": "hmac-sha256:<64 hex>"}`.
fn is_placeholder(map: &serde_json::Map<String, Value>) -> bool {
    let masked = map.get("masked").and_then(Value::as_str).filter(|_| map.len() == 1);
    masked.is_some_and(|text| text == "[masked]" || commitment_in(text).is_some_and(|(s, e)| s == 0 && e == text.len()))
}

/// Puts a veil where nothing stands; false when there is no object to put it in.
fn put(input: &mut Value, pointer: &str) -> bool {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return false };
    match input.pointer_mut(parent) {
        Some(Value::Object(map)) => {
            map.insert(key.replace("~1", "/").replace("~0", "~"), Value::String(veiled(pointer)));
            true
        }
        _ => false,
    }
}

pub(super) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Whether what a pointer names says which policies judge a request; in the rest only policies look. `places` are where
/// objects stand that are judged by themselves, as JSON pointers from the object: the object, its Pod template, ...
pub(super) fn decides_selection(pointer: &str, places: &[String]) -> bool {
    if let Some(read) = pointer.strip_prefix("/reads/") {
        // Of namespaces, what selectors look at.
        return read.split_once('/').is_none_or(|(_, inside)| inside == "labels" || inside.starts_with("labels/"));
    }
    let sides = ["/request/object/", "/request/oldObject/", "/request/options/"];
    let Some(inside) = sides.iter().find_map(|side| pointer.strip_prefix(side)) else { return true };
    let is_or_below = |place: &str, at: &str| at == place || at.strip_prefix(place).is_some_and(|r| r.starts_with('/'));
    let inside = format!("/{inside}");
    places.iter().any(|place| {
        let looked_at = ["labels", "name", "namespace", "generateName"].map(|key| format!("{place}/metadata/{key}"));
        let whole = ["kind", "apiVersion", "metadata"].map(|key| format!("{place}/{key}"));
        let above = !place.is_empty() && is_or_below(&inside, place);
        above || whole.contains(&inside) || looked_at.iter().any(|at| is_or_below(at, &inside))
    })
}
