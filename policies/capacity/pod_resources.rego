# METADATA
# scope: package
# title: Containers say what they need, within the contract
# description: >-
#   Every container of a Pod in a tenant's namespace has requests and limits for the resources that `requests` and `limits`
#   name. What it leaves out counts as the defaults of the contract's `limits`, which the namespace's LimitRange fills in,
#   and as what the Pod as a whole says; 0 is none: the kubelet takes a limit of 0 for no limit. No limit is above the contract's `max`, and none is more than the contract's
#   `ratios` times its request. Where the contract bounds ephemeral storage, that counts like the others. A volume in
#   memory has a `sizeLimit`.
# custom:
#   severity: medium
#   enforcement: deny
#   controls: ["NIST 800-53 SC-6", "SOC 2 A1.1", "NSA Kubernetes Hardening: Resource policies"]
#   match:
#     kinds: [Pod]
#   parameters:
#     tenantLabel: tenant
#     # Resources that need a request, and that need a limit.
#     requests: [cpu, memory]
#     limits: [cpu, memory]
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     requests: {items: {type: string, minLength: 1}}
#     limits: {items: {type: string, minLength: 1}}
package portcullis.pod_resources

import data.portcullis.lib.capacities
import data.portcullis.lib.objects
import data.portcullis.lib.pods
import data.portcullis.lib.quantities
import data.portcullis.lib.tenants

pod := input.request.object

whole := objects.child(pods.spec(pod), "resources")

# Ephemeral containers cannot have resources.
containers := [c |
	tenants.owner
	some c in pods.containers(pod)
	not startswith(c.field, "spec.ephemeralContainers")
]

agreed_max := capacities.container("max")

agreed_limits := capacities.container("default")

agreed_requests := capacities.container("defaultRequest")

storage := {"ephemeral-storage" | agreed_max["ephemeral-storage"]} | {"ephemeral-storage" | capacities.quotas["requests.ephemeral-storage"]}

# The resources of a container as they will be: `{name, field, requests, limits}`. The API server takes a limit for the
# request that is not said before it looks at defaults.
settled := [{"name": c.name, "field": c.field, "limits": limits, "requests": requests} |
	some c in containers
	said := objects.child(c.container, "resources")
	own := objects.child(said, "limits")
	limits := object.union(object.union(agreed_limits, objects.child(whole, "limits")), own)
	defaults := object.union(object.union(agreed_limits, agreed_requests), objects.child(whole, "requests"))
	requests := object.union(object.union(defaults, own), objects.child(said, "requests"))
]

deny contains violation if {
	some c in settled
	some kind in ["requests", "limits"]
	some resource in {r | some r in input.parameters[kind]} | storage
	not more_than_none(c[kind], resource)
	violation := {
		"msg": sprintf("container `%s` has no %s for %s%s", [
			c.name,
			{"requests": "request", "limits": "limit"}[kind],
			resource,
			{true: ": 0 is none", false: ""}[objects.value(c[kind], resource) != null],
		]),
		"field": sprintf("%s.resources.%s", [c.field, kind]),
		"fix": sprintf("set `resources.%s.%s`", [kind, resource]),
	}
}

more_than_none(of_container, resource) if quantities.number(of_container[resource]) > 0

deny contains violation if {
	some c in settled
	some resource, most in agreed_max
	quantities.above(c.limits[resource], most)
	violation := {
		"msg": sprintf("container `%s` may use %s of %s, and the contract of tenant `%s` lets a container use %s", [
			c.name,
			objects.shown(c.limits[resource]),
			resource,
			tenants.owner,
			objects.shown(most),
		]),
		"field": objects.field(sprintf("%s.resources.limits", [c.field]), resource),
		"fix": sprintf("set it to %s or less, or have the contract changed", [objects.shown(most)]),
	}
}

deny contains violation if {
	some c in settled
	some resource, most in objects.child(tenants.contract, "ratios")
	limit := quantities.number(c.limits[resource])
	request := quantities.number(c.requests[resource])
	limit > request * most
	violation := {
		"msg": sprintf("container `%s` asks for %s of %s and may use %s: more than %v times as much", [
			c.name,
			objects.shown(c.requests[resource]),
			resource,
			objects.shown(c.limits[resource]),
			most,
		]),
		"field": objects.field(sprintf("%s.resources.limits", [c.field]), resource),
		"fix": "ask for more, or use less",
	}
}

deny contains violation if {
	some c in settled
	some resource, request in c.requests
	quantities.above(request, c.limits[resource])
	violation := {
		"msg": sprintf("container `%s` asks for %s of %s, which is more than its limit %s", [
			c.name,
			objects.shown(request),
			resource,
			objects.shown(c.limits[resource]),
		]),
		"field": objects.field(sprintf("%s.resources.requests", [c.field]), resource),
		"fix": "set a limit of at least the request",
	}
}

deny contains violation if {
	tenants.owner
	some i, volume in objects.items(pods.spec(pod), "volumes")
	volume.emptyDir.medium == "Memory"
	objects.value(volume.emptyDir, "sizeLimit") == null
	violation := {
		"msg": sprintf("volume `%s` is in memory and has no sizeLimit", [objects.shown(objects.value(volume, "name"))]),
		"field": sprintf("spec.volumes[%d].emptyDir.sizeLimit", [i]),
		"fix": "set a sizeLimit; it counts as memory of the containers that write there",
	}
}
