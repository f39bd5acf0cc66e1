# METADATA
# scope: package
# title: Network policies as fences
# description: >-
#   A network policy that selects all Pods of its namespace and lets nothing through by an open rule is a fence for the
#   directions it is about. Two policies, one a direction, are a fence together.
# related_resources:
# - https://kubernetes.io/docs/concepts/services-networking/network-policies/#default-policies
package portcullis.lib.fences

import data.portcullis.lib.objects
import data.portcullis.lib.tenants

both := {"Ingress", "Egress"}

# The directions that a policy is about. The API server fills `policyTypes` in; a manifest on a laptop may lack it.
directions(policy) := {d | some d in given} if {
	given := objects.items(objects.child(policy, "spec"), "policyTypes")
	count(given) > 0
} else := both if {
	count(objects.items(objects.child(policy, "spec"), "egress")) > 0
} else := {"Ingress"}

# Whether a selector takes everything.
empty(selector) if {
	is_object(selector)
	count(objects.child(selector, "matchLabels")) == 0
	count(objects.items(selector, "matchExpressions")) == 0
}

rules(policy, "Ingress") := objects.items(objects.child(policy, "spec"), "ingress")

rules(policy, "Egress") := objects.items(objects.child(policy, "spec"), "egress")

peers_key := {"Ingress": "from", "Egress": "to"}

# A rule without peers lets everybody through.
open(policy, direction) if {
	some rule in rules(policy, direction)
	count(objects.items(rule, peers_key[direction])) == 0
}

# The directions in which the policy fences its namespace.
fenced(policy) := {direction |
	empty(objects.value(objects.child(policy, "spec"), "podSelector"))
	some direction in directions(policy)
	not open(policy, direction)
}

# The network policies of a namespace as the inventory has them, by name.
in_namespace(name) := tenants.in_namespace(name, "networking.k8s.io/v1", "NetworkPolicy")

# The directions in which a namespace is fenced by policies other than `except`.
of_namespace(name, except) := {direction |
	some policy_name, policy in in_namespace(name)
	policy_name != except
	some direction in fenced(policy)
}

known if tenants.knows_kind("networking.k8s.io/v1", "NetworkPolicy")
