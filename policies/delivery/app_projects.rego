# METADATA
# scope: package
# title: A tenant's Argo CD project holds what is the tenant's
# description: >-
#   An AppProject that a contract's `argocd.projects` names takes sources from the contract's `repositories` only, deploys
#   to namespaces of the tenant on one of `servers` or `clusters`, with no star for all of them, lets no resources outside of
#   namespaces be made but those of `clusterResources`, and takes Applications from namespaces of the tenant only. With
#   `signed` it names keys that commits must be signed with. Only the platform makes, changes and deletes AppProjects.
# related_resources:
# - https://argo-cd.readthedocs.io/en/stable/user-guide/projects/
# custom:
#   severity: critical
#   enforcement: deny
#   controls: ["NIST 800-53 AC-3", "NIST 800-53 AC-4", "NIST 800-53 AC-6", "NIST 800-53 CM-5", "SOC 2 CC6.1", "SOC 2 CC8.1", "PCI DSS A1.1.3"]
#   match:
#     rules:
#     - {apiGroups: [argoproj.io], apiVersions: ["*"], resources: [appprojects], operations: [CREATE, UPDATE, DELETE]}
#   parameters:
#     tenantLabel: tenant
#     # API servers that Applications of tenants may deploy to.
#     servers: ["https://kubernetes.default.svc"]
#     # The same by the names that Argo CD has for them.
#     clusters: [in-cluster]
#     # Resources without a namespace that tenants' projects may make: `<group>/<kind>`.
#     clusterResources: []
#     # Whether a project must name `signatureKeys`.
#     signed: false
#     # The machinery of the cluster: groups, user names and beginnings of user names.
#     controllers:
#       groups: ["system:nodes", "system:serviceaccounts:kube-system"]
#       users: ["system:kube-scheduler", "system:kube-controller-manager", "system:apiserver"]
#       userPrefixes: ["eks:"]
#     # People (and pipelines) of the platform.
#     platformGroups: ["system:masters", "system:serviceaccounts:argocd"]
#     platformUsers: []
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     servers: {items: {type: string, minLength: 1}}
#     clusters: {items: {type: string, minLength: 1}}
#     clusterResources: {items: {type: string, minLength: 1}}
#     controllers:
#       required: [groups, users, userPrefixes]
#       additionalProperties: {type: array, items: {type: string, minLength: 1}}
#       propertyNames: {enum: [groups, users, userPrefixes]}
#     platformGroups: {items: {type: string, minLength: 1}}
#     platformUsers: {items: {type: string, minLength: 1}}
package portcullis.app_projects

import data.portcullis.lib.objects
import data.portcullis.lib.requester
import data.portcullis.lib.tenants

parameters := input.parameters

request := input.request

spec := objects.child(request.object, "spec")

verb := {"CREATE": "make", "UPDATE": "change", "DELETE": "delete"}[request.operation]

deny contains violation if {
	not requester.platform
	violation := {
		"msg": sprintf("only the platform may %s project `%s`", [verb, tenants.name]),
		"fix": "ask the platform team",
	}
}

# The tenants whose project it is.
owners contains tenant if {
	request.operation != "DELETE"
	some tenant, contract in tenants.all
	tenants.name in objects.items(objects.child(contract, "argocd"), "projects")
}

deny contains violation if {
	some tenant in owners
	some i, repository in objects.items(spec, "sourceRepos")
	not startswith(objects.shown(repository), "!")
	not source_of(tenants.of(tenant), repository)
	violation := {
		"msg": sprintf("project `%s` takes sources from `%s`, which is not of tenant `%s`", [tenants.name, objects.shown(repository), tenant]),
		"field": sprintf("spec.sourceRepos[%d]", [i]),
		"fix": "name repositories of the contract only",
	}
}

# A pattern that fits one of the contract's takes nothing that the contract's does not.
source_of(contract, repository) if {
	is_string(repository)
	not contains(repository, "..")
	tenants.fits_any(objects.items(contract, "repositories"), repository)
}

destinations := objects.items(spec, "destinations")

deny contains violation if {
	some tenant in owners
	some i, destination in destinations
	namespace := objects.value(destination, "namespace")
	not startswith(objects.shown(namespace), "!")
	not tenants.is_of(namespace, tenant)
	violation := {
		"msg": sprintf("project `%s` deploys to namespace `%s`, which is not of tenant `%s`", [tenants.name, objects.shown(namespace), tenant]),
		"field": sprintf("spec.destinations[%d].namespace", [i]),
		"fix": "name each namespace of the tenant",
	}
}

deny contains violation if {
	some tenant in owners
	some i, destination in destinations
	not known_cluster(objects.value(destination, "server"), objects.value(destination, "name"))
	violation := {
		"msg": sprintf("project `%s` deploys to clusters that tenant `%s` may not", [tenants.name, tenant]),
		"field": sprintf("spec.destinations[%d]", [i]),
		"fix": sprintf("name one of the servers %s", [json.marshal(parameters.servers)]),
	}
}

known_cluster(server, name) if {
	server in parameters.servers
	name in array.concat([null, ""], parameters.clusters)
}

known_cluster(server, name) if {
	server in {null, ""}
	name in parameters.clusters
}

deny contains violation if {
	some tenant in owners
	some i, resource in objects.items(spec, "clusterResourceWhitelist")
	named := concat("/", [objects.shown(objects.value(resource, "group")), objects.shown(objects.value(resource, "kind"))])
	not named in parameters.clusterResources
	violation := {
		"msg": sprintf("project `%s` of tenant `%s` may make `%s`, which is in no namespace", [tenants.name, tenant, named]),
		"field": sprintf("spec.clusterResourceWhitelist[%d]", [i]),
		"fix": "leave it out; the platform makes what is in no namespace",
	}
}

deny contains violation if {
	some tenant in owners
	some i, namespace in objects.items(spec, "sourceNamespaces")
	not tenants.is_of(namespace, tenant)
	violation := {
		"msg": sprintf("project `%s` takes Applications from namespace `%s`, which is not of tenant `%s`", [
			tenants.name,
			objects.shown(namespace),
			tenant,
		]),
		"field": sprintf("spec.sourceNamespaces[%d]", [i]),
		"fix": "name each namespace of the tenant",
	}
}

deny contains violation if {
	parameters.signed == true
	some tenant in owners
	count(objects.items(spec, "signatureKeys")) == 0
	violation := {
		"msg": sprintf("project `%s` of tenant `%s` takes commits that nobody signed", [tenants.name, tenant]),
		"field": "spec.signatureKeys",
		"fix": "name the keys that commits must be signed with",
	}
}
