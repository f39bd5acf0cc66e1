package portcullis.app_projects_test

import data.portcullis.app_projects
import data.portcullis.lib.reviews_test as reviews

contracts := {"tenant-b": {"repositories": ["https://git.example.com/birch/*"], "argocd": {"projects": ["birch"]}}}

inventory := {"cluster": {"v1": {"Namespace": {
	"tenant-a": {"metadata": {"labels": {"tenant": "tenant-a"}}},
	"tenant-b": {"metadata": {"labels": {"tenant": "tenant-b"}}},
}}}}

parameters := {
	"tenantLabel": "tenant",
	"servers": ["https://kubernetes.default.svc"],
	"clusters": ["in-cluster"],
	"clusterResources": ["/Namespace"],
	"signed": false,
	"controllers": reviews.controllers,
	"platformGroups": ["system:masters"],
	"platformUsers": [],
}

sound := {
	"sourceRepos": ["https://git.example.com/birch/*", "!https://git.example.com/birch/old.git"],
	"destinations": [
		{"server": "https://kubernetes.default.svc", "namespace": "tenant-b"},
		{"name": "in-cluster", "namespace": "!tenant-a"},
	],
	"sourceNamespaces": ["tenant-b"],
}

place(review) := object.union(reviews.in_place(review, "infra"), {"request": {"name": "birch"}})

judged(review) := {v.msg | some v in found} if {
	found := app_projects.deny with input as review with data.tenants as contracts with data.inventory as inventory
}

denied(spec) := judged(place(reviews.create("AppProject", {"spec": spec}, parameters)))

with_part(path, value) := json.patch(sound, [{"op": "add", "path": path, "value": value}])

test_sound if denied(sound) == set()

test_projects_of_nobody if {
	review := place(reviews.create("AppProject", {"spec": {"sourceRepos": ["*"]}}, parameters))
	judged(object.union(review, {"request": {"name": "platform"}})) == set()
}

test_only_the_platform if {
	every operation, verb in {"CREATE": "make", "UPDATE": "change", "DELETE": "delete"} {
		review := place(reviews.of(operation, "AppProject", "appprojects", {"spec": sound}, {"spec": sound}, parameters))
		judged(reviews.asked_by(review, reviews.alice)) == {sprintf("only the platform may %s project `birch`", [verb])}
	}
	judged(place(reviews.delete("AppProject", {"spec": {"sourceRepos": ["*"]}}, parameters))) == set()
}

test_sources if {
	every repository in ["*", "https://git.example.com/*", "https://git.example.com/birch/../arbor"] {
		denied(with_part("/sourceRepos/0", repository)) == {sprintf("project `birch` takes sources from `%s`, which is not of tenant `tenant-b`", [repository])}
	}
	count(denied(with_part("/sourceRepos/0", 5))) == 1
}

test_destinations if {
	every namespace in ["*", "tenant-*", "tenant-a", "infra"] {
		denied(with_part("/destinations/0/namespace", namespace)) == {sprintf("project `birch` deploys to namespace `%s`, which is not of tenant `tenant-b`", [namespace])}
	}
	elsewhere := {"project `birch` deploys to clusters that tenant `tenant-b` may not"}
	denied(with_part("/destinations/0/server", "*")) == elsewhere
	denied(with_part("/destinations/0/name", "*")) == elsewhere
	denied(with_part("/destinations/0", {"namespace": "tenant-b"})) == elsewhere
}

test_cluster_resources if {
	denied(with_part("/clusterResourceWhitelist", [{"group": "", "kind": "Namespace"}])) == set()
	denied(with_part("/clusterResourceWhitelist", [{"group": "*", "kind": "*"}])) == {"project `birch` of tenant `tenant-b` may make `*/*`, which is in no namespace"}
}

test_source_namespaces if denied(with_part("/sourceNamespaces/0", "*")) == {"project `birch` takes Applications from namespace `*`, which is not of tenant `tenant-b`"}

test_signatures if {
	review := place(reviews.create("AppProject", {"spec": sound}, object.union(parameters, {"signed": true})))
	judged(review) == {"project `birch` of tenant `tenant-b` takes commits that nobody signed"}
	signed := place(reviews.create("AppProject", {"spec": with_part("/signatureKeys", [{"keyID": "4AEE18F83AFDEB23"}])}, object.union(parameters, {"signed": true})))
	judged(signed) == set()
}
