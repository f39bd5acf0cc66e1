# METADATA
# scope: package
# title: Argo CD delivers a tenant's own to the tenant's own
# description: >-
#   An Application in a tenant's namespace, or of a project that a contract's `argocd.projects` names, is of one of those
#   projects, takes what it deploys from the contract's `repositories` (`source`, `sources`, `sourceHydrator`, and what an
#   `operation` syncs; charts as well), and deploys to one of `servers` or `clusters` and to a namespace of the tenant. The template of an ApplicationSet is
#   judged like the Applications that it makes: what it leaves to be filled in is not known and does not pass, and neither
#   a `templatePatch` nor a generator's own template may say otherwise later. Applications of other projects, outside of
#   tenants' namespaces, are the platform's and pass.
# related_resources:
# - https://argo-cd.readthedocs.io/en/stable/operator-manual/app-any-namespace/
# - https://argo-cd.readthedocs.io/en/stable/operator-manual/applicationset/Security/
# custom:
#   severity: critical
#   enforcement: deny
#   controls: ["NIST 800-53 AC-3", "NIST 800-53 AC-4", "NIST 800-53 CM-5", "SOC 2 CC6.1", "SOC 2 CC8.1", "PCI DSS A1.1.3"]
#   match:
#     rules:
#     - {apiGroups: [argoproj.io], apiVersions: ["*"], resources: [applications, applicationsets], operations: [CREATE, UPDATE]}
#   parameters:
#     tenantLabel: tenant
#     # API servers that Applications of tenants may deploy to.
#     servers: ["https://kubernetes.default.svc"]
#     # The same by the names that Argo CD has for them.
#     clusters: [in-cluster]
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     servers: {items: {type: string, minLength: 1}}
#     clusters: {items: {type: string, minLength: 1}}
package portcullis.applications

import data.portcullis.lib.objects
import data.portcullis.lib.tenants

parameters := input.parameters

subject := input.request.object

is_set if input.request.kind.kind == "ApplicationSet"

base := "spec.template.spec" if is_set

base := "spec" if not is_set

spec := objects.child(objects.child(objects.child(subject, "spec"), "template"), "spec") if is_set

spec := objects.child(subject, "spec") if not is_set

project := objects.value(spec, "project")

# Whose it is: the namespace's, else the project's.
subjects contains tenants.owner

subjects contains tenant if {
	not tenants.owner
	some tenant, contract in tenants.all
	project in projects(contract)
}

projects(contract) := objects.items(objects.child(contract, "argocd"), "projects")

deny contains violation if {
	some tenant in subjects
	not project in projects(tenants.of(tenant))
	violation := {
		"msg": sprintf("project `%s` is not one of tenant `%s`", [objects.shown(project), tenant]),
		"field": concat(".", [base, "project"]),
		"fix": sprintf("name one of %s", [json.marshal(projects(tenants.of(tenant)))]),
	}
}

# ---- Where it comes from

sources contains {"field": concat(".", [base, "source"]), "url": objects.value(source, "repoURL")} if {
	source := objects.value(spec, "source")
	source != null
}

sources contains {"field": sprintf("%s.sources[%d]", [base, i]), "url": objects.value(source, "repoURL")} if {
	some i, source in objects.items(spec, "sources")
}

sources contains {"field": concat(".", [base, "sourceHydrator.drySource"]), "url": objects.value(source, "repoURL")} if {
	source := objects.value(objects.child(spec, "sourceHydrator"), "drySource")
	source != null
}

# What somebody has it sync at once, in place of what the Application says.
sync := objects.child(objects.child(subject, "operation"), "sync")

sources contains {"field": "operation.sync.source", "url": objects.value(source, "repoURL")} if {
	source := objects.value(sync, "source")
	source != null
}

sources contains {"field": sprintf("operation.sync.sources[%d]", [i]), "url": objects.value(source, "repoURL")} if {
	some i, source in objects.items(sync, "sources")
}

deny contains violation if {
	some tenant in subjects
	count(objects.items(sync, "manifests")) > 0
	violation := {
		"msg": sprintf("an operation of tenant `%s` brings its own manifests, which are of no repository", [tenant]),
		"field": "operation.sync.manifests",
		"fix": "commit them to a repository of the contract",
	}
}

deny contains violation if {
	some tenant in subjects
	some source in sources
	not taken_from(tenants.of(tenant), source.url)
	violation := {
		"msg": sprintf("repository `%s` is not one of tenant `%s`", [objects.shown(source.url), tenant]),
		"field": concat(".", [source.field, "repoURL"]),
		"fix": "take it from a repository of the contract, or have the contract changed",
	}
}

# A path that goes up, and what is filled in later, may lead anywhere.
taken_from(contract, url) if {
	is_string(url)
	not contains(url, "..")
	not contains(url, "{{")
	tenants.fits_any(objects.items(contract, "repositories"), url)
}

# ---- Where it goes

destination := objects.child(spec, "destination")

namespace := objects.value(destination, "namespace")

deny contains violation if {
	some tenant in subjects
	not tenants.is_of(namespace, tenant)
	violation := {
		"msg": sprintf("it deploys to namespace `%s`, which is not of tenant `%s`", [objects.shown(namespace), tenant]),
		"field": concat(".", [base, "destination.namespace"]),
		"fix": "name a namespace of the tenant",
	}
}

deny contains violation if {
	some tenant in subjects
	not known_cluster
	violation := {
		"msg": sprintf("it deploys to cluster `%s`, which tenant `%s` may not", [cluster, tenant]),
		"field": concat(".", [base, "destination"]),
		"fix": sprintf("name one of the servers %s", [json.marshal(parameters.servers)]),
	}
}

server := objects.value(destination, "server")

cluster_name := objects.value(destination, "name")

cluster := objects.shown(server) if not server in {null, ""}

else := objects.shown(cluster_name)

known_cluster if {
	server in parameters.servers
	cluster_name in {null, ""}
}

known_cluster if {
	cluster_name in parameters.clusters
	server in {null, ""}
}

# ---- What would change a template later

deny contains violation if {
	is_set
	some tenant in subjects
	not objects.value(objects.child(subject, "spec"), "templatePatch") in {null, ""}
	violation := {
		"msg": sprintf("a templatePatch may take the Applications of tenant `%s` anywhere", [tenant]),
		"field": "spec.templatePatch",
		"fix": "write what it does into the template",
	}
}

generators := objects.items(objects.child(subject, "spec"), "generators")

# Those of `matrix` and `merge` have generators of their own, two levels at most.
inner := [nested |
	some generator in generators
	some body in objects.as_object(generator)
	some nested in objects.items(body, "generators")
]

innermost := [nested |
	some generator in inner
	some body in objects.as_object(generator)
	some nested in objects.items(body, "generators")
]

deny contains violation if {
	is_set
	some tenant in subjects
	some generator in array.concat(array.concat(generators, inner), innermost)
	some kind, body in objects.as_object(generator)
	own := objects.value(objects.child(body, "template"), "spec")
	not own in {null, {}}
	violation := {
		"msg": sprintf("the template of generator `%s` may take the Applications of tenant `%s` anywhere", [kind, tenant]),
		"field": "spec.generators",
		"fix": "write it into spec.template",
	}
}
