# METADATA
# scope: package
# title: Protected Pods are not evicted by hand
# description: >-
#   A Pod that carries `protected: "true"` under `key`, as a label or an annotation, is not evicted but by those who break the
#   glass for the tenant, or everywhere by `breakGlass`, and by what drains nodes (`drainers`), so that no node is held for
#   ever: the platform's own automation waits for the Pod's disruption budget, people do not. Pods are known from
#   `data.inventory`; one that is not there passes. The API server asks about an eviction before it looks at budgets.
# custom:
#   severity: medium
#   enforcement: deny
#   controls: ["NIST 800-53 CP-2", "NIST 800-53 CM-5", "SOC 2 A1.2"]
#   match:
#     rules:
#     - {apiGroups: [""], apiVersions: [v1], resources: [pods/eviction], operations: [CREATE]}
#   parameters:
#     tenantLabel: tenant
#     key: portcullis.io/protected
#     # What drains nodes: Karpenter, the cluster autoscaler, node upgrades.
#     drainers:
#       groups: ["system:nodes"]
#       users:
#       - system:serviceaccount:kube-system:karpenter
#       - system:serviceaccount:karpenter:karpenter
#       - system:serviceaccount:kube-system:cluster-autoscaler
#       - eks:node-manager
#     # Who may everywhere in an emergency.
#     breakGlass: {groups: [], users: []}
#     controllers:
#       groups: ["system:serviceaccounts:kube-system"]
#       users: ["system:kube-scheduler", "system:kube-controller-manager", "system:apiserver"]
#       userPrefixes: ["eks:"]
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     key: {minLength: 1}
#     drainers:
#       additionalProperties: {type: array, items: {type: string, minLength: 1}}
#       propertyNames: {enum: [groups, users]}
#     breakGlass:
#       additionalProperties: {type: array, items: {type: string, minLength: 1}}
#       propertyNames: {enum: [groups, users]}
#     controllers:
#       required: [groups, users, userPrefixes]
#       additionalProperties: {type: array, items: {type: string, minLength: 1}}
#       propertyNames: {enum: [groups, users, userPrefixes]}
package portcullis.protected_evictions

import data.portcullis.lib.objects
import data.portcullis.lib.requester
import data.portcullis.lib.tenants

parameters := input.parameters

standing := tenants.in_namespace(tenants.namespace, "v1", "Pod")

protected if {
	some name, pod in standing
	name == tenants.name
	objects.labels(pod)[parameters.key] == "true"
}

protected if {
	some name, pod in standing
	name == tenants.name
	objects.annotations(pod)[parameters.key] == "true"
}

may if requester.controller

may if requester.among(objects.child(parameters, "drainers"))

may if requester.breaks_glass(tenants.owner)

may if requester.among(objects.child(parameters, "breakGlass"))

deny contains violation if {
	protected
	not may
	violation := {
		"msg": sprintf("Pod `%s` is protected by `%s` and is not evicted", [tenants.name, parameters.key]),
		"fix": "let the node be drained by what drains nodes, or ask those who may break the glass for the tenant",
	}
}
