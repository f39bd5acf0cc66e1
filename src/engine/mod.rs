//! Judging: compiled policies and one door, [`decide`].
//!
//! The only room that knows regorus (behind `evaluate`). Must not know sockets, files, Kubernetes clients or the
//! wall clock: time, randomness and the world come in as [`Context`] and [`Inventory`]. The monotonic clock is used
//! for budgets only.

mod answer;
mod asker;
mod builtins;
mod check;
mod combine;
mod compile;
mod conflicts;
mod constraints;
mod context;
mod decide;
mod decision;
mod difference;
mod evaluate;
mod exceptions;
mod input;
mod mutation;
mod notes;
mod output;
mod outputs;
mod patch;
mod pool;
mod query;
mod review;
mod rewrite;
mod scan;
mod snapshot;
mod suite;
mod syntax;
mod testing;
mod wording;

pub use answer::answer;
pub use builtins::{JwsError, JwsKey, JwsSigningKey};
pub use compile::{CompileOptions, Compiled, DEFAULT_TIME_BUDGET, MAX_NESTING, compile, package_of};
pub use conflicts::{Conflict, Mutation};
pub use context::{Context, FailureMode, FailureModes, Inventory, NamespaceMetadata, Namespaces};
pub use decide::decide;
pub use decision::{
    Cause, Decision, Ending, Endpoint, ErrorCode, Excepted, Location, PolicyFailure, Read, Run, Verdict, Violation,
};
pub use exceptions::ExceptionSummary;
pub use mutation::{MutationError, Unsettled, mutated, settle};
pub use pool::{Job, Pool, PoolOptions, PoolStats};
#[doc(hidden)]
pub use query::{Query, QueryInput, bindings, query};
pub use snapshot::{BindingSummary, PolicySummary, Snapshot};
pub use suite::{SuiteFiles, run_suite};
pub use testing::{FileCoverage, TestEnding, TestReport, TestResult, check_tests, run_tests};
