# METADATA
# scope: package
# title: The fence stays while Pods run
# description: >-
#   A network policy that fences a tenant's namespace is not deleted, and not changed so that it fences less, while Pods run
#   there, whoever asks: all of them would be open at once. Another fence in `data.inventory` stands in for it. Pods are
#   known from there as well; where it has no Pods of any namespace, they are taken to run. Controllers are not asked,
#   so that a namespace that is being deleted can go.
# custom:
#   severity: critical
#   enforcement: deny
#   controls: ["NIST 800-53 SC-7(5)", "NIST 800-53 CM-5", "PCI DSS 1.2.1", "HIPAA 164.312(e)(1)", "NSA Kubernetes Hardening: Network separation and hardening"]
#   match:
#     rules:
#     - {apiGroups: [networking.k8s.io], apiVersions: ["*"], resources: [networkpolicies], operations: [UPDATE, DELETE]}
#   onUpdate: all
#   parameters:
#     tenantLabel: tenant
#     # The machinery of the cluster: groups, user names and beginnings of user names.
#     controllers:
#       groups: ["system:serviceaccounts:kube-system"]
#       users: ["system:kube-controller-manager", "system:apiserver"]
#       userPrefixes: []
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     controllers:
#       required: [groups, users, userPrefixes]
#       additionalProperties: {type: array, items: {type: string, minLength: 1}}
#       propertyNames: {enum: [groups, users, userPrefixes]}
package portcullis.fence_stays

import data.portcullis.lib.fences
import data.portcullis.lib.objects
import data.portcullis.lib.requester
import data.portcullis.lib.tenants

old := input.request.oldObject

after := fences.fenced(objects.as_object(input.request.object))

lost := (fences.fenced(old) - after) - fences.of_namespace(tenants.namespace, old.metadata.name)

pods := tenants.in_namespace(tenants.namespace, "v1", "Pod")

running if {
	some _, pod in pods
	not objects.value(objects.child(pod, "status"), "phase") in {"Succeeded", "Failed"}
}

running if {
	count(pods) == 0
	not tenants.knows_kind("v1", "Pod")
}

deny contains violation if {
	tenants.owner
	count(lost) > 0
	not requester.controller
	running
	violation := {
		"msg": sprintf(
			"network policy `%s` is the fence of namespace `%s` of tenant `%s` for %s, and Pods run there",
			[old.metadata.name, tenants.namespace, tenants.owner, concat(" and ", sort([lower(d) | some d in lost]))],
		),
		"fix": "make the other fence first, or end the workloads of the namespace",
	}
}
