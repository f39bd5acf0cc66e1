//! OPA's decision event (`plugins/logs.EventV1`), as its decision-log plugin uploads it.

use serde_json::{Map, Value, json};

use super::provenance;
use crate::decisions::sinks::Event;
use crate::engine::Verdict;

/// The event of a decision.
pub(super) fn event(event: &Event) -> Option<Value> {
    let d = event.decision.as_ref()?;
    let head = &event.record.head;
    let body = event.body_value();
    let labels = json!({
        "id": head.origin, "version": head.labels.version, "cluster": head.labels.cluster, "replica": head.labels.replica,
    });
    let record = event.value();
    let field = |key: &str| record.get(key).cloned().unwrap_or(Value::Null);
    let mut result = json!({
        "allowed": d.verdict == Verdict::Allow, "cause": d.cause.as_str(), "mutated": d.mutated,
        "violations": field("violations"), "warnings": field("warnings"), "errors": field("errors"),
        "exceptions": field("exceptions"),
    });
    if let (Some(result), Some(patch)) = (result.as_object_mut(), body.as_ref().and_then(|b| b.get("patch"))) {
        result.insert("patch".to_owned(), patch.clone());
    }
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    put("labels", labels);
    put("decision_id", json!(d.decision_id));
    put("path", json!(format!("portcullis/{}", d.endpoint.as_str())));
    put("timestamp", json!(head.timestamp));
    put("result", result);
    put("bundles", json!({"policy_set": {"revision": d.policy_set}, "data": {"revision": d.data_digest}}));
    if let Some(addr) = &d.caller.addr {
        put("requested_by", json!(addr));
    }
    match body.as_ref().and_then(|b| b.get("input")) {
        Some(input) => put("input", input.clone()),
        // Without bodies: who asked for what.
        None => put("input", json!({"request": field("request")})),
    };
    // JSON pointers as OPA has them; what a mask leaves is a commitment, so they are masked and not erased.
    for (key, pointers) in [("masked", &d.input.masked), ("erased", &d.input.omitted)] {
        let pointers: Vec<Value> = pointers.iter().filter_map(|p| pointer(p)).map(Value::String).collect();
        if !pointers.is_empty() {
            put(key, Value::Array(pointers));
        }
    }
    let metrics: Map<String, Value> =
        d.metrics.iter().map(|(name, took)| (format!("timer_portcullis_{name}"), json!(took))).collect();
    put("metrics", Value::Object(metrics));
    put("portcullis", provenance(event));
    Some(Value::Object(out))
}

/// Where in the event is what has this pointer in the record and its body; `None` when it is not in the event.
fn pointer(of_record: &str) -> Option<String> {
    let (part, _) = of_record.strip_prefix('/')?.split_once('/').unwrap_or((of_record.get(1..)?, ""));
    match part {
        "patch" | "violations" | "warnings" | "errors" | "exceptions" => Some(format!("/result{of_record}")),
        "details" | "reads" => None,
        _ => Some(format!("/input{of_record}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_lead_to_where_things_are_in_the_event() {
        for (of_record, of_event) in [
            ("/request/object/data/a", Some("/input/request/object/data/a")),
            ("/patch/0/value", Some("/result/patch/0/value")),
            ("/violations/3", Some("/result/violations/3")),
            ("/warnings/0", Some("/result/warnings/0")),
            ("/reads/namespaces~1a/metadata", None),
            ("/details/0", None),
        ] {
            assert_eq!(pointer(of_record).as_deref(), of_event, "{of_record}");
        }
    }
}
