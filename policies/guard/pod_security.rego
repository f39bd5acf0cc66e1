# METADATA
# scope: package
# title: Pods keep to the Pod Security Standards
# description: >-
#   The standards `baseline` and `restricted` of Kubernetes, every control of them, as of the version that counts. Level and
#   version are those that the namespace's labels `pod-security.kubernetes.io/enforce` and `enforce-version` name; where
#   they name none, `tenantLevel` counts in tenants' namespaces and `level` elsewhere, at `version`. As in the API server's
#   own admission a level that is none counts as `restricted`, a version that is none as `latest`. Unlike there, templates
#   of workloads are judged as well, and each violation names the field and what to write.
# related_resources:
# - https://kubernetes.io/docs/concepts/security/pod-security-standards/
# - https://kubernetes.io/docs/concepts/security/pod-security-admission/
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 AC-6", "NIST 800-53 CM-7", "CIS Kubernetes 5.2.1", "CIS Kubernetes 5.2.2", "CIS Kubernetes 5.2.3", "CIS Kubernetes 5.2.4", "CIS Kubernetes 5.2.5", "CIS Kubernetes 5.2.6", "CIS Kubernetes 5.2.7", "CIS Kubernetes 5.2.8", "CIS Kubernetes 5.2.9", "CIS Kubernetes 5.2.10", "CIS Kubernetes 5.2.11", "CIS Kubernetes 5.2.12", "CIS Kubernetes 5.2.13", "CIS Kubernetes 5.7.2", "NSA Kubernetes Hardening: Pod security", "PCI DSS 2.2.4", "SOC 2 CC6.1"]
#   match:
#     kinds: [Pod]
#   parameters:
#     tenantLabel: tenant
#     # Levels where the namespace has no label: privileged, baseline or restricted.
#     tenantLevel: baseline
#     level: privileged
#     # The version where the namespace has no label: `latest`, or such as `v1.31`.
#     version: latest
#     # Pods that are not judged, as the exemptions of the API server's own admission; users are the business of exceptions.
#     exemptNamespaces: [kube-system, kube-public, kube-node-lease]
#     exemptRuntimeClasses: []
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     tenantLevel: {enum: [privileged, baseline, restricted]}
#     level: {enum: [privileged, baseline, restricted]}
#     version: {pattern: "^(latest|v1\\.[0-9]{1,4})$"}
#     exemptNamespaces: {items: {type: string, minLength: 1}}
#     exemptRuntimeClasses: {items: {type: string, minLength: 1}}
package portcullis.pod_security

import data.portcullis.lib.objects
import data.portcullis.lib.pods
import data.portcullis.lib.tenants

pod := input.request.object

spec := pods.spec(pod)

pod_context := objects.child(spec, "securityContext")

annotations := objects.annotations(pod)

containers := pods.containers(pod)

parameters := input.parameters

# ---- Which standard

exempt if tenants.namespace in parameters.exemptNamespaces

exempt if objects.value(spec, "runtimeClassName") in parameters.exemptRuntimeClasses

said_level := objects.value(tenants.namespace_labels, "pod-security.kubernetes.io/enforce")

default_level := parameters.tenantLevel if tenants.owner

default_level := parameters.level if not tenants.owner

level := default_level if said_level in {null, ""}

level := said_level if said_level in {"privileged", "baseline", "restricted"}

level := "restricted" if not said_level in {null, "", "privileged", "baseline", "restricted"}

said_version := objects.value(tenants.namespace_labels, "pod-security.kubernetes.io/enforce-version")

wanted_version := parameters.version if said_version in {null, ""}

wanted_version := said_version if not said_version in {null, ""}

# The minor version; what is none counts as the latest.
latest := 1000

minor := to_number(substring(wanted_version, 3, -1)) if regex.match(`^v1\.(0|[1-9][0-9]{0,2})$`, objects.shown(wanted_version))

minor := latest if not regex.match(`^v1\.(0|[1-9][0-9]{0,2})$`, objects.shown(wanted_version))

since(version) if minor >= version

judged if {
	not exempt
	level != "privileged"
}

restricted if {
	judged
	level == "restricted"
}

