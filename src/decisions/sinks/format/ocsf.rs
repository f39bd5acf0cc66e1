//! OCSF 1.3 API Activity (class 6003) with the profile `security_control`, as Amazon Security Lake and others read it.

use serde_json::{Value, json};

use super::provenance;
use crate::admission::Operation;
use crate::decisions::sinks::Event;
use crate::engine::Verdict;
use crate::policy::Severity;

/// The event of a decision.
pub(super) fn event(event: &Event) -> Option<Value> {
    let d = event.decision.as_ref()?;
    let head = &event.record.head;
    let activity = match d.request.operation {
        Operation::Create => 1,
        Operation::Connect => 2,
        Operation::Update => 3,
        Operation::Delete => 4,
    };
    let denied = d.verdict == Verdict::Deny;
    let worst = d.violations.iter().filter_map(|v| v.severity).max();
    let severity = match worst {
        // Refused by no policy: it failed, was late, or could not be recorded.
        _ if d.violations.is_empty() && denied => 3,
        _ if d.violations.is_empty() => 1,
        Some(Severity::Critical) => 5,
        Some(Severity::High) => 4,
        Some(Severity::Medium) => 3,
        Some(Severity::Low) => 2,
        Some(Severity::Info) => 1,
        None => 0,
    };
    let time = head.timestamp.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond);
    let violations = d.violations.iter().map(|v| {
        json!({
            "decision": v.enforcement.as_str(),
            "policy": {"uid": v.digest, "name": v.policy, "version": d.policy_set, "desc": v.msg},
        })
    });
    let errors = d.errors.iter().map(|e| {
        json!({
            "decision": format!("error {}", e.code.as_str()),
            "policy": {"uid": e.digest, "name": e.policy, "version": d.policy_set, "desc": e.msg},
        })
    });
    let first = d.violations.first().map(|v| v.msg.as_str());
    let message = first.or(d.errors.first().map(|e| e.msg.as_str())).unwrap_or_default();
    let groups: Vec<Value> = d.request.user.groups.iter().map(|g| json!({"name": g})).collect();
    let resource = if d.request.subresource.is_empty() {
        d.request.resource.clone()
    } else {
        format!("{}/{}", d.request.resource, d.request.subresource)
    };
    // An address that is no address is refused where events are checked.
    let endpoint = match d.caller.addr.as_deref().and_then(|a| a.parse::<std::net::SocketAddr>().ok()) {
        Some(addr) => json!({"ip": addr.ip(), "port": addr.port()}),
        None => json!({"name": "unknown"}),
    };
    Some(json!({
        "class_uid": 6003, "class_name": "API Activity", "category_uid": 6, "category_name": "Application Activity",
        "activity_id": activity, "type_uid": 600_300 + activity, "time": time, "severity_id": severity,
        "status_id": if denied { 2 } else { 1 }, "status_detail": d.cause.as_str(),
        "action_id": if denied { 2 } else { 1 }, "disposition_id": if denied { 2 } else { 1 },
        "message": message,
        "metadata": {
            "version": "1.3.0", "uid": d.decision_id, "profiles": ["security_control", "cloud"],
            "product": {"name": "Portcullis", "vendor_name": "Portcullis", "version": head.labels.version},
            "log_name": head.origin, "sequence": event.seq(), "original_time": head.timestamp,
        },
        "actor": {"user": {"name": d.request.user.username, "uid": d.request.user.uid, "groups": groups}},
        "api": {
            "operation": d.request.operation.as_str(),
            "group": {"name": d.request.group}, "version": d.request.version,
            "request": {"uid": d.request.uid},
        },
        "resources": [{
            "type": resource, "name": d.request.name, "namespace": d.request.namespace, "labels": [d.request.kind],
        }],
        "src_endpoint": endpoint,
        "cloud": {"provider": "Kubernetes", "account": {"name": head.labels.cluster}},
        "authorizations": violations.chain(errors).collect::<Vec<_>>(),
        "unmapped": {
            "portcullis": provenance(event), "endpoint": d.endpoint.as_str(), "dry_run": d.request.dry_run,
            "user_extra": d.request.user.extra, "policy_set": d.policy_set, "data_digest": d.data_digest,
        },
    }))
}
