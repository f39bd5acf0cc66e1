//! Portcullis: a Kubernetes admission webhook policy engine.
//!
//! # The map
//! Imports go strictly downward; rooms of one level never import one another, `app` joins them.
//! `tests/it/architecture.rs` holds this.
//!
//! | level | room | what it knows |
//! |---|---|---|
//! | L0, pure | [`admission`] | the wire: AdmissionReview bytes in, AdmissionReview bytes out |
//! | L0, pure | [`tlog`] | a transparency log's mathematics: Merkle tree, tiles, checkpoints, proofs; bytes only |
//! | L1, pure | [`policy`] | policy documents: Rego with METADATA, Gatekeeper's templates and constraints, what they match, digests |
//! | L2, pure | [`engine`] | compile, select, evaluate, combine: [`engine::decide`], the one door; the only user of regorus |
//! | L3, I/O | [`decisions`] | the decision log: record v1, masking, the single writer, queries |
//! | L3, I/O | [`source`] | where policies and data come from: files, directories, bundles near and far, the binary itself |
//! | L3, I/O | [`inventory`] | the cluster: Namespace metadata, reflected |
//! | L3, I/O | [`outbound`] | requests that policies make: allowed hosts, refused addresses |
//! | L3, I/O | [`webhook`] | what a cluster needs to call us: registration, certificates |
//! | L4, I/O | [`server`] | HTTP and TLS: connections, routes, the way of one review, health |
//! | L5 | [`app`] | builds, joins and drains; no logic of its own |
//! | L6 | [`cli`] | one file a command |
//! | side | [`config`] | flags, environment and file: the options of `serve` |
//! | side | [`telemetry`] | messages and metrics |
//! | side | [`memory`] | the allocator of the binary: what an evaluation holds |
//! | side | [`causes`] | an error in one line, with what it comes from |
//! | side | [`units`] | durations and sizes as people write them |

pub mod admission;
#[cfg(feature = "serve")]
pub mod app;
pub mod causes;
#[cfg(feature = "serve")]
pub mod cli;
#[cfg(feature = "serve")]
pub mod config;
#[cfg(feature = "serve")]
pub mod decisions;
pub mod engine;
#[cfg(feature = "serve")]
pub mod inventory;
pub mod memory;
#[cfg(feature = "serve")]
pub mod outbound;
pub mod policy;
#[cfg(feature = "serve")]
pub mod server;
#[cfg(feature = "serve")]
pub mod source;
#[cfg(feature = "serve")]
pub mod telemetry;
pub mod tlog;
pub mod units;
#[cfg(feature = "serve")]
pub mod webhook;
