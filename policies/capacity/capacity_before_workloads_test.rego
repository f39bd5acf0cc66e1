package portcullis.capacity_before_workloads_test

import data.portcullis.capacity_before_workloads
import data.portcullis.lib.reviews_test as reviews

tenants := {"tenant-b": {"quotas": {"pods": "20", "requests.cpu": "8"}, "limits": [{"type": "Container", "max": {"cpu": "2"}}]}}

asked(how) := reviews.create("Pod", reviews.pod({}), {"tenantLabel": "tenant", "whenUnknown": how})

both := {"namespace": {"tenant-b": {"v1": {
	"ResourceQuota": {
		"one": {"kind": "ResourceQuota", "spec": {"hard": {"pods": "20"}}},
		"two": {"kind": "ResourceQuota", "spec": {"hard": {"cpu": "8"}}},
	},
	"LimitRange": {"one": {"kind": "LimitRange", "spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}}]}}},
}}}}

wrong := object.union(both, {"namespace": {"tenant-b": {"v1": {"ResourceQuota": {"two": {"spec": {"hard": {"cpu": "80"}}}}}}}})

denied(review, inventory) := {v.msg | some v in found} if {
	found := capacity_before_workloads.deny with input as review with data.tenants as tenants with data.inventory as inventory
}

warned(review, inventory) := {v.msg | some v in found} if {
	found := capacity_before_workloads.warn with input as review with data.tenants as tenants with data.inventory as inventory
}

test_there if {
	denied(asked("warn"), both) == set()
	warned(asked("warn"), both) == set()
	denied(reviews.in_place(asked("warn"), "infra"), wrong) == set()
}

test_another_number if denied(asked("warn"), wrong) == {"no ResourceQuota in namespace `tenant-b` says what the contract of tenant `tenant-b` says for requests.cpu"}

test_not_known if {
	warned(asked("warn"), {}) == {
		"whether namespace `tenant-b` has its ResourceQuota is not known: none is in data.inventory",
		"whether namespace `tenant-b` has its LimitRange is not known: none is in data.inventory",
	}
	denied(asked("warn"), {}) == set()
	count(denied(asked("deny"), {})) == 2
	warned(asked("deny"), {}) == set()
}
