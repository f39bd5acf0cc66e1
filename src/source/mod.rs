//! Where policies and data come from: files, directories, and the copies inside the binary.
//!
//! Knows paths and file formats; must not know how policies are judged or who asks.

mod data;
mod files;
mod places;
mod policies;
mod shipped;
mod stamp;
mod suites;

use std::path::{Path, PathBuf};

pub use places::Places;
pub use stamp::Stamp;
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

/// Reads everything that `options` name, once.
///
/// # Errors
/// Everything that is wrong, of all files.
pub fn load(options: &LoadOptions) -> Result<Loaded, Vec<LoadError>> {
    Places::choose(options).load()
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
