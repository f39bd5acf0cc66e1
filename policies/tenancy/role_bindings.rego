# METADATA
# scope: package
# title: Rights stay within the tenant
# description: >-
#   Nobody binds anybody to cluster-admin or to a role that may do everything. A RoleBinding in a tenant's namespace names
#   no group, user or service account of another tenant, and nothing that means everybody. A ClusterRoleBinding gives a
#   tenant nothing, but for the roles that `tenantClusterRoles` lists, and everybody nothing but the API server's own roles. What a role may do is known from `data.inventory`;
#   by their names alone only `forbiddenRoles` are refused.
# custom:
#   severity: critical
#   enforcement: deny
#   controls: ["CIS Kubernetes 5.1.1", "NIST 800-53 AC-6", "NIST 800-53 AC-3", "PCI DSS 7.2.2", "HIPAA 164.308(a)(4)", "SOC 2 CC6.3"]
#   match:
#     rules:
#     - {apiGroups: [rbac.authorization.k8s.io], apiVersions: [v1], resources: [rolebindings, clusterrolebindings], operations: [CREATE, UPDATE]}
#   parameters:
#     tenantLabel: tenant
#     # Cluster roles that nobody is bound to but `masters`: groups and users that have every right anyway.
#     forbiddenRoles: [cluster-admin]
#     masters: ["system:masters", "eks:addon-manager"]
#     # Cluster roles that a ClusterRoleBinding may give to a tenant.
#     tenantClusterRoles: []
#     # Groups and users that mean everybody, or everybody of a kind.
#     everybody: ["system:authenticated", "system:unauthenticated", "system:serviceaccounts", "system:anonymous"]
#     # Namespaces of the platform whose service accounts may be bound anywhere, with `*`.
#     platformNamespaces: [kube-system]
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     forbiddenRoles: {items: {type: string, minLength: 1}}
#     masters: {items: {type: string, minLength: 1}}
#     tenantClusterRoles: {items: {type: string, minLength: 1}}
#     everybody: {items: {type: string, minLength: 1}}
#     platformNamespaces: {items: {type: string, minLength: 1}}
package portcullis.role_bindings

import data.portcullis.lib.objects
import data.portcullis.lib.tenants

parameters := input.parameters

binding := input.request.object

role := objects.child(binding, "roleRef")

subjects := objects.items(binding, "subjects")

namespaced if input.request.kind.kind == "RoleBinding"

# The bindings that the bootstrap and EKS make themselves.
masters_only if {
	not namespaced
	count(subjects) > 0
	every subject in subjects {
		subject.kind in {"Group", "User"}
		subject.name in parameters.masters
	}
}

deny contains violation if {
	role.kind == "ClusterRole"
	role.name in parameters.forbiddenRoles
	not masters_only
	violation := {
		"msg": sprintf("nobody is bound to the cluster role `%s`", [role.name]),
		"field": "roleRef.name",
		"fix": "bind to a role with the rights that are needed, such as `edit` or `view`",
	}
}

deny contains violation if {
	not role.name in parameters.forbiddenRoles
	not startswith(objects.shown(objects.value(role, "name")), "system:")
	some rule in objects.items(rules_of_role, "rules")
	everything(rule)
	violation := {
		"msg": sprintf("nobody is bound to `%s`: it may do everything with everything", [role.name]),
		"field": "roleRef.name",
		"fix": "bind to a role with the rights that are needed",
	}
}

rules_of_role := data.inventory.cluster["rbac.authorization.k8s.io/v1"].ClusterRole[role.name] if role.kind == "ClusterRole"

rules_of_role := data.inventory.namespace[tenants.namespace]["rbac.authorization.k8s.io/v1"].Role[role.name] if role.kind == "Role"

everything(rule) if {
	"*" in objects.items(rule, "verbs")
	"*" in objects.items(rule, "resources")
}

deny contains violation if {
	tenants.owner
	some i, subject in subjects
	subject.kind in {"Group", "User"}
	subject.name in parameters.everybody
	violation := {
		"msg": sprintf("namespace `%s` of tenant `%s` is not opened to everybody of `%s`", [
			tenants.namespace,
			tenants.owner,
			subject.name,
		]),
		"field": sprintf("subjects[%d].name", [i]),
		"fix": "name groups of the tenant",
	}
}

deny contains violation if {
	not namespaced
	not startswith(objects.shown(objects.value(role, "name")), "system:")
	some i, subject in subjects
	subject.kind in {"Group", "User"}
	subject.name in parameters.everybody
	violation := {
		"msg": sprintf("a ClusterRoleBinding gives everybody of `%s` rights in all namespaces", [subject.name]),
		"field": sprintf("subjects[%d].name", [i]),
		"fix": "name the groups that need them",
	}
}

deny contains violation if {
	own := tenants.owner
	some i, subject in subjects
	other := tenant_of(subject)
	other != own
	not belongs(subject, own)
	violation := {
		"msg": sprintf("%s `%s` belongs to tenant `%s`, and namespace `%s` to tenant `%s`", [
			subject.kind,
			subject.name,
			other,
			tenants.namespace,
			own,
		]),
		"field": sprintf("subjects[%d]", [i]),
		"fix": "name subjects of the tenant",
	}
}

deny contains violation if {
	tenants.owner
	some i, subject in subjects
	subject.kind == "ServiceAccount"
	not trusted_namespace(subject.namespace)
	not tenants.knows_namespace(subject.namespace)
	violation := {
		"msg": sprintf("service account `%s` is of namespace `%s`, and whose that is is not known", [
			subject.name,
			subject.namespace,
		]),
		"field": sprintf("subjects[%d].namespace", [i]),
		"fix": "name service accounts of the tenant's namespaces, or have the namespace listed in `platformNamespaces`",
	}
}

trusted_namespace(name) if name == tenants.namespace

trusted_namespace(name) if tenants.fits_any(parameters.platformNamespaces, name)

deny contains violation if {
	not namespaced
	not role.name in parameters.tenantClusterRoles
	some i, subject in subjects
	tenant := tenant_of(subject)
	violation := {
		"msg": sprintf("a ClusterRoleBinding gives %s `%s` of tenant `%s` rights in all namespaces", [
			subject.kind,
			subject.name,
			tenant,
		]),
		"field": sprintf("subjects[%d]", [i]),
		"fix": "make a RoleBinding in a namespace of the tenant",
	}
}

# The tenants that a subject belongs to; a group may be of several.
tenant_of(subject) := min([tenant | some tenant, _ in tenants.all; belongs(subject, tenant)])

belongs(subject, tenant) if {
	subject.kind == "Group"
	subject.name in objects.items(tenants.of(tenant), "groups")
}

belongs(subject, tenant) if {
	subject.kind == "User"
	subject.name in objects.items(tenants.of(tenant), "users")
}

belongs(subject, tenant) if {
	subject.kind == "ServiceAccount"
	tenants.of_namespace(subject.namespace) == tenant
}

# Groups and users can name service accounts too.
belongs(subject, tenant) if {
	subject.kind == "Group"
	startswith(subject.name, "system:serviceaccounts:")
	tenants.of_namespace(trim_prefix(subject.name, "system:serviceaccounts:")) == tenant
}

belongs(subject, tenant) if {
	subject.kind == "User"
	startswith(subject.name, "system:serviceaccount:")
	tenants.of_namespace(split(subject.name, ":")[2]) == tenant
}
