# METADATA
# scope: package
# title: Quotas and limits are those of the contract
# description: >-
#   A ResourceQuota or a LimitRange in a tenant's namespace says the numbers of the tenant's contract, no others, whoever
#   writes it: who wants more changes the contract. Numbers that the contract does not have are free, and so is a quota for
#   a scope only. What takes a number of the contract away, by an update or a delete, is refused unless another object in
#   `data.inventory` says it; controllers are not asked about deletes, so that a namespace can go.
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 SC-6", "NIST 800-53 CM-6", "SOC 2 A1.1"]
#   match:
#     rules:
#     - {apiGroups: [""], apiVersions: [v1], resources: [resourcequotas, limitranges], operations: [CREATE, UPDATE, DELETE]}
#   onUpdate: ratchet
#   parameters:
#     tenantLabel: tenant
#     # The machinery of the cluster: groups, user names and beginnings of user names.
#     controllers:
#       groups: ["system:serviceaccounts:kube-system"]
#       users: ["system:kube-controller-manager", "system:apiserver"]
#       userPrefixes: []
package portcullis.capacity_contract

import data.portcullis.lib.capacities
import data.portcullis.lib.objects
import data.portcullis.lib.quantities
import data.portcullis.lib.requester
import data.portcullis.lib.tenants

kind := input.request.kind.kind

# A list may leave the kind of its items out.
with_kind(object) := object.union(object, {"kind": kind}) if is_object(object)

agreed := capacities.agreed(kind) if tenants.owner

said := capacities.said(with_kind(input.request.object))

said_before := capacities.said(with_kind(input.request.oldObject))

others := capacities.elsewhere(kind, input.request.name)

deny contains violation if {
	some key, value in agreed
	now := said[key]
	not quantities.same(now, value)
	violation := {
		"msg": sprintf("%s `%s` of namespace `%s` says %s for %s, and the contract of tenant `%s` says %s", [
			kind,
			input.request.name,
			tenants.namespace,
			objects.shown(now),
			key,
			tenants.owner,
			objects.shown(value),
		]),
		"field": field,
		"fix": sprintf("set it to %s, or have the contract changed", [objects.shown(value)]),
	}
}

field := {"ResourceQuota": "spec.hard", "LimitRange": "spec.limits"}[kind]

# An object for other numbers only need not say those of the contract.
deny contains violation if {
	about_contract
	some key, value in agreed
	not said[key]
	not key in others
	violation := {
		"msg": sprintf("%s `%s` of namespace `%s` says nothing for %s, and the contract of tenant `%s` says %s", [
			kind,
			input.request.name,
			tenants.namespace,
			key,
			tenants.owner,
			objects.shown(value),
		]),
		"field": field,
		"fix": sprintf("set it to %s", [objects.shown(value)]),
	}
}

about_contract if {
	some key, _ in agreed
	said[key]
}

about_contract if {
	input.request.operation == "UPDATE"
	some key, _ in agreed
	said_before[key]
}

deny contains violation if {
	input.request.operation == "DELETE"
	not requester.controller
	taken := {key | some key, value in agreed; quantities.same(said_before[key], value); not key in others}
	count(taken) > 0
	violation := {
		"msg": sprintf("%s `%s` says what the contract of tenant `%s` says for %s, and nothing else in namespace `%s` does", [
			kind,
			input.request.oldObject.metadata.name,
			tenants.owner,
			concat(", ", sort(taken)),
			tenants.namespace,
		]),
		"fix": "make the one that replaces it first",
	}
}
