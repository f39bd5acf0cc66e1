# METADATA
# scope: package
# title: A tenant serves its own hosts
# description: >-
#   Every host of an Ingress, a Gateway or a route in a tenant's namespace is one of the contract's `hosts`, and nobody
#   else's: no Ingress, Gateway or route of another tenant in `data.inventory` names it. A rule without a host would take
#   requests for everybody's and is refused. Annotations that name hosts (`hostAnnotations`) count like hosts, on
#   Services too. Routes attach to gateways of the tenant or of the platform, and send to the tenant's own Services.
# custom:
#   severity: high
#   enforcement: deny
#   controls: ["NIST 800-53 AC-4", "NIST 800-53 SC-7", "SOC 2 CC6.6", "PCI DSS A1.1.3"]
#   match:
#     rules:
#     - {apiGroups: [networking.k8s.io], apiVersions: ["*"], resources: [ingresses], operations: [CREATE, UPDATE]}
#     - {apiGroups: [gateway.networking.k8s.io], apiVersions: ["*"], resources: [gateways, httproutes, grpcroutes, tlsroutes], operations: [CREATE, UPDATE]}
#     - {apiGroups: [""], apiVersions: [v1], resources: [services], operations: [CREATE, UPDATE]}
#   parameters:
#     tenantLabel: tenant
#     # Annotations whose value is a list of hosts, with commas between.
#     hostAnnotations: [external-dns.alpha.kubernetes.io/hostname, nginx.ingress.kubernetes.io/server-alias]
#     # Annotations that write the gateway's own configuration, and so could name any host.
#     forbiddenAnnotations:
#     - nginx.ingress.kubernetes.io/configuration-snippet
#     - nginx.ingress.kubernetes.io/server-snippet
#     # Namespaces with gateways for all tenants, with `*`.
#     gatewayNamespaces: [infra]
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     hostAnnotations: {items: {type: string, minLength: 1}}
#     forbiddenAnnotations: {items: {type: string, minLength: 1}}
#     gatewayNamespaces: {items: {type: string, minLength: 1}}
package portcullis.route_hosts

import data.portcullis.lib.objects
import data.portcullis.lib.tenants

parameters := input.parameters

kind := input.request.kind.kind

subject := input.request.object

spec := objects.child(subject, "spec")

# Every host that an object names: `{field, host}`.
hosts(obj) := (rule_hosts(objects.child(obj, "spec")) | listed_hosts(objects.child(obj, "spec"))) | annotated_hosts(obj)

rule_hosts(of) := {{"field": sprintf("spec.rules[%d].host", [i]), "host": host} |
	some i, rule in objects.items(of, "rules")
	host := rule.host
	is_string(host)
} | {{"field": sprintf("spec.tls[%d].hosts", [i]), "host": host} |
	some i, tls in objects.items(of, "tls")
	some host in objects.items(tls, "hosts")
}

listed_hosts(of) := {{"field": "spec.hostnames", "host": host} |
	some host in objects.items(of, "hostnames")
} | {{"field": sprintf("spec.listeners[%d].hostname", [i]), "host": host} |
	some i, listener in objects.items(of, "listeners")
	host := listener.hostname
	is_string(host)
}

annotated_hosts(obj) := {{"field": objects.field("metadata.annotations", key), "host": host} |
	annotations := objects.annotations(obj)
	some key in parameters.hostAnnotations
	value := annotations[key]
	some part in split(value, ",")
	host := trim_space(part)
	host != ""
}

named := hosts(subject) if tenants.owner

deny contains violation if {
	some use in named
	not own(use.host)
	violation := {
		"msg": sprintf("host `%s` is not one of the hosts of tenant `%s`", [use.host, tenants.owner]),
		"field": use.field,
		"fix": sprintf("name a host of %s", [shown_hosts]),
	}
}

own(host) if {
	some pattern in objects.items(tenants.contract, "hosts")
	host_fits(pattern, lower(host))
}

host_fits(pattern, host) if pattern == host

host_fits(pattern, host) if {
	startswith(pattern, "*.")
	endswith(host, substring(pattern, 1, -1))
}

shown_hosts := concat(", ", objects.items(tenants.contract, "hosts"))

# ---- Nobody else has it

deny contains violation if {
	some use in named
	some other in taken
	other.host == use.host
	namespace := other.namespace
	violation := {
		"msg": sprintf("host `%s` is served from namespace `%s`, which is not of tenant `%s`", [
			use.host,
			namespace,
			tenants.owner,
		]),
		"field": use.field,
		"fix": "name another host, or have the other one removed first",
	}
}

asked_for := {use.host | some use in named}

