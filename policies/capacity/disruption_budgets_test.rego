package portcullis.disruption_budgets_test

import data.portcullis.disruption_budgets
import data.portcullis.lib.reviews_test as reviews

inventory := {"namespace": {"tenant-b": {"apps/v1": {"Deployment": {"web": {"spec": {"replicas": 2, "template": {"metadata": {"labels": {"app": "web"}}}}}}}}}}

three := {"namespace": {"tenant-b": {"apps/v1": {
	"Deployment": {"web": {"spec": {"replicas": 2, "template": {"metadata": {"labels": {"app": "web"}}}}}},
	"StatefulSet": {"db": {"spec": {"template": {"metadata": {"labels": {"app": "web"}}}}}},
}}}}

fields(spec) := {v.field | some v in found} if {
	review := reviews.create("PodDisruptionBudget", {"spec": spec}, {})
	found := disruption_budgets.deny with input as review with data.inventory as inventory
}

web := {"matchLabels": {"app": "web"}}

test_budgets_that_let_a_pod_go if {
	every spec in [{"maxUnavailable": 1}, {"maxUnavailable": "10%"}, {"minAvailable": "50%"}, {"minAvailable": 1, "selector": web}, {"minAvailable": 9}, {"minAvailable": 1, "selector": {}}, {"minAvailable": "50%", "selector": web}, {"minAvailable": 9, "selector": {"matchLabels": {"app": "x"}}}, {}] {
		fields(spec) == set()
	}
}

# Of several workloads together; one that does not say has one replica.
test_several_workloads if {
	told(spec) == set()
	told(object.union(spec, {"minAvailable": "67%"})) == {"disruption budget `thing` wants 3 of the 3 replicas of Deployment `web` and StatefulSet `db`, so none of them can go"}
	count(told(object.union(spec, {"minAvailable": 3}))) == 1
}

spec := {"minAvailable": 2, "selector": web}

told(of) := {v.msg | some v in found} if {
	review := reviews.create("PodDisruptionBudget", {"spec": of}, {})
	found := disruption_budgets.deny with input as review with data.inventory as three
}

test_budgets_that_let_none_go if {
	fields({"maxUnavailable": 0}) == {"spec.maxUnavailable"}
	fields({"maxUnavailable": "0%"}) == {"spec.maxUnavailable"}
	fields({"minAvailable": "100%"}) == {"spec.minAvailable"}
	fields({"maxUnavailable": "00%"}) == {"spec.maxUnavailable"}
	every least in [2, 1000, "99%", "51%"] {
		fields({"minAvailable": least, "selector": web}) == {"spec.minAvailable"}
		fields({"minAvailable": least, "selector": {}}) == {"spec.minAvailable"}
	}
}
