# METADATA
# scope: package
# title: A namespace is changed only by its tenant and the platform
# description: >-
#   A namespace belongs to the tenant that its label `tenant` names. Everything in it (all resources and subresources,
#   exec and deletes too) is changed only by that tenant's members, by the platform and by the machinery of the cluster.
#   Members are the users and groups in `data.tenants`, and the service accounts of the tenant's namespaces; who may break
#   the glass for the tenant (`breakGlass`) acts like one.
#   The label is set by the platform. Nobody changes or removes it, not even the platform, but for `transferGroups`.
#   An object names a tenant by its own label, a template's label, a nodeSelector or a toleration. In a tenant's
#   namespace it may name no other tenant; elsewhere it may name only a tenant of the person who writes it. What the
#   old object already named passes, and controllers, which only carry out what was admitted before, are not asked.
# custom:
#   severity: critical
#   enforcement: deny
#   controls: ["NIST 800-53 AC-3", "NIST 800-53 AC-4", "HIPAA 164.312(a)(1)", "SOC 2 CC6.1", "CIS Kubernetes 5.7.1", "PCI DSS A1.1.3"]
#   match:
#     # Everything in a namespace, and Namespaces. Not what is in none (nodes, volumes, their attachments): a webhook
#     # that fails closed on those could keep its own volumes from being attached.
#     rules:
#     - {apiGroups: ["*"], apiVersions: ["*"], resources: ["*/*"], operations: ["*"], scope: Namespaced}
#     - {apiGroups: [""], apiVersions: ["*"], resources: [namespaces, namespaces/*], operations: ["*"], scope: Cluster}
#   onUpdate: all
#   parameters:
#     # Key of the label, on namespaces and on objects.
#     tenantLabel: tenant
#     # The machinery of the cluster: groups, user names and beginnings of user names.
#     controllers:
#       groups: ["system:nodes", "system:serviceaccounts:kube-system"]
#       users: ["system:kube-scheduler", "system:kube-controller-manager", "system:apiserver"]
#       userPrefixes: ["eks:"]
#     # People (and pipelines) of the platform.
#     platformGroups: ["system:masters"]
#     platformUsers: []
#     # Who may change or remove the tenant label of a namespace; meant to stay empty but for a planned transfer.
#     transferGroups: []
#     # Whether members may create and delete namespaces of their own tenant.
#     tenantsManageNamespaces: false
#     # Who changes things in a namespace without a tenant: anyone (RBAC alone decides) or platform.
#     unownedNamespaces: anyone
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     controllers:
#       required: [groups, users, userPrefixes]
#       additionalProperties: {type: array, items: {type: string, minLength: 1}}
#       propertyNames: {enum: [groups, users, userPrefixes]}
#     platformGroups: {items: {type: string, minLength: 1}}
#     platformUsers: {items: {type: string, minLength: 1}}
#     transferGroups: {items: {type: string, minLength: 1}}
#     unownedNamespaces: {enum: [anyone, platform]}
package portcullis.tenant_ownership

import data.portcullis.lib.objects

request := input.request

parameters := input.parameters

operation := request.operation

# ---- Who asks

username := name if {
	name := objects.value(object.get(request, "userInfo", {}), "username")
	is_string(name)
} else := ""

groups := {g | some g in objects.items(object.get(request, "userInfo", {}), "groups")}

default tenants := {}

tenants := data.tenants if is_object(data.tenants)

machinery := objects.child(parameters, "controllers")

controller if {
	some g in objects.items(machinery, "groups")
	g in groups
}

controller if username in objects.items(machinery, "users")

controller if {
	some prefix in objects.items(machinery, "userPrefixes")
	startswith(username, prefix)
}

platform if controller

platform if {
	some g in objects.items(parameters, "platformGroups")
	g in groups
}

platform if username in objects.items(parameters, "platformUsers")

may_transfer if {
	some g in objects.items(parameters, "transferGroups")
	g in groups
}

# Whether the one who asks is a member of the tenant. Looks at that tenant alone, however many there are.
member_of(tenant) if {
	some g in objects.items(objects.child(tenants, tenant), "groups")
	g in groups
}

member_of(tenant) if username in objects.items(objects.child(tenants, tenant), "users")

member_of(tenant) if tenant == tenant_in(service_account_namespace_labels)

