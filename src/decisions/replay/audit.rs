//! Requests out of the API server's own audit log (`audit.k8s.io/v1`, level Request or RequestResponse), for people who
//! have no decision log yet. Knows events; how they come in files is `join`'s business, what is made of the requests
//! `tried`'s.
//!
//! An event has no old object, so creations are judged, and nothing else. At level Request it has the object as the client
//! sent it, before defaults and other webhooks; at level RequestResponse also as it was stored, and that is what is judged.
//! What the API server fills in and the event does not say is veiled.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::admission::{Request, decode};
use crate::decisions::join::{AuditError, read_audit_values};
use crate::engine::veiled;

/// An event that comes again is known among the last so many that admission saw; memory is twice that.
pub const MOST_KNOWN: usize = 500_000;

/// What one event comes to.
#[derive(Debug, Clone)]
pub enum AuditAnswer {
    /// A creation that can be judged.
    Request(Box<AuditedRequest>),
    /// Something that admission saw and that cannot be judged from the event; why.
    NotJudged(&'static str, Asked),
    /// Nothing that admission sees, or an event that was there before.
    None,
}

/// What filters look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// When it came (RFC 3339).
    pub time: String,
    /// Namespace of the request.
    pub namespace: String,
    /// Who asked: the user name, then the values of the user's `extra`.
    pub users: Vec<String>,
}

/// A creation as an event has it.
#[derive(Debug, Clone)]
pub struct AuditedRequest {
    /// `auditID`.
    pub audit_id: String,
    /// What filters look at.
    pub asked: Asked,
    /// The request as validating webhooks see it.
    pub request: Arc<Request>,
    /// The request as mutating webhooks see it.
    pub(super) before: Arc<Request>,
    /// Nanoseconds since the Unix epoch at which it is judged.
    pub(super) now_ns: i64,
    /// `generateName`, where the event does not say what name came of it.
    pub(super) unnamed: Option<String>,
}

/// Reads audit logs. Events that are given twice, in one file or in several, count once.
#[derive(Debug, Default)]
pub struct AuditRequests {
    keys: RandomState,
    known: HashSet<u64>,
    /// Those that were known before.
    older: HashSet<u64>,
}

/// Subresources by which one connects.
const CONNECTIONS: [&str; 4] = ["exec", "attach", "portforward", "proxy"];

impl AuditRequests {
    /// Calls `each` for every event of `path` (`-` is standard input; gzip is recognised). Gives how many lines hold none.
    ///
    /// # Errors
    /// [`AuditError`] when the file cannot be read; whatever `each` gives.
    pub fn read<E: From<AuditError>>(
        &mut self,
        path: &Path,
        mut each: impl FnMut(AuditAnswer) -> Result<(), E>,
    ) -> Result<u64, E> {
        read_audit_values(path, |event| each(if self.is_new(&event) { of_event(&event) } else { AuditAnswer::None }))
    }

    fn is_new(&mut self, event: &Value) -> bool {
        let parts = ["auditID", "stage", "requestReceivedTimestamp"].map(|key| event.get(key).and_then(Value::as_str));
        let key = self.keys.hash_one(parts);
        if self.older.contains(&key) || !self.known.insert(key) {
            return false;
        }
        if self.known.len() >= MOST_KNOWN {
            self.older = std::mem::take(&mut self.known);
        }
        true
    }
}

fn text<'e>(event: &'e Value, pointer: &str) -> &'e str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn of_event(event: &Value) -> AuditAnswer {
    if !matches!(text(event, "/stage"), "ResponseComplete" | "Panic") {
        return AuditAnswer::None;
    }
    let (resource, subresource) = (text(event, "/objectRef/resource"), text(event, "/objectRef/subresource"));
    let forbidden = text(event, "/annotations/authorization.k8s.io~1decision") == "forbid";
    let never_sent = text(event, "/objectRef/apiGroup") == "admissionregistration.k8s.io";
    if resource.is_empty() || never_sent || forbidden {
        return AuditAnswer::None;
    }
    let not_judged = |why| AuditAnswer::NotJudged(why, asked(event));
    let code = event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default();
    let stored = stored(event);
    let object = match text(event, "/verb") {
        _ if CONNECTIONS.contains(&subresource) => {
            return not_judged("a connection: its options are not in the event");
        }
        "create" => event.get("requestObject"),
        // A PUT of what was not there: admission sees a creation.
        "update" if code == 201 => event.get("requestObject"),
        "patch" if code == 201 && stored.is_none() => {
            return not_judged("a creation by server-side apply: the event has the patch, not the object");
        }
        "patch" if code == 201 => stored,
        "update" | "patch" => return not_judged("an update: the event has no old object"),
        "delete" | "deletecollection" => return not_judged("a deletion: the event has no old object"),
        _ => return AuditAnswer::None,
    };
    if !(200..400).contains(&code) {
        return not_judged("it did not succeed");
    }
    if text(event, "/annotations/audit.k8s.io~1truncated") == "true" {
        return not_judged("the event was truncated: its object is cut off");
    }
    let Some(object) = object.filter(|o| o.is_object()) else {
        return not_judged("the event has no object: its level is below Request");
    };
    match audited(event, object, stored) {
        Some(request) => AuditAnswer::Request(Box::new(request)),
        None => not_judged("the object or the time in the event cannot be read"),
    }
}

