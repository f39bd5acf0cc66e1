# METADATA
# scope: package
# title: PHI Pods are where PHI may be
# description: >-
#   A Pod that is marked PHI is in a namespace marked PHI, or in one of a tenant whose contract allows that class. Where
#   `registries` says so its images, and those of all Pods in namespaces marked PHI, come from these only; else the tenant's
#   own count (image_registries). Where `nodePools` says so such a Pod selects one of these pools; else the tenant's own
#   count (node_placement, node_defaults). A container that ships logs, by its image, is one of `logSidecars`, since logs
#   may hold PHI.
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["HIPAA 164.308(a)(4)", "HIPAA 164.312(a)(1)", "NIST 800-53 AC-4", "NIST 800-53 CM-7(5)", "SOC 2 CC6.1"]
#   match:
#     kinds: [Pod]
#     podTemplates: true
#   parameters:
#     tenantLabel: tenant
#     # Key of the label that says how sensitive data is, and its values that mean PHI.
#     label: classification
#     phiLevels: [phi]
#     # Beginnings of images that PHI Pods may run, such as `registry.example.com/phi/`. Empty: the tenant's registries.
#     registries: []
#     # Node pools that PHI Pods must select one of. Empty: the tenant's.
#     nodePools: []
#     # Key of the label that names the pool of a node.
#     poolLabel: karpenter.sh/nodepool
#     # Images, with `*`, that ship logs.
#     logShippers: ["*fluent-bit*", "*fluentbit*", "*fluentd*", "*filebeat*", "*logstash*", "*promtail*", "*vector*", "*alloy*", "*otel*collector*", "*opentelemetry*collector*", "*datadog*", "*splunk*"]
#     # Those of them, with `*`, that may run beside PHI.
#     logSidecars: []
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     label: {minLength: 1}
#     phiLevels: {items: {type: string, minLength: 1}}
#     registries: {items: {type: string, minLength: 1}}
#     nodePools: {items: {type: string, minLength: 1}}
#     poolLabel: {minLength: 1}
#     logShippers: {items: {type: string, minLength: 1}}
#     logSidecars: {items: {type: string, minLength: 1}}
package portcullis.phi_placement

import data.portcullis.lib.images
import data.portcullis.lib.objects
import data.portcullis.lib.phi
import data.portcullis.lib.pods
import data.portcullis.lib.tenants

parameters := input.parameters

pod := input.request.object

deny contains violation if {
	phi.marked(objects.labels(pod))
	not phi.namespace
	not allowed
	violation := {
		"msg": sprintf("a PHI Pod has no place in namespace `%s`: neither its label nor a contract allows PHI", [tenants.namespace]),
		"field": objects.field("metadata.labels", parameters.label),
		"fix": "put the Pod into a namespace for PHI",
	}
}

allowed if {
	some level in objects.items(objects.child(tenants.contract, "classification"), "allowed")
	level in parameters.phiLevels
}

used := images.all(pod) if phi.subject

deny contains violation if {
	count(parameters.registries) > 0
	some one in used
	not approved(one.image)
	violation := {
		"msg": sprintf("%s of a PHI Pod has image `%s`, which is from no registry for PHI", [one.who, one.image]),
		"field": one.field,
		"fix": "take it from one of `registries`",
	}
}

approved(image) if {
	some beginning in parameters.registries
	startswith(image, beginning)
}

deny contains violation if {
	phi.subject
	count(parameters.nodePools) > 0
	pool := objects.value(objects.child(pods.spec(pod), "nodeSelector"), parameters.poolLabel)
	not pool in parameters.nodePools
	violation := {
		"msg": sprintf("a PHI Pod must select a node pool for PHI, not `%s`", [objects.shown(pool)]),
		"field": objects.field("spec.nodeSelector", parameters.poolLabel),
		"fix": sprintf("name one of %s", [json.marshal(parameters.nodePools)]),
	}
}

deny contains violation if {
	some one in used
	tenants.fits_any(parameters.logShippers, one.image)
	not tenants.fits_any(parameters.logSidecars, one.image)
	violation := {
		"msg": sprintf("%s of a PHI Pod ships logs with image `%s`, which is not allowed beside PHI", [one.who, one.image]),
		"field": one.field,
		"fix": "use one of `logSidecars`, or leave it out",
	}
}
