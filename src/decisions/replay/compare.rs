//! A decision of now held against its record. Knows fields and what a record may have masked or cut; must not know how
//! either was made.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::judge::Judged;
use super::text::may_be;
use crate::decisions::DecisionRecord;
use crate::decisions::body::Body;
use crate::decisions::record::ViolationRecord;
use crate::engine::{Endpoint, Verdict, pointer_of};
use crate::policy::Enforcement;

/// A decision as it is on record.
pub(super) struct Recorded<'r> {
    pub record: &'r DecisionRecord,
    pub body: &'r Body,
}

/// One finding: what it did, its message and field.
type Found<'f> = (Enforcement, &'f str, Option<&'f str>);

impl Recorded<'_> {
    /// All violations, also those that had no room in the envelope.
    pub(super) fn violations(&self) -> impl Iterator<Item = &ViolationRecord> {
        self.record.violations.iter().chain(&self.body.violations)
    }

    /// Whether some violations are not on record.
    fn is_cut(&self) -> bool {
        self.record.violations_omitted > u64::try_from(self.body.violations.len()).unwrap_or(u64::MAX)
    }
}

/// What is another, a sentence each. Nothing is said of policies that are uncertain.
pub(super) fn differences(recorded: &Recorded<'_>, judged: &Judged) -> Vec<String> {
    let mut found = Vec::new();
    let record = recorded.record;
    if let Some(verdict) = judged.verdict().filter(|v| *v != record.verdict) {
        found.push(format!("the verdict is `{}`, on record `{}`", verdict.as_str(), record.verdict.as_str()));
    }
    violations(recorded, judged, &mut found);
    exceptions(recorded, judged, &mut found);
    errors(recorded, judged, &mut found);
    if !judged.has_doubts() {
        if record.cause != judged.decision.cause {
            let (now, then) = (judged.decision.cause.as_str(), record.cause.as_str());
            found.push(format!("the cause is `{now}`, on record `{then}`"));
        }
        annotations(recorded, judged, &mut found);
    }
    if record.endpoint == Endpoint::Mutate && record.verdict == Verdict::Allow && !judged.has_doubts() {
        let now = judged.decision.patch.as_ref().and_then(|p| serde_json::to_value(p).ok());
        if patches_agree(recorded.body.patch.as_ref(), now.as_ref()) == Agreement::Other {
            found.push("the patch is another".to_owned());
        }
    }
    found
}

fn violations(recorded: &Recorded<'_>, judged: &Judged, found: &mut Vec<String>) {
    let mut then: BTreeMap<&str, Vec<Found<'_>>> = BTreeMap::new();
    for v in recorded.violations() {
        then.entry(&v.policy).or_default().push((v.enforcement, &v.msg, v.field.as_deref()));
    }
    let mut now: BTreeMap<&str, Vec<Found<'_>>> = BTreeMap::new();
    for v in &judged.decision.violations {
        now.entry(&v.policy).or_default().push((v.enforcement, &v.msg, v.field.as_deref()));
    }
    let policies: BTreeSet<&str> = then.keys().chain(now.keys()).copied().collect();
    for policy in policies.into_iter().filter(|p| !judged.is_uncertain(p)) {
        let (then, mut left) = (then.remove(policy).unwrap_or_default(), now.remove(policy).unwrap_or_default());
        for v in then {
            match left.iter().position(|n| same(v, *n)) {
                Some(at) => drop(left.remove(at)),
                None => found.push(format!("not found any more: {policy}: {}", v.1)),
            }
        }
        if !recorded.is_cut() {
            found.extend(left.iter().map(|v| format!("found now: {policy}: {}", v.1)));
        }
    }
}

fn same(recorded: Found<'_>, now: Found<'_>) -> bool {
    let field = match (recorded.2, now.2) {
        // A record whose masking failed has none.
        (None, _) => recorded.1 == "[masked]" || now.2.is_none(),
        (Some(_), None) => false,
        (Some(then), Some(now)) => may_be(then, now),
    };
    recorded.0 == now.0 && field && may_be(recorded.1, now.1)
}

fn exceptions(recorded: &Recorded<'_>, judged: &Judged, found: &mut Vec<String>) {
    let then: BTreeSet<(&str, &str)> =
        recorded.record.exceptions.iter().map(|e| (e.name.as_str(), e.policy.as_str())).collect();
    let now = &judged.decision.exceptions;
    let now: BTreeSet<(&str, &str)> =
        now.iter().map(|e| (e.exception.name.as_str(), e.violation.policy.as_ref())).collect();
    let certain = |(_, policy): &&(&str, &str)| !judged.is_uncertain(policy);
    for (name, policy) in then.difference(&now).filter(certain) {
        found.push(format!("exception `{name}` of {policy} does not count any more"));
    }
    if recorded.record.exceptions_omitted == 0 {
        for (name, policy) in now.difference(&then).filter(certain) {
            found.push(format!("exception `{name}` of {policy} counts now"));
        }
    }
}

