# METADATA
# scope: package
# title: Tenants do not touch what the platform put there
# description: >-
#   In a tenant's namespace the quotas and limits, the network policies that `networkPolicies` names, and the policies of
#   Portcullis, Gatekeeper and Kyverno are changed by the platform only; so are the labels and annotations of the
#   namespace that `protectedKeys` names. Webhook configurations and in-tree admission policies never reach a webhook:
#   docs/operations.md says how those are guarded.
# custom:
#   severity: critical
#   enforcement: deny
#   controls: ["NIST 800-53 AC-3", "NIST 800-53 CM-5", "NIST 800-53 SC-7", "SOC 2 CC6.1", "SOC 2 CC8.1"]
#   match:
#     rules:
#     - {apiGroups: [""], apiVersions: [v1], resources: [resourcequotas, resourcequotas/status, limitranges], operations: [CREATE, UPDATE, DELETE]}
#     - {apiGroups: [""], apiVersions: [v1], resources: [namespaces, namespaces/status, namespaces/finalize], operations: [UPDATE]}
#     - {apiGroups: [networking.k8s.io], apiVersions: ["*"], resources: [networkpolicies], operations: [CREATE, UPDATE, DELETE]}
#     - apiGroups: [portcullis.io, constraints.gatekeeper.sh, templates.gatekeeper.sh, config.gatekeeper.sh, mutations.gatekeeper.sh, kyverno.io, policies.kyverno.io]
#       apiVersions: ["*"]
#       resources: ["*"]
#       operations: [CREATE, UPDATE, DELETE]
#   onUpdate: all
#   parameters:
#     tenantLabel: tenant
#     # Names of the network policies that are the platform's, with `*`.
#     networkPolicies: [default-deny, "platform-*"]
#     # Keys of labels and annotations of namespaces, with `*`. The tenant label has its own policy (tenant_ownership).
#     protectedKeys:
#     - owner
#     - cost-centre
#     - classification
#     - environment
#     - "pod-security.kubernetes.io/*"
#     - "scheduler.alpha.kubernetes.io/*"
#     - "portcullis.io/*"
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
#     networkPolicies: {items: {type: string, minLength: 1}}
#     protectedKeys: {items: {type: string, minLength: 1}}
#     controllers:
#       required: [groups, users, userPrefixes]
#       additionalProperties: {type: array, items: {type: string, minLength: 1}}
#       propertyNames: {enum: [groups, users, userPrefixes]}
#     platformGroups: {items: {type: string, minLength: 1}}
#     platformUsers: {items: {type: string, minLength: 1}}
package portcullis.platform_objects

import data.portcullis.lib.objects
import data.portcullis.lib.requester
import data.portcullis.lib.tenants

parameters := input.parameters

request := input.request

resource := request.resource.resource

outsider if not requester.platform

verb := {"CREATE": "make", "UPDATE": "change", "DELETE": "delete"}[request.operation]

deny contains violation if {
	outsider
	resource in {"resourcequotas", "limitranges"}
	request.resource.group == ""
	tenants.owner
	violation := {
		"msg": sprintf("only the platform may %s %s in namespace `%s` of tenant `%s`", [verb, resource, request.namespace, tenants.owner]),
		"fix": "ask the platform team; the numbers are those of the tenant's contract",
	}
}

deny contains violation if {
	outsider
	resource == "networkpolicies"
	tenants.owner
	tenants.fits_any(parameters.networkPolicies, policy_name)
	violation := {
		"msg": sprintf("only the platform may %s the network policy `%s` of namespace `%s`", [
			verb,
			policy_name,
			request.namespace,
		]),
		"fix": "make a network policy of another name, or ask the platform team",
	}
}

# A `deletecollection` has no name in its requests.
policy_name := request.name if not request.name in {null, ""}

else := name if name := request.oldObject.metadata.name

else := name if name := request.object.metadata.name

deny contains violation if {
	outsider
	not request.resource.group in {"", "networking.k8s.io"}
	violation := {
		"msg": sprintf("only the platform may %s %s of %s", [verb, resource, request.resource.group]),
		"fix": "ask the platform team",
	}
}

deny contains violation if {
	outsider
	tenants.on_namespace
	tenants.owner
	some part in ["labels", "annotations"]
	some key in changed_keys(part)
	tenants.fits_any(parameters.protectedKeys, key)
	violation := {
		"msg": sprintf("only the platform changes `%s` of namespace `%s` of tenant `%s`", [key, request.name, tenants.owner]),
		"field": objects.field(concat(".", ["metadata", part]), key),
		"fix": "leave it as it is, or ask the platform team",
	}
}

changed_keys(part) := {key |
	some key in object.keys(before) | object.keys(after)
	object.get(before, key, null) != object.get(after, key, null)
} if {
	before := objects.child(objects.child(request.oldObject, "metadata"), part)
	after := objects.child(objects.child(request.object, "metadata"), part)
}
