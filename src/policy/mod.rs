//! Policy documents: Rego with METADATA, bindings, exceptions, Gatekeeper's templates and constraints, what they match. Text in,
//! typed documents out.
//!
//! Knows no engine, files or clusters.

mod budget;
mod cases;
mod digest;
mod error;
mod exception;
pub mod gatekeeper;
mod index;
mod instant;
pub mod kinds;
mod match_spec;
mod matching;
mod metadata;
pub mod names;
mod nearest;
mod policy_cases;
mod selector;
mod sources;
pub mod wording;
pub mod yaml;

pub use budget::{Budget, mebibytes};
pub use cases::{CaseRequest, CaseSuite, Expectation, ExpectedVerdict, ExpectedViolation, Given, PolicyCase};
pub use digest::{Digest, digest_set};
pub use error::LoadError;
pub(crate) use exception::container_of;
pub use exception::{PolicyException, PolicyRef, Subject};
pub use index::MatchIndex;
pub use instant::Instant;
pub use matching::{Match, Rule, Scope, Taken};
pub use metadata::{BuiltinErrors, Enforcement, Metadata, OnUpdate, RegoVersion, Severity, package_metadata};
pub use nearest::nearest;
pub use policy_cases::{OneCase, PolicyCases};
pub use selector::{Expression, LabelSelector, Operator, glob_matches};
pub use sources::{PolicyBinding, SourceFile, Sources};
