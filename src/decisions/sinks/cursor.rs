//! How far a sink is, on disk: so that it goes on there after a restart, whatever ended the process. Knows one small
//! file; must not know records.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::decisions::{Disk, LogError, Storage};

/// A place in a log, and what was about to be sent from there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The log.
    pub origin: String,
    /// The first record that was not delivered yet.
    pub next: u64,
    /// The end (exclusive) of what is being sent: sent again after a crash, it is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Records that the log had deleted before they were delivered.
    #[serde(default)]
    pub lost: u64,
    /// Where they go, as a digest: names of sinks that nobody named change with the order of the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Whether somebody gave the sink its name.
    #[serde(default)]
    pub named: bool,
    /// The leaf of the last record that was delivered: another log of the same name has another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf: Option<String>,
    /// The first record that was delivered, maybe, without a record in the log that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<u64>,
}

/// The file of one sink.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    path: PathBuf,
}

impl Cursor {
    /// Of the sink `name`, below the directory of all cursors.
    pub(super) fn new(dir: &Path, name: &str) -> Self {
        Self { path: dir.join(format!("{name}.json")) }
    }

    /// Cursors of other sinks, as far as they can be read.
    pub(super) fn others(&self) -> Vec<Progress> {
        let dir = self.path.parent().and_then(|dir| fs::read_dir(dir).ok());
        let paths = dir.into_iter().flatten().flatten().map(|entry| entry.path());
        let others = paths.filter(|p| *p != self.path && p.extension().is_some_and(|e| e == "json"));
        others.filter_map(|p| serde_json::from_slice(&fs::read(p).ok()?).ok()).collect()
    }

    /// What was saved; nothing at the first start.
    pub(super) fn load(&self) -> Result<Option<Progress>, LogError> {
        match fs::read(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(LogError::io("read", &self.path, &e)),
            // A cursor that cannot be read would be a new sink: everything is sent once more, nothing is left out.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        }
    }

    /// Saves it, on the disk when this returns.
    pub(super) fn save(&self, progress: &Progress) -> Result<(), LogError> {
        let bytes = serde_json::to_vec(progress).unwrap_or_default();
        let fault = |e: io::Error| LogError::io("write", &self.path, &e);
        Disk.replace(&self.path, &bytes).map_err(fault)?;
        File::open(&self.path).and_then(|f| f.sync_all()).map_err(fault)
    }
}
