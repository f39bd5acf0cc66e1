# METADATA
# scope: package
# title: A disruption budget lets nodes be drained
# description: >-
#   A PodDisruptionBudget lets at least one Pod go. One that lets none go holds up every drain: node updates, consolidation,
#   and the end of a spot node. `maxUnavailable` is not 0, `minAvailable` is not everything, and, where `data.inventory`
#   has the workload that the budget selects, not as many as its replicas.
# custom:
#   severity: medium
#   enforcement: deny
#   controls: ["SOC 2 A1.2", "NIST 800-53 SI-2"]
#   match:
#     rules:
#     - {apiGroups: [policy], apiVersions: ["*"], resources: [poddisruptionbudgets], operations: [CREATE, UPDATE]}
package portcullis.disruption_budgets

import data.portcullis.lib.objects
import data.portcullis.lib.tenants

name := input.request.name

spec := objects.child(input.request.object, "spec")

deny contains violation if {
	most := objects.value(spec, "maxUnavailable")
	most in {0, "0", "0%"}
	violation := {
		"msg": sprintf("disruption budget `%s` lets no Pod go, so no node with one of them can be drained", [name]),
		"field": "spec.maxUnavailable",
		"fix": "set it to 1 or more",
	}
}

deny contains violation if {
	least := objects.value(spec, "minAvailable")
	least in {"100%"}
	violation := {
		"msg": sprintf("disruption budget `%s` lets no Pod go, so no node with one of them can be drained", [name]),
		"field": "spec.minAvailable",
		"fix": "set `maxUnavailable: 1` instead",
	}
}

deny contains violation if {
	least := objects.value(spec, "minAvailable")
	is_number(least)
	some kind in ["Deployment", "StatefulSet"]
	some workload, object in tenants.in_namespace(tenants.namespace, "apps/v1", kind)
	selects(object)
	replicas := object.spec.replicas
	least >= replicas
	violation := {
		"msg": sprintf("disruption budget `%s` wants %d of the %d replicas of %s `%s`, so none of them can go", [
			name,
			least,
			replicas,
			kind,
			workload,
		]),
		"field": "spec.minAvailable",
		"fix": "set `maxUnavailable: 1` instead, or run more replicas",
	}
}

selects(workload) if {
	wanted := objects.child(objects.child(spec, "selector"), "matchLabels")
	count(wanted) > 0
	labels := objects.labels(workload.spec.template)
	every key, value in wanted {
		labels[key] == value
	}
}
