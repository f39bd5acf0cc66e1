//! OPA bundles: an archive of Rego and data with a manifest and, if somebody vouches for it, a signature.
//! <https://www.openpolicyagent.org/docs/management-bundles>
//!
//! Knows the format; must not know where the bytes came from.

mod archive;
mod build;
mod manifest;
mod signature;

use serde_json::Value;

pub(super) use archive::MAX_ARCHIVE_BYTES;
pub use build::{BundleBuilt, build};
pub use manifest::Manifest;
pub use signature::Signing;
pub(super) use signature::Verification;

use crate::engine;
use crate::policy::{LoadError, SourceFile, Sources};
use crate::source::data::Reading;
use crate::source::{data, policies};
use archive::Files;

/// A bundle that was opened: whole, within bounds, and signed by the right key if one was asked for.
#[derive(Debug)]
pub(super) struct Bundle {
    /// As messages show it.
    name: String,
    pub manifest: Manifest,
    /// Name of the key that signed it; `None` if nobody looked.
    pub signed_by: Option<String>,
    files: Files,
}

/// Whether a path looks like a bundle.
pub(super) fn is_bundle(path: &str) -> bool {
    path.ends_with(".tar.gz") || path.ends_with(".tgz")
}

impl Bundle {
    /// Opens a bundle. `name` is what messages call it.
    ///
    /// # Errors
    /// It is broken, too large, or not to be trusted.
    pub(super) fn open(name: &str, bytes: &[u8], verification: Option<&Verification>) -> Result<Self, LoadError> {
        let fault = |code: &'static str| {
            move |message: String| LoadError::new(name, code, format!("the bundle is refused: {message}"))
        };
        let files = archive::unpack(bytes).map_err(fault("bundle"))?;
        let signed_by = match verification {
            None => None,
            Some(with) => {
                let key = signature::verify(&files, with).map_err(fault("signature"))?;
                Some(key.unwrap_or_else(|| "the given key".to_owned()))
            }
        };
        if files.contains_key("patch.json") {
            let message = "it is a delta bundle; only whole ones are taken";
            return Err(fault("bundle")(message.to_owned()));
        }
        let manifest = files.get(".manifest").map_or_else(|| Ok(Manifest::default()), |text| Manifest::read(text));
        let manifest = manifest.map_err(fault("bundle"))?;
        Ok(Self { name: name.to_owned(), manifest, signed_by, files })
    }

    /// One line for people.
    pub(super) fn describe(&self) -> String {
        let revision = match self.manifest.revision.as_str() {
            "" => "no revision".to_owned(),
            revision => format!("revision {revision}"),
        };
        let signed = self.signed_by.as_ref().map(|key| format!(", signed by {key}")).unwrap_or_default();
        format!("policies: {} (bundle, {revision}{signed})", self.name)
    }

    /// What is in it and does nothing here.
    pub(super) fn notes(&self) -> Vec<LoadError> {
        let compiled = |path: &&String| path.ends_with("policy.wasm") || path.ends_with("plan.json");
        let note =
            |path: &String| LoadError::new(self.path(path), "wasm", "compiled policies are not run: passed over");
        self.files.keys().filter(compiled).map(note).collect()
    }

    fn path(&self, path: &str) -> String {
        format!("{}/{path}", self.name)
    }

    /// Takes all that is in it. Rego and data must be below the manifest's roots; documents of `portcullis.io` and of
    /// Gatekeeper are neither, and are taken wherever they stand.
    pub(super) fn take(&self, sources: &mut Sources, errors: &mut Vec<LoadError>) {
        let roots = self.manifest.roots();
        // Read a second time by itself, only where there is something to check.
        let mut own = Sources::default();
        let rooted = !roots.iter().any(String::is_empty);
        for (path, content) in &self.files {
            let shown = self.path(path);
            let text = || match String::from_utf8(content.clone()) {
                Ok(text) => Ok(text),
                Err(_) => Err(LoadError::new(self.path(path), "io", "the file is not UTF-8")),
            };
            let name = path.rsplit('/').next().unwrap_or(path);
            let text = match () {
                () if name.starts_with('.') => continue,
                () if name.ends_with(".rego") || is_document(name) => match text() {
                    Ok(text) => text,
                    Err(e) => {
                        errors.push(e);
                        continue;
                    }
                },
                () => continue,
            };
            if name.ends_with(".rego") {
                let source = SourceFile { path: shown.clone(), text };
                let version = self.manifest.rego_version(path);
                errors.extend(misplaced(&source, version, &roots));
                if let Some(version) = version {
                    sources.rego_versions.insert(shown, version);
                }
                sources.modules.push(source);
            } else if is_data(name) {
                let folders: Vec<String> = match path.rsplit_once('/') {
                    Some((folders, _)) => folders.split('/').map(str::to_owned).collect(),
                    None => Vec::new(),
                };
                data::take(&shown, &text, &folders, Reading::Manifests, sources, errors);
                if rooted {
                    data::take(&shown, &text, &folders, Reading::Manifests, &mut own, &mut Vec::new());
                }
            } else {
                policies::take(&shown, text, sources, errors);
            }
        }
        // Kubernetes manifests are the cluster's, not the bundle's.
        own.data.remove("inventory");
        if let Some(path) = manifest::outside(&roots, &Value::Object(own.data)) {
            let message = format!("the roots {roots:?} of its manifest do not hold the data at `{path}`");
            errors.push(LoadError::new(&self.name, "roots", message));
        }
    }
}

/// Whether a file of this name is data.
fn is_data(name: &str) -> bool {
    ["data.json", "data.yaml", "data.yml"].contains(&name)
}

fn is_document(name: &str) -> bool {
    [".json", ".yaml", ".yml"].iter().any(|end| name.ends_with(end))
}

fn misplaced(source: &SourceFile, version: Option<crate::policy::RegoVersion>, roots: &[String]) -> Option<LoadError> {
    if roots.iter().any(String::is_empty) {
        return None;
    }
    // What cannot be parsed is reported when it is compiled.
    let package = engine::package_of(source, version).ok()?.join("/");
    if roots.iter().any(|root| manifest::owns(root, &package)) {
        return None;
    }
    let message = format!("the roots {roots:?} of the bundle's manifest do not hold the package `{package}`");
    Some(LoadError::new(&source.path, "roots", message))
}

/// Packs files into an archive.
///
/// # Errors
/// A path that does not fit.
pub(super) fn pack(files: &std::collections::BTreeMap<String, Vec<u8>>) -> std::io::Result<Vec<u8>> {
    archive::pack(files)
}

/// Two bundles that own the same place: what one of them says there is not the whole truth.
pub(super) fn conflicts(bundles: &[Bundle]) -> Vec<LoadError> {
    let mut found = Vec::new();
    for (n, one) in bundles.iter().enumerate() {
        for other in bundles.iter().skip(n + 1) {
            let pairs = || {
                one.manifest
                    .roots()
                    .into_iter()
                    .flat_map(|a| other.manifest.roots().into_iter().map(move |b| (a.clone(), b)))
            };
            if let Some((a, b)) = pairs().find(|(a, b)| manifest::overlap(a, b)) {
                let message = format!("its root `{a}` overlaps with the root `{b}` of the bundle `{}`", other.name);
                found.push(LoadError::new(&one.name, "roots", message));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
