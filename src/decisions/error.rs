//! What can go wrong with the decision log. Every message is for the person who runs the server or reads the log.

use std::io;
use std::path::{Path, PathBuf};

use crate::tlog::TlogError;

/// Why a log could not be opened, written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Another process writes it.
    #[error("the decision log `{dir}` is in use by another process; one process writes a log", dir = dir.display())]
    Locked {
        /// The log directory.
        dir: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot {action} `{path}`: {message}", path = path.display())]
    Io {
        /// What was tried, such as `write`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        message: String,
        /// Its kind, such as `StorageFull`.
        kind: io::ErrorKind,
    },
    /// As many decisions wait for the disk as may wait.
    #[error("the decision log does not keep up: {waiting} decisions wait to be written")]
    Backpressure {
        /// How many wait.
        waiting: usize,
    },
    /// It was not written in time.
    #[error("the decision was not written to the log in time")]
    Deadline,
    /// The log was closed, or its writer is gone.
    #[error("the decision log is closed")]
    Closed,
    /// The mask key's file holds something else.
    #[error("`{file}` is no mask key: it must hold 64 hex digits", file = file.display())]
    MaskKey {
        /// The file.
        file: PathBuf,
    },
    /// The signing key's file holds something else.
    #[error("`{file}` is no signing key: it must hold an Ed25519 private key as PKCS #8 PEM, or 64 hex digits", file = file.display())]
    SigningKey {
        /// The file.
        file: PathBuf,
    },
    /// The directory is no longer where it was.
    #[error("the decision log's file `{path}` is gone: its directory was removed or replaced", path = path.display())]
    Gone {
        /// The file that is written.
        path: PathBuf,
    },
    /// No checkpoint covers the record yet.
    #[error(
        "record {seq} is not signed yet: the latest checkpoint covers {size} records; a running server signs every second"
    )]
    Unsigned {
        /// The record.
        seq: u64,
        /// What the checkpoint covers.
        size: u64,
    },
    /// A record is not the one that was signed.
    #[error(
        "record {seq} is not the one that was signed, so nothing can be proven of it; see `portcullis decisions verify`"
    )]
    Altered {
        /// Its number.
        seq: u64,
    },
    /// A checkpoint, tile or key is not what it should be.
    #[error(transparent)]
    Tree(#[from] TlogError),
    /// A legal hold cannot be placed or released.
    #[error("{message}")]
    Hold {
        /// Why not.
        message: String,
    },
    /// Something is under legal hold.
    #[error("{what} is under legal hold `{name}`: nothing was erased; release the hold first, or leave it out")]
    Held {
        /// What.
        what: String,
        /// The hold.
        name: String,
    },
    /// An erasure that cannot be done as it was asked for.
    #[error("{message}")]
    Erasure {
        /// Why not.
        message: String,
    },
    /// Files changed while they were worked on.
    #[error("the decision log changed meanwhile; try again")]
    Changed,
    /// An option is out of range.
    #[error("`{option}`: {message}")]
    Option {
        /// The option.
        option: &'static str,
        /// What is allowed.
        message: String,
    },
    /// The working file of a join or an index could not be used.
    #[error("the working file: {message}")]
    Work {
        /// What SQLite said.
        message: String,
    },
    /// A question to an index that it cannot answer.
    #[error("the query: {message}; `.schema` prints the tables and their columns")]
    Query {
        /// What SQLite said of it.
        message: String,
    },
    /// A file in the log directory has a name that no segment has, or contents that no record has.
    #[error("`{path}` is not part of a decision log: {message}", path = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

impl From<rusqlite::Error> for LogError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Work { message: error.to_string() }
    }
}

impl LogError {
    pub(super) fn io(action: &'static str, path: &Path, error: &io::Error) -> Self {
        Self::Io { action, path: path.to_path_buf(), message: error.to_string(), kind: error.kind() }
    }

    /// A stable, machine-readable name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "locked",
            Self::Io { .. } => "io",
            Self::Backpressure { .. } => "backpressure",
            Self::Deadline => "deadline",
            Self::Closed => "closed",
            Self::MaskKey { .. } => "mask_key",
            Self::SigningKey { .. } => "signing_key",
            Self::Gone { .. } => "gone",
            Self::Unsigned { .. } => "unsigned",
            Self::Altered { .. } => "altered",
            Self::Tree(error) => error.code(),
            Self::Hold { .. } => "hold",
            Self::Held { .. } => "held",
            Self::Erasure { .. } => "erasure",
            Self::Changed => "changed",
            Self::Option { .. } => "option",
            Self::Work { .. } => "work",
            Self::Query { .. } => "query",
            Self::Foreign { .. } => "foreign",
        }
    }

    /// Whether the disk is full.
    #[must_use]
    pub fn is_full_disk(&self) -> bool {
        matches!(
            self,
            Self::Io {
                kind: io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge,
                ..
            }
        )
    }
}
