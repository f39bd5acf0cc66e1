//! What a candidate would do with a request that was let pass: it goes through its mutating policies, then through its
//! validating ones, as the API server would send it. Knows audited requests; must not know events.

use std::sync::{Arc, PoisonError};

use json_patch::Patch;
use serde_json::Value;

use super::audit::AuditedRequest;
use super::changes::{self, Change};
use super::judge::{self, ANY, Candidate, Judged, NoAnswers, World};
use crate::admission::{Request, decode};
use crate::engine::{Context, Endpoint, Inventory, Verdict, decide};

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
            if let Some(patch) = &judged.decision.patch {
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
        let world = World::of_data(&candidate.namespaces);
        let missing = Arc::clone(&world.missing);
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
fn patched(request: &Request, patch: &Patch) -> Option<Request> {
    let mut review = Value::clone(request.review());
    json_patch::patch(review.pointer_mut("/request/object")?, patch).ok()?;
    let mut patched = decode(review.to_string().as_bytes()).ok()?;
    patched.veiled = request.veiled;
    Some(patched)
}
