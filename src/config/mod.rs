//! The configuration of `serve`: flags, environment and a YAML file laid over one another, then checked once.
//!
//! Knows names, defaults and what excludes what. Must not open sockets or start anything; what the process finds
//! around itself comes in as [`Environment`]. [`Settings`] is what people wrote, [`Options`] is what was meant.

mod anchors;
mod bundle;
mod error;
mod file;
mod options;
mod settings;
mod sinks;

pub use anchors::{AnchorSetting, WitnessSetting};
pub use bundle::BundleSettings;
pub use error::ConfigError;
pub use file::read;
pub use options::{Certificates, ClusterAccess, Environment, LogFormat, Options, SigningKeySource};
pub use settings::{FailureOverrides, Settings};
pub use sinks::SinkSettings;

#[cfg(test)]
mod tests;
