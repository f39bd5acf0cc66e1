package portcullis.protected_evictions_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.protected_evictions

parameters := {
	"tenantLabel": "tenant",
	"key": "keep",
	"drainers": {"users": ["system:serviceaccount:kube-system:karpenter"]},
	"breakGlass": {"groups": ["rescue"]},
	"controllers": {"groups": [], "users": ["system:kube-controller-manager"], "userPrefixes": []},
}

contracts := {"tenant-b": {"breakGlass": {"groups": ["tenant-b-oncall"]}}}

inventory := {"namespace": {"tenant-b": {"v1": {"Pod": {
	"db": {"metadata": {"labels": {"keep": "true"}}},
	"queue": {"metadata": {"annotations": {"keep": "true"}}},
	"web": {"metadata": {}},
}}}}}

denied(name, who) := {v.msg | some v in found} if {
	review := object.union(reviews.create("Eviction", {"metadata": {"name": name}}, parameters), {"request": {"name": name, "subResource": "eviction", "userInfo": who}})
	found := protected_evictions.deny with input as review with data.tenants as contracts with data.inventory as inventory
}

test_people if {
	denied("db", reviews.admin) == {"Pod `db` is protected by `keep` and is not evicted"}
	denied("queue", reviews.alice) == {"Pod `queue` is protected by `keep` and is not evicted"}
	denied("web", reviews.alice) == set()
	denied("gone", reviews.alice) == set()
}

test_who_may if {
	every who in [
		{"username": "system:serviceaccount:kube-system:karpenter", "groups": []},
		{"username": "system:kube-controller-manager", "groups": []},
		{"username": "o", "groups": ["tenant-b-oncall"]},
		{"username": "r", "groups": ["rescue"]},
	] {
		denied("db", who) == set()
	}
}
