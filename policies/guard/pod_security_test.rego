package portcullis.pod_security_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.pod_security

parameters := {
	"tenantLabel": "tenant",
	"tenantLevel": "baseline",
	"level": "privileged",
	"version": "latest",
	"exemptNamespaces": ["infra"],
	"exemptRuntimeClasses": ["gvisor"],
}

labelled(level, version) := {"namespace": {"labels": {
	"tenant": "tenant-b",
	"pod-security.kubernetes.io/enforce": level,
	"pod-security.kubernetes.io/enforce-version": version,
}}}

found(pod, level, version) := {v.field | some v in denied} if {
	review := object.union(reviews.create("Pod", pod, parameters), labelled(level, version))
	denied := pod_security.deny with input as review
}

# What meets `restricted` of every version, with changes to the container, the Pod's spec and its annotations.
with_changes(container, spec, annotations) := {
	"metadata": {"name": "p", "annotations": annotations},
	"spec": object.union(
		{
			"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
			"containers": [object.union(
				{
					"name": "c",
					"image": "registry.example.com/c:1",
					"securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
				},
				container,
			)],
		},
		spec,
	),
}

container(changes) := with_changes(changes, {}, {})

context(changes) := with_changes({"securityContext": changes}, {}, {})

spec(changes) := with_changes({}, changes, {})

pod_context(changes) := spec({"securityContext": changes})

annotated(annotations) := with_changes({}, {}, annotations)

c := "spec.containers[0].securityContext"

test_good if {
	every version in ["v1.0", "v1.22", "v1.25", "latest"] {
		found(container({}), "restricted", version) == set()
		found(container({}), "baseline", version) == set()
	}
}

