//! Data from files, as `opa run` reads them: a file is merged at the root, a directory's files below the path of
//! their folders. Kubernetes manifests become `data.inventory`, in Gatekeeper's layout.
//!
//! Otherwise than OPA: hidden files are left out, as its `--ignore=.*` does; every document of a YAML stream counts,
//! not the first alone.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::policy::{LoadError, SourceFile, Sources, yaml};
use crate::source::files;

/// What is read beside documents of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Kubernetes manifests, into `data.inventory`; Rego is passed over.
    Manifests,
    /// Rego, as `opa run` and `opa eval` do; a manifest is a document as any other.
    Rego,
}

/// Reads a file or a directory, which may have a prefix: `a.b:path` stands at `data.a.b`.
pub(super) fn read(named: &Path, reading: Reading, sources: &mut Sources, errors: &mut Vec<LoadError>) {
    let (prefix, root) = split_prefix(named);
    let root = root.as_path();
    if !root.exists() {
        errors.push(LoadError::new(root.display().to_string(), "io", "there is no such file or directory"));
        return;
    }
    for path in files::walk(root, errors) {
        let known = files::has_extension(&path, &["yaml", "yml", "json"]);
        let rego = files::has_extension(&path, &["rego"]);
        if !known && path != root && !(rego && reading == Reading::Rego) {
            continue;
        }
        let below = path.parent().and_then(|p| p.strip_prefix(root).ok());
        let folders = below.into_iter().flat_map(Path::components);
        let folders: Vec<String> =
            prefix.iter().cloned().chain(folders.map(|c| c.as_os_str().to_string_lossy().into_owned())).collect();
        let name = path.display().to_string();
        match files::text(&path) {
            Err(e) => errors.push(e),
            Ok(text) if rego && reading == Reading::Rego => {
                if !sources.modules.iter().any(|m| m.path == name) {
                    sources.modules.push(SourceFile { path: name, text });
                }
            }
            Ok(_) if rego => errors.push(LoadError::new(name, "io", "Rego is no data: name it with `--policies`")),
            Ok(text) => take(&name, &text, &folders, reading, sources, errors),
        }
    }
}

/// `a.b` and the path of `a.b:path`; a URL of a file has no prefix.
pub(super) fn split_prefix(named: &Path) -> (Vec<String>, PathBuf) {
    let whole = || (Vec::new(), named.to_owned());
    let Some(text) = named.to_str() else { return whole() };
    if let Some(path) = text.strip_prefix("file://") {
        return (Vec::new(), PathBuf::from(path));
    }
    match text.split_once(':') {
        Some((prefix, path)) if !prefix.is_empty() && !named.exists() => {
            let path = path.strip_prefix("file://").unwrap_or(path);
            (prefix.split('.').map(str::to_owned).collect(), PathBuf::from(path))
        }
        _ => whole(),
    }
}

/// Takes one file: every document of it. A file of another name than `.json` is read as YAML, which JSON is too.
pub(super) fn take(
    path: &str,
    text: &str,
    folders: &[String],
    reading: Reading,
    sources: &mut Sources,
    errors: &mut Vec<LoadError>,
) {
    let documents = if path.ends_with(".json") {
        serde_json::from_str::<Value>(text).map(|d| vec![d]).map_err(|e| {
            let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let message = e.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            LoadError::new(path, "json", message).at(number(e.line()), number(e.column()))
        })
    } else {
        yaml::parse_all::<Value>(path, text)
    };
    match documents {
        Err(e) => errors.push(e),
        Ok(mut documents) => {
            // An empty document between others is how streams are written; a file of nothing is a `null`.
            if documents.len() > 1 {
                documents.retain(|d| !d.is_null());
            } else if documents.is_empty() {
                documents.push(Value::Null);
            }
            for document in documents {
                take_document(path, document, folders, reading, sources, errors);
            }
        }
    }
}

fn take_document(
    path: &str,
    document: Value,
    folders: &[String],
    reading: Reading,
    sources: &mut Sources,
    errors: &mut Vec<LoadError>,
) {
    let is_manifest = ["apiVersion", "kind"].iter().all(|k| document.get(*k).is_some_and(Value::is_string));
    if is_manifest && reading == Reading::Manifests {
        take_manifest(path, document, sources, errors);
        return;
    }
    match below(folders, document) {
        Value::Object(document) => {
            if let Err(at) = merge(&mut sources.data, document, Twice::Conflict) {
                errors.push(LoadError::new(path, "data", format!("`data.{at}` is in another file too")));
            }
        }
        _ => errors.push(LoadError::new(path, "data", "data must be an object at its root").at(1, 1)),
    }
}

/// The document at the path of its folders.
fn below(folders: &[String], document: Value) -> Value {
    let step = |inner, folder: &String| Value::Object(Map::from_iter([(folder.clone(), inner)]));
    folders.iter().rev().fold(document, step)
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
        && let Err(at) = merge(&mut sources.data, document, Twice::Same)
    {
        errors.push(LoadError::new(path, "data", format!("`{at}` is there twice with other content")));
    }
}

/// What two values in one place are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Twice {
    /// A conflict, even when they are equal: which file holds a value must be plain. So OPA has it.
    Conflict,
    /// Fine when they are equal.
    Same,
}

