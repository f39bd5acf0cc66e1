//! [`Decision`] to the answer the API server gets. Status codes are ones that no client acts on by itself:
//! 403 for a violation, 500 for a policy that failed, 503 for everything that was not judged.

use crate::admission::{Response, Status};
use crate::engine::{Cause, Decision, ErrorCode, PolicyFailure, Verdict, Violation};
use crate::policy::Enforcement;

/// Messages are cut at this many bytes: they go into Events, logs and terminals.
const MAX_MESSAGE: usize = 8 * 1024;

/// The answer to the request `uid`.
#[must_use]
pub fn answer(decision: &Decision, uid: &str) -> Response {
    let status = match decision.verdict {
        Verdict::Allow => None,
        Verdict::Deny => {
            let (code, reason) = match decision.cause {
                Cause::Policy => (403, "Forbidden"),
                Cause::PolicyError | Cause::None => (500, "InternalError"),
                Cause::Deadline | Cause::Overload | Cause::Log => (503, "ServiceUnavailable"),
            };
            Some(Status { code, reason, message: cut(message(decision)) })
        }
    };
    Response {
        uid: uid.to_owned(),
        allowed: decision.verdict == Verdict::Allow,
        status,
        warnings: decision.warnings.clone(),
        patch: decision.patch.clone(),
        audit_annotations: decision.audit_annotations.clone(),
    }
}

fn message(decision: &Decision) -> String {
    let denials = decision.violations.iter().filter(|v| v.enforcement == Enforcement::Deny).map(Violation::sentence);
    let failures = decision.failures.iter().filter(|f| f.enforcement == Enforcement::Deny).map(failure_sentence);
    let lines: Vec<String> = match decision.cause {
        Cause::Overload => vec!["not judged: too many requests at once; try again".to_owned()],
        Cause::Log => vec!["not let pass: the decision could not be recorded; try again".to_owned()],
        Cause::Deadline if decision.failures.is_empty() => {
            vec!["not judged: the request's time ran out; try again".to_owned()]
        }
        Cause::Policy | Cause::PolicyError | Cause::Deadline | Cause::None => denials.chain(failures).collect(),
    };
    lines.join("\n")
}

/// Names the policy and the kind of failure; the details are for the policy's author and stand in the log.
fn failure_sentence(failure: &PolicyFailure) -> String {
    let why = match failure.code {
        ErrorCode::UnknownNamespace => return format!("{}: could not be judged: {}", failure.policy, failure.msg),
        code => code.as_str(),
    };
    format!("{}: could not be judged ({why}); see the decision log", failure.policy)
}

fn cut(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let at = (0..=MAX_MESSAGE).rev().find(|i| message.is_char_boundary(*i)).unwrap_or(0);
        message.truncate(at);
        message.push_str(" ... (cut; the decision log has all)");
    }
    message
}
