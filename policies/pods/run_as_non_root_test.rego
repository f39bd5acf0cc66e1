package portcullis.run_as_non_root_test

import data.portcullis.run_as_non_root

# Fields of the violations for a Pod with this spec.
denied(spec) := {v.field | some v in found} if {
	found := run_as_non_root.deny with input as review("CREATE", spec)
}

messages(spec) := {v.msg | some v in found} if {
	found := run_as_non_root.deny with input as review("CREATE", spec)
}

review(operation, spec) := {"request": {
	"operation": operation,
	"kind": {"group": "", "version": "v1", "kind": "Pod"},
	"resource": {"group": "", "version": "v1", "resource": "pods"},
	"namespace": "tenant-b",
	"userInfo": {"username": "alice", "groups": []},
	"object": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec},
}}

one(context) := {"containers": [{"name": "a", "securityContext": context}]}

both(pod_context, context) := {"securityContext": pod_context, "containers": [{"name": "a", "securityContext": context}]}

test_nothing_said_is_denied if {
	denied({"containers": [{"name": "a"}]}) == {"spec.containers[0].securityContext.runAsNonRoot"}
	messages({"containers": [{"name": "a"}]}) == {"container `a` may run as root: runAsNonRoot is true neither in it nor in the Pod"}
}

test_true_in_the_pod if denied({"securityContext": {"runAsNonRoot": true}, "containers": [{"name": "a"}]}) == set()

test_true_in_each_container if denied(one({"runAsNonRoot": true})) == set()

test_true_in_one_of_two_containers if {
	spec := {"containers": [{"name": "a", "securityContext": {"runAsNonRoot": true}}, {"name": "b"}]}
	denied(spec) == {"spec.containers[1].securityContext.runAsNonRoot"}
}

test_a_container_counts_before_the_pod if {
	denied(both({"runAsNonRoot": true}, {"runAsNonRoot": false})) == {"spec.containers[0].securityContext.runAsNonRoot"}
	messages(both({"runAsNonRoot": true}, {"runAsNonRoot": false})) == {"container `a` sets runAsNonRoot to false"}
}

test_false_in_the_pod_is_denied_under_true_in_the_container if {
	denied(both({"runAsNonRoot": false}, {"runAsNonRoot": true})) == {"spec.securityContext.runAsNonRoot"}
}

test_false_in_the_pod_leaves_silent_containers_denied if {
	denied(both({"runAsNonRoot": false}, {})) == {
		"spec.securityContext.runAsNonRoot",
		"spec.containers[0].securityContext.runAsNonRoot",
	}
}

test_user_zero_in_a_container if {
	denied(both({"runAsNonRoot": true, "runAsUser": 1000}, {"runAsUser": 0})) == {"spec.containers[0].securityContext.runAsUser"}
	messages(both({"runAsNonRoot": true}, {"runAsUser": 0})) == {"container `a` sets runAsUser to 0"}
}

test_user_zero_in_the_pod if {
	denied(both({"runAsNonRoot": true, "runAsUser": 0}, {"runAsUser": 1000})) == {"spec.securityContext.runAsUser"}
}

test_a_user_above_zero_alone_is_not_enough if {
	denied(one({"runAsUser": 1000})) == {"spec.containers[0].securityContext.runAsNonRoot"}
}

test_a_user_above_zero_with_non_root if denied(both({"runAsNonRoot": true}, {"runAsUser": 1000})) == set()

test_init_and_ephemeral_containers_count if {
	spec := {
		"containers": [{"name": "a", "securityContext": {"runAsNonRoot": true}}],
		"initContainers": [{"name": "i"}],
		"ephemeralContainers": [{"name": "e", "securityContext": {"runAsUser": 0, "runAsNonRoot": true}}],
	}
	denied(spec) == {
		"spec.initContainers[0].securityContext.runAsNonRoot",
		"spec.ephemeralContainers[0].securityContext.runAsUser",
	}
}

test_windows_is_exempt if {
	denied({"os": {"name": "windows"}, "containers": [{"name": "a"}]}) == set()
	denied({"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": false, "runAsUser": 0}, "containers": []}) == set()
	denied(object.union({"os": {"name": "windows"}}, one({"runAsNonRoot": false, "runAsUser": 0}))) == set()
}

test_linux_by_name_is_not_exempt if {
	count(denied({"os": {"name": "linux"}, "containers": [{"name": "a"}]})) == 1
}

test_a_node_selector_does_not_make_a_windows_pod if {
	count(denied({"nodeSelector": {"kubernetes.io/os": "windows"}, "containers": [{"name": "a"}]})) == 1
}

test_null_counts_as_missing if {
	denied(both({"runAsNonRoot": true}, {"runAsNonRoot": null, "runAsUser": null})) == set()
	denied({"securityContext": null, "containers": [{"name": "a", "securityContext": null}]}) == {"spec.containers[0].securityContext.runAsNonRoot"}
}

test_values_of_other_types_are_denied if {
	every value in ["true", 1, {}, []] {
		denied(one({"runAsNonRoot": value})) == {"spec.containers[0].securityContext.runAsNonRoot"}
		"spec.securityContext.runAsNonRoot" in denied(both({"runAsNonRoot": value}, {}))
	}
	every value in ["0", "1000", true, {}, -1] {
		denied(both({"runAsNonRoot": true}, {"runAsUser": value})) == {"spec.containers[0].securityContext.runAsUser"}
	}
}

test_shapes_that_cannot_be_read_are_denied if {
	every spec in [null, "x", [], {"containers": {}}, {"containers": ["x"]}, {"os": "windows", "containers": []}] {
		count(denied(spec)) > 0
	}
}

test_updates_are_judged if {
	found := run_as_non_root.deny with input as review("UPDATE", {"containers": [{"name": "a"}]})
	count(found) == 1
}
