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

tenant_in(labels) := name if {
	name := labels[key]
	is_string(name)
	name != ""
}

# The contract of that tenant; empty for one that is not in `data.tenants`.
contract := of(owner)

of(tenant) := objects.child(all, tenant)

# The namespace of the request as text; empty for what is in none.
default namespace := ""

namespace := input.request.namespace if is_string(input.request.namespace)

# The tenant of another namespace, as far as the inventory knows it.
of_namespace(name) := owner if name == namespace

of_namespace(name) := tenant_in(objects.labels(data.inventory.cluster.v1.Namespace[name])) if name != namespace

# Whether the inventory knows the namespace.
knows_namespace(name) if data.inventory.cluster.v1.Namespace[name]

knows_namespace(name) if name == namespace

# Whether a text fits one of the patterns of a list; `*` stands for anything.
fits_any(patterns, text) if {
	some pattern in patterns
	fits(pattern, text)
}

# Patterns without a star are most of them, and comparing is cheap.
fits(pattern, text) if pattern == text

fits(pattern, text) if {
	contains(pattern, "*")
	glob.match(pattern, [], text)
}

# The objects of a kind in a namespace, by name, as the inventory has them; empty where it has none.
in_namespace(name, api_version, kind) := found if {
	found := data.inventory.namespace[name][api_version][kind]
	is_object(found)
} else := {}

# Whether the inventory has any object of the kind at all. Where it has none, it was not told of them.
knows_kind(api_version, kind) if {
	some name
	count(data.inventory.namespace[name][api_version][kind]) > 0
}
