//! What comes after a mutation: the request as the API server goes on with it, and whether a second pass would change
//! it again. The API server does call mutating webhooks twice (`reinvocationPolicy: IfNeeded`), and so do clients that
//! apply what they read.

use json_patch::Patch;

use crate::admission::{DecodeError, Request, decode};
use crate::engine::Decision;

/// The request with `patch` applied to its object.
///
/// # Errors
/// The patch does not apply, or what comes of it is no request.
pub fn mutated(request: &Request, patch: &Patch) -> Result<Request, MutationError> {
    let mut review = request.review().as_ref().clone();
    if let Some(object) = review.pointer_mut("/request/object") {
        json_patch::patch(object, patch)?;
    }
    Ok(decode(review.to_string().as_bytes())?)
}

/// Why a mutated request cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MutationError {
    /// The patch does not fit the object.
    #[error("the patch does not apply")]
    Apply(#[from] json_patch::PatchError),
    /// What comes of it is no request.
    #[error("the mutated object makes no request")]
    Decode(#[from] DecodeError),
}

/// A change that a second pass would make: the first one did not settle the object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unsettled {
    /// Policy name.
    pub policy: String,
    /// JSON pointer, or what kept the policy from being judged again.
    pub path: String,
}

/// What `second`, the decision on a request that was mutated, would change once more. Policies that undo one another
/// within the pass change nothing in the end.
#[must_use]
pub fn settle(second: &Decision) -> Vec<Unsettled> {
    let mut found = Vec::new();
    if second.patch.is_some() {
        for mutation in &second.mutations {
            let paths = mutation.patch.0.iter().map(|o| o.path().to_string());
            found.extend(paths.map(|path| Unsettled { policy: mutation.policy.to_string(), path }));
        }
    }
    found.sort();
    found.dedup();
    found
}
