//! Where policies and data come from: files, directories, bundles near and far, and the copies inside the binary.
//!
//! Knows paths and file formats; must not know how policies are judged or who asks.

mod bundle;
mod cases;
mod data;
mod exceptions;
mod files;
mod kube_mgmt;
mod places;
mod policies;
mod policy_cases;
mod remote;
mod shipped;
mod stamp;
mod suites;

use std::path::{Path, PathBuf};

pub use bundle::{BundleBuilt, Manifest, Signing, build};
pub use cases::{LoadedCases, case_suites};
pub use places::Places;
pub use policy_cases::{example_data, policy_cases};
pub(crate) use remote::is_loopback;
pub use remote::{FallBack, Polled, RemoteOptions, Remotes};
pub use stamp::Stamp;
pub use suites::{LoadedSuite, suites};

use crate::policy::{LoadError, Sources};
use crate::source::data::Reading;

/// What to load.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Files and directories of policies and bindings, bundles (`.tar.gz`, `https://..`, `oci://..`). Empty: `./policies` if it holds any policy, else the shipped
    /// ones.
    pub policies: Vec<PathBuf>,
    /// Files and directories of data, read as `opa run` reads them; Kubernetes manifests become `data.inventory`.
    pub data: Vec<PathBuf>,
    /// Files and directories of exceptions: the only place that they count from.
    pub exceptions: Vec<PathBuf>,
    /// Whether the shipped example data stands in where `data` is empty and no bundle brings any.
    pub example_data: bool,
    /// How bundles are fetched and whom they must be from.
    pub bundles: BundleOptions,
}

/// Which bundles are taken.
#[derive(Debug, Clone, Default)]
pub struct BundleOptions {
    /// File with the key that bundles must be signed with: PEM, a JWK, or a shared secret. Without one signatures are not
    /// looked at.
    pub key: Option<PathBuf>,
    /// Name that the key must have where a signature names one.
    pub key_id: Option<String>,
    /// `scope` that signatures must have.
    pub scope: Option<String>,
    /// How those are fetched that others serve.
    pub remote: RemoteOptions,
}

/// Sources with where they came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Everything found.
    pub sources: Sources,
    /// For people: one line a place.
    pub from: Vec<String>,
    /// What was passed over.
    pub notes: Vec<LoadError>,
}

/// Reads everything that `options` name, once.
///
/// # Errors
/// Everything that is wrong, of all files.
pub fn load(options: &LoadOptions) -> Result<Loaded, Vec<LoadError>> {
    Places::choose(options).fetch_and_load()
}

/// Reads what a query is run over: Rego and data as `opa eval --data` does, and more Rego.
///
/// # Errors
/// Everything that is wrong, of all files.
pub fn load_for_query(policies: &[PathBuf], data: &[PathBuf]) -> Result<Sources, Vec<LoadError>> {
    let mut errors = Vec::new();
    let mut sources = Sources::default();
    for path in policies {
        policies::read(path, &[], &mut sources, &mut errors);
    }
    for path in data {
        data::read(path, Reading::Rego, &mut sources, &mut errors);
    }
    sources.modules.sort_by(|a, b| a.path.cmp(&b.path));
    errors.sort();
    if errors.is_empty() { Ok(sources) } else { Err(errors) }
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
