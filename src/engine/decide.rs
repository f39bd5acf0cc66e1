//! The one door. Serve, eval, test and replay all enter here, so the laptop and the cluster cannot disagree.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use crate::admission::Request;
use crate::engine::combine::combine;
use crate::engine::outcome::Outcome;
use crate::engine::review::{Review, Step};
use crate::engine::{Context, Decision, Inventory, Snapshot};
use crate::policy::Enforcement;

/// Judges one request on the calling thread, which should have a large stack (the [`Pool`](crate::engine::Pool)
/// has); a policy that does not stop is only given up there.
///
/// Never fails: a policy that errs, panics or runs out of budget is data in the decision.
#[must_use]
pub fn decide(snapshot: &Arc<Snapshot>, inventory: &Inventory, request: &Arc<Request>, context: &Context) -> Decision {
    let review = Review::new(Arc::clone(snapshot), inventory, Arc::clone(request), context.clone());
    let mut progress = Progress::default();
    while let Some(step) = review.steps.get(progress.outcomes.len()) {
        let outcome = review.run(step, progress.object.as_ref());
        progress.take(&review, outcome);
    }
    progress.finish(&review)
}

/// How far a review has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Outcomes of the first steps, in order.
    pub outcomes: Vec<Outcome>,
    /// The object as the mutating policies so far have left it.
    pub object: Option<Arc<Value>>,
}

impl Progress {
    /// Takes the outcome of the next step.
    pub(crate) fn take(&mut self, review: &Review, mut outcome: Outcome) {
        if let Some(step) = review.steps.get(self.outcomes.len()).filter(|_| outcome.ran) {
            outcome.change = step.policy.health.ran(outcome.conduct(), Instant::now());
        }
        let applies = |step: &Step| {
            review.using(step).is_some_and(|u| u.enforcement == Enforcement::Deny) && review.spared(step).is_none()
        };
        if let Ok(output) = &outcome.result
            && let Some(object) = &output.object
            && review.steps.get(self.outcomes.len()).is_some_and(applies)
        {
            self.object = Some(Arc::clone(object));
        }
        self.outcomes.push(outcome);
    }

    /// The decision, once every step has its outcome.
    pub(crate) fn finish(&self, review: &Review) -> Decision {
        combine(review, &self.outcomes, self.object.as_ref())
    }
}
