//! Which exceptions of a policy set apply: to a violation, to a mutation, by a request and the time of its decision.
//!
//! Knows nothing of verdicts. An exception never touches a policy that could not be judged.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::review::{Review, Step, label_sets};
use crate::policy::{Digest, Instant, LoadError, PolicyException, PolicyRef, nearest};

/// The exceptions of a policy set.
#[derive(Debug, Default)]
pub(crate) struct Exceptions {
    /// Sorted by name.
    all: Vec<Arc<PolicyException>>,
    /// Those that name a policy, as places in `all`, by the policy's name.
    of_policy: BTreeMap<Arc<str>, Vec<usize>>,
}

/// An exception, for lists and messages.
#[derive(Debug, Clone)]
pub struct ExceptionSummary {
    /// The exception.
    pub exception: Arc<PolicyException>,
    /// The policies that it refers to, sorted; none: it has no effect.
    pub policies: Vec<Arc<str>>,
}

impl Exceptions {
    /// Finds out which policies each exception names.
    pub(crate) fn new<'p>(given: &[PolicyException], policies: impl Iterator<Item = &'p Arc<str>> + Clone) -> Self {
        let mut all: Vec<Arc<PolicyException>> = given.iter().cloned().map(Arc::new).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        let named = policies.map(|policy| {
            let places = all.iter().enumerate().filter(|(_, e)| e.names(policy)).map(|(place, _)| place).collect();
            (Arc::clone(policy), places)
        });
        let of_policy = named.filter(|(_, places): &(_, Vec<usize>)| !places.is_empty()).collect();
        Self { all, of_policy }
    }

    /// The exceptions that name `policy`, by name.
    pub(crate) fn of(&self, policy: &str) -> impl Iterator<Item = &Arc<PolicyException>> {
        self.of_policy.get(policy).into_iter().flatten().filter_map(|place| self.all.get(*place))
    }

    /// Whether the namespace has to be known to say which exceptions apply to what `policy` finds.
    pub(crate) fn look_at_namespace(&self, policy: &str) -> bool {
        self.of(policy).any(|e| e.selects_by_namespace())
    }

    /// Whether the names of objects have to be known to say which apply.
    pub(crate) fn select_by_name(&self) -> bool {
        self.all.iter().any(|e| e.selects_by_name())
    }

    pub(crate) fn summaries(&self) -> Vec<ExceptionSummary> {
        let policies = |place: usize| {
            let named = self.of_policy.iter().filter(|(_, places)| places.contains(&place));
            named.map(|(policy, _)| Arc::clone(policy)).collect()
        };
        let all = self.all.iter().enumerate();
        all.map(|(place, e)| ExceptionSummary { exception: Arc::clone(e), policies: policies(place) }).collect()
    }

    /// Name and digest of each, for the digest of the policy set.
    pub(crate) fn contents(&self) -> impl Iterator<Item = (&'static str, String, Digest)> {
        self.all.iter().map(|e| {
            let content = Digest::of(e.document.value.to_string().as_bytes());
            ("exception", e.name.clone(), content)
        })
    }

    /// What is odd: references to policies that are not there, exceptions without any bound.
    pub(crate) fn notes<'p>(&self, policies: impl Iterator<Item = &'p Arc<str>> + Clone) -> Vec<LoadError> {
        let mut notes = Vec::new();
        for e in &self.all {
            let mut note = |code, path: &[&str], message: String| {
                notes.push(e.document.fault_at(code, path, format!("exception `{}`: {message}", e.name)));
            };
            for unknown in e.refs.iter().filter(|r| !policies.clone().any(|p| r.names(p))) {
                let near = nearest(&unknown.name, policies.clone().map(|p| &**p));
                let near = near.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
                note(
                    "exception_policy",
                    &["spec", "policyRefs"],
                    format!("it refers to no policy: `{}`{near}", unknown.name),
                );
            }
            let of_constraints = |r: &PolicyRef| {
                let mut named = policies.clone().filter(|p| r.names(p)).peekable();
                named.peek().is_some() && named.all(|p| p.contains('/'))
            };
            for useless in e.refs.iter().filter(|r| r.needs_field() && of_constraints(r)) {
                let message = "constraints give no field, so `fields`, `containers` and `images` never fit";
                note("exception_field", &["spec", "policyRefs"], format!("`{}`: {message}", useless.name));
            }
            if e.subjects.is_empty() && e.matching.is_none() && e.refs.iter().any(PolicyRef::is_whole) {
                note(
                    "exception_wide",
                    &["spec"],
                    "it lets every request pass: give it `match` or `subjects`".to_owned(),
                );
            }
        }
        notes
    }
}

impl Review {
    /// The exceptions that apply to what a step finds in this request, at this time, by name.
    pub(crate) fn exceptions(&self, step: &Step) -> impl Iterator<Item = &Arc<PolicyException>> {
        let now = Instant::from_nanos(self.context.now_ns);
        let made = step.made.and_then(|m| self.made.get(m)).map(|m| &m.request);
        let sets = self.namespace.metadata().map(|m| label_sets(m, &self.request)).unwrap_or_default();
        self.snapshot.exceptions.of(&step.policy.name).filter(move |e| {
            e.is_live(now) && e.takes(&self.request, made) && e.takes_namespace(&sets.iter().collect::<Vec<_>>())
        })
    }

    /// The exception that keeps the mutations of a step away, if any.
    pub(crate) fn spared(&self, step: &Step) -> Option<&Arc<PolicyException>> {
        self.exceptions(step).find(|e| e.covers_mutations(&step.policy.name))
    }
}

impl ExceptionSummary {
    /// Whether it counts at `now`.
    #[must_use]
    pub fn is_live(&self, now: Instant) -> bool {
        self.exception.is_live(now)
    }
}
