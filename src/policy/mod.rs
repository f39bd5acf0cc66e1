//! Policy documents: Rego with METADATA, bindings, what they match. Text in, typed documents out.
//!
//! Knows no engine, files or clusters.

mod digest;
mod metadata;

pub use digest::{Digest, digest_set};
pub use metadata::{Enforcement, Severity};
