# METADATA
# scope: package
# title: Service accounts take roles of their tenant
# description: >-
#   The IAM role of a service account, by annotation (IRSA), by a PodIdentityAssociation or by a variable that the SDKs
#   read (in a Pod or a ConfigMap), is one that the contract's `roles` allow. A PodIdentityAssociation is about a namespace
#   of the same tenant. The service account `default`, which every Pod of the namespace may use, gets no role.
# custom:
#   severity: critical
#   enforcement: deny
#   controls: ["NIST 800-53 AC-3", "NIST 800-53 AC-6", "PCI DSS 7.2.5", "HIPAA 164.312(a)(1)", "SOC 2 CC6.1"]
#   match:
#     rules:
#     - {apiGroups: [""], apiVersions: [v1], resources: [serviceaccounts, pods, configmaps], operations: [CREATE, UPDATE]}
#     - {apiGroups: [eks.services.k8s.aws], apiVersions: ["*"], resources: [podidentityassociations], operations: [CREATE, UPDATE]}
#     podTemplates: true
#   parameters:
#     tenantLabel: tenant
#     # Annotation of a ServiceAccount.
#     annotation: eks.amazonaws.com/role-arn
#     # Whether the service account `default` may have a role.
#     defaultAccount: false
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     annotation: {minLength: 1}
package portcullis.iam_roles

import data.portcullis.lib.objects
import data.portcullis.lib.pods
import data.portcullis.lib.tenants

kind := input.request.kind.kind

subject := input.request.object

spec := objects.child(subject, "spec")

# Whose the role must be: the tenant of the namespace that gets it.
default tenant := null

tenant := owner if {
	owner := tenants.owner
	not platform_association
}

tenant := owner if {
	platform_association
	owner := tenants.of_namespace(spec.namespace)
}

# The platform makes associations for tenants from namespaces of its own.
platform_association if {
	kind == "PodIdentityAssociation"
	not tenants.owner
}

uses contains {"field": objects.field("metadata.annotations", key), "role": role} if {
	kind == "ServiceAccount"
	key := input.parameters.annotation
	role := objects.annotations(subject)[key]
}

uses contains {"field": sprintf("spec.%s", [key]), "role": role} if {
	kind == "PodIdentityAssociation"
	some key in ["roleARN", "targetRoleARN"]
	role := spec[key]
}

uses contains {"field": sprintf("%s.env[%d].value", [c.field, i]), "role": role} if {
	kind == "Pod"
	some c in pods.containers(subject)
	some i, variable in objects.items(c.container, "env")
	variable.name == "AWS_ROLE_ARN"
	role := variable.value
}

# By `envFrom` every key becomes a variable.
uses contains {"field": "data.AWS_ROLE_ARN", "role": role} if {
	kind == "ConfigMap"
	role := objects.child(subject, "data").AWS_ROLE_ARN
}

deny contains violation if {
	tenant != null
	input.parameters.defaultAccount == false
	with_role == "default"
	violation := {
		"msg": sprintf("the service account `default` gets a role, and every Pod of a namespace of tenant `%s` with it", [tenant]),
		"field": {"ServiceAccount": "metadata.name", "PodIdentityAssociation": "spec.serviceAccount"}[kind],
		"fix": "make a service account for the workload, and give that the role",
	}
}

with_role := input.request.name if {
	kind == "ServiceAccount"
	count(uses) > 0
}

with_role := objects.value(spec, "serviceAccount") if kind == "PodIdentityAssociation"

deny contains violation if {
	tenant != null
	some use in uses
	not tenants.fits_any(allowed, use.role)
	violation := {
		"msg": sprintf("role `%s` is not one that tenant `%s` may take%s", [objects.shown(use.role), tenant, of_account(use.role)]),
		"field": use.field,
		"fix": hint,
	}
}

allowed := objects.items(tenants.of(tenant), "roles")

hint := sprintf("name a role of %s", [concat(", ", allowed)]) if count(allowed) > 0

hint := "have the role added to the tenant's contract" if count(allowed) == 0

of_account(role) := sprintf(": account %s is not the tenant's", [account]) if {
	account := split(role, ":")[4]
	not account in objects.items(tenants.of(tenant), "accounts")
} else := ""

deny contains violation if {
	kind == "PodIdentityAssociation"
	owner := tenants.owner
	namespace := spec.namespace
	not tenants.is_of(namespace, owner)
	violation := {
		"msg": sprintf("the association gives a role to namespace `%s`, which is not of tenant `%s`", [namespace, owner]),
		"field": "spec.namespace",
		"fix": "name a namespace of the tenant",
	}
}

deny contains violation if {
	platform_association
	not tenants.knows_namespace(spec.namespace)
	violation := {
		"msg": sprintf("the association gives a role to namespace `%s`, and whose that is is not known", [objects.shown(objects.value(spec, "namespace"))]),
		"field": "spec.namespace",
		"fix": "make the association in the namespace that it is for",
	}
}
