# METADATA
# scope: package
# title: NodePools are what was agreed with their tenant
# description: >-
#   A NodePool is a tenant's when a contract's `nodePools` names it, or when its nodes carry the tenant's label or taint. It
#   is then named in that tenant's contract, and gives its nodes the tenant's label and a taint `NoSchedule` or `NoExecute`
#   that keeps others away; its limits are within the contract's `nodeLimits`; it requires a capacity type of the contract's
#   `capacityTypes`, in so many words; it has a disruption budget, and none that lets no node go at any time; it asks
#   for instances with GPUs or other accelerators only if the contract's `gpu` has any. Only the platform makes, changes
#   and deletes NodePools, those of nobody included.
# related_resources:
# - https://karpenter.sh/docs/concepts/nodepools/
# - https://karpenter.sh/docs/concepts/disruption/
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 SC-6", "NIST 800-53 SC-39", "NIST 800-53 AC-6", "SOC 2 CC6.1", "PCI DSS A1.1.3"]
#   match:
#     rules:
#     - {apiGroups: [karpenter.sh], apiVersions: ["*"], resources: [nodepools], operations: [CREATE, UPDATE, DELETE]}
#   parameters:
#     # Key of the label and of the taint that say whose a node is.
#     tenantLabel: tenant
#     # The machinery of the cluster: groups, user names and beginnings of user names.
#     controllers:
#       groups: ["system:nodes", "system:serviceaccounts:kube-system"]
#       users: ["system:kube-scheduler", "system:kube-controller-manager", "system:apiserver"]
#       userPrefixes: ["eks:"]
#     # People (and pipelines) of the platform.
#     platformGroups: ["system:masters"]
#     platformUsers: []
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     controllers:
#       required: [groups, users, userPrefixes]
#       additionalProperties: {type: array, items: {type: string, minLength: 1}}
#       propertyNames: {enum: [groups, users, userPrefixes]}
#     platformGroups: {items: {type: string, minLength: 1}}
#     platformUsers: {items: {type: string, minLength: 1}}
package portcullis.node_pools

import data.portcullis.lib.objects
import data.portcullis.lib.placements
import data.portcullis.lib.quantities
import data.portcullis.lib.requester
import data.portcullis.lib.tenants

key := input.parameters.tenantLabel

request := input.request

spec := objects.child(request.object, "spec")

template := objects.child(spec, "template")

name := tenants.name

verb := {"CREATE": "make", "UPDATE": "change", "DELETE": "delete"}[request.operation]

deny contains violation if {
	not requester.platform
	violation := {
		"msg": sprintf("only the platform may %s node pool `%s`", [verb, name]),
		"fix": "ask the platform team",
	}
}

# ---- Whose it is

claimed contains tenant if tenant := tenants.tenant_in(objects.labels(template))

claimed contains tenant if {
	some taint in taints
	taint.key == key
	tenant := taint.value
}

agreed contains tenant if {
	some tenant, contract in tenants.all
	name in objects.items(contract, "nodePools")
}

owners := claimed | agreed

taints := objects.items(objects.child(template, "spec"), "taints")

deny contains violation if {
	some tenant in claimed
	not tenant in agreed
	violation := {
		"msg": sprintf("node pool `%s` is marked as one of tenant `%s`, whose contract does not name it", [name, objects.shown(tenant)]),
		"field": objects.field("spec.template.metadata.labels", key),
		"fix": "name it in `nodePools` of the contract, or leave out the label and the taint",
	}
}

deny contains violation if {
	some tenant in agreed
	request.operation != "DELETE"
	not objects.value(objects.labels(template), key) == tenant
	violation := {
		"msg": sprintf("nodes of node pool `%s` lack the label `%s: %s`", [name, key, tenant]),
		"field": objects.field("spec.template.metadata.labels", key),
		"fix": "set it, so that the tenant's Pods find the nodes",
	}
}

deny contains violation if {
	some tenant in agreed
	request.operation != "DELETE"
	not tainted(tenant)
	violation := {
		"msg": sprintf("nodes of node pool `%s` lack the taint `%s=%s:NoSchedule`", [name, key, tenant]),
		"field": "spec.template.spec.taints",
		"fix": "set it, so that Pods of others stay away",
	}
}

