package portcullis.route_hosts_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.route_hosts

parameters := {
	"tenantLabel": "tenant",
	"hostAnnotations": ["dns"],
	"forbiddenAnnotations": ["snippet"],
	"gatewayNamespaces": ["infra"],
}

tenants := {"tenant-b": {"hosts": ["b.example.com", "*.b.example.org"]}}

inventory := {
	"cluster": {"v1": {"Namespace": {
		"tenant-a": {"metadata": {"labels": {"tenant": "tenant-a"}}},
		"tenant-b-ci": {"metadata": {"labels": {"tenant": "tenant-b"}}},
	}}},
	"namespace": {
		"tenant-a": {"gateway.networking.k8s.io/v1": {"HTTPRoute": {"r": {"spec": {"hostnames": ["taken.b.example.org"]}}}}},
		"tenant-b-ci": {"networking.k8s.io/v1": {"Ingress": {"i": {"spec": {"rules": [{"host": "ci.b.example.org"}]}}}}},
		"infra": {"gateway.networking.k8s.io/v1": {"Gateway": {"g": {"spec": {"listeners": [{"hostname": "shared.b.example.org"}]}}}}},
		"tenant-b": {"v1": {"ConfigMap": {"c": {}}}},
	},
}

found(review) := set_of if {
	set_of := route_hosts.deny with input as review with data.tenants as tenants with data.inventory as inventory
}

denied(review) := {v.msg | some v in found(review)}

fields(review) := {v.field | some v in found(review)}

made(kind, spec) := reviews.create(kind, {"metadata": {"name": "thing"}, "spec": spec}, parameters)

ingress(hosts) := made("Ingress", {"rules": [{"host": host} | some host in hosts]})

test_own_hosts if {
	denied(ingress(["b.example.com", "x.b.example.org", "X.Y.B.example.org", "ci.b.example.org", "shared.b.example.org"])) == set()
	denied(made("HTTPRoute", {"hostnames": ["*.b.example.org"]})) == set()
	denied(made("Gateway", {"listeners": [{"hostname": "b.example.com"}]})) == set()
	denied(reviews.in_place(ingress(["a.example.com"]), "infra")) == set()
}

test_hosts_of_others if {
	denied(ingress(["a.example.com"])) == {"host `a.example.com` is not one of the hosts of tenant `tenant-b`"}
	fields(ingress(["b.example.com", "b.example.org"])) == {"spec.rules[1].host"}
	fields(made("Ingress", {"rules": [{"host": "b.example.com"}], "tls": [{"hosts": ["a"]}]})) == {"spec.tls[0].hosts"}
	fields(made("GRPCRoute", {"hostnames": ["a"]})) == {"spec.hostnames"}
	fields(made("Gateway", {"listeners": [{"hostname": "a"}]})) == {"spec.listeners[0].hostname"}
	fields(reviews.create("Service", {"metadata": {"annotations": {"dns": "b.example.com, a"}}}, parameters)) == {"metadata.annotations.dns"}
}

test_hosts_that_are_taken if denied(ingress(["taken.b.example.org"])) == {"host `taken.b.example.org` is served from namespace `tenant-a`, which is not of tenant `tenant-b`"}

test_no_host if {
	fields(ingress([""])) == {"spec.rules[0].host", "spec.rules[0].host"}
	fields(made("Ingress", {"rules": [{"http": {}}]})) == {"spec.rules[0].host"}
	fields(made("Ingress", {"defaultBackend": {"service": {}}})) == {"spec.defaultBackend"}
	fields(made("HTTPRoute", {})) == {"spec.hostnames"}
	denied(made("TLSRoute", {})) == {"TLSRoute `thing` names no host, and would take requests for every tenant's"}
	fields(made("Gateway", {"listeners": [{"port": 80}]})) == {"spec.listeners[0].hostname"}
	denied(made("Service", {})) == set()
}

test_snippets if fields(reviews.create("Ingress", {"metadata": {"annotations": {"snippet": "x"}}}, parameters)) == {"metadata.annotations.snippet"}

route(extra) := made("HTTPRoute", object.union({"hostnames": ["b.example.com"]}, extra))

test_gateways_and_backends if {
	denied(route({"parentRefs": [{"name": "g"}, {"name": "g", "namespace": "infra"}, {"name": "g", "namespace": "tenant-b-ci"}]})) == set()
	fields(route({"parentRefs": [{"name": "g", "namespace": "tenant-a"}]})) == {"spec.parentRefs[0].namespace"}
	denied(route({"rules": [{"backendRefs": [{"name": "s"}, {"name": "s", "namespace": "tenant-b-ci"}]}]})) == set()
	fields(route({"rules": [{"backendRefs": [{"name": "s", "namespace": "infra"}]}]})) == {"spec.rules[0].backendRefs[0].namespace"}
}

mirror(namespace) := {"requestMirror": {"backendRef": {"name": "pg", "namespace": namespace}}}

test_copies_of_requests if {
	fields(route({"rules": [{"filters": [mirror("tenant-b-ci")]}]})) == set()
	fields(route({"rules": [{"filters": [mirror("tenant-a")]}]})) == {"spec.rules[0].filters[0].requestMirror.backendRef.namespace"}
	fields(route({"rules": [{"backendRefs": [{"name": "web", "filters": [mirror("tenant-a")]}]}]})) == {"spec.rules[0].backendRefs[0].filters[0].requestMirror.backendRef.namespace"}
}

test_what_no_rule_takes if {
	spec := {"defaultBackend": {"service": {"name": "web"}}, "rules": [{"host": "b.example.com"}]}
	fields(made("Ingress", spec)) == {"spec.defaultBackend"}
}
