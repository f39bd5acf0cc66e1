package portcullis.node_defaults_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.node_defaults

contracts := {"tenant-a": {"nodePools": []}, "tenant-b": {"nodePools": ["birch", "birch-big"]}}

parameters := {"tenantLabel": "tenant", "poolLabel": "karpenter.sh/nodepool"}

review(spec) := reviews.create("Pod", reviews.pod_with(spec), parameters)

patches(request) := found if {
	found := node_defaults.patch with input as request with data.tenants as contracts
}

toleration := {"key": "tenant", "operator": "Equal", "value": "tenant-b"}

selector := {"op": "add", "path": "/spec/nodeSelector/tenant", "value": "tenant-b"}

test_what_was_left_out if {
	patches(review({})) == {selector, {"op": "add", "path": "/spec/tolerations", "value": [toleration]}}
	other := {"key": "node.kubernetes.io/not-ready", "operator": "Exists"}
	patches(review({"nodeSelector": {"kubernetes.io/arch": "arm64"}, "tolerations": [other]})) == {
		selector,
		{"op": "add", "path": "/spec/tolerations/-", "value": toleration},
	}
}

test_what_is_set_stays if {
	every labels in [{"tenant": "tenant-x"}, {"karpenter.sh/nodepool": "birch"}] {
		every one in [toleration, {"key": "tenant", "operator": "Exists"}, {"operator": "Exists"}] {
			patches(review({"nodeSelector": labels, "tolerations": [one]})) == set()
		}
	}
}

test_left_alone if {
	patches(reviews.in_place(review({}), "tenant-a")) == set()
	patches(reviews.in_place(review({}), "infra")) == set()
	patches(review({"nodeName": "x"})) == set()
	patches(object.union(review({}), {"request": {"operation": "UPDATE"}})) == set()
	patches(review({"containers": "x"})) == set()
}

test_pods_of_daemon_sets if {
	owned := object.union(review({}), {"request": {"object": {"metadata": {"ownerReferences": [{"kind": "DaemonSet", "controller": true}]}}}})
	every name in ["system:serviceaccount:kube-system:daemon-set-controller", "system:kube-controller-manager"] {
		patches(reviews.asked_by(owned, {"username": name, "groups": []})) == set()
	}
	no_controller := object.union(review({}), {"request": {"object": {"metadata": {"ownerReferences": [{"kind": "DaemonSet", "controller": false}]}}}})
	count(patches(reviews.asked_by(no_controller, {"username": "system:kube-controller-manager", "groups": []}))) == 2
	# Whoever writes such an owner by hand.
	count(patches(reviews.asked_by(owned, reviews.alice))) == 2
}

test_other_owners_are_no_exception if {
	count(patches(object.union(review({}), {"request": {"object": {"metadata": {"ownerReferences": [{"kind": "ReplicaSet", "controller": true}]}}}}))) == 2
}
