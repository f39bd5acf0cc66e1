package portcullis.lib.fences_test

import data.portcullis.lib.fences

test_directions if {
	fences.directions({"spec": {"policyTypes": ["Egress"]}}) == {"Egress"}
	fences.directions({"spec": {}}) == {"Ingress"}
	fences.directions({"spec": {"egress": [{}]}}) == {"Ingress", "Egress"}
}

test_fences if {
	fences.fenced({"spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}}) == fences.both
	fences.fenced({"spec": {"podSelector": {"matchLabels": {}}, "policyTypes": ["Ingress"]}}) == {"Ingress"}
	fences.fenced({"spec": {"podSelector": {"matchLabels": {"a": "b"}}}}) == set()
	fences.fenced({"spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}]}}) == {"Egress"}
	fences.fenced({"spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"podSelector": {}}]}, {"ports": [{"port": 53}]}]}}) == set()
	fences.fenced({"spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"podSelector": {}}]}]}}) == {"Egress"}
	fences.fenced({}) == set()
}

test_fences_of_a_namespace if {
	inventory := {"namespace": {"n": {"networking.k8s.io/v1": {"NetworkPolicy": {
		"in": {"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}},
		"out": {"spec": {"podSelector": {}, "policyTypes": ["Egress"]}},
	}}}}}
	fences.of_namespace("n", "") == fences.both with data.inventory as inventory
	fences.of_namespace("n", "in") == {"Egress"} with data.inventory as inventory
	fences.of_namespace("m", "") == set() with data.inventory as inventory
	fences.known with data.inventory as inventory
	not fences.known with data.inventory as {}
}
