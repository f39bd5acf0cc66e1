# METADATA
# scope: package
# title: Quotas and limits stand before workloads come
# description: >-
#   A Pod, or a workload that makes Pods, comes into a tenant's namespace only when a ResourceQuota and a LimitRange there
#   say what the contract says, as far as it says anything. They are known from `data.inventory`; where it has none of
#   any namespace, it was not told of them, and `whenUnknown` decides.
# custom:
#   severity: medium
#   enforcement: deny
#   controls: ["NIST 800-53 SC-6", "CIS Kubernetes 5.7.1", "SOC 2 A1.1", "NSA Kubernetes Hardening: Resource policies"]
#   match:
#     kinds: [Pod]
#     operations: [CREATE]
#   parameters:
#     tenantLabel: tenant
#     # What happens where the inventory has no quotas, or no limits, at all: warn or deny.
#     whenUnknown: warn
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     whenUnknown: {enum: [warn, deny]}
package portcullis.capacity_before_workloads

import data.portcullis.lib.capacities
import data.portcullis.lib.tenants

# The kinds of which something is missing: `{kind, numbers}`.
missing contains {"kind": kind, "numbers": numbers} if {
	tenants.owner
	some kind in ["ResourceQuota", "LimitRange"]
	wanted := capacities.agreed(kind)
	numbers := object.keys(wanted) - capacities.elsewhere(kind, "", wanted)
	count(numbers) > 0
}

deny contains violation if {
	some item in missing
	tenants.knows_kind("v1", item.kind)
	violation := {
		"msg": sprintf("no %s in namespace `%s` says what the contract of tenant `%s` says for %s", [
			item.kind,
			tenants.namespace,
			tenants.owner,
			concat(", ", sort(item.numbers)),
		]),
		"fix": sprintf("have the platform make the %s first", [item.kind]),
	}
}

unknown contains finding if {
	some item in missing
	not tenants.knows_kind("v1", item.kind)
	finding := {
		"msg": sprintf("whether namespace `%s` has its %s is not known: none is in data.inventory", [tenants.namespace, item.kind]),
		"fix": "give Portcullis the cluster's quotas and limits as data",
	}
}

deny contains finding if {
	input.parameters.whenUnknown != "warn"
	some finding in unknown
}

warn contains finding if {
	input.parameters.whenUnknown == "warn"
	some finding in unknown
}
