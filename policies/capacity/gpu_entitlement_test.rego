package portcullis.gpu_entitlement_test

import data.portcullis.gpu_entitlement
import data.portcullis.lib.reviews_test as reviews

parameters := {"tenantLabel": "tenant", "devices": ["nvidia.com/*"]}

denied(pod, gpu) := {v.msg | some v in found} if {
	review := reviews.create("Pod", pod, parameters)
	found := gpu_entitlement.deny with input as review with data.tenants as {"tenant-b": {"gpu": gpu}}
}

gpus(number) := reviews.pod({"resources": {"limits": {"cpu": "1", "nvidia.com/gpu": number, "vpc.amazonaws.com/pod-eni": "1"}}})

test_entitled if {
	denied(gpus("2"), {"nvidia.com/gpu": 2}) == set()
	denied(reviews.pod({}), {}) == set()
	denied(gpus(0), {}) == set()
}

test_not_entitled if {
	denied(gpus("1"), {}) == {"the Pod asks for 1 of nvidia.com/gpu, and the contract of tenant `tenant-b` lets a Pod have 0"}
	denied(gpus(3), {"nvidia.com/gpu": 2}) == {"the Pod asks for 3 of nvidia.com/gpu, and the contract of tenant `tenant-b` lets a Pod have 2"}
	count(denied(gpus("1"), {"nvidia.com/mig-1g.5gb": 4})) == 1
}

test_containers_are_added_up if {
	one := {"name": "x", "resources": {"requests": {"nvidia.com/gpu": "1"}}}
	count(denied(reviews.pod_with({"containers": [one, one], "initContainers": [one]}), {"nvidia.com/gpu": 2})) == 1
	denied(reviews.pod_with({"containers": [one, one]}), {"nvidia.com/gpu": 2}) == set()
}

test_claims if {
	claims := reviews.pod_with({"resourceClaims": [{"name": "gpu"}]})
	denied(claims, {"nvidia.com/gpu": 1}) == set()
	denied(claims, {"nvidia.com/gpu": 0}) == {"the Pod claims devices, and the contract of tenant `tenant-b` has none"}
}
