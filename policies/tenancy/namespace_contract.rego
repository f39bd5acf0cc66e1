# METADATA
# scope: package
# title: A tenant's namespace says what its contract says
# description: >-
#   A namespace with a tenant carries an owner, a cost centre and a classification, and they are those of the tenant's
#   contract. What the contract knows may be left out of the labels; what they say otherwise is refused, and so is a
#   classification or an environment that the contract does not have. Whose the namespace is, is set once
#   (tenant_ownership).
# custom:
#   severity: medium
#   enforcement: deny
#   controls: ["NIST 800-53 CM-8", "NIST 800-53 RA-2", "SOC 2 CC6.1", "HIPAA 164.310(d)(2)(iii)", "CIS Kubernetes 5.7.1"]
#   match:
#     # Labels can be changed through `status` and `finalize` as well.
#     rules:
#     - apiGroups: [""]
#       apiVersions: [v1]
#       resources: [namespaces, namespaces/status, namespaces/finalize]
#       operations: [CREATE, UPDATE]
#       scope: Cluster
#   parameters:
#     # Keys of the labels.
#     tenantLabel: tenant
#     ownerLabel: owner
#     costCentreLabel: cost-centre
#     classificationLabel: classification
#     environmentLabel: environment
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     ownerLabel: {minLength: 1}
#     costCentreLabel: {minLength: 1}
#     classificationLabel: {minLength: 1}
#     environmentLabel: {minLength: 1}
package portcullis.namespace_contract

import data.portcullis.lib.objects
import data.portcullis.lib.tenants

parameters := input.parameters

labels := objects.labels(input.request.object)

tenant := tenants.tenant_in(labels)

contract := tenants.of(tenant)

name := input.request.name

deny contains violation if {
	some item in [
		{"label": parameters.ownerLabel, "key": "owner"},
		{"label": parameters.costCentreLabel, "key": "costCentre"},
	]
	agreed := contract[item.key]
	said := objects.value(labels, item.label)
	not said in {null, agreed}
	violation := {
		"msg": sprintf(
			"namespace `%s` says %s `%s`, and the contract of tenant `%s` says `%s`",
			[name, item.label, objects.shown(said), tenant, agreed],
		),
		"field": objects.field("metadata.labels", item.label),
		"fix": sprintf("set the label to `%s`, or leave it out", [agreed]),
	}
}

deny contains violation if {
	some item in [
		{"label": parameters.ownerLabel, "agreed": objects.value(contract, "owner")},
		{"label": parameters.costCentreLabel, "agreed": objects.value(contract, "costCentre")},
		{"label": parameters.classificationLabel, "agreed": objects.value(classification, "default")},
	]
	item.agreed == null
	tenant
	objects.value(labels, item.label) in {null, ""}
	violation := {
		"msg": sprintf("namespace `%s` of tenant `%s` has no label `%s`, and the contract does not say it", [
			name,
			tenant,
			item.label,
		]),
		"field": objects.field("metadata.labels", item.label),
		"fix": "set the label",
	}
}

classification := objects.child(contract, "classification")

deny contains violation if {
	allowed := classification.allowed
	said := objects.value(labels, parameters.classificationLabel)
	said != null
	not said in allowed
	violation := {
		"msg": sprintf(
			"namespace `%s` is classified `%s`, and tenant `%s` holds data of %s only",
			[name, objects.shown(said), tenant, concat(", ", allowed)],
		),
		"field": objects.field("metadata.labels", parameters.classificationLabel),
		"fix": sprintf("set the label to one of %s", [concat(", ", allowed)]),
	}
}

deny contains violation if {
	environments := contract.environments
	said := objects.value(labels, parameters.environmentLabel)
	said != null
	not said in object.keys(environments)
	violation := {
		"msg": sprintf(
			"namespace `%s` is of environment `%s`, and the contract of tenant `%s` has no such environment",
			[name, objects.shown(said), tenant],
		),
		"field": objects.field("metadata.labels", parameters.environmentLabel),
		"fix": sprintf("set the label to one of %s, or leave it out", [concat(", ", sort(object.keys(environments)))]),
	}
}
