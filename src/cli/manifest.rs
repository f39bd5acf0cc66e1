//! A plain manifest as the AdmissionReview that the API server would send for it, as far as a laptop can tell:
//! nothing is defaulted, and the resource of a custom kind is guessed from its name.

use serde_json::{Value, json};

use crate::admission::Operation;
use crate::policy::kinds::{built_in, is_cluster_scoped};

/// Who and how, for manifests.
#[derive(Debug, Clone)]
pub(super) struct Circumstances {
    pub operation: Operation,
    pub user: String,
    pub groups: Vec<String>,
    /// For objects that name none.
    pub namespace: String,
}

/// The review of `object` (the new one, or on DELETE the old one), with `old` on UPDATE.
pub(super) fn review(object: &Value, old: Option<&Value>, who: &Circumstances, number: usize) -> Result<Value, String> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("/apiVersion"), text("/kind"));
    if api_version.is_empty() || kind.is_empty() {
        return Err("neither an AdmissionReview nor a manifest: `apiVersion` or `kind` is missing".to_owned());
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let known = built_in(kind).into_iter().find(|k| k.group == group);
    let resource = known.map_or_else(|| plural(kind), |k| k.resource.to_owned());
    let name = text("/metadata/name");
    let mut object = object.clone();
    let namespace = if kind == "Namespace" && group.is_empty() {
        name.to_owned()
    } else if is_cluster_scoped(kind) {
        String::new()
    } else {
        match (text("/metadata/namespace"), known) {
            ("", Some(_)) => who.namespace.clone(),
            (given, _) => given.to_owned(),
        }
    };
    let name = name.to_owned();
    if !namespace.is_empty()
        && kind != "Namespace"
        && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.entry("namespace").or_insert_with(|| Value::from(namespace.as_str()));
    }
    let (new, old) = match who.operation {
        Operation::Create | Operation::Connect => (object, Value::Null),
        Operation::Update => {
            let old = old.cloned().unwrap_or_else(|| object.clone());
            (object, old)
        }
        Operation::Delete => (Value::Null, object),
    };
    let gvk = json!({"group": group, "version": version, "kind": kind});
    let gvr = json!({"group": group, "version": version, "resource": resource});
    Ok(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": format!("eval-{number}"), "kind": gvk, "resource": gvr, "requestKind": gvk, "requestResource": gvr,
        "name": name, "namespace": namespace, "operation": who.operation.as_str(),
        "userInfo": {"username": who.user, "groups": who.groups},
        "object": new, "oldObject": old, "dryRun": false, "options": null}}))
}

/// The usual plural of a kind.
fn plural(kind: &str) -> String {
    let lower = kind.to_lowercase();
    if let Some(stem) = lower.strip_suffix('y').filter(|s| !s.ends_with(['a', 'e', 'o', 'u'])) {
        format!("{stem}ies")
    } else if lower.ends_with(['s', 'x']) || lower.ends_with("ch") || lower.ends_with("sh") {
        format!("{lower}es")
    } else {
        format!("{lower}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(operation: Operation) -> Circumstances {
        Circumstances { operation, user: "u".into(), groups: vec![], namespace: "default".into() }
    }

    #[test]
    fn resources_and_namespaces() {
        for (api_version, kind, resource, namespace) in [
            ("v1", "Pod", "pods", "default"),
            ("apps/v1", "Deployment", "deployments", "default"),
            ("v1", "Namespace", "namespaces", "n"),
            ("v1", "Node", "nodes", ""),
            ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", "default"),
            ("s3.services.k8s.aws/v1alpha1", "Bucket", "buckets", ""),
            ("karpenter.sh/v1", "NodeClass", "nodeclasses", ""),
        ] {
            let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "n"}});
            let review = review(&object, None, &who(Operation::Create), 1).expect("a review");
            assert_eq!(review["request"]["resource"]["resource"], resource);
            assert_eq!(review["request"]["namespace"], namespace, "{kind}");
        }
    }

    #[test]
    fn a_deleted_object_is_the_old_one() {
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "n"}});
        let review = review(&object, None, &who(Operation::Delete), 1).expect("a review");
        assert!(review["request"]["object"].is_null() && review["request"]["oldObject"].is_object());
        assert!(super::review(&json!({"a": 1}), None, &who(Operation::Create), 1).is_err());
    }
}
