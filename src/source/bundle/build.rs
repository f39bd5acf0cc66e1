//! Packing: a directory becomes a bundle, signed if a key is given, and opened again to see that it is one.

use std::path::Path;

use crate::policy::{LoadError, Sources};
use crate::source::bundle::archive::{self, Files};
use crate::source::bundle::{Bundle, Manifest, Signing, is_data, signature};
use crate::source::{files, policies, policy_cases};

/// A packed bundle.
#[derive(Debug)]
pub struct BundleBuilt {
    /// The archive: the same input gives the same bytes.
    pub archive: Vec<u8>,
    /// What it says of itself.
    pub manifest: Manifest,
    /// How many files it holds, its manifest and signature not counted.
    pub files: usize,
    /// JSON and YAML that nobody would read in a bundle, and that was left out.
    pub left_out: Vec<String>,
    /// What is in it, as it will be loaded.
    pub sources: Sources,
}

/// Packs the Rego and the documents and data below `root` that are read in bundles. `change` is told the manifest that is there, or an empty one.
///
/// # Errors
/// Everything that cannot be read, signed or would be refused when the bundle is loaded.
pub fn build(
    root: &Path,
    change: impl FnOnce(&mut Manifest),
    signing: Option<&Signing>,
) -> Result<BundleBuilt, Vec<LoadError>> {
    let one = |e: LoadError| vec![e];
    let name = root.display().to_string();
    if !root.is_dir() {
        return Err(one(LoadError::new(name, "io", "there is no such directory")));
    }
    let mut errors = Vec::new();
    let mut packed = Files::new();
    let mut left_out = Vec::new();
    for path in files::walk(root, &mut errors) {
        let inside = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        if files::has_extension(&path, &["rego", "json", "yaml", "yml"]) {
            match files::text(&path) {
                Ok(text) if is_read(&inside, &text) => drop(packed.insert(inside, text.into_bytes())),
                // Tests of the policies: nobody misses them.
                Ok(text) if policy_cases::is_case_file(&path, &text) => {}
                Ok(_) => left_out.push(inside),
                Err(e) => errors.push(e),
            }
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let count = packed.len();
    let fault = |code| move |message: String| one(LoadError::new(root.display().to_string(), code, message));
    let there = root.join(".manifest");
    let mut manifest = match there.is_file() {
        true => Manifest::read(files::text(&there).map_err(one)?.as_bytes()).map_err(fault("bundle"))?,
        false => Manifest::default(),
    };
    change(&mut manifest);
    if manifest != Manifest::default() {
        let text = serde_json::to_vec(&manifest).map_err(|e| fault("bundle")(e.to_string()))?;
        packed.insert(".manifest".to_owned(), text);
    }
    if let Some(signing) = signing {
        let signatures = signature::sign(&packed, signing).map_err(fault("signature"))?;
        packed.insert(signature::FILE.to_owned(), signatures);
    }
    let archive = archive::pack(&packed).map_err(|e| fault("io")(format!("cannot pack: {e}")))?;
    let bundle = Bundle::open(&name, &archive, None).map_err(one)?;
    let mut sources = Sources::default();
    bundle.take(&mut sources, &mut errors);
    if errors.is_empty() { Ok(BundleBuilt { archive, manifest, files: count, left_out, sources }) } else { Err(errors) }
}

/// Whether anything in the file would count in a bundle.
fn is_read(path: &str, text: &str) -> bool {
    path.ends_with(".rego") || is_data(path.rsplit('/').next().unwrap_or(path)) || policies::holds_documents(text)
}
