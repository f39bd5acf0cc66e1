//! The API server's audit events, as far as a join needs them. Knows `audit.k8s.io/v1` and the wrappings in which log
//! shippers hand events on; must not know decisions.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use thiserror::Error;

use crate::policy::Digest;

/// A file that could not be read.
#[derive(Debug, Error)]
#[error("cannot read `{}`", path.display())]
pub struct AuditError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// A decision that an event bears witness to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Name of the webhook in the registration.
    pub webhook: String,
    /// Id of the decision.
    pub id: String,
}

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditEvent {
    /// `auditID`: the same for all stages of a request.
    pub audit_id: String,
    /// `ResponseStarted`, `ResponseComplete`, `Panic`.
    pub stage: String,
    /// `create`, `patch`, `deletecollection`, ...
    pub verb: String,
    /// Who asked; the impersonated user where there is one, as admission sees it.
    pub user: String,
    /// Where from.
    pub source_ips: Vec<String>,
    /// With what.
    pub user_agent: String,
    /// API group; empty for core.
    pub group: String,
    /// Plural resource; empty for requests that are about none.
    pub resource: String,
    /// Subresource.
    pub subresource: String,
    /// Namespace.
    pub namespace: String,
    /// Name; empty for a `deletecollection`.
    pub name: String,
    /// HTTP status of the answer; 0 when the event has none.
    pub code: u16,
    /// `requestReceivedTimestamp`.
    pub received: String,
    /// `stageTimestamp`.
    pub stage_time: String,
    /// `requestURI`.
    pub uri: String,
    /// Decisions of the webhooks.
    pub marks: Vec<Mark>,
    /// Webhooks that were not heard, so that the request went on without them.
    pub failed_open: Vec<String>,
    /// The authorizer refused, so admission was never reached.
    pub forbidden: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(rename = "auditID")]
    audit_id: Option<String>,
    #[serde(default)]
    stage: String,
    #[serde(default)]
    verb: String,
    #[serde(default)]
    user: WireUser,
    impersonated_user: Option<WireUser>,
    #[serde(rename = "sourceIPs", default)]
    source_ips: Vec<String>,
    #[serde(default)]
    user_agent: String,
    object_ref: Option<WireObject>,
    response_status: Option<WireStatus>,
    #[serde(default)]
    request_received_timestamp: String,
    #[serde(default)]
    stage_timestamp: String,
    #[serde(rename = "requestURI", default)]
    request_uri: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    /// An `EventList`.
    #[serde(default)]
    items: Vec<Wire>,
    /// A log shipper's wrapping: the event is text.
    #[serde(alias = "@message")]
    message: Option<String>,
    /// CloudWatch's subscription format.
    #[serde(default)]
    log_events: Vec<WireLogEvent>,
}

#[derive(Deserialize, Default)]
struct WireUser {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireObject {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    api_group: String,
}

#[derive(Deserialize)]
struct WireStatus {
    #[serde(default)]
    code: u16,
}

#[derive(Deserialize)]
struct WireLogEvent {
    message: String,
}

impl AuditEvent {
    /// Reads what one line holds: an event, a list of them, or a log shipper's wrapping of either. `None`: no event.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Vec<Self>> {
        let mut found = Vec::new();
        unwrap(serde_json::from_slice(line).ok()?, &mut found, 0)?;
        Some(found)
    }

    fn of(wire: Wire) -> Option<Self> {
        let object = wire.object_ref;
        let text = |of: fn(&WireObject) -> &String| object.as_ref().map(|o| of(o).clone()).unwrap_or_default();
        let (mut marks, mut failed_open, mut forbidden) = (Vec::new(), Vec::new(), false);
        for (key, value) in &wire.annotations {
            if key == "authorization.k8s.io/decision" {
                forbidden = value == "forbid";
            } else if is_failed_open(key) {
                failed_open.push(value.clone());
            } else if let Some(webhook) = decision_of(key, value) {
                marks.push(Mark { webhook: webhook.to_owned(), id: value.to_ascii_lowercase() });
            }
        }
        Some(Self {
            audit_id: wire.audit_id?,
            stage: wire.stage,
            verb: wire.verb,
            user: wire.impersonated_user.unwrap_or(wire.user).username,
            source_ips: wire.source_ips,
            user_agent: wire.user_agent,
            group: text(|o| &o.api_group),
            resource: text(|o| &o.resource),
            subresource: text(|o| &o.subresource),
            namespace: text(|o| &o.namespace),
            name: text(|o| &o.name),
            code: wire.response_status.map_or(0, |s| s.code),
            received: wire.request_received_timestamp,
            stage_time: wire.stage_timestamp,
            uri: wire.request_uri,
            marks,
            failed_open,
            forbidden,
        })
    }

