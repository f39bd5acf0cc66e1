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
mod conflicts;
mod constraints;
mod context;
mod decide;
mod decision;
mod difference;
mod differential;
mod evaluate;
mod exceptions;
mod health;
mod http;
mod input;
mod interest;
mod looks;
mod mask_pointer;
mod meter;
mod mutants;
mod mutation;
mod needs;
mod notes;
mod outcome;
mod output;
mod parameters;
mod parse;
mod patch;
mod plan;
mod policy_cases;
mod pool;
mod prints;
mod query;
mod query_text;
mod rego;
mod review;
mod rewrite;
mod scan;
mod select;
mod snapshot;
mod suite;
mod syntax;
mod system_main;
mod testing;
mod veil;
mod ways;
mod wording;

pub use answer::answer;
pub use builtins::{JwsError, JwsKey, JwsSigningKey};
pub use compile::{CompileOptions, Compiled, compile, package_of};
pub use conflicts::{Conflict, Mutation};
pub use context::{Context, FailureMode, FailureModes, Inventory, NamespaceMetadata, Namespaces};
pub use decide::decide;
pub use decision::{
    Cause, Decision, Ending, Endpoint, ErrorCode, Excepted, Location, PolicyFailure, Read, Run, Verdict, Violation,
};
pub use differential::{Difference, DifferentialOptions, DifferentialReport, PolicyComparison, differential};
#[doc(hidden)]
pub use differential::{RuleComparison, compare_rules};
pub use exceptions::ExceptionSummary;
pub use health::{HealthChange, Quarantine};
pub use http::{HttpDoor, HttpFault, HttpRead, HttpRequest, HttpResponse, HttpSend, HttpTls, Redirects, Verification};
pub use meter::{BudgetPart, Usage};
pub use mutants::{MutantOptions, PolicyMutants, Survivor, test_mutants};
pub use mutation::{MutationError, Unsettled, mutated, settle};
pub use parse::MAX_NESTING;
pub use plan::Obstacle;
pub use policy_cases::{CaseAsker, case_misses, run_policy_cases};
pub use pool::{Job, Pool, PoolOptions, PoolStats};
pub use query::{Answer, Query, QueryInput, Scope, bindings, query, query_in};
pub use snapshot::{BindingSummary, PolicySummary, Snapshot};
pub use suite::{SuiteFiles, run_suite};
pub use testing::{FileCoverage, TestEnding, TestReport, TestResult, check_tests, run_tests};
pub use veil::{pointer_of, touch_unknown, veiled};
pub use ways::{Way, Ways};
