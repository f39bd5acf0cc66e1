//! Settings of bundles: the same for `serve` and for the commands of authors.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use crate::config::ConfigError;
use crate::source::{BundleOptions, RemoteOptions};
use crate::units::{Span, shown};

/// How bundles are fetched and whom they must be from. In the file they stand below `bundle`.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct BundleSettings {
    /// Bundles must be signed by this key: a file with PEM, a JWK, or a shared secret
    #[arg(
        id = "bundle_key",
        long = "bundle-key",
        env = "PORTCULLIS_BUNDLE_KEY",
        value_name = "FILE",
        help_heading = "Bundles"
    )]
    pub key: Option<PathBuf>,

    /// Name of that key, where a signature names one
    #[arg(
        id = "bundle_key_id",
        long = "bundle-key-id",
        env = "PORTCULLIS_BUNDLE_KEY_ID",
        value_name = "ID",
        help_heading = "Bundles"
    )]
    #[serde(alias = "key-id")]
    pub key_id: Option<String>,

    /// Scope that signatures must have [default: none]
    #[arg(
        id = "bundle_scope",
        long = "bundle-scope",
        env = "PORTCULLIS_BUNDLE_SCOPE",
        value_name = "SCOPE",
        help_heading = "Bundles"
    )]
    pub scope: Option<String>,

    /// File with a bearer token for bundles over HTTPS; it may change [or PORTCULLIS_BUNDLE_TOKEN has the token]
    #[arg(
        id = "bundle_token_file",
        long = "bundle-token-file",
        env = "PORTCULLIS_BUNDLE_TOKEN_FILE",
        value_name = "FILE",
        help_heading = "Bundles"
    )]
    #[serde(alias = "token-file")]
    pub token_file: Option<PathBuf>,

    /// Authorities that servers of bundles must be of, PEM [default: the system's]
    #[arg(
        id = "bundle_ca",
        long = "bundle-ca",
        env = "PORTCULLIS_BUNDLE_CA",
        value_name = "FILE",
        help_heading = "Bundles"
    )]
    pub ca: Option<PathBuf>,

    /// Take bundles in the clear also from other machines
    #[arg(
        id = "bundle_plain_http",
        long = "bundle-plain-http",
        env = "PORTCULLIS_BUNDLE_PLAIN_HTTP",
        help_heading = "Bundles"
    )]
    #[serde(alias = "plain-http")]
    pub plain_http: bool,

    /// How often servers of bundles are asked, give or take a tenth [default: 30s]
    #[arg(
        id = "bundle_poll",
        long = "bundle-poll",
        env = "PORTCULLIS_BUNDLE_POLL",
        value_name = "DURATION",
        help_heading = "Bundles"
    )]
    pub poll: Option<Span>,
}

/// Servers are asked at least this often, and at most that often.
const POLLS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(24 * 3600)];

impl BundleSettings {
    /// Lays these settings over those of a file.
    #[must_use]
    pub(super) fn over(self, file: Self) -> Self {
        Self {
            key: self.key.or(file.key),
            key_id: self.key_id.or(file.key_id),
            scope: self.scope.or(file.scope),
            token_file: self.token_file.or(file.token_file),
            ca: self.ca.or(file.ca),
            plain_http: self.plain_http || file.plain_http,
            poll: self.poll.or(file.poll),
        }
    }

    /// What was meant; good bundles are kept in `keep`.
    ///
    /// # Errors
    /// What has no effect as it stands.
    pub fn check(&self, keep: Option<PathBuf>) -> Result<BundleOptions, ConfigError> {
        for (flag, given) in [("bundle-key-id", &self.key_id), ("bundle-scope", &self.scope)] {
            if given.is_some() && self.key.is_none() {
                return Err(ConfigError::value(
                    flag,
                    "has no effect without --bundle-key: signatures are not looked at",
                ));
            }
        }
        Ok(BundleOptions {
            key: self.key.clone(),
            key_id: self.key_id.clone(),
            scope: self.scope.clone(),
            remote: RemoteOptions {
                token_file: self.token_file.clone(),
                ca: self.ca.clone(),
                plain_http: self.plain_http,
                keep,
            },
        })
    }

    /// How often servers are asked.
    ///
    /// # Errors
    /// Too often or too seldom.
    pub(super) fn poll(&self) -> Result<Duration, ConfigError> {
        let poll = self.poll.map_or(Duration::from_secs(30), |span| span.0);
        if poll < POLLS[0] || poll > POLLS[1] {
            return Err(ConfigError::value("bundle-poll", format!("`{}` is not within 1s and 24h", shown(poll))));
        }
        Ok(poll)
    }
}
