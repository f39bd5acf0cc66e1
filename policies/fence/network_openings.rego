# METADATA
# scope: package
# title: Openings in the fence lead to the tenant's own and to what was agreed
# description: >-
#   A network policy in a tenant's namespace opens to Pods of the same tenant, in from the platform's gateways
#   (`ingressFrom`), out to DNS and to the namespaces that the contract names in `egress`. It does not open to everybody,
#   to all namespaces, to namespaces that may be another tenant's, or to the addresses where the cloud gives out
#   credentials. A namespace selector is the tenant's own when it asks for the tenant label, or for
#   `kubernetes.io/metadata.name` of known namespaces. Blocks of addresses must leave out `podAddresses`: by address
#   every Pod of the cluster could be meant.
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 SC-7", "NIST 800-53 AC-4", "PCI DSS 1.3.1", "PCI DSS 1.3.2", "HIPAA 164.312(e)(1)", "NSA Kubernetes Hardening: Network separation and hardening", "PCI DSS A1.1.3"]
#   match:
#     rules:
#     - {apiGroups: [networking.k8s.io], apiVersions: ["*"], resources: [networkpolicies], operations: [CREATE, UPDATE]}
#   parameters:
#     tenantLabel: tenant
#     # Namespaces that may connect to tenants' Pods, with `*`.
#     ingressFrom: [infra, monitoring]
#     # Namespaces with the cluster's DNS, on ports 53 only.
#     dnsNamespaces: [kube-system]
#     # Addresses of the cluster's Pods, as blocks. Empty: a block of all addresses needs at least some `except`.
#     podAddresses: []
#     # Addresses that give out credentials. Pod Identity's own, 169.254.170.23, is not among them: Pods need it.
#     metadataAddresses: [169.254.169.254/32, 169.254.170.2/32, "fd00:ec2::254/128"]
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     ingressFrom: {items: {type: string, minLength: 1}}
#     dnsNamespaces: {items: {type: string, minLength: 1}}
#     podAddresses: {items: {type: string, minLength: 1}}
#     metadataAddresses: {items: {type: string, minLength: 1}}
package portcullis.network_openings

import data.portcullis.lib.fences
import data.portcullis.lib.objects
import data.portcullis.lib.tenants

parameters := input.parameters

policy := input.request.object if tenants.owner

# Every peer of every rule: `{direction, field, peer, ports}`.
peers contains found if {
	some direction, key in fences.peers_key
	some i, rule in fences.rules(policy, direction)
	some j, peer in objects.items(rule, key)
	found := {
		"direction": direction,
		"field": sprintf("spec.%s[%d].%s[%d]", [lower(direction), i, key, j]),
		"peer": peer,
		"ports": objects.items(rule, "ports"),
	}
}

deny contains violation if {
	some direction, key in fences.peers_key
	some i, rule in fences.rules(policy, direction)
	count(objects.items(rule, key)) == 0
	violation := {
		"msg": sprintf("the rule lets Pods of tenant `%s` %s everybody", [tenants.owner, {"Ingress": "be reached by", "Egress": "reach"}[direction]]),
		"field": sprintf("spec.%s[%d]", [lower(direction), i]),
		"fix": sprintf("name peers in `%s`", [key]),
	}
}

# ---- Namespaces

deny contains violation if {
	some p in peers
	selector := p.peer.namespaceSelector
	fences.empty(selector)
	violation := {
		"msg": sprintf("the rule opens namespace `%s` to all namespaces", [tenants.namespace]),
		"field": concat(".", [p.field, "namespaceSelector"]),
		"fix": own_selector,
	}
}

own_selector := sprintf("select the tenant's own: `matchLabels: {%s: %s}`", [tenants.key, tenants.owner])

deny contains violation if {
	some p in peers
	selector := p.peer.namespaceSelector
	not fences.empty(selector)
	not own_tenant(selector)
	not agreed(p, names(selector))
	violation := {
		"msg": sprintf("the rule opens namespace `%s` to namespaces that may be of others than tenant `%s`", [
			tenants.namespace,
			tenants.owner,
		]),
		"field": concat(".", [p.field, "namespaceSelector"]),
		"fix": own_selector,
	}
}

# Both parts of a selector must hold, so one that asks for the tenant is enough.
own_tenant(selector) if objects.child(selector, "matchLabels")[tenants.key] == tenants.owner

own_tenant(selector) if {
	some expression in objects.items(selector, "matchExpressions")
	expression.key == tenants.key
	expression.operator == "In"
	expression.values == [tenants.owner]
}

# The names of the namespaces that a selector can take at most; none when it does not say.
names(selector) := {name} if name := objects.child(selector, "matchLabels")["kubernetes.io/metadata.name"]

else := {name | some name in expression.values} if {
	some expression in objects.items(selector, "matchExpressions")
	expression.key == "kubernetes.io/metadata.name"
	expression.operator == "In"
} else := set()

agreed(p, some_names) if {
	count(some_names) > 0
	every name in some_names {
		known_peer(p, name)
	}
}

known_peer(_, name) if tenants.of_namespace(name) == tenants.owner

known_peer(p, name) if {
	p.direction == "Ingress"
	tenants.fits_any(parameters.ingressFrom, name)
}

known_peer(p, name) if {
	p.direction == "Egress"
	name in objects.items(tenants.contract, "egress")
}

known_peer(p, name) if {
	p.direction == "Egress"
	name in parameters.dnsNamespaces
	count(p.ports) > 0
	every port in p.ports {
		port.port in {53, "dns", "dns-tcp"}
		objects.value(port, "endPort") in {null, 53}
	}
}

# ---- Addresses

blocks contains {"p": p, "cidr": cidr, "except": except} if {
	some p in peers
	cidr := p.peer.ipBlock.cidr
	except := objects.items(p.peer.ipBlock, "except")
}

deny contains violation if {
	some b in blocks
	b.p.direction == "Egress"
	some address in parameters.metadataAddresses
	meets(b, address)
	violation := {
		"msg": sprintf("the rule opens to `%s`, where the cloud gives out credentials", [address]),
		"field": concat(".", [b.p.field, "ipBlock"]),
		"fix": sprintf("add `except: [%s]`, and use Pod Identity", [address]),
	}
}

deny contains violation if {
	some b in blocks
	some address in parameters.podAddresses
	meets(b, address)
	violation := {
		"msg": sprintf("the rule opens to `%s`, where Pods of all tenants are", [address]),
		"field": concat(".", [b.p.field, "ipBlock"]),
		"fix": sprintf("add `except: [%s]`, and select Pods by labels", [address]),
	}
}

deny contains violation if {
	some b in blocks
	# Whatever the address before it.
	endswith(b.cidr, "/0")
	count(b.except) == 0
	violation := {
		"msg": sprintf("the rule opens to every address, also of Pods of other tenants: `%s`", [b.cidr]),
		"field": concat(".", [b.p.field, "ipBlock"]),
		"fix": "leave out the addresses of the cluster's Pods with `except`",
	}
}

# Whether a block takes in part of an address block, beside what it leaves out.
meets(b, address) if {
	contains(b.cidr, ":") == contains(address, ":")
	net.cidr_intersects(b.cidr, address)
	not left_out(b, address)
}

left_out(b, address) if {
	some except in b.except
	net.cidr_contains(except, address)
}
