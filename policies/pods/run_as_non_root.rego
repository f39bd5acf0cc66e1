# METADATA
# scope: package
# title: Containers must not run as root
# description: >-
#   Follows the "restricted" Pod Security Standard. `runAsNonRoot` must be true in the Pod or in each container; what a
#   container says counts before what the Pod says, so one that says false is refused under a Pod that says true. False
#   in the Pod is refused even where every container says true. `runAsUser` must not be 0 anywhere: with
#   `runAsNonRoot: true` such a container would only fail to start. A `runAsUser` above 0 alone is not enough. Init and
#   ephemeral containers count like all others. Windows Pods (`spec.os.name: windows`) have no root and are exempt.
# related_resources:
# - https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 AC-6", "CIS Kubernetes 5.2.7"]
#   match:
#     kinds: [Pod]
#     excludedNamespaces: [kube-system, kube-public, kube-node-lease]
package portcullis.run_as_non_root

import data.portcullis.lib.objects
import data.portcullis.lib.pods

pod := input.request.object

pod_context := objects.child(pods.spec(pod), "securityContext")

windows if pods.windows(pod)

containers := pods.containers(pod)

deny contains fault if some fault in pods.faults(pod)

deny contains violation if {
	not windows
	says := objects.value(pod_context, "runAsNonRoot")
	says != null
	says != true
	violation := {
		"msg": sprintf("the Pod sets runAsNonRoot to %s", [objects.shown(says)]),
		"field": "spec.securityContext.runAsNonRoot",
		"fix": "set it to true",
	}
}

deny contains violation if {
	not windows
	root_user(pod_context)
	violation := {
		"msg": sprintf("the Pod sets runAsUser to %s", [objects.shown(pod_context.runAsUser)]),
		"field": "spec.securityContext.runAsUser",
		"fix": "leave it out, or set it to a number above 0",
	}
}

deny contains violation if {
	not windows
	some c in containers
	says := objects.value(context(c), "runAsNonRoot")
	says != null
	says != true
	violation := {
		"msg": sprintf("container `%s` sets runAsNonRoot to %s", [c.name, objects.shown(says)]),
		"field": concat(".", [c.field, "securityContext.runAsNonRoot"]),
		"fix": "set it to true",
	}
}

deny contains violation if {
	not windows
	not pod_context.runAsNonRoot == true
	some c in containers
	objects.value(context(c), "runAsNonRoot") == null
	violation := {
		"msg": sprintf("container `%s` may run as root: runAsNonRoot is true neither in it nor in the Pod", [c.name]),
		"field": concat(".", [c.field, "securityContext.runAsNonRoot"]),
		"fix": "set runAsNonRoot: true in the securityContext of the container or of the Pod",
	}
}

deny contains violation if {
	not windows
	some c in containers
	root_user(context(c))
	violation := {
		"msg": sprintf("container `%s` sets runAsUser to %s", [c.name, objects.shown(context(c).runAsUser)]),
		"field": concat(".", [c.field, "securityContext.runAsUser"]),
		"fix": "leave it out, or set it to a number above 0",
	}
}

context(c) := objects.child(c.container, "securityContext")

root_user(security_context) if {
	user := objects.value(security_context, "runAsUser")
	user != null
	not above_zero(user)
}

above_zero(user) if {
	is_number(user)
	user > 0
}
