# METADATA
# scope: package
# title: What was agreed on quotas and limits
# description: >-
#   The contract's `quotas` and `limits` of the request's namespace, and what ResourceQuotas and LimitRanges say, in one
#   form: `requests.cpu` or `Container max cpu` with its quantity.
package portcullis.lib.capacities

import data.portcullis.lib.objects
import data.portcullis.lib.quantities
import data.portcullis.lib.tenants

special := objects.child(objects.child(tenants.contract, "namespaces"), tenants.namespace)

quotas := special.quotas if is_object(special.quotas)

else := objects.child(tenants.contract, "quotas")

limits := special.limits if is_array(special.limits)

else := objects.items(tenants.contract, "limits")

# The agreed numbers for a kind; `limits` and `quotas` are those of the request's namespace.
agreed("ResourceQuota") := said({"kind": "ResourceQuota", "spec": {"hard": quotas}})

agreed("LimitRange") := said({"kind": "LimitRange", "spec": {"limits": limits}})

# What an object says, by name of the number. Part of a quota's Pods, by scope, says nothing of all of them.
said(object) := {name(key): value | some key, value in objects.child(object.spec, "hard")} if {
	object.kind == "ResourceQuota"
	not scoped(object)
}

said(object) := {} if {
	object.kind == "ResourceQuota"
	scoped(object)
}

said(object) := {sprintf("%s %s %s", [item.type, field, resource]): value |
	some item in objects.items(object.spec, "limits")
	some field in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"]
	some resource, value in objects.child(item, field)
} if object.kind == "LimitRange"

scoped(object) if count(objects.items(object.spec, "scopes")) > 0

scoped(object) if object.spec.scopeSelector != null

# `cpu` in a quota is short for `requests.cpu`.
name(key) := concat(".", ["requests", key]) if key in {"cpu", "memory", "ephemeral-storage"}

name(key) := key if not key in {"cpu", "memory", "ephemeral-storage"}

# The agreed numbers that other objects of the kind in the namespace say already, as the inventory has them.
elsewhere(kind, except, wanted) := {key |
	some other, object in tenants.in_namespace(tenants.namespace, "v1", kind)
	other != except
	some key, value in said(object)
	quantities.same(value, wanted[key])
}

# The item of the contract's limits for containers: `max`, `default`, `defaultRequest`.
container(field) := objects.child(item, field) if {
	some item in limits
	item.type == "Container"
} else := {}
