package portcullis.replica_bounds_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.replica_bounds

asked(kind, spec) := reviews.create(kind, {"spec": spec}, {"tenantLabel": "tenant"})

fields(review) := {v.field | some v in found} if {
	found := replica_bounds.deny with input as review with data.tenants as {"tenant-b": {"replicas": {"max": 10}}}
}

test_within if {
	every review in [
		asked("Deployment", {"replicas": 10}),
		asked("Deployment", {}),
		asked("Scale", {}),
		asked("HorizontalPodAutoscaler", {"maxReplicas": 10}),
		asked("ScaledObject", {"maxReplicaCount": 5}),
		asked("Job", {"parallelism": 3, "completions": 100}),
		reviews.in_place(asked("Deployment", {"replicas": 100}), "infra"),
	] {
		fields(review) == set()
	}
}

test_above if {
	fields(asked("StatefulSet", {"replicas": 11})) == {"spec.replicas"}
	fields(asked("Scale", {"replicas": 11})) == {"spec.replicas"}
	fields(asked("HorizontalPodAutoscaler", {"maxReplicas": 11})) == {"spec.maxReplicas"}
	fields(asked("ScaledObject", {})) == {"spec.maxReplicaCount"}
	fields(asked("Job", {"parallelism": 11})) == {"spec.parallelism"}
	fields(asked("CronJob", {"jobTemplate": {"spec": {"parallelism": 11}}})) == {"spec.jobTemplate.spec.parallelism"}
}

test_no_bound if {
	review := asked("Deployment", {"replicas": 1000})
	count(replica_bounds.deny) == 0 with input as review with data.tenants as {"tenant-b": {}}
}
