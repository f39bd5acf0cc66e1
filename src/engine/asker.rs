//! The namespace of the service account that asks: who works across namespaces belongs to its own.

use std::sync::Arc;

use serde_json::Value;

use crate::admission::Request;
use crate::engine::{Inventory, NamespaceMetadata, Read};
use crate::policy::Digest;

/// The metadata of the namespace of the service account that asks, when it is known; `None` for everybody else.
pub(crate) fn user_namespace(request: &Request, inventory: &Inventory) -> Option<(NamespaceMetadata, Read)> {
    let name = service_account_namespace(&request.user.username)?;
    let metadata = inventory.namespaces.metadata(name)?;
    let read = read_of(name, &metadata);
    Some((metadata, read))
}

/// The record of a Namespace that was read.
pub(crate) fn read_of(name: &str, metadata: &Arc<Value>) -> Read {
    let text = |key: &str| metadata.get(key).and_then(Value::as_str).map(str::to_owned);
    Read {
        path: format!("namespaces/{name}"),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        digest: Digest::of(metadata.to_string().as_bytes()),
        http: None,
        content: Some(Arc::clone(metadata)),
    }
}

/// Of exactly `system:serviceaccount:<namespace>:<name>`.
fn service_account_namespace(username: &str) -> Option<&str> {
    let (namespace, name) = username.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some(namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_service_accounts_have_a_namespace() {
        for (username, namespace) in [
            ("system:serviceaccount:ci:deployer", Some("ci")),
            ("system:serviceaccount:ci:", None),
            ("system:serviceaccount::x", None),
            ("system:serviceaccount:ci:a:b", None),
            ("system:serviceaccount:ci", None),
            ("alice", None),
        ] {
            assert_eq!(service_account_namespace(username), namespace, "{username}");
        }
    }
}
