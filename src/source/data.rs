//! Data from files, as `opa run` reads them: a file is merged at the root, a directory's files below the path of
//! their folders. Kubernetes manifests become `data.inventory`, in Gatekeeper's layout.

use std::path::Path;

use serde_json::{Map, Value};

use crate::policy::{LoadError, Sources, yaml};
use crate::source::files;

/// Reads a file or a directory.
pub(super) fn read(root: &Path, sources: &mut Sources, errors: &mut Vec<LoadError>) {
    if !root.exists() {
        errors.push(LoadError::new(root.display().to_string(), "io", "there is no such file or directory"));
        return;
    }
    for path in files::walk(root, errors) {
        if !files::has_extension(&path, &["yaml", "yml", "json"]) {
            if path == root {
                errors.push(LoadError::new(path.display().to_string(), "io", "neither `.json` nor `.yaml`"));
            }
            continue;
        }
        let folders: Vec<String> = path
            .parent()
            .and_then(|p| p.strip_prefix(root).ok())
            .map(|p| p.components().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect())
            .unwrap_or_default();
        match files::text(&path) {
            Err(e) => errors.push(e),
            Ok(text) => take(&path.display().to_string(), &text, &folders, sources, errors),
        }
    }
}

/// Takes one file: every document of it.
pub(super) fn take(path: &str, text: &str, folders: &[String], sources: &mut Sources, errors: &mut Vec<LoadError>) {
    let documents = if path.ends_with(".json") {
        serde_json::from_str::<Value>(text).map(|d| vec![d]).map_err(|e| {
            let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            LoadError::new(path, "json", e.to_string()).at(number(e.line()), number(e.column()))
        })
    } else {
        yaml::parse_all::<Value>(path, text)
    };
    match documents {
        Err(e) => errors.push(e),
        Ok(documents) => {
            for document in documents {
                take_document(path, document, folders, sources, errors);
            }
        }
    }
}

fn take_document(path: &str, document: Value, folders: &[String], sources: &mut Sources, errors: &mut Vec<LoadError>) {
    let map = match document {
        Value::Null => return,
        Value::Object(map) => map,
        _ => {
            errors.push(LoadError::new(path, "data", "data must be an object at its root"));
            return;
        }
    };
    let is_manifest = ["apiVersion", "kind"].iter().all(|k| map.get(*k).is_some_and(Value::is_string));
    if is_manifest {
        take_manifest(path, Value::Object(map), sources, errors);
        return;
    }
    let document = folders
        .iter()
        .rev()
        .fold(Value::Object(map), |inner, folder| Value::Object(Map::from_iter([(folder.clone(), inner)])));
    if let Value::Object(document) = document
        && let Err(at) = merge(&mut sources.data, document)
    {
        errors.push(LoadError::new(path, "data", format!("`{at}` has another value in another file")));
    }
}

fn take_manifest(path: &str, manifest: Value, sources: &mut Sources, errors: &mut Vec<LoadError>) {
    if let Some(items) = manifest.get("items").and_then(Value::as_array) {
        for item in items {
            take_manifest(path, item.clone(), sources, errors);
        }
        return;
    }
    let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    if name.is_empty() {
        errors.push(LoadError::new(path, "data", format!("a `{kind}` without `metadata.name`")));
        return;
    }
    if api_version == "v1" && kind == "Namespace" {
        let metadata = manifest.get("metadata").cloned().unwrap_or_default();
        sources.namespaces.insert(name.clone(), metadata);
    }
    let namespace = text("/metadata/namespace");
    let place = match namespace.as_str() {
        "" => vec!["inventory".to_owned(), "cluster".to_owned(), api_version, kind, name],
        _ => vec!["inventory".to_owned(), "namespace".to_owned(), namespace, api_version, kind, name],
    };
    let document = place.into_iter().rev().fold(manifest, |inner, key| Value::Object(Map::from_iter([(key, inner)])));
    if let Value::Object(document) = document
        && let Err(at) = merge(&mut sources.data, document)
    {
        errors.push(LoadError::new(path, "data", format!("`{at}` is there twice with other content")));
    }
}

/// Merges objects; two different values in one place are an error that names it.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) -> Result<(), String> {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (None, value) => {
                into.insert(key, value);
            }
            (Some(Value::Object(there)), Value::Object(new)) => {
                merge(there, new).map_err(|at| format!("{key}.{at}"))?;
            }
            (Some(there), value) if *there == value => {}
            _ => return Err(key),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_manifests_and_folders() {
        let mut sources = Sources::default();
        let mut errors = Vec::new();
        take("t.yaml", "tenants: {a: {groups: [x]}}\n", &[], &mut sources, &mut errors);
        take("d/t.json", "{\"b\": 1}", &["tenants".to_owned()], &mut sources, &mut errors);
        let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {tenant: a}}\n";
        take("n.yaml", namespace, &[], &mut sources, &mut errors);
        assert_eq!(errors, []);
        assert_eq!(sources.data.get("tenants"), Some(&json!({"a": {"groups": ["x"]}, "b": 1})));
        assert_eq!(sources.namespaces.get("shop"), Some(&json!({"name": "shop", "labels": {"tenant": "a"}})));
        let inventory = Value::Object(sources.data.clone());
        assert!(inventory.pointer("/inventory/cluster/v1/Namespace/shop/metadata").is_some());
        take("t2.yaml", "tenants: {b: 2}\n", &[], &mut sources, &mut errors);
        assert_eq!(errors[0].to_string(), "t2.yaml: `tenants.b` has another value in another file");
        take("l.yaml", "- 1\n", &[], &mut sources, &mut errors);
        assert_eq!(errors.len(), 2);
    }
}
