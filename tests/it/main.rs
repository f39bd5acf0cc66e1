//! One integration binary: behaviour through the public surfaces.
mod deploy;
mod engine;
mod rego_tests;
