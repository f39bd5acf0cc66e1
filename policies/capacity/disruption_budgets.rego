# METADATA
# scope: package
# title: A disruption budget lets nodes be drained
# description: >-
#   A PodDisruptionBudget lets at least one Pod go. One that lets none go holds up every drain: node updates, consolidation,
#   and the end of a spot node. `maxUnavailable` is not 0, `minAvailable` is not everything, and, where `data.inventory`
#   has the workloads that the budget selects, not as many as all their replicas; percentages are rounded up, as the
#   controller does.
# custom:
#   severity: medium
#   enforcement: deny
#   controls: ["SOC 2 A1.2", "NIST 800-53 SI-2"]
#   match:
#     rules:
#     - {apiGroups: [policy], apiVersions: ["*"], resources: [poddisruptionbudgets], operations: [CREATE, UPDATE]}
package portcullis.disruption_budgets

import data.portcullis.lib.fences
import data.portcullis.lib.objects
import data.portcullis.lib.tenants

name := input.request.name

spec := objects.child(input.request.object, "spec")

deny contains violation if {
	most := objects.value(spec, "maxUnavailable")
	nothing(most)
	violation := {
		"msg": sprintf("disruption budget `%s` lets no Pod go, so no node with one of them can be drained", [name]),
		"field": "spec.maxUnavailable",
		"fix": "set it to 1 or more",
	}
}

deny contains violation if {
	least := objects.value(spec, "minAvailable")
	is_string(least)
	regex.match(`^0*100%$`, least)
	violation := {
		"msg": sprintf("disruption budget `%s` lets no Pod go, so no node with one of them can be drained", [name]),
		"field": "spec.minAvailable",
		"fix": "set `maxUnavailable: 1` instead",
	}
}

nothing(most) if most == 0

nothing(most) if {
	is_string(most)
	regex.match(`^0+%?$`, most)
}

deny contains violation if {
	least := wanted(objects.value(spec, "minAvailable"))
	count(selected) > 0
	least >= replicas
	violation := {
		"msg": sprintf("disruption budget `%s` wants %d of the %d replicas of %s, so none of them can go", [
			name,
			least,
			replicas,
			concat(" and ", sort([workload.name | some workload in selected])),
		]),
		"field": "spec.minAvailable",
		"fix": "set `maxUnavailable: 1` instead, or run more replicas",
	}
}

wanted(least) := least if is_number(least)

wanted(least) := ceil((replicas * to_number(trim_suffix(least, "%"))) / 100) if {
	is_string(least)
	regex.match(`^[0-9]+%$`, least)
}

# The workloads that the budget selects: `{name, replicas}`.
selected contains {"name": sprintf("%s `%s`", [kind, workload]), "replicas": object.get(objects.child(found, "spec"), "replicas", 1)} if {
	some kind in ["Deployment", "StatefulSet"]
	some workload, found in tenants.in_namespace(tenants.namespace, "apps/v1", kind)
	selects(found)
}

replicas := sum([workload.replicas | some workload in selected])

# An empty selector takes all Pods of the namespace.
selects(_) if fences.empty(objects.value(spec, "selector"))

selects(workload) if {
	labels := objects.child(objects.child(spec, "selector"), "matchLabels")
	count(labels) > 0
	of_pods := objects.labels(workload.spec.template)
	every key, value in labels {
		of_pods[key] == value
	}
}
