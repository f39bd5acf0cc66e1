package portcullis.fence_stays_test

import data.portcullis.fence_stays
import data.portcullis.lib.reviews_test as reviews

parameters := {"tenantLabel": "tenant", "controllers": reviews.controllers}

network_policy(name, types) := {"metadata": {"name": name}, "spec": {"podSelector": {}, "policyTypes": types}}

fence := network_policy("default-deny", ["Ingress", "Egress"])

running := {"namespace": {"tenant-b": {"v1": {"Pod": {"p": {"status": {"phase": "Running"}}}}}}}

ended := {"namespace": {"tenant-b": {"v1": {"Pod": {"p": {"status": {"phase": "Succeeded"}}}}}}}

none_here := {"namespace": {"infra": {"v1": {"Pod": {"p": {}}}}}}

with_other(types) := object.union(running, {"namespace": {"tenant-b": {"networking.k8s.io/v1": {"NetworkPolicy": {"default-deny": fence, "other": network_policy("other", types)}}}}})

denied(review, inventory) := {v.msg | some v in found} if {
	found := fence_stays.deny with input as review with data.inventory as inventory
}

gone := reviews.delete("NetworkPolicy", fence, parameters)

message(what) := sprintf("network policy `default-deny` is the fence of namespace `tenant-b` of tenant `tenant-b` for %s, and Pods run there", [what])

test_the_fence_is_not_deleted_while_pods_run if {
	denied(gone, running) == {message("egress and ingress")}
	denied(gone, {}) == {message("egress and ingress")}
	denied(gone, ended) == set()
	denied(gone, none_here) == set()
	denied(reviews.in_place(gone, "infra"), running) == set()
}

test_another_fence_stands_in if {
	denied(gone, with_other(["Ingress", "Egress"])) == set()
	denied(gone, with_other(["Ingress"])) == {message("egress")}
}

test_the_fence_is_not_weakened if {
	denied(reviews.update("NetworkPolicy", network_policy("default-deny", ["Ingress"]), fence, parameters), running) == {message("egress")}
	denied(reviews.update("NetworkPolicy", fence, fence, parameters), running) == set()
}

test_what_is_no_fence_goes if {
	selective := {"metadata": {"name": "x"}, "spec": {"podSelector": {"matchLabels": {"a": "b"}}}}
	denied(reviews.delete("NetworkPolicy", selective, parameters), running) == set()
}

test_controllers_clean_up if denied(reviews.asked_by(gone, reviews.gc), running) == set()
