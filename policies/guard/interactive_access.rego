# METADATA
# scope: package
# title: Production is not gone into by hand
# description: >-
#   `exec`, `attach`, `port-forward`, ephemeral containers and the proxies to Pods and Services are for those who break the
#   glass for the tenant, and for the platform, where the namespace's label `environment` is one of `environments`. In other
#   tenants' namespaces whoever tenant_ownership lets in may use them. The proxy to nodes reaches every Pod of the node past
#   its namespace, and is the platform's. Ephemeral containers run only `debugImages`, where any are named. PHI Pods have a
#   rule of their own (phi_access).
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 AC-17", "NIST 800-53 AC-6(9)", "NIST 800-53 CM-5", "PCI DSS 7.2.1", "SOC 2 CC6.1", "NSA Kubernetes Hardening: Authentication and authorization"]
#   match:
#     rules:
#     - apiGroups: [""]
#       apiVersions: [v1]
#       resources: [pods/exec, pods/attach, pods/portforward, pods/proxy, services/proxy, nodes/proxy]
#       operations: [CONNECT]
#     - {apiGroups: [""], apiVersions: [v1], resources: [pods/ephemeralcontainers], operations: [UPDATE]}
#   onUpdate: all
#   parameters:
#     tenantLabel: tenant
#     # Label of a namespace that names its environment, and the values that are production.
#     environmentLabel: environment
#     environments: [prod, production]
#     # Images of ephemeral containers, with `*`; empty: any that the other policies let in.
#     debugImages: []
#     # Who may everywhere in an emergency.
#     breakGlass: {groups: [], users: []}
#     platformGroups: ["system:masters"]
#     platformUsers: []
#     controllers:
#       groups: ["system:nodes", "system:serviceaccounts:kube-system"]
#       users: ["system:kube-scheduler", "system:kube-controller-manager", "system:apiserver"]
#       userPrefixes: ["eks:"]
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     environmentLabel: {minLength: 1}
#     environments: {items: {type: string, minLength: 1}}
#     debugImages: {items: {type: string, minLength: 1}}
#     breakGlass:
#       additionalProperties: {type: array, items: {type: string, minLength: 1}}
#       propertyNames: {enum: [groups, users]}
#     platformGroups: {items: {type: string, minLength: 1}}
#     platformUsers: {items: {type: string, minLength: 1}}
#     controllers:
#       required: [groups, users, userPrefixes]
#       additionalProperties: {type: array, items: {type: string, minLength: 1}}
#       propertyNames: {enum: [groups, users, userPrefixes]}
package portcullis.interactive_access

import data.portcullis.lib.objects
import data.portcullis.lib.requester
import data.portcullis.lib.tenants

parameters := input.parameters

request := input.request

way := {
	"exec": "exec into",
	"attach": "attach to",
	"portforward": "forward ports of",
	"ephemeralcontainers": "add a container to",
	"proxy": "reach by proxy",
}[request.subResource]

thing := {"pods": "Pod", "services": "Service", "nodes": "node"}[request.resource.resource]

trusted if requester.platform

trusted if requester.breaks_glass(tenants.owner)

trusted if requester.among(objects.child(parameters, "breakGlass"))

# Null where the namespace has none.
environment := objects.value(tenants.namespace_labels, parameters.environmentLabel)

deny contains violation if {
	environment in parameters.environments
	not trusted
	violation := {
		"msg": sprintf("namespace `%s` is `%s`: nobody may %s %s `%s` there but in an emergency", [
			tenants.namespace,
			environment,
			way,
			thing,
			tenants.name,
		]),
		"fix": "ask those who may break the glass for the tenant (`breakGlass` of the contract)",
	}
}

deny contains violation if {
	request.resource.resource == "nodes"
	not requester.platform
	not requester.among(objects.child(parameters, "breakGlass"))
	violation := {
		"msg": sprintf("only the platform may reach node `%s` by proxy: all Pods on it would be open", [tenants.name]),
		"fix": "ask the platform team",
	}
}

added := [found |
	request.subResource == "ephemeralcontainers"
	before := {objects.value(c, "name") | some c in objects.items(objects.child(request.oldObject, "spec"), "ephemeralContainers")}
	some i, c in objects.items(objects.child(request.object, "spec"), "ephemeralContainers")
	not objects.value(c, "name") in before
	found := {"index": i, "name": objects.shown(objects.value(c, "name")), "image": objects.shown(objects.value(c, "image"))}
]

deny contains violation if {
	count(parameters.debugImages) > 0
	some c in added
	not tenants.fits_any(parameters.debugImages, c.image)
	violation := {
		"msg": sprintf("ephemeral container `%s` runs `%s`, which is not an image for debugging", [c.name, c.image]),
		"field": sprintf("spec.ephemeralContainers[%d].image", [c.index]),
		"fix": sprintf("use one of %s", [concat(", ", parameters.debugImages)]),
	}
}
