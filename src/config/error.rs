//! What can be wrong with the configuration. Messages name the flag, which is also the key in the file.

use std::path::PathBuf;

use crate::policy::LoadError;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file of `--config` cannot be read.
    #[error("--config: cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a configuration; prints as `file:line:column: message`.
    #[error("{0}")]
    File(#[from] LoadError),
    /// A value that cannot be right.
    #[error("--{flag}: {message}")]
    Value {
        /// The flag, without dashes.
        flag: &'static str,
        /// What is wrong and what to write.
        message: String,
    },
}

impl ConfigError {
    pub(super) fn value(flag: &'static str, message: impl Into<String>) -> Self {
        Self::Value { flag, message: message.into() }
    }
}
