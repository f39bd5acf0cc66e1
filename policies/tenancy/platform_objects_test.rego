package portcullis.platform_objects_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.platform_objects

parameters := {
	"tenantLabel": "tenant",
	"networkPolicies": ["default-deny"],
	"protectedKeys": ["owner", "pod-security.kubernetes.io/*"],
	"controllers": reviews.controllers,
	"platformGroups": ["system:masters"],
	"platformUsers": ["flux"],
}

asked(operation, group, resource, name) := reviews.asked_by(object.union(
	reviews.of(operation, "Thing", resource, {"metadata": {"name": name}}, {"metadata": {"name": name}}, parameters),
	{"request": {"name": name, "resource": {"group": group}}},
), reviews.alice)

denied(review) := {v.msg | some v in found} if {
	found := platform_objects.deny with input as review
}

test_quotas_and_limits if {
	denied(asked("UPDATE", "", "resourcequotas", "q")) == {"only the platform may change resourcequotas in namespace `tenant-b` of tenant `tenant-b`"}
	denied(asked("DELETE", "", "limitranges", "l")) == {"only the platform may delete limitranges in namespace `tenant-b` of tenant `tenant-b`"}
	denied(reviews.in_place(asked("DELETE", "", "limitranges", "l"), "infra")) == set()
	every who in [reviews.admin, reviews.gc, {"username": "flux"}] {
		denied(reviews.asked_by(asked("UPDATE", "", "resourcequotas", "q"), who)) == set()
	}
}

test_network_policies if {
	denied(asked("DELETE", "networking.k8s.io", "networkpolicies", "default-deny")) == {"only the platform may delete the network policy `default-deny` of namespace `tenant-b`"}
	denied(asked("CREATE", "networking.k8s.io", "networkpolicies", "mine")) == set()
	denied(reviews.asked_by(asked("DELETE", "networking.k8s.io", "networkpolicies", "default-deny"), reviews.admin)) == set()
	collection := object.union(asked("DELETE", "networking.k8s.io", "networkpolicies", "default-deny"), {"request": {"name": "", "object": null}})
	count(denied(collection)) == 1
	generated := object.union(asked("CREATE", "networking.k8s.io", "networkpolicies", "default-deny"), {"request": {"name": "", "oldObject": null}})
	count(denied(generated)) == 1
}

test_policies if {
	denied(asked("CREATE", "portcullis.io", "policyexceptions", "x")) == {"only the platform may make policyexceptions of portcullis.io"}
	count(denied(reviews.in_place(asked("CREATE", "portcullis.io", "policyexceptions", "x"), "infra"))) == 1
}

namespace(labels) := {"metadata": {"name": "tenant-b", "labels": object.union({"tenant": "tenant-b", "owner": "o"}, labels)}}

relabelled(before, after) := object.union(asked("UPDATE", "", "namespaces", "tenant-b"), {"request": {
	"object": after,
	"oldObject": before,
}})

test_labels_of_namespaces if {
	denied(relabelled(namespace({}), namespace({"team": "x"}))) == set()
	denied(relabelled(namespace({}), namespace({"owner": "x"}))) == {"only the platform changes `owner` of namespace `tenant-b` of tenant `tenant-b`"}
	denied(relabelled(namespace({"pod-security.kubernetes.io/enforce": "baseline"}), namespace({}))) == {"only the platform changes `pod-security.kubernetes.io/enforce` of namespace `tenant-b` of tenant `tenant-b`"}
	annotated := object.union(namespace({}), {"metadata": {"annotations": {"owner": "x"}}})
	count(denied(relabelled(namespace({}), annotated))) == 1
	denied(reviews.asked_by(relabelled(namespace({}), annotated), reviews.admin)) == set()
}
