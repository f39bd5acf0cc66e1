package portcullis.phi_placement_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.phi_placement

contracts := {"tenant-a": {"classification": {"allowed": ["internal"]}}, "tenant-b": {"classification": {"allowed": ["phi"]}}}

parameters := {
	"tenantLabel": "tenant",
	"label": "classification",
	"phiLevels": ["phi"],
	"registries": [],
	"nodePools": [],
	"poolLabel": "karpenter.sh/nodepool",
	"logShippers": ["*fluent-bit*"],
	"logSidecars": ["registry.example.com/logs/*"],
}

phi := {"classification": "phi"}

review(labels, spec) := reviews.create("Pod", object.union(reviews.pod_with(spec), {"metadata": {"labels": labels}}), parameters)

judged(request) := {v.msg | some v in found} if {
	found := phi_placement.deny with input as request with data.tenants as contracts
}

test_namespaces if {
	judged(review(phi, {})) == set()
	judged(reviews.in_place(review({}, {}), "tenant-a")) == set()
	every namespace in ["tenant-a", "infra"] {
		judged(reviews.in_place(review(phi, {}), namespace)) == {sprintf("a PHI Pod has no place in namespace `%s`: neither its label nor a contract allows PHI", [namespace])}
	}
	marked := object.union(reviews.in_place(review(phi, {}), "infra"), {"namespace": {"labels": phi}})
	judged(marked) == set()
}

limited(labels) := reviews.with_parameters(review(labels, {}), {"registries": ["registry.example.com/phi/"]})

test_registries if {
	judged(limited(phi)) == {"container `app` of a PHI Pod has image `registry.example.com/app:1.0.0`, which is from no registry for PHI"}
	judged(limited({})) == set()
	judged(reviews.with_parameters(review(phi, {}), {"registries": ["registry.example.com/"]})) == set()
}

test_node_pools if {
	pools := {"nodePools": ["phi"]}
	judged(reviews.with_parameters(review(phi, {}), pools)) == {"a PHI Pod must select a node pool for PHI, not `null`"}
	judged(reviews.with_parameters(review(phi, {"nodeSelector": {"karpenter.sh/nodepool": "phi"}}), pools)) == set()
	judged(reviews.with_parameters(review({}, {}), pools)) == set()
}

with_image(labels, image) := review(labels, {"containers": [{"name": "logs", "image": image}]})

test_log_sidecars if {
	judged(with_image(phi, "docker.io/fluent/fluent-bit:3")) == {"container `logs` of a PHI Pod ships logs with image `docker.io/fluent/fluent-bit:3`, which is not allowed beside PHI"}
	judged(with_image(phi, "registry.example.com/logs/fluent-bit:3.1")) == set()
	judged(with_image({}, "docker.io/fluent/fluent-bit:3")) == set()
}
