//! What other policies would have done with a recorded request. Knows two decisions; must not know how many there are.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::compare::{Agreement, Recorded, patches_agree};
use super::judge::Judged;
use crate::engine::{Endpoint, Verdict};
use crate::policy::Enforcement;

/// In what way something would be otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It was allowed, and would be denied.
    NewlyDenied,
    /// It was denied, and would be allowed.
    NewlyAllowed,
    /// A policy would warn that did not.
    NewlyWarned,
    /// A policy would not warn any more.
    NoLongerWarned,
    /// The object would be changed that was not, or otherwise.
    NewlyMutated,
    /// The object would not be changed any more.
    NoLongerMutated,
    /// A policy that refuses could not be judged.
    NewlyFailed,
}

impl ChangeKind {
    /// All, the worst first.
    pub const ALL: [Self; 7] = [
        Self::NewlyDenied,
        Self::NewlyFailed,
        Self::NewlyAllowed,
        Self::NewlyWarned,
        Self::NoLongerWarned,
        Self::NewlyMutated,
        Self::NoLongerMutated,
    ];

    /// The name in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NewlyDenied => "newly_denied",
            Self::NewlyAllowed => "newly_allowed",
            Self::NewlyWarned => "newly_warned",
            Self::NoLongerWarned => "no_longer_warned",
            Self::NewlyMutated => "newly_mutated",
            Self::NoLongerMutated => "no_longer_mutated",
            Self::NewlyFailed => "newly_failed",
        }
    }
}

/// Stands for policies that are not known by name.
pub(super) const UNNAMED: &str = "-";

/// What would be otherwise for one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// In what ways, with the policies that it is due to and what they say.
    pub changes: BTreeMap<ChangeKind, BTreeMap<String, String>>,
    /// What could have mattered and is not on record, by policy.
    pub unseen: BTreeMap<String, Vec<String>>,
    /// Why it was not judged at all.
    pub not_judged: Option<String>,
    /// Mutating policies that take the request were not tried: whether it went through some of then is not on record.
    pub not_mutated: bool,
}

impl Change {
    pub(super) fn not_judged(why: String) -> Self {
        Self { not_judged: Some(why), ..Self::default() }
    }

    pub(super) fn unknown(why: String) -> Self {
        Self { unseen: BTreeMap::from([(super::judge::ANY.to_owned(), vec![why])]), ..Self::default() }
    }

    /// With something that could have mattered to any policy.
    pub(super) fn with_doubt(mut self, why: &str) -> Self {
        self.unseen.entry(super::judge::ANY.to_owned()).or_default().push(why.to_owned());
        self
    }

    /// What is otherwise at one more endpoint.
    pub(super) fn merge(&mut self, other: Self) {
        for (kind, policies) in other.changes {
            let known = self.changes.entry(kind).or_default();
            for (policy, says) in policies {
                known.entry(policy).or_insert(says);
            }
        }
        for (policy, pointers) in other.unseen {
            let known = self.unseen.entry(policy).or_default();
            known.extend(pointers);
            known.sort();
            known.dedup();
        }
    }

    pub(super) fn add(&mut self, kind: ChangeKind, policy: &str, says: &str) {
        self.changes.entry(kind).or_default().entry(policy.to_owned()).or_insert_with(|| says.to_owned());
    }
}

/// Holds a candidate's decision against the record.
pub(super) fn against_record(recorded: &Recorded<'_>, judged: &Judged) -> Change {
    let record = recorded.record;
    let refused: BTreeMap<&str, &str> = recorded
        .violations()
        .filter(|v| v.enforcement == Enforcement::Deny)
        .map(|v| (v.policy.as_str(), v.msg.as_str()))
        .chain(record.errors.iter().map(|e| (e.policy.as_str(), e.msg.as_str())))
        .collect();
    let mut change = of_verdict(record.verdict, &refused, judged);
    let warned = recorded.violations().filter(|v| v.enforcement == Enforcement::Warn);
    let then: BTreeMap<&str, &str> = warned.map(|v| (v.policy.as_str(), v.msg.as_str())).collect();
    add_warnings(&mut change, &then, judged);
    if record.endpoint == Endpoint::Mutate && !judged.has_doubts() {
        let then = recorded.body.patch.as_ref().filter(|_| record.verdict == Verdict::Allow);
        let now = judged.decision.patch.as_ref().and_then(|p| serde_json::to_value(p).ok());
        let policies = || judged.decision.mutations.iter().map(|m| m.policy.as_ref());
        match (then, &now) {
            (Some(_), None) => change.add(ChangeKind::NoLongerMutated, UNNAMED, ""),
            (then, Some(patch)) => match patches_agree(then, now.as_ref()) {
                Agreement::Same => {}
                Agreement::Other => {
                    policies().for_each(|p| change.add(ChangeKind::NewlyMutated, p, &patch.to_string()));
                }
                Agreement::Perhaps => policies().for_each(|p| {
                    let why = "what the patch on record sets is masked".to_owned();
                    change.unseen.entry(p.to_owned()).or_default().push(why);
                }),
            },
            (None, None) => {}
        }
    }
    change
}

