//! Whether a policy has anything to say on a request that its match takes. Knows Pods and their templates only.

use serde_json::Value;

use crate::admission::{Operation, Request};
use crate::engine::Endpoint;
use crate::engine::snapshot::Policy;
use crate::policy::Taken;

impl Policy {
    /// Whether the policy has anything to say on a request that its match takes.
    pub(crate) fn wants(&self, request: &Request, taken: Taken, endpoint: Endpoint) -> bool {
        match endpoint {
            Endpoint::Mutate => {
                // A changed template rolls out a workload, and a Pod's spec cannot be changed: Pods when they are made.
                let made = request.operation == Operation::Create && request.sub_resource.is_empty();
                taken == Taken::AsIs && (!self.matching.on_pods || made) && request.object().is_object()
            }
            Endpoint::Validate => {
                let of_spec = ["", "ephemeralcontainers", "resize"].contains(&request.sub_resource.as_str());
                let pod = request.kind.kind == "Pod" && request.kind.group.is_empty() && of_spec;
                let on_pod = self.matching.on_pods && (pod || taken != Taken::AsIs);
                !(on_pod && request.operation == Operation::Update && !pod_changed(request, taken))
            }
        }
    }
}

/// Whether an UPDATE changed the Pod's (or the template's) spec, labels or annotations. Kubelets, finalizers and
/// controllers update Pods all the time without that.
fn pod_changed(request: &Request, taken: Taken) -> bool {
    fn pod(object: &Value, taken: Taken) -> Option<&Value> {
        match taken {
            Taken::AsIs => Some(object),
            Taken::Template(kind) => kind.path.iter().try_fold(object, |o, step| o.get(step)),
        }
    }
    match (pod(request.object(), taken), pod(request.old_object(), taken)) {
        (Some(new), Some(old)) => {
            ["/spec", "/metadata/labels", "/metadata/annotations"].iter().any(|p| new.pointer(p) != old.pointer(p))
        }
        _ => true,
    }
}
