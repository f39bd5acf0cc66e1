//! What a candidate would do with a request that was let pass: it goes through its mutating policies, then through its
//! validating ones, as the API server would send it. Knows audited requests; must not know events.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::audit::AuditedRequest;
use super::changes::{self, Change};
use super::judge::{self, ANY, Candidate, Judged, NoAnswers};
use crate::admission::{Request, decode};
use crate::engine::{Context, Endpoint, Inventory, NamespaceMetadata, Namespaces, Verdict, decide};

/// Namespaces of the data, and which were asked for and are not among them.
struct Known {
    known: Arc<BTreeMap<String, NamespaceMetadata>>,
    missing: Arc<Mutex<Vec<String>>>,
}

impl Namespaces for Known {
    fn metadata(&self, name: &str) -> Option<NamespaceMetadata> {
        let found = self.known.get(name).cloned();
        if found.is_none() {
            self.missing.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
        }
        found
    }
}

impl AuditedRequest {
    /// What the candidate would do with it, which was let pass.
    #[must_use]
    pub fn impact(&self, candidate: &Candidate) -> Change {
        let mut change = Change::default();
        let mut request = Arc::clone(&self.request);
        if candidate.snapshot.takes(Endpoint::Mutate, &self.before) {
            let judged = self.judged(candidate, Endpoint::Mutate, &self.before);
            change.merge(changes::of_allowed(&judged));
            if judged.verdict() == Some(Verdict::Deny) {
                return change;
            }
            if judged.has_doubts() {
                return change.with_doubt("what the mutating policies make of the object");
            }
            let patch = judged.decision.patch.as_ref().and_then(|p| serde_json::to_value(p).ok());
            if let Some(patch) = patch {
                match patched(&request, patch) {
                    Some(patched) => request = Arc::new(patched),
                    None => return change.with_doubt("what the patch makes of the object"),
                }
            }
        }
        let judged = self.judged(candidate, Endpoint::Validate, &request);
        change.merge(changes::of_allowed(&judged));
        change
    }

    fn judged(&self, candidate: &Candidate, endpoint: Endpoint, request: &Arc<Request>) -> Judged {
        let missing = Arc::<Mutex<Vec<String>>>::default();
        let world = Known { known: Arc::clone(&candidate.namespaces), missing: Arc::clone(&missing) };
        let inventory = Inventory { namespaces: Arc::new(world), age: None };
        let context = Context {
            endpoint,
            now_ns: self.now_ns,
            seed: 0,
            deadline: None,
            failure: candidate.failure,
            http: Some(Arc::new(NoAnswers)),
        };
        let decision = decide(&candidate.snapshot, &inventory, request, &context);
        let mut unseen = judge::doubts(&decision);
        let missing = std::mem::take(&mut *missing.lock().unwrap_or_else(PoisonError::into_inner));
        for name in missing {
            unseen.entry(ANY.to_owned()).or_default().push(format!("namespace `{name}` is not in the data"));
        }
        if let Some(prefix) = self.unnamed.as_ref().filter(|_| candidate.snapshot.selects_by_name()) {
            let why = format!("the name that `{prefix}` became, which says which policies judge");
            unseen.entry(ANY.to_owned()).or_default().push(why);
        }
        Judged { decision, unseen, request: Arc::clone(request) }
    }
}

/// The request with a patch of its object.
fn patched(request: &Request, patch: Value) -> Option<Request> {
    let patch: json_patch::Patch = serde_json::from_value(patch).ok()?;
    let mut object = request.object().clone();
    json_patch::patch(&mut object, &patch).ok()?;
    let mut review = Value::clone(request.review());
    *review.pointer_mut("/request/object")? = json!(object);
    let mut patched = decode(review.to_string().as_bytes()).ok()?;
    patched.veiled = request.veiled;
    Some(patched)
}
