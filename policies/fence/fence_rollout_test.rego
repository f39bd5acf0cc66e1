package portcullis.fence_rollout_test

import data.portcullis.fence_rollout
import data.portcullis.lib.reviews_test as reviews

fence := {"metadata": {"name": "thing"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}}

inventory(policies) := {"namespace": {"tenant-b": {
	"v1": {"Service": {
		"web": {"spec": {"selector": {"app": "web", "tier": "front"}}},
		"outside": {"spec": {"type": "ExternalName"}},
	}},
	"networking.k8s.io/v1": {"NetworkPolicy": policies},
}}}

allow_web := {"spec": {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"from": [{"podSelector": {}}]}]}}

allow_some := {"spec": {"podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}, "ingress": [{}]}}

allow_dns := {"spec": {"podSelector": {}, "egress": [{"ports": [{"port": 443}, {"port": 53}]}]}}

warned(object, policies) := {v.msg | some v in found} if {
	review := reviews.create("NetworkPolicy", object, {"tenantLabel": "tenant"})
	known := inventory(policies)
	found := fence_rollout.warn with input as review with data.inventory as known
}

no_traffic := "Service `web` would get no traffic: no network policy lets anybody reach its Pods"

no_names := "Pods in namespace `tenant-b` could not resolve names: no network policy lets them reach port 53"

test_what_would_break if {
	warned(fence, {}) == {no_traffic, no_names}
	warned(fence, {"thing": allow_web}) == {no_traffic, no_names}
	warned(fence, {"w": allow_some}) == {no_traffic, no_names}
	warned(fence, {"w": allow_web}) == {no_names}
	warned(fence, {"w": allow_web, "d": allow_dns}) == set()
	warned(fence, {"w": allow_web, "d": {"spec": {"egress": [{"ports": [{"port": 443}]}]}}}) == {no_names}
	warned(fence, {"w": allow_web, "d": {"spec": {"egress": [{"to": [{"podSelector": {}}]}]}}}) == set()
}

test_other_policies_break_nothing if warned(allow_web, {}) == set()
