package portcullis.pod_defaults_test

import data.portcullis.pod_defaults

parameters := {"tenantLabel": "tenant", "dropAllCapabilities": false}

tenant_namespace := {"name": "tenant-b", "labels": {"tenant": "tenant-b"}}

review(metadata, spec) := {
	"request": {
		"operation": "CREATE",
		"kind": {"group": "", "version": "v1", "kind": "Pod"},
		"resource": {"group": "", "version": "v1", "resource": "pods"},
		"namespace": "tenant-b",
		"object": {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
	},
	"namespace": tenant_namespace,
	"parameters": parameters,
}

# What is set where, `{path: value}`; every operation is an `add`.
patched(review) := {p.path: p.value |
	some p in ops
	p.op == "add"
} if {
	ops := pod_defaults.patch with input as review
}

escalation(path) := concat("/", [path, "securityContext/allowPrivilegeEscalation"])

bare := {"containers": [{"name": "a"}]}

labelled := {"labels": {"tenant": "tenant-b"}}

complete := {
	"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
	"containers": [{"name": "a", "securityContext": {"allowPrivilegeEscalation": false}}],
}

test_a_bare_pod_gets_all_defaults if {
	patched(review({"name": "p"}, bare)) == {
		"/metadata/labels/tenant": "tenant-b",
		"/spec/securityContext/seccompProfile": {"type": "RuntimeDefault"},
		"/spec/containers/0/securityContext/allowPrivilegeEscalation": false,
	}
}

test_a_complete_pod_gets_nothing if patched(review(labelled, complete)) == {}

# The patched object, written out: nothing is left to do.
test_idempotent if {
	first := review({"name": "p", "labels": {"app": "x"}}, {
		"securityContext": {},
		"initContainers": [{"name": "i", "securityContext": {"capabilities": {}}}],
		"containers": [{"name": "a", "securityContext": {"capabilities": {}}}],
	})
	on := object.union(first, {"parameters": {"dropAllCapabilities": true}})
	ops := pod_defaults.patch with input as on
	# The operations create parents that are missing; here they are all there.
	parents_there := json.patch(on.request.object, [op | some op in ops])
	again := object.union(on, {"request": {"object": parents_there}})
	count(ops) == 6
	patched(again) == {}
}

test_what_is_set_stays if {
	spec := {
		"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "x.json"}},
		"containers": [{"name": "a", "securityContext": {"allowPrivilegeEscalation": true}}],
	}
	patched(review({"labels": {"tenant": "other"}}, spec)) == {}
}

test_empty_label_stays if not patched(review({"labels": {"tenant": ""}}, complete))["/metadata/labels/tenant"]

test_init_containers_too if {
	spec := object.union(complete, {"initContainers": [{"name": "i"}, {"name": "j", "securityContext": null}]})
	patched(review(labelled, spec)) == {
		escalation("/spec/initContainers/0"): false,
		escalation("/spec/initContainers/1"): false,
	}
}

test_privileged_and_sys_admin_keep_escalation if {
	every context in [
		{"privileged": true},
		{"capabilities": {"add": ["CAP_SYS_ADMIN"]}},
		{"capabilities": {"add": ["NET_ADMIN", "SYS_ADMIN"]}},
	] {
		spec := object.union(complete, {"containers": [{"name": "a", "securityContext": context}]})
		patched(review(labelled, spec)) == {}
	}
	spec := object.union(complete, {"containers": [{"name": "a", "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}]})
	patched(review(labelled, spec)) == {escalation("/spec/containers/0"): false}
}

with_parameter(context) := patched(on) if {
	spec := object.union(complete, {"containers": [{"name": "a", "securityContext": context}]})
	on := object.union(review(labelled, spec), {"parameters": {"dropAllCapabilities": true}})
}

test_capabilities_stay_without_the_parameter if {
	patched(review(labelled, complete)) == {}
}

test_added_capabilities_stay if {
	with_parameter({"allowPrivilegeEscalation": false, "capabilities": {"add": ["NET_BIND_SERVICE"]}}) == {"/spec/containers/0/securityContext/capabilities/drop": ["ALL"]}
}

test_capabilities_where_nothing_is_dropped if {
	every capabilities in [null, {}, {"drop": null}, {"drop": []}] {
		with_parameter({"allowPrivilegeEscalation": false, "capabilities": capabilities}) == {"/spec/containers/0/securityContext/capabilities/drop": ["ALL"]}
	}
	with_parameter({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["NET_RAW"]}}) == {}
	with_parameter({"privileged": true}) == {}
}

test_windows_gets_the_label_only if {
	spec := {"os": {"name": "windows"}, "containers": [{"name": "a"}]}
	on := object.union(review({}, spec), {"parameters": {"dropAllCapabilities": true}})
	patched(on) == {"/metadata/labels/tenant": "tenant-b"}
}

test_namespaces_without_a_tenant_are_left_alone if {
	every labels in [{}, null, {"tenant": ""}, {"tenant": null}, {"tenant": 5}] {
		on := json.patch(review({}, bare), [{"op": "add", "path": "/namespace/labels", "value": labels}])
		patched(on) == {}
	}
	patched(json.remove(review({}, bare), ["namespace"])) == {}
}

test_other_operations_and_kinds_are_left_alone if {
	patched(object.union(review({}, bare), {"request": {"operation": "UPDATE"}})) == {}
	patched(object.union(review({}, bare), {"request": {"kind": {"kind": "PodTemplate"}}})) == {}
}

test_label_keys_are_escaped if {
	on := json.patch(review({}, complete), [
		{"op": "replace", "path": "/parameters/tenantLabel", "value": "acme.io/ten~ant"},
		{"op": "replace", "path": "/namespace/labels", "value": {"acme.io/ten~ant": "b"}},
	])
	patched(on) == {"/metadata/labels/acme.io~1ten~0ant": "b"}
}

test_nothing_is_put_into_shapes_that_cannot_be_read if {
	every spec in [
		null,
		"x",
		[],
		{"containers": ["x"]},
		{"containers": {}},
		{"containers": [], "securityContext": "x"},
		{"containers": [{"name": "a", "securityContext": "x"}]},
	] {
		patched(review({}, spec)) == {}
	}
	patched(review({"labels": "x"}, bare)) == {}
	with_parameter({"allowPrivilegeEscalation": false, "capabilities": "x"}) == {}
}
