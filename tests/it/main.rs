//! One integration binary: behaviour through the public surfaces.
mod engine;
mod rego_tests;
