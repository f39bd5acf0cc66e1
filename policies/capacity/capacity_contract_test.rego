package portcullis.capacity_contract_test

import data.portcullis.capacity_contract
import data.portcullis.lib.reviews_test as reviews

parameters := {"tenantLabel": "tenant"}

tenants := {"tenant-b": {
	"quotas": {"requests.cpu": "8", "pods": "20"},
	"limits": [{"type": "Container", "max": {"cpu": "2"}, "default": {"cpu": "500m"}}],
	"namespaces": {"small": {"quotas": {"pods": "2"}, "limits": []}},
}}

quota(hard) := {"kind": "ResourceQuota", "metadata": {"name": "thing"}, "spec": {"hard": hard}}

limits(items) := {"kind": "LimitRange", "metadata": {"name": "thing"}, "spec": {"limits": items}}

full := quota({"requests.cpu": "8", "pods": 20})

other := {"namespace": {"tenant-b": {"v1": {"ResourceQuota": {"other": full, "thing": full}}}}}

denied(review, inventory) := {v.msg | some v in found} if {
	found := capacity_contract.deny with input as review with data.tenants as tenants with data.inventory as inventory
}

made(object) := denied(reviews.create(object.kind, object, parameters), {})

test_the_numbers_of_the_contract if {
	made(full) == set()
	made(quota({"cpu": "8000m", "pods": "20", "services": "5"})) == set()
	made(limits([{"type": "Container", "max": {"cpu": 2}, "default": {"cpu": "0.5"}, "min": {"cpu": "1m"}}, {"type": "Pod", "max": {"cpu": "4"}}])) == set()
}

test_other_numbers if {
	made(quota({"requests.cpu": "16", "pods": "20"})) == {"ResourceQuota `thing` of namespace `tenant-b` says 16 for requests.cpu, and the contract of tenant `tenant-b` says 8"}
	made(quota({"requests.cpu": "8"})) == {"ResourceQuota `thing` of namespace `tenant-b` says nothing for pods, and the contract of tenant `tenant-b` says 20"}
	made(limits([{"type": "Container", "max": {"cpu": "4"}, "default": {"cpu": "500m"}}])) == {"LimitRange `thing` of namespace `tenant-b` says 4 for Container max cpu, and the contract of tenant `tenant-b` says 2"}
	count(made(limits([{"type": "Container", "default": {"cpu": "500m"}}]))) == 1
}

test_numbers_that_are_free if {
	made(quota({"services": "5"})) == set()
	made({"kind": "ResourceQuota", "spec": {"hard": {"pods": "100"}, "scopes": ["Terminating"]}}) == set()
	made({"kind": "ResourceQuota", "spec": {"hard": {"pods": "100"}, "scopeSelector": {}}}) == set()
	denied(reviews.in_place(reviews.create("ResourceQuota", quota({"pods": "100"}), parameters), "infra"), {}) == set()
}

test_another_object_says_the_rest if {
	denied(reviews.create("ResourceQuota", quota({"requests.cpu": "8"}), parameters), other) == set()
}

test_updates if {
	denied(reviews.update("ResourceQuota", quota({"services": "5"}), full, parameters), {}) == {
		"ResourceQuota `thing` of namespace `tenant-b` says nothing for pods, and the contract of tenant `tenant-b` says 20",
		"ResourceQuota `thing` of namespace `tenant-b` says nothing for requests.cpu, and the contract of tenant `tenant-b` says 8",
	}
	count(denied(reviews.update("ResourceQuota", quota({"pods": "100", "cpu": "8"}), full, parameters), {})) == 1
}

test_a_namespace_with_numbers_of_its_own if {
	review := object.union(reviews.create("ResourceQuota", quota({"pods": "2"}), parameters), {"request": {"namespace": "small"}})
	denied(review, {}) == set()
	free := object.union(reviews.create("LimitRange", limits([{"type": "Container", "max": {"cpu": "9"}}]), parameters), {"request": {"namespace": "small"}})
	denied(free, {}) == set()
}
