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
    if !d.input.masked.is_empty() {
        put("masked", d.input.masked.iter().map(|p| json!(format!("/input{p}"))).collect());
    }
    if !d.input.omitted.is_empty() {
        put("erased", d.input.omitted.iter().map(|p| json!(format!("/input{p}"))).collect());
    }
    let metrics: Map<String, Value> =
        d.metrics.iter().map(|(name, took)| (format!("timer_portcullis_{name}"), json!(took))).collect();
    put("metrics", Value::Object(metrics));
    put("portcullis", provenance(event));
    Some(Value::Object(out))
}