/// Merges objects; two values in one place are an error that names it.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>, twice: Twice) -> Result<(), String> {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (None, value) => {
                into.insert(key, value);
            }
            (Some(Value::Object(there)), Value::Object(new)) => {
                merge(there, new, twice).map_err(|at| format!("{key}.{at}"))?;
            }
            (Some(there), value) if *there == value && twice == Twice::Same => {}
            _ => return Err(key),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Takes files by name below a folder `root`; gives the data and the errors.
    fn taken(reading: Reading, named: &str, all: &[(&str, &str)]) -> (Sources, Vec<String>) {
        let root = tempfile::tempdir().expect("a directory");
        for (name, text) in all {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            std::fs::write(path, text).expect("written");
        }
        let (mut sources, mut errors) = (Sources::default(), Vec::new());
        let (prefix, name) = named.rsplit_once(':').map_or((String::new(), named), |(p, n)| (format!("{p}:"), n));
        let path = format!("{prefix}{}", root.path().join(name).display());
        read(Path::new(&path), reading, &mut sources, &mut errors);
        let prefix = format!("{}/", root.path().display());
        (sources, errors.iter().map(|e| e.to_string().replace(&prefix, "")).collect())
    }

    /// Facts of OPA's loader and its tests (`v1/loader`).
    #[test]
    fn documents_stand_where_opa_puts_them() {
        for (named, all, wanted) in [
            ("", &[("a.json", "{\"a\": [1, 2]}")][..], json!({"a": [1, 2]})),
            ("foo.yml", &[("foo.yml", "a: [1, b, null, true]")], json!({"a": [1, "b", null, true]})),
            ("foo", &[("foo", "a: b")], json!({"a": "b"})),
            ("", &[("b/x.json", "{\"c\": 1}"), ("b/y.yaml", "d: 2"), ("ignore", "x")], json!({"b": {"c": 1, "d": 2}})),
            ("", &[("d/x.json", "null")], json!({"d": null})),
            ("", &[("d/e/x.json", "[1]")], json!({"d": {"e": [1]}})),
            (
                "",
                &[("data.json", "{\"a\": {\"b\": 1}}"), ("a/data.json", "{\"c\": 2}")],
                json!({"a": {"b": 1, "c": 2}}),
            ),
            ("p.q:x.json", &[("x.json", "[1]")], json!({"p": {"q": [1]}})),
            ("p:d", &[("d/e/x.json", "{\"f\": 1}")], json!({"p": {"e": {"f": 1}}})),
            ("", &[("x.json", "{}"), (".hidden.json", "{\"a\": 1}"), ("..data/x.json", "{\"b\": 1}")], json!({})),
            ("", &[("s.yaml", "a: 1\n---\nb: 2\n---\n")], json!({"a": 1, "b": 2})),
            ("", &[("m.json", "{\"apiVersion\": \"v1\", \"kind\": \"X\"}")], json!({"apiVersion": "v1", "kind": "X"})),
        ] {
            let (sources, errors) = taken(Reading::Rego, named, all);
            assert_eq!(errors, [""; 0], "{all:?}");
            assert_eq!(Value::Object(sources.data), wanted, "{all:?}");
        }
    }

    #[test]
    fn what_opa_refuses_is_refused_with_its_place() {
        for (all, wanted) in [
            (
                &[("a.json", "{\"a\": {\"b\": 1}}"), ("b.json", "{\"a\": {\"b\": 1}}")][..],
                "b.json: `data.a.b` is in another file too",
            ),
            (&[("a.json", "[1]")], "a.json:1:1: data must be an object at its root"),
            (&[("a.yaml", "")], "a.yaml:1:1: data must be an object at its root"),
            (&[("a.json", "{\n\"a\": }")], "a.json:2:6: expected value"),
            (&[("d/a.yaml", "a: 1\nb: [")], "d/a.yaml:2:"),
            (&[("d.json", "{\"d\": 1}"), ("d/a.json", "{\"x\": 1}")], "d.json: `data.d` is in another file too"),
        ] {
            let (_, errors) = taken(Reading::Rego, "", all);
            assert!(errors.len() == 1 && errors[0].starts_with(wanted), "{errors:?}\nwanted {wanted}");
        }
    }

    #[test]
    fn rego_is_read_where_opa_reads_it() {
        let all = [("lib/p.rego", "package p\n"), ("x.json", "{\"a\": 1}")];
        let (sources, errors) = taken(Reading::Rego, "", &all);
        assert_eq!((sources.modules.len(), errors.len()), (1, 0));
        let (sources, errors) = taken(Reading::Manifests, "", &all);
        assert_eq!((sources.modules.len(), errors.len()), (0, 0));
        let (_, errors) = taken(Reading::Manifests, "lib/p.rego", &all);
        assert_eq!(errors, ["lib/p.rego: Rego is no data: name it with `--policies`"]);
    }

    #[test]
    fn documents_manifests_and_folders() {
        let mut sources = Sources::default();
        let mut errors = Vec::new();
        take("t.yaml", "tenants: {a: {groups: [x]}}\n", &[], Reading::Manifests, &mut sources, &mut errors);
        take("d/t.json", "{\"b\": 1}", &["tenants".to_owned()], Reading::Manifests, &mut sources, &mut errors);
        let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {tenant: a}}\n";
        take("n.yaml", namespace, &[], Reading::Manifests, &mut sources, &mut errors);
        assert_eq!(errors, []);
        assert_eq!(sources.data.get("tenants"), Some(&json!({"a": {"groups": ["x"]}, "b": 1})));
        assert_eq!(sources.namespaces.get("shop"), Some(&json!({"name": "shop", "labels": {"tenant": "a"}})));
        let inventory = Value::Object(sources.data.clone());
        assert!(inventory.pointer("/inventory/cluster/v1/Namespace/shop/metadata").is_some());
        take("t2.yaml", "tenants: {b: 2}\n", &[], Reading::Manifests, &mut sources, &mut errors);
        assert_eq!(errors[0].to_string(), "t2.yaml: `data.tenants.b` is in another file too");
        take("l.yaml", "- 1\n", &[], Reading::Manifests, &mut sources, &mut errors);
        assert_eq!(errors.len(), 2);
    }
}