# Of exactly `system:serviceaccount:<namespace>:<name>`.
service_account_namespace := segments[2] if {
	segments := split(username, ":")
	count(segments) == 4
	array.slice(segments, 0, 2) == ["system", "serviceaccount"]
	not "" in segments
}

own_service_account if service_account_namespace == request_namespace

# For the namespace of the request its labels are known for certain; those of the service account's own come along, or
# are in the inventory. Where they are not, the service account is a member of nothing.
service_account_namespace_labels := request_namespace_labels if own_service_account

service_account_namespace_labels := objects.child(input.userNamespace, "labels") if {
	not own_service_account
	user_namespace_known
}

user_namespace_known if {
	is_object(input.userNamespace)
	input.userNamespace.name == service_account_namespace
}

service_account_namespace_labels := objects.labels(namespace) if {
	not own_service_account
	not user_namespace_known
	namespace := data.inventory.cluster.v1.Namespace[service_account_namespace]
}

may_act_for(_) if platform

may_act_for(tenant) if member_of(tenant)

# In an emergency, such as exec: the decision log has who it was.
may_act_for(tenant) if {
	some g in objects.items(objects.child(objects.child(tenants, tenant), "breakGlass"), "groups")
	g in groups
}

may_act_for(tenant) if username in objects.items(objects.child(objects.child(tenants, tenant), "breakGlass"), "users")

# ---- What it is about

on_namespace if {
	object.get(request.resource, "group", "") == ""
	request.resource.resource == "namespaces"
}

default request_namespace := ""

request_namespace := request.name if {
	on_namespace
	is_string(request.name)
}

request_namespace := request.namespace if {
	not on_namespace
	is_string(request.namespace)
}

new_object := object.get(request, "object", null)

old_object := object.get(request, "oldObject", null)

# The labels the namespace has now: what a request would make of them gives nobody a right.
request_namespace_labels := objects.labels(old_object) if on_namespace

request_namespace_labels := objects.child(input.namespace, "labels") if not on_namespace

tenant_in(labels) := objects.shown(labels[parameters.tenantLabel]) if labels[parameters.tenantLabel] != null

# The tenant that the namespace belongs to; undefined without one.
owner := tenant_in(request_namespace_labels)

# The tenant that a Namespace would belong to after the request.
next_owner := tenant_in(objects.labels(new_object))

# Undefined for cluster-scoped objects, and for a Namespace that comes to a tenant by this very request.
unowned if {
	in_a_namespace
	not owner
	not claimed
}

in_a_namespace if on_namespace

in_a_namespace if request_namespace != ""

claimed if {
	on_namespace
	next_owner
}

# ---- Namespaces and the things in them

deny contains violation if {
	tenant := owner
	not may_act_for(tenant)
	not judged_below
	violation := {
		"msg": sprintf(
			"namespace `%s` belongs to tenant `%s`, and user `%s` is not a member",
			[request_namespace, tenant, username],
		),
		"fix": sprintf("ask a member of tenant `%s` or the platform team", [tenant]),
	}
}

judged_below if {
	on_namespace
	operation == "DELETE"
}

judged_below if {
	on_namespace
	may_transfer
}

deny contains violation if {
	unowned
	parameters.unownedNamespaces != "anyone"
	not platform
	not own_service_account
	violation := {
		"msg": sprintf(
			"namespace `%s` belongs to no tenant: only the platform changes things in it, and user `%s` is not of it",
			[request_namespace, username],
		),
		"fix": "work in a namespace of your tenant, or ask the platform team",
	}
}

# The engine does not ask a policy about a namespace it does not know; a request that comes another way is refused.
deny contains {"msg": sprintf("the labels of namespace `%s` are not known", [request_namespace])} if {
	not on_namespace
	request_namespace != ""
	not is_object(objects.value(input, "namespace"))
}

deny contains fault if some fault in objects.metadata_faults(new_object)

# ---- Namespaces themselves

# Only an update has both owners.
deny contains violation if {
	on_namespace
	not may_transfer
	next_owner != owner
	violation := {
		"msg": sprintf(
			"namespace `%s` belongs to tenant `%s`: its tenant label cannot be changed to `%s`",
			[request_namespace, owner, next_owner],
		),
		"field": objects.field("metadata.labels", parameters.tenantLabel),
		"fix": "make a new namespace for the other tenant",
	}
}

