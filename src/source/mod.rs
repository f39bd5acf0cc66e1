//! Where policies and data come from: files, directories, and the copies inside the binary.
//!
//! Knows paths and file formats; must not know how policies are judged or who asks.

mod cases;
mod data;
mod exceptions;
mod files;
mod policies;
mod shipped;
mod suites;

use std::path::{Path, PathBuf};

pub use cases::{LoadedCases, case_suites};
pub use suites::{LoadedSuite, suites};

use crate::policy::{LoadError, Sources};

/// What to load.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Files and directories of policies and bindings. Empty: `./policies` if it holds any policy, else the shipped
    /// ones.
    pub policies: Vec<PathBuf>,
    /// Files and directories of data, read as `opa run` reads them; Kubernetes manifests become `data.inventory`.
    pub data: Vec<PathBuf>,
    /// Files and directories of exceptions: the only place that they count from.
    pub exceptions: Vec<PathBuf>,
    /// Whether the shipped example data stands in where `data` is empty.
    pub example_data: bool,
}

/// Sources with where they came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Everything found.
    pub sources: Sources,
    /// For people: one line a place.
    pub from: Vec<String>,
}

/// Reads everything that `options` name.
///
/// # Errors
/// Everything that is wrong, of all files.
pub fn load(options: &LoadOptions) -> Result<Loaded, Vec<LoadError>> {
    let mut errors = Vec::new();
    let mut sources = Sources::default();
    let mut from = Vec::new();
    let local = Path::new("policies");
    let of_policies = [local.to_owned()];
    let roots = if options.policies.is_empty() { of_policies.as_slice() } else { &options.policies };
    if let Some(root) = roots.iter().find(|root| exceptions::holds(&options.exceptions, root)) {
        let message = "policies are not read from where `--exceptions` points: keep exceptions in a place of their own";
        errors.push(LoadError::new(root.display().to_string(), "exception", message));
    }
    if !options.policies.is_empty() {
        for path in &options.policies {
            policies::read(path, &options.exceptions, &mut sources, &mut errors);
            from.push(format!("policies: {}", path.display()));
        }
    } else if files::holds_policies(local) {
        policies::read(local, &options.exceptions, &mut sources, &mut errors);
        from.push("policies: policies (in the current directory)".to_owned());
    } else {
        shipped::policies(&mut sources, &mut errors);
        from.push("policies: the shipped ones, inside the binary".to_owned());
    }
    if !options.data.is_empty() {
        for path in &options.data {
            data::read(path, &mut sources, &mut errors);
            from.push(format!("data: {}", path.display()));
        }
    } else if options.example_data {
        let local = local.join("example-data");
        if options.policies.is_empty() && local.is_dir() {
            data::read(&local, &mut sources, &mut errors);
            from.push(format!("data: {} (the example: three tenants)", local.display()));
        } else {
            shipped::example_data(&mut sources, &mut errors);
            from.push("data: the shipped example (three tenants), inside the binary".to_owned());
        }
    }
    for path in &options.exceptions {
        exceptions::read(path, &mut sources, &mut errors);
        from.push(format!("exceptions: {}", path.display()));
    }
    sources.modules.sort_by(|a, b| a.path.cmp(&b.path));
    sources.bindings.sort_by(|a, b| a.name.cmp(&b.name));
    sources.exceptions.sort_by(|a, b| a.name.cmp(&b.name));
    errors.sort();
    if errors.is_empty() { Ok(Loaded { sources, from }) } else { Err(errors) }
}

/// The JSON and YAML files below `root`, sorted, or `root` itself: documents to judge.
///
/// # Errors
/// When `root` is not there.
pub fn document_files(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    std::fs::metadata(root)?;
    let files = files::walk(root, &mut Vec::new());
    Ok(files.into_iter().filter(|p| p == root || files::has_extension(p, &["yaml", "yml", "json"])).collect())
}
