//! What a filter asks of a decision, read from its line without the rest: most records of a log are passed over. Knows
//! what a line does not say, because a list in it was cut.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::decisions::Record;
use crate::decisions::query::Filter;
use crate::engine::{Cause, Verdict};
use crate::policy::glob_matches;

/// What a line is to a filter.
pub(super) enum Sifted {
    /// A record that is wanted.
    Wanted(Box<Record>),
    /// One that is not, or that the needles say is not.
    Other,
    /// A decision that may be wanted: what would say so was cut from it.
    Unjudged(Box<Record>),
    /// No record.
    Unreadable,
}

/// A filter that lines are put through.
pub(super) struct Sieve<'f> {
    filter: &'f Filter,
    needles: Vec<String>,
    /// The same without what a decision may leave out, if the filter asks for any of that.
    loose: Option<Vec<String>>,
}

impl<'f> Sieve<'f> {
    pub(super) fn new(filter: &'f Filter) -> Self {
        let asks = filter.policy.is_some() || filter.user.is_some();
        let loose = asks.then(|| Filter { policy: None, user: None, ..filter.clone() }.needles());
        Self { filter, needles: filter.needles(), loose }
    }

    pub(super) fn sift(&self, line: &str) -> Sifted {
        let holds = |needles: &[String]| needles.iter().all(|n| line.contains(n.as_str()));
        let cut = || self.loose.as_ref().is_some_and(|needles| line.contains(r#"_omitted":"#) && holds(needles));
        let whole = holds(&self.needles);
        if !whole && !cut() {
            return Sifted::Other;
        }
        match Record::parse(line) {
            Some(record) if whole && self.filter.takes(&record) => Sifted::Wanted(Box::new(record)),
            Some(record) if cut() && self.filter.may_take(&record) => Sifted::Unjudged(Box::new(record)),
            Some(_) => Sifted::Other,
            None if whole => Sifted::Unreadable,
            None => Sifted::Other,
        }
    }
}

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

    /// Whether a decision that is not taken would be, if the policies and values that were cut from it were those that are
    /// wanted.
    fn may_take(&self, record: &Record) -> bool {
        let Some(d) = record.decision() else { return false };
        let policies = d.violations_omitted > 0 || d.errors_omitted > 0 || d.exceptions_omitted > 0;
        let keep = |wanted: &Option<String>, cut: bool| wanted.clone().filter(|_| !cut);
        let loose = Self {
            policy: keep(&self.policy, policies),
            user: keep(&self.user, d.request.user.extra_omitted > 0),
            ..self.clone()
        };
        loose != *self && loose.takes(record)
    }

    /// Whether the user that is wanted is a value of `extra`, where the person stands on EKS.
    fn names_extra(&self, extra: Option<&RawValue>) -> bool {
        let (Some(wanted), Some(extra)) = (&self.user, extra) else { return false };
        let extra: BTreeMap<String, Vec<String>> = serde_json::from_str(extra.get()).unwrap_or_default();
        extra.values().flatten().any(|value| glob_matches(wanted, value))
    }
}
