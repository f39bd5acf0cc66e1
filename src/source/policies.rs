//! Policies from files: `.rego`, and documents of `portcullis.io` and of Gatekeeper in YAML or JSON beside them.

use std::path::Path;

use serde_json::Value;

use crate::policy::gatekeeper::Document;
use crate::policy::{LoadError, PolicyBinding, SourceFile, Sources};
use crate::source::files;

/// Reads a file or a directory. A file named outright must be a policy or a document; in a directory, others are
/// passed over.
pub(super) fn read(root: &Path, sources: &mut Sources, errors: &mut Vec<LoadError>) {
    if !root.exists() {
        errors.push(LoadError::new(root.display().to_string(), "io", "there is no such file or directory"));
        return;
    }
    for path in files::walk(root, errors) {
        let rego = files::has_extension(&path, &["rego"]);
        if !rego && !files::has_extension(&path, &["yaml", "yml", "json"]) {
            if path == root {
                errors.push(LoadError::new(path.display().to_string(), "io", "neither `.rego` nor `.yaml`"));
            }
            continue;
        }
        match files::text(&path) {
            Err(e) => errors.push(e),
            Ok(text) => take(&path.display().to_string(), text, sources, errors),
        }
    }
}

/// Takes one file by its name.
pub(super) fn take(path: &str, text: String, sources: &mut Sources, errors: &mut Vec<LoadError>) {
    if path.ends_with(".rego") {
        if !sources.modules.iter().any(|m| m.path == path) {
            sources.modules.push(SourceFile { path: path.to_owned(), text });
        }
    } else if holds_documents(&text) {
        match Document::parse_all(path, &text) {
            Err(e) => errors.push(e),
            Ok(documents) => {
                for document in documents {
                    if document.is_of_gatekeeper() {
                        sources.gatekeeper.push(document);
                    } else {
                        take_document(path, document.value, sources, errors);
                    }
                }
            }
        }
    }
}

/// Whether a text may hold documents of ours or of Gatekeeper.
pub(super) fn holds_documents(text: &str) -> bool {
    text.contains("portcullis.io/") || text.contains(".gatekeeper.sh/")
}

fn take_document(path: &str, document: Value, sources: &mut Sources, errors: &mut Vec<LoadError>) {
    let text = |key: &str| document.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    if !text("apiVersion").starts_with("portcullis.io/") {
        return;
    }
    match text("kind").as_str() {
        "PolicyBinding" => match PolicyBinding::from_document(path, document) {
            Err(e) => errors.push(e),
            Ok(binding) => match sources.bindings.iter().find(|b| b.name == binding.name) {
                Some(other) => {
                    let message = format!("binding `{}` stands in `{}` too", binding.name, other.file);
                    errors.push(LoadError::new(path, "binding", message));
                }
                None => sources.bindings.push(binding),
            },
        },
        "Config" => {}
        // Taking it for nothing would refuse what somebody approved, or worse, let them believe it counts.
        kind => errors.push(LoadError::new(path, "document", format!("`{kind}` of portcullis.io is not known here"))),
    }
}
