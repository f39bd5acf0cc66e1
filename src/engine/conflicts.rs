//! Mutations that undo one another: of each value that a policy wrote, who wrote it, and who wrote another over it.

use std::collections::BTreeMap;
use std::sync::Arc;

use json_patch::{AddOperation, Patch, PatchOperation, ReplaceOperation};
use serde_json::Value;

/// What one policy changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Mutation {
    /// Policy name.
    pub policy: Arc<str>,
    /// From the object as the policies before it had left it.
    pub patch: Patch,
}

/// Two policies that want different things in one place; the second one has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// JSON pointer into the object.
    pub path: String,
    /// The policy whose value is gone.
    pub first: Arc<str>,
    /// The policy that comes after it, by name.
    pub second: Arc<str>,
}

impl Conflict {
    /// Who undoes what of whom, as authors read it.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!("`{}` writes over what `{}` wrote at {}", self.second, self.first, self.path)
    }
}

/// The conflicts among the mutations of `object`, in order.
pub(crate) fn conflicts(object: &Value, mutations: &[Mutation]) -> Vec<Conflict> {
    if mutations.len() < 2 {
        return Vec::new();
    }
    // As the object, with the name of who wrote it in the place of each value.
    let mut writers = written(object, &Value::Null);
    let mut removed: BTreeMap<String, Arc<str>> = BTreeMap::new();
    let mut found = Vec::new();
    for Mutation { policy, patch } in mutations {
        let name = Value::String(policy.to_string());
        for operation in &patch.0 {
            let path = operation.path().to_string();
            let before: Vec<Arc<str>> = match operation {
                PatchOperation::Add(_) => removed.get(&path).cloned().into_iter().collect(),
                _ => writers.pointer(&path).map(names).unwrap_or_default(),
            };
            let others = before.into_iter().filter(|first| first != policy);
            found.extend(others.map(|first| Conflict { path: path.clone(), first, second: Arc::clone(policy) }));
            let operation = match operation.clone() {
                PatchOperation::Add(add) => {
                    PatchOperation::Add(AddOperation { value: written(&add.value, &name), ..add })
                }
                PatchOperation::Replace(replace) => {
                    PatchOperation::Replace(ReplaceOperation { value: written(&replace.value, &name), ..replace })
                }
                other => {
                    // Places in a list are taken by what comes after.
                    let parent = path.rsplit_once('/').and_then(|(parent, _)| writers.pointer(parent));
                    if parent.is_some_and(Value::is_object) {
                        removed.insert(path, Arc::clone(policy));
                    }
                    other
                }
            };
            // It is of the same shape as the object, which took the operation.
            let _ = json_patch::patch(&mut writers, std::slice::from_ref(&operation));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The document with `name` in the place of each value that is no container.
fn written(document: &Value, name: &Value) -> Value {
    match document {
        Value::Array(items) => items.iter().map(|v| written(v, name)).collect(),
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), written(v, name))).collect(),
        _ => name.clone(),
    }
}

fn names(writers: &Value) -> Vec<Arc<str>> {
    match writers {
        Value::Array(items) => items.iter().flat_map(names).collect(),
        Value::Object(map) => map.values().flat_map(names).collect(),
        Value::String(name) => vec![name.as_str().into()],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::difference::difference;
    use serde_json::json;

    #[test]
    fn who_undoes_whom() {
        let found = |steps: &[(&str, Value)]| {
            let mut mutations = Vec::new();
            let (_, first) = &steps[0];
            let mut before = first.clone();
            for (policy, after) in &steps[1..] {
                if let Some(patch) = difference(&before, after) {
                    mutations.push(Mutation { policy: (*policy).into(), patch });
                }
                before = after.clone();
            }
            let told = conflicts(first, &mutations);
            told.iter().map(|c| format!("{} {} {}", c.path, c.first, c.second)).collect::<Vec<_>>()
        };
        let object = ("", json!({"x": {"own": 1}, "l": ["u"]}));
        let a = ("a", json!({"x": {"own": 1, "p": 1}, "l": ["u"]}));
        assert_eq!(
            found(&[object.clone(), a.clone(), ("b", json!({"x": {"own": 2, "p": 1, "q": 1}, "l": ["u"]}))]),
            [""; 0]
        );
        assert_eq!(
            found(&[object.clone(), a.clone(), ("b", json!({"x": {"own": 1, "p": 2}, "l": ["u"]}))]),
            ["/x/p a b"]
        );
        assert_eq!(found(&[object.clone(), a.clone(), ("b", json!({"x": {"own": 1}, "l": ["u"]}))]), ["/x/p a b"]);
        assert_eq!(found(&[object.clone(), a, ("b", json!({"l": ["u"]}))]), ["/x a b"]);
        // A list that shifts takes its writers along.
        let front = ("a", json!({"x": {"own": 1}, "l": ["a", "u"]}));
        let shifted = ("b", json!({"x": {"own": 1}, "l": ["b", "a", "u"]}));
        assert_eq!(found(&[object.clone(), front.clone(), shifted.clone()]), [""; 0]);
        assert_eq!(
            found(&[object.clone(), front, shifted, ("c", json!({"x": {"own": 1}, "l": ["b", "c", "u"]}))]),
            ["/l/1 a c"]
        );
        // What one takes away and another puts back.
        let gone = ("a", json!({"x": {}, "l": ["u"]}));
        assert_eq!(found(&[object, gone, ("b", json!({"x": {"own": 3}, "l": ["u"]}))]), ["/x/own a b"]);
    }
}
