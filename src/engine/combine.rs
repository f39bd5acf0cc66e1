//! Outcomes to one [`Decision`]: total and deterministic. Errors meet the failure mode here and nowhere else.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::admission::Request;
use crate::engine::conflicts::{Mutation, conflicts};
use crate::engine::difference::difference;
use crate::engine::outcome::Outcome;
use crate::engine::review::Review;
use crate::engine::{
    Cause, Decision, Endpoint, ErrorCode, Excepted, FailureMode, FailureModes, PolicyFailure, Run, Snapshot, Verdict,
    Violation,
};
use crate::policy::{Enforcement, PolicyException};

/// Combines the outcomes of all steps of a review, in order.
pub(crate) fn combine(review: &Review, outcomes: &[Outcome], object: Option<&Arc<Value>>) -> Decision {
    let mut violations: Vec<Violation> = Vec::new();
    let mut exceptions: Vec<Excepted> = Vec::new();
    let mut mutations = Vec::new();
    let mut failures = Vec::new();
    let mut annotations = BTreeMap::new();
    let mut runs = Vec::new();
    let mut deny_selected = false;
    for (step, outcome) in review.steps.iter().zip(outcomes) {
        let policy = &step.policy;
        let enforcement = review.enforcement(step);
        deny_selected |= enforcement == Enforcement::Deny;
        let name = Arc::clone(&policy.name);
        let Outcome { took, usage, change, .. } = *outcome;
        let (way, touched) = (outcome.way(), outcome.touched.clone());
        runs.push(Run { policy: name, enforcement, ending: outcome.ending(), took, way, usage, change, touched });
        let violation = |msg: String, enforcement| Violation {
            policy: Arc::clone(&policy.name),
            digest: policy.digest,
            enforcement,
            severity: policy.severity,
            controls: Arc::clone(&policy.controls),
            msg,
            field: None,
            details: None,
            fix: None,
            location: None,
        };
        match &outcome.result {
            Err(fault) => failures.push(PolicyFailure {
                policy: Arc::clone(&policy.name),
                digest: policy.digest,
                enforcement,
                code: fault.code,
                msg: fault.msg.clone(),
                location: fault.location.clone(),
            }),
            Ok(output) => {
                let mut excepting = None;
                for finding in &output.findings {
                    let milder = if finding.rule == "warn" { Enforcement::Warn } else { Enforcement::Deny };
                    let found = Violation {
                        field: finding.field.clone(),
                        details: finding.details.clone(),
                        fix: finding.fix.clone(),
                        location: policy.location_of(finding.rule, &finding.msg),
                        ..violation(review.message(step, &finding.msg), enforcement.min(milder))
                    };
                    let excepting = excepting.get_or_insert_with(|| review.exceptions(step).collect::<Vec<_>>());
                    match excepting.iter().find(|e| covers(e, &found, &review.request)) {
                        Some(e) => exceptions.push(Excepted { exception: Arc::clone(e), violation: found }),
                        None => violations.push(found),
                    }
                }
                // What is only tried out shows in the log and the metrics, nowhere else.
                let seen = output.annotations.iter().filter(|_| enforcement != Enforcement::Dryrun);
                for (key, value) in seen {
                    annotations.entry(key.clone()).or_insert_with(|| value.clone());
                }
                if let (Enforcement::Deny, Some(patch)) = (enforcement, &output.patch)
                    && review.spared(step).is_none()
                {
                    mutations.push(Mutation { policy: Arc::clone(&policy.name), patch: patch.clone() });
                }
                let spared = output.patch.is_some().then(|| review.spared(step)).flatten();
                if let Some(patch) =
                    output.patch.as_ref().filter(|_| enforcement != Enforcement::Deny || spared.is_some())
                {
                    let rule = policy.rules.get("patch").or_else(|| policy.rules.get("mutate"));
                    let location = rule.and_then(|d| d.of_message("")).cloned();
                    let found = Violation {
                        details: serde_json::to_value(patch).ok(),
                        location,
                        ..violation("the object would be changed".to_owned(), enforcement)
                    };
                    match spared {
                        Some(e) => exceptions.push(Excepted { exception: Arc::clone(e), violation: found }),
                        None => violations.push(found),
                    }
                }
            }
        }
    }
    violations.sort_by_key(order);
    violations.dedup();
    exceptions.sort_by_key(|e: &Excepted| (e.exception.name.clone(), order(&e.violation)));
    exceptions.dedup();
    let (verdict, cause) = judge(&violations, &failures, &review.context.failure);
    let patch = match verdict {
        Verdict::Allow => object.and_then(|o| difference(review.request.object(), o)),
        Verdict::Deny => None,
    };
    let mut decision = Decision {
        endpoint: review.context.endpoint,
        verdict,
        cause,
        warnings: Vec::new(),
        conflicts: conflicts(review.request.object(), &mutations),
        mutations,
        violations,
        exceptions,
        failures,
        patch,
        audit_annotations: annotations,
        runs,
        reads: review.reads.iter().chain(outcomes.iter().flat_map(|o| &o.reads)).cloned().collect(),
        inventory_age: review.inventory_age,
        policy_set: review.snapshot.policy_set,
        data_digest: review.snapshot.data_digest,
        deny_selected,
    };
    decision.warnings = warnings(&decision);
    decision
}

