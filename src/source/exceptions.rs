//! Exceptions from files. They count from the paths that were named for them, and from nowhere else.

use std::path::{Path, PathBuf};

use crate::policy::gatekeeper::Document;
use crate::policy::{LoadError, PolicyException, Sources};
use crate::source::files;

/// Reads a file or a directory of `PolicyException` documents.
pub(super) fn read(root: &Path, sources: &mut Sources, errors: &mut Vec<LoadError>) {
    if !root.exists() {
        errors.push(LoadError::new(root.display().to_string(), "io", "there is no such file or directory"));
        return;
    }
    for path in files::walk(root, errors) {
        if !files::has_extension(&path, &["yaml", "yml", "json"]) {
            if path == root {
                errors.push(LoadError::new(path.display().to_string(), "io", "neither `.yaml` nor `.json`"));
            }
            continue;
        }
        match files::text(&path) {
            Err(e) => errors.push(e),
            Ok(text) => take(&path.display().to_string(), &text, sources, errors),
        }
    }
}

/// Takes one file.
fn take(path: &str, text: &str, sources: &mut Sources, errors: &mut Vec<LoadError>) {
    let documents = match Document::parse_all(path, text) {
        Ok(documents) => documents,
        Err(e) => return errors.push(e),
    };
    for document in documents {
        // A slip in `apiVersion` or `kind` must not pass for "no exception was approved".
        if !PolicyException::is_one(&document) {
            let message = "not a `PolicyException` of portcullis.io/v1alpha1: nothing else is read from this place";
            errors.push(document.fault("exception", message));
            continue;
        }
        match PolicyException::read(&document) {
            Err(e) => errors.push(e),
            Ok(exception) => match sources.exceptions.iter().find(|e| e.name == exception.name) {
                Some(other) => {
                    let message = format!("exception `{}` stands in `{}` too", other.name, other.document.file);
                    errors.push(document.fault_at("exception", &["metadata", "name"], message));
                }
                None => sources.exceptions.push(exception),
            },
        }
    }
}

/// Whether `path` lies in the place for exceptions, which may be a folder among the policies.
pub(super) fn holds(roots: &[PathBuf], path: &Path) -> bool {
    roots.iter().any(|root| root.canonicalize().is_ok_and(|r| path.canonicalize().is_ok_and(|p| p.starts_with(r))))
}
