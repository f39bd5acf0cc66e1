//! Which policies judge a request: found by the index, taken by their match, with something to say on it.
//!
//! Knows no namespace labels (which use of a policy applies is said later) and runs nothing.

use crate::admission::Request;
use crate::engine::Endpoint;
use crate::engine::evaluate::Fault;
use crate::engine::snapshot::{Bound, Snapshot};
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
