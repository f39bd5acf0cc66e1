# METADATA
# scope: package
# title: Safe defaults for the Pods of tenants
# description: >-
#   Gives a new Pod in a tenant's namespace what it left out: the seccomp profile RuntimeDefault for the Pod,
#   `allowPrivilegeEscalation: false` for each container, the label `tenant` of its namespace and, if
#   `dropAllCapabilities` says so, the drop of all capabilities. What is set stays as it is. A container that is
#   privileged or adds CAP_SYS_ADMIN keeps its escalation, since the API server refuses the two together. Windows Pods
#   get the label only.
# custom:
#   severity: medium
#   enforcement: deny
#   controls: ["NIST 800-53 CM-6", "CIS Kubernetes 5.2.6", "CIS Kubernetes 5.7.2"]
#   match:
#     kinds: [Pod]
#     operations: [CREATE]
#     podTemplates: false
#   parameters:
#     # Key of the label, on namespaces and on Pods.
#     tenantLabel: tenant
#     # Whether `capabilities.drop: [ALL]` is set where a container drops nothing.
#     dropAllCapabilities: false
#   parametersSchema:
#     tenantLabel: {minLength: 1}
package portcullis.pod_defaults

import data.portcullis.lib.objects
import data.portcullis.lib.pods

pod := input.request.object

key := input.parameters.tenantLabel

tenant := name if {
	name := objects.value(objects.child(input.namespace, "labels"), key)
	is_string(name)
	name != ""
}

new_pod if {
	input.request.operation == "CREATE"
	input.request.kind.kind == "Pod"
	tenant
	# Nothing is put into what cannot be read; the API server refuses such a Pod.
	count(pods.faults(pod)) == 0
}

patch contains {"op": "add", "path": path, "value": tenant} if {
	new_pod
	objects.value(objects.labels(pod), key) == null
	path := concat("/", ["/metadata/labels", escaped(key)])
}

patch contains {"op": "add", "path": "/spec/securityContext/seccompProfile", "value": {"type": "RuntimeDefault"}} if {
	new_pod
	not pods.windows(pod)
	objects.value(objects.child(pods.spec(pod), "securityContext"), "seccompProfile") == null
}

patch contains {"op": "add", "path": path, "value": false} if {
	some c in containers
	not keeps_escalation(c)
	objects.value(context(c), "allowPrivilegeEscalation") == null
	path := concat("/", [c.path, "securityContext/allowPrivilegeEscalation"])
}

patch contains {"op": "add", "path": path, "value": ["ALL"]} if {
	input.parameters.dropAllCapabilities == true
	some c in containers
	not context(c).privileged == true
	type_name(objects.value(context(c), "capabilities")) in {"null", "object"}
	objects.value(objects.child(context(c), "capabilities"), "drop") in {null, []}
	path := concat("/", [c.path, "securityContext/capabilities/drop"])
}

# Containers of a new Linux Pod, with the path of each. Ephemeral ones come later, by another request.
containers contains {"path": sprintf("/spec/%s/%d", [list, i]), "container": container} if {
	new_pod
	not pods.windows(pod)
	some list in ["initContainers", "containers"]
	some i, container in objects.items(pods.spec(pod), list)
}

context(c) := objects.child(c.container, "securityContext")

keeps_escalation(c) if context(c).privileged == true

keeps_escalation(c) if {
	some capability in objects.items(objects.child(context(c), "capabilities"), "add")
	capability in {"CAP_SYS_ADMIN", "SYS_ADMIN"}
}

# A token of a JSON pointer (RFC 6901).
escaped(token) := replace(replace(token, "~", "~0"), "/", "~1")
