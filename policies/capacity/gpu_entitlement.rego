# METADATA
# scope: package
# title: Devices go to those who are entitled to them
# description: >-
#   A Pod in a tenant's namespace asks for no more devices than the contract's `gpu` has of each; what it does not name is
#   not allowed. Devices are extended resources that `devices` names. Claims of dynamic resource allocation are allowed to
#   tenants that are entitled to any device.
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 SC-6", "NIST 800-53 AC-6"]
#   match:
#     kinds: [Pod]
#   parameters:
#     tenantLabel: tenant
#     # Resources that are devices, with `*`.
#     devices: ["nvidia.com/*", "amd.com/*", "gpu.intel.com/*", "habana.ai/*", "aws.amazon.com/neuron*"]
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     devices: {items: {type: string, minLength: 1}}
package portcullis.gpu_entitlement

import data.portcullis.lib.objects
import data.portcullis.lib.pods
import data.portcullis.lib.quantities
import data.portcullis.lib.tenants

pod := input.request.object

entitled := objects.child(tenants.contract, "gpu") if tenants.owner

# What each container asks for: `{list, resource, number}`. A limit stands for the request of a device.
asked := [{"list": list, "resource": resource, "number": quantities.number(number)} |
	some list in ["containers", "initContainers"]
	some container in objects.items(pods.spec(pod), list)
	resources := objects.child(container, "resources")
	some resource, number in object.union(objects.child(resources, "requests"), objects.child(resources, "limits"))
	# Names of other resources have no domain.
	contains(resource, "/")
	tenants.fits_any(input.parameters.devices, resource)
]

# The most that is used at a time: containers run together, init containers before them. Sidecars are init containers
# that go on, so these are added up as well.
total[resource] := sum([a.number | some a in asked; a.resource == resource]) if some {"resource": resource} in asked

deny contains violation if {
	some resource, number in total
	most := object.get(entitled, resource, 0)
	number > most
	violation := {
		"msg": sprintf("the Pod asks for %v of %s, and the contract of tenant `%s` lets a Pod have %v", [
			number,
			resource,
			tenants.owner,
			most,
		]),
		"field": "spec.containers",
		"fix": "ask for less, or have the contract changed",
	}
}

deny contains violation if {
	count(objects.items(pods.spec(pod), "resourceClaims")) > 0
	count([n | some n in entitled; n > 0]) == 0
	tenants.owner
	violation := {
		"msg": sprintf("the Pod claims devices, and the contract of tenant `%s` has none", [tenants.owner]),
		"field": "spec.resourceClaims",
		"fix": "leave them out, or have the contract changed",
	}
}
