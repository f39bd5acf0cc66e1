# METADATA
# scope: package
# title: Tenants' Pods do not push others out
# description: >-
#   A Pod in a tenant's namespace uses no priority class but those that `allowed` lists: a high priority lets the scheduler
#   evict other tenants' Pods. Quotas do not bound that.
# custom:
#   severity: medium
#   enforcement: deny
#   controls: ["NIST 800-53 SC-6", "SOC 2 A1.1"]
#   match:
#     kinds: [Pod]
#   parameters:
#     tenantLabel: tenant
#     # Classes that any tenant may use, with `*`.
#     allowed: []
#     # The highest number that a Pod may end up with, by a default class of the cluster for example.
#     highest: 0
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     allowed: {items: {type: string, minLength: 1}}
#     highest: {type: integer, maximum: 1000000000}
package portcullis.priority_classes

import data.portcullis.lib.objects
import data.portcullis.lib.pods
import data.portcullis.lib.tenants

spec := pods.spec(input.request.object)

class := objects.value(spec, "priorityClassName")

named if not class in {null, ""}

deny contains violation if {
	named
	tenants.owner
	not tenants.fits_any(input.parameters.allowed, class)
	violation := {
		"msg": sprintf("tenant `%s` does not use priority class `%s`", [tenants.owner, objects.shown(class)]),
		"field": "spec.priorityClassName",
		"fix": "leave it out",
	}
}

deny contains violation if {
	not named
	spec.priority > input.parameters.highest
	tenants.owner
	violation := {
		"msg": sprintf("the Pod has priority %d, and Pods of tenants have %d at most", [spec.priority, input.parameters.highest]),
		"field": "spec.priority",
		"fix": "leave it out",
	}
}
