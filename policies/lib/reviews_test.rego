# Requests for the tests of policies: an administrator makes an object in the namespace of tenant-b. What is given in
# `changes` is laid over.
package portcullis.lib.reviews_test

import data.portcullis.lib.quantities
import data.portcullis.lib.requester
import data.portcullis.lib.tenants

controllers := {
	"groups": ["system:nodes", "system:serviceaccounts:kube-system"],
	"users": ["system:kube-scheduler", "system:kube-controller-manager", "system:apiserver"],
	"userPrefixes": ["eks:"],
}

admin := {"username": "admin", "groups": ["system:masters", "system:authenticated"]}

alice := {"username": "alice@tenant-b.example.com", "groups": ["tenant-b-devs", "system:authenticated"]}

gc := {"username": "system:serviceaccount:kube-system:generic-garbage-collector", "groups": ["system:serviceaccounts:kube-system"]}

labels_of := {
	"tenant-a": {"tenant": "tenant-a"},
	"tenant-b": {"tenant": "tenant-b"},
	"infra": {},
}

of(operation, kind, resource, object, old, parameters) := {
	"request": {
		"operation": operation,
		"kind": {"group": "", "version": "v1", "kind": kind},
		"resource": {"group": "", "version": "v1", "resource": resource},
		"namespace": "tenant-b",
		"name": "thing",
		"userInfo": admin,
		"object": object,
		"oldObject": old,
	},
	"namespace": {"name": "tenant-b", "labels": labels_of["tenant-b"]},
	"parameters": parameters,
}

create(kind, object, parameters) := of("CREATE", kind, "things", object, null, parameters)

update(kind, object, old, parameters) := of("UPDATE", kind, "things", object, old, parameters)

delete(kind, old, parameters) := of("DELETE", kind, "things", null, old, parameters)

in_place(review, namespace) := object.union(
	object.remove(review, ["namespace"]),
	{"request": {"namespace": namespace}, "namespace": {"name": namespace, "labels": labels_of[namespace]}},
)

asked_by(review, who) := object.union(review, {"request": {"userInfo": who}})

with_parameters(review, changes) := object.union(review, {"parameters": changes})

# A Pod with one container.
pod(container) := {"metadata": {"name": "thing"}, "spec": {"containers": [object.union({"name": "app", "image": "registry.example.com/app:1.0.0"}, container)]}}

pod_with(spec) := {"metadata": {"name": "thing"}, "spec": object.union({"containers": [{"name": "app", "image": "registry.example.com/app:1.0.0"}]}, spec)}

# ---- The libraries themselves

test_quantities if {
	quantities.number("500m") == 0.5
	quantities.number("16Gi") == 17179869184
	quantities.number(2) == 2
	quantities.number("1e3") == 1000
	quantities.number("1000000u") == 1
	quantities.number("5.") == 5
	not quantities.number("many")
	not quantities.number(null)
	not quantities.number("1e1000000000")
	quantities.same("1000m", "1")
	quantities.same("odd", "odd")
	not quantities.same("1", "2")
	quantities.above("2", "1500m")
	not quantities.above("1", "1")
}

test_who_asks if {
	with_controllers := {"controllers": controllers, "platformGroups": ["platform"], "platformUsers": ["robot"]}
	requester.controller with input as asked_by(create("Pod", {}, with_controllers), gc)
	requester.controller with input as asked_by(create("Pod", {}, with_controllers), {"username": "eks:addon-manager"})
	requester.platform with input as asked_by(create("Pod", {}, with_controllers), {"username": "robot"})
	requester.platform with input as asked_by(create("Pod", {}, with_controllers), {"username": "x", "groups": ["platform"]})
	not requester.platform with input as asked_by(create("Pod", {}, with_controllers), alice)
	not requester.platform with input as {"request": {}, "parameters": {}}
	requester.username == "" with input as {"request": {"userInfo": {"username": 5}}}
	requester.breaks_glass("t") with input as asked_by(create("Pod", {}, {}), alice) with data.tenants as {"t": {"breakGlass": {"users": [alice.username]}}}
}

test_whose_namespace if {
	tenants.owner == "tenant-b" with input as create("Pod", {}, {})
	not tenants.owner with input as in_place(create("Pod", {}, {}), "infra")
	tenants.owner == "t" with input as {"request": {"resource": {"group": "", "resource": "namespaces"}, "object": {"metadata": {"labels": {"tenant": "t"}}}}}
	tenants.owner == "o" with input as {"request": {"resource": {"group": "", "resource": "namespaces"}, "oldObject": {"metadata": {"labels": {"tenant": "o"}}}, "object": {"metadata": {"labels": {"tenant": "t"}}}}}
	tenants.owner == "x" with input as {"request": {"namespace": "n", "resource": {"resource": "pods"}}, "namespace": {"labels": {"own": "x"}}, "parameters": {"tenantLabel": "own"}}
	tenants.contract == {} with input as create("Pod", {}, {}) with data.tenants as {}
	tenants.all == {} with data.tenants as "odd"
	tenants.namespace == "" with input as {"request": {}}
	tenants.name == "" with input as {"request": {}}
	tenants.name == "thing" with input as create("Pod", {}, {})
}

test_other_namespaces if {
	inventory := {
		"cluster": {"v1": {"Namespace": {"tenant-a": {"metadata": {"labels": {"tenant": "tenant-a"}}}}}},
		"namespace": {"tenant-a": {"v1": {"Pod": {"p": {}}}}},
	}
	review := create("Pod", {}, {})
	tenants.of_namespace("tenant-a") == "tenant-a" with input as review with data.inventory as inventory
	tenants.of_namespace("tenant-b") == "tenant-b" with input as review with data.inventory as inventory
	not tenants.of_namespace("x") with input as review with data.inventory as inventory
	tenants.knows_namespace("tenant-a") with input as review with data.inventory as inventory
	tenants.knows_namespace("tenant-b") with input as review with data.inventory as inventory
	not tenants.knows_namespace("x") with input as review with data.inventory as inventory
	tenants.in_namespace("tenant-a", "v1", "Pod") == {"p": {}} with data.inventory as inventory
	tenants.in_namespace("tenant-b", "v1", "Pod") == {} with data.inventory as inventory
	tenants.knows_kind("v1", "Pod") with data.inventory as inventory
	not tenants.knows_kind("v1", "Secret") with data.inventory as inventory
}

test_patterns if {
	tenants.fits_any(["a", "b-*"], "b-c/d")
	tenants.fits_any(["a"], "a")
	not tenants.fits_any(["a", "b-*"], "c")
}
