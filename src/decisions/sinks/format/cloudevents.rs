//! CloudEvents 1.0 in the structured mode: the record is the data, as it stands. Attributes are named as the specification
//! has it, lower-case letters and digits.

use serde_json::{Value, json};

use crate::decisions::sinks::Event;

/// The event of any record.
pub(super) fn event(event: &Event) -> Value {
    let head = &event.record.head;
    let mut data = json!({"record": event.value()});
    if let (Some(data), Some(body)) = (data.as_object_mut(), event.body_value()) {
        data.insert("body".to_owned(), body);
    }
    let mut out = json!({
        "specversion": "1.0",
        "id": format!("{}/{}", head.origin, event.seq()),
        "source": format!("/{}", head.origin),
        "type": format!("io.portcullis.{}.v1", head.r#type.as_str()),
        "time": head.timestamp,
        "datacontenttype": "application/json",
        "portcullisleaf": event.leaf(),
        "data": data,
    });
    if let (Some(out), Some(d)) = (out.as_object_mut(), &event.decision) {
        let name = if d.request.name.is_empty() { "-" } else { &d.request.name };
        let namespace = if d.request.namespace.is_empty() { "-" } else { &d.request.namespace };
        out.insert("subject".to_owned(), json!(format!("{}/{namespace}/{name}", d.request.resource)));
    }
    out
}
