//! Which policies judge a request: found by the index, taken by their match, with something to say on it.
//!
//! Knows no namespace labels (which use of a policy applies is said later) and runs nothing.

use serde_json::Value;

use crate::admission::{Operation, Request};
use crate::engine::Endpoint;
use crate::engine::evaluate::Fault;
use crate::engine::snapshot::{Bound, Policy, Snapshot};
use crate::policy::Taken;
use crate::policy::gatekeeper::Source;

/// A policy that takes the request, with the uses of it that may apply.
pub(crate) struct Selected {
    pub bound: usize,
    pub candidates: Vec<usize>,
    pub taken: Taken,
    pub made: Option<usize>,
    pub prejudged: Option<Fault>,
}

/// Every policy that takes the request, or what would be made of its object (if that is known), once for each way.
pub(crate) fn select(
    snapshot: &Snapshot,
    request: &Request,
    endpoint: Endpoint,
    made: Result<Vec<&Request>, &Fault>,
) -> Vec<Selected> {
    let mut found = Vec::new();
    let mut take = |request: &Request, made: Option<usize>| {
        for (bound, b) in snapshot.candidates(endpoint, request) {
            let Some((candidates, ways)) =
                b.takes(endpoint, request).filter(|_| made.is_none() || b.policy.is_constraint())
            else {
                continue;
            };
            for taken in ways.into_iter().filter(|taken| b.policy.wants(request, *taken, endpoint)) {
                found.push(Selected { bound, candidates: candidates.clone(), taken, made, prejudged: None });
            }
        }
    };
    take(request, None);
    match made {
        Ok(made) => made.iter().enumerate().for_each(|(index, made)| take(made, Some(index))),
        // What would be made is not known, so no constraint on it can be said to hold.
        Err(fault) => {
            let judging = snapshot.bound.iter().enumerate().filter(|(_, b)| b.judges_generated(snapshot));
            found.extend(judging.map(|(bound, _)| {
                let (candidates, prejudged) = (Vec::new(), Some(fault.clone()));
                Selected { bound, candidates, taken: Taken::AsIs, made: None, prejudged }
            }));
        }
    }
    // Stable: of one policy the request's own object comes first.
    found.sort_by_key(|s| s.bound);
    found
}

impl Bound {
    /// Whether it is a constraint that takes anything the expansions make.
    fn judges_generated(&self, snapshot: &Snapshot) -> bool {
        let constraint = self.policy.matching.constraint.as_ref();
        constraint.is_some_and(|c| {
            let made = snapshot.expansions.iter().map(|e| &e.generated);
            c.source != Source::Original && made.into_iter().any(|g| c.takes_kind(&g.group, &g.kind))
        })
    }
}

impl Policy {
    /// Whether the policy has anything to say on a request that its match takes.
    fn wants(&self, request: &Request, taken: Taken, endpoint: Endpoint) -> bool {
        match endpoint {
            Endpoint::Mutate => {
                // A changed template rolls out a workload, and a Pod's spec cannot be changed: Pods when they are made.
                let made = request.operation == Operation::Create && request.sub_resource.is_empty();
                taken == Taken::AsIs && (!self.matching.on_pods || made) && request.object().is_object()
            }
            Endpoint::Validate => {
                let of_spec = ["", "ephemeralcontainers", "resize"].contains(&request.sub_resource.as_str());
                let pod = request.kind.kind == "Pod" && request.kind.group.is_empty() && of_spec;
                let on_pod = self.matching.on_pods && (pod || taken != Taken::AsIs);
                !(on_pod && request.operation == Operation::Update && !pod_changed(request, taken))
            }
        }
    }
}

/// Whether an UPDATE changed the Pod's (or the template's) spec, labels or annotations. Kubelets, finalizers and
/// controllers update Pods all the time without that.
fn pod_changed(request: &Request, taken: Taken) -> bool {
    fn pod(object: &Value, taken: Taken) -> Option<&Value> {
        match taken {
            Taken::AsIs => Some(object),
            Taken::Template(kind) => kind.path.iter().try_fold(object, |o, step| o.get(step)),
        }
    }
    match (pod(request.object(), taken), pod(request.old_object(), taken)) {
        (Some(new), Some(old)) => {
            ["/spec", "/metadata/labels", "/metadata/annotations"].iter().any(|p| new.pointer(p) != old.pointer(p))
        }
        _ => true,
    }
}
