//! Judging: compiled policies and one door, [`decide`].
//!
//! The only room that knows regorus (behind `evaluate`). Must not know sockets, files, Kubernetes clients or the
//! wall clock: time, randomness and the world come in as [`Context`] and [`Inventory`].

mod context;
mod decision;

pub use context::{Context, FailureMode, FailureModes, Inventory, NamespaceMetadata, Namespaces};
pub use decision::{
    Cause, Decision, Ending, Endpoint, ErrorCode, Location, PolicyFailure, Read, Run, Verdict, Violation,
};
