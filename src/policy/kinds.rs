//! The built-in kinds of Kubernetes that `match.kinds` may name, and the kinds that hold a Pod template.

/// Kind, API group and plural resource of a built-in API object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Kind, such as `Deployment`.
    pub kind: &'static str,
    /// API group; empty for core.
    pub group: &'static str,
    /// Plural resource name.
    pub resource: &'static str,
}

/// A workload kind with the path of its Pod template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemplateKind {
    /// API group; empty for core.
    pub group: &'static str,
    /// Kind, such as `CronJob`.
    pub kind: &'static str,
    /// Plural resource name.
    pub resource: &'static str,
    /// Steps from the object to the template.
    pub path: &'static [&'static str],
}

/// Every built-in kind that holds a Pod template.
pub const TEMPLATE_KINDS: [TemplateKind; 8] = {
    const SPEC: &[&str] = &["spec", "template"];
    const fn on(group: &'static str, kind: &'static str, resource: &'static str) -> TemplateKind {
        TemplateKind { group, kind, resource, path: SPEC }
    }
    [
        on("apps", "Deployment", "deployments"),
        on("apps", "ReplicaSet", "replicasets"),
        on("apps", "StatefulSet", "statefulsets"),
        on("apps", "DaemonSet", "daemonsets"),
        on("", "ReplicationController", "replicationcontrollers"),
        on("batch", "Job", "jobs"),
        TemplateKind {
            group: "batch",
            kind: "CronJob",
            resource: "cronjobs",
            path: &["spec", "jobTemplate", "spec", "template"],
        },
        TemplateKind { group: "", kind: "PodTemplate", resource: "podtemplates", path: &["template"] },
    ]
};

/// Built-in kinds by name; a name that stands in two groups stands here twice.
#[must_use]
pub fn built_in(kind: &str) -> Vec<Kind> {
    BUILT_IN
        .iter()
        .flat_map(|(group, kinds)| kinds.iter().map(move |(kind, resource)| Kind { kind, group, resource }))
        .filter(|k| k.kind == kind)
        .collect()
}

/// Whether a built-in kind lives in no namespace.
#[must_use]
pub fn is_cluster_scoped(kind: &str) -> bool {
    CLUSTER_SCOPED.contains(&kind)
}

const CLUSTER_SCOPED: [&str; 26] = [
    "APIService",
    "CSIDriver",
    "CSINode",
    "CertificateSigningRequest",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "DeviceClass",
    "FlowSchema",
    "IPAddress",
    "IngressClass",
    "MutatingWebhookConfiguration",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PriorityClass",
    "PriorityLevelConfiguration",
    "ResourceSlice",
    "RuntimeClass",
    "ServiceCIDR",
    "StorageClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
    "VolumeAttachment",
    "VolumeAttributesClass",
];

/// The built-in kind of a resource.
#[must_use]
pub fn of_resource(group: &str, resource: &str) -> Option<Kind> {
    BUILT_IN
        .iter()
        .flat_map(|(group, kinds)| kinds.iter().map(move |(kind, resource)| Kind { kind, group, resource }))
        .find(|k| k.group == group && k.resource == resource)
}

type Group = (&'static str, &'static [(&'static str, &'static str)]);

/// As served by Kubernetes 1.36, without the kinds that exist only as request bodies.
const BUILT_IN: &[Group] = &[
    (
        "",
        &[
            ("ConfigMap", "configmaps"),
            ("Endpoints", "endpoints"),
            ("Event", "events"),
            ("LimitRange", "limitranges"),
            ("Namespace", "namespaces"),
            ("Node", "nodes"),
            ("PersistentVolume", "persistentvolumes"),
            ("PersistentVolumeClaim", "persistentvolumeclaims"),
            ("Pod", "pods"),
            ("PodTemplate", "podtemplates"),
            ("ReplicationController", "replicationcontrollers"),
            ("ResourceQuota", "resourcequotas"),
            ("Secret", "secrets"),
            ("Service", "services"),
            ("ServiceAccount", "serviceaccounts"),
        ],
    ),
    (
        "apps",
        &[
            ("ControllerRevision", "controllerrevisions"),
            ("DaemonSet", "daemonsets"),
            ("Deployment", "deployments"),
            ("ReplicaSet", "replicasets"),
            ("StatefulSet", "statefulsets"),
        ],
    ),
    ("autoscaling", &[("HorizontalPodAutoscaler", "horizontalpodautoscalers")]),
    ("batch", &[("CronJob", "cronjobs"), ("Job", "jobs")]),
    ("certificates.k8s.io", &[("CertificateSigningRequest", "certificatesigningrequests")]),
    ("coordination.k8s.io", &[("Lease", "leases")]),
    ("discovery.k8s.io", &[("EndpointSlice", "endpointslices")]),
    (
        "networking.k8s.io",
        &[
            ("IPAddress", "ipaddresses"),
            ("Ingress", "ingresses"),
            ("IngressClass", "ingressclasses"),
            ("NetworkPolicy", "networkpolicies"),
            ("ServiceCIDR", "servicecidrs"),
        ],
    ),
    ("node.k8s.io", &[("RuntimeClass", "runtimeclasses")]),
    ("policy", &[("PodDisruptionBudget", "poddisruptionbudgets")]),
    ("apiextensions.k8s.io", &[("CustomResourceDefinition", "customresourcedefinitions")]),
    ("apiregistration.k8s.io", &[("APIService", "apiservices")]),
    (
        "rbac.authorization.k8s.io",
        &[
            ("ClusterRole", "clusterroles"),
            ("ClusterRoleBinding", "clusterrolebindings"),
            ("Role", "roles"),
            ("RoleBinding", "rolebindings"),
        ],
    ),
    (
        "resource.k8s.io",
        &[
            ("DeviceClass", "deviceclasses"),
            ("ResourceClaim", "resourceclaims"),
            ("ResourceClaimTemplate", "resourceclaimtemplates"),
            ("ResourceSlice", "resourceslices"),
        ],
    ),
    ("scheduling.k8s.io", &[("PriorityClass", "priorityclasses")]),
    (
        "storage.k8s.io",
        &[
            ("CSIDriver", "csidrivers"),
            ("CSINode", "csinodes"),
            ("CSIStorageCapacity", "csistoragecapacities"),
            ("StorageClass", "storageclasses"),
            ("VolumeAttachment", "volumeattachments"),
            ("VolumeAttributesClass", "volumeattributesclasses"),
        ],
    ),
];

/// All names that [`built_in`] knows, for suggestions.
pub fn built_in_names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().flat_map(|(_, kinds)| kinds.iter().map(|(kind, _)| *kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_kind_is_a_built_in_kind() {
        for t in TEMPLATE_KINDS {
            assert!(built_in(t.kind).iter().any(|k| k.group == t.group && k.resource == t.resource), "{}", t.kind);
        }
    }
}
