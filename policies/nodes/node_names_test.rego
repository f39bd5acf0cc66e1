package portcullis.node_names_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.node_names

parameters := {"tenantLabel": "tenant"}

pod(spec) := reviews.pod_with(spec)

made(spec) := reviews.create("Pod", pod(spec), parameters)

changed(spec, old) := reviews.update("Pod", pod(spec), pod(old), parameters)

denied(review) := {v.msg | some v in found} if {
	found := node_names.deny with input as review
}

past := {"the Pod names node `ip-10-0-0-1`, past the scheduler and all taints"}

test_no_node_by_name if {
	denied(made({"nodeName": "ip-10-0-0-1"})) == past
	denied(made({})) == set()
	denied(made({"nodeName": ""})) == set()
	denied(reviews.in_place(made({"nodeName": "ip-10-0-0-1"}), "infra")) == set()
}

test_static_pods if denied(reviews.asked_by(made({"nodeName": "x"}), {"username": "system:node:x", "groups": ["system:nodes"]})) == set()

# Everybody who labels, resizes or debugs a Pod says its node again.
test_scheduled_pods if {
	denied(changed({"nodeName": "ip-10-0-0-1"}, {"nodeName": "ip-10-0-0-1"})) == set()
	denied(changed({"nodeName": "ip-10-0-0-1"}, {})) == past
	denied(changed({}, {"nodeName": "ip-10-0-0-1"})) == set()
	denied(changed({"nodeName": "ip-10-0-0-1"}, {"nodeName": "other"})) == past
}
