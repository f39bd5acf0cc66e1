//! Reading files and walking directories: sorted, bounded, hidden entries left out.

use std::fs;
use std::path::{Path, PathBuf};

use crate::policy::LoadError;

/// No policy or data file is longer.
const MAX_FILE_BYTES: usize = 64 << 20;

/// Directories are not followed deeper than this, so a loop of links ends.
const MAX_DEPTH: usize = 16;

/// All files below `root` (or `root` itself), sorted. Names that begin with a dot are left out, as `..data` in a
/// mounted ConfigMap.
pub(super) fn walk(root: &Path, errors: &mut Vec<LoadError>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if root.is_dir() {
        descend(root, 0, &mut found, errors);
    } else {
        found.push(root.to_owned());
    }
    found.sort();
    found
}

fn descend(dir: &Path, depth: usize, found: &mut Vec<PathBuf>, errors: &mut Vec<LoadError>) {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) => {
            errors.push(LoadError::new(dir.display().to_string(), "io", format!("cannot list: {e}")));
            return;
        }
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) => {
                errors.push(LoadError::new(dir.display().to_string(), "io", format!("cannot list: {e}")));
                continue;
            }
        };
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if path.is_dir() {
            if depth < MAX_DEPTH {
                descend(&path, depth + 1, found, errors);
            } else {
                // What is not looked at is not left out in silence: it may hold a policy.
                let message = format!("directories go more than {MAX_DEPTH} deep (or a link leads back up)");
                errors.push(LoadError::new(path.display().to_string(), "io", message));
            }
        } else {
            found.push(path);
        }
    }
}

/// The text of a file.
pub(super) fn text(path: &Path) -> Result<String, LoadError> {
    let bytes = bytes(path, MAX_FILE_BYTES)?;
    String::from_utf8(bytes).map_err(|_| LoadError::new(path.display().to_string(), "io", "the file is not UTF-8"))
}

/// The content of a file of at most so many bytes.
pub(super) fn bytes(path: &Path, most: usize) -> Result<Vec<u8>, LoadError> {
    let fault = |message: String| LoadError::new(path.display().to_string(), "io", message);
    let length = fs::metadata(path).map_err(|e| fault(format!("cannot read: {e}")))?.len();
    if usize::try_from(length).map_or(true, |length| length > most) {
        return Err(fault(format!("the file has {length} bytes; at most {most} are read")));
    }
    fs::read(path).map_err(|e| fault(format!("cannot read: {e}")))
}

/// Whether `path` ends in one of the extensions.
pub(super) fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e))
}

/// Whether there is any policy below `root`: a file of Rego, or a template of Gatekeeper.
pub(super) fn holds_policies(root: &Path) -> bool {
    let template = |p: &Path| {
        has_extension(p, &["yaml", "yml", "json"]) && text(p).is_ok_and(|t| t.contains("templates.gatekeeper.sh/"))
    };
    root.is_dir() && walk(root, &mut Vec::new()).iter().any(|p| has_extension(p, &["rego"]) || template(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_out_in_silence() {
        let root = tempfile::tempdir().expect("a directory");
        let deep = (0..=MAX_DEPTH).fold(root.path().to_owned(), |path, _| path.join("d"));
        fs::create_dir_all(&deep).expect("directories");
        fs::write(deep.join("p.rego"), "package p\n").expect("a file");
        let mut errors = Vec::new();
        assert!(walk(root.path(), &mut errors).is_empty());
        assert!(errors.iter().any(|e| e.message.contains("deep")), "{errors:?}");
    }
}