# Those of them that others serve: `{host, namespace}`.
taken contains {"host": host, "namespace": namespace} if {
	count(asked_for) > 0
	some namespace, versions in data.inventory.namespace
	not tenants.is_of(namespace, tenants.owner)
	some api_version, kinds in versions
	some group in ["networking.k8s.io/", "gateway.networking.k8s.io/"]
	startswith(api_version, group)
	some other_kind in ["Ingress", "Gateway", "HTTPRoute", "GRPCRoute", "TLSRoute"]
	some _, object in kinds[other_kind]
	# A shared gateway names what its routes serve.
	not shared_gateway(other_kind, namespace)
	some host in {use.host | some use in hosts(object)}
	host in asked_for
}

shared_gateway("Gateway", namespace) if tenants.fits_any(parameters.gatewayNamespaces, namespace)

# ---- Everybody's hosts

deny contains violation if {
	kind == "Ingress"
	tenants.owner
	some i, rule in objects.items(spec, "rules")
	objects.value(rule, "host") in {null, ""}
	violation := catch_all(sprintf("spec.rules[%d].host", [i]))
}

deny contains violation if {
	kind == "Ingress"
	tenants.owner
	objects.value(spec, "defaultBackend") != null
	violation := catch_all("spec.defaultBackend")
}

deny contains violation if {
	kind in {"HTTPRoute", "GRPCRoute", "TLSRoute"}
	tenants.owner
	count(objects.items(spec, "hostnames")) == 0
	violation := catch_all("spec.hostnames")
}

deny contains violation if {
	kind == "Gateway"
	tenants.owner
	some i, listener in objects.items(spec, "listeners")
	objects.value(listener, "hostname") in {null, ""}
	violation := catch_all(sprintf("spec.listeners[%d].hostname", [i]))
}

catch_all(field) := {
	"msg": sprintf("%s `%s` names no host, and would take requests for every tenant's", [kind, input.request.name]),
	"field": field,
	"fix": sprintf("name a host of %s", [shown_hosts]),
}

deny contains violation if {
	tenants.owner
	some key in parameters.forbiddenAnnotations
	objects.annotations(subject)[key]
	violation := {
		"msg": sprintf("annotation `%s` writes the gateway's own configuration", [key]),
		"field": objects.field("metadata.annotations", key),
		"fix": "leave it out, or ask the platform team",
	}
}

# ---- Other namespaces

deny contains violation if {
	tenants.owner
	some i, parent in objects.items(spec, "parentRefs")
	namespace := objects.value(parent, "namespace")
	not namespace in {null, tenants.namespace}
	not tenants.fits_any(parameters.gatewayNamespaces, namespace)
	not tenants.is_of(namespace, tenants.owner)
	violation := {
		"msg": sprintf("the route attaches to `%s` in namespace `%s`, which is neither the tenant's nor the platform's", [
			parent.name,
			namespace,
		]),
		"field": sprintf("spec.parentRefs[%d].namespace", [i]),
		"fix": sprintf("attach to a gateway in %s", [concat(", ", parameters.gatewayNamespaces)]),
	}
}

# Where a route sends to, and where it sends copies to: `{field, backend}`.
backends contains {"field": sprintf("spec.rules[%d].backendRefs[%d]", [i, j]), "backend": backend} if {
	some i, rule in objects.items(spec, "rules")
	some j, backend in objects.items(rule, "backendRefs")
}

backends contains {"field": sprintf("spec.rules[%d].filters[%d].requestMirror.backendRef", [i, j]), "backend": backend} if {
	some i, rule in objects.items(spec, "rules")
	some j, filter in objects.items(rule, "filters")
	backend := objects.child(objects.child(filter, "requestMirror"), "backendRef")
}

backends contains {"field": sprintf("spec.rules[%d].backendRefs[%d].filters[%d].requestMirror.backendRef", [i, j, k]), "backend": backend} if {
	some i, rule in objects.items(spec, "rules")
	some j, to in objects.items(rule, "backendRefs")
	some k, filter in objects.items(to, "filters")
	backend := objects.child(objects.child(filter, "requestMirror"), "backendRef")
}

deny contains violation if {
	tenants.owner
	some use in backends
	backend := use.backend
	namespace := objects.value(backend, "namespace")
	namespace != null
	not tenants.is_of(namespace, tenants.owner)
	violation := {
		"msg": sprintf("the route sends to `%s` in namespace `%s`, which is not of tenant `%s`", [
			objects.shown(objects.value(backend, "name")),
			namespace,
			tenants.owner,
		]),
		"field": concat(".", [use.field, "namespace"]),
		"fix": "send to a Service of the tenant",
	}
}
