package portcullis.wildcard_roles_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.wildcard_roles

parameters := {
	"tenantLabel": "tenant",
	"allowedClusterRoles": ["cluster-admin", "system:*"],
	"forbiddenVerbs": ["bind"],
	"platformResources": ["resourcequotas"],
}

fields(review) := {v.field | some v in found} if {
	found := wildcard_roles.deny with input as review
}

role(rule) := reviews.create("Role", {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}, rule]}, parameters)

cluster_role(name, rule) := object.remove(
	object.union(reviews.create("ClusterRole", {"rules": [rule]}, parameters), {"request": {"namespace": "", "name": name}}),
	["namespace"],
)

all := {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}

test_a_role_that_names_things if fields(role({"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["create", "delete"]})) == set()

test_wildcards if {
	fields(role(all)) == {"rules[1].apiGroups", "rules[1].resources", "rules[1].verbs"}
	fields(reviews.in_place(role(all), "infra")) == set()
}

test_verbs_that_give_more if fields(role({"apiGroups": [""], "resources": ["roles"], "verbs": ["bind"]})) == {"rules[1].verbs"}

test_what_is_the_platforms if {
	fields(role({"apiGroups": [""], "resources": ["resourcequotas"], "verbs": ["get", "watch"]})) == set()
	fields(role({"apiGroups": [""], "resources": ["resourcequotas/status"], "verbs": ["patch"]})) == {"rules[1]"}
}

test_cluster_roles if {
	fields(cluster_role("operator", all)) == {"rules[0]"}
	fields(cluster_role("cluster-admin", all)) == set()
	fields(cluster_role("system:controller", all)) == set()
	fields(cluster_role("operator", {"apiGroups": ["acme.io"], "resources": ["*"], "verbs": ["*"]})) == set()
	fields(cluster_role("operator", {"nonResourceURLs": ["*"], "verbs": ["*"]})) == set()
}
