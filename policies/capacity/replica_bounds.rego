# METADATA
# scope: package
# title: Workloads grow within the contract
# description: >-
#   In a tenant's namespace no workload has more replicas, no Job more Pods at a time, and no autoscaler a higher maximum
#   than the contract's `replicas.max`. Scaling counts like writing. An autoscaler that says no maximum is refused.
# custom:
#   severity: medium
#   enforcement: deny
#   controls: ["NIST 800-53 SC-6", "SOC 2 A1.1"]
#   match:
#     rules:
#     - apiGroups: [apps]
#       apiVersions: ["*"]
#       resources: [deployments, deployments/scale, statefulsets, statefulsets/scale, replicasets, replicasets/scale]
#       operations: [CREATE, UPDATE]
#     - {apiGroups: [""], apiVersions: [v1], resources: [replicationcontrollers, replicationcontrollers/scale], operations: [CREATE, UPDATE]}
#     - {apiGroups: [batch], apiVersions: ["*"], resources: [jobs, cronjobs], operations: [CREATE, UPDATE]}
#     - {apiGroups: [autoscaling], apiVersions: ["*"], resources: [horizontalpodautoscalers], operations: [CREATE, UPDATE]}
#     - {apiGroups: [keda.sh], apiVersions: ["*"], resources: [scaledobjects, scaledjobs], operations: [CREATE, UPDATE]}
#   parameters:
#     tenantLabel: tenant
#   parametersSchema:
#     tenantLabel: {minLength: 1}
package portcullis.replica_bounds

import data.portcullis.lib.objects
import data.portcullis.lib.tenants

kind := input.request.kind.kind

object := input.request.object

most := tenants.contract.replicas.max if tenants.owner

place := object.get(places, kind, ["spec", "replicas"])

places := {
	"HorizontalPodAutoscaler": ["spec", "maxReplicas"],
	"ScaledObject": ["spec", "maxReplicaCount"],
	"ScaledJob": ["spec", "maxReplicaCount"],
	"Job": ["spec", "parallelism"],
	"CronJob": ["spec", "jobTemplate", "spec", "parallelism"],
}

found := number if {
	number := objects.at(object, place)
	number != null
}

# KEDA scales to 100 without a maximum.
else := 100 if startswith(kind, "Scaled")

deny contains violation if {
	found > most
	violation := {
		"msg": sprintf("%s `%s` may have %v Pods at a time, and the contract of tenant `%s` says %v", [
			kind,
			tenants.name,
			found,
			tenants.owner,
			most,
		]),
		"field": concat(".", place),
		"fix": sprintf("set it to %v or less, or have the contract changed", [most]),
	}
}
