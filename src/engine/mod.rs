//! Judging: compiled policies and one door, [`decide`].
//!
//! The only room that knows regorus (behind `evaluate`). Must not know sockets, files, Kubernetes clients or the
//! wall clock: time, randomness and the world come in as [`Context`] and [`Inventory`]. The monotonic clock is used
//! for budgets only.

mod annotations;
mod answer;
mod asker;
mod builtins;
mod check;
mod combine;
mod compile;
mod constraints;
mod context;
mod decide;
mod decision;
mod evaluate;
mod http;
mod input;
mod interest;
mod notes;
mod output;
mod parse;
mod patch;
mod pool;
mod query;
mod query_text;
mod rego;
mod review;
mod rewrite;
mod scan;
mod snapshot;
mod suite;
mod syntax;
mod system_main;
mod testing;

pub use answer::answer;
pub use compile::{CompileOptions, Compiled, DEFAULT_TIME_BUDGET, compile};
pub use context::{Context, FailureMode, FailureModes, Inventory, NamespaceMetadata, Namespaces};
pub use decide::decide;
pub use decision::{
    Cause, Decision, Ending, Endpoint, ErrorCode, Location, PolicyFailure, Read, Run, Verdict, Violation,
};
pub use http::{HttpDoor, HttpFault, HttpRead, HttpRequest, HttpResponse, HttpSend, HttpTls, Redirects, Verification};
pub use parse::MAX_NESTING;
pub use pool::{Job, Pool, PoolOptions, PoolStats};
pub use query::{Answer, Query, QueryInput, Scope, bindings, query, query_in};
pub use snapshot::{PolicySummary, Snapshot};
pub use suite::{SuiteFiles, run_suite};
pub use testing::{FileCoverage, TestEnding, TestReport, TestResult, check_tests, run_tests};
