package portcullis.lib.pods_test

import data.portcullis.lib.pods

test_containers_of_all_lists if {
	pod := {"spec": {
		"containers": [{"name": "a"}, {"name": "b"}],
		"initContainers": [{"name": "i"}],
		"ephemeralContainers": [{"name": "e"}],
	}}
	[sprintf("%s %s", [c.name, c.field]) | some c in pods.containers(pod)] == [
		"i spec.initContainers[0]",
		"a spec.containers[0]",
		"b spec.containers[1]",
		"e spec.ephemeralContainers[0]",
	]
}

test_containers_without_a_name_have_their_number if {
	pod := {"spec": {"containers": [{}, {"name": 5}, "text"]}}
	[c.name | some c in pods.containers(pod)] == ["#0", "#1", "#2"]
	[c.container | some c in pods.containers(pod)] == [{}, {"name": 5}, {}]
}

test_containers_of_anything if {
	every pod in [null, {}, {"spec": null}, {"spec": "x"}, {"spec": {"containers": null}}, {"spec": {"containers": {}}}] {
		pods.containers(pod) == []
	}
}

test_windows if {
	pods.windows({"spec": {"os": {"name": "windows"}}})
	every os in [{"name": "linux"}, {}, null, "windows"] {
		not pods.windows({"spec": {"os": os}})
	}
	not pods.windows({"spec": {"nodeSelector": {"kubernetes.io/os": "windows"}}})
}

test_no_fault_in_a_sound_pod if {
	pods.faults({"metadata": {"labels": {}}, "spec": {
		"securityContext": {},
		"os": null,
		"containers": [{"name": "a", "securityContext": {}}, {"name": "b", "securityContext": null}],
		"initContainers": null,
	}}) == set()
}

fields(pod) := {f.field | some f in pods.faults(pod)}

test_faults_have_messages if {
	{f.msg | some f in pods.faults({"spec": {
		"os": "windows",
		"initContainers": "x",
		"containers": ["x", {"securityContext": 5}],
	}})} == {
		"spec.os is not an object",
		"spec.initContainers is not a list",
		"spec.containers[0] is not an object",
		"spec.containers[1].securityContext is not an object",
	}
	{f.msg | some f in pods.faults({})} == {"the Pod has no spec that can be read"}
}

test_faults_have_fields if {
	every pod in [null, {}, {"spec": null}, {"spec": []}] {
		fields(pod) == {"spec"}
	}
	fields({"spec": {"securityContext": "x", "os": "windows"}}) == {"spec.securityContext", "spec.os"}
	fields({"spec": {"containers": {}, "initContainers": "x", "ephemeralContainers": 5}}) == {
		"spec.containers",
		"spec.initContainers",
		"spec.ephemeralContainers",
	}
	fields({"spec": {"containers": ["x", {"securityContext": 5}]}}) == {
		"spec.containers[0]",
		"spec.containers[1].securityContext",
	}
	fields({"metadata": {"labels": []}, "spec": {}}) == {"metadata.labels"}
}
