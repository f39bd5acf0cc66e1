//! Append-only files as the log needs them, and the local disk as one place to have them. Knows bytes and paths; must
//! not know records.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where segments live. Everything the writer does to files goes through here.
pub trait Storage: Send + Sync + 'static {
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

    /// Makes `bytes` the content of `path`, all of them or none; makes its directories (owner only) if they are not
    /// there. Does not wait for the disk.
    ///
    /// # Errors
    /// Whatever the system says.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Deletes the file or the directory `path` with all that is in it; fine if it is not there. Does not wait for the
    /// disk.
    ///
    /// # Errors
    /// Whatever the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Returns once what is at `path` survives a loss of power: what a file holds, which names a directory has.
    ///
    /// # Errors
    /// Whatever the system says.
    fn sync(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    /// Puts the file `from` in the place of `to`, and returns once that survives a loss of power.
    ///
    /// # Errors
    /// Whatever the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        to.parent().map_or(Ok(()), |dir| self.sync(dir))
    }
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

    /// Whether the name that it was opened by still leads to it.
    ///
    /// # Errors
    /// Whatever the system says.
    fn is_in_place(&self) -> io::Result<bool>;
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
        let made = file.metadata()?;
        Ok(Arc::new(DiskFile { file, path: path.to_path_buf(), identity: (made.dev(), made.ino()) }))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            file.write_all(bytes)
        };
        let written = match (write(), path.parent()) {
            (Err(e), Some(dir)) if e.kind() == io::ErrorKind::NotFound => self.make_dir(dir).and_then(|()| write()),
            (other, _) => other,
        };
        written.and_then(|()| fs::rename(&draft, path)).inspect_err(|_| {
            // On a full disk half a file would take the little that is left.
            let _ = fs::remove_file(&draft);
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = match fs::remove_file(path) {
            // Linux says the one, POSIX the other.
            Err(e)
                if matches!(e.kind(), io::ErrorKind::IsADirectory | io::ErrorKind::PermissionDenied)
                    && path.is_dir() =>
            {
                fs::remove_dir_all(path)
            }
            other => other,
        };
        match removed {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// A file opened for appending, so after a cut the next write goes to the new end.
struct DiskFile {
    file: File,
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl Appendable for DiskFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.file).write_all(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn is_in_place(&self) -> io::Result<bool> {
        match fs::metadata(&self.path) {
            Ok(named) => Ok((named.dev(), named.ino()) == self.identity),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_replaced_leaves_nothing() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("below/file");
        Disk.replace(&path, b"one").expect("replaced");
        assert_eq!(fs::read(&path).expect("read"), b"one");
        // A directory is in the way.
        fs::create_dir(dir.path().join("taken")).expect("made");
        assert!(Disk.replace(&dir.path().join("taken"), b"two").is_err());
        assert!(!dir.path().join("taken.new").exists());
    }
}
