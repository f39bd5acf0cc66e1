//! What is looked at after a policy has run: the shapes of its results, and what its patches come to. Knows documents
//! (JSON) and veils; must not know policies.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{MOST_PAIRS, look_at_text, pointer_of, watching};

/// The value itself is looked at.
pub(crate) fn look(value: &Value) {
    if let Value::String(text) = value {
        look_at_text(text);
    }
}

/// All of the value is looked at.
pub(crate) fn look_through(value: &Value) {
    match value {
        Value::String(_) => look(value),
        Value::Array(items) => items.iter().for_each(look_through),
        Value::Object(fields) => fields.values().for_each(look_through),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The rules of a result are read as findings: what they are, and what they say. What only goes along (`details`) is not
/// looked at, unless it alone tells two findings apart.
pub(crate) fn findings(result: &Value) {
    for rule in ["deny", "violation", "warn"].into_iter().filter_map(|rule| result.get(rule)) {
        look(rule);
        let items = match rule {
            Value::Array(items) => items.as_slice(),
            other => std::slice::from_ref(other),
        };
        for item in items {
            look(item);
            ["msg", "field", "fix"].into_iter().filter_map(|key| item.get(key)).for_each(look);
        }
    }
    let rules = ["deny", "violation", "warn"].into_iter().filter_map(|rule| result.get(rule));
    let mut alike: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for item in rules.filter_map(Value::as_array).flatten().filter(|i| i.get("details").is_some_and(has_veil)) {
        let says = ["msg", "field"].map(|key| item.get(key).map(Value::to_string).unwrap_or_default());
        alike.entry(says.join("\n")).or_default().push(item);
    }
    alike.values().filter(|items| items.len() > 1).flatten().for_each(|item| look_through(item));
    result.get("audit_annotations").into_iter().for_each(look_through);
}

/// An operation of a patch (RFC 6902) is applied to `state`: what stands on its paths, and what it tests.
pub(crate) fn operation(state: &Value, operation: &Value) {
    if !watching() {
        return;
    }
    look(operation);
    for key in ["op", "path", "from"] {
        let Some(value) = operation.get(key) else { continue };
        look(value);
        if key != "op" {
            look_along(state, value.as_str().unwrap_or_default());
        }
    }
    if operation.get("op").and_then(Value::as_str) == Some("test") {
        let path = operation.get("path").and_then(Value::as_str).unwrap_or_default();
        if let (Some(there), Some(wanted)) = (state.pointer(path), operation.get("value")) {
            compare(there, wanted);
        }
    }
}

/// A patch is made of what `to` has otherwise than `from`. What is the same to the letter at the same place is the same
/// whatever it hides; a veil in another place, or against another value, could make another patch.
pub(crate) fn changed(from: &Value, to: &Value) {
    if watching() {
        differ(from, to);
    }
}

fn differ(from: &Value, to: &Value) {
    match (from, to) {
        _ if from == to => {}
        (Value::Object(a), Value::Object(b)) => {
            for (key, wanted) in b {
                match a.get(key) {
                    Some(value) => differ(value, wanted),
                    None => look_through(wanted),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if has_veil(from) || has_veil(to) => lists(a, b),
        _ => {
            look_through(from);
            look_through(to);
        }
    }
}

/// Elements are aligned where they are equal, or have one name.
fn lists(from: &[Value], to: &[Value]) {
    if from.len().saturating_mul(to.len()) > MOST_PAIRS {
        from.iter().chain(to).for_each(look_through);
        return;
    }
    for (a, b) in from.iter().flat_map(|a| to.iter().map(move |b| (a, b))) {
        compare(a, b);
        if a != b && named_alike(a, b) {
            differ(a, b);
        }
    }
    let counts = |list: &[Value]| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        list.iter().filter(|v| has_veil(v)).for_each(|v| *counts.entry(v.to_string()).or_default() += 1);
        counts
    };
    let names = |list: &[Value]| list.iter().filter_map(name).map(Value::to_string).collect::<BTreeSet<_>>();
    let (before, after, named, still_named) = (counts(from), counts(to), names(from), names(to));
    for value in from.iter().chain(to).filter(|v| has_veil(v)) {
        let text = value.to_string();
        let stays = name(value).map(Value::to_string).is_some_and(|n| named.contains(&n) && still_named.contains(&n));
        if before.get(&text) != after.get(&text) && !stays {
            look_through(value);
        }
    }
}

/// What an element of a list is known by.
fn name(value: &Value) -> Option<&Value> {
    value.get("name").filter(|name| !is_veiled(name))
}

fn named_alike(a: &Value, b: &Value) -> bool {
    name(a).is_some_and(|n| name(b) == Some(n))
}

fn compare(a: &Value, b: &Value) {
    if equal(a, b).is_none() {
        look_through(a);
        look_through(b);
    }
}

/// Whether two values are equal; `None` where what is veiled says.
pub(crate) fn equal(a: &Value, b: &Value) -> Option<bool> {
    if is_veiled(a) || is_veiled(b) {
        return (a == b).then_some(true);
    }
    match (a, b) {
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => all_equal(a.iter().zip(b)),
        (Value::Object(a), Value::Object(b)) if a.len() == b.len() => {
            let pairs: Option<Vec<_>> = a.iter().map(|(key, a)| b.get(key).map(|b| (a, b))).collect();
            pairs.map_or(Some(false), all_equal)
        }
        _ => Some(a == b),
    }
}

fn all_equal<'v>(pairs: impl IntoIterator<Item = (&'v Value, &'v Value)>) -> Option<bool> {
    let mut known = true;
    for (a, b) in pairs {
        match equal(a, b) {
            Some(false) => return Some(false),
            Some(true) => {}
            None => known = false,
        }
    }
    known.then_some(true)
}

/// Every veil on the way of a JSON pointer, but for what it leads to.
fn look_along(state: &Value, pointer: &str) {
    let mut at = state;
    for token in pointer.split('/').skip(1) {
        look(at);
        let token = if token.contains('~') {
            Cow::Owned(token.replace("~1", "/").replace("~0", "~"))
        } else {
            Cow::Borrowed(token)
        };
        let below = match at {
            Value::Object(fields) => fields.get(token.as_ref()),
            Value::Array(items) => token.parse::<usize>().ok().and_then(|i| items.get(i)),
            _ => None,
        };
        match below {
            Some(below) => at = below,
            None => return,
        }
    }
}

fn is_veiled(value: &Value) -> bool {
    value.as_str().is_some_and(|text| pointer_of(text).is_some())
}

fn has_veil(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_veil),
        Value::Object(fields) => fields.values().any(has_veil),
        other => is_veiled(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::veil::{begin, end, veiled};
    use serde_json::json;

    fn touched(look: impl FnOnce()) -> Vec<String> {
        begin(true);
        look();
        end()
    }

    #[test]
    fn what_is_read_of_findings() {
        let (x, y) = (veiled("x"), veiled("y"));
        let none: [&str; 0] = [];
        for (result, expected) in [
            (json!({"deny": ["plain"]}), &none[..]),
            (json!({"deny": x}), &["x"]),
            (json!({"warn": [x]}), &["x"]),
            (json!({"violation": [{"msg": "m", "field": x}]}), &["x"]),
            (json!({"deny": [{"msg": x, "details": y}]}), &["x"]),
            (json!({"deny": [{"msg": "m", "fix": x}]}), &["x"]),
            (json!({"deny": [{"msg": "m", "details": x}, {"msg": "n", "details": y}]}), &none),
            (json!({"deny": [{"msg": "m", "details": x}], "warn": [{"msg": "m", "details": y}]}), &["x", "y"]),
            (json!({"audit_annotations": {"a": {"b": x}}}), &["x"]),
        ] {
            assert_eq!(touched(|| findings(&result)), expected, "{result}");
        }
    }

    #[test]
    fn what_a_patch_is_made_of() {
        let (x, y) = (veiled("x"), veiled("y"));
        let container =
            |env: &str, image: &str| json!({"name": "app", "image": image, "env": [{"name": "A", "value": env}]});
        let sidecar = json!({"name": "proxy", "env": [{"name": "A", "value": "1"}]});
        let none: [&str; 0] = [];
        for (from, to, expected) in [
            (json!({"a": x, "b": 1}), json!({"a": x, "b": 2, "c": 3}), &none[..]),
            (json!({"a": x}), json!({}), &none),
            (json!({"a": x}), json!({"a": "1"}), &["x"]),
            (json!({"a": x}), json!({"a": x, "b": x}), &["x"]),
            (json!({"a": x, "b": y}), json!({"a": y, "b": y}), &["x", "y"]),
            (json!([container(&x, "i")]), json!([container(&x, "j"), sidecar]), &none),
            (json!([container(&x, "i")]), json!([sidecar, container(&x, "i")]), &none),
            (json!([container(&x, "i")]), json!([container("1", "i")]), &["x"]),
            (json!([container(&x, "i")]), json!([sidecar]), &["x"]),
            (json!([x, "a"]), json!([x, "b"]), &["x"]),
            (json!([{"v": x}]), json!([{"v": x}, {"v": x}]), &["x"]),
        ] {
            assert_eq!(touched(|| changed(&from, &to)), expected, "{from} {to}");
        }
    }

    #[test]
    fn what_operations_look_at() {
        let (x, y) = (veiled("x"), veiled("y"));
        let state = json!({"data": x, "list": [{"a": y, "b": 1}]});
        let none: [&str; 0] = [];
        for (op, expected) in [
            (json!({"op": "add", "path": "/data/key", "value": 1}), &["x"][..]),
            (json!({"op": "replace", "path": "/data", "value": 1}), &none),
            (json!({"op": "test", "path": "/data", "value": "1"}), &["x"]),
            (json!({"op": "test", "path": "/list/0", "value": {"a": 2, "b": 1}}), &["y"]),
            (json!({"op": "test", "path": "/list/0", "value": {"a": 2, "b": 2}}), &none),
            (json!({"op": "copy", "from": "/data/key", "path": "/other"}), &["x"]),
            (json!({"op": "remove", "path": x}), &["x"]),
            (json!(y), &["y"]),
        ] {
            assert_eq!(touched(|| operation(&state, &op)), expected, "{op}");
        }
    }
}
