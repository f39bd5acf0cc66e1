//! Portcullis: a Kubernetes admission webhook policy engine.
//!
//! # The map
//! Imports go strictly downward; rooms of one level never import one another, `app` joins them.
//! `tests/it/architecture.rs` holds this.
//!
//! | level | room | what it knows |
//! |---|---|---|
//! | L0, pure | [`admission`] | the wire: AdmissionReview bytes in, AdmissionReview bytes out |
//! | L1, pure | [`policy`] | policy documents: Rego with METADATA, what they match, digests |
//! | L2, pure | [`engine`] | compile, select, evaluate, combine: [`engine::decide`], the one door; the only user of regorus |
//! | L3, I/O | [`decisions`] | the decision log: record v1, masking, the single writer, queries |
//! | L3, I/O | [`source`] | where policies and data come from: files, directories, the binary itself |
//! | L6 | [`cli`] | one file a command |

pub mod admission;
#[cfg(feature = "serve")]
pub mod cli;
#[cfg(feature = "serve")]
pub mod decisions;
pub mod engine;
pub mod policy;
#[cfg(feature = "serve")]
pub mod source;
#[cfg(feature = "serve")]
pub mod webhook;
