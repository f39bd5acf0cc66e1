//! One integration binary: behaviour through the public surfaces.

mod architecture;
mod builtins;
mod cli;
mod conformance;
mod deploy;
mod engine;
mod rego_tests;
mod reviews;
