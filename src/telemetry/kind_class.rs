//! What a request is about, in nine words: a metric label must not grow with what users install or send.

use crate::admission::GroupVersionResource;

/// A class of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KindClass {
    /// Pods and their subresources.
    Pod,
    /// What makes Pods.
    Workload,
    /// Namespaces.
    Namespace,
    /// Roles, bindings, service accounts.
    Rbac,
    /// ConfigMaps and Secrets.
    Config,
    /// Services, ingresses, policies, routes.
    Network,
    /// Volumes, claims, classes.
    Storage,
    /// Groups that are not Kubernetes' own.
    Custom,
    /// The rest of Kubernetes' own.
    Other,
}

impl KindClass {
    /// The class of a resource.
    #[must_use]
    pub fn of(resource: &GroupVersionResource) -> Self {
        match (resource.group.as_str(), resource.resource.as_str()) {
            ("", "pods") => Self::Pod,
            ("", "replicationcontrollers" | "podtemplates") | ("apps" | "batch", _) => Self::Workload,
            ("", "namespaces") => Self::Namespace,
            ("", "serviceaccounts") | ("rbac.authorization.k8s.io", _) => Self::Rbac,
            ("", "configmaps" | "secrets") => Self::Config,
            ("", "services" | "endpoints")
            | ("networking.k8s.io" | "discovery.k8s.io" | "gateway.networking.k8s.io", _) => Self::Network,
            ("", "persistentvolumes" | "persistentvolumeclaims") | ("storage.k8s.io", _) => Self::Storage,
            ("" | "autoscaling" | "policy", _) => Self::Other,
            (group, _) if group.ends_with(".k8s.io") => Self::Other,
            _ => Self::Custom,
        }
    }

    /// The label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Workload => "workload",
            Self::Namespace => "namespace",
            Self::Rbac => "rbac",
            Self::Config => "config",
            Self::Network => "network",
            Self::Storage => "storage",
            Self::Custom => "custom",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_has_a_class() {
        for (group, resource, class) in [
            ("", "pods", "pod"),
            ("apps", "deployments", "workload"),
            ("", "podtemplates", "workload"),
            ("", "namespaces", "namespace"),
            ("", "serviceaccounts", "rbac"),
            ("rbac.authorization.k8s.io", "roles", "rbac"),
            ("", "secrets", "config"),
            ("gateway.networking.k8s.io", "httproutes", "network"),
            ("storage.k8s.io", "storageclasses", "storage"),
            ("karpenter.sh", "nodepools", "custom"),
            ("apiextensions.k8s.io", "customresourcedefinitions", "other"),
            ("", "nodes", "other"),
            ("anything\nat all", "", "custom"),
        ] {
            let gvr = GroupVersionResource { group: group.into(), version: "v1".into(), resource: resource.into() };
            assert_eq!(KindClass::of(&gvr).as_str(), class, "{group}/{resource}");
        }
    }
}
