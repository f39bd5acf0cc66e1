# METADATA
# scope: package
# title: Pods of tenants run on the tenant's nodes
# description: >-
#   In a tenant's namespace a Pod selects, by `nodeSelector` or node affinity, no pool that is not in the contract's
#   `nodePools`, no other tenant's label, no capacity type that is not in `capacityTypes`, and instances with GPUs or other
#   accelerators only if the contract's `gpu` has any. It tolerates no other tenant's taint: not by name, not by
#   `operator: Exists` on that key, and not by a toleration without a key, which takes all taints.
#   A Pod need not select its pool: node_defaults does that. Pods in other namespaces pass. By name it selects no node
#   at all (node_names).
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 SC-39", "NIST 800-53 AC-4", "NIST 800-53 SC-6", "SOC 2 CC6.1", "PCI DSS A1.1.3"]
#   match:
#     kinds: [Pod]
#     podTemplates: true
#   parameters:
#     # Key of the label and of the taint that say whose a node is.
#     tenantLabel: tenant
#     # Key of the label that names the pool of a node.
#     poolLabel: karpenter.sh/nodepool
#     # Key of the label that says how a node was bought.
#     capacityLabel: karpenter.sh/capacity-type
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     poolLabel: {minLength: 1}
#     capacityLabel: {minLength: 1}
package portcullis.node_placement

import data.portcullis.lib.objects
import data.portcullis.lib.placements
import data.portcullis.lib.pods
import data.portcullis.lib.tenants

parameters := input.parameters

pod := input.request.object

tenant := tenants.owner

spec := pods.spec(pod)

asked := placements.of_pod(pod) if tenant

deny contains violation if {
	some term in asked
	term.key == parameters.poolLabel
	term.operator == "In"
	some pool in term.values
	not pool in objects.items(tenants.contract, "nodePools")
	violation := {
		"msg": sprintf("the Pod selects node pool `%s`, which is not one of tenant `%s`", [objects.shown(pool), tenant]),
		"field": term.field,
		"fix": "leave it out, or name a pool of the contract",
	}
}

deny contains violation if {
	some term in asked
	term.key in {parameters.poolLabel, parameters.tenantLabel}
	term.operator == "DoesNotExist"
	violation := {
		"msg": sprintf("the Pod selects nodes without the label `%s`, which are not tenant `%s`'s", [term.key, tenant]),
		"field": term.field,
		"fix": "leave it out",
	}
}

deny contains violation if {
	some term in asked
	term.key == parameters.tenantLabel
	term.operator == "In"
	some other in term.values
	other != tenant
	violation := {
		"msg": sprintf("the Pod selects nodes of `%s`, and its namespace belongs to tenant `%s`", [objects.shown(other), tenant]),
		"field": term.field,
		"fix": "leave it out",
	}
}

deny contains violation if {
	some term in asked
	term.key == parameters.capacityLabel
	term.operator == "In"
	some value in term.values
	not value in objects.items(tenants.contract, "capacityTypes")
	violation := {
		"msg": sprintf("the Pod asks for capacity type `%s`, which the contract of tenant `%s` does not have", [objects.shown(value), tenant]),
		"field": term.field,
		"fix": "leave it out, or have the contract changed",
	}
}

deny contains violation if {
	some term in asked
	placements.asks_devices(term)
	not placements.entitled(tenants.contract)
	violation := {
		"msg": sprintf("the Pod asks for nodes with accelerators by `%s`, and the contract of tenant `%s` has none", [term.key, tenant]),
		"field": term.field,
		"fix": "leave it out, or have the contract changed",
	}
}

# ---- Tolerations

deny contains violation if {
	tenant
	some i, toleration in objects.items(spec, "tolerations")
	why := too_much(toleration)
	violation := {
		"msg": sprintf("the Pod tolerates %s, and its namespace belongs to tenant `%s`", [why, tenant]),
		"field": sprintf("spec.tolerations[%d]", [i]),
		"fix": sprintf("tolerate `%s=%s` only", [parameters.tenantLabel, tenant]),
	}
}

too_much(toleration) := "every taint" if objects.value(toleration, "key") in {null, ""}

too_much(toleration) := "the taints of all tenants" if {
	toleration.key == parameters.tenantLabel
	toleration.operator == "Exists"
}

too_much(toleration) := sprintf("the taint of `%s`", [objects.shown(other)]) if {
	toleration.key == parameters.tenantLabel
	not objects.value(toleration, "operator") == "Exists"
	other := objects.value(toleration, "value")
	other != tenant
}