tainted(tenant) if {
	some taint in taints
	taint.key == key
	taint.value == tenant
	taint.effect in {"NoSchedule", "NoExecute"}
}

# ---- How much

limits := objects.child(spec, "limits")

deny contains violation if {
	some tenant in owners
	request.operation != "DELETE"
	count(limits) == 0
	violation := {
		"msg": sprintf("node pool `%s` of tenant `%s` has no limits", [name, tenant]),
		"field": "spec.limits",
		"fix": "set cpu and memory to what the contract says",
	}
}

deny contains violation if {
	some tenant in owners
	count(limits) > 0
	some resource, most in objects.child(tenants.of(tenant), "nodeLimits")
	objects.value(limits, resource) == null
	violation := {
		"msg": sprintf("node pool `%s` has no limit of %s, and the contract of tenant `%s` says %v", [name, resource, tenant, most]),
		"field": objects.field("spec.limits", resource),
		"fix": sprintf("set it to %v or less", [most]),
	}
}

deny contains violation if {
	some tenant in owners
	some resource, most in objects.child(tenants.of(tenant), "nodeLimits")
	quantities.above(limits[resource], most)
	violation := {
		"msg": sprintf("node pool `%s` has a limit of %v %s, and the contract of tenant `%s` says %v", [
			name,
			limits[resource],
			resource,
			tenant,
			most,
		]),
		"field": objects.field("spec.limits", resource),
		"fix": sprintf("set it to %v or less, or have the contract changed", [most]),
	}
}

# ---- Which instances

asked := placements.requirements(objects.child(template, "spec"), "requirements", "spec.template.spec.requirements")

capacity_types := [value |
	some requirement in asked
	requirement.key == "karpenter.sh/capacity-type"
	requirement.operator == "In"
	some value in requirement.values
]

deny contains violation if {
	some tenant in owners
	request.operation != "DELETE"
	count(capacity_types) == 0
	violation := {
		"msg": sprintf("node pool `%s` of tenant `%s` does not say its capacity type", [name, tenant]),
		"field": "spec.template.spec.requirements",
		"fix": sprintf("require karpenter.sh/capacity-type In %s", [said_types(tenant)]),
	}
}

deny contains violation if {
	some tenant in owners
	some value in capacity_types
	not value in objects.items(tenants.of(tenant), "capacityTypes")
	violation := {
		"msg": sprintf("node pool `%s` may be of capacity type `%s`, which the contract of tenant `%s` does not have", [name, value, tenant]),
		"field": "spec.template.spec.requirements",
		"fix": sprintf("require karpenter.sh/capacity-type In %s", [said_types(tenant)]),
	}
}

said_types(tenant) := json.marshal(objects.items(tenants.of(tenant), "capacityTypes"))

deny contains violation if {
	some tenant in owners
	some requirement in asked
	placements.asks_devices(requirement)
	not placements.entitled(tenants.of(tenant))
	violation := {
		"msg": sprintf("node pool `%s` asks for accelerators by `%s`, and the contract of tenant `%s` has none", [
			name,
			requirement.key,
			tenant,
		]),
		"field": "spec.template.spec.requirements",
		"fix": "leave such instances out, or have the contract changed",
	}
}

# ---- How nodes go

budgets := objects.items(objects.child(spec, "disruption"), "budgets")

deny contains violation if {
	some tenant in owners
	request.operation != "DELETE"
	count(budgets) == 0
	violation := {
		"msg": sprintf("node pool `%s` of tenant `%s` has no disruption budget", [name, tenant]),
		"field": "spec.disruption.budgets",
		"fix": "say how many nodes may go at a time, such as `nodes: 10%`",
	}
}

deny contains violation if {
	count(owners) > 0
	some i, budget in budgets
	objects.value(budget, "nodes") in {"0", "0%"}
	objects.value(budget, "schedule") == null
	count(objects.items(budget, "reasons")) == 0
	violation := {
		"msg": sprintf("node pool `%s` lets no node go at any time, so none is ever replaced", [name]),
		"field": sprintf("spec.disruption.budgets[%d]", [i]),
		"fix": "give it a schedule and a duration, or let some nodes go",
	}
}
