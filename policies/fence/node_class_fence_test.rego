package portcullis.node_class_fence_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.node_class_fence

denied(name, spec) := {v.msg | some v in found} if {
	review := object.union(reviews.create("NodeClass", {"spec": spec}, {"exempt": ["default"]}), {"request": {"name": name}})
	found := node_class_fence.deny with input as review
}

test_closed if denied("x", {"networkPolicy": "DefaultDeny", "networkPolicyEventLogs": "Enabled"}) == set()

test_open if {
	denied("x", {"networkPolicy": "DefaultAllow", "networkPolicyEventLogs": "Enabled"}) == {"node class `x` has networkPolicy DefaultAllow"}
	denied("x", {}) == {"node class `x` has networkPolicy null", "node class `x` has networkPolicyEventLogs null"}
	denied("default", {}) == set()
}
