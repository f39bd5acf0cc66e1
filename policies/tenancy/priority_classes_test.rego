package portcullis.priority_classes_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.priority_classes

parameters := {"tenantLabel": "tenant", "allowed": ["batch-*"], "highest": 0}

asked(spec) := reviews.create("Pod", reviews.pod_with(spec), parameters)

fields(review) := {v.field | some v in found} if {
	found := priority_classes.deny with input as review
}

test_pods_without_a_class if {
	fields(asked({})) == set()
	fields(asked({"priorityClassName": "", "priority": 0})) == set()
}

test_classes if {
	fields(asked({"priorityClassName": "batch-low", "priority": 10})) == set()
	fields(asked({"priorityClassName": "system-node-critical", "priority": 2000001000})) == {"spec.priorityClassName"}
	fields(asked({"priority": 10})) == {"spec.priority"}
	fields(reviews.in_place(asked({"priorityClassName": "system-node-critical"}), "infra")) == set()
}
