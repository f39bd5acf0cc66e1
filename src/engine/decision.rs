//! What a review came to, as data. Knows every outcome; must not know how it is logged or sent.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::{Conflict, HealthChange, HttpRead, Mutation, Usage, Way};
use crate::policy::{Digest, Enforcement, PolicyException, Severity};

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The request goes on.
    Allow,
    /// The request is refused.
    Deny,
}

impl Verdict {
    /// The name in records and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// Why the verdict is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A policy with enforcement `deny` was violated.
    Policy,
    /// A policy could not be judged, and the failure mode for that decided.
    PolicyError,
    /// Time ran out, and the failure mode for that decided.
    Deadline,
    /// Too many requests at once; the failure mode for that decided.
    Overload,
    /// The decision log could not be written; the failure mode for that decided.
    Log,
    /// Nothing stood against the request.
    None,
}

impl Cause {
    /// The name in records and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::PolicyError => "policy_error",
            Self::Deadline => "deadline",
            Self::Overload => "overload",
            Self::Log => "log",
            Self::None => "none",
        }
    }
}

/// Which of a policy's rules are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Endpoint {
    /// `deny`, `violation`, `warn`, `audit_annotations`.
    Validate,
    /// `patch`, `mutate`.
    Mutate,
}

impl Endpoint {
    /// The name in paths, records and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Mutate => "mutate",
        }
    }
}

/// A place in a policy's source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Location {
    /// File as it was loaded.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One thing a policy found.
#[derive(Debug, Clone, PartialEq)]
pub struct Violation {
    /// Policy name.
    pub policy: Arc<str>,
    /// Digest of the policy's content.
    pub digest: Digest,
    /// What this violation does: refuse, warn, or be recorded only.
    pub enforcement: Enforcement,
    /// From the policy's metadata.
    pub severity: Option<Severity>,
    /// Controls it stands for, such as `NIST 800-53 AC-6`.
    pub controls: Arc<[String]>,
    /// What the user reads.
    pub msg: String,
    /// Path in the object the user wrote, such as `spec.template.spec.containers[0].image`.
    pub field: Option<String>,
    /// Whatever else the policy said about it.
    pub details: Option<Value>,
    /// How to mend it.
    pub fix: Option<String>,
    /// The rule that found it.
    pub location: Option<Location>,
}

/// A violation that counts for nothing, because somebody approved that.
#[derive(Debug, Clone, PartialEq)]
pub struct Excepted {
    /// What lets it pass.
    pub exception: Arc<PolicyException>,
    /// What is let pass, with the enforcement that it would have had.
    pub violation: Violation,
}

/// Why a policy could not be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The evaluation itself failed (a builtin error, a conflict, recursion).
    Evaluation,
    /// A rule has a result of the wrong shape.
    Output,
    /// The policy used up its time budget.
    Budget,
    /// The request's deadline passed before the policy was done.
    Deadline,
    /// The evaluation panicked.
    Panic,
    /// The policy did not stop and its thread was given up.
    Stuck,
    /// The policy got stuck too often and is not run any more.
    Quarantined,
    /// The namespace of the request is not known.
    UnknownNamespace,
    /// A patch does not apply, or touches what it may not.
    Patch,
}

impl ErrorCode {
    /// The name in records and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Evaluation => "evaluation",
            Self::Output => "output",
            Self::Budget => "budget",
            Self::Deadline => "deadline",
            Self::Panic => "panic",
            Self::Stuck => "stuck",
            Self::Quarantined => "quarantined",
            Self::UnknownNamespace => "unknown_namespace",
            Self::Patch => "patch",
        }
    }
}

/// A policy that could not be judged. Never read as "no violation".
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyFailure {
    /// Policy name.
    pub policy: Arc<str>,
    /// Digest of the policy's content.
    pub digest: Digest,
    /// The policy's enforcement; only `deny` policies' failures can refuse a request.
    pub enforcement: Enforcement,
    /// What went wrong.
    pub code: ErrorCode,
    /// For the policy's author.
    pub msg: String,
    /// Where it went wrong, if the engine says.
    pub location: Option<Location>,
}

/// How one policy's run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// No violation.
    Pass,
    /// At least one violation (of any enforcement).
    Violate,
    /// It gave a patch.
    Patch,
    /// It could not be judged.
    Fail(ErrorCode),
}

impl Ending {
    /// The name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Violate => "violate",
            Self::Patch => "patch",
            Self::Fail(_) => "error",
        }
    }
}

/// One policy's run, for metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Policy name.
    pub policy: Arc<str>,
    /// What its violations do here.
    pub enforcement: Enforcement,
    /// How it ended.
    pub ending: Ending,
    /// How long it took.
    pub took: Duration,
    /// How it was run; `None` when it was not, or came to nothing.
    pub way: Option<Way>,
    /// What it took of its budget.
    pub usage: Usage,
    /// What it meant for the policy's being run from now on.
    pub change: Option<HealthChange>,
    /// Pointers of [`veiled`](crate::engine::veiled) values that it looked at: with the true ones it might have come to
    /// something else. Empty where nothing is veiled.
    pub touched: Vec<String>,
}

/// Something outside the request that the decision read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// What was read, such as `namespaces/tenant-b`.
    pub path: String,
    /// The object's uid, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The object's resourceVersion, if known.
    #[serde(default, rename = "resourceVersion", skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// SHA-256 of what the policies saw; of a response, of its body.
    pub digest: Digest,
    /// The request, when it was one of `http.send`: what it would be answered now, nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpRead>,
    /// What was read itself, where it is known: the digest is that of its JSON text.
    #[serde(skip)]
    pub content: Option<Arc<Value>>,
}

/// The outcome of one review: total and deterministic for the same snapshot, inventory, request and context.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Which rules were read.
    pub endpoint: Endpoint,
    /// The answer.
    pub verdict: Verdict,
    /// Why.
    pub cause: Cause,
    /// All violations of all policies, sorted by enforcement (deny, warn, dryrun), policy, message and field.
    pub violations: Vec<Violation>,
    /// What exceptions let pass, sorted by exception, then as violations are. Never what could not be judged.
    pub exceptions: Vec<Excepted>,
    /// All policies that could not be judged, sorted by policy.
    pub failures: Vec<PolicyFailure>,
    /// What the client sees beside the verdict, in a stable order.
    pub warnings: Vec<String>,
    /// What each policy changed, in order: by name. Without what was only tried out.
    pub mutations: Vec<Mutation>,
    /// Where policies want different things: the later one has it.
    pub conflicts: Vec<Conflict>,
    /// The merged patch; `None` when nothing changes.
    pub patch: Option<json_patch::Patch>,
    /// From the policies' `audit_annotations`, keys made valid.
    pub audit_annotations: BTreeMap<String, String>,
    /// Every policy that was run, in order.
    pub runs: Vec<Run>,
    /// What was read beside the request.
    pub reads: Vec<Read>,
    /// Age of the inventory that was read.
    pub inventory_age: Option<Duration>,
    /// Digest of the policy set that judged.
    pub policy_set: Digest,
    /// Digest of the data documents that were loaded.
    pub data_digest: Digest,
    /// Whether any policy with enforcement `deny` was selected: only then may a failure of the log refuse.
    pub deny_selected: bool,
}

impl Decision {
    /// Whether the request goes on.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.verdict == Verdict::Allow
    }
}
