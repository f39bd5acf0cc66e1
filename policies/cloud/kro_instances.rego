# METADATA
# scope: package
# title: Instances of kro stay within the tenant
# description: >-
#   What an instance of a definition of kro says is put into the objects that kro makes with its own rights. So in a
#   tenant's namespace it names no other tenant, no namespace and no AWS account that is not the tenant's, no role that
#   the contract does not have and no bucket with another's name; of what it says in whatever field. A definition that is
#   for one tenant, as the inventory knows it, is used by that one. The objects themselves are judged when they are made.
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 AC-3", "NIST 800-53 AC-4", "PCI DSS 7.2.5", "HIPAA 164.312(a)(1)", "SOC 2 CC6.1"]
#   match:
#     rules:
#     - {apiGroups: [kro.run], apiVersions: ["*"], resources: ["*"], operations: [CREATE, UPDATE], scope: Namespaced}
#   parameters:
#     tenantLabel: tenant
#     # Keys, beside the tenant label, under which an instance names a tenant.
#     tenantKeys: [tenant, tenantId, tenantName]
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     tenantKeys: {items: {type: string, minLength: 1}}
package portcullis.kro_instances

import data.portcullis.lib.cloud
import data.portcullis.lib.iam_documents
import data.portcullis.lib.objects
import data.portcullis.lib.tenants

instance := input.request.object

kind := input.request.kind.kind

own := tenants.owner

# What it says as one text, in which names and values are found wherever they stand.
text := json.marshal([objects.value(instance, "spec"), objects.labels(instance), objects.annotations(instance)]) if own

said(pattern) := {found[1] | some found in regex.find_all_string_submatch_n(pattern, text, -1)}

deny contains violation if {
	some key in {k | some k in array.concat(input.parameters.tenantKeys, [tenants.key])}
	some found in said(sprintf(`"%s":"([^"]*)"`, [key]))
	found != own
	violation := {
		"msg": sprintf("%s `%s` names tenant `%s`, and its namespace is of tenant `%s`", [kind, input.request.name, found, own]),
		"field": "spec",
		"fix": sprintf("name tenant `%s`", [own]),
	}
}

deny contains violation if {
	some found in said(`"[A-Za-z]*[nN]amespace":"([^"]+)"`)
	not tenants.is_of(found, own)
	violation := {
		"msg": sprintf("%s `%s` names namespace `%s`, which is not of tenant `%s`", [kind, input.request.name, found, own]),
		"field": "spec",
		"fix": "name a namespace of the tenant",
	}
}

deny contains violation if {
	some found in said(`"[A-Za-z0-9/.-]*[aA]ccount(?:-?[iI][dD]|Number)?":"?([0-9]{12})`)
	not cloud.own_account(found, cloud.scope_of(own, null))
	violation := {
		"msg": sprintf("%s `%s` names account %s, which is not of tenant `%s`", [kind, input.request.name, found, own]),
		"field": "spec",
		"fix": "name an account of the tenant",
	}
}

arns := said(`(arn:aws[a-z-]*:[^"\\ ,]*)`)

deny contains violation if {
	some arn in arns
	role(arn)
	not tenants.fits_any(objects.items(tenants.contract, "roles"), arn)
	violation := {
		"msg": sprintf("%s `%s` names role `%s`, which is not one that tenant `%s` may take", [kind, input.request.name, arn, own]),
		"field": "spec",
		"fix": "name a role of the tenant's contract",
	}
}

role(arn) if contains(arn, ":role/")

deny contains violation if {
	some arn in arns
	not role(arn)
	not iam_documents.own_resource(arn, cloud.scope_of(own, null))
	violation := {
		"msg": sprintf("%s `%s` names `%s`, which is not of tenant `%s`", [kind, input.request.name, arn, own]),
		"field": "spec",
		"fix": "name what is in an account of the tenant, and buckets with its names",
	}
}

# ---- Whose definition it is

deny contains violation if {
	some other in definitions_of_others
	violation := {
		"msg": sprintf("%s is defined for tenant `%s`, and namespace `%s` is of tenant `%s`", [kind, other, tenants.namespace, own]),
		"field": "kind",
		"fix": "use a definition of the tenant, or of the platform",
	}
}

definitions_of_others contains other if {
	own
	some _, definition in data.inventory.cluster["kro.run/v1alpha1"].ResourceGraphDefinition
	objects.at(definition, ["spec", "schema", "kind"]) == kind
	other := tenants.tenant_in(objects.labels(definition))
	other != own
}
