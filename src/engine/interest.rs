//! Whether a policy has anything to say on a request that its match takes. Knows Pods and their templates only.

use serde_json::Value;

use crate::admission::{Operation, Request};
use crate::engine::Endpoint;
use crate::engine::snapshot::Policy;
use crate::engine::veil::results as veil;
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
            Endpoint::Validate => !self.may_be_untouched(request, taken) || pod_changed(request, taken),
        }
    }

    /// Whether it is about Pods and the request an UPDATE, which need not touch what such policies judge.
    fn may_be_untouched(&self, request: &Request, taken: Taken) -> bool {
        let of_spec = ["", "ephemeralcontainers", "resize"].contains(&request.sub_resource.as_str());
        let pod = request.kind.kind == "Pod" && request.kind.group.is_empty() && of_spec;
        let on_pod = self.matching.on_pods && (pod || taken != Taken::AsIs);
        on_pod && request.operation == Operation::Update
    }

    /// Notes what is veiled and alone says whether the policy had anything to say: a Pod that has changed in nothing else
    /// may not have changed at all.
    pub(crate) fn look_at_change(&self, request: &Request, taken: Taken, endpoint: Endpoint) {
        if endpoint != Endpoint::Validate || !self.may_be_untouched(request, taken) {
            return;
        }
        let Some(parts) = parts(request, taken) else { return };
        let same = |(new, old): &(Option<&Value>, Option<&Value>)| match (new, old) {
            (Some(new), Some(old)) => veil::equal(new, old),
            (new, old) => Some(new.is_none() && old.is_none()),
        };
        if parts.iter().all(|part| same(part) != Some(false)) {
            let unsure = parts.iter().filter(|part| same(part).is_none());
            unsure.flat_map(|(new, old)| [*new, *old]).flatten().for_each(veil::look_through);
        }
    }
}

/// Whether an UPDATE changed the Pod's (or the template's) spec, labels or annotations. Kubelets, finalizers and
/// controllers update Pods all the time without that.
fn pod_changed(request: &Request, taken: Taken) -> bool {
    parts(request, taken).is_none_or(|parts| parts.iter().any(|(new, old)| new != old))
}

/// What counts of a Pod, or of a template, now and before; `None` where one of them is not there.
fn parts(request: &Request, taken: Taken) -> Option<[(Option<&Value>, Option<&Value>); 3]> {
    let pod = |object| match taken {
        Taken::AsIs => Some(object),
        Taken::Template(kind) => kind.path.iter().try_fold(object, |o: &Value, step| o.get(step)),
    };
    let (new, old) = (pod(request.object())?, pod(request.old_object())?);
    Some(["/spec", "/metadata/labels", "/metadata/annotations"].map(|p| (new.pointer(p), old.pointer(p))))
}
