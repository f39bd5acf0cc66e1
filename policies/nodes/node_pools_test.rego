package portcullis.node_pools_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.node_pools

contracts := {
	"tenant-a": {"nodePools": ["gpu"], "nodeLimits": {"cpu": "8"}, "capacityTypes": ["spot", "on-demand"], "gpu": {"nvidia.com/gpu": 1}},
	"tenant-b": {"nodePools": ["birch", "other"], "nodeLimits": {"cpu": "64", "memory": "256Gi"}, "capacityTypes": ["spot"], "gpu": {}},
}

parameters := {
	"tenantLabel": "tenant",
	"controllers": reviews.controllers,
	"platformGroups": ["system:masters"],
	"platformUsers": [],
}

spot := {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]}

sound := {
	"disruption": {"budgets": [{"nodes": "10%"}]},
	"limits": {"cpu": "64", "memory": "256Gi"},
	"template": {
		"metadata": {"labels": {"tenant": "tenant-b"}},
		"spec": {"requirements": [spot], "taints": [{"key": "tenant", "value": "tenant-b", "effect": "NoSchedule"}]},
	},
}

named(review, name) := object.union(review, {"request": {"name": name}})

judged(review) := {v.msg | some v in found} if {
	found := node_pools.deny with input as review with data.tenants as contracts
}

denied(name, spec) := judged(named(reviews.create("NodePool", {"spec": spec}, parameters), name))

with_part(path, value) := json.patch(sound, [{"op": "add", "path": path, "value": value}])

test_sound if denied("birch", sound) == set()

test_pools_of_nobody if denied("system", {"template": {}}) == set()

test_only_the_platform if {
	every operation, verb in {"CREATE": "make", "UPDATE": "change", "DELETE": "delete"} {
		review := reviews.of(operation, "NodePool", "nodepools", {"spec": sound}, {"spec": sound}, parameters)
		judged(named(reviews.asked_by(review, reviews.alice), "birch")) == {sprintf("only the platform may %s node pool `birch`", [verb])}
	}
}

test_the_platform_deletes if judged(named(reviews.delete("NodePool", {"spec": sound}, parameters), "birch")) == set()

test_names_are_agreed if {
	denied("mine", sound) == {"node pool `mine` is marked as one of tenant `tenant-b`, whose contract does not name it"}
	only_taint := json.patch(sound, [{"op": "remove", "path": "/template/metadata"}])
	denied("mine", only_taint) == {"node pool `mine` is marked as one of tenant `tenant-b`, whose contract does not name it"}
}

test_label_and_taint if {
	denied("birch", json.patch(sound, [{"op": "remove", "path": "/template/metadata"}])) == {"nodes of node pool `birch` lack the label `tenant: tenant-b`"}
	lacks := {"nodes of node pool `birch` lack the taint `tenant=tenant-b:NoSchedule`"}
	denied("birch", with_part("/template/spec/taints", [])) == lacks
	denied("birch", with_part("/template/spec/taints/0/effect", "PreferNoSchedule")) == lacks
	denied("birch", with_part("/template/spec/taints/0/key", "team")) == lacks
	denied("birch", with_part("/template/spec/taints/0/effect", "NoExecute")) == set()
}

test_limits if {
	denied("birch", with_part("/limits", {})) == {"node pool `birch` of tenant `tenant-b` has no limits"}
	denied("birch", with_part("/limits", {"cpu": "64"})) == {"node pool `birch` has no limit of memory, and the contract of tenant `tenant-b` says 256Gi"}
	denied("birch", with_part("/limits/cpu", "65")) == {"node pool `birch` has a limit of 65 cpu, and the contract of tenant `tenant-b` says 64"}
	denied("birch", with_part("/limits/cpu", "64000m")) == set()
}

test_capacity_types if {
	says_none := {"node pool `birch` of tenant `tenant-b` does not say its capacity type"}
	denied("birch", with_part("/template/spec/requirements", [])) == says_none
	denied("birch", with_part("/template/spec/requirements/0/operator", "NotIn")) == says_none
	denied("birch", with_part("/template/spec/requirements/0/values", ["spot", "on-demand"])) == {"node pool `birch` may be of capacity type `on-demand`, which the contract of tenant `tenant-b` does not have"}
}

test_accelerators if {
	every key, values in {
		"eks.amazonaws.com/instance-category": ["c", "g"],
		"karpenter.k8s.aws/instance-family": ["p5"],
		"node.kubernetes.io/instance-type": ["inf2.xlarge"],
		"karpenter.k8s.aws/instance-gpu-name": ["l4"],
		"karpenter.k8s.aws/instance-accelerator-name": ["inferentia"],
		"eks.amazonaws.com/instance-gpu-manufacturer": ["nvidia"],
		"eks.amazonaws.com/instance-accelerator-name": ["inferentia"],
	} {
		asked := [spot, {"key": key, "operator": "In", "values": values}]
		denied("birch", with_part("/template/spec/requirements", asked)) == {sprintf("node pool `birch` asks for accelerators by `%s`, and the contract of tenant `tenant-b` has none", [key])}
	}
	more_than_none := [spot, {"key": "karpenter.k8s.aws/instance-gpu-count", "operator": "Gt", "values": ["0"]}]
	count(denied("birch", with_part("/template/spec/requirements", more_than_none))) == 1
	every free in [
		{"key": "karpenter.k8s.aws/instance-gpu-count", "operator": "In", "values": ["0"]},
		{"key": "karpenter.k8s.aws/instance-gpu-name", "operator": "DoesNotExist"},
		{"key": "eks.amazonaws.com/instance-category", "operator": "In", "values": ["c", "m", "r"]},
		{"key": "eks.amazonaws.com/instance-category", "operator": "NotIn", "values": ["g"]},
	] {
		denied("birch", with_part("/template/spec/requirements", [spot, free])) == set()
	}
}

test_accelerators_of_the_entitled if {
	spec := {
		"disruption": {"budgets": [{"nodes": "1"}]},
		"limits": {"cpu": 8},
		"template": {
			"metadata": {"labels": {"tenant": "tenant-a"}},
			"spec": {
				"requirements": [spot, {"key": "eks.amazonaws.com/instance-family", "operator": "In", "values": ["g6"]}],
				"taints": [{"key": "tenant", "value": "tenant-a", "effect": "NoSchedule"}],
			},
		},
	}
	denied("gpu", spec) == set()
}

test_disruption if {
	denied("birch", with_part("/disruption", {})) == {"node pool `birch` of tenant `tenant-b` has no disruption budget"}
	every nodes in ["0", "0%"] {
		denied("birch", with_part("/disruption/budgets/0/nodes", nodes)) == {"node pool `birch` lets no node go at any time, so none is ever replaced"}
	}
	denied("birch", with_part("/disruption/budgets/0", {"nodes": "0", "schedule": "0 9 * * *", "duration": "8h"})) == set()
	denied("birch", with_part("/disruption/budgets/0", {"nodes": "0", "reasons": ["Underutilized"]})) == set()
}
