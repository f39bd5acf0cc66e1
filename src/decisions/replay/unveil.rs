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
        Value::Object(map) if is_placeholder(map) => {
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

/// What says which policies judge a request stands in these; in the rest only policies look.
pub(super) fn decides_selection(pointer: &str) -> bool {
    let sides = ["/request/object/", "/request/oldObject/", "/request/options/"];
    let Some(inside) = sides.iter().find_map(|side| pointer.strip_prefix(side)) else {
        // Of namespaces, what selectors look at.
        return !pointer.starts_with("/reads/") || pointer.contains("/labels");
    };
    let of_metadata = ["labels", "name", "namespace", "generateName"].map(|key| format!("metadata/{key}"));
    ["kind", "apiVersion", "metadata"].contains(&inside)
        || of_metadata
            .iter()
            .any(|m| inside == m || inside.strip_prefix(m.as_str()).is_some_and(|r| r.starts_with('/')))
}

/// Whether an UPDATE of a Pod, or of a template, may have changed nothing but what is veiled: policies on Pods are not
/// run then, and which it was cannot be told.
pub(super) fn may_be_unchanged(review: &Value) -> bool {
    const PODS: [&str; 4] = ["", "/spec/template", "/spec/jobTemplate/spec/template", "/template"];
    let side = |side: &str| review.pointer(&format!("/request/{side}"));
    let (Some(new), Some(old)) = (side("object"), side("oldObject")) else { return false };
    PODS.iter().any(|at| {
        let (Some(new), Some(old)) = (new.pointer(at), old.pointer(at)) else { return false };
        let parts = ["/spec", "/metadata/labels", "/metadata/annotations"];
        let (mut same, mut veils) = (true, false);
        for part in parts {
            let (mut new, mut old) = (new.pointer(part).cloned(), old.pointer(part).cloned());
            veils |= new != old;
            new.iter_mut().chain(&mut old).for_each(blind);
            same &= new == old;
        }
        // The same but for veils, which differ by their pointers.
        same && veils
    })
}

/// Makes all veils alike.
fn blind(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(blind),
        Value::Array(items) => items.iter_mut().for_each(blind),
        Value::String(text) if crate::engine::pointer_of(text).is_some() => *text = veiled(""),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
