//! A decoded request. Past this point nothing is half-checked: the header fields are typed, the objects are as sent.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the client asks the API server to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// A new object.
    Create,
    /// A changed object.
    Update,
    /// An object goes; it is in `oldObject`.
    Delete,
    /// A connection (`exec`, `attach`, `portforward`, `proxy`); its options are in `object`.
    Connect,
}

impl Operation {
    /// All operations, in the order of the API documentation.
    pub const ALL: [Self; 4] = [Self::Create, Self::Update, Self::Delete, Self::Connect];

    /// The name on the wire, such as `CREATE`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Group, version and kind of an object; the core group is the empty string.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupVersionKind {
    /// API group.
    #[serde(default)]
    pub group: String,
    /// API version within the group.
    #[serde(default)]
    pub version: String,
    /// Kind, such as `Pod`.
    #[serde(default)]
    pub kind: String,
}

/// Group, version and resource of a request; the core group is the empty string.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupVersionResource {
    /// API group.
    #[serde(default)]
    pub group: String,
    /// API version within the group.
    #[serde(default)]
    pub version: String,
    /// Plural resource name, such as `pods`.
    #[serde(default)]
    pub resource: String,
}

/// Who asks (`authentication.k8s.io/v1` `UserInfo`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserInfo {
    /// User name, such as `system:serviceaccount:shop:web`.
    #[serde(default)]
    pub username: String,
    /// Stable identifier, if the authenticator gives one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Groups, in the order sent.
    #[serde(default, deserialize_with = "null_as_default")]
    pub groups: Vec<String>,
    /// Whatever else the authenticator knows. On EKS the person is here (`arn`, `sessionName`, `accessKeyId`).
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Origin {
    /// A client asked, and the API server sent it.
    #[default]
    Sent,
    /// Nobody asked: an object as it stands, or a review made up for a test. Operation and resource may be missing.
    Standing,
}

/// One request as the API server sent it, typed where the engine looks, untouched elsewhere.
///
/// Made by [`decode`](crate::admission::decode), for objects that nobody sent by [`Request::standing`]; cheap to clone.
#[derive(Debug, Clone)]
pub struct Request {
    /// Identifies this call; echoed in the answer. Fresh for each call, not the audit event's ID.
    pub uid: String,
    /// Kind of the object, converted to what the webhook registered for.
    pub kind: GroupVersionKind,
    /// Resource of the request, likewise.
    pub resource: GroupVersionResource,
    /// Subresource, or the empty string.
    pub sub_resource: String,
    /// Name; empty for `generateName` and for each item of a `deletecollection`.
    pub name: String,
    /// Namespace; for requests on a Namespace the API server puts its own name here.
    pub namespace: String,
    /// What is asked.
    pub operation: Operation,
    /// Who asks.
    pub user: UserInfo,
    /// Nothing will be persisted.
    pub dry_run: bool,
    /// Whether a client asked.
    pub origin: Origin,
    /// The object is none that a client wrote, but one that a controller would make of it.
    pub generated: bool,
    /// It comes from a record that does not show everything: what is missing is written as veiled texts. Never so for
    /// what a client sent.
    pub veiled: bool,
    /// The whole review. Invariant: an object whose `request` is an object.
    pub(super) review: Arc<Value>,
}

impl Request {
    /// The whole AdmissionReview as sent.
    #[must_use]
    pub fn review(&self) -> &Arc<Value> {
        &self.review
    }

    /// The new object; `null` on DELETE.
    #[must_use]
    pub fn object(&self) -> &Value {
        self.field("object")
    }

    /// The object as it stands; `null` on CREATE and CONNECT.
    #[must_use]
    pub fn old_object(&self) -> &Value {
        self.field("oldObject")
    }

    /// The object that the request is about: the old one on DELETE, else the new one.
    #[must_use]
    pub fn subject(&self) -> &Value {
        match self.operation {
            Operation::Delete => self.old_object(),
            Operation::Create | Operation::Update | Operation::Connect => self.object(),
        }
    }

    /// `metadata.generateName` of the object, if it has no name yet.
    #[must_use]
    pub fn generate_name(&self) -> Option<&str> {
        self.object().pointer("/metadata/generateName").and_then(Value::as_str)
    }

    /// Whether the request is on the core `Namespace` resource itself or one of its subresources.
    #[must_use]
    pub fn is_on_namespace(&self) -> bool {
        self.resource.group.is_empty() && self.resource.resource == "namespaces"
    }

    /// Resource with its subresource, as rules name it: `pods`, `pods/exec`.
    #[must_use]
    pub fn resource_path(&self) -> String {
        if self.sub_resource.is_empty() {
            self.resource.resource.clone()
        } else {
            format!("{}/{}", self.resource.resource, self.sub_resource)
        }
    }

    pub(super) fn field(&self, name: &str) -> &Value {
        self.review.get("request").and_then(|r| r.get(name)).unwrap_or(&Value::Null)
    }
}

pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
