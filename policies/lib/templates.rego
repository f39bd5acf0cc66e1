# METADATA
# scope: package
# title: Objects of the cluster in templates
# description: >-
#   What is wrong with a workload, a role or a piece of configuration that a template makes, as far as it can be told before
#   it is there. The policies on Pods, roles and so on judge it in full when it is made; here the author learns of it.
package portcullis.lib.templates

import data.portcullis.lib.cloud
import data.portcullis.lib.credentials
import data.portcullis.lib.images
import data.portcullis.lib.kro
import data.portcullis.lib.objects
import data.portcullis.lib.pods
import data.portcullis.lib.tenants

# ---- What hides behind an expression

# Places that must be written out, so that what stands below them can be seen.
whole := [
	["metadata"], ["metadata", "annotations"], ["metadata", "labels"], ["spec"], ["spec", "policies"],
	["spec", "inlinePolicies"], ["spec", "environment"], ["spec", "environment", "variables"], ["rules"], ["roleRef"],
]

# Places where no part is an instance's.
closed := [["spec", "ingressRules"], ["spec", "replication"], ["spec", "ownershipControls"], ["spec", "tableReplicas"]]

hidden(object) := {cloud.fault(sprintf("it %s", [cloud.has(concat(".", path), value)]), concat(".", path), "write it out") |
	some path in whole
	value := objects.at(object, path)
	is_string(value)
} | {cloud.fault(
	sprintf("a part of its `%s` is not known before an instance says it", [concat(".", path)]),
	concat(".", path),
	"write it out, or take it from a field with `enum`",
) |
	some path in closed
	contains(json.marshal(objects.at(object, path)), "${schema.")
}

# ---- Workloads

# The Pod that an object makes, and where it stands in it.
pod(object) := {"at": "", "pod": object} if object.kind == "Pod"

else := {"at": "spec.jobTemplate.spec.template.", "pod": found} if {
	object.kind == "CronJob"
	found := objects.at(object, ["spec", "jobTemplate", "spec", "template"])
} else := {"at": "spec.template.", "pod": found} if {
	object.kind in {"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController", "Job"}
	found := objects.at(object, ["spec", "template"])
} else := {"at": "", "pod": null}

workload(object, types) := {at(pod(object).at, fault) |
	pod(object).pod != null
	some fault in of_pod(pod(object).pod, types)
}

at(prefix, fault) := object.union(fault, {"field": concat("", [prefix, fault.field])})

of_pod(pod, types) := (((unreadable(pod) | shares(pod)) | placed(pod)) | (host_paths(pod) | root(pod))) | ((privileged(pod) | versions(pod, types)) | keys(pod))

unreadable(pod) := {cloud.fault(fault.msg, fault.field, "write it as the API has it") | some fault in pods.faults(pod)} | {cloud.fault("the volumes of the Pod cannot be seen", "spec.volumes", "write them out") |
	volumes := objects.value(pods.spec(pod), "volumes")
	volumes != null
	not listed(volumes)
}

# A list of objects.
listed(values) if {
	is_array(values)
	every value in values {
		is_object(value)
	}
}

shares(pod) := {cloud.fault(sprintf("the Pod %s", [cloud.has(key, value)]), sprintf("spec.%s", [key]), "leave it out") |
	some key in ["hostNetwork", "hostPID", "hostIPC"]
	value := objects.value(pods.spec(pod), key)
	not value in {null, false}
}

placed(pod) := {cloud.fault(sprintf("the Pod %s", [cloud.has("nodeName", value)]), "spec.nodeName", "leave it to the scheduler") |
	value := objects.value(pods.spec(pod), "nodeName")
	not value in {null, ""}
}

host_paths(pod) := {cloud.fault("the Pod mounts a path of its node", sprintf("spec.volumes[%d].hostPath", [i]), "use a volume claim, or emptyDir") |
	some i, volume in objects.items(pods.spec(pod), "volumes")
	objects.value(volume, "hostPath") != null
}

# The container counts first.
root(pod) := {cloud.fault(
	sprintf("container `%s` may run as root: %s", [c.name, cloud.has("runAsNonRoot", value)]),
	sprintf("%s.securityContext.runAsNonRoot", [c.field]),
	"set runAsNonRoot: true in the securityContext of the container or of the Pod",
) |
	not pods.windows(pod)
	some c in pods.containers(pod)
	value := first([objects.value(context(c.container), "runAsNonRoot"), objects.value(context(pods.spec(pod)), "runAsNonRoot")])
	value != true
}

