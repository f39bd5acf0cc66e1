//! Policies from files: `.rego`, and documents of `portcullis.io` and of Gatekeeper in YAML or JSON beside them.

use std::path::{Path, PathBuf};

use crate::policy::gatekeeper::Document;
use crate::policy::{LoadError, PolicyBinding, SourceFile, Sources, nearest};
use crate::source::{exceptions, files};

/// Reads a file or a directory. A file named outright must be a policy or a document; in a directory, others are
/// passed over, and so is what is among the `exceptions`.
pub(super) fn read(root: &Path, exceptions: &[PathBuf], sources: &mut Sources, errors: &mut Vec<LoadError>) {
    if !root.exists() {
        errors.push(LoadError::new(root.display().to_string(), "io", "there is no such file or directory"));
        return;
    }
    for path in files::walk(root, errors) {
        if exceptions::holds(exceptions, &path) {
            continue;
        }
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
                    } else if document.group() == "portcullis.io" {
                        take_document(&document, sources, errors);
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

fn take_document(document: &Document, sources: &mut Sources, errors: &mut Vec<LoadError>) {
    match document.kind() {
        "PolicyBinding" => match PolicyBinding::read(document) {
            Err(e) => errors.push(e),
            Ok(binding) => match sources.bindings.iter().find(|b| b.name == binding.name) {
                Some(other) => {
                    let message = format!("it stands in `{}` too", other.document.file);
                    errors.push(binding.fault_at(&["metadata", "name"], &message));
                }
                None => sources.bindings.push(binding),
            },
        },
        // Whoever may write policies has not been told to approve exceptions.
        "PolicyException" => {
            let name = document.name();
            let message = format!(
                "exception `{name}` does not count from here: exceptions are read from where `--exceptions` points, \
                 and from nowhere else; move it there"
            );
            errors.push(document.fault("exception", message));
        }
        // What `test` reads.
        "Suite" | "Config" => {}
        // Taking it for nothing would refuse what somebody approved, or worse, let them believe it counts.
        kind => {
            let near = nearest(kind, ["PolicyBinding", "Suite", "Config"].into_iter());
            let near = near.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
            errors.push(document.fault("document", format!("`{kind}` of portcullis.io is not known here{near}")));
        }
    }
}