/// The object as it was stored, at level RequestResponse; a subresource may answer something else.
fn stored(event: &Value) -> Option<&Value> {
    let stored = event.get("responseObject")?;
    let kinds = |object: &Value| [text(object, "/apiVersion").to_owned(), text(object, "/kind").to_owned()];
    let same = event.get("requestObject").is_none_or(|sent| kinds(sent) == kinds(stored));
    let named = !text(stored, "/kind").is_empty() && text(stored, "/kind") != "Status";
    (named && (same || text(event, "/verb") == "patch")).then_some(stored)
}

fn user(event: &Value) -> Option<&Value> {
    event.get("impersonatedUser").filter(|u| u.is_object()).or_else(|| event.get("user"))
}

fn asked(event: &Value) -> Asked {
    let extra = user(event).and_then(|u| u.get("extra")).and_then(Value::as_object);
    let values = extra.into_iter().flat_map(Map::values).filter_map(Value::as_array).flatten();
    let name = user(event).map(|u| text(u, "/username").to_owned());
    Asked {
        time: text(event, "/requestReceivedTimestamp").to_owned(),
        namespace: namespace(event).to_owned(),
        users: name.into_iter().chain(values.filter_map(Value::as_str).map(str::to_owned)).collect(),
    }
}

/// The namespace of the request; for a Namespace that is its own name.
fn namespace(event: &Value) -> &str {
    let is_namespace =
        text(event, "/objectRef/resource") == "namespaces" && text(event, "/objectRef/apiGroup").is_empty();
    text(event, if is_namespace { "/objectRef/name" } else { "/objectRef/namespace" })
}

fn audited(event: &Value, sent: &Value, stored: Option<&Value>) -> Option<AuditedRequest> {
    let asked = asked(event);
    let now: jiff::Timestamp = asked.time.parse().ok()?;
    let mut object = stored.unwrap_or(sent).clone();
    let name = match text(sent, "/metadata/name") {
        "" => text(event, "/objectRef/name"),
        name => name,
    };
    let prefix = text(sent, "/metadata/generateName");
    let generated = !prefix.is_empty() && text(sent, "/metadata/name").is_empty() && text(event, "/verb") == "create";
    complete(&mut object, event, stored.is_some(), name);
    let mut before = object.clone();
    if let Some(metadata) = before.get_mut("metadata").and_then(Value::as_object_mut) {
        // What the API server sets between the two.
        ["uid", "creationTimestamp", "generation"].into_iter().for_each(|key| drop(metadata.remove(key)));
        if generated {
            metadata.remove("name");
        }
    }
    let mut unnamed = None;
    if stored.is_none()
        && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
    {
        let hidden = |key: &str| json!(veiled(&format!("/request/object/metadata/{key}")));
        for key in ["uid", "creationTimestamp"] {
            // Clients of before 1.34 send null for what the API server is to set.
            let sent = metadata.entry(key).or_insert(Value::Null);
            if sent.is_null() {
                *sent = hidden(key);
            }
        }
        if generated {
            unnamed = Some(prefix.to_owned());
            metadata.insert("name".to_owned(), hidden("name"));
        }
    }
    let name = if generated { "" } else { name };
    let request = |object| review(event, object, name).map(Arc::new);
    Some(AuditedRequest {
        audit_id: text(event, "/auditID").to_owned(),
        before: request(before)?,
        request: request(object)?,
        asked,
        now_ns: i64::try_from(now.as_nanosecond()).ok()?,
        unnamed,
    })
}

/// What the API server fills in before any webhook sees the object.
fn complete(object: &mut Value, event: &Value, stored: bool, name: &str) {
    let namespace = text(event, "/objectRef/namespace");
    let is_namespace = text(object, "/kind") == "Namespace" && text(object, "/apiVersion") == "v1";
    let Some(fields) = object.as_object_mut() else { return };
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    let Some(metadata) = metadata.as_object_mut() else { return };
    if stored {
        metadata.remove("resourceVersion");
    } else {
        let hidden = || json!(veiled("/request/object/metadata/managedFields"));
        metadata.entry("managedFields").or_insert_with(hidden);
    }
    if !namespace.is_empty() && text(event, "/objectRef/resource") != "namespaces" {
        metadata.entry("namespace").or_insert_with(|| json!(namespace));
    }
    if is_namespace && !name.is_empty() {
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.entry("kubernetes.io/metadata.name").or_insert_with(|| json!(name));
        }
    }
}

