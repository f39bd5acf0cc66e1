//! Append-only files as the log needs them, and the local disk as one place to have them. Knows bytes and paths; must
//! not know records.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

/// Where segments live. Everything the writer does to files goes through here.
pub trait Storage: Send + 'static {
    /// Makes `dir` with its parents, for the owner only.
    ///
    /// # Errors
    /// Whatever the system says.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;

    /// Opens `path` for appending, making it (owner only, and the name durable) if it is not there.
    ///
    /// # Errors
    /// Whatever the system says.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn Appendable>>;

    /// Deletes `path`; fine if it is not there.
    ///
    /// # Errors
    /// Whatever the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// One file that only grows, except to take back a write that failed half way.
pub trait Appendable: Send + Sync {
    /// Appends all of `bytes`; on an error any part of them may be in the file.
    ///
    /// # Errors
    /// Whatever the system says.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Returns once everything appended before survives a loss of power.
    ///
    /// # Errors
    /// Whatever the system says; what was appended since the last success may be lost then.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file to `length` bytes.
    ///
    /// # Errors
    /// Whatever the system says.
    fn truncate(&self, length: u64) -> io::Result<()>;
}

/// The local file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Storage for Disk {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn Appendable>> {
        let new = !path.try_exists()?;
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        if new && let Some(dir) = path.parent() {
            // A file whose name is not durable is lost with all that was synced into it.
            File::open(dir)?.sync_all()?;
        }
        Ok(Arc::new(DiskFile(file)))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// A file opened for appending, so after a cut the next write goes to the new end.
struct DiskFile(File);

impl Appendable for DiskFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.0).write_all(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}