context(thing) := objects.child(thing, "securityContext")

first(values) := said[0] if {
	said := [value | some value in values; value != null]
	count(said) > 0
} else := null

privileged(pod) := {cloud.fault(
	sprintf("container `%s` %s", [c.name, cloud.has("privileged", value)]),
	sprintf("%s.securityContext.privileged", [c.field]),
	"leave it out",
) |
	some c in pods.containers(pod)
	value := objects.value(context(c.container), "privileged")
	not value in {null, false}
}

# An image that an instance names is judged when its Pods come; the default is what the author names.
versions(pod, types) := {cloud.fault(
	sprintf("%s has image `%s`, which names no version", [use.who, image]),
	use.field,
	"name a digest, or a version where tags cannot be moved",
) |
	some use in images.all(pod)
	image := named(use.image, types)
	image != null
	parts := images.parts(image)
	parts.digest == ""
	parts.tag in {"", "latest"}
}

named(image, types) := image if not contains(image, "${")

else := kro.default_of(type) if type := types[image]

else := null

keys(pod) := {cloud.fault(
	sprintf("container `%s` has %s in its environment: `%s`", [c.name, what, objects.shown(objects.value(variable, "name"))]),
	sprintf("%s.env[%d].value", [c.field, i]),
	"use Pod Identity: give the service account a role, and leave the key out",
) |
	some c in pods.containers(pod)
	some i, variable in objects.items(c.container, "env")
	value := objects.value(variable, "value")
	is_string(value)
	some what in credentials.found(value, objects.shown(objects.value(variable, "name")), true)
}

# ---- Roles of service accounts

# A role that an instance names as a whole is judged there (kro_instances).
association(object, scope) := {cloud.fault(
	sprintf("the association gives the role `%s`, which is not one that tenant `%s` may take", [objects.shown(role), scope.tenant]),
	sprintf("spec.%s", [key]),
	"name a role of the tenant's contract, or one of the definition",
) |
	scope.tenant != null
	object.kind == "PodIdentityAssociation"
	some key in ["roleARN", "targetRoleARN"]
	role := object.spec[key]
	not later(role)
	not tenants.fits_any(objects.items(scope.contract, "roles"), objects.shown(role))
}

later(role) if cloud.of_graph(role)

later(role) if regex.match(`^\$\{schema\.spec\.[A-Za-z0-9_.]+\}$`, role)

# ---- Configuration

configuration(object) := {cloud.fault(
	sprintf("%s holds %s: `%s`", [object.kind, what, key]),
	objects.field(list, key),
	"use Pod Identity: give the service account a role, and leave the key out",
) |
	object.kind in {"ConfigMap", "Secret"}
	some list in ["data", "stringData", "binaryData"]
	some key, value in objects.child(object, list)
	is_string(value)
	some what in credentials.found(value, key, object.kind == "ConfigMap")
}

# ---- Rights

rights(object) := {cloud.fault(
	sprintf("the role has a wildcard, or what is not known, in its %s", [list]),
	sprintf("rules[%d].%s", [i, list]),
	"name what is needed",
) |
	object.kind == "Role"
	some i, rule in objects.items(object, "rules")
	some list in ["verbs", "resources", "apiGroups"]
	unclear(objects.value(rule, list))
} | ({cloud.fault(
	sprintf("the role lets somebody %s", [verb]),
	sprintf("rules[%d].verbs", [i]),
	"leave the verb out",
) |
	object.kind == "Role"
	some i, rule in objects.items(object, "rules")
	some verb in objects.items(rule, "verbs")
	verb in {"escalate", "bind", "impersonate"}
} | bound(object))

# A rule may be about paths of the API server, and have no resources.
unclear(values) if {
	values != null
	not is_array(values)
}

unclear(values) if {
	is_array(values)
	some value in values
	vague(value)
}

vague(value) if value == "*"

vague(value) if cloud.expression(value)

bound(object) := {cloud.fault(
	sprintf("the binding is to `%s`", [objects.shown(objects.value(reference, "name"))]),
	"roleRef.name",
	"bind to a role of the definition, or to `edit` or `view`",
) |
	object.kind == "RoleBinding"
	reference := objects.child(object, "roleRef")
	not bindable(reference, objects.value(reference, "name"))
}

bindable(reference, _) if reference.kind == "Role"

bindable(_, name) if {
	is_string(name)
	name != "cluster-admin"
	not contains(name, "${")
}
