//! What a join can find. Knows words; must not know how any of it is found.

use serde::Serialize;

/// What is wrong, or worth knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The webhook was not heard and the API server let the request pass (`failurePolicy: Ignore`).
    FailedOpen,
    /// A registered rule takes the request, it was done, and no decision was made.
    Undecided,
    /// The API server heard of a decision that the log does not have, and no gap record explains it.
    Unrecorded,
    /// Records are not in the decision log, and no prune record says why.
    Missing,
    /// We refused, and it was done.
    Overruled,
    /// One review was decided twice, or two requests show the same decision.
    Twice,
    /// No API server confirms the decision: a forged caller, or a caller that was lost.
    Unconfirmed,
    /// A webhook configuration or an in-tree admission policy was changed: no webhook is asked about these, and who
    /// changes them can switch policies off.
    Unguarded,
    /// We allowed, and the API server refused.
    RefusedElsewhere,
    /// No decision was made, and the event does not say whether one should have been.
    PerhapsUndecided,
    /// Not in the log, as a gap record says.
    InGap,
    /// Not in the log, and may be among the records that were deleted, as a prune record says.
    Pruned,
    /// We refused on record, but the answer was the failure mode's for the log, as a gap record says; and it was done.
    FailureMode,
    /// Another request has the same `auditID`: clients choose it (`Audit-ID`). Each request is looked at by itself.
    SharedAuditId,
}

impl FindingKind {
    /// All, the worst first.
    pub const ALL: [Self; 14] = [
        Self::FailedOpen,
        Self::Undecided,
        Self::Unrecorded,
        Self::Missing,
        Self::Overruled,
        Self::Twice,
        Self::Unconfirmed,
        Self::Unguarded,
        Self::InGap,
        Self::Pruned,
        Self::FailureMode,
        Self::PerhapsUndecided,
        Self::SharedAuditId,
        Self::RefusedElsewhere,
    ];

    /// The name in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FailedOpen => "failed_open",
            Self::Undecided => "undecided",
            Self::Unrecorded => "unrecorded",
            Self::Missing => "missing",
            Self::Overruled => "overruled",
            Self::Twice => "twice",
            Self::Unconfirmed => "unconfirmed",
            Self::Unguarded => "unguarded",
            Self::InGap => "in_gap",
            Self::Pruned => "pruned",
            Self::FailureMode => "failure_mode",
            Self::SharedAuditId => "shared_audit_id",
            Self::PerhapsUndecided => "perhaps_undecided",
            Self::RefusedElsewhere => "refused_elsewhere",
        }
    }

    /// What it means, for people.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::FailedOpen => "passed because the webhook was not heard (failurePolicy Ignore)",
            Self::Undecided => "done without a decision although a registered rule takes it",
            Self::Unrecorded => "decided, as the API server says, but the decision is not in the log",
            Self::Missing => "missing in the decision log, and no prune record says why",
            Self::Overruled => "refused by us and done nevertheless",
            Self::Twice => "decided twice",
            Self::Unconfirmed => "decided, but no API server says that it asked",
            Self::Unguarded => "changed what decides who is asked: webhooks are never asked about these",
            Self::InGap => "decided, and known not to be in the log (gap record)",
            Self::Pruned => "decided, and the record may be among those that were deleted (prune record)",
            Self::FailureMode => "refused on record, but the failure mode for the log answered (gap record); and done",
            Self::SharedAuditId => "another request has the same auditID, which clients may choose",
            Self::PerhapsUndecided => "done without a decision; the event does not say whether one was due",
            Self::RefusedElsewhere => "allowed by us and refused by the API server",
        }
    }

    /// Whether it is a negative finding: somebody has to look.
    #[must_use]
    pub fn is_negative(self) -> bool {
        match self {
            Self::FailedOpen
            | Self::Undecided
            | Self::Unrecorded
            | Self::Missing
            | Self::Overruled
            | Self::Twice
            | Self::Unconfirmed => true,
            Self::Unguarded
            | Self::InGap
            | Self::Pruned
            | Self::FailureMode
            | Self::PerhapsUndecided
            | Self::SharedAuditId
            | Self::RefusedElsewhere => false,
        }
    }
}

/// One finding. Empty fields are not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub finding: FindingKind,
    /// When (RFC 3339, nanoseconds, UTC).
    pub time: String,
    /// Id of the decision.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub decision_id: String,
    /// `auditID` of the event.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub audit_id: String,
    /// `CREATE`, ...
    pub operation: String,
    /// `deployments.apps`.
    pub resource: String,
    /// Namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Who asked.
    pub user: String,
    /// HTTP status of the API server's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// What else there is to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// A decision with what the API server's event adds; the event's fields are empty for a decision without one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Joined {
    /// When the review arrived.
    pub time: String,
    /// Id of the decision.
    pub decision_id: String,
    /// `confirmed`; when no event names it `unconfirmed`, or `outside` where the audit log does not reach.
    pub status: String,
    /// Origin of the log that has it.
    pub origin: String,
    /// Its number there.
    pub seq: i64,
    /// `validate` or `mutate`.
    pub endpoint: String,
    /// Our answer.
    pub verdict: String,
    /// Why.
    pub cause: String,
    /// Policies that found something or could not be judged, separated by spaces.
    pub policies: String,
    /// `CREATE`, ...
    pub operation: String,
    /// `deployments.apps`.
    pub resource: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Who asked.
    pub user: String,
    /// Whether nothing was to be persisted.
    pub dry_run: bool,
    /// `auditID` of the event.
    pub audit_id: String,
    /// Where the request came from, separated by spaces.
    pub source_ips: String,
    /// With what.
    pub user_agent: String,
    /// HTTP status of the API server's answer; 0 when it is not known.
    pub code: u16,
    /// `requestURI`.
    pub uri: String,
}

/// A time in which the webhook was not asked although it should have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outage {
    /// Time of the first request without a decision.
    pub from: String,
    /// Time of the last.
    pub to: String,
    /// How many.
    pub requests: u64,
}

/// What was joined, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Decisions in the log.
    pub decisions: u64,
    /// Of those, named by an event.
    pub confirmed: u64,
    /// Of those, made before the audit log's first event or after its last, and named by none.
    pub outside: u64,
    /// Requests in the audit log that admission may see.
    pub requests: u64,
    /// Of those, done and taken by a registered rule for certain, or decided.
    pub due: u64,
    /// Of those that were due, decided by every endpoint that should.
    pub decided: u64,
    /// Decisions beyond the first of their request that are as they should be: retries after a conflict, the items of a
    /// collection, a mutating webhook that was asked again.
    pub repeated: u64,
    /// Pieces of the audit log that hold no event that can be read: what was in them is not known.
    pub unreadable: u64,
    /// Decisions of the log whose records cannot be read.
    pub unreadable_records: u64,
    /// Decisions that the API server heard of.
    pub marks: u64,
    /// The audit log's first and last event, of any kind.
    pub audit: Option<(String, String)>,
    /// The decision log's first and last record, of any kind.
    pub log: Option<(String, String)>,
}

impl Report {
    /// Whether the times of the two logs have something in common.
    #[must_use]
    pub fn meet(&self) -> bool {
        self.audit.as_ref().zip(self.log.as_ref()).is_some_and(|(a, l)| a.0 <= l.1 && l.0 <= a.1)
    }
}