standard := sprintf("the standard `%s`", [level])

in_user_namespace if objects.value(spec, "hostUsers") == false

windows if pods.windows(pod)

context(c) := objects.child(c.container, "securityContext")

violation(msg, field, fix) := {"msg": sprintf("%s (%s)", [msg, standard]), "field": field, "fix": fix}

# What cannot be read is not taken for "nothing there".
deny contains fault if {
	judged
	some fault in pods.faults(pod)
}

# ---- baseline

deny contains violation(
	sprintf("the Pod shares the host's namespaces: `%s`", [key]),
	sprintf("spec.%s", [key]),
	"leave it out",
) if {
	judged
	some key in ["hostNetwork", "hostPID", "hostIPC"]
	objects.value(spec, key) == true
}

deny contains violation(
	sprintf("container `%s` is privileged", [c.name]),
	sprintf("%s.securityContext.privileged", [c.field]),
	"leave it out",
) if {
	judged
	some c in containers
	objects.value(context(c), "privileged") == true
}

added_capabilities := {
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
	"NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

# From 1.22 on `restricted` has a stricter rule of its own.
restricted_capabilities if {
	restricted
	since(22)
}

windows_spared if {
	windows
	since(25)
}

deny contains violation(
	sprintf("container `%s` adds capability `%s`", [c.name, objects.shown(capability)]),
	sprintf("%s.securityContext.capabilities.add", [c.field]),
	"leave it out",
) if {
	judged
	not restricted_capabilities
	some c in containers
	some capability in objects.items(objects.child(context(c), "capabilities"), "add")
	not capability in added_capabilities
}

deny contains violation(
	sprintf("volume `%s` is a directory of the host", [objects.shown(objects.value(volume, "name"))]),
	sprintf("spec.volumes[%d].hostPath", [i]),
	"use a volume claim, or an emptyDir",
) if {
	judged
	some i, volume in objects.items(spec, "volumes")
	objects.value(volume, "hostPath") != null
}

deny contains violation(
	sprintf("container `%s` takes port %v of the host", [c.name, number]),
	sprintf("%s.ports[%d].hostPort", [c.field, i]),
	"leave it out, and use a Service",
) if {
	judged
	some c in containers
	some i, port in objects.items(c.container, "ports")
	number := objects.value(port, "hostPort")
	not number in {null, 0}
}

deny contains violation(
	sprintf("annotation `%s` switches the AppArmor profile off", [key]),
	objects.field("metadata.annotations", key),
	"set runtime/default",
) if {
	judged
	some key, value in annotations
	startswith(key, "container.apparmor.security.beta.kubernetes.io/")
	not value in {"", "runtime/default"}
	not startswith(objects.shown(value), "localhost/")
}

deny contains violation(
	sprintf("%s has AppArmor profile `%s`", [place.who, objects.shown(type)]),
	sprintf("%s.appArmorProfile.type", [place.field]),
	"set RuntimeDefault, or leave it out",
) if {
	judged
	some place in contexts
	profile := objects.value(place.context, "appArmorProfile")
	is_object(profile)
	type := objects.value(profile, "type")
	not type in {"RuntimeDefault", "Localhost"}
}

# Every securityContext of the Pod: `{who, field, context}`.
contexts := array.concat(
	[{"who": "the Pod", "field": "spec.securityContext", "context": pod_context}],
	[{"who": sprintf("container `%s`", [c.name]), "field": sprintf("%s.securityContext", [c.field]), "context": context(c)} |
		some c in containers
	],
)

selinux_types := {null, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"} if since(31)

selinux_types := {null, "", "container_t", "container_init_t", "container_kvm_t"} if not since(31)

deny contains violation(
	sprintf("%s has SELinux type `%s`", [place.who, objects.shown(type)]),
	sprintf("%s.seLinuxOptions.type", [place.field]),
	"leave it out",
) if {
	judged
	some place in contexts
	type := objects.value(objects.child(place.context, "seLinuxOptions"), "type")
	not type in selinux_types
}

deny contains violation(
	sprintf("%s sets its SELinux %s", [place.who, key]),
	sprintf("%s.seLinuxOptions.%s", [place.field, key]),
	"leave it out",
) if {
	judged
	some place in contexts
	some key in ["user", "role"]
	not objects.value(objects.child(place.context, "seLinuxOptions"), key) in {null, ""}
}

# From 1.35 on a Pod with a user namespace of its own may, under `baseline`.
proc_spared if {
	in_user_namespace
	since(35)
	level == "baseline"
}

deny contains violation(
	sprintf("container `%s` mounts /proc with type `%s`", [c.name, objects.shown(type)]),
	sprintf("%s.securityContext.procMount", [c.field]),
	"leave it out",
) if {
	judged
	not proc_spared
	some c in containers
	type := objects.value(context(c), "procMount")
	not type in {null, "Default"}
}

seccomp_annotations := array.concat(
	["seccomp.security.alpha.kubernetes.io/pod"],
	[sprintf("container.seccomp.security.alpha.kubernetes.io/%s", [c.name]) | some c in containers],
)

# Before 1.19 profiles were annotations.
deny contains violation(
	sprintf("annotation `%s` switches the seccomp profile off", [key]),
	objects.field("metadata.annotations", key),
	"set runtime/default",
) if {
	judged
	not since(19)
	some key in seccomp_annotations
	value := objects.shown(annotations[key])
	not value in {"runtime/default", "docker/default"}
	not startswith(value, "localhost/")
}

# `restricted` asks Windows Pods nothing about seccomp from 1.25 on: they have none.
seccomp_spared if {
	restricted
	windows_spared
}

deny contains violation(
	sprintf("%s has seccomp profile `%s`", [place.who, objects.shown(type)]),
	sprintf("%s.seccompProfile.type", [place.field]),
	"set RuntimeDefault",
) if {
	judged
	since(19)
	not seccomp_spared
	some place in contexts
	profile := objects.value(place.context, "seccompProfile")
	is_object(profile)
	type := objects.value(profile, "type")
	not type in {"RuntimeDefault", "Localhost"}
}

# Safe sysctls, by the version that brought them.
sysctls := {
	"kernel.shm_rmid_forced": 0,
	"net.ipv4.ip_local_port_range": 0,
	"net.ipv4.tcp_syncookies": 0,
	"net.ipv4.ping_group_range": 0,
	"net.ipv4.ip_unprivileged_port_start": 0,
	"net.ipv4.ip_local_reserved_ports": 27,
	"net.ipv4.tcp_keepalive_time": 29,
	"net.ipv4.tcp_fin_timeout": 29,
	"net.ipv4.tcp_keepalive_intvl": 29,
	"net.ipv4.tcp_keepalive_probes": 29,
	"net.ipv4.tcp_rmem": 32,
	"net.ipv4.tcp_wmem": 32,
	"net.ipv4.tcp_slow_start_after_idle": 37,
	"net.ipv4.tcp_notsent_lowat": 37,
}

deny contains violation(
	sprintf("the Pod sets sysctl `%s`", [name]),
	sprintf("spec.securityContext.sysctls[%d].name", [i]),
	"leave it out",
) if {
	judged
	some i, sysctl in objects.items(pod_context, "sysctls")
	name := objects.shown(objects.value(sysctl, "name"))
	not since(object.get(sysctls, name, latest + 1))
}

deny contains violation(
	sprintf("%s runs as a process of the host", [place.who]),
	sprintf("%s.windowsOptions.hostProcess", [place.field]),
	"leave it out",
) if {
	judged
	some place in contexts
	objects.value(objects.child(place.context, "windowsOptions"), "hostProcess") == true
}

probes := ["livenessProbe", "readinessProbe", "startupProbe"]

# Everything of a container that the kubelet sends requests for: `{field, handler}`.
handlers(c) := array.concat(
	[{"field": sprintf("%s.%s", [c.field, key]), "handler": objects.child(c.container, key)} | some key in probes],
	[{"field": sprintf("%s.lifecycle.%s", [c.field, key]), "handler": objects.child(objects.child(c.container, "lifecycle"), key)} |
		some key in ["postStart", "preStop"]
	],
)

deny contains violation(
	sprintf("container `%s` has the kubelet ask another host: `%s`", [c.name, objects.shown(host)]),
	sprintf("%s.%s.host", [found.field, kind]),
	"leave it out: the Pod itself is asked",
) if {
	judged
	since(34)
	some c in containers
	some found in handlers(c)
	some kind in ["httpGet", "tcpSocket"]
	host := objects.value(objects.child(found.handler, kind), "host")
	not host in {null, ""}
}

# ---- restricted

deny contains violation(
	sprintf("container `%s` may gain more privileges than it has", [c.name]),
	sprintf("%s.securityContext.allowPrivilegeEscalation", [c.field]),
	"set it to false",
) if {
	restricted
	since(8)
	not windows_spared
	some c in containers
	objects.value(context(c), "allowPrivilegeEscalation") != false
}

deny contains violation(
	sprintf("container `%s` does not drop all capabilities", [c.name]),
	sprintf("%s.securityContext.capabilities.drop", [c.field]),
	"set it to [ALL]",
) if {
	restricted_capabilities
	not windows_spared
	some c in containers
	not "ALL" in objects.items(objects.child(context(c), "capabilities"), "drop")
}

deny contains violation(
	sprintf("container `%s` adds capability `%s`", [c.name, objects.shown(capability)]),
	sprintf("%s.securityContext.capabilities.add", [c.field]),
	"leave it out; only NET_BIND_SERVICE may be added",
) if {
	restricted_capabilities
	not windows_spared
	some c in containers
	some capability in objects.items(objects.child(context(c), "capabilities"), "add")
	capability != "NET_BIND_SERVICE"
}

# Kinds of volumes that reach the host or the network past the API.
forbidden_volumes := [
	"hostPath", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "nfs", "iscsi", "glusterfs", "rbd", "flexVolume",
	"cinder", "cephfs", "flocker", "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk", "photonPersistentDisk",
	"portworxVolume", "scaleIO", "storageos",
]

allowed_volumes := ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret", "image"]

deny contains violation(
	sprintf("volume `%s` is of a kind that is not allowed", [objects.shown(objects.value(volume, "name"))]),
	sprintf("spec.volumes[%d]", [i]),
	sprintf("use one of %s", [concat(", ", allowed_volumes)]),
) if {
	restricted
	some i, volume in objects.items(spec, "volumes")
	some kind in forbidden_volumes
	objects.value(volume, kind) != null
}

# From 1.35 on what is root in a Pod with a user namespace of its own is nobody outside of it.
root_spared if {
	in_user_namespace
	since(35)
}

pod_non_root := objects.value(pod_context, "runAsNonRoot")

deny contains violation(
	"the Pod may run as root",
	"spec.securityContext.runAsNonRoot",
	"set it to true",
) if {
	restricted
	not root_spared
	pod_non_root == false
}

deny contains violation(
	sprintf("container `%s` may run as root", [c.name]),
	sprintf("%s.securityContext.runAsNonRoot", [c.field]),
	"set runAsNonRoot: true in the securityContext of the container or of the Pod",
) if {
	restricted
	not root_spared
	some c in containers
	not non_root(objects.value(context(c), "runAsNonRoot"))
}

non_root(said) if said == true

non_root(said) if {
	said == null
	pod_non_root == true
}

deny contains violation(
	sprintf("%s runs as user 0", [place.who]),
	sprintf("%s.runAsUser", [place.field]),
	"leave it out, or set it to a number above 0",
) if {
	restricted
	since(23)
	not root_spared
	some place in contexts
	objects.value(place.context, "runAsUser") == 0
}

pod_has_seccomp if is_object(objects.value(pod_context, "seccompProfile"))

deny contains violation(
	sprintf("container `%s` has no seccomp profile", [c.name]),
	sprintf("%s.securityContext.seccompProfile.type", [c.field]),
	"set RuntimeDefault in the securityContext of the container or of the Pod",
) if {
	restricted
	since(19)
	not windows_spared
	not pod_has_seccomp
	some c in containers
	not is_object(objects.value(context(c), "seccompProfile"))
}
