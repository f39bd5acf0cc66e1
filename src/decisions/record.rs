//! Record v1: one line of the log, as `docs/decision-record.schema.json` has it. Knows the fields and their order;
//! must not know how they are filled, masked or stored. Readers take unknown fields and unknown types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::admission::Operation;
use crate::decisions::Ranges;
use crate::engine::{Cause, Endpoint, ErrorCode, Location, Read, Verdict};
use crate::policy::{Digest, Enforcement, Severity};

/// The version of the record.
pub const VERSION: u32 = 1;
/// The longest envelope line in bytes, line feed included. Tile entries hold at most 65,535 bytes (C2SP tlog-tiles).
pub const MAX_ENVELOPE: usize = 32 * 1024;
/// What evaluated.
pub(super) const ENGINE: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"), " regorus/0.14.1");

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordType {
    /// One review and what it came to.
    Decision,
    /// The log was opened.
    Start,
    /// The log was closed.
    Stop,
    /// Decisions that could not be written.
    Gap,
    /// Records or bodies that were deleted to keep the log within its bound.
    Prune,
    /// A signing key came or went.
    Key,
    /// The configuration changed.
    Config,
    /// Somebody read the log.
    Read,
    /// A legal hold was placed or released.
    Hold,
    /// Of a later version.
    #[serde(other)]
    Unknown,
}

impl RecordType {
    /// The name in the record.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Gap => "gap",
            Self::Prune => "prune",
            Self::Key => "key",
            Self::Config => "config",
            Self::Read => "read",
            Self::Hold => "hold",
            Self::Unknown => "unknown",
        }
    }
}

/// What every record begins with; stamped by the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Version of the record: 1.
    pub v: u32,
    /// What the record is about.
    pub r#type: RecordType,
    /// Number within the origin, from 0 without gaps.
    pub seq: u64,
    /// The log's stable name.
    pub origin: String,
    /// Where it was written.
    pub labels: Labels,
    /// When (RFC 3339, nanoseconds, UTC). A decision's is when its review arrived.
    pub timestamp: String,
}

/// Who writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    /// `--cluster-name`.
    #[serde(default)]
    pub cluster: String,
    /// `--replica`.
    #[serde(default)]
    pub replica: String,
    /// Version of Portcullis.
    #[serde(default)]
    pub version: String,
}

/// What a record of type `decision` holds beside its [`Head`]. `*_omitted` count what was cut from a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// When the review arrived (RFC 3339, nanoseconds, UTC).
    pub timestamp: String,
    /// UUIDv7 of the decision.
    pub decision_id: String,
    /// `time.now_ns()` as policies saw it (RFC 3339, nanoseconds, UTC).
    pub now: String,
    /// Which rules were read.
    pub endpoint: Endpoint,
    /// Who called the webhook.
    pub caller: CallerRecord,
    /// What was asked, and who asked.
    pub request: RequestRecord,
    /// The answer.
    pub verdict: Verdict,
    /// Why.
    pub cause: Cause,
    /// Whether the answer carried a patch.
    pub mutated: bool,
    /// What policies found, worst enforcement first.
    #[serde(default)]
    pub violations: Vec<ViolationRecord>,
    /// Violations cut.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub violations_omitted: u64,
    /// Policies that could not be judged.
    #[serde(default)]
    pub errors: Vec<ErrorRecord>,
    /// Errors cut.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub errors_omitted: u64,
    /// What the client was told beside the verdict.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Warnings cut.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub warnings_omitted: u64,
    /// What exceptions let pass.
    #[serde(default)]
    pub exceptions: Vec<ExceptionRecord>,
    /// Exceptions cut.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub exceptions_omitted: u64,
    /// Digest of the policy set that judged.
    pub policy_set: Digest,
    /// Digest of the data documents.
    pub data_digest: Digest,
    /// The cluster's state that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<InventoryRecord>,
    /// What was read of it.
    #[serde(default)]
    pub reads: Vec<Read>,
    /// Reads cut.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reads_omitted: u64,
    /// The body that belongs to the record.
    pub input: InputRecord,
    /// `SHA-256(salt || patch)` of the patch as the body has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch_digest: Option<Digest>,
    /// What evaluated, and how many policies it ran which way: `portcullis/0.1.0 regorus/0.14.1 plan/3 interpreter/1`.
    pub engine: String,
    /// Durations by name, in nanoseconds.
    #[serde(default)]
    pub metrics: BTreeMap<String, u64>,
}

/// Who called the webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerRecord {
    /// Address and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addr: Option<String>,
    /// Subject of the client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_subject: Option<String>,
    /// Whether the certificate was checked against `--client-ca`.
    pub authenticated: bool,
}

/// What was asked. Group and version are the resource's; `kind` is the object's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// `request.uid`.
    pub uid: String,
    /// The operation.
    pub operation: Operation,
    /// API group; the core group is the empty string.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind of the object sent.
    pub kind: String,
    /// Plural resource.
    pub resource: String,
    /// Subresource.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subresource: String,
    /// Namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name, if it has one already.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `metadata.generateName`, if it has no name yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate_name: Option<String>,
    /// Who asked.
    pub user: UserRecord,
    /// Nothing was persisted.
    pub dry_run: bool,
}

/// Who asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    /// User name.
    pub username: String,
    /// Stable identifier.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Groups, in the order sent.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Groups cut.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub groups_omitted: u64,
    /// What else the authenticator knows. On EKS the person is here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
    /// Values of `extra` cut.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub extra_omitted: u64,
}

