//! `http.send`, with OPA's request and response objects (`v1/topdown/http.go`).
//!
//! Must not know how a request is sent: the door of the evaluation does that, and says which hosts are allowed.

use std::time::Duration;

use regorus::Value;
use serde_json::{Map, Value as Json};

use super::call::{Builtin, CallError, Outcome, object, operand, wrong};
use crate::engine::http::{self, HttpFault, HttpRequest, HttpResponse, HttpTls, Redirects, Verification};
use crate::policy::yaml;
use crate::units::Span;

pub(super) const BUILTINS: &[Builtin] = &[Builtin { name: "http.send", arity: 1, call: send }];

/// As in OPA.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a policy may say of a request.
const KEYS: [&str; 20] = [
    "body",
    "cache",
    "cache_ignored_headers",
    "caching_mode",
    "enable_redirect",
    "force_cache",
    "force_cache_duration_seconds",
    "force_json_decode",
    "force_yaml_decode",
    "headers",
    "max_retry_attempts",
    "method",
    "raise_error",
    "raw_body",
    "timeout",
    "tls_ca_cert",
    "tls_client_cert",
    "tls_client_key",
    "tls_insecure_skip_verify",
    "url",
];

/// What OPA has and we have not: files and variables of the process are not a policy's to read.
const NOT_HERE: [&str; 8] = [
    "tls_ca_cert_env_variable",
    "tls_ca_cert_file",
    "tls_client_cert_env_variable",
    "tls_client_cert_file",
    "tls_client_key_env_variable",
    "tls_client_key_file",
    "tls_server_name",
    "tls_use_system_certs",
];

fn send(args: &[Value]) -> Outcome {
    let wanted = operand(args, 0)?;
    let Ok(Json::Object(parameters)) = serde_json::to_value(wanted) else { return Err(wrong(0, "object", wanted)) };
    let raises = switch(&parameters, "raise_error").map_err(|e| CallError::Operand(e.to_string()))?.unwrap_or(true);
    match ask(wanted, &parameters) {
        Ok(response) => told(&parameters, &response),
        // What is not allowed is no answer either, whatever the policy makes of errors.
        Err(HttpFault::Forbidden(msg)) => Err(CallError::Unsupported(msg)),
        // `raise_error` halts the evaluation, so its documentation: a service that is out is not "no violation".
        Err(fault) if raises => Err(CallError::Unsupported(fault.to_string())),
        Err(HttpFault::Request(msg)) => Ok(failure("eval_http_send_internal_error", msg)),
        Err(HttpFault::Network(msg)) => Ok(failure("eval_http_send_network_error", msg)),
    }
}

fn ask(wanted: &Value, parameters: &Map<String, Json>) -> Result<HttpResponse, HttpFault> {
    let request = request(parameters)?;
    for key in ["force_json_decode", "force_yaml_decode", "cache", "force_cache"] {
        switch(parameters, key)?;
    }
    http::send(&without_ignored_headers(wanted, parameters), request)
}

fn fault(msg: impl Into<String>) -> HttpFault {
    HttpFault::Request(msg.into())
}

fn request(parameters: &Map<String, Json>) -> Result<HttpRequest, HttpFault> {
    if let Some(key) = parameters.keys().find(|k| NOT_HERE.contains(&k.as_str())) {
        let msg = format!("`{key}` is not done here: give certificates and keys in the request, as PEM");
        return Err(HttpFault::Forbidden(msg));
    }
    let unknown: Vec<&str> = parameters.keys().map(String::as_str).filter(|k| !KEYS.contains(k)).collect();
    if !unknown.is_empty() {
        return Err(fault(format!("invalid request parameter(s): {}", unknown.join(", "))));
    }
    let needed =
        |key| text(parameters, key)?.ok_or_else(|| fault(format!("missing required request parameter `{key}`")));
    let body = match (text(parameters, "raw_body")?, parameters.get("body")) {
        (Some(raw), _) => raw.into_bytes(),
        (None, Some(body)) => body.to_string().into_bytes(),
        (None, None) => Vec::new(),
    };
    let redirects =
        if switch(parameters, "enable_redirect")? == Some(true) { Redirects::Follow } else { Redirects::Return };
    Ok(HttpRequest {
        method: needed("method")?.to_uppercase(),
        url: needed("url")?,
        headers: headers(parameters)?,
        body,
        redirects,
        retries: retries(parameters)?,
        timeout: timeout(parameters)?,
        tls: tls(parameters)?,
    })
}

fn text(parameters: &Map<String, Json>, key: &str) -> Result<Option<String>, HttpFault> {
    match parameters.get(key) {
        None => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(fault(format!("`{key}` must be a string"))),
    }
}

