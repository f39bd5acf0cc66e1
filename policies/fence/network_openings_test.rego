package portcullis.network_openings_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.network_openings

parameters := {
	"tenantLabel": "tenant",
	"ingressFrom": ["infra"],
	"dnsNamespaces": ["kube-system"],
	"podAddresses": ["10.2.0.0/16"],
	"metadataAddresses": ["169.254.169.254/32", "fd00:ec2::254/128"],
}

tenants := {"tenant-b": {"egress": ["search"]}}

inventory := {"cluster": {"v1": {"Namespace": {
	"tenant-a": {"metadata": {"labels": {"tenant": "tenant-a"}}},
	"tenant-b-ci": {"metadata": {"labels": {"tenant": "tenant-b"}}},
}}}}

fields(spec) := {v.field | some v in found} if {
	review := reviews.create("NetworkPolicy", {"metadata": {"name": "thing"}, "spec": spec}, parameters)
	found := network_openings.deny with input as review with data.tenants as tenants with data.inventory as inventory
}

in_from(peer) := fields({"podSelector": {}, "ingress": [{"from": [peer]}]})

out_to(peer, ports) := fields({"podSelector": {}, "egress": [{"to": [peer], "ports": ports}]})

named(name) := {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}

one_of(names) := {"namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": names}]}}

test_default_deny if fields({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}) == set()

test_own_pods if {
	in_from({"podSelector": {"matchLabels": {"app": "web"}}}) == set()
	in_from({"namespaceSelector": {"matchLabels": {"tenant": "tenant-b", "x": "y"}}}) == set()
	in_from({"namespaceSelector": {"matchExpressions": [{"key": "tenant", "operator": "In", "values": ["tenant-b"]}]}}) == set()
	in_from(named("tenant-b-ci")) == set()
	in_from(one_of(["tenant-b", "tenant-b-ci"])) == set()
}

test_everybody if {
	fields({"ingress": [{}]}) == {"spec.ingress[0]"}
	fields({"egress": [{"to": []}]}) == {"spec.egress[0]"}
	in_from({"namespaceSelector": {}}) == {"spec.ingress[0].from[0].namespaceSelector"}
}

test_other_tenants if {
	where := {"spec.ingress[0].from[0].namespaceSelector"}
	in_from({"namespaceSelector": {"matchLabels": {"tenant": "tenant-a"}}}) == where
	in_from({"namespaceSelector": {"matchLabels": {"team": "x"}}}) == where
	in_from({"namespaceSelector": {"matchExpressions": [{"key": "tenant", "operator": "NotIn", "values": ["tenant-a"]}]}}) == where
	in_from(named("tenant-a")) == where
	in_from(one_of(["tenant-b", "tenant-a"])) == where
	in_from(named("search")) == where
}

test_the_platform if {
	in_from(named("infra")) == set()
	out_to(named("search"), []) == set()
	out_to(named("kube-system"), [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]) == set()
	out_to(named("kube-system"), [{"port": 53, "endPort": 65535, "protocol": "TCP"}]) == {"spec.egress[0].to[0].namespaceSelector"}
	out_to(named("kube-system"), [{"port": 53}, {"port": 443}]) == {"spec.egress[0].to[0].namespaceSelector"}
	out_to(named("kube-system"), []) == {"spec.egress[0].to[0].namespaceSelector"}
	out_to(named("infra"), []) == {"spec.egress[0].to[0].namespaceSelector"}
}

test_addresses if {
	where := {"spec.egress[0].to[0].ipBlock"}
	out_to({"ipBlock": {"cidr": "10.1.0.0/16"}}, []) == set()
	out_to({"ipBlock": {"cidr": "169.254.170.23/32"}}, []) == set()
	out_to({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32", "10.0.0.0/8"]}}, []) == set()
	out_to({"ipBlock": {"cidr": "169.254.0.0/16"}}, []) == where
	out_to({"ipBlock": {"cidr": "10.2.3.0/24"}}, []) == where
	out_to({"ipBlock": {"cidr": "0.0.0.0/0"}}, []) == where
	out_to({"ipBlock": {"cidr": "::/0", "except": ["fd00::/8"]}}, []) == set()
	in_from({"ipBlock": {"cidr": "::/0"}}) == {"spec.ingress[0].from[0].ipBlock"}
	# The bits after the prefix are not looked at.
	in_from({"ipBlock": {"cidr": "10.0.0.0/0"}}) == {"spec.ingress[0].from[0].ipBlock"}
	in_from({"ipBlock": {"cidr": "169.254.0.0/16"}}) == set()
}

test_namespaces_of_nobody if {
	review := reviews.in_place(reviews.create("NetworkPolicy", {"spec": {"ingress": [{}]}}, parameters), "infra")
	count(network_openings.deny) == 0 with input as review
}
