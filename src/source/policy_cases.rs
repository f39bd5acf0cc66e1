//! Case files below a path: YAML in a folder `cases` that names a policy and its cases.

use std::path::{Path, PathBuf};

use crate::policy::{LoadError, PolicyCases};
use crate::source::files;

/// Reads all case files below the paths (none: below `./policies` if it holds policies), in the order of their names.
///
/// # Errors
/// Files that are wrong in themselves.
pub fn policy_cases(roots: &[PathBuf]) -> Result<Vec<PolicyCases>, Vec<LoadError>> {
    let mut errors = Vec::new();
    let mut found: Vec<PolicyCases> = Vec::new();
    let local = [PathBuf::from("policies")];
    let roots = if roots.is_empty() && files::holds_policies(Path::new("policies")) { &local } else { roots };
    for path in roots.iter().flat_map(|root| files::walk(root, &mut Vec::new())) {
        let file = path.display().to_string();
        if !may_be(&path) || found.iter().any(|f| f.file == file) {
            continue;
        }
        match files::text(&path) {
            Ok(text) if PolicyCases::is_one(&text) => match PolicyCases::read(&file, &text) {
                Ok(cases) => found.push(cases),
                Err(e) => errors.push(e),
            },
            Ok(_) => {}
            Err(e) => errors.push(e),
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// The folders `example-data` of the paths: what case files are judged with where no data is given.
#[must_use]
pub fn example_data(roots: &[PathBuf]) -> Vec<PathBuf> {
    let local = [PathBuf::from("policies")];
    let roots = if roots.is_empty() { &local } else { roots };
    roots.iter().map(|root| root.join("example-data")).filter(|folder| folder.is_dir()).collect()
}

/// Whether a file is one of cases.
pub(super) fn is_case_file(path: &Path, text: &str) -> bool {
    may_be(path) && PolicyCases::is_one(text)
}

fn may_be(path: &Path) -> bool {
    let folder = path.parent().and_then(Path::file_name);
    files::has_extension(path, &["yaml", "yml"]) && folder.is_some_and(|name| name == "cases")
}