deny contains violation if {
	on_namespace
	operation == "UPDATE"
	not may_transfer
	owner
	not next_owner
	violation := {
		"msg": sprintf(
			"namespace `%s` belongs to tenant `%s`: its tenant label cannot be removed",
			[request_namespace, owner],
		),
		"field": objects.field("metadata.labels", parameters.tenantLabel),
		"fix": "keep the label",
	}
}

# A namespace comes to a tenant, new or by a label set later.
deny contains violation if {
	on_namespace
	not owner
	tenant := next_owner
	not may_manage(tenant)
	violation := {
		"msg": sprintf(
			"only the platform gives a namespace to a tenant: user `%s` may not set tenant `%s` on namespace `%s`",
			[username, tenant, request_namespace],
		),
		"field": objects.field("metadata.labels", parameters.tenantLabel),
		"fix": "ask the platform team",
	}
}

deny contains violation if {
	on_namespace
	operation == "DELETE"
	tenant := owner
	not may_manage(tenant)
	violation := {
		"msg": sprintf(
			"namespace `%s` belongs to tenant `%s`, and user `%s` may not delete it",
			[request_namespace, tenant, username],
		),
		"fix": "ask the platform team",
	}
}

may_manage(_) if platform

may_manage(tenant) if {
	parameters.tenantsManageNamespaces == true
	member_of(tenant)
}

warn contains warning if {
	on_namespace
	tenant := next_owner
	not tenant in object.keys(tenants)
	not carried_over(tenant)
	warning := {
		"msg": sprintf(
			"tenant `%s` is not in data.tenants: nobody but the platform can change things in namespace `%s`",
			[tenant, request_namespace],
		),
		"field": objects.field("metadata.labels", parameters.tenantLabel),
	}
}

carried_over(tenant) if tenant == owner

# ---- Objects that name a tenant

deny contains violation if {
	some named in newly_named
	named.tenant != owner
	violation := {
		"msg": sprintf(
			"the object names tenant `%s`, and its namespace `%s` belongs to tenant `%s`",
			[named.tenant, request_namespace, owner],
		),
		"field": named.field,
		"fix": sprintf("name `%s`, or leave it out", [owner]),
	}
}

deny contains violation if {
	some named in newly_named
	not owner
	not may_act_for(named.tenant)
	violation := {
		"msg": sprintf("the object names tenant `%s`, and user `%s` is not a member", [named.tenant, username]),
		"field": named.field,
		"fix": "leave it out, or ask the platform team",
	}
}

newly_named contains named if {
	not on_namespace
	not controller
	some named in names(parts(new_object))
	not named in old_names
}

# A rule, so that it is worked out once.
old_names := names(parts(old_object))

template_paths := [
	[],
	["spec", "template"],
	["spec", "jobTemplate"],
	["spec", "jobTemplate", "spec", "template"],
	["template"],
]

# The object itself and the templates in it: `{field, object}`, `field` ending in a dot or empty.
parts(obj) := {part |
	some path in template_paths
	found := object.get(objects.as_object(obj), path, null)
	part := {"field": concat("", [concat(".", [step, ""]) | some step in path]), "object": found}
} | {part |
	some i, found in objects.items(objects.child(obj, "spec"), "volumeClaimTemplates")
	part := {"field": sprintf("spec.volumeClaimTemplates[%d].", [i]), "object": found}
}

# Tenants that the parts of an object name: `{field, tenant}`.
names(all_parts) := {named |
	some part in all_parts
	tenant := tenant_in(objects.labels(part.object))
	named := {"field": concat("", [part.field, objects.field("metadata.labels", parameters.tenantLabel)]), "tenant": tenant}
} | {named |
	some part in all_parts
	tenant := tenant_in(objects.child(objects.child(part.object, "spec"), "nodeSelector"))
	field := objects.field(concat("", [part.field, "spec.nodeSelector"]), parameters.tenantLabel)
	named := {"field": field, "tenant": tenant}
} | {named |
	some part in all_parts
	some i, toleration in objects.items(objects.child(part.object, "spec"), "tolerations")
	objects.value(toleration, "key") == parameters.tenantLabel
	tenant := objects.value(toleration, "value")
	not tenant in {null, ""}
	named := {"field": sprintf("%sspec.tolerations[%d]", [part.field, i]), "tenant": objects.shown(tenant)}
}
