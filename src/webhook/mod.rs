//! What a cluster needs to call the webhook: registration, an own authority, serving certificates, their Secret.
//!
//! Knows the registration API, X.509, PEM and where files lie. Must not know sockets or the wall clock: `now` is an
//! argument.

mod authority;
mod error;
mod files;
mod manifest;
mod registration;

pub use authority::{Authority, KeyPem, Pair};
pub use error::CertificateError;
pub use files::{ServingFiles, ensure, write_private};
pub use manifest::{ca_bundle, secret};
pub use registration::{RegistrationOptions, Target, mutating, taking_the_cluster, validating};
