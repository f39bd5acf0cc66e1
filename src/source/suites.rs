//! Gatekeeper's suites below a path, with the files that they name, relative to themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::policy::gatekeeper::{Document, Suite};
use crate::policy::{LoadError, SourceFile};
use crate::source::files;

/// A suite with the contents of the files that it names.
#[derive(Debug, Clone)]
pub struct LoadedSuite {
    /// The suite.
    pub suite: Suite,
    /// What it names, or why that cannot be read.
    pub files: BTreeMap<String, Result<SourceFile, LoadError>>,
}

/// Reads all suites below the paths (none: below `./policies` if it holds policies), in the order of their files.
///
/// # Errors
/// Suites that are wrong in themselves.
pub fn suites(roots: &[PathBuf]) -> Result<Vec<LoadedSuite>, Vec<LoadError>> {
    let mut errors = Vec::new();
    let mut found = Vec::new();
    let local = [PathBuf::from("policies")];
    let roots = if roots.is_empty() && files::holds_policies(Path::new("policies")) { &local } else { roots };
    for root in roots {
        for path in files::walk(root, &mut errors) {
            if files::has_extension(&path, &["yaml", "yml", "json"]) {
                match files::text(&path) {
                    Ok(text) => take(&path, &text, &mut found, &mut errors),
                    Err(e) => errors.push(e),
                }
            }
        }
    }
    found.sort_by(|a, b| (&a.suite.file, a.suite.line).cmp(&(&b.suite.file, b.suite.line)));
    found.dedup_by(|a, b| (&a.suite.file, a.suite.line) == (&b.suite.file, b.suite.line));
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

fn take(path: &Path, text: &str, found: &mut Vec<LoadedSuite>, errors: &mut Vec<LoadError>) {
    if !text.contains("test.gatekeeper.sh/") {
        return;
    }
    let suites = Document::parse_all(&path.display().to_string(), text).and_then(|documents| {
        documents.iter().filter(|d| Suite::is_one(d)).map(Suite::read).collect::<Result<Vec<_>, _>>()
    });
    let folder = path.parent().unwrap_or(Path::new(""));
    match suites {
        Err(e) => errors.push(e),
        Ok(suites) => found.extend(suites.into_iter().map(|suite| {
            let files = suite.references().filter(|r| !r.is_empty()).map(|r| (r.to_owned(), read(folder, r))).collect();
            LoadedSuite { suite, files }
        })),
    }
}

fn read(folder: &Path, name: &str) -> Result<SourceFile, LoadError> {
    let path = folder.join(name);
    let text = files::text(&path)?;
    Ok(SourceFile { path: path.display().to_string(), text })
}
