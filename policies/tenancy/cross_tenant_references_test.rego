package portcullis.cross_tenant_references_test

import data.portcullis.cross_tenant_references
import data.portcullis.lib.reviews_test as reviews

parameters := {
	"tenantLabel": "tenant",
	"clusterDomain": "cluster.local",
	"platformNamespaces": ["infra"],
}

inventory := {"cluster": {"v1": {
	"Namespace": {
		"tenant-a": {"metadata": {"labels": {"tenant": "tenant-a"}}},
		"tenant-b-ci": {"metadata": {"labels": {"tenant": "tenant-b"}}},
	},
}}}

found(review) := set_of if {
	set_of := cross_tenant_references.deny with input as review with data.inventory as inventory
}

fields(review) := {v.field | some v in found(review)}

denied(review) := {v.msg | some v in found(review)}

made(kind, spec) := reviews.create(kind, {"metadata": {"name": "thing"}, "spec": spec}, parameters)

external(name) := made("Service", {"type": "ExternalName", "externalName": name})

test_services_for_names if {
	every name in ["db.example.com", "web.tenant-b.svc.cluster.local", "web.tenant-b-ci.svc", "pg-0.pg.tenant-b.svc.cluster.local", "dns.infra.svc.cluster.local.", "a.b"] {
		fields(external(name)) == set()
	}
	denied(external("Web.Tenant-A.svc.cluster.local")) == {"the Service stands for `web.tenant-a.svc.cluster.local`, and namespace `tenant-a` is not of tenant `tenant-b`"}
	every name in ["web.tenant-a.svc", "web.unknown.svc.cluster.local", "pg-0.pg.tenant-a.svc.cluster.local", "10-0-0-1.tenant-a.pod.cluster.local", "web.tenant-a.svc.example.com", "169.254.169.254", "instance-data.ec2.internal", "instance-data"] {
		fields(external(name)) == {"spec.externalName"}
	}
	fields(made("Service", {"type": "ClusterIP", "externalName": "web.tenant-a.svc"})) == set()
	fields(reviews.in_place(external("web.tenant-a.svc"), "infra")) == set()
}

test_external_addresses if {
	fields(made("Service", {"externalIPs": ["10.0.0.1"]})) == {"spec.externalIPs"}
	fields(made("Service", {"externalIPs": []})) == set()
}

claim(spec) := made("PersistentVolumeClaim", spec)

test_sources_of_claims if {
	fields(claim({"dataSourceRef": {"name": "snapshot"}})) == set()
	fields(claim({"dataSourceRef": {"name": "snapshot", "namespace": "tenant-b-ci"}})) == set()
	fields(claim({"dataSourceRef": {"name": "snapshot", "namespace": "tenant-a"}})) == {"spec.dataSourceRef.namespace"}
}

selecting(selector) := made("Gateway", {"listeners": [{"allowedRoutes": {"namespaces": {"from": "Selector", "selector": selector}}}]})

test_gateways if {
	fields(made("ReferenceGrant", {"from": [{"namespace": "tenant-b-ci"}, {"namespace": "tenant-a"}]})) == {"spec.from[1].namespace"}
	fields(made("Gateway", {"listeners": [{"tls": {"certificateRefs": [{"name": "c"}, {"name": "c", "namespace": "tenant-b"}]}}]})) == set()
	fields(made("Gateway", {"listeners": [{"tls": {"certificateRefs": [{"name": "c", "namespace": "tenant-a"}]}}]})) == {"spec.listeners[0].tls.certificateRefs"}
	fields(made("Gateway", {"listeners": [{"allowedRoutes": {"namespaces": {"from": "Same"}}}, {"allowedRoutes": {"namespaces": {"from": "All"}}}]})) == {"spec.listeners[1].allowedRoutes.namespaces.from"}
	fields(selecting({})) == {"spec.listeners[0].allowedRoutes.namespaces.from"}
	fields(selecting({"matchLabels": {"tenant": "tenant-b"}})) == set()
}

test_cloud_resources if {
	db := {"namespace": "tenant-a", "name": "top", "masterUserPassword": {"namespace": "tenant-b", "name": "s", "key": "k"}, "refs": [{"from": {"name": "sg", "namespace": "tenant-a"}}]}
	fields(made("DBInstance", db)) == {"spec.refs.0.from"}
	denied(made("DBInstance", db)) == {"DBInstance refers to `sg` in namespace `tenant-a`, which is not of tenant `tenant-b`"}
	fields(made("DBInstance", {"a": {"name": "x", "namespace": ""}, "b": {"name": "x"}})) == set()
}
