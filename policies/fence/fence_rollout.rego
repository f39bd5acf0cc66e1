# METADATA
# scope: package
# title: What a default deny would break is said beforehand
# description: >-
#   When a network policy that fences a tenant's namespace is made or changed, the answer warns of what it would cut off,
#   as far as `data.inventory` knows: Services whose Pods no policy lets anybody reach, and name resolution, when no
#   policy lets Pods reach port 53. Nothing is refused. `kubectl apply --dry-run=server` asks without doing it. A Service
#   is compared by its selector with the labels that policies select; expressions count as not selecting.
# custom:
#   severity: info
#   enforcement: warn
#   controls: ["NIST 800-53 CM-4"]
#   match:
#     rules:
#     - {apiGroups: [networking.k8s.io], apiVersions: ["*"], resources: [networkpolicies], operations: [CREATE, UPDATE]}
#   parameters:
#     tenantLabel: tenant
#   parametersSchema:
#     tenantLabel: {minLength: 1}
package portcullis.fence_rollout

import data.portcullis.lib.fences
import data.portcullis.lib.objects
import data.portcullis.lib.tenants

policy := input.request.object

fenced := fences.fenced(policy) if tenants.owner

# The policies of the namespace as they will be.
policies := array.concat([policy], [other |
	some name, other in fences.in_namespace(tenants.namespace)
	name != input.request.name
])

warn contains warning if {
	"Ingress" in fenced
	some name, service in tenants.in_namespace(tenants.namespace, "v1", "Service")
	selector := objects.child(objects.child(service, "spec"), "selector")
	count(selector) > 0
	not reachable(selector)
	warning := {
		"msg": sprintf("Service `%s` would get no traffic: no network policy lets anybody reach its Pods", [name]),
		"fix": "make a network policy with an `ingress` rule for them first",
	}
}

reachable(selector) if {
	some other in policies
	count(fences.rules(other, "Ingress")) > 0
	pod_selector := objects.child(objects.child(other, "spec"), "podSelector")
	count(objects.items(pod_selector, "matchExpressions")) == 0
	every key, value in objects.child(pod_selector, "matchLabels") {
		selector[key] == value
	}
}

warn contains warning if {
	"Egress" in fenced
	not resolves
	warning := {
		"msg": sprintf("Pods in namespace `%s` could not resolve names: no network policy lets them reach port 53", [tenants.namespace]),
		"fix": "make a network policy with an `egress` rule to the cluster's DNS first",
	}
}

resolves if {
	some other in policies
	some rule in fences.rules(other, "Egress")
	reaches_dns(rule)
}

reaches_dns(rule) if count(objects.items(rule, "ports")) == 0

reaches_dns(rule) if {
	some port in objects.items(rule, "ports")
	port.port == 53
}
