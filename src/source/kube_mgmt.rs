//! `data.kubernetes`, as OPA's kube-mgmt replicates a cluster: `data.kubernetes.<resource>[<namespace>][<name>]`, of
//! resources in no namespace `data.kubernetes.<resource>[<name>]`.
//!
//! Made from the manifests in `data.inventory`, and only where a policy asks for it.

use serde_json::{Map, Value};

use crate::policy::{Sources, kinds};

/// Adds the resources that the data files do not bring along themselves.
pub(super) fn replicate(sources: &mut Sources) {
    let asked = |text: &str| text.contains("data.kubernetes") || text.contains("data[\"kubernetes\"]");
    if !sources.modules.iter().any(|m| asked(&m.text)) {
        return;
    }
    let Some(Value::Object(inventory)) = sources.data.get("inventory") else { return };
    let mut found = Map::new();
    for (_, objects) in inventory.get("cluster").and_then(Value::as_object).into_iter().flatten() {
        add(&mut found, None, objects);
    }
    for (namespace, versions) in inventory.get("namespace").and_then(Value::as_object).into_iter().flatten() {
        for (_, objects) in versions.as_object().into_iter().flatten() {
            add(&mut found, Some(namespace), objects);
        }
    }
    let kubernetes = sources.data.entry("kubernetes").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(there) = kubernetes {
        for (resource, objects) in found {
            there.entry(resource).or_insert(objects);
        }
    }
}

/// Objects of one version, by kind and name.
fn add(found: &mut Map<String, Value>, namespace: Option<&str>, objects: &Value) {
    for (kind, named) in objects.as_object().into_iter().flatten() {
        let empty = || Value::Object(Map::new());
        let at = match (namespace, found.entry(plural(kind)).or_insert_with(empty)) {
            (Some(namespace), Value::Object(namespaces)) => namespaces.entry(namespace).or_insert_with(empty),
            (_, resource) => resource,
        };
        if let (Value::Object(at), Value::Object(named)) = (at, named) {
            at.extend(named.iter().map(|(name, object)| (name.clone(), object.clone())));
        }
    }
}

/// The resource of a kind; of kinds that are not built in as Kubernetes guesses it (`UnsafeGuessKindToResource`).
fn plural(kind: &str) -> String {
    if let Some(known) = kinds::built_in(kind).first() {
        return known.resource.to_owned();
    }
    let name = kind.to_lowercase();
    match (name.strip_suffix('y'), name.ends_with('s')) {
        (Some(stem), _) => format!("{stem}ies"),
        (None, true) => format!("{name}es"),
        (None, false) => format!("{name}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::SourceFile;
    use serde_json::json;

    #[test]
    fn manifests_stand_where_kube_mgmt_puts_them() {
        let data = json!({
            "inventory": {
                "cluster": {"v1": {"Namespace": {"shop": {"kind": "Namespace"}}}},
                "namespace": {"shop": {
                    "networking.k8s.io/v1": {"Ingress": {"web": {"kind": "Ingress"}}},
                    "example.com/v1": {"Policy": {"p": {"kind": "Policy"}}},
                    "v1": {"Service": {"s": {"kind": "Service"}}},
                }},
            },
            "kubernetes": {"services": {"mine": {}}},
        });
        let Value::Object(data) = data else { panic!("an object") };
        let module = |text: &str| vec![SourceFile { path: "p.rego".to_owned(), text: text.to_owned() }];
        let mut sources = Sources { modules: module("import data.kubernetes.ingresses"), data, ..Sources::default() };
        let before = sources.data.clone();
        replicate(&mut sources);
        assert_eq!(
            sources.data.get("kubernetes"),
            Some(&json!({
                "namespaces": {"shop": {"kind": "Namespace"}},
                "ingresses": {"shop": {"web": {"kind": "Ingress"}}},
                "policies": {"shop": {"p": {"kind": "Policy"}}},
                "services": {"mine": {}},
            }))
        );
        sources = Sources { modules: module("package p"), data: before.clone(), ..Sources::default() };
        replicate(&mut sources);
        assert_eq!(sources.data, before);
    }
}
