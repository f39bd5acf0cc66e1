//! Bytes to [`Request`]. Knows what the API server sends; must not know what anybody does with it.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::admission::request::null_as_default;
use crate::admission::{DecodeError, GroupVersionKind, GroupVersionResource, Operation, Origin, Request, UserInfo};

/// Decodes the body of a webhook call: one JSON AdmissionReview of `admission.k8s.io/v1` with a `request`.
///
/// Unknown fields are kept for the policies. Of duplicate keys the last one counts, nesting past 128 levels is an
/// error, integers past `u64` become floats (serde_json's rules).
///
/// # Errors
/// [`DecodeError`] names the first thing that is wrong and where.
pub fn decode(body: &[u8]) -> Result<Request, DecodeError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(DecodeError::Empty);
    }
    let review: Value = serde_json::from_slice(body).map_err(|e| json_error(&e))?;
    from_value(review)
}

fn from_value(review: Value) -> Result<Request, DecodeError> {
    let Some(fields) = review.as_object() else {
        return Err(DecodeError::Kind { found: format!("JSON {}", json_type(&review)) });
    };
    match fields.get("kind").and_then(Value::as_str) {
        Some("AdmissionReview") => {}
        Some(other) => return Err(DecodeError::Kind { found: format!("a `{other}`") }),
        None => return Err(DecodeError::Kind { found: "a JSON object without `kind`".to_owned() }),
    }
    match fields.get("apiVersion").and_then(Value::as_str) {
        Some("admission.k8s.io/v1") => {}
        other => return Err(DecodeError::Version { found: other.unwrap_or_default().to_owned() }),
    }
    let request = match fields.get("request") {
        Some(request @ Value::Object(_)) => request,
        None | Some(Value::Null) => return Err(DecodeError::NoRequest),
        Some(other) => {
            return Err(DecodeError::Field {
                field: "request".to_owned(),
                message: format!("expected an object, got {}", json_type(other)),
            });
        }
    };
    let header: Header = serde_path_to_error::deserialize(request).map_err(|e| DecodeError::Field {
        field: match e.path().to_string().as_str() {
            "." => "request".to_owned(),
            path => format!("request.{path}"),
        },
        message: e.inner().to_string(),
    })?;
    if header.uid.is_empty() {
        return Err(DecodeError::NoUid);
    }
    Ok(Request {
        uid: header.uid,
        kind: header.kind,
        resource: header.resource,
        sub_resource: header.sub_resource,
        name: header.name,
        namespace: header.namespace,
        operation: header.operation,
        user: header.user_info,
        dry_run: header.dry_run,
        origin: Origin::Sent,
        generated: false,
        veiled: false,
        review: Arc::new(review),
    })
}

/// The typed part of `AdmissionRequest`; objects and options stay as they are.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    #[serde(default, deserialize_with = "null_as_default")]
    uid: String,
    kind: GroupVersionKind,
    resource: GroupVersionResource,
    #[serde(default, deserialize_with = "null_as_default")]
    sub_resource: String,
    #[serde(default, deserialize_with = "null_as_default")]
    name: String,
    #[serde(default, deserialize_with = "null_as_default")]
    namespace: String,
    operation: Operation,
    #[serde(default, deserialize_with = "null_as_default")]
    user_info: UserInfo,
    #[serde(default, deserialize_with = "null_as_default")]
    dry_run: bool,
}

fn json_error(error: &serde_json::Error) -> DecodeError {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    DecodeError::Json { message: message.to_owned(), line: error.line(), column: error.column() }
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(body: &str) -> &'static str {
        decode(body.as_bytes()).expect_err("must not decode").code()
    }

    #[test]
    fn every_wrong_body_has_its_code() {
        assert_eq!(code(""), "empty_body");
        assert_eq!(code(" \n"), "empty_body");
        assert_eq!(code("{"), "not_json");
        assert_eq!(code("[1]"), "not_an_admission_review");
        assert_eq!(code(r#"{"kind":"Pod","apiVersion":"v1"}"#), "not_an_admission_review");
        assert_eq!(
            code(r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1"}"#),
            "unsupported_version"
        );
        assert_eq!(code(r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}"#), "no_request");
        let review = |request: &str| {
            format!(r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{request}}}"#)
        };
        assert_eq!(code(&review("5")), "bad_field");
        assert_eq!(code(&review(r#"{"uid":"","kind":{},"resource":{},"operation":"CREATE"}"#)), "no_uid");
        assert_eq!(code(&review(r#"{"uid":"u","kind":{},"resource":{},"operation":"PATCH"}"#)), "bad_field");
    }

    #[test]
    fn an_error_names_its_place() {
        let body = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":
            {"uid":"u","kind":{},"resource":{},"operation":"CREATE","userInfo":{"groups":["a",5]}}}"#;
        let error = decode(body.as_bytes()).expect_err("a number is not a group");
        assert_eq!(error.to_string(), "`request.userInfo.groups[1]`: invalid type: integer `5`, expected a string");
        let error = decode(b"{\"kind\": nope}").expect_err("not JSON");
        assert_eq!(error.to_string(), "the body is not JSON: expected ident at line 1 column 11");
    }
}
