//! Requests that no API server sent: objects as they stand, objects that a controller would make, reviews in tests.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::admission::{GroupVersionKind, GroupVersionResource, Operation, Origin, Request, UserInfo};

impl Request {
    /// The request about `object` as it stands: nobody asks for anything, so operation and user are empty for the
    /// policies. Its group, version and kind are read from `apiVersion` and `kind`.
    #[must_use]
    pub fn of_object(object: &Value) -> Self {
        let kind = kind_of(object);
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        Self::standing(&json!({
            "uid": "", "kind": kind, "resource": {"group": "", "version": "", "resource": ""},
            "name": text("/metadata/name"), "namespace": text("/metadata/namespace"), "operation": "", "userInfo": {},
            "object": object, "oldObject": null, "options": null,
        }))
    }

    /// The request made of the `request` of a review that no API server sent. Fields that are missing are empty; an
    /// operation that is none counts as CREATE where policies are selected by it.
    #[must_use]
    pub fn standing(request: &Value) -> Self {
        let text = |key: &str| request.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let kind: GroupVersionKind = typed(request.get("kind"));
        let mut resource: GroupVersionResource = typed(request.get("resource"));
        if resource.resource.is_empty() && kind.kind == "Namespace" && kind.group.is_empty() {
            "namespaces".clone_into(&mut resource.resource);
        }
        let operation = text("operation");
        Self {
            uid: text("uid"),
            resource,
            sub_resource: text("subResource"),
            name: text("name"),
            namespace: text("namespace"),
            operation: Operation::ALL.into_iter().find(|o| o.as_str() == operation).unwrap_or(Operation::Create),
            user: typed::<UserInfo>(request.get("userInfo")),
            dry_run: request.get("dryRun").and_then(Value::as_bool).unwrap_or_default(),
            origin: Origin::Standing,
            generated: false,
            veiled: false,
            review: Arc::new(json!({
                "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                "request": if request.is_object() { request.clone() } else { Value::Object(Map::new()) },
            })),
            kind,
        }
    }

    /// The request that a controller would make for `object`, which it makes of the object of `self`: the same
    /// operation, in the same namespace, by nobody.
    #[must_use]
    pub fn generating(&self, object: &Value) -> Self {
        let mut made = Self::of_object(object);
        made.veiled = self.veiled;
        let operation = self.field("operation").clone();
        let mut request = made.review.get("request").cloned().unwrap_or_default();
        if let Some(fields) = request.as_object_mut() {
            fields.insert("operation".to_owned(), operation);
            if self.operation == Operation::Delete {
                fields.insert("oldObject".to_owned(), object.clone());
                fields.insert("object".to_owned(), Value::Null);
            }
        }
        made.review =
            Arc::new(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}));
        Self { operation: self.operation, origin: self.origin, dry_run: self.dry_run, generated: true, ..made }
    }
}

fn kind_of(object: &Value) -> GroupVersionKind {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    GroupVersionKind { group: group.to_owned(), version: version.to_owned(), kind: text("kind").to_owned() }
}

fn typed<T: Default + serde::de::DeserializeOwned>(value: Option<&Value>) -> T {
    value.and_then(|v| serde_json::from_value(v.clone()).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_stands_is_asked_about_by_nobody() {
        let object =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}});
        let request = Request::of_object(&object);
        assert_eq!((request.origin, request.namespace.as_str(), request.name.as_str()), (Origin::Standing, "n", "d"));
        assert_eq!(request.review()["request"]["operation"], "");
        assert_eq!(
            request.review()["request"]["kind"],
            json!({"group": "apps", "version": "v1", "kind": "Deployment"})
        );
        assert_eq!(request.object(), &object);
        assert!(Request::of_object(&json!({"apiVersion": "v1", "kind": "Namespace"})).is_on_namespace());
    }

    #[test]
    fn what_a_deleted_object_made_is_deleted_too() {
        let deleted = json!({"operation": "DELETE", "kind": {"group": "apps", "version": "v1", "kind": "Deployment"}});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "d-pod"}});
        let request = Request::standing(&deleted).generating(&pod);
        assert!(request.generated && request.object().is_null());
        assert_eq!(request.old_object(), &pod);
        assert_eq!(request.review()["request"]["operation"], "DELETE");
    }
}
