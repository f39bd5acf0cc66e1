# METADATA
# scope: package
# title: Quotas and limits are those of the contract
# description: >-
#   A ResourceQuota or a LimitRange in a tenant's namespace says the numbers of the tenant's contract, no others, whoever
#   writes it: who wants more changes the contract. Numbers that the contract does not have are free, and so is a quota for
#   a scope only. An update that takes a number of the contract away is refused unless another object in `data.inventory`
#   says it. Deletes are judged by capacity_stays.
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 SC-6", "NIST 800-53 CM-6", "SOC 2 A1.1", "NSA Kubernetes Hardening: Resource policies"]
#   match:
#     rules:
#     - {apiGroups: [""], apiVersions: [v1], resources: [resourcequotas, limitranges], operations: [CREATE, UPDATE]}
#   parameters:
#     tenantLabel: tenant
#   parametersSchema:
#     tenantLabel: {minLength: 1}
package portcullis.capacity_contract

import data.portcullis.lib.capacities
import data.portcullis.lib.objects
import data.portcullis.lib.quantities
import data.portcullis.lib.tenants

kind := input.request.kind.kind

# A list may leave the kind of its items out.
with_kind(object) := object.union(object, {"kind": kind}) if is_object(object)

agreed := capacities.agreed(kind) if tenants.owner

said := capacities.said(with_kind(input.request.object))

said_before := capacities.said(with_kind(input.request.oldObject))

others := capacities.elsewhere(kind, input.request.name, agreed)

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
