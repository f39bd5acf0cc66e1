//! One integration binary: behaviour through the public surfaces.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do; clippy.toml lets only the test functions themselves"
)]

mod architecture;
mod budgets;
mod builtins;
mod bundles;
mod cli;
mod cluster;
mod conformance;
mod decisions;
mod deploy;
mod engine;
mod exceptions;
mod gatekeeper;
mod http_send;
mod language;
mod mutants;
mod mutations;
mod opa_admission;
mod packs;
mod parameters;
mod pod_security;
mod policy_pages;
mod policy_set;
mod policy_tests;
mod query;
mod rego_tests;
mod reload;
mod reviews;
mod serve;
mod sinks;
mod support;
mod walk_through;
mod ways;