/// One thing a policy found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViolationRecord {
    /// Policy name.
    pub policy: String,
    /// Digest of the policy's content.
    pub digest: Digest,
    /// What the violation did.
    pub enforcement: Enforcement,
    /// From the policy's metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Controls it stands for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<String>,
    /// Controls cut.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub controls_omitted: u64,
    /// What the user read.
    pub msg: String,
    /// Path in the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The rule that found it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
}

/// A violation that an exception let pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExceptionRecord {
    /// The exception's name.
    pub name: String,
    /// The policy that it spared the request.
    pub policy: String,
    /// Where the exception was asked for.
    pub ticket: String,
    /// Who approved it.
    pub approver: String,
    /// When it ends (RFC 3339, UTC).
    pub expires: String,
    /// What the policy found, with the enforcement that it would have had.
    pub violation: ViolationRecord,
}

/// A policy that could not be judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorRecord {
    /// Policy name.
    pub policy: String,
    /// Digest of the policy's content.
    pub digest: Digest,
    /// Its enforcement.
    pub enforcement: Enforcement,
    /// What went wrong.
    pub code: ErrorCode,
    /// For the policy's author.
    pub msg: String,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
}

/// The cluster's state that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryRecord {
    /// How old it was, in milliseconds.
    pub age_ms: u64,
}

/// The body that belongs to a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRecord {
    /// `SHA-256(salt || body)`: the salt's 32 bytes, then the body's bytes as they are stored.
    pub digest: Digest,
    /// JSON pointers into the body's input (and `/patch`) of what was masked, sorted.
    #[serde(default)]
    pub masked: Vec<String>,
    /// Pointers cut.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub masked_omitted: u64,
    /// JSON pointers of what was left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub omitted: Vec<String>,
    /// Masking itself failed, so everything is masked.
    #[serde(default, skip_serializing_if = "is_false")]
    pub mask_failed: bool,
}

/// What a record of type `start` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRecord {
    /// When.
    pub timestamp: String,
    /// `fsync`, `flush` or `best-effort`.
    pub durability: String,
    /// Verifier key of the key that checkpoints are signed with from here on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// Whether the run before ended with a `stop`; false for a new log.
    pub after_crash: bool,
    /// Bytes of unfinished lines that were cut off (never acknowledged); they are kept in `cut/`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cut_bytes: u64,
    /// Records before this one that no checkpoint covered: a crash came first. They are taken as they stand.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unsigned: u64,
    /// The last checkpoint (`<origin> <size> <root>`) of the log in whose place this one was begun, because that was
    /// removed or is not what was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// What was wrong with it, if it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
    /// Where in the directory it was put, if it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<String>,
}

/// What a record of type `key` holds: another key signs from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// When.
    pub timestamp: String,
    /// `rotated`.
    pub action: String,
    /// Verifier key of the new key.
    pub key: String,
    /// Verifier key of the key before.
    pub previous: String,
}

/// What a record of type `stop` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRecord {
    /// When.
    pub timestamp: String,
    /// Why.
    pub reason: String,
}

/// What a record of type `gap` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapRecord {
    /// When the gap was written down.
    pub timestamp: String,
    /// Decisions that are not in the log.
    pub count: u64,
    /// Timestamp of the first of them (or of the first unconfirmed one).
    pub from: String,
    /// Timestamp of the last.
    pub to: String,
    /// What kept them from being written, the last time.
    pub reason: String,
    /// Decisions in the log whose callers had stopped waiting: their answer followed the failure mode for the log,
    /// not the verdict on record.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unconfirmed: u64,
    /// Ids of the first of those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unconfirmed_ids: Vec<String>,
}

/// What a record of type `config` holds: other policies or data are in force from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigRecord {
    /// When.
    pub timestamp: String,
    /// Why: `start` or `reload`.
    pub reason: String,
    /// Digest of the policy set that is in force from here on.
    pub policy_set: Digest,
    /// Digest of the data documents.
    pub data_digest: Digest,
    /// Digest of the policy set that was in force before; none at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_policy_set: Option<Digest>,
    /// Digest of the data documents before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_data_digest: Option<Digest>,
    /// How many policies there are.
    pub policies: u64,
    /// Whether the content of the set is kept beside the log, so that its decisions can be made again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<bool>,
    /// Digests of older policy sets whose content was deleted to make room.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
}

/// What a record of type `prune` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneRecord {
    /// When.
    pub timestamp: String,
    /// What was deleted: `bodies` (all of a segment), `body` (those of the records in `erased`), `segment`, or `tiles`
    /// (leaf hashes of records that were deleted before).
    pub what: String,
    /// Why: `max_bytes`, `full_disk`, `retention` (they were older than they are kept) or `erasure`.
    pub reason: String,
    /// The first record concerned.
    pub first_seq: u64,
    /// The last.
    pub last_seq: u64,
    /// How many records.
    pub count: u64,
    /// How many bytes.
    pub bytes: u64,
    /// Of a `body`: the records whose bodies were erased. Of a `segment`: those before it that are still there and whose
    /// bodies were erased earlier.
    #[serde(default, skip_serializing_if = "Ranges::is_empty")]
    pub erased: Ranges,
    /// Of a `segment`: all records that are gone, these among them; empty when it is just these.
    #[serde(default, skip_serializing_if = "Ranges::is_empty")]
    pub gone: Ranges,
    /// Who asked for it, if anybody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !*flag
}
