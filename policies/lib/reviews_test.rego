# Requests for the tests of policies: an administrator makes an object in the namespace of tenant-b. What is given in
# `changes` is laid over.
package portcullis.lib.reviews_test

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
