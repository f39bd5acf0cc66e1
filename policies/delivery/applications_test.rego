package portcullis.applications_test

import data.portcullis.applications
import data.portcullis.lib.reviews_test as reviews

contracts := {
	"tenant-a": {"repositories": ["https://git.example.com/arbor/*"], "argocd": {"projects": ["arbor"]}},
	"tenant-b": {"repositories": ["https://git.example.com/birch/*", "https://charts.example.com"], "argocd": {"projects": ["birch"]}},
}

inventory := {"cluster": {"v1": {"Namespace": {
	"tenant-a": {"metadata": {"labels": {"tenant": "tenant-a"}}},
	"tenant-b": {"metadata": {"labels": {"tenant": "tenant-b"}}},
}}}}

parameters := {"tenantLabel": "tenant", "servers": ["https://kubernetes.default.svc"], "clusters": ["in-cluster"]}

source := {"repoURL": "https://git.example.com/birch/web.git", "path": "deploy"}

destination := {"server": "https://kubernetes.default.svc", "namespace": "tenant-b"}

sound := {"project": "birch", "source": source, "destination": destination}

judged(review) := {v.msg | some v in found} if {
	found := applications.deny with input as review with data.tenants as contracts with data.inventory as inventory
}

review(spec) := reviews.create("Application", {"spec": spec}, parameters)

denied(spec) := judged(review(spec))

with_part(path, value) := json.patch(sound, [{"op": "add", "path": path, "value": value}])

in_argocd(spec) := judged(reviews.in_place(review(spec), "infra"))

set_of(changes) := judged(reviews.create("ApplicationSet", {"spec": object.union({"template": {"spec": sound}}, changes)}, parameters))

test_sound if {
	denied(sound) == set()
	in_argocd(sound) == set()
	denied(with_part("/destination", {"name": "in-cluster", "namespace": "tenant-b"})) == set()
}

test_other_projects_are_the_platforms if in_argocd(with_part("/project", "platform")) == set()

test_project if {
	denied(with_part("/project", "arbor")) == {"project `arbor` is not one of tenant `tenant-b`"}
	denied(json.patch(sound, [{"op": "remove", "path": "/project"}])) == {"project `null` is not one of tenant `tenant-b`"}
}

test_the_project_counts_outside_of_tenants if {
	in_argocd(with_part("/destination/namespace", "tenant-a")) == {"it deploys to namespace `tenant-a`, which is not of tenant `tenant-b`"}
}

test_sources if {
	other := {"repository `https://git.example.com/arbor/web.git` is not one of tenant `tenant-b`"}
	foreign := {"repoURL": "https://git.example.com/arbor/web.git"}
	denied(with_part("/source", foreign)) == other
	denied(with_part("/sources", [source, foreign, {"repoURL": "https://charts.example.com", "chart": "web"}])) == other
	denied(with_part("/sourceHydrator", {"drySource": foreign})) == other
	count(denied(with_part("/source/repoURL", "https://git.example.com/birch/../arbor/web.git"))) == 1
	denied(with_part("/source", {})) == {"repository `null` is not one of tenant `tenant-b`"}
}

test_destinations if {
	denied(with_part("/destination/namespace", "infra")) == {"it deploys to namespace `infra`, which is not of tenant `tenant-b`"}
	denied(json.patch(sound, [{"op": "remove", "path": "/destination/namespace"}])) == {"it deploys to namespace `null`, which is not of tenant `tenant-b`"}
	denied(with_part("/destination/server", "https://other")) == {"it deploys to cluster `https://other`, which tenant `tenant-b` may not"}
	denied(with_part("/destination", {"name": "other", "namespace": "tenant-b"})) == {"it deploys to cluster `other`, which tenant `tenant-b` may not"}
	denied(with_part("/destination", {"namespace": "tenant-b"})) == {"it deploys to cluster `null`, which tenant `tenant-b` may not"}
	count(denied(with_part("/destination/name", "other"))) == 1
}

test_sets if {
	set_of({"generators": [{"list": {"elements": []}}], "templatePatch": ""}) == set()
	set_of({"template": {"spec": {"destination": {"namespace": "{{.name}}"}}}}) == {"it deploys to namespace `{{.name}}`, which is not of tenant `tenant-b`"}
	set_of({"template": {"spec": {"source": {"repoURL": "https://git.example.com/birch/{{.path}}"}}}}) == {"repository `https://git.example.com/birch/{{.path}}` is not one of tenant `tenant-b`"}
	set_of({"templatePatch": "spec: {}"}) == {"a templatePatch may take the Applications of tenant `tenant-b` anywhere"}
}

test_templates_of_generators if {
	own := {"template": {"metadata": {}, "spec": {"project": "arbor"}}}
	anywhere := {"the template of generator `git` may take the Applications of tenant `tenant-b` anywhere"}
	set_of({"generators": [{"git": own}]}) == anywhere
	set_of({"generators": [{"matrix": {"generators": [{"git": own}]}}]}) == anywhere
	set_of({"generators": [{"matrix": {"generators": [{"merge": {"generators": [{"git": own}]}}]}}]}) == anywhere
	set_of({"generators": [{"git": {"template": {"spec": {}}}}]}) == set()
}

synced(sync) := judged(reviews.create("Application", {"spec": sound, "operation": {"sync": sync}}, parameters))

test_what_is_synced_at_once if {
	foreign := {"repoURL": "https://git.example.com/arbor/web.git"}
	other := {"repository `https://git.example.com/arbor/web.git` is not one of tenant `tenant-b`"}
	synced({"revision": "main", "source": source}) == set()
	synced({"source": foreign}) == other
	synced({"sources": [source, foreign]}) == other
	synced({"manifests": ["{}"]}) == {"an operation of tenant `tenant-b` brings its own manifests, which are of no repository"}
}