    /// Whether the request was done: its answer is a success, or the connection was handed over.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        (200..400).contains(&self.code) || self.code == 101
    }
}

/// Events within events: a shipper's wrapping holds text, which may hold a list.
const WRAPPINGS: u8 = 4;

fn unwrap(wire: Wire, found: &mut Vec<AuditEvent>, depth: u8) -> Option<()> {
    if depth == WRAPPINGS {
        return None;
    }
    if wire.audit_id.is_some() {
        found.push(AuditEvent::of(wire)?);
        return Some(());
    }
    let texts = wire.message.into_iter().chain(wire.log_events.into_iter().map(|e| e.message));
    let mut any = false;
    for text in texts {
        unwrap(serde_json::from_str(&text).ok()?, found, depth + 1)?;
        any = true;
    }
    for item in wire.items {
        unwrap(item, found, depth + 1)?;
        any = true;
    }
    any.then_some(())
}

/// `failed-open.validating.webhook.admission.k8s.io/round_0_index_1` and the like, for both kinds of webhooks.
fn is_failed_open(key: &str) -> bool {
    key.starts_with("failed-open.") && key.contains("webhook.admission.k8s.io/")
}

/// The webhook of the annotation `<webhook>/decision-id.<first 8 hex of SHA-256(id)>`, if it is one.
fn decision_of<'k>(key: &'k str, id: &str) -> Option<&'k str> {
    let (webhook, rest) = key.split_once('/')?;
    let digest = rest.strip_prefix("decision-id.")?;
    (Digest::of(id.as_bytes()).hex().get(..8) == Some(digest)).then_some(webhook)
}

/// Bytes of a line that are held. The API server's batches have 400 events at most; what is longer is something else, such
/// as an archive, or a list that somebody printed without line feeds.
const MAX_LINE: usize = 64 << 20;

/// Calls `each` for every event of `path` (`-` is standard input; gzip is recognised). Gives how many lines hold none.
///
/// # Errors
/// [`AuditError`] when the file cannot be read; whatever `each` gives.
pub fn read_audit<E: From<AuditError>>(
    path: &Path,
    mut each: impl FnMut(AuditEvent) -> Result<(), E>,
) -> Result<u64, E> {
    lines(path, |text| match AuditEvent::parse(text) {
        Some(events) => events.into_iter().try_for_each(&mut each).map(|()| true),
        None => Ok(false),
    })
}

/// Calls `each` for every event as it stands, whole; otherwise as [`read_audit`].
///
/// # Errors
/// As [`read_audit`].
pub fn read_audit_values<E: From<AuditError>>(
    path: &Path,
    mut each: impl FnMut(serde_json::Value) -> Result<(), E>,
) -> Result<u64, E> {
    lines(path, |text| {
        let mut events = Vec::new();
        match serde_json::from_slice(text).ok().and_then(|value| unwrap_value(value, &mut events, 0)) {
            Some(()) => events.into_iter().try_for_each(&mut each).map(|()| true),
            None => Ok(false),
        }
    })
}

/// As [`unwrap`], for whole events.
fn unwrap_value(value: serde_json::Value, found: &mut Vec<serde_json::Value>, depth: u8) -> Option<()> {
    use serde_json::Value;
    if depth == WRAPPINGS {
        return None;
    }
    let Value::Object(mut map) = value else { return None };
    if map.get("auditID").is_some_and(Value::is_string) {
        found.push(Value::Object(map));
        return Some(());
    }
    let mut any = false;
    let texts = ["message", "@message"].into_iter().filter_map(|key| map.remove(key)).collect::<Vec<_>>();
    let logged = map.remove("logEvents").and_then(|v| v.as_array().cloned()).unwrap_or_default();
    let logged = logged.into_iter().filter_map(|mut e| e.get_mut("message").map(Value::take));
    for text in texts.into_iter().chain(logged) {
        unwrap_value(serde_json::from_str(text.as_str()?).ok()?, found, depth + 1)?;
        any = true;
    }
    for item in map.remove("items").and_then(|v| v.as_array().cloned()).unwrap_or_default() {
        unwrap_value(item, found, depth + 1)?;
        any = true;
    }
    any.then_some(())
}

