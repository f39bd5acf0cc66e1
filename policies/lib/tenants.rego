# METADATA
# scope: package
# title: Tenants and their contracts
# description: >-
#   Whose namespace a request is about, and what `data.tenants` says of the one it belongs to. The label's key is the
#   parameter `tenantLabel`, `tenant` where a policy has no such parameter.
package portcullis.lib.tenants

import data.portcullis.lib.objects

default key := "tenant"

key := input.parameters.tenantLabel

default all := {}

all := data.tenants if is_object(data.tenants)

on_namespace if {
	input.request.resource.resource == "namespaces"
	input.request.resource.group == ""
}

# The labels of the request's namespace. Of a Namespace itself: those it has now, or is made with.
namespace_labels := objects.child(input.namespace, "labels") if not on_namespace

namespace_labels := objects.labels(standing) if on_namespace

standing := input.request.oldObject if is_object(input.request.oldObject)

else := input.request.object

# The tenant that the namespace belongs to; undefined without one.
owner := tenant_in(namespace_labels)

tenant_in(labels) := tenant if {
	tenant := labels[key]
	is_string(tenant)
	tenant != ""
}

# The contract of that tenant; empty for one that is not in `data.tenants`.
contract := of(owner)

of(tenant) := objects.child(all, tenant)

# The namespace of the request as text; empty for what is in none.
default namespace := ""

namespace := input.request.namespace if is_string(input.request.namespace)

# The name of the request's object, for messages; empty where the API server has yet to make one.
default name := ""

name := input.request.name if is_string(input.request.name)

# The tenant of another namespace, as far as the inventory knows it.
of_namespace(other) := owner if other == namespace

of_namespace(other) := tenant_in(objects.labels(data.inventory.cluster.v1.Namespace[other])) if other != namespace

# Whether a namespace is known to be of the tenant `owner`. What compares tenants below a `not` asks this: the negation
# of an unknown namespace's tenant compared with anything would be undefined, and let pass.
is_of(namespace, tenant) if of_namespace(namespace) == tenant

# Whether the inventory knows the namespace.
knows_namespace(other) if data.inventory.cluster.v1.Namespace[other]

knows_namespace(other) if other == namespace

# Whether a text fits one of the patterns of a list; `*` stands for anything.
fits_any(patterns, text) if {
	some pattern in patterns
	fits(pattern, text)
}

# Patterns without a star are most of them, and comparing is cheap.
fits(pattern, text) if pattern == text

fits(pattern, text) if {
	contains(pattern, "*")
	# An empty list of delimiters would mean a point.
	glob.match(pattern, null, text)
}

# The objects of a kind in a namespace, by name, as the inventory has them; empty where it has none.
in_namespace(place, api_version, kind) := found if {
	found := data.inventory.namespace[place][api_version][kind]
	is_object(found)
} else := {}

# Whether the inventory has any object of the kind at all. Where it has none, it was not told of them.
knows_kind(api_version, kind) if {
	some place
	count(data.inventory.namespace[place][api_version][kind]) > 0
}
