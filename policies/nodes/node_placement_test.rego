package portcullis.node_placement_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.node_placement

contracts := {
	"tenant-a": {"gpu": {"nvidia.com/gpu": 1}},
	"tenant-b": {"nodePools": ["birch"], "capacityTypes": ["spot"], "gpu": {"nvidia.com/gpu": 0}},
}

parameters := {
	"tenantLabel": "tenant",
	"poolLabel": "karpenter.sh/nodepool",
	"capacityLabel": "karpenter.sh/capacity-type",
}

review(spec) := reviews.create("Pod", reviews.pod_with(spec), parameters)

found(request) := violations if {
	violations := node_placement.deny with input as request with data.tenants as contracts
}

denied(spec) := {v.msg | some v in found(review(spec))}

required(key, operator, values) := {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]}}}}

preferred(key, operator, values) := {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {"matchExpressions": [{"key": key, "operator": operator, "values": values}]}}]}}}

test_own_nodes if {
	denied({}) == set()
	denied({
		"nodeSelector": {"karpenter.sh/nodepool": "birch", "karpenter.sh/capacity-type": "spot", "tenant": "tenant-b", "kubernetes.io/arch": "arm64"},
		"tolerations": [
			{"key": "tenant", "operator": "Equal", "value": "tenant-b"},
			{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
		],
	}) == set()
	denied(required("karpenter.sh/nodepool", "In", ["birch"])) == set()
}

test_no_other_pool if {
	other := {"the Pod selects node pool `arbor`, which is not one of tenant `tenant-b`"}
	denied({"nodeSelector": {"karpenter.sh/nodepool": "arbor"}}) == other
	denied(required("karpenter.sh/nodepool", "In", ["birch", "arbor"])) == other
	denied(preferred("karpenter.sh/nodepool", "In", ["arbor"])) == other
	denied(required("karpenter.sh/nodepool", "DoesNotExist", [])) == {"the Pod selects nodes without the label `karpenter.sh/nodepool`, which are not tenant `tenant-b`'s"}
	denied(required("karpenter.sh/nodepool", "NotIn", ["arbor"])) == set()
	{v.field | some v in found(review({"nodeSelector": {"karpenter.sh/nodepool": "arbor"}}))} == {"spec.nodeSelector[\"karpenter.sh/nodepool\"]"}
}

test_no_other_tenant if {
	denied({"nodeSelector": {"tenant": "tenant-a"}}) == {"the Pod selects nodes of `tenant-a`, and its namespace belongs to tenant `tenant-b`"}
	count(denied(preferred("tenant", "In", ["tenant-a"]))) == 1
}

test_capacity_types if {
	denied({"nodeSelector": {"karpenter.sh/capacity-type": "on-demand"}}) == {"the Pod asks for capacity type `on-demand`, which the contract of tenant `tenant-b` does not have"}
}

test_accelerators if {
	denied(required("node.kubernetes.io/instance-type", "In", ["g5.xlarge"])) == {"the Pod asks for nodes with accelerators by `node.kubernetes.io/instance-type`, and the contract of tenant `tenant-b` has none"}
	count(denied(required("eks.amazonaws.com/instance-gpu-name", "Exists", []))) == 1
	found(reviews.in_place(review({"nodeSelector": {"karpenter.k8s.aws/instance-family": "g6"}}), "tenant-a")) == set()
}

test_tolerations if {
	every toleration, what in {
		{"operator": "Exists"}: "every taint",
		{"key": "", "operator": "Exists", "effect": "NoSchedule"}: "every taint",
		{"key": "tenant", "operator": "Exists"}: "the taints of all tenants",
		{"key": "tenant", "operator": "Equal", "value": "tenant-a"}: "the taint of `tenant-a`",
		{"key": "tenant", "value": "tenant-a"}: "the taint of `tenant-a`",
	} {
		denied({"tolerations": [toleration]}) == {sprintf("the Pod tolerates %s, and its namespace belongs to tenant `tenant-b`", [what])}
	}
}

test_pods_of_the_platform_pass if {
	spec := {"nodeName": "x", "nodeSelector": {"karpenter.sh/nodepool": "arbor"}, "tolerations": [{"operator": "Exists"}]}
	found(reviews.in_place(review(spec), "infra")) == set()
}
