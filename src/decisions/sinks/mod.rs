//! Sinks: copies of the log for others. Each follows the log's own files on a thread of its own, so the log is its queue
//! and its spill, and no sink can lose a record or hold up an answer: what a sink has not taken yet stays where it is.
//!
//! Only what is signed and on the disk leaves, so nothing was ever told that the log does not have. A sink goes on where
//! it stopped, whatever stopped it (at least once); what the log deleted before the sink was there is counted. Must not
//! know HTTP servers or configuration files.

mod chunks;
mod cursor;
mod event;
mod format;
mod http;
#[cfg(feature = "kafka")]
mod kafka;
mod objects;
mod otlp;
mod parquet;
mod place;
mod reading;
mod run;
mod spec;

use std::time::Duration;

pub use event::Event;
pub use format::{Format, Provenance, provenance_of};
pub(in crate::decisions) use format::{NativeParts, native_text};
pub(in crate::decisions) use objects::Objects;
pub(in crate::decisions) use parquet::{Row as ParquetRow, read as read_parquet};
pub use run::{Observer, Sinks, SinksOptions};
pub use spec::{SinkSpec, Target};

/// Why something could not be delivered, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No connection, or it broke.
    Network,
    /// The service asks to come back later.
    Busy,
    /// It does not know us.
    Denied,
    /// It says that it failed.
    Server,
    /// It does not take what it was given.
    Refused,
    /// It does not take so much.
    TooLarge,
    /// It must not be given this again.
    Unfit,
    /// Something of ours: a file, the log.
    Local,
}

impl Reason {
    /// All.
    pub const ALL: [Self; 8] = [
        Self::Network,
        Self::Busy,
        Self::Denied,
        Self::Server,
        Self::Refused,
        Self::TooLarge,
        Self::Unfit,
        Self::Local,
    ];

    /// The name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Busy => "busy",
            Self::Denied => "denied",
            Self::Server => "server",
            Self::Refused => "refused",
            Self::TooLarge => "too_large",
            Self::Unfit => "unfit",
            Self::Local => "local",
        }
    }
}

/// Why something could not be delivered; it is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub reason: Reason,
    pub message: String,
    /// When the service wants to be asked again.
    pub after: Option<Duration>,
}

impl Failure {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), after: None }
    }
}

/// What became of a batch.
pub(super) struct Sent {
    /// Events from the first on that need not be sent again.
    pub delivered: usize,
    /// Of these, what the service would not take.
    pub refused: u64,
    pub failure: Option<Failure>,
}

impl Sent {
    /// All of them, with what was refused, or none.
    fn all_or(count: usize, result: Result<u64, Failure>) -> Self {
        match result {
            Ok(refused) => Self { delivered: count, refused, failure: None },
            Err(failure) => Self { delivered: 0, refused: 0, failure: Some(failure) },
        }
    }
}
