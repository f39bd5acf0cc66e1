# METADATA
# scope: package
# title: Definitions of kro are made by the platform
# description: >-
#   A ResourceGraphDefinition makes a new API for the whole cluster, which kro serves with its own rights. It is made,
#   changed and deleted by the platform. With `members: true` those of a tenant may make definitions for it, which carry
#   the tenant label and name the tenant at the beginning; nobody takes over those of another.
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 AC-6", "NIST 800-53 CM-5", "SOC 2 CC8.1"]
#   match:
#     rules:
#     - {apiGroups: [kro.run], apiVersions: ["*"], resources: [resourcegraphdefinitions], operations: [CREATE, UPDATE, DELETE]}
#   onUpdate: all
#   parameters:
#     tenantLabel: tenant
#     # Whether members of tenants make definitions for their tenant.
#     members: false
#     # The machinery of the cluster: groups, user names and beginnings of user names.
#     controllers:
#       groups: ["system:nodes", "system:serviceaccounts:kube-system", "system:serviceaccounts:kro-system"]
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
package portcullis.kro_authors

import data.portcullis.lib.objects
import data.portcullis.lib.requester
import data.portcullis.lib.tenants

request := input.request

# What the definition is, and what it was: both must be the asker's.
sides := [side |
	some side in [request.object, request.oldObject]
	is_object(side)
]

deny contains violation if {
	not requester.platform
	input.parameters.members != true
	violation := {
		"msg": sprintf("definition `%s` makes an API for the whole cluster, and `%s` is not of the platform", [request.name, requester.username]),
		"fix": "ask the platform team",
	}
}

deny contains violation if {
	not requester.platform
	input.parameters.members == true
	some side in sides
	not own(side)
	violation := {
		"msg": sprintf("definition `%s` is not of a tenant that `%s` belongs to", [request.name, requester.username]),
		"field": objects.field("metadata.labels", tenants.key),
		"fix": "label it with the tenant, and begin its name with the tenant and `-`",
	}
}

own(side) if {
	tenant := tenants.tenant_in(objects.labels(side))
	requester.among(tenants.of(tenant))
	startswith(request.name, sprintf("%s-", [tenant]))
}