/// Calls `each` for every line that is not empty; gives how many it says are none.
fn lines<E: From<AuditError>>(path: &Path, mut each: impl FnMut(&[u8]) -> Result<bool, E>) -> Result<u64, E> {
    let fault = |source| AuditError { path: path.to_path_buf(), source };
    let mut reader = open(path).map_err(fault)?;
    let (mut line, mut unreadable) = (Vec::new(), 0);
    while let Some(whole) = next_line(&mut reader, &mut line, MAX_LINE).map_err(fault)? {
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        if !whole || !each(text)? {
            unreadable += 1;
        }
    }
    Ok(unreadable)
}

/// Reads the next line, of which no more than `most` bytes are held; `None` at the end. True when that is all of it.
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>, most: usize) -> io::Result<Option<bool>> {
    line.clear();
    let (mut any, mut whole) = (false, true);
    loop {
        let found = match reader.fill_buf() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let end = found.iter().position(|b| *b == b'\n').map_or(found.len(), |at| at + 1);
        let piece = found.get(..end).unwrap_or_default();
        any |= !piece.is_empty();
        let room = most.saturating_sub(line.len()).min(piece.len());
        line.extend_from_slice(piece.get(..room).unwrap_or_default());
        whole &= room == piece.len();
        let ended = piece.is_empty() || piece.ends_with(b"\n");
        let used = piece.len();
        reader.consume(used);
        if ended {
            return Ok(any.then_some(whole));
        }
    }
}

fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    const BUFFER: usize = 256 * 1024;
    let raw: Box<dyn Read> = if path.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    let mut reader = BufReader::with_capacity(BUFFER, raw);
    let gzip = reader.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if gzip { Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(reader))) } else { Box::new(reader) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(annotations: &serde_json::Value) -> serde_json::Value {
        json!({"kind": "Event", "auditID": "a1", "stage": "ResponseComplete", "verb": "create",
            "user": {"username": "admin"}, "impersonatedUser": {"username": "ben"}, "sourceIPs": ["10.0.0.1"],
            "objectRef": {"resource": "pods", "namespace": "shop", "name": "p"}, "responseStatus": {"code": 201},
            "annotations": annotations})
    }

    #[test]
    fn marks_and_what_failed_open() {
        let id = "01a1fbf1-d11a-71fe-9b72-e7887de9861c";
        let short = Digest::of(id.as_bytes()).hex()[..8].to_owned();
        let event = event(&json!({
            format!("enforce.validate.portcullis.io/decision-id.{short}"): id,
            "enforce.validate.portcullis.io/decision-id.00000000": id,
            "failed-open.mutation.webhook.admission.k8s.io/round_0_index_2": "enforce.mutate.portcullis.io",
            "authorization.k8s.io/decision": "allow"}));
        let [read] = AuditEvent::parse(event.to_string().as_bytes()).expect("an event").try_into().expect("one");
        assert_eq!(read.marks, [Mark { webhook: "enforce.validate.portcullis.io".into(), id: id.into() }]);
        assert_eq!(read.failed_open, ["enforce.mutate.portcullis.io"]);
        assert_eq!((read.user.as_str(), read.forbidden, read.succeeded()), ("ben", false, true));
    }

    #[test]
    fn of_a_line_without_end_no_more_is_held_than_may_be() {
        let mut reader = io::BufReader::with_capacity(7, &b"short\n\nfar too long a line\nend"[..]);
        let mut line = Vec::new();
        let mut next = || next_line(&mut reader, &mut line, 8).expect("reads").map(|whole| (whole, line.len()));
        assert_eq!(
            [next(), next(), next(), next(), next()],
            [Some((true, 6)), Some((true, 1)), Some((false, 8)), Some((true, 3)), None]
        );
    }

    #[test]
    fn wrappings_of_log_shippers() {
        let event = event(&json!({}));
        let list = json!({"kind": "EventList", "items": [event, event]});
        let cloudwatch = json!({"logEvents": [{"id": "1", "message": event.to_string()}]});
        for (wrapped, count) in
            [(list.clone(), 2), (cloudwatch, 1), (json!({"@message": list.to_string()}), 2), (event.clone(), 1)]
        {
            let read = AuditEvent::parse(wrapped.to_string().as_bytes()).map(|e| e.len());
            assert_eq!(read, Some(count), "{wrapped}");
        }
        for wrong in ["", "x", "{}", "[]", r#"{"message": "started"}"#] {
            assert_eq!(AuditEvent::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
