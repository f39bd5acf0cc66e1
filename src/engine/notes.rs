//! What can be told of a policy set that is valid and most likely not what was meant.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::engine::Location;
use crate::engine::check::{Package, may_reach};
use crate::engine::compile::RULES;
use crate::engine::syntax::Reference;
use crate::policy::{LoadError, nearest};

/// Documents that nobody brings along but the user, whatever else is loaded.
const OPTIONAL_DOCUMENTS: [&str; 2] = ["inventory", "tenants"];

/// References to documents that neither a package nor the data has: misspelt they are undefined, and what depends on
/// them never holds. Documents may be meant to be optional, so these are notes; without any data only imports count.
pub(crate) fn absent_documents(
    packages: &BTreeMap<Vec<String>, Package<'_>>,
    data: &Map<String, Value>,
) -> Vec<LoadError> {
    let of_rules = packages.values().flat_map(Package::rules).flat_map(|r| r.references.iter());
    let imports = packages.values().flat_map(|p| p.modules.iter()).flat_map(|m| m.info.imports.iter());
    let mut notes = Vec::new();
    for reference in imports.chain(of_rules.filter(|_| !data.is_empty())).filter(|r| r.root == "data") {
        let Some(Some(first)) = reference.steps.first() else { continue };
        let known = OPTIONAL_DOCUMENTS.contains(&first.as_str())
            || data.contains_key(first)
            || packages.keys().any(|p| may_reach(&reference.steps, p));
        if !known {
            let path: Vec<&str> = reference.steps.iter().map_while(Option::as_deref).collect();
            let message = format!("`data.{}` is in no package and in no data file", path.join("."));
            let at = &reference.at;
            notes.push(LoadError::new(&at.file, "absent", message).at(at.line, at.column));
        }
    }
    notes.sort();
    notes.dedup();
    notes
}

/// What is valid and most likely not what was meant: a rule whose name is nearly one that is read, and
/// `input.namespace.metadata`, where `input.namespace` is the metadata already.
pub(crate) fn likely_slips(packages: &BTreeMap<Vec<String>, Package<'_>>) -> Vec<LoadError> {
    let read: Vec<&str> = RULES.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let mut notes = Vec::new();
    for rule in packages.values().filter(|p| p.is_policy()).flat_map(Package::rules) {
        let mut note = |at: &Location, message: String| {
            notes.push(LoadError::new(&at.file, "slip", message).at(at.line, at.column));
        };
        let name = rule.name.as_str();
        if let Some(near) = nearest(name, read.iter().copied()).filter(|n| *n != name && !rule.is_function) {
            note(&rule.at, format!("nobody reads the rule `{name}`; did you mean `{near}`?"));
        }
        let metadata = |r: &&Reference| {
            let steps: Vec<Option<&str>> = r.steps.iter().take(2).map(Option::as_deref).collect();
            r.root == "input" && steps == [Some("namespace"), Some("metadata")]
        };
        for reference in rule.references.iter().filter(metadata) {
            let message = "`input.namespace` is the namespace's metadata: write `input.namespace.labels`".to_owned();
            note(&reference.at, message);
        }
    }
    notes.sort();
    notes.dedup();
    notes
}
