//! The policy sets that decided, kept by digest beside the log: so that a decision can be made again, and so that an
//! auditor can read the policy that a record names. Knows files and digests; how a set is compiled is `engine`'s business.
//!
//! `<log>/policies/<policy_set>.<data_digest>.json` names every file of a set by the digest of its content, and
//! `<log>/policies/content/<digest>.gz` holds that content. What sets share is there once. Nothing here is trusted: what
//! is read must have the digest that names it, and what is compiled from it the digests that the records name.

mod manifest;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use thiserror::Error;

use crate::decisions::{Disk, LogError, Storage};
use crate::engine::{CompileOptions, Snapshot, compile};
use crate::policy::{Digest, LoadError, Sources};
use manifest::Manifest;

/// A policy set by its digests, as records name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId {
    /// Digest of the policies.
    pub policy_set: Digest,
    /// Digest of the data documents.
    pub data_digest: Digest,
}

impl SetId {
    /// That of a compiled set.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        Self { policy_set: snapshot.policy_set(), data_digest: snapshot.data_digest() }
    }

    fn file_name(&self) -> String {
        format!("{}.{}.json", self.policy_set.hex(), self.data_digest.hex())
    }
}

/// Why a set cannot be had again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SetError {
    /// It was never kept, or was deleted to make room.
    #[error("its content is not kept beside the log")]
    Gone,
    /// It is not what was kept.
    #[error("what is kept of it is not what was kept: {0}")]
    Altered(String),
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(LogError),
    /// This program does not load it any more.
    #[error("this version does not load it: {0}")]
    Refused(String),
}

/// A set as it was kept.
#[derive(Debug, Clone)]
pub struct KeptSet {
    /// What it is compiled from.
    pub sources: Sources,
    /// How it was compiled.
    pub options: CompileOptions,
}

/// What keeping a set came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keeping {
    /// Older sets that were deleted to make room.
    pub dropped: Vec<String>,
}

/// The sets beside one log.
#[derive(Debug, Clone)]
pub struct PolicySets {
    dir: PathBuf,
}

impl PolicySets {
    /// Those beside the log in `log_dir`.
    #[must_use]
    pub fn beside(log_dir: &Path) -> Self {
        Self { dir: log_dir.join("policies") }
    }

    /// Keeps a set, on the disk when this returns; then deletes the oldest others until all take at most `most` bytes.
    ///
    /// # Errors
    /// [`LogError::Io`]; what was there before is still there.
    pub fn keep(&self, id: SetId, sources: &Sources, options: CompileOptions, most: u64) -> Result<Keeping, LogError> {
        let path = self.dir.join(id.file_name());
        let (manifest, contents) = Manifest::of(id, sources, options);
        for (digest, text) in contents {
            self.write_once(&self.content_path(digest), text.as_bytes())?;
        }
        let text = manifest.text();
        // The same digests can stand for other namespaces or limits: the latest counts.
        if fs::read_to_string(&path).ok().as_deref() == Some(text.as_str()) {
            touch(&path).map_err(|e| LogError::io("touch", &path, &e))?;
        } else {
            write(&path, text.as_bytes())?;
        }
        self.prune(&path, most)
    }