/// What would be otherwise for a request that no policy was asked about and that was let pass.
pub(super) fn of_allowed(judged: &Judged) -> Change {
    let mut change = of_verdict(Verdict::Allow, &BTreeMap::new(), judged);
    add_warnings(&mut change, &BTreeMap::new(), judged);
    if judged.decision.endpoint == Endpoint::Mutate
        && !judged.has_doubts()
        && let Some(patch) = judged.decision.patch.as_ref().and_then(|p| serde_json::to_value(p).ok())
    {
        for mutation in &judged.decision.mutations {
            change.add(ChangeKind::NewlyMutated, &mutation.policy, &patch.to_string());
        }
    }
    change
}

/// Who warns now and did not, and the other way round; `then` are those that did.
fn add_warnings(change: &mut Change, then: &BTreeMap<&str, &str>, judged: &Judged) {
    let warning = judged.decision.violations.iter().filter(|v| v.enforcement == Enforcement::Warn);
    let now: BTreeMap<&str, &str> = warning.map(|v| (v.policy.as_ref(), v.msg.as_str())).collect();
    let (then_names, now_names): (BTreeSet<_>, BTreeSet<_>) = (then.keys().collect(), now.keys().collect());
    for policy in now_names.difference(&then_names).filter(|p| !judged.is_uncertain(p)) {
        change.add(ChangeKind::NewlyWarned, policy, now.get(**policy).copied().unwrap_or_default());
    }
    for policy in then_names.difference(&now_names).filter(|p| !judged.is_uncertain(p)) {
        change.add(ChangeKind::NoLongerWarned, policy, then.get(**policy).copied().unwrap_or_default());
    }
}

/// What becomes of a verdict; `refused` are those that stood against the request, and what they said.
fn of_verdict(then: Verdict, refused: &BTreeMap<&str, &str>, judged: &Judged) -> Change {
    let verdict = judged.verdict();
    let mut change = Change { unseen: judged.unseen.clone(), ..Change::default() };
    match (then, verdict) {
        (Verdict::Allow, Some(Verdict::Deny)) => {
            let denying = judged.decision.violations.iter();
            for v in denying.filter(|v| v.enforcement == Enforcement::Deny && !judged.is_uncertain(&v.policy)) {
                change.add(ChangeKind::NewlyDenied, &v.policy, &v.msg);
            }
            let failed = judged.decision.failures.iter().filter(|f| f.enforcement == Enforcement::Deny);
            for f in failed.filter(|f| !judged.is_uncertain(&f.policy)) {
                change.add(ChangeKind::NewlyFailed, &f.policy, &f.msg);
            }
        }
        (Verdict::Deny, Some(Verdict::Allow)) => {
            for (policy, msg) in refused {
                change.add(ChangeKind::NewlyAllowed, policy, msg);
            }
            if refused.is_empty() {
                change.add(ChangeKind::NewlyAllowed, UNNAMED, "");
            }
        }
        // Where failures let pass, a policy that cannot be judged guards nothing.
        (Verdict::Allow, Some(Verdict::Allow)) => {
            let failed = judged.decision.failures.iter().filter(|f| f.enforcement == Enforcement::Deny);
            for f in failed.filter(|f| !refused.contains_key(&*f.policy) && !judged.is_uncertain(&f.policy)) {
                change.add(ChangeKind::NewlyFailed, &f.policy, &f.msg);
            }
        }
        _ => {}
    }
    change
}