baseline_cases := [
	[spec({"hostNetwork": true, "hostPID": true, "hostIPC": false}), "v1.0", {"spec.hostNetwork", "spec.hostPID"}],
	[context({"privileged": true}), "v1.0", {"spec.containers[0].securityContext.privileged"}],
	[context({"capabilities": {"add": ["NET_RAW", "CHOWN"]}}), "v1.0", {"spec.containers[0].securityContext.capabilities.add"}],
	[spec({"volumes": [{"name": "a", "emptyDir": {}}, {"name": "h", "hostPath": {"path": "/"}}]}), "v1.0", {"spec.volumes[1].hostPath"}],
	[container({"ports": [{"containerPort": 80, "hostPort": 0}, {"hostPort": 80}]}), "v1.0", {"spec.containers[0].ports[1].hostPort"}],
	[annotated({"container.apparmor.security.beta.kubernetes.io/c": "unconfined"}), "v1.0", {"metadata.annotations[\"container.apparmor.security.beta.kubernetes.io/c\"]"}],
	[annotated({"container.apparmor.security.beta.kubernetes.io/c": "localhost/x"}), "v1.0", set()],
	[pod_context({"appArmorProfile": {"type": "Unconfined"}}), "v1.0", {"spec.securityContext.appArmorProfile.type"}],
	[context({"appArmorProfile": {"type": "Localhost"}}), "v1.0", set()],
	[context({"seLinuxOptions": {"type": "spc_t", "user": "u", "role": "r"}}), "v1.0", {concat(".", [c, "seLinuxOptions.type"]), concat(".", [c, "seLinuxOptions.user"]), concat(".", [c, "seLinuxOptions.role"])}],
	[context({"seLinuxOptions": {"type": "container_engine_t"}}), "v1.30", {concat(".", [c, "seLinuxOptions.type"])}],
	[context({"seLinuxOptions": {"type": "container_engine_t"}}), "v1.31", set()],
	[context({"procMount": "Unmasked"}), "v1.0", {concat(".", [c, "procMount"])}],
	[with_changes({"securityContext": {"procMount": "Unmasked"}}, {"hostUsers": false}, {}), "v1.34", {concat(".", [c, "procMount"])}],
	[with_changes({"securityContext": {"procMount": "Unmasked"}}, {"hostUsers": false}, {}), "v1.35", set()],
	[annotated({"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}), "v1.18", {"metadata.annotations[\"seccomp.security.alpha.kubernetes.io/pod\"]"}],
	[annotated({"container.seccomp.security.alpha.kubernetes.io/c": "docker/default"}), "v1.18", set()],
	[annotated({"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}), "v1.19", set()],
	[pod_context({"seccompProfile": {"type": "Unconfined"}}), "v1.19", {"spec.securityContext.seccompProfile.type"}],
	[pod_context({"sysctls": [{"name": "kernel.shm_rmid_forced"}, {"name": "net.ipv4.tcp_rmem"}, {"name": "kernel.msgmax"}]}), "v1.31", {"spec.securityContext.sysctls[1].name", "spec.securityContext.sysctls[2].name"}],
	[pod_context({"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}), "v1.32", set()],
	[pod_context({"windowsOptions": {"hostProcess": true}}), "v1.0", {"spec.securityContext.windowsOptions.hostProcess"}],
	[container({"livenessProbe": {"httpGet": {"host": "10.0.0.1"}}, "lifecycle": {"preStop": {"tcpSocket": {"host": "x"}}}}), "v1.34", {"spec.containers[0].livenessProbe.httpGet.host", "spec.containers[0].lifecycle.preStop.tcpSocket.host"}],
	[container({"livenessProbe": {"httpGet": {"host": "10.0.0.1"}}}), "v1.33", set()],
	[{"metadata": {}, "spec": {"containers": "none"}}, "v1.0", {"spec.containers"}],
]

baseline_misses := {i: got |
	some i, case in baseline_cases
	got := found(case[0], "baseline", case[1])
	got != case[2]
}

test_baseline if baseline_misses == {}

restricted_cases := [
	[context({"allowPrivilegeEscalation": true}), "v1.8", {concat(".", [c, "allowPrivilegeEscalation"])}],
	[context({"allowPrivilegeEscalation": true}), "v1.7", set()],
	[context({"capabilities": {"drop": ["NET_RAW"]}}), "v1.22", {concat(".", [c, "capabilities.drop"])}],
	[context({"capabilities": {"drop": ["NET_RAW"]}}), "v1.21", set()],
	[context({"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE", "CHOWN"]}}), "v1.22", {concat(".", [c, "capabilities.add"])}],
	[spec({"volumes": [{"name": "a", "nfs": {}}, {"name": "b", "secret": {}}]}), "v1.0", {"spec.volumes[0]"}],
	[pod_context({"runAsNonRoot": false}), "v1.0", {"spec.securityContext.runAsNonRoot", concat(".", [c, "runAsNonRoot"])}],
	[context({"runAsNonRoot": false}), "v1.0", {concat(".", [c, "runAsNonRoot"])}],
	[with_changes({"securityContext": {"runAsNonRoot": false, "runAsUser": 0}}, {"hostUsers": false}, {}), "v1.35", set()],
	[context({"runAsUser": 0}), "v1.23", {concat(".", [c, "runAsUser"])}],
	[context({"runAsUser": 0}), "v1.22", set()],
	[{"metadata": {}, "spec": {"securityContext": {"runAsNonRoot": true}, "containers": [{"name": "c", "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]}}, "v1.19", {concat(".", [c, "seccompProfile.type"])}],
	[{"metadata": {}, "spec": {"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": true}, "containers": [{"name": "c"}]}}, "v1.25", set()],
	[with_changes({"securityContext": {"procMount": "Unmasked"}}, {"hostUsers": false}, {}), "v1.35", {concat(".", [c, "procMount"])}],
]

restricted_misses := {i: got |
	some i, case in restricted_cases
	got := found(case[0], "restricted", case[1])
	got != case[2]
}

test_restricted if restricted_misses == {}

bad := context({"privileged": true})

test_levels if {
	count(found(bad, "privileged", "latest")) == 0
	# What is none counts as the strictest.
	"spec.containers[0].securityContext.privileged" in found(bad, "strict", "latest")
	count(found(context({"runAsUser": 0}), "strict", "one")) == 1
}

unlabelled(namespace, labels) := denied if {
	place := {"request": {"namespace": namespace}, "namespace": {"name": namespace}}
	review := object.union(object.union(reviews.create("Pod", bad, parameters), place), {"namespace": {"labels": labels}})
	denied := pod_security.deny with input as review
}

test_defaults if {
	count(unlabelled("tenant-b", {"tenant": "tenant-b"})) == 1
	ops := {"request": {"namespace": "ops", "object": bad}, "namespace": {"name": "ops", "labels": {}}, "parameters": parameters}
	count(pod_security.deny) == 0 with input as ops
}

test_exemptions if {
	count(unlabelled("infra", {"tenant": "tenant-b"})) == 0
	class := reviews.create("Pod", object.union(bad, {"spec": {"runtimeClassName": "gvisor"}}), parameters)
	count(pod_security.deny) == 0 with input as class
}
