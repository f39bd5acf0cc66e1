//! Records as OTLP log records (`opentelemetry.proto.logs.v1`). Knows messages; must not know how they are sent.

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::{Event, Format};
use crate::engine::Verdict;

/// One request with these records, of one log.
pub(super) fn request(events: &[Event], format: Format) -> ExportLogsServiceRequest {
    let labels = events.first().map(|e| e.record.head.labels.clone()).unwrap_or_default();
    let resource = Resource {
        attributes: vec![
            text("service.name", "portcullis"),
            text("service.version", &labels.version),
            text("service.instance.id", &labels.replica),
            text("k8s.cluster.name", &labels.cluster),
        ],
        ..Resource::default()
    };
    let scope = InstrumentationScope { name: "portcullis.decisions".to_owned(), ..InstrumentationScope::default() };
    let log_records = events.iter().filter_map(|e| record(e, format)).collect();
    let scope_logs = vec![ScopeLogs { scope: Some(scope), log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { resource: Some(resource), scope_logs, ..ResourceLogs::default() }],
    }
}

fn record(event: &Event, format: Format) -> Option<LogRecord> {
    let head = &event.record.head;
    let body = format.write(event)?;
    let nanos = head.timestamp.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_nanosecond);
    let nanos = u64::try_from(nanos).unwrap_or_default();
    let denied = event.decision.as_ref().is_some_and(|d| d.verdict == Verdict::Deny);
    let severity = if denied { SeverityNumber::Warn } else { SeverityNumber::Info };
    let mut attributes = vec![
        text("portcullis.origin", &head.origin),
        KeyValue {
            key: "portcullis.seq".to_owned(),
            value: Some(AnyValue { value: Some(Any::IntValue(i64::try_from(event.seq()).unwrap_or(i64::MAX))) }),
            ..KeyValue::default()
        },
        text("portcullis.leaf", &event.leaf()),
    ];
    if let Some(d) = &event.decision {
        attributes.extend([
            text("portcullis.decision_id", &d.decision_id),
            text("portcullis.verdict", d.verdict.as_str()),
            text("portcullis.policy_set", &d.policy_set.to_string()),
            text("k8s.namespace.name", &d.request.namespace),
            text("k8s.resource", &d.request.resource),
            text("user.name", &d.request.user.username),
        ]);
    }
    Some(LogRecord {
        time_unix_nano: nanos,
        observed_time_unix_nano: nanos,
        severity_number: severity.into(),
        severity_text: if denied { "WARN" } else { "INFO" }.to_owned(),
        body: Some(AnyValue { value: Some(Any::StringValue(body)) }),
        attributes,
        event_name: format!("portcullis.{}", head.r#type.as_str()),
        ..LogRecord::default()
    })
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Any::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// How many records the service says that it did not take.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let response = ExportLogsServiceResponse::decode(answer).unwrap_or_default();
    response.partial_success.map_or(0, |p| u64::try_from(p.rejected_log_records).unwrap_or_default())
}
