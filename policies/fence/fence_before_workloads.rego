# METADATA
# scope: package
# title: The fence stands before workloads come
# description: >-
#   A Pod, or a workload that makes Pods, comes into a tenant's namespace only when network policies there fence all its
#   Pods in both directions (a default deny). Network policies are known from `data.inventory`; where it has none of any
#   namespace, it was not told of them, and `whenUnknown` decides.
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["CIS Kubernetes 5.3.2", "NIST 800-53 SC-7(5)", "NIST 800-53 AC-4", "PCI DSS 1.2.1", "HIPAA 164.312(e)(1)", "NSA Kubernetes Hardening: Network separation and hardening", "PCI DSS A1.1.3"]
#   match:
#     kinds: [Pod]
#     operations: [CREATE]
#   parameters:
#     tenantLabel: tenant
#     # What happens where the inventory has no network policies at all: warn or deny.
#     whenUnknown: warn
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     whenUnknown: {enum: [warn, deny]}
package portcullis.fence_before_workloads

import data.portcullis.lib.fences
import data.portcullis.lib.tenants

missing := fences.both - fences.of_namespace(tenants.namespace, "") if tenants.owner

unfenced if count(missing) > 0

deny contains violation if {
	unfenced
	fences.known
	violation := {
		"msg": sprintf(
			"namespace `%s` of tenant `%s` has no default deny for %s, so no workload comes into it",
			[tenants.namespace, tenants.owner, concat(" and ", sort([lower(direction) | some direction in missing]))],
		),
		"fix": "make a NetworkPolicy with `podSelector: {}` and `policyTypes: [Ingress, Egress]` first",
	}
}

unknown := {
	"msg": sprintf(
		"whether namespace `%s` has a default deny is not known: no network policy is in data.inventory",
		[tenants.namespace],
	),
	"fix": "give Portcullis the cluster's network policies as data",
} if {
	unfenced
	not fences.known
}

deny contains finding if {
	finding := unknown
	input.parameters.whenUnknown != "warn"
}

warn contains finding if {
	finding := unknown
	input.parameters.whenUnknown == "warn"
}
