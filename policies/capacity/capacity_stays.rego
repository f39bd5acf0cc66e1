# METADATA
# scope: package
# title: Quotas and limits stay
# description: >-
#   A ResourceQuota or a LimitRange that says numbers of the contract in a tenant's namespace is deleted only when another
#   one in `data.inventory` says them, whoever asks. Controllers are not asked, so that a namespace that is being deleted
#   can go.
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 SC-6", "NIST 800-53 CM-5", "SOC 2 A1.1"]
#   match:
#     rules:
#     - {apiGroups: [""], apiVersions: [v1], resources: [resourcequotas, limitranges], operations: [DELETE]}
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
package portcullis.capacity_stays

import data.portcullis.lib.capacities
import data.portcullis.lib.quantities
import data.portcullis.lib.requester
import data.portcullis.lib.tenants

kind := input.request.kind.kind

old := input.request.oldObject

agreed := capacities.agreed(kind) if tenants.owner

# A list may leave the kind of its items out.
said := capacities.said(object.union(old, {"kind": kind}))

others := capacities.elsewhere(kind, old.metadata.name, agreed)

taken := {key | some key, value in agreed; quantities.same(said[key], value); not key in others}

deny contains violation if {
	count(taken) > 0
	not requester.controller
	violation := {
		"msg": sprintf("%s `%s` says what the contract of tenant `%s` says for %s, and nothing else in namespace `%s` does", [
			kind,
			old.metadata.name,
			tenants.owner,
			concat(", ", sort(taken)),
			tenants.namespace,
		]),
		"fix": "make the one that replaces it first",
	}
}