fn review(event: &Value, object: Value, name: &str) -> Option<Request> {
    let (group, version) = match text(&object, "/apiVersion") {
        "" => return None,
        api_version => api_version.split_once('/').unwrap_or(("", api_version)),
    };
    let kind = json!({"group": group, "version": version, "kind": object.get("kind")?});
    let resource = json!({
        "group": text(event, "/objectRef/apiGroup"), "version": text(event, "/objectRef/apiVersion"),
        "resource": text(event, "/objectRef/resource"),
    });
    let options = options(text(event, "/requestURI"));
    let mut request = json!({
        "uid": text(event, "/auditID"), "kind": kind, "requestKind": kind, "resource": resource, "requestResource": resource,
        "operation": "CREATE", "userInfo": user(event)?, "object": object, "oldObject": null,
        "dryRun": options.get("dryRun").is_some(), "options": options,
    });
    let subresource = text(event, "/objectRef/subresource");
    let fields = [
        ("name", name),
        ("namespace", namespace(event)),
        ("subResource", subresource),
        ("requestSubResource", subresource),
    ];
    if let Some(members) = request.as_object_mut() {
        let set = fields.into_iter().filter(|(_, value)| !value.is_empty());
        members.extend(set.map(|(key, value)| (key.to_owned(), json!(value))));
    }
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
    let mut request = decode(review.to_string().as_bytes()).ok()?;
    request.veiled = true;
    Some(request)
}

/// `CreateOptions` out of the query of a `requestURI`.
fn options(uri: &str) -> Value {
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    let fixed = [("kind", "CreateOptions"), ("apiVersion", "meta.k8s.io/v1")];
    let mut options: Map<String, Value> = fixed.into_iter().map(|(k, v)| (k.to_owned(), json!(v))).collect();
    options.extend(url::form_urlencoded::parse(query.as_bytes()).filter_map(|(key, value)| match key.as_ref() {
        "dryRun" => Some((key.into_owned(), json!([value]))),
        "fieldManager" | "fieldValidation" => Some((key.into_owned(), json!(value))),
        _ => None,
    }));
    Value::Object(options)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The event that an API server would write of what it sent here.
    fn event_of(request: &Value) -> Value {
        let mut sent = request["object"].clone();
        let metadata = sent["metadata"].as_object_mut().expect("metadata");
        let made = |key: &str| ["uid", "creationTimestamp", "generation", "managedFields"].contains(&key);
        metadata.retain(|key, _| !made(key));
        let options = ["fieldManager", "fieldValidation"].map(|key| (key, request["options"][key].as_str()));
        let options = options.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?)));
        let dry_run = (request["dryRun"] == true).then(|| "dryRun=All".to_owned());
        let query: Vec<String> = options.chain(dry_run).collect();
        let of_namespace = request["resource"]["resource"] == "namespaces";
        json!({
            "auditID": request["uid"], "stage": "ResponseComplete", "verb": "create", "responseStatus": {"code": 201},
            "requestReceivedTimestamp": "2026-03-01T10:00:00.000000Z", "user": request["userInfo"],
            "requestURI": format!("/somewhere?{}", query.join("&")),
            "requestObject": sent, "responseObject": request["object"],
            "objectRef": {"resource": request["resource"]["resource"], "apiVersion": request["resource"]["version"],
                "apiGroup": request["resource"]["group"], "subresource": request["subResource"], "name": request["name"],
                "namespace": if of_namespace { &Value::Null } else { &request["namespace"] }},
        })
    }

    #[test]
    fn an_event_makes_the_review_that_an_api_server_sent() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/reviews/validate");
        let mut compared = 0;
        for file in fs::read_dir(dir).expect("reviews").map(|f| f.expect("an entry").path()) {
            let review: Value = serde_json::from_str(&fs::read_to_string(&file).expect("a file")).expect("JSON");
            let wanted = review["request"].as_object().expect("a request");
            if wanted["operation"] != "CREATE" {
                continue;
            }
            let AuditAnswer::Request(audited) = of_event(&event_of(&review["request"])) else {
                panic!("{}: it is not judged", file.display());
            };
            let found = audited.request.review()["request"].as_object().expect("a request");
            assert!(found.keys().eq(wanted.keys()), "{}: {:?}", file.display(), found.keys());
            for (key, wanted) in wanted {
                assert_eq!(&found[key], wanted, "{}: {key}", file.display());
            }
            // Policies that mutate are asked before these are there.
            let before = &audited.before.object()["metadata"];
            assert!(["uid", "creationTimestamp", "generation"].iter().all(|key| before.get(*key).is_none()));
            compared += 1;
        }
        assert!(compared > 30, "{compared}");
    }
}
