//! Requests out of the API server's own audit log (`audit.k8s.io/v1`, level Request or RequestResponse), for people who
//! have no decision log yet. Knows events; how they come in files is `join`'s business.
//!
//! An event holds the object as the client sent it, before defaults and other webhooks, and no old object: so creations
//! are judged, and nothing else.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::changes::{self, Change};
use super::judge::{self, Candidate, Judged};
use crate::admission::{Request, decode};
use crate::decisions::join::{AuditError, read_audit_values};
use crate::engine::{Context, Endpoint, FailureModes, Inventory, NamespaceMetadata, Namespaces, Verdict, decide};

/// What one event comes to.
#[derive(Debug, Clone)]
pub enum AuditAnswer {
    /// A creation that can be judged.
    Request(Box<AuditedRequest>),
    /// Something that admission saw and that cannot be judged from the event; why.
    NotJudged(&'static str),
    /// Nothing that admission sees.
    None,
}

/// A creation as an event has it.
#[derive(Debug, Clone)]
pub struct AuditedRequest {
    /// `auditID`.
    pub audit_id: String,
    /// When it came (RFC 3339).
    pub time: String,
    /// The request.
    pub request: Arc<Request>,
    /// Nanoseconds since the Unix epoch at which it is judged.
    now_ns: i64,
}

/// Subresources by which one connects.
const CONNECTIONS: [&str; 4] = ["exec", "attach", "portforward", "proxy"];

/// Calls `each` for every request of `path` (`-` is standard input; gzip is recognised). Gives how many lines hold none.
///
/// # Errors
/// [`AuditError`] when the file cannot be read; whatever `each` gives.
pub fn read_requests<E: From<AuditError>>(
    path: &Path,
    mut each: impl FnMut(AuditAnswer) -> Result<(), E>,
) -> Result<u64, E> {
    read_audit_values(path, |event| each(of_event(&event)))
}

fn of_event(event: &Value) -> AuditAnswer {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if !matches!(text("/stage"), "ResponseComplete" | "Panic") {
        return AuditAnswer::None;
    }
    let (resource, subresource) = (text("/objectRef/resource"), text("/objectRef/subresource"));
    let forbidden = event.pointer("/annotations/authorization.k8s.io~1decision").and_then(Value::as_str);
    let never_sent = text("/objectRef/apiGroup") == "admissionregistration.k8s.io";
    if resource.is_empty() || never_sent || forbidden == Some("forbid") {
        return AuditAnswer::None;
    }
    match text("/verb") {
        _ if CONNECTIONS.contains(&subresource) => {
            return AuditAnswer::NotJudged("a connection: its options are not in the event");
        }
        "create" => {}
        "update" | "patch" => return AuditAnswer::NotJudged("an update: the event has no old object"),
        "delete" | "deletecollection" => return AuditAnswer::NotJudged("a deletion: the event has no old object"),
        _ => return AuditAnswer::None,
    }
    let code = event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default();
    if !(200..400).contains(&code) {
        return AuditAnswer::NotJudged("it did not succeed");
    }
    let Some(object) = event.get("requestObject").filter(|o| o.is_object()) else {
        return AuditAnswer::NotJudged("the event has no object: its level is below Request");
    };
    match review(event, object) {
        Some(request) => AuditAnswer::Request(Box::new(request)),
        None => AuditAnswer::NotJudged("the object or the time in the event cannot be read"),
    }
}

fn review(event: &Value, object: &Value) -> Option<AuditedRequest> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let api_version = object.get("apiVersion").and_then(Value::as_str)?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let time = text("/requestReceivedTimestamp");
    let now: jiff::Timestamp = time.parse().ok()?;
    let user = event.get("impersonatedUser").filter(|u| u.is_object()).or_else(|| event.get("user"));
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or(text("/objectRef/name"));
    let mut request = json!({
        "uid": text("/auditID"),
        "kind": {"group": group, "version": version, "kind": object.get("kind")?},
        "resource": {
            "group": text("/objectRef/apiGroup"), "version": text("/objectRef/apiVersion"),
            "resource": text("/objectRef/resource"),
        },
        "operation": "CREATE", "name": name, "userInfo": user?, "object": object, "oldObject": null,
        "dryRun": text("/requestURI").contains("dryRun=All"), "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    });
    for (key, value) in [("namespace", text("/objectRef/namespace")), ("subResource", text("/objectRef/subresource"))] {
        if let Some(members) = request.as_object_mut().filter(|_| !value.is_empty()) {
            members.insert(key.to_owned(), json!(value));
        }
    }
    // The API server fills the namespace in before admission.
    let namespace = text("/objectRef/namespace");
    if let Some(metadata) = request.pointer_mut("/object/metadata").and_then(Value::as_object_mut)
        && !namespace.is_empty()
    {
        metadata.entry("namespace").or_insert_with(|| json!(namespace));
    }
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
    let mut request = decode(review.to_string().as_bytes()).ok()?;
    request.veiled = true;
    Some(AuditedRequest {
        audit_id: text("/auditID").to_owned(),
        time: time.to_owned(),
        request: Arc::new(request),
        now_ns: i64::try_from(now.as_nanosecond()).ok()?,
    })
}

/// Namespaces of the data, and which were asked for and are not among them.
struct Asked {
    known: Arc<BTreeMap<String, NamespaceMetadata>>,
    missing: Arc<Mutex<Vec<String>>>,
}

impl Namespaces for Asked {
    fn metadata(&self, name: &str) -> Option<NamespaceMetadata> {
        let found = self.known.get(name).cloned();
        if found.is_none() {
            self.missing.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(name.to_owned());
        }
        found
    }
}

impl AuditedRequest {
    /// What the candidate would do with it, which was let pass.
    #[must_use]
    pub fn impact(&self, candidate: &Candidate) -> Change {
        let missing = Arc::<Mutex<Vec<String>>>::default();
        let world = Asked { known: Arc::clone(&candidate.namespaces), missing: Arc::clone(&missing) };
        let inventory = Inventory { namespaces: Arc::new(world), age: None };
        let context = Context {
            endpoint: Endpoint::Validate,
            now_ns: self.now_ns,
            seed: 0,
            deadline: None,
            failure: FailureModes::default(),
            http: Some(Arc::new(judge::NoAnswers)),
        };
        let decision = decide(&candidate.snapshot, &inventory, &self.request, &context);
        let mut unseen = judge::doubts(&decision);
        let missing = std::mem::take(&mut *missing.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for name in missing {
            let why = format!("namespace `{name}` is not in the data");
            unseen.entry(judge::ANY.to_owned()).or_default().push(why);
        }
        let judged = Judged { decision, unseen };
        let mut change = changes::of_verdict(Verdict::Allow, &BTreeMap::new(), &judged);
        changes::add_warnings(&mut change, &BTreeMap::new(), &judged);
        change
    }
}
