package portcullis.fence_before_workloads_test

import data.portcullis.fence_before_workloads
import data.portcullis.lib.reviews_test as reviews

asked(how) := reviews.create("Pod", reviews.pod({}), {"tenantLabel": "tenant", "whenUnknown": how})

fence(types) := {"namespace": {"tenant-b": {"networking.k8s.io/v1": {"NetworkPolicy": {"d": {"spec": {"podSelector": {}, "policyTypes": types}}}}}}}

elsewhere := {"namespace": {"infra": {"networking.k8s.io/v1": {"NetworkPolicy": {"d": {"spec": {"podSelector": {}}}}}}}}

denied(review, inventory) := {v.msg | some v in found} if {
	found := fence_before_workloads.deny with input as review with data.inventory as inventory
}

warned(review, inventory) := {v.msg | some v in found} if {
	found := fence_before_workloads.warn with input as review with data.inventory as inventory
}

test_a_fenced_namespace if {
	denied(asked("warn"), fence(["Ingress", "Egress"])) == set()
	warned(asked("warn"), fence(["Ingress", "Egress"])) == set()
}

test_half_a_fence if denied(asked("warn"), fence(["Ingress"])) == {"namespace `tenant-b` of tenant `tenant-b` has no default deny for egress, so no workload comes into it"}

test_no_fence if {
	denied(asked("warn"), elsewhere) == {"namespace `tenant-b` of tenant `tenant-b` has no default deny for egress and ingress, so no workload comes into it"}
	denied(reviews.in_place(asked("warn"), "infra"), elsewhere) == set()
}

test_no_inventory if {
	message := "whether namespace `tenant-b` has a default deny is not known: no network policy is in data.inventory"
	denied(asked("warn"), {}) == set()
	warned(asked("warn"), {}) == {message}
	denied(asked("deny"), {}) == {message}
	warned(asked("deny"), {}) == set()
}
