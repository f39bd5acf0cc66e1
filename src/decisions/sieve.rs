//! What a filter asks of a decision, read from its line without the rest: most records of a log are passed over.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::decisions::query::Filter;
use crate::engine::{Cause, Verdict};
use crate::policy::glob_matches;

#[derive(Deserialize)]
struct Decision<'l> {
    verdict: Verdict,
    cause: Cause,
    #[serde(borrow)]
    request: Request<'l>,
    #[serde(borrow, default)]
    violations: Vec<Found<'l>>,
    #[serde(borrow, default)]
    errors: Vec<Found<'l>>,
    #[serde(borrow, default)]
    exceptions: Vec<Found<'l>>,
}

#[derive(Deserialize)]
struct Request<'l> {
    #[serde(borrow)]
    uid: Cow<'l, str>,
    #[serde(borrow, default)]
    namespace: Cow<'l, str>,
    #[serde(borrow)]
    user: User<'l>,
}

#[derive(Deserialize)]
struct User<'l> {
    #[serde(borrow)]
    username: Cow<'l, str>,
    #[serde(borrow, default)]
    extra: Option<&'l RawValue>,
}

/// What names a policy.
#[derive(Deserialize)]
struct Found<'l> {
    #[serde(borrow)]
    policy: Cow<'l, str>,
}

impl Filter {
    /// Whether the decision in `line` is wanted, its time apart.
    pub(super) fn takes_line(&self, line: &str) -> bool {
        let Ok(d) = serde_json::from_str::<Decision<'_>>(line) else { return false };
        let fits = |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|w| glob_matches(w, has));
        fits(&self.namespace, &d.request.namespace)
            && self.uid.as_ref().is_none_or(|uid| *uid == *d.request.uid)
            && self.verdict.is_none_or(|v| v == d.verdict)
            && self.cause.is_none_or(|c| c == d.cause)
            && (fits(&self.user, &d.request.user.username) || self.names_extra(d.request.user.extra))
            && (self.policy.is_none()
                || [&d.violations, &d.errors, &d.exceptions]
                    .into_iter()
                    .flatten()
                    .any(|f| fits(&self.policy, &f.policy)))
    }

    /// Whether the user that is wanted is a value of `extra`, where the person stands on EKS.
    fn names_extra(&self, extra: Option<&RawValue>) -> bool {
        let (Some(wanted), Some(extra)) = (&self.user, extra) else { return false };
        let extra: BTreeMap<String, Vec<String>> = serde_json::from_str(extra.get()).unwrap_or_default();
        extra.values().flatten().any(|value| glob_matches(wanted, value))
    }
}