/// The order of violations: worst first, then by policy, message and field.
fn order(v: &Violation) -> impl Ord + use<> {
    (std::cmp::Reverse(v.enforcement), Arc::clone(&v.policy), v.msg.clone(), v.field.clone())
}

fn covers(exception: &PolicyException, found: &Violation, request: &Request) -> bool {
    exception.covers(&found.policy, &found.msg, found.field.as_deref(), request.subject())
}

fn judge(violations: &[Violation], failures: &[PolicyFailure], modes: &FailureModes) -> (Verdict, Cause) {
    if violations.iter().any(|v| v.enforcement == Enforcement::Deny) {
        return (Verdict::Deny, Cause::Policy);
    }
    let of_deny = || failures.iter().filter(|f| f.enforcement == Enforcement::Deny);
    let late = |f: &PolicyFailure| f.code == ErrorCode::Deadline;
    let causes = [
        (of_deny().any(|f| !late(f)), Cause::PolicyError, modes.policy_error),
        (of_deny().any(late), Cause::Deadline, modes.deadline),
    ];
    let met = || causes.iter().filter(|(there, ..)| *there);
    match met().find(|(.., mode)| *mode == FailureMode::Deny).or_else(|| met().next()) {
        Some((_, cause, mode)) => (verdict_of(*mode), *cause),
        None => (Verdict::Allow, Cause::None),
    }
}

fn verdict_of(mode: FailureMode) -> Verdict {
    match mode {
        FailureMode::Deny => Verdict::Deny,
        FailureMode::Allow => Verdict::Allow,
    }
}

/// What the client sees beside the verdict: violations that only warn, those that would refuse but for an exception
/// (which will end), and failures that did not refuse.
fn warnings(decision: &Decision) -> Vec<String> {
    let warn = decision.violations.iter().filter(|v| v.enforcement == Enforcement::Warn).map(Violation::sentence);
    let failed = decision.failures.iter().filter(|f| match f.enforcement {
        Enforcement::Deny => decision.verdict == Verdict::Allow,
        Enforcement::Warn => true,
        Enforcement::Dryrun => false,
    });
    let failed = failed.map(|f| format!("policy {} could not be judged ({})", f.policy, f.code.as_str()));
    let refusing = decision.exceptions.iter().filter(|e| e.violation.enforcement == Enforcement::Deny);
    let mut excepted: Vec<String> = refusing.map(Excepted::sentence).collect();
    excepted.dedup();
    warn.chain(excepted).chain(failed).collect()
}

impl Excepted {
    /// What is let pass by which exception and until when, as users read it.
    #[must_use]
    pub fn sentence(&self) -> String {
        let PolicyException { name, ticket, expires, .. } = self.exception.as_ref();
        format!("{}: let pass by exception `{name}` ({ticket}) until {expires}", self.violation.policy)
    }
}

impl Violation {
    /// `policy: message [field]`, as users read it.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut text = format!("{}: {}", self.policy, self.msg);
        if let Some(field) = self.field.as_ref().filter(|f| !self.msg.contains(f.as_str())) {
            text.push_str(&format!(" [{field}]"));
        }
        if let Some(fix) = &self.fix {
            text.push_str(&format!(" (fix: {fix})"));
        }
        text
    }
}

impl Decision {
    /// The decision on a request that no policy could see: shed for overload, or out of time.
    #[must_use]
    pub fn shed(endpoint: Endpoint, cause: Cause, modes: &FailureModes, snapshot: &Snapshot) -> Self {
        let mode = if cause == Cause::Deadline { modes.deadline } else { modes.overload };
        Self {
            endpoint,
            verdict: verdict_of(mode),
            cause,
            violations: Vec::new(),
            exceptions: Vec::new(),
            failures: Vec::new(),
            warnings: match mode {
                FailureMode::Allow => vec![format!("not judged ({}): let pass by failure mode", cause.as_str())],
                FailureMode::Deny => Vec::new(),
            },
            mutations: Vec::new(),
            conflicts: Vec::new(),
            patch: None,
            audit_annotations: BTreeMap::new(),
            runs: Vec::new(),
            reads: Vec::new(),
            inventory_age: None,
            policy_set: snapshot.policy_set,
            data_digest: snapshot.data_digest,
            deny_selected: false,
        }
    }

    /// The decision when its record could not be written: refused only where a `deny` policy was selected and the
    /// mode says so. A deny stays what it is.
    #[must_use]
    pub fn log_failed(mut self, mode: FailureMode) -> Self {
        if self.verdict == Verdict::Allow && mode == FailureMode::Deny && self.deny_selected {
            self.verdict = Verdict::Deny;
            self.cause = Cause::Log;
            self.patch = None;
        }
        self
    }
}
