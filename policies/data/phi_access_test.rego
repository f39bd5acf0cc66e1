package portcullis.phi_access_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.phi_access

contracts := {
	"tenant-a": {"classification": {"allowed": ["internal"]}},
	"tenant-b": {"classification": {"allowed": ["internal", "phi"]}, "breakGlass": {"groups": ["tenant-b-oncall"]}},
}

inventory := {"namespace": {"tenant-b": {"v1": {"Pod": {
	"records": {"metadata": {"labels": {"classification": "phi"}}},
	"web": {"metadata": {"labels": {"classification": "internal"}}},
}}}}}

parameters := {
	"tenantLabel": "tenant",
	"label": "classification",
	"phiLevels": ["phi"],
	"breakGlass": {"groups": [], "users": ["dr-on-duty"]},
	"whenUnknown": "warn",
}

oncall := {"username": "olga", "groups": ["tenant-b-oncall"]}

into(name, way) := object.union(
	reviews.of("CONNECT", "PodExecOptions", "pods", {}, null, parameters),
	{"request": {"name": name, "subResource": way}},
)

denied(review) := {v.msg | some v in found} if {
	found := phi_access.deny with input as review with data.tenants as contracts with data.inventory as inventory
}

warned(review) := {v.msg | some v in found} if {
	found := phi_access.warn with input as review with data.tenants as contracts with data.inventory as inventory
}

test_phi if {
	every way, said in {"exec": "exec into", "attach": "attach to", "portforward": "forward ports of"} {
		every who in [reviews.admin, reviews.alice] {
			denied(reviews.asked_by(into("records", way), who)) == {sprintf("nobody may %s Pod `records`, which handles PHI, but in an emergency", [said])}
		}
	}
}

through(resource, name) := object.union(
	reviews.of("CONNECT", "PodProxyOptions", resource, {}, null, parameters),
	{"request": {"name": name, "subResource": "proxy"}},
)

test_proxy if {
	denied(through("pods", "records")) == {"nobody may reach through the API server Pod `records`, which handles PHI, but in an emergency"}
	marked := object.union(through("services", "web"), {"namespace": {"labels": {"classification": "phi"}}})
	denied(marked) == {"nobody may reach through the API server Service `web`, which handles PHI, but in an emergency"}
	denied(reviews.asked_by(marked, oncall)) == set()
	warned(through("services", "web")) == {"nothing is known of Service `web`, and tenant `tenant-b` may have PHI"}
}

# A namespace that says nothing has the class that the contract has for such.
test_the_contracts_class if {
	default_phi := {"tenant-b": {"classification": {"allowed": ["phi"], "default": "phi"}}}
	found := phi_access.deny with input as into("web", "exec") with data.tenants as default_phi with data.inventory as inventory
	count(found) == 1
	said := object.union(into("web", "exec"), {"namespace": {"labels": {"classification": "internal"}}})
	none := phi_access.deny with input as said with data.tenants as default_phi with data.inventory as inventory
	none == set()
}

# An ephemeral container comes with its Pod, so what the inventory has does not matter.
test_ephemeral_containers_of_unknown_pods if {
	review := object.union(
		reviews.update("Pod", reviews.pod({}), reviews.pod({}), parameters),
		{"request": {"name": "unknown", "subResource": "ephemeralcontainers"}},
	)
	warned(review) == set()
}

test_emergency if {
	denied(reviews.asked_by(into("records", "exec"), oncall)) == set()
	denied(reviews.asked_by(into("records", "exec"), {"username": "dr-on-duty", "groups": []})) == set()
}

test_other_pods if {
	denied(into("web", "exec")) == set()
	warned(into("web", "exec")) == set()
}

test_namespaces if {
	marked := object.union(into("web", "exec"), {"namespace": {"labels": {"classification": "phi"}}})
	count(denied(marked)) == 1
}

test_unknown_pods if {
	nothing := {"nothing is known of Pod `new`, and tenant `tenant-b` may have PHI"}
	warned(into("new", "exec")) == nothing
	denied(into("new", "exec")) == set()
	strict := reviews.with_parameters(into("new", "exec"), {"whenUnknown": "deny"})
	denied(strict) == nothing
	warned(strict) == set()
	warned(reviews.asked_by(into("new", "exec"), oncall)) == set()
	warned(reviews.in_place(into("new", "exec"), "tenant-a")) == set()
}

test_ephemeral_containers if {
	pod := {"metadata": {"labels": {"classification": "phi"}}}
	review := object.union(
		reviews.of("UPDATE", "Pod", "pods", pod, pod, parameters),
		{"request": {"subResource": "ephemeralcontainers"}},
	)
	denied(review) == {"nobody may add a container to Pod `thing`, which handles PHI, but in an emergency"}
	denied(object.union(review, {"request": {"oldObject": {"metadata": {"labels": {"classification": "internal"}}}}})) == set()
}
