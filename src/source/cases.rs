//! Our own suites below a path, with the documents of the files that they name, relative to themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::policy::gatekeeper::Document;
use crate::policy::{CaseSuite, LoadError};
use crate::source::files;

/// A suite with what it names.
#[derive(Debug, Clone)]
pub struct LoadedCases {
    /// The suite.
    pub suite: CaseSuite,
    /// The one document of each file that it names, or why it cannot be had.
    pub files: BTreeMap<String, Result<Value, LoadError>>,
}

/// Reads all suites below the paths (none: below `./policies` if it holds policies), in the order of their files.
///
/// # Errors
/// Suites that are wrong in themselves.
pub fn case_suites(roots: &[PathBuf]) -> Result<Vec<LoadedCases>, Vec<LoadError>> {
    let mut errors = Vec::new();
    let mut found: Vec<LoadedCases> = Vec::new();
    let local = [PathBuf::from("policies")];
    let roots = if roots.is_empty() && files::holds_policies(Path::new("policies")) { &local } else { roots };
    for path in roots.iter().flat_map(|root| files::walk(root, &mut Vec::new())) {
        if !files::has_extension(&path, &["yaml", "yml", "json"])
            || found.iter().any(|f| *f.suite.file == *path.display().to_string())
        {
            continue;
        }
        match files::text(&path) {
            Ok(text) if text.contains("portcullis.io/") && text.contains("Suite") => {
                take(&path, &text, &mut found, &mut errors);
            }
            Ok(_) => {}
            Err(e) => errors.push(e),
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

fn take(path: &Path, text: &str, found: &mut Vec<LoadedCases>, errors: &mut Vec<LoadError>) {
    let documents = match Document::parse_all(&path.display().to_string(), text) {
        Ok(documents) => documents,
        Err(e) => return errors.push(e),
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    for document in documents.iter().filter(|d| CaseSuite::is_one(d)) {
        match CaseSuite::read(document) {
            Err(e) => errors.push(e),
            Ok(suite) => {
                let files = suite.references().map(|name| (name.to_owned(), read(&folder.join(name)))).collect();
                found.push(LoadedCases { suite, files });
            }
        }
    }
}

fn read(path: &Path) -> Result<Value, LoadError> {
    let file = path.display().to_string();
    let documents = Document::parse_all(&file, &files::text(path)?)?;
    match documents.as_slice() {
        [one] => Ok(one.value.clone()),
        many => Err(LoadError::new(file, "suite", format!("must hold one object, not {}", many.len()))),
    }
}
