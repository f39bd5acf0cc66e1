//! What a policy's rules may say, parsed: nothing that is not understood is taken for "no violation".

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// One violation as a rule states it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finding {
    /// The rule: `deny`, `violation` or `warn`.
    pub rule: &'static str,
    pub msg: String,
    pub field: Option<String>,
    pub details: Option<Value>,
    pub fix: Option<String>,
}

/// All findings and annotations in the result of the validating rules.
pub(crate) fn findings(result: &Value, title: &str) -> Result<Vec<Finding>, String> {
    let mut found = Vec::new();
    for rule in ["deny", "violation", "warn"] {
        if let Some(value) = result.get(rule) {
            of_rule(rule, value, title, &mut found)?;
        }
    }
    Ok(found)
}

/// The findings of a constraint: Gatekeeper reads `msg` and `details` and lets the rest be.
pub(crate) fn constraint_findings(result: &Value) -> Result<Vec<Finding>, String> {
    const RULE: &str = "violation";
    let items = match result.get(RULE) {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(other) => return Err(format!("`{RULE}` must be a set of objects with `msg`, not `{other}`")),
    };
    let finding = |item: &Value| match item.get("msg") {
        Some(Value::String(msg)) => {
            let details = item.get("details").filter(|d| !d.is_null()).cloned();
            Ok(Finding { details, ..plain(RULE, msg) })
        }
        _ => Err(format!("`{RULE}` must give objects whose `msg` is a string, not `{item}`")),
    };
    items.iter().map(finding).collect()
}

fn of_rule(rule: &'static str, value: &Value, title: &str, found: &mut Vec<Finding>) -> Result<(), String> {
    match value {
        Value::Bool(false) | Value::Null => {}
        Value::Bool(true) => found.push(plain(rule, title)),
        Value::Array(items) => {
            for item in items {
                found.push(finding(rule, item)?);
            }
        }
        Value::String(_) => found.push(finding(rule, value)?),
        Value::Object(map) if map.contains_key("msg") => found.push(finding(rule, value)?),
        Value::Object(_) | Value::Number(_) => return Err(shape(rule, value)),
    }
    Ok(())
}

fn finding(rule: &'static str, value: &Value) -> Result<Finding, String> {
    let map = match value {
        Value::String(msg) => return Ok(plain(rule, msg)),
        Value::Object(map) => map,
        _ => return Err(shape(rule, value)),
    };
    let text = |key: &str| match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("`{rule}`: `{key}` must be a string, not `{other}`")),
    };
    Ok(Finding {
        rule,
        msg: text("msg")?.ok_or_else(|| format!("`{rule}` gave an object without `msg`: `{value}`"))?,
        field: text("field")?.filter(|f| !f.is_empty()),
        details: map.get("details").filter(|d| !d.is_null()).cloned(),
        fix: text("fix")?.filter(|f| !f.is_empty()),
    })
}

pub(crate) fn plain(rule: &'static str, msg: &str) -> Finding {
    Finding { rule, msg: msg.to_owned(), field: None, details: None, fix: None }
}

fn shape(rule: &str, value: &Value) -> String {
    format!("`{rule}` must give strings or objects with `msg`, not `{value}`")
}

/// The entries of `audit_annotations`: an object, or a set of such objects.
pub(crate) fn annotations(result: &Value) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    let mut take = |map: &Map<String, Value>| {
        for (key, value) in map {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            found.entry(annotation_key(key)).or_insert(text);
        }
    };
    match result.get("audit_annotations") {
        None | Some(Value::Null) => {}
        Some(Value::Object(map)) => take(map),
        Some(Value::Array(items)) => {
            for item in items {
                let Value::Object(map) = item else {
                    return Err(format!("`audit_annotations` must give objects, not `{item}`"));
                };
                take(map);
            }
        }
        Some(other) => return Err(format!("`audit_annotations` must give an object, not `{other}`")),
    }
    Ok(found)
}

/// A key the API server takes: `[A-Za-z0-9._-]`, at most 63 characters, beginning and ending with a letter or digit.
fn annotation_key(key: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let key: String = key.chars().map(allowed).take(63).collect();
    let key = key.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if key.is_empty() { "annotation".to_owned() } else { key.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_form_of_a_violation() {
        let result =
            json!({"deny": ["b", {"msg": "c", "field": "spec", "details": {"x": 1}, "fix": "do"}], "warn": true});
        let found = findings(&result, "title").expect("reads");
        let seen: Vec<_> = found.iter().map(|f| (f.rule, f.msg.as_str(), f.field.as_deref())).collect();
        assert_eq!(seen, [("deny", "b", None), ("deny", "c", Some("spec")), ("warn", "title", None)]);
        assert!(findings(&json!({"deny": []}), "t").expect("reads").is_empty());
        assert!(findings(&json!({"deny": false}), "t").expect("reads").is_empty());
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for wrong in
            [json!([5]), json!({"message": "x"}), json!(7), json!([{"msg": 5}]), json!([{"msg": "m", "field": 1}])]
        {
            assert!(findings(&json!({"deny": wrong}), "t").is_err(), "{wrong}");
        }
    }

    #[test]
    fn annotation_keys_are_made_valid() {
        assert_eq!(annotation_key("a/b c"), "a_b_c");
        assert_eq!(annotation_key("/"), "annotation");
        assert_eq!(annotation_key(&"x".repeat(80)).len(), 63);
    }
}
