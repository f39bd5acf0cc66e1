//! Values of rules as JSON, which has neither sets nor keys that are no strings.

use std::collections::BTreeSet;

use regorus::Value;
use serde_json::{Map, Value as Json};

/// `{rule: value}` of what an entry rule gives: a set of `[rule, value]`.
pub(super) fn of_pairs(value: &Value) -> serde_json::Result<Json> {
    let pairs = value.as_set().map_err(serde::de::Error::custom)?;
    let pair = |pair: &Value| {
        let items = pair.as_array().map_err(serde::de::Error::custom)?;
        match (items.first(), items.get(1)) {
            (Some(Value::String(name)), Some(value)) => Ok((name.as_ref().to_owned(), of_rule(value)?)),
            _ => Err(serde::de::Error::custom("an entry rule gave no pair")),
        }
    };
    pairs.iter_sorted().map(pair).collect::<serde_json::Result<Map<_, _>>>().map(Json::Object)
}

/// Rules with their values as an entry rule gives them.
pub(super) fn pairs_of(rules: Vec<(String, Value)>) -> Value {
    rules.into_iter().map(|(name, value)| Value::from(vec![name.into(), value])).collect::<BTreeSet<_>>().into()
}

/// The value of a rule. A set of operations comes in the order of their paths, so that a parent is written before what
/// stands in it.
fn of_rule(value: &Value) -> serde_json::Result<Json> {
    let mut json = serde_json::to_value(value)?;
    if let (Value::Set(_), Some(items)) = (value, json.as_array_mut()) {
        items.sort_by(|a, b| path_of(a).cmp(&path_of(b)));
    }
    Ok(json)
}

fn path_of(operation: &Json) -> Option<&str> {
    operation.get("path").and_then(Json::as_str)
}
