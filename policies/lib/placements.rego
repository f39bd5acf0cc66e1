# METADATA
# scope: package
# title: Where a Pod or a NodePool asks to be
# description: >-
#   The labels of nodes that a Pod selects, by `nodeSelector` and by node affinity, and the requirements of a NodePool, in
#   one form: `{key, operator, values, field}`.
# related_resources:
# - https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
# - https://karpenter.sh/docs/concepts/nodepools/
package portcullis.lib.placements

import data.portcullis.lib.objects
import data.portcullis.lib.pods

# All that a Pod asks of its nodes, required and preferred.
of_pod(pod) := array.concat(selected(pod), affine(pod))

selected(pod) := [asked |
	some key, value in objects.child(pods.spec(pod), "nodeSelector")
	asked := {"key": key, "operator": "In", "values": [value], "field": objects.field("spec.nodeSelector", key)}
]

affine(pod) := [asked |
	affinity := objects.child(objects.child(pods.spec(pod), "affinity"), "nodeAffinity")
	some term in array.concat(required(affinity), preferred(affinity))
	some asked in requirements(term, "matchExpressions", "spec.affinity.nodeAffinity")
]

required(affinity) := objects.items(objects.child(affinity, "requiredDuringSchedulingIgnoredDuringExecution"), "nodeSelectorTerms")

preferred(affinity) := [objects.child(item, "preference") |
	some item in objects.items(affinity, "preferredDuringSchedulingIgnoredDuringExecution")
]

# The requirements in the list `key` of an object.
requirements(obj, key, field) := [asked |
	some item in objects.items(obj, key)
	asked := {
		"key": objects.value(item, "key"),
		"operator": objects.value(item, "operator"),
		"values": objects.items(item, "values"),
		"field": field,
	}
]

# Labels of AWS that tell the kind of instance, by Karpenter and by EKS Auto Mode.
instance_keys := {
	"node.kubernetes.io/instance-type",
	"karpenter.k8s.aws/instance-category",
	"karpenter.k8s.aws/instance-family",
	"eks.amazonaws.com/instance-category",
	"eks.amazonaws.com/instance-family",
}

device_key(key) if startswith(key, "karpenter.k8s.aws/instance-gpu-")

device_key(key) if startswith(key, "karpenter.k8s.aws/instance-accelerator-")

device_key(key) if startswith(key, "eks.amazonaws.com/instance-gpu-")

device_key(key) if startswith(key, "eks.amazonaws.com/instance-accelerator-")

# Whether a requirement asks for instances with GPUs or other accelerators: `g`, `g6`, `p5.48xlarge`, `inf2`, `trn1`.
asks_devices(asked) if {
	asked.operator == "In"
	asked.key in instance_keys
	some value in asked.values
	regex.match(`^(dl|g|gr|inf|p|trn|vt)([0-9].*)?$`, value)
}

asks_devices(asked) if {
	asked.operator in {"In", "Exists", "Gt"}
	device_key(asked.key)
	asked.values != ["0"]
}

asks_devices(asked) if {
	asked.operator == "Gt"
	device_key(asked.key)
}

# Whether a contract lets its tenant use any device.
entitled(contract) if {
	some number in objects.child(contract, "gpu")
	number > 0
}