    /// What is kept of a set.
    ///
    /// # Errors
    /// [`SetError`].
    pub fn load(&self, id: SetId) -> Result<KeptSet, SetError> {
        let path = self.dir.join(id.file_name());
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(SetError::Gone),
            other => other.map_err(|e| SetError::Unreadable(LogError::io("read", &path, &e)))?,
        };
        let manifest = Manifest::read(&text).map_err(SetError::Altered)?;
        manifest.open(&|digest| self.content(digest))
    }

    /// Compiles a set as it was in force.
    ///
    /// # Errors
    /// [`SetError`]; also when the result has other digests than those it is kept by.
    pub fn compile(&self, id: SetId) -> Result<Snapshot, SetError> {
        let KeptSet { sources, options } = self.load(id)?;
        let compiled = compile(&sources, options).map_err(|errors| {
            let first = errors.first().map(LoadError::to_string).unwrap_or_default();
            SetError::Refused(first)
        })?;
        let found = SetId::of(&compiled.snapshot);
        if found != id {
            return Err(SetError::Altered(format!(
                "it has the digests {} and {}",
                found.policy_set, found.data_digest
            )));
        }
        Ok(compiled.snapshot)
    }

    fn content_path(&self, digest: Digest) -> PathBuf {
        self.dir.join("content").join(format!("{}.gz", digest.hex()))
    }

    fn content(&self, digest: Digest) -> Result<String, SetError> {
        let path = self.content_path(digest);
        let file = match File::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(SetError::Gone),
            other => other.map_err(|e| SetError::Unreadable(LogError::io("read", &path, &e)))?,
        };
        let mut text = String::new();
        // It ends at the size that no policy set passes: an altered file could unpack to anything.
        let read = GzDecoder::new(file).take(MOST_CONTENT).read_to_string(&mut text);
        let altered = || SetError::Altered(format!("the content {digest} has another digest"));
        read.map_err(|_| altered())?;
        if Digest::of(text.as_bytes()) == digest { Ok(text) } else { Err(altered()) }
    }

    fn write_once(&self, path: &Path, content: &[u8]) -> Result<(), LogError> {
        if path.exists() {
            return Ok(());
        }
        let packed = || {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(content)?;
            encoder.finish()
        };
        write(path, &packed().map_err(|e| LogError::io("write", path, &e))?)
    }

    /// Deletes the sets that were in force longest ago, and what no set needs, until there is room; never `latest`.
    fn prune(&self, latest: &Path, most: u64) -> Result<Keeping, LogError> {
        let fault = |e: io::Error| LogError::io("read", &self.dir, &e);
        let mut sets = Vec::new();
        let mut bytes = 0;
        for entry in fs::read_dir(&self.dir).map_err(fault)?.flatten() {
            let path = entry.path();
            let Ok(metadata) = entry.metadata() else { continue };
            if path.extension().is_some_and(|e| e == "json") {
                bytes += metadata.len();
                sets.push((metadata.modified().ok(), path, metadata.len()));
            }
        }
        let content = self.dir.join("content");
        let sizes = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|e| e.metadata().ok());
        bytes += sizes(&content).map(|m| m.len()).sum::<u64>();
        if bytes <= most {
            return Ok(Keeping::default());
        }
        sets.sort();
        let mut dropped = Vec::new();
        for (_, path, _) in sets.iter().filter(|(_, path, _)| path != latest) {
            if bytes <= most {
                break;
            }
            Disk.remove(path).map_err(|e| LogError::io("delete", path, &e))?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            dropped.push(format!("sha256:{}", name.split('.').next().unwrap_or_default()));
            self.sweep()?;
            bytes = sizes(&content).map(|m| m.len()).sum::<u64>();
        }
        Ok(Keeping { dropped })
    }

    /// Deletes content that no set names.
    fn sweep(&self) -> Result<(), LogError> {
        let mut needed = BTreeSet::new();
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if let Ok(text) = fs::read_to_string(entry.path())
                && let Ok(manifest) = Manifest::read(&text)
            {
                needed.extend(manifest.digests().map(|digest| self.content_path(digest)));
            }
        }
        for entry in fs::read_dir(self.dir.join("content")).into_iter().flatten().flatten() {
            let path = entry.path();
            if !needed.contains(&path) {
                Disk.remove(&path).map_err(|e| LogError::io("delete", &path, &e))?;
            }
        }
        Ok(())
    }
}

/// More than any content has: data documents are bounded by the memory of a replica.
const MOST_CONTENT: u64 = 1 << 30;

/// Makes `bytes` the content of `path`, on the disk when this returns.
fn write(path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    let fault = |e: io::Error| LogError::io("write", path, &e);
    Disk.replace(path, bytes).map_err(fault)?;
    File::open(path).and_then(|f| f.sync_all()).map_err(fault)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir).and_then(|f| f.sync_all())).map_err(fault)
}

/// Makes it the set that was in force last.
fn touch(path: &Path) -> io::Result<()> {
    File::options().append(true).open(path)?.set_modified(std::time::SystemTime::now())
}
