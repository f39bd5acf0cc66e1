# METADATA
# scope: package
# title: Roles name what they allow
# description: >-
#   No role but the cluster's own may do everything with everything. A role in a tenant's namespace has no wildcards, does
#   not let anybody escalate, bind or impersonate, and does not give away what is the platform's: quotas, limits and the
#   policies of the platform. Cluster roles are the platform's; of those only the ones that may do everything are refused.
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["CIS Kubernetes 5.1.3", "CIS Kubernetes 5.1.8", "NIST 800-53 AC-6", "PCI DSS 7.2.5", "SOC 2 CC6.3"]
#   match:
#     rules:
#     - {apiGroups: [rbac.authorization.k8s.io], apiVersions: [v1], resources: [roles, clusterroles], operations: [CREATE, UPDATE]}
#   parameters:
#     tenantLabel: tenant
#     # Cluster roles that may do everything, with `*`: the cluster's own.
#     allowedClusterRoles: [cluster-admin, "system:*"]
#     # Verbs that give more rights than a role says.
#     forbiddenVerbs: [escalate, bind, impersonate]
#     # Resources that a tenant's roles let nobody change.
#     platformResources: [resourcequotas, limitranges, policybindings, policyexceptions]
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     allowedClusterRoles: {items: {type: string, minLength: 1}}
#     forbiddenVerbs: {items: {type: string, minLength: 1}}
#     platformResources: {items: {type: string, minLength: 1}}
package portcullis.wildcard_roles

import data.portcullis.lib.objects
import data.portcullis.lib.tenants

parameters := input.parameters

rules := objects.items(input.request.object, "rules")

deny contains violation if {
	input.request.kind.kind == "ClusterRole"
	not tenants.fits_any(parameters.allowedClusterRoles, input.request.name)
	some i, rule in rules
	"*" in objects.items(rule, "verbs")
	"*" in objects.items(rule, "resources")
	"*" in objects.items(rule, "apiGroups")
	violation := {
		"msg": sprintf("cluster role `%s` may do everything with everything", [input.request.name]),
		"field": sprintf("rules[%d]", [i]),
		"fix": "name API groups, resources and verbs",
	}
}

deny contains violation if {
	tenants.owner
	some i, rule in rules
	some list in ["verbs", "resources", "apiGroups"]
	"*" in objects.items(rule, list)
	violation := {
		"msg": sprintf("a role of tenant `%s` has a wildcard in its %s", [tenants.owner, list]),
		"field": sprintf("rules[%d].%s", [i, list]),
		"fix": "name what is needed",
	}
}

deny contains violation if {
	tenants.owner
	some i, rule in rules
	some verb in objects.items(rule, "verbs")
	verb in parameters.forbiddenVerbs
	violation := {
		"msg": sprintf("a role of tenant `%s` lets somebody %s", [tenants.owner, verb]),
		"field": sprintf("rules[%d].verbs", [i]),
		"fix": "leave the verb out; binding to roles that one has oneself needs no verb of its own",
	}
}

deny contains violation if {
	tenants.owner
	some i, rule in rules
	some resource in objects.items(rule, "resources")
	split(resource, "/")[0] in parameters.platformResources
	some verb in objects.items(rule, "verbs")
	not verb in {"get", "list", "watch", "*"}
	violation := {
		"msg": sprintf("a role of tenant `%s` lets somebody %s %s, which are the platform's", [tenants.owner, verb, resource]),
		"field": sprintf("rules[%d]", [i]),
		"fix": "leave it at get, list and watch",
	}
}
