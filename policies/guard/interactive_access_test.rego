package portcullis.interactive_access_test

import data.portcullis.interactive_access
import data.portcullis.lib.reviews_test as reviews

parameters := {
	"tenantLabel": "tenant",
	"environmentLabel": "environment",
	"environments": ["prod"],
	"debugImages": ["registry.example.com/debug*"],
	"breakGlass": {"groups": ["rescue"]},
	"platformGroups": ["system:masters"],
	"controllers": reviews.controllers,
}

contracts := {"tenant-b": {"breakGlass": {"groups": ["tenant-b-oncall"]}}}

denied(review) := {v.msg | some v in found} if {
	found := interactive_access.deny with input as review with data.tenants as contracts
}

connect(resource, way, environment) := object.union(
	reviews.of("CONNECT", "PodExecOptions", resource, {"command": ["sh"]}, null, parameters),
	{
		"request": {"subResource": way, "name": "web", "userInfo": reviews.alice},
		"namespace": {"labels": {"tenant": "tenant-b", "environment": environment}},
	},
)

test_production if {
	denied(connect("pods", "exec", "prod")) == {"namespace `tenant-b` is `prod`: nobody may exec into Pod `web` there but in an emergency"}
	denied(connect("services", "proxy", "prod")) == {"namespace `tenant-b` is `prod`: nobody may reach by proxy Service `web` there but in an emergency"}
	denied(connect("pods", "exec", "dev")) == set()
}

test_who_may if {
	every who in [reviews.admin, reviews.gc, {"username": "o", "groups": ["tenant-b-oncall"]}, {"username": "r", "groups": ["rescue"]}] {
		denied(reviews.asked_by(connect("pods", "exec", "prod"), who)) == set()
	}
}

test_nodes if {
	node := object.union(connect("nodes", "proxy", "dev"), {"request": {"namespace": "", "name": "n1"}})
	denied(node) == {"only the platform may reach node `n1` by proxy: all Pods on it would be open"}
	denied(reviews.asked_by(node, {"username": "r", "groups": ["rescue"]})) == set()
	denied(reviews.asked_by(node, reviews.admin)) == set()
}

ephemeral(containers) := {"spec": {"ephemeralContainers": containers}}

test_images if {
	one := {"name": "one", "image": "busybox"}
	two := {"name": "two", "image": "registry.example.com/debug:1"}
	three := {"name": "three", "image": "alpine"}
	review := object.union(
		reviews.of("UPDATE", "Pod", "pods", ephemeral([one, two, three]), ephemeral([one]), parameters),
		{"request": {"subResource": "ephemeralcontainers"}},
	)
	denied(review) == {"ephemeral container `three` runs `alpine`, which is not an image for debugging"}
	denied(object.union(review, {"parameters": {"debugImages": []}})) == set()
}
