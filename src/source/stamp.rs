//! Whether files have changed, without reading them.
//!
//! Looking, again and again, is right on every file system: also on network ones, and where a ConfigMap's `..data` link
//! is swapped far above the files. Two `stat` calls a file each time are some milliseconds for thousands of files.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::source::files;

/// What files look like from outside. Equal stamps: nothing was written, replaced, added or removed in between. The
/// time of the inode's change is part of it, which no program can set, so a file that was replaced by one of the same
/// size and date is seen too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stamp(Vec<(PathBuf, Option<Look>)>);

/// Device, inode, size, and the times of the content's and the inode's change.
type Look = (u64, u64, u64, (i64, i64), (i64, i64));

impl Stamp {
    pub(super) fn of<'a>(roots: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut seen = Vec::new();
        for root in roots {
            let mut unlisted = Vec::new();
            let found = files::walk(root, &mut unlisted);
            for path in found {
                let look = look(&path);
                seen.push((path, look));
            }
            seen.extend(unlisted.into_iter().map(|error| (PathBuf::from(error.file), None)));
        }
        Self(seen)
    }
}

fn look(path: &Path) -> Option<Look> {
    let m = fs::metadata(path).ok()?;
    Some((m.dev(), m.ino(), m.size(), (m.mtime(), m.mtime_nsec()), (m.ctime(), m.ctime_nsec())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn stamp(root: &Path) -> Stamp {
        // The clock of file systems moves every few milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(10));
        Stamp::of([root])
    }

    #[test]
    fn every_change_of_a_directory_is_seen() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path();
        fs::write(root.join("a.rego"), "package a").expect("written");
        let mut seen = stamp(root);
        assert_eq!(seen, stamp(root));
        let mut changed = |what: &str, change: &dyn Fn()| {
            change();
            let now = stamp(root);
            assert_ne!(seen, now, "{what}");
            seen = now;
        };
        changed("rewritten", &|| fs::write(root.join("a.rego"), "package b").expect("written"));
        changed("added", &|| fs::write(root.join("b.rego"), "package b").expect("written"));
        changed("renamed", &|| fs::rename(root.join("b.rego"), root.join("c.rego")).expect("renamed"));
        changed("replaced", &|| fs::rename(root.join("c.rego"), root.join("a.rego")).expect("renamed"));
        changed("with the old date", &|| {
            let before = fs::metadata(root.join("a.rego")).expect("there").modified().expect("a date");
            fs::write(root.join("a.rego"), "package c").expect("written");
            let file = fs::File::options().write(true).open(root.join("a.rego")).expect("opens");
            file.set_modified(before).expect("set");
        });
        changed("removed", &|| fs::remove_file(root.join("a.rego")).expect("removed"));
    }

    #[test]
    fn a_swapped_configmap_is_seen() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path();
        for (version, text) in [("..1", "package a"), ("..2", "package b")] {
            fs::create_dir(root.join(version)).expect("a directory");
            fs::write(root.join(version).join("a.rego"), text).expect("written");
        }
        symlink("..1", root.join("..data")).expect("linked");
        symlink("..data/a.rego", root.join("a.rego")).expect("linked");
        let before = stamp(root);
        assert_eq!(before.0.len(), 1, "hidden entries are the mount's own: {before:?}");
        symlink("..2", root.join("..data_tmp")).expect("linked");
        fs::rename(root.join("..data_tmp"), root.join("..data")).expect("swapped");
        assert_ne!(before, stamp(root));
    }
}