fn switch(parameters: &Map<String, Json>, key: &str) -> Result<Option<bool>, HttpFault> {
    match parameters.get(key) {
        None => Ok(None),
        Some(Json::Bool(on)) => Ok(Some(*on)),
        Some(_) => Err(fault(format!("`{key}` must be true or false"))),
    }
}

fn headers(parameters: &Map<String, Json>) -> Result<Vec<(String, String)>, HttpFault> {
    let headers = match parameters.get("headers") {
        None => return Ok(Vec::new()),
        Some(Json::Object(headers)) => headers,
        Some(_) => return Err(fault("`headers` must be an object")),
    };
    let header = |(name, value): (&String, &Json)| match value {
        Json::String(value) => Ok((name.clone(), value.clone())),
        other => Err(fault(format!("header `{name}` must be a string, not `{other}`"))),
    };
    headers.iter().map(header).collect()
}

fn retries(parameters: &Map<String, Json>) -> Result<u32, HttpFault> {
    match parameters.get("max_retry_attempts") {
        None => Ok(0),
        Some(number) => {
            let retries = number.as_u64().and_then(|n| u32::try_from(n).ok());
            retries.ok_or_else(|| fault(format!("`max_retry_attempts` cannot be `{number}`")))
        }
    }
}

/// Nanoseconds, or a duration as Go writes it; 0 is none but the policy's own time.
fn timeout(parameters: &Map<String, Json>) -> Result<Duration, HttpFault> {
    let wrong = |value: &Json| fault(format!("`timeout` cannot be `{value}`; write nanoseconds, or `500ms`"));
    let found = match parameters.get("timeout") {
        None => DEFAULT_TIMEOUT,
        Some(value @ Json::Number(n)) => Duration::from_nanos(n.as_u64().ok_or_else(|| wrong(value))?),
        Some(value @ Json::String(text)) => match text.parse::<u64>() {
            Ok(nanos) => Duration::from_nanos(nanos),
            Err(_) => text.parse::<Span>().map_err(|_| wrong(value))?.0,
        },
        Some(other) => return Err(wrong(other)),
    };
    Ok(if found.is_zero() { Duration::MAX } else { found })
}

fn tls(parameters: &Map<String, Json>) -> Result<HttpTls, HttpFault> {
    // OPA takes escaped line ends too: PEM in JSON in a variable of a shell.
    let pem = |key| Ok(text(parameters, key)?.map(|pem| pem.replace("\\n", "\n")));
    let identity = match (pem("tls_client_cert")?, pem("tls_client_key")?) {
        (Some(cert), Some(key)) => Some((cert, key)),
        _ => None,
    };
    let skips = switch(parameters, "tls_insecure_skip_verify")? == Some(true);
    let verification = if skips { Verification::None } else { Verification::Full };
    Ok(HttpTls { ca: pem("tls_ca_cert")?, identity, verification })
}

/// What makes two requests the same one: all of it but the headers that the policy says make no difference.
fn without_ignored_headers(wanted: &Value, parameters: &Map<String, Json>) -> Value {
    let ignored = parameters.get("cache_ignored_headers").and_then(Json::as_array);
    let Some(ignored) = ignored else { return wanted.clone() };
    let mut same = parameters.clone();
    same.remove("cache_ignored_headers");
    if let Some(headers) = same.get_mut("headers").and_then(Json::as_object_mut) {
        headers.retain(|name, _| !ignored.iter().any(|i| i == name));
    }
    Value::from(Json::Object(same))
}

fn failure(code: &str, message: String) -> Value {
    let error = object([("code", Value::from(code)), ("message", Value::from(message))]);
    object([("status_code", Value::from(0u64)), ("error", error)])
}

/// The response as the policy sees it. A body that cannot be decoded is null, as in OPA.
fn told(parameters: &Map<String, Json>, response: &HttpResponse) -> Outcome {
    let forced = |key| parameters.get(key) == Some(&Json::Bool(true));
    let media = response.headers.get("content-type").and_then(|v| v.first()).map(String::as_str).unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json");
    let yaml = media.contains("application/yaml") || media.contains("application/x-yaml");
    let raw = String::from_utf8_lossy(&response.body);
    let body = if forced("force_json_decode") || json {
        Value::from_json_str(&raw).ok()
    } else if forced("force_yaml_decode") || yaml {
        yaml::parse::<Json>("response", &raw, yaml::Offset::default()).ok().map(Value::from)
    } else {
        None
    };
    let values = |values: &Vec<String>| values.iter().map(|v| Value::from(v.as_str())).collect::<Vec<Value>>();
    let headers = response.headers.iter().map(|(name, v)| (name.as_str(), Value::from(values(v))));
    Ok(object([
        ("status", Value::from(response.status.as_str())),
        ("status_code", Value::from(u64::from(response.code))),
        ("body", body.unwrap_or(Value::Null)),
        ("raw_body", Value::from(raw.into_owned())),
        ("headers", object(headers)),
    ]))
}
