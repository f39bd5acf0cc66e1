package portcullis.capacity_stays_test

import data.portcullis.capacity_stays
import data.portcullis.lib.reviews_test as reviews

parameters := {"tenantLabel": "tenant", "controllers": reviews.controllers}

tenants := {"tenant-b": {
	"quotas": {"requests.cpu": "8", "pods": "20"},
}}

quota(hard) := {"kind": "ResourceQuota", "metadata": {"name": "thing"}, "spec": {"hard": hard}}


full := quota({"requests.cpu": "8", "pods": 20})

other := {"namespace": {"tenant-b": {"v1": {"ResourceQuota": {"other": full, "thing": full}}}}}

denied(review, inventory) := {v.msg | some v in found} if {
	found := capacity_stays.deny with input as review with data.tenants as tenants with data.inventory as inventory
}

test_deletes if {
	gone := reviews.delete("ResourceQuota", full, parameters)
	denied(gone, {}) == {"ResourceQuota `thing` says what the contract of tenant `tenant-b` says for pods, requests.cpu, and nothing else in namespace `tenant-b` does"}
	count(denied(reviews.delete("ResourceQuota", quota({"pods": "20"}), parameters), {})) == 1
	denied(gone, other) == set()
	denied(reviews.asked_by(gone, reviews.gc), {}) == set()
	denied(reviews.delete("ResourceQuota", quota({"services": "5"}), parameters), {}) == set()
}
