//! Patches of policies onto objects: `patch` operations (RFC 6902) and `mutate` objects, and what they may not touch.

use json_patch::{AddOperation, PatchOperation};
use serde_json::{Map, Value};

use crate::engine::veil::results as veil;

/// What the API server does not let a webhook change, or sets again itself: the object's identity and its life.
const IMMUTABLE: [&str; 13] = [
    "/apiVersion",
    "/kind",
    "/metadata/name",
    "/metadata/generateName",
    "/metadata/namespace",
    "/metadata/uid",
    "/metadata/creationTimestamp",
    "/metadata/resourceVersion",
    "/metadata/generation",
    "/metadata/selfLink",
    "/metadata/deletionTimestamp",
    "/metadata/deletionGracePeriodSeconds",
    "/metadata/managedFields",
];

/// What only the subresource of the name may change: on the resource itself the API server drops it in silence.
const STATUS: &str = "status";

/// The object after the mutating rules in `result`, or why they do not apply. `patch` is applied to what `mutate` gives.
pub(crate) fn apply(object: &Value, sub_resource: &str, result: &Value) -> Result<Value, String> {
    let mutate = result.get("mutate");
    mutate.into_iter().chain(mutate.and_then(Value::as_array).into_iter().flatten()).for_each(veil::look);
    let mut changed = match mutate {
        None | Some(Value::Null) => object.clone(),
        Some(wanted @ Value::Object(_)) => wanted.clone(),
        Some(Value::Array(items)) => match items.as_slice() {
            [] => object.clone(),
            [wanted @ Value::Object(_)] => wanted.clone(),
            _ => return Err("`mutate` must give one object".to_owned()),
        },
        Some(other) => return Err(format!("`mutate` must give the wanted object, not `{other}`")),
    };
    if let Some(operations) = result.get("patch").or_else(|| result.get("patches")) {
        apply_operations(&mut changed, operations)?;
    }
    veil::changed(object, &changed);
    for pointer in IMMUTABLE {
        if object.pointer(pointer) != changed.pointer(pointer) {
            return Err(format!("the patch changes `{pointer}`, which is the API server's to set"));
        }
    }
    if sub_resource != STATUS && object.get(STATUS) != changed.get(STATUS) {
        return Err("the patch changes `/status`, which only requests on the subresource `status` may".to_owned());
    }
    Ok(changed)
}

/// Operations are applied in order: an array in its own, a set sorted by path, so the outcome is always the same.
fn apply_operations(object: &mut Value, operations: &Value) -> Result<(), String> {
    veil::look(operations);
    let Value::Array(items) = operations else {
        return Err(format!("`patch` must give a list of RFC 6902 operations, not `{operations}`"));
    };
    let mut flat = Vec::new();
    for item in items {
        veil::look(item);
        match item {
            Value::Array(inner) => flat.extend(inner),
            other => flat.push(other),
        }
    }
    for item in flat {
        veil::operation(object, item);
        let operation: PatchOperation =
            serde_json::from_value(item.clone()).map_err(|e| format!("`{item}` is no RFC 6902 operation: {e}"))?;
        if let PatchOperation::Add(AddOperation { path, .. }) = &operation {
            create_parents(object, path.as_str());
        }
        json_patch::patch(object, std::slice::from_ref(&operation))
            .map_err(|e| format!("`{item}` does not apply: {e}"))?;
    }
    Ok(())
}

/// Creates the objects (or, before `-` and numbers, arrays) that a path goes through and that are not there.
fn create_parents(object: &mut Value, path: &str) {
    let tokens: Vec<String> = path.split('/').skip(1).map(|t| t.replace("~1", "/").replace("~0", "~")).collect();
    let mut at = object;
    for pair in tokens.windows(2) {
        let [token, next] = pair else { return };
        let fresh = || if next == "-" || next == "0" { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
        at = match at {
            Value::Object(map) => {
                let entry = map.entry(token.clone()).or_insert_with(fresh);
                if entry.is_null() {
                    *entry = fresh();
                }
                entry
            }
            Value::Array(items) => match token.parse::<usize>().ok().and_then(|i| items.get_mut(i)) {
                Some(item) => item,
                None => return,
            },
            _ => return,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn missing_parents_are_created() {
        let object = json!({"spec": {"containers": [{"name": "a"}]}});
        let result = json!({"patch": [
            {"op": "add", "path": "/metadata/labels/app.kubernetes.io~1name", "value": "x"},
            {"op": "add", "path": "/spec/containers/0/securityContext/capabilities/drop/-", "value": "ALL"}]});
        assert_eq!(
            apply(&object, "", &result).expect("applies"),
            json!({"metadata": {"labels": {"app.kubernetes.io/name": "x"}},
                   "spec": {"containers": [{"name": "a", "securityContext": {"capabilities": {"drop": ["ALL"]}}}]}})
        );
    }

    #[test]
    fn neither_rule_undoes_the_other() {
        let operations = json!([{"op": "add", "path": "/a", "value": 1}]);
        let both = json!({"patch": operations, "mutate": {"kind": "Pod", "b": 2}});
        assert_eq!(apply(&json!({"kind": "Pod"}), "", &both), Ok(json!({"kind": "Pod", "a": 1, "b": 2})));
    }

    #[test]
    fn faults_are_named() {
        let object = json!({"kind": "Pod", "metadata": {"name": "a"}});
        let fault = |result: Value| apply(&object, "", &result).expect_err("faulty");
        assert!(fault(json!({"patch": [{"op": "remove", "path": "/spec"}]})).contains("does not apply"));
        assert!(fault(json!({"patch": [{"op": "put", "path": "/spec"}]})).contains("no RFC 6902 operation"));
        assert!(fault(json!({"patch": {"op": "add"}})).contains("list of RFC 6902"));
        assert!(fault(json!({"mutate": {"kind": "Pod", "metadata": {"name": "b"}}})).contains("/metadata/name"));
        for path in
            ["/apiVersion", "/metadata/uid", "/metadata/generateName", "/metadata/managedFields", "/status/phase"]
        {
            let named = path.strip_suffix("/phase").unwrap_or(path);
            assert!(fault(json!({"patch": [{"op": "add", "path": path, "value": "x"}]})).contains(named), "{path}");
        }
        let status = json!({"patch": [{"op": "add", "path": "/status/phase", "value": "x"}]});
        assert!(apply(&object, "status", &status).is_ok());
    }
}
