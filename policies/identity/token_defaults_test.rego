package portcullis.token_defaults_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.token_defaults

patched(pod) := {[p.op, p.path] | some p in found} if {
	review := reviews.create("Pod", pod, {"tenantLabel": "tenant"})
	found := token_defaults.patch with input as review
}

test_pods_that_say_nothing if {
	patched(reviews.pod({})) == {["add", "/spec/automountServiceAccountToken"]}
	patched(reviews.pod_with({"serviceAccountName": "default"})) == {["add", "/spec/automountServiceAccountToken"]}
}

test_what_was_put_in_is_taken_out if {
	mounts := {"volumeMounts": [{"name": "data"}, {"name": "kube-api-access-abcde"}]}
	pod := reviews.pod_with({
		"volumes": [{"name": "kube-api-access-abcde"}, {"name": "data"}],
		"initContainers": [object.union({"name": "i"}, mounts)],
		"containers": [{"name": "x"}, object.union({"name": "c"}, mounts)],
	})
	patched(pod) == {
		["add", "/spec/automountServiceAccountToken"],
		["remove", "/spec/volumes/0"],
		["remove", "/spec/initContainers/0/volumeMounts/1"],
		["remove", "/spec/containers/1/volumeMounts/1"],
	}
}

test_the_rest_stays if {
	every spec in [{"automountServiceAccountToken": true}, {"automountServiceAccountToken": false}, {"serviceAccountName": "app"}, {"serviceAccount": "app"}] {
		patched(reviews.pod_with(spec)) == set()
	}
	patched({"spec": "x"}) == set()
	review := reviews.in_place(reviews.create("Pod", reviews.pod({}), {"tenantLabel": "tenant"}), "infra")
	count(token_defaults.patch) == 0 with input as review
}
