//! Policy documents: Rego with METADATA, bindings, Gatekeeper's templates and constraints, what they match. Text in,
//! typed documents out.
//!
//! Knows no engine, files or clusters.

mod budget;
mod digest;
mod error;
pub mod gatekeeper;
mod index;
pub mod kinds;
mod match_spec;
mod matching;
mod metadata;
mod nearest;
mod selector;
mod sources;
pub mod yaml;

pub use budget::{Budget, mebibytes};
pub use digest::{Digest, digest_set};
pub use error::LoadError;
pub use index::MatchIndex;
pub use matching::{Match, Rule, Scope, Taken};
pub use metadata::{BuiltinErrors, Enforcement, Metadata, OnUpdate, RegoVersion, Severity, package_metadata};
pub use nearest::nearest;
pub use selector::{Expression, LabelSelector, Operator, glob_matches};
pub use sources::{PolicyBinding, SourceFile, Sources};
