//! The decision log: what was asked, what was answered and why, one line a decision, on disk before the answer leaves.
//!
//! Knows records, masking, segments and queries; must not know HTTP, policies' sources or clusters. The byte-level
//! description of the files is `docs/decision-log.md`, the record's `docs/decision-record.schema.json`.
//!
//! # Invariants
//! 1. [`DecisionLog::append`] returns `Ok` only when the entry is durable at the configured level.
//! 2. A decision that is not written is counted, and a `gap` record tells of it as soon as writing works again.
//! 3. No secret reaches the disk: [`Entry::decision`] masks before anything is queued, and when masking fails
//!    everything is masked.
//! 4. Every envelope is a leaf of the log's Merkle tree; nothing is signed before it is on the disk, and nothing that is
//!    not what was signed is signed again.
//! 5. Nothing is deleted without a record of it, and nothing that is under legal hold is deleted.
//! 6. An envelope has at most [`MAX_ENVELOPE`] bytes, the queue and the whole log are bounded.

mod anchor;
mod body;
mod bound;
mod bucket;
mod clip;
mod control;
mod doubt;
mod entry;
mod erase;
mod error;
mod following;
mod gap;
mod hand_over;
mod hold;
pub mod index;
pub mod join;
mod keeping;
mod lines;
mod log;
mod mask;
mod notary;
mod opening;
mod orders;
mod own;
mod page;
mod prove;
mod query;
mod queue;
mod ranges;
mod read_record;
mod readers;
mod reconcile;
mod record;
pub mod replay;
mod resume;
mod retention;
mod reveal;
mod segments;
mod selection;
mod sets;
mod sieve;
mod signing;
pub mod sinks;
mod storage;
mod syncer;
mod tree_files;
mod verify;
mod waiting;
mod web;
mod witness;
mod writer;

pub use anchor::{AnchorAddress, AnchorError, AnchorStore, HttpMethod, is_below};
pub use body::{Body, BodyLine, Detail};
pub use bound::{Bound, bound};
pub use control::{Command, Control, ask, execute, own_user};
pub use entry::{Caller, ConfigChange, DecisionMeta, Entry};
pub use erase::{Erased, Erasure};
pub use error::LogError;
pub use following::{Place, Rewound};
pub use hand_over::HandOver;
pub use hold::{Hold, HoldAction, HoldRecord, holds};
pub use log::{
    DEFAULT_MAX_BYTES, DEFAULT_SEGMENT_BYTES, DecisionLog, Durability, FLUSH_TO_DISK, LogHealth, LogOptions, Receipt,
};
pub use mask::{MaskKey, Masker, commitment};
pub use notary::SignedCheckpoint;
pub use orders::{Author, HoldRequest, Pruned};
pub use page::{Page, PageBounds, tree_file};
pub use prove::{latest_checkpoint, log_keys, prove};
pub use query::{BodyState, Filter, Flaws, Found, Located, LogReader, Record};
pub use ranges::Ranges;
pub use read_record::{ReadAction, ReadRecord};
pub use readers::{Reader, ReadersFile};
pub use reconcile::{Deliveries, DeliveryFault, Expected, Reconciliation};
pub use record::{
    CallerRecord, ConfigRecord, DecisionRecord, ErrorRecord, ExceptionRecord, GapRecord, Head, InputRecord,
    InventoryRecord, KeyRecord, Labels, MAX_ENVELOPE, PruneRecord, RecordType, RequestRecord, StartRecord, StopRecord,
    UserRecord, VERSION, ViolationRecord,
};
pub use retention::Retention;
pub use reveal::{Masked, WrittenBy, candidates, commitments_at, written_by};
pub use selection::Selection;
pub use sets::{Keeping, KeptSet, PolicySets, SetError, SetId};
pub use signing::SigningSeed;
pub use storage::{Appendable, Disk, Storage};
pub use verify::{
    Anchor, Anchors, BodyCount, Cosignature, Finding, FindingCode, Neighbour, Progress, Report, Succeeded,
    VerifyOptions, WitnessPolicy, read_anchors, verify, verify_witnessed,
};
pub use witness::{Round, Witness, Witnesses};
