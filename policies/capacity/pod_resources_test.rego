package portcullis.pod_resources_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.pod_resources

parameters := {"tenantLabel": "tenant", "requests": ["cpu", "memory"], "limits": ["cpu", "memory"]}

bounds := {"limits": [{"type": "Container", "max": {"cpu": "2"}}], "ratios": {"cpu": 4}}

defaults := {"limits": [{"type": "Container", "default": {"cpu": "500m", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m", "memory": "1Gi"}}]}

denied(pod, contract) := {v.msg | some v in found} if {
	review := reviews.create("Pod", pod, parameters)
	found := pod_resources.deny with input as review with data.tenants as {"tenant-b": contract}
}

fields(pod, contract) := {v.field | some v in found} if {
	review := reviews.create("Pod", pod, parameters)
	found := pod_resources.deny with input as review with data.tenants as {"tenant-b": contract}
}

resources(requests, limits) := reviews.pod({"resources": {"requests": requests, "limits": limits}})

full := resources({"cpu": "500m", "memory": "1Gi"}, {"cpu": "2", "memory": "1Gi"})

test_what_is_said if denied(full, bounds) == set()

test_what_is_missing if {
	denied(reviews.pod({}), {}) == {
		"container `app` has no request for cpu",
		"container `app` has no request for memory",
		"container `app` has no limit for cpu",
		"container `app` has no limit for memory",
	}
	fields(resources({"cpu": "1", "memory": "1Gi"}, {"memory": "1Gi"}), {}) == {"spec.containers[0].resources.limits"}
	denied(resources({}, {"cpu": "1", "memory": "1Gi"}), {}) == set()
}

test_nothing_is_no_limit if {
	denied(resources({"cpu": "0", "memory": "1Gi"}, {"cpu": 0, "memory": "1Gi"}), bounds) == {
		"container `app` has no request for cpu: 0 is none",
		"container `app` has no limit for cpu: 0 is none",
	}
	denied(resources({"cpu": "0m"}, {"cpu": "1", "memory": "1Gi"}), {}) == {"container `app` has no request for cpu: 0 is none"}
}

test_the_contract_fills_in if {
	denied(reviews.pod({}), defaults) == set()
	denied(resources({}, {"cpu": "50m"}), defaults) == set()
	denied(resources({"cpu": "1"}, {}), defaults) == {"container `app` asks for 1 of cpu, which is more than its limit 500m"}
}

test_the_pod_fills_in if {
	pod := reviews.pod_with({"resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}})
	denied(pod, {}) == set()
}

test_bounds if {
	denied(resources({"cpu": "1", "memory": "1Gi"}, {"cpu": "3", "memory": "1Gi"}), bounds) == {"container `app` may use 3 of cpu, and the contract of tenant `tenant-b` lets a container use 2"}
	denied(resources({"cpu": "400m", "memory": "1Gi"}, {"cpu": "2", "memory": "1Gi"}), bounds) == {"container `app` asks for 400m of cpu and may use 2: more than 4 times as much"}
	fields(resources({"cpu": "1", "memory": "1Gi"}, {"cpu": "3", "memory": "1Gi"}), bounds) == {"spec.containers[0].resources.limits.cpu"}
}

test_ephemeral_storage if {
	fields(full, {"limits": [{"type": "Container", "max": {"ephemeral-storage": "1Gi"}}]}) == {"spec.containers[0].resources.requests", "spec.containers[0].resources.limits"}
	count(denied(full, {"quotas": {"requests.ephemeral-storage": "1Gi"}})) == 2
}

test_memory_volumes if {
	volumes := [{"name": "a", "emptyDir": {}}, {"name": "b", "emptyDir": {"medium": "Memory"}}, {"name": "c", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}]
	denied(object.union(full, {"spec": {"volumes": volumes}}), {}) == {"volume `b` is in memory and has no sizeLimit"}
}

test_containers_of_all_kinds if {
	pod := object.union(full, {"spec": {"initContainers": [{"name": "i"}], "ephemeralContainers": [{"name": "e"}]}})
	fields(pod, {}) == {"spec.initContainers[0].resources.requests", "spec.initContainers[0].resources.limits"}
}

test_others_are_let_be if {
	review := reviews.in_place(reviews.create("Pod", reviews.pod({}), parameters), "infra")
	count(pod_resources.deny) == 0 with input as review
}