fn errors(recorded: &Recorded<'_>, judged: &Judged, found: &mut Vec<String>) {
    let then = recorded.record.errors.iter().map(|e| (e.policy.as_str(), e.code));
    let then: BTreeSet<_> = then.collect();
    let now: BTreeSet<_> = judged.decision.failures.iter().map(|f| (f.policy.as_ref(), f.code)).collect();
    for (policy, code) in then.difference(&now).filter(|(policy, _)| !judged.is_uncertain(policy)) {
        found.push(format!("on record {policy} could not be judged ({})", code.as_str()));
    }
    if recorded.record.errors_omitted == 0 {
        for (policy, code) in now.difference(&then).filter(|(policy, _)| !judged.is_uncertain(policy)) {
            found.push(format!("{policy} cannot be judged now ({})", code.as_str()));
        }
    }
}

fn annotations(recorded: &Recorded<'_>, judged: &Judged, found: &mut Vec<String>) {
    let then = recorded.body.audit_annotations.as_object();
    let now = &judged.decision.audit_annotations;
    let same = then.map_or(0, serde_json::Map::len) == now.len()
        && then.into_iter().flatten().all(|(key, value)| {
            let found = now.get(key).or_else(|| now.iter().find(|(k, _)| may_be(key, k)).map(|(_, v)| v));
            found.is_some_and(|now| value.as_str().is_some_and(|then| may_be(then, now)))
        });
    if !same && !recorded.record.input.mask_failed {
        found.push("the audit annotations are others".to_owned());
    }
}

/// How a patch of now goes with the one on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Agreement {
    /// It is the same.
    Same,
    /// It is the same but for what is masked on record.
    Perhaps,
    /// It is another.
    Other,
}

/// Holds a patch of now against the one on record.
pub(super) fn patches_agree(recorded: Option<&Value>, now: Option<&Value>) -> Agreement {
    match (recorded, now) {
        (None, None) => Agreement::Same,
        (Some(then), Some(now)) => values_agree(then, now),
        _ => Agreement::Other,
    }
}

fn values_agree(then: &Value, now: &Value) -> Agreement {
    let worst = |pairs: &mut dyn Iterator<Item = Agreement>| pairs.max().unwrap_or(Agreement::Same);
    match (then, now) {
        _ if then == now => Agreement::Same,
        (Value::Object(map), _) if map.len() == 1 && map.get("masked").is_some_and(Value::is_string) => {
            Agreement::Perhaps
        }
        (_, Value::String(text)) if pointer_of(text).is_some() => Agreement::Perhaps,
        (Value::String(then), Value::String(now)) if may_be(then, now) => Agreement::Perhaps,
        (Value::Array(then), Value::Array(now)) if then.len() == now.len() => {
            worst(&mut then.iter().zip(now).map(|(t, n)| values_agree(t, n)))
        }
        (Value::Object(then), Value::Object(now)) if then.len() == now.len() => {
            worst(&mut then.iter().map(|(k, t)| {
                match now.get(k) {
                    Some(n) => values_agree(t, n),
                    None => now
                        .iter()
                        .find(|(n, _)| may_be(k, n))
                        .map_or(Agreement::Other, |(_, n)| values_agree(t, n).max(Agreement::Perhaps)),
                }
            }))
        }
        _ => Agreement::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patches_and_what_is_masked_in_them() {
        let mask = format!("hmac-sha256:{}", "0f".repeat(32));
        let patch = |value: Value| json!([{"op": "add", "path": "/data", "value": value}]);
        for (then, now, expected) in [
            (json!({"a": "x"}), json!({"a": "x"}), Agreement::Same),
            (json!({"a": "x"}), json!({"a": "y"}), Agreement::Other),
            (json!({"a": {"masked": mask}}), json!({"a": "y"}), Agreement::Perhaps),
            (json!({"a": {"masked": mask}, "b": 1}), json!({"a": "y", "b": 2}), Agreement::Other),
            (json!({"a": format!("k={mask}")}), json!({"a": "k=secret"}), Agreement::Perhaps),
            (json!({"a": format!("k={mask}")}), json!({"a": "other"}), Agreement::Other),
            (json!({ (mask.as_str()): 1 }), json!({"secret": 1}), Agreement::Perhaps),
        ] {
            let found = patches_agree(Some(&patch(then.clone())), Some(&patch(now.clone())));
            assert_eq!(found, expected, "{then} {now}");
        }
        assert_eq!(patches_agree(None, Some(&patch(json!(1)))), Agreement::Other);
    }
}
