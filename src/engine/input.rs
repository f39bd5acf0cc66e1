//! What a policy sees as `input`: the review as sent, with parameters and namespace; for a workload judged through
//! its Pod template, the Pod it would make, with the real request as `input.parent`.

use regorus::Value;
use serde::Deserialize as _;

use crate::admission::Request;
use crate::policy::kinds::TemplateKind;

/// The review in the engine's form, converted once and shared by all policies.
#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    review: Value,
}

/// What a policy sees of the cluster beside the request: metadata of Namespaces.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen<'a> {
    /// Of the request.
    pub namespace: Option<&'a serde_json::Value>,
    /// Of the service account that asks.
    pub user_namespace: Option<&'a serde_json::Value>,
}

impl Inputs {
    /// Converts the review, with `object` in place of the request's own where mutations have changed it, and
    /// `seen` of the cluster.
    pub(crate) fn new(request: &Request, object: Option<&serde_json::Value>, seen: Seen<'_>) -> Self {
        let mut review = convert(request.review());
        if let Some(object) = object {
            set(&mut review, &["request", "object"], convert(object));
        }
        for (name, metadata) in [("namespace", seen.namespace), ("userNamespace", seen.user_namespace)] {
            if let Some(metadata) = metadata {
                set(&mut review, &[name], convert(metadata));
            }
        }
        Self { review }
    }

    /// The input as it was sent.
    pub(crate) fn as_is(&self, parameters: &Value) -> Value {
        let mut input = self.review.clone();
        set(&mut input, &["parameters"], parameters.clone());
        input
    }

    /// The input of a constraint of Gatekeeper: the request as `review`, with the object of a DELETE copied, and the
    /// namespace under the names that Gatekeeper has had for it.
    pub(crate) fn of_constraint(&self, namespace: Option<&serde_json::Value>, parameters: &Value) -> Value {
        let mut review = field(&self.review, "request").clone();
        if field(&review, "operation") == &Value::from("DELETE") {
            let old = field(&review, "oldObject").clone();
            set(&mut review, &["object"], old);
        }
        let namespace = match namespace {
            None => Value::Null,
            Some(metadata) => {
                convert(&serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}))
            }
        };
        let mut unstable = Value::new_object();
        set(&mut unstable, &["namespace"], namespace.clone());
        set(&mut review, &["_unstable"], unstable);
        set(&mut review, &["namespaceObject"], namespace);
        let mut input = Value::new_object();
        set(&mut input, &["review"], review);
        set(&mut input, &["parameters"], parameters.clone());
        input
    }

    /// The input of a Pod made from the request's template.
    pub(crate) fn of_template(&self, kind: &TemplateKind, parameters: &Value) -> Value {
        let mut input = self.review.clone();
        let request = field(&self.review, "request");
        set(&mut input, &["parent"], request.clone());
        set(&mut input, &["parameters"], parameters.clone());
        let pod = convert(&serde_json::json!({"group": "", "version": "v1", "kind": "Pod"}));
        let pods = convert(&serde_json::json!({"group": "", "version": "v1", "resource": "pods"}));
        set(&mut input, &["request", "kind"], pod);
        set(&mut input, &["request", "resource"], pods);
        for side in ["object", "oldObject"] {
            let object = field(request, side);
            if object.as_object().is_ok() {
                set(&mut input, &["request", side], pod_of(object, kind, field(request, "namespace")));
            }
        }
        input
    }
}

/// The input as if the old object were made now: what the policy says of the state before. It is no UPDATE, so what a
/// policy says of the change itself (of a locked object, say) is not taken for a fault that was there already.
pub(crate) fn of_old_object(input: &Value) -> Value {
    let mut before = input.clone();
    for request in ["request", "parent"] {
        let old = field(field(input, request), "oldObject").clone();
        if old != Value::Undefined {
            set(&mut before, &[request, "object"], old);
            set(&mut before, &[request, "oldObject"], Value::Null);
            set(&mut before, &[request, "operation"], Value::from("CREATE"));
        }
    }
    before
}

fn pod_of(object: &Value, kind: &TemplateKind, namespace: &Value) -> Value {
    let template = kind.path.iter().fold(object, |value, step| field(value, step));
    let mut pod = Value::new_object();
    set(&mut pod, &["apiVersion"], Value::from("v1"));
    set(&mut pod, &["kind"], Value::from("Pod"));
    let metadata = field(template, "metadata");
    let mut metadata = if metadata.as_object().is_ok() { metadata.clone() } else { Value::new_object() };
    if field(&metadata, "namespace") == &Value::Undefined && matches!(namespace, Value::String(_)) {
        set(&mut metadata, &["namespace"], namespace.clone());
    }
    set(&mut pod, &["metadata"], metadata);
    let spec = field(template, "spec");
    if *spec != Value::Undefined {
        set(&mut pod, &["spec"], spec.clone());
    }
    pod
}

/// JSON in the engine's form. Total: JSON has no value that the engine lacks.
pub(crate) fn convert(json: &serde_json::Value) -> Value {
    Value::deserialize(json).unwrap_or(Value::Null)
}

fn field<'v>(value: &'v Value, name: &str) -> &'v Value {
    const UNDEFINED: &Value = &Value::Undefined;
    value.as_object().ok().and_then(|o| o.get(&Value::from(name))).unwrap_or(UNDEFINED)
}

/// Sets a field below objects that are there; other values are left alone.
fn set(value: &mut Value, path: &[&str], new: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    let Ok(object) = value.as_object_mut() else { return };
    let key = Value::from(*first);
    if rest.is_empty() {
        object.insert(key, new);
    } else if let Some(inner) = object.get_mut(&key) {
        set(inner, rest, new);
    }
}
